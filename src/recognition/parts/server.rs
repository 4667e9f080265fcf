//! Development servers of frontends: how each is recognised in a command, and how each takes its port.

use super::words::Simple;

/// A development server.
#[derive(Debug)]
pub struct Server {
    /// Its name for people.
    pub name: &'static str,
    program: &'static str,
    /// Subcommands that start it; an empty one stands for none.
    subcommands: &'static [&'static str],
    /// Options of its port and host, which are replaced.
    options: &'static [&'static str],
    /// Words that give it its port on loopback.
    words: &'static str,
    /// Assignments that it needs.
    lead: &'static str,
    /// The port that it binds when nothing is said.
    pub port: u16,
}

const PORT: &[&str] = &["--port", "-p"];
const HOST: &[&str] = &["--port", "-p", "--host", "--hostname", "-H", "--strictPort", "--open"];
const LOOPBACK: &str = "--port $PORT --host $DEVRUN_HOST";

const fn server(
    name: &'static str,
    program: &'static str,
    subcommands: &'static [&'static str],
    port: u16,
) -> Server {
    Server { name, program, subcommands, options: HOST, words: LOOPBACK, lead: "", port }
}

/// Known servers. Sources are their own command lines (`next dev --help`, `vite --help` and so on).
const SERVERS: &[Server] = &[
    Server { words: "--hostname $DEVRUN_HOST --port $PORT", ..server("Next.js", "next", &["dev", ""], 3000) },
    Server {
        words: "--port $PORT --strictPort --host $DEVRUN_HOST",
        ..server("Vite", "vite", &["dev", "serve", ""], 5173)
    },
    server("Nuxt", "nuxt", &["dev", ""], 3000),
    server("Nuxt", "nuxi", &["dev"], 3000),
    server("Astro", "astro", &["dev", ""], 4321),
    server("SvelteKit", "svelte-kit", &["dev"], 3000),
    server("Remix", "remix", &["vite:dev"], 5173),
    // The classic server reads PORT.
    Server { words: "", ..server("Remix", "remix", &["dev"], 3000) },
    server("React Router", "react-router", &["dev"], 5173),
    Server { lead: "NG_CLI_ANALYTICS=false ", ..server("Angular", "ng", &["serve", "s", "dev"], 4200) },
    Server { options: PORT, words: "--port $PORT", ..server("Expo", "expo", &["start"], 8081) },
    // It reads PORT and HOST.
    Server {
        options: PORT,
        words: "",
        lead: "BROWSER=none HOST=$DEVRUN_HOST ",
        ..server("Create React App", "react-scripts", &["start"], 3000)
    },
    Server {
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
    Server { options: PORT, words: "--port $PORT", ..server("Waku", "waku", &["dev"], 3000) },
];

/// The server that `simple` starts.
pub fn of(simple: &Simple) -> Option<&'static Server> {
    let first = simple.args.first().map_or("", String::as_str);
    let first = if first.starts_with('-') { "" } else { first };
    SERVERS.iter().find(|server| {
        server.program == simple.program
            && (server.subcommands.contains(&first)
                // `vite apps/web` names a folder.
                || (server.program == "vite" && first.contains(['.', '/'])))
    })
}

/// The server of that name.
pub fn named(program: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.program == program)
}

impl Server {
    /// The command that starts it on `$PORT`, with the repository's own words.
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

    /// True for a server that needs an option to show pages in a browser.
    pub fn needs_web(&self) -> bool {
        self.program == "expo"
    }
}

/// A word for the shell; variables stay variables.
pub fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,$".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    shlex::try_quote(word).map_or_else(|_| word.into(), std::borrow::Cow::into_owned)
}
