//! Parses Procfiles as foreman does: one `name: command` per line.
//!
//! Where similar tools differ: the space after the colon is optional (foreman, honcho), a duplicate name is an error
//! (overmind, hivemind), and comments may be indented (goreman). A line that is not an entry is ignored as in foreman,
//! but with a warning. Commands are passed to the shell unchanged.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::model::ProcessConfig;
use crate::config::names::is_name;
use crate::config::port_base::SLOTS;
use crate::config::source::{ConfigPosition, Source};
use crate::plan::RunCommand;

/// The entry that runs once, before the others.
pub const RELEASE: &str = "release";
/// Port base of the first process, as in foreman.
pub const FIRST_PORT: u16 = 5000;

/// The content of a Procfile.
#[derive(Debug)]
pub struct Procfile {
    /// Its processes in order, without ports; at least one.
    pub processes: Vec<ProcessConfig>,
    /// A warning for each ignored line that is neither blank nor a comment.
    pub warnings: Vec<String>,
}

/// Parses a Procfile. Fails on a duplicate name, and if there is no process.
pub fn parse(source: &Arc<Source>) -> Result<Procfile, ConfigError> {
    let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
    let mut processes: Vec<ProcessConfig> = Vec::new();
    let mut warnings = Vec::new();
    for (line, number) in text.lines().zip(1_u32..) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let Some((name, command)) = entry(line) else {
            let ignored = ConfigPosition::line(source, number);
            warnings.push(format!("{}:{} is ignored: it is no `name: command`", ignored.source.name, number));
            continue;
        };
        let at = ConfigPosition { key: name.into(), ..ConfigPosition::line(source, number) };
        if processes.iter().any(|process| process.name == name) {
            return Err(
                ConfigError::invalid(&at, "is written twice").with_fix("give one of the two another name")
            );
        }
        processes.push(ProcessConfig::plain(name, &at, RunCommand::Shell(command.into())));
    }
    if processes.is_empty() {
        return Err(ConfigError::invalid(&ConfigPosition::file(source), "has no processes")
            .with_fix("write one per line, such as `web: npm run dev`"));
    }
    Ok(Procfile { processes, warnings })
}

/// Returns the processes as the text of a devrun.yaml, so that a devrun.yaml beside the Procfile can change single keys. Ports
/// begin at `base`, and keep their distance from those that are `taken`.
pub fn to_yaml(read: &Procfile, base: u16, taken: &[u16]) -> String {
    let (mut processes, mut ports) = (String::new(), String::new());
    let mut taken = taken.to_vec();
    let has_release = read.processes.iter().any(|process| process.name == RELEASE);
    for ProcessConfig { name, run, .. } in &read.processes {
        let RunCommand::Shell(command) = run else { continue };
        let mut keys = format!("run: {}", Value::from(command.as_str()));
        // A process without a port counts too, so that the others have the ports that they have without a devrun.yaml.
        let is_free = |port: &u16| taken.iter().all(|other| other.abs_diff(*port) >= SLOTS);
        let free = (base..u16::MAX - SLOTS).step_by(SLOTS.into()).find(is_free);
        taken.extend(free);
        if serves(name, run)
            && let Some(port) = free
        {
            let _ = writeln!(ports, "  {name}: {port}");
            let _ = write!(keys, ", port: {name}");
        }
        if has_release && name != RELEASE {
            let _ = write!(keys, ", depends_on: {{ {RELEASE}: completed }}");
        }
        let _ = writeln!(processes, "  {name}: {{ {keys} }}");
    }
    let ports = if ports.is_empty() { ports } else { format!("ports:\n{ports}") };
    format!("{ports}processes:\n{processes}")
}

/// Returns true if the process listens on its port: `web`, and a command with `$PORT`.
pub fn serves(name: &str, run: &RunCommand) -> bool {
    let mentions = |text: &str| text.contains("$PORT") || text.contains("${PORT");
    name == "web" || matches!(run, RunCommand::Shell(text) if mentions(text))
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let command = command.trim();
    (is_name(name) && !command.is_empty()).then_some((name, command))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Explain;

    fn read(text: &str) -> Result<Procfile, ConfigError> {
        parse(&Source::new("Procfile", text))
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let shell = |run| if let RunCommand::Shell(command) = run { command } else { unreachable!() };
        read(text).unwrap().processes.into_iter().map(|process| (process.name, shell(process.run))).collect()
    }

    fn one(name: &str, command: &str) -> Vec<(String, String)> {
        vec![(name.into(), command.into())]
    }

    #[test]
    fn blank_files_and_files_without_entries_are_errors_that_name_the_file() {
        for text in ["", "\n\n", "# web: x\n", "nonsense\n"] {
            assert_eq!(read(text).unwrap_err().to_string(), "Procfile: has no processes", "{text:?}");
        }
    }

    #[test]
    fn lines_without_an_entry_are_ignored_with_a_warning() {
        let read = read("web: a\nnonsense\n+foo: b\nü: c\nempty:\n").unwrap();
        assert_eq!(read.processes.len(), 1);
        assert_eq!(read.warnings.len(), 4);
        assert_eq!(read.warnings[0], "Procfile:2 is ignored: it is no `name: command`");
    }

    #[test]
    fn names_are_letters_digits_underscores_and_dashes() {
        assert_eq!(pairs("-foo_bar: a"), one("-foo_bar", "a"));
        assert_eq!(pairs("2nd-Web_1: a"), one("2nd-Web_1", "a"));
    }

    #[test]
    fn comments_may_be_indented() {
        assert_eq!(pairs("#web: a\n   # api: b\n\t#x: c\nreal: d"), one("real", "d"));
    }

    #[test]
    fn the_last_line_needs_no_newline_and_lines_may_end_in_crlf() {
        assert_eq!(pairs("a: x\r\nb: y"), [one("a", "x"), one("b", "y")].concat());
    }

    #[test]
    fn order_is_kept() {
        let names: Vec<_> = pairs("z: 1\na: 2\nm: 3").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["z", "a", "m"]);
    }

    #[test]
    fn the_second_of_two_equal_names_is_an_error_with_its_line() {
        let error = read("a: x\nb: y\na: z\n").unwrap_err();
        assert_eq!(error.to_string(), "Procfile:3:1: a: is written twice");
        assert!(error.fix().is_some());
    }

    #[test]
    fn shell_characters_colons_and_dollars_stay_as_they_are() {
        let command = r#"sh -c "echo $X ${Y}" >/dev/null 2>&1; curl http://localhost:$PORT | tee a && b #c"#;
        assert_eq!(pairs(&format!("web: {command}")), one("web", command));
    }

    #[test]
    fn the_space_after_the_colon_is_optional() {
        assert_eq!(pairs("web:run"), one("web", "run"));
        assert_eq!(pairs("web:\t  run  "), one("web", "run"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(pairs("\u{feff}web: run"), one("web", "run"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[\\PC\n\r\t:#]*") {
            let _ = read(&text);
        }

        #[test]
        fn well_formed_entries_are_read_unchanged(name in "[A-Za-z0-9_-]{1,20}", command in "[!-~]([ -~]{0,30}[!-~])?") {
            prop_assert_eq!(pairs(&format!("{name}: {command}\n")), one(&name, &command));
        }
    }
}
