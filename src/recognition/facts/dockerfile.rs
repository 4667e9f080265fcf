//! Reads commands, values and ports of Dockerfiles.

use std::path::Path;

use super::commands::logical_lines;
use super::file::{FileFacts, spot};
use super::{Author, Command, ExposedPort, GivenValue, Giver};

/// Reads a Dockerfile. Assumes that its commands run in its own folder, which most images copy as a whole.
pub(super) fn dockerfile(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    for (row, line) in logical_lines(text) {
        let line = line.trim();
        let Some((instruction, rest)) = line.split_once(char::is_whitespace) else { continue };
        let rest = rest.trim();
        let at = spot(file, row);
        match instruction.to_ascii_uppercase().as_str() {
            "CMD" | "ENTRYPOINT" => {
                let words = serde_json::from_str::<Vec<String>>(rest);
                let text = words.map_or_else(|_| rest.to_string(), |words| joined(&words));
                let directory = file.parent().map(Path::to_path_buf);
                if !text.is_empty() {
                    facts.commands.push(Command { text, at, by: Author::Dockerfile, directory });
                }
            }
            "ENV" | "ARG" => {
                for (name, value) in assignments(rest) {
                    facts.values.push(GivenValue { name, value, at: at.clone(), by: Giver::Dockerfile });
                }
            }
            "EXPOSE" => {
                // A protocol may follow: `8000/tcp`.
                let ports = rest.split_whitespace().filter_map(|word| word.split('/').next()?.parse().ok());
                let exposed = ports.filter(|port| *port > 0).map(|port| ExposedPort { port, at: at.clone() });
                facts.exposed.extend(exposed);
            }
            _ => {}
        }
    }
    facts
}

/// Returns the words of a command as one line; for `sh -c TEXT`, returns the text.
pub(super) fn joined(words: &[String]) -> String {
    match words {
        [shell, option, text]
            if shell.ends_with("sh") && option.starts_with('-') && option.ends_with('c') =>
        {
            text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_string()
        }
        words => shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default(),
    }
}

/// Returns the pairs of `A=b C="d e"` or of the older `A b c`. Skips a name without a value, and a value with a
/// variable.
fn assignments(rest: &str) -> Vec<(String, String)> {
    let words = shlex::split(rest).unwrap_or_default();
    let is_name = crate::config::names::is_variable_name;
    let pairs: Vec<(String, String)> = match words.first() {
        Some(first) if !first.contains('=') && words.len() > 1 => vec![(first.clone(), words[1..].join(" "))],
        _ => words
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    };
    pairs.into_iter().filter(|(name, value)| is_name(name) && !value.contains('$')).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exposed_ports_are_read_without_their_protocol() {
        let facts = dockerfile(Path::new("Dockerfile"), "FROM x\nEXPOSE 8000/tcp 9000 $PORT\n");
        let ports: Vec<(u16, u32)> = facts.exposed.iter().map(|one| (one.port, one.at.line)).collect();
        assert_eq!(ports, [(8000, 2), (9000, 2)]);
    }

    #[test]
    fn commands_in_both_forms_and_values_are_read() {
        let text = "FROM python\nARG PORT=8000\nARG NONE\nENV A=b \\\n  C=\"d e\"\nENV OLD some text\nENV P=$PATH:/x\nENTRYPOINT [\"sh\", \"-c\", \"alembic upgrade head && uvicorn a:b\"]\nCMD uvicorn app.main:app --port 8000\n";
        let facts = dockerfile(Path::new("api/Dockerfile"), text);
        let commands: Vec<(&str, u32)> =
            facts.commands.iter().map(|command| (command.text.as_str(), command.at.line)).collect();
        assert_eq!(
            commands,
            [("alembic upgrade head && uvicorn a:b", 8), ("uvicorn app.main:app --port 8000", 9)]
        );
        assert_eq!(facts.commands[0].directory.as_deref(), Some(Path::new("api")));
        let values: Vec<(&str, &str)> =
            facts.values.iter().map(|given| (given.name.as_str(), given.value.as_str())).collect();
        assert_eq!(values, [("PORT", "8000"), ("A", "b"), ("C", "d e"), ("OLD", "some text")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)(CMD|ENV|ARG)? ?.{0,200}") {
            let _ = dockerfile(Path::new("Dockerfile"), &text);
        }
    }
}
