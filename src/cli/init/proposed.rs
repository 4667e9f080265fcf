//! Shows a proposed devrun.yaml, and writes it if the user agrees: a proposal contains guesses.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::write;
use crate::cli::{args, printed};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::recognition::proposal::{GUESS, TO_COMPLETE};
use crate::ui::console::Console;
use crate::ui::style::harmless;

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Init,
    as_json: bool,
    path: &Path,
    text: &str,
) -> Result<Exit, Report> {
    let fails = |error| Report::new(Code::State, format!("the proposal cannot be shown: {error}"));
    let asks = !args.yes && !as_json && Console::can_ask();
    if !args.yes && !as_json {
        console.print(&harmless_lines(text)).map_err(fails)?;
    }
    let written = args.yes || asks && console.ask("Write this devrun.yaml?").await.map_err(fails)?;
    if written {
        write(ctx, path, text)?;
    }
    if as_json {
        let lines = incomplete(text).into_iter();
        let mut value = json!({
            "path": path.to_string_lossy(),
            "written": written,
            "recognised": [],
            "guesses": guesses(text),
            "complete": lines
                .map(|line| json!({ "line": line.number, "column": line.column, "key": line.key }))
                .collect::<Vec<_>>(),
        });
        if !written {
            value["text"] = json!(text);
        }
        return printed(console.print_json(&value));
    }
    printed(console.print(&last_lines(path, text, written)))
}

/// Returns the lines after the proposal: whether it was written, and what to do with it.
fn last_lines(path: &Path, text: &str, written: bool) -> String {
    let path = harmless(&path.to_string_lossy());
    let mut said = if written {
        format!("Wrote {path}: a proposal.\n")
    } else {
        "Nothing was written. `devrun init --yes` writes it.\n".to_string()
    };
    let guesses = guesses(text);
    if !guesses.is_empty() {
        let numbers: Vec<String> = guesses.iter().map(ToString::to_string).collect();
        let _ = writeln!(said, "Check the guesses in line {}.", numbers.join(", "));
    }
    for line in incomplete(text) {
        let _ = writeln!(said, "Complete devrun.yaml:{}:{}, {}.", line.number, line.column, line.key);
    }
    said
}

/// A line of a proposal that the user must complete.
#[derive(Debug, PartialEq, Eq)]
struct IncompleteLine {
    /// Counted from 1.
    number: usize,
    /// The column of the key, counted from 1.
    column: usize,
    key: String,
}

/// Returns the lines to complete. Knows only the form in which proposals are written.
fn incomplete(text: &str) -> Vec<IncompleteLine> {
    let lines = text.lines().zip(1..).filter(|(line, _)| line.contains(&format!("# {TO_COMPLETE}")));
    lines
        .filter_map(|(line, number)| {
            let key = line.trim_start();
            Some(IncompleteLine {
                number,
                column: line.len() - key.len() + 1,
                key: key.split(':').next()?.to_string(),
            })
        })
        .collect()
}

/// Returns the numbers of the lines with a guess.
fn guesses(text: &str) -> Vec<usize> {
    let is_guess = |line: &str| {
        line.split_once("  # ").is_some_and(|(_, comment)| {
            comment.starts_with(&format!("{GUESS}:")) || comment.contains(&format!("; {GUESS}:"))
        })
    };
    text.lines().zip(1..).filter(|(line, _)| is_guess(line)).map(|(_, number)| number).collect()
}

/// Returns the text with harmless lines: comments quote files of the repository.
fn harmless_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(harmless).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ports:\n  web: 3000  # guess: no file states a port\nprocesses:\n  web:\n    run:  # complete this line: the command\n";

    #[test]
    fn guesses_and_lines_to_complete_are_named_with_their_place() {
        assert_eq!(guesses(TEXT), [2]);
        assert_eq!(incomplete(TEXT), [IncompleteLine { number: 5, column: 5, key: "run".into() }]);
        insta::assert_snapshot!(last_lines(Path::new("/w/devrun.yaml"), TEXT, false), @r"
        Nothing was written. `devrun init --yes` writes it.
        Check the guesses in line 2.
        Complete devrun.yaml:5:5, run.
        ");
    }
}
