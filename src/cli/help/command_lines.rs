//! Parses every command line of README.md and of the documents with the real definition of the command line.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::cli::args::Cli;

#[path = "../../../tests/support/documents.rs"]
mod documents;

use self::documents::{CommandLine, command_lines, pages, variants};

/// Values for the placeholders whose type devrun checks.
const VALUES: [(&str, &str); 4] = [("PID", "1"), ("SHELL", "bash"), ("TIME", "5m"), ("ARGS", "-c x")];

/// Returns the calls of devrun in a line of a shell: between operators, and in `$(…)`.
fn calls(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut commands = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let inner = rest.strip_prefix("$(").filter(|_| quote != Some('\''));
        if let Some((inside, after)) = inner.and_then(|inner| inner.split_once(')')) {
            found.extend(calls(inside));
            commands.last_mut().unwrap().push('x');
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '|' | '&' | ';' | '>' if quote.is_none() => commands.push(String::new()),
            '\'' | '"' => {
                quote = if quote == Some(c) { None } else { quote.or(Some(c)) };
                commands.last_mut().unwrap().push(c);
            }
            c => commands.last_mut().unwrap().push(c),
        }
    }
    let words = commands.iter().filter_map(|command| shlex::split(command));
    found.extend(words.filter(|words| words.first().is_some_and(|first| first == "devrun")));
    found
}

/// Returns the error of a call, unless the text only names a verb.
fn mistake(line: &CommandLine, words: &[String]) -> Option<String> {
    let value = |word: &String| {
        let known = VALUES.iter().find(|(name, _)| name == word);
        OsString::from(known.map_or(word.as_str(), |(_, value)| *value))
    };
    let error = Cli::understand(words.iter().map(value)).err()?;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let names_verb = !line.in_block && words.iter().all(|word| !word.starts_with('-'));
    let incomplete = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    (!(names_verb && incomplete.contains(&error.kind())))
        .then(|| format!("{}: `{}`: {error}", line.place, line.text))
}

#[test]
fn every_command_line_of_the_documents_is_understood() {
    let mut mistakes = Vec::new();
    let mut count = 0;
    for (name, text) in pages() {
        for line in command_lines(&name, &text) {
            for words in variants(&line.text).iter().flat_map(|text| calls(text)) {
                count += 1;
                mistakes.extend(mistake(&line, &words));
            }
        }
    }
    assert!(count > 150, "the command lines were not found: {count}");
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn calls_are_found_between_operators_and_in_substitutions() {
    let found = |text: &str| calls(text).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(found("devrun down && devrun up -d"), ["devrun down", "devrun up -d"]);
    assert_eq!(found("cd \"$(devrun new x --up)\""), ["devrun new x --up"]);
    assert_eq!(found("echo '{}' | devrun hook worktree-create"), ["devrun hook worktree-create"]);
    assert_eq!(found("devrun db psql -- -c 'select 1'"), ["devrun db psql -- -c select 1"]);
    assert_eq!(found("cat file"), Vec::<String>::new());
}
