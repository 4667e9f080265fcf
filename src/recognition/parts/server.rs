//! Describes the development servers of frontends: how to recognise each in a command, and how to give it a port.

use super::Framework;
use super::command_line::Simple;
use crate::text::quoted;

/// A development server.
#[derive(Debug)]
pub struct DevServer {
    /// The name shown to the user.
    pub name: &'static str,
    program: &'static str,
    /// Subcommands that start it; an empty one means no subcommand.
    subcommands: &'static [&'static str],
    /// Options for its port and host, which devrun replaces.
    options: &'static [&'static str],
    /// Arguments that make it listen on its port on loopback.
    words: &'static str,
    /// Assignments to put before the command.
    lead: &'static str,
    /// Its default port.
    pub port: u16,
    /// The framework, if a rule depends on it.
    pub framework: Framework,
}

const PORT: &[&str] = &["--port", "-p"];
const HOST: &[&str] = &["--port", "-p", "--host", "--hostname", "-H", "--strictPort", "--open"];
const LOOPBACK: &str = "--port $PORT --host $DEVRUN_HOST";

const fn server(
    name: &'static str,
    program: &'static str,
    subcommands: &'static [&'static str],
    port: u16,
) -> DevServer {
    DevServer {
        name,
        program,
        subcommands,
        options: HOST,
        words: LOOPBACK,
        lead: "",
        port,
        framework: Framework::Other,
    }
}

/// Known servers, from the help text of their command lines (`next dev --help`, `vite --help` and so on).
const SERVERS: &[DevServer] = &[
    DevServer {
        words: "--hostname $DEVRUN_HOST --port $PORT",
        framework: Framework::NextJs,
        ..server("Next.js", "next", &["dev", ""], 3000)
    },
    DevServer {
        words: "--port $PORT --strictPort --host $DEVRUN_HOST",
        ..server("Vite", "vite", &["dev", "serve", ""], 5173)
    },
    server("Nuxt", "nuxt", &["dev", ""], 3000),
    server("Nuxt", "nuxi", &["dev"], 3000),
    server("Astro", "astro", &["dev", ""], 4321),
    server("SvelteKit", "svelte-kit", &["dev"], 3000),
    server("Remix", "remix", &["vite:dev"], 5173),
    // Remix's classic server reads PORT.
    DevServer { words: "", ..server("Remix", "remix", &["dev"], 3000) },
    server("React Router", "react-router", &["dev"], 5173),
    DevServer { lead: "NG_CLI_ANALYTICS=false ", ..server("Angular", "ng", &["serve", "s", "dev"], 4200) },
    DevServer { options: PORT, words: "--port $PORT", ..server("Expo", "expo", &["start"], 8081) },
    // Create React App's server reads PORT and HOST.
    DevServer {
        options: PORT,
        words: "",
        lead: "BROWSER=none HOST=$DEVRUN_HOST ",
        ..server("Create React App", "react-scripts", &["start"], 3000)
    },
    DevServer {
        options: PORT,
        words: "",
        lead: "BROWSER=none HOST=$DEVRUN_HOST ",
        ..server("Create React App", "craco", &["start"], 3000)
    },
    server("Vue CLI", "vue-cli-service", &["serve"], 8080),
    server("webpack", "webpack", &["serve"], 8080),
    server("webpack", "webpack-dev-server", &[""], 8080),
    server("Gatsby", "gatsby", &["develop", "dev"], 8000),
    server("Rsbuild", "rsbuild", &["dev"], 3000),
    server("Vinxi", "vinxi", &["dev"], 3000),
    DevServer { options: PORT, words: "--port $PORT", ..server("Waku", "waku", &["dev"], 3000) },
];

/// Returns the server that `simple` starts.
pub fn of(simple: &Simple) -> Option<&'static DevServer> {
    let first = simple.args.first().map_or("", String::as_str);
    let first = if first.starts_with('-') { "" } else { first };
    SERVERS.iter().find(|server| {
        server.program == simple.program
            && (server.subcommands.contains(&first)
                // `vite apps/web` names a folder.
                || (server.program == "vite" && first.contains(['.', '/'])))
    })
}

/// Returns the server of that name.
pub fn named(program: &str) -> Option<&'static DevServer> {
    SERVERS.iter().find(|server| server.program == program)
}

impl DevServer {
    /// Returns the command that starts the server on `$PORT` and keeps the repository's other arguments.
    pub fn command(&self, simple: &Simple, has_web: bool) -> String {
        let mut words: Vec<String> = simple.lead.iter().map(|word| shell(word)).collect();
        words.push(simple.program.clone());
        let mut args = simple.args.iter().peekable();
        while let Some(word) = args.next() {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            if !self.options.contains(&name) {
                words.push(shell(word));
            } else if name == word && args.peek().is_some_and(|next| !next.starts_with('-')) {
                args.next();
            }
        }
        let bare = simple.args.first().is_none_or(|word| word.starts_with('-'));
        if bare
            && self.subcommands.contains(&"")
            && self.subcommands.first() == Some(&"dev")
            && self.program != "vite"
        {
            let at = words.len() - words.iter().rev().position(|word| *word == simple.program).unwrap_or(0);
            words.insert(at, "dev".into());
        }
        if self.program == "expo" && has_web && !simple.has("--web") {
            words.push("--web".into());
        }
        if !self.words.is_empty() {
            words.push(self.words.into());
        }
        format!("{}{}", self.lead, words.join(" "))
    }

    /// Returns true for a server that needs an option to show pages in a browser.
    pub fn needs_web(&self) -> bool {
        self.program == "expo"
    }
}

/// Quotes a word for the shell, but leaves variables unquoted.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    quoted(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::guessed_needs;
    use crate::plan::RunCommand;

    #[test]
    fn every_server_is_known_to_need_packages() {
        for server in SERVERS {
            assert!(
                guessed_needs::uses_packages(&RunCommand::Shell(server.program.into())),
                "{}",
                server.program
            );
        }
    }
}
