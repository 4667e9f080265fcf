//! Removes from the output of a Python program what does not help to find an error: the frames of libraries, the exceptions
//! that the last one repeats, progress. Pure.

/// Parts of paths of code that is not the project's.
const LIBRARIES: [&str; 6] =
    ["site-packages", "dist-packages", "/lib/python", "/.venv/", "<frozen", "<string>"];

/// The first line of a traceback.
const HEAD: &str = "Traceback (most recent call last):";

/// The most lines that are kept.
const MOST: usize = 30;

/// The lines between two exceptions of which the second was raised because of the first.
const CHAINED: [&str; 2] = [
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
];

/// Beginnings of lines that say nothing about an error.
const NOISE: [&str; 3] = [
    "INFO  [alembic.runtime.migration] Context impl ",
    "INFO  [alembic.runtime.migration] Will assume ",
    "(Background on this error at: ",
];

/// Returns the end of `tail` without the frames of libraries and of Alembic's env.py above a migration, without the rest of a frame
/// whose first line was cut off, without noise, and without an exception whose message the last exception repeats.
pub fn condense(tail: &str) -> String {
    let tail = &without_repeated(tail);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_frame = |line: &str| line.trim_start().starts_with("File \"");
    let cut = tail.lines().find(|line| is_frame(line) || indent(line) == 0).is_some_and(is_frame);
    // Alembic's env.py only leads to the migration.
    let in_migration = tail.lines().any(|line| is_frame(line) && line.contains("/versions/"));
    // Lines with a deeper indent than this belong to a skipped frame. The first frame may have lost its first line.
    let mut passing = cut.then_some(0);
    let kept = tail.lines().filter(|line| {
        if is_frame(line) {
            let is_entry = in_migration && line.contains("/env.py\"");
            let library = is_entry || LIBRARIES.iter().any(|part| line.contains(part));
            passing = library.then(|| indent(line));
            return !library;
        }
        if passing.is_some_and(|depth| indent(line) > depth) {
            return false;
        }
        passing = None;
        true
    });
    // Postgres or the line of the code has shown the statement then.
    let shows_statement = tail.lines().any(|line| line.trim_start().starts_with("LINE 1: "));
    let is_shown = |text: &str| {
        shows_statement
            || tail.lines().any(|line| statement(line.trim_start()).is_none() && line.contains(text))
    };
    let is_noise = |line: &&str| {
        let line = line.trim_start();
        let is_noise = NOISE.iter().any(|noise| line.starts_with(noise)) || is_underline(line);
        is_noise || statement(line).is_some_and(is_shown)
    };
    let kept: Vec<&str> = kept.filter(|line| !is_noise(line)).collect();
    kept[kept.len().saturating_sub(MOST)..].join("\n")
}

/// Returns true for the row below a line of code that marks an expression: `~~^~~`. A single sign is Postgres's.
fn is_underline(line: &str) -> bool {
    line.len() > 1 && line.contains('^') && line.chars().all(|c| "^~ ".contains(c))
}

/// Returns the statement in a line that shows one: `[SQL: select 1]`.
fn statement(line: &str) -> Option<&str> {
    line.strip_prefix("[SQL: ").map(|rest| rest.strip_suffix(']').unwrap_or(rest))
}

/// Returns `tail` without the chained exceptions whose message the text after them contains.
fn without_repeated(tail: &str) -> String {
    let lines: Vec<&str> = tail.lines().collect();
    let Some(chain) = lines.iter().rposition(|line| CHAINED.contains(&line.trim())) else {
        return tail.into();
    };
    let (before, after) = (&lines[..chain], lines[chain + 1..].join("\n"));
    let start = before.iter().position(|line| line.trim() == HEAD);
    let message = |line: &&str| line.split_once(": ").map(|(_, text)| text.to_string());
    let first = start.and_then(|start| {
        let error = before[start + 1..].iter().find(|line| !line.starts_with(' ') && !line.is_empty());
        error.and_then(message)
    });
    match (start, first) {
        (Some(start), Some(message)) if after.contains(&message) => {
            [&before[..start], &[after.trim_start_matches('\n')]].concat().join("\n")
        }
        _ => tail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_projects_own_frames_remain() {
        let tail = "    sys.exit(main())\n             ^^^^^^\n  \
                    File \"/w/.venv/lib/python3.11/site-packages/alembic/config.py\", line 1, in main\n    \
                    CommandLine(prog=prog).main(argv=argv)\n  \
                    File \"<frozen importlib._bootstrap>\", line 241, in _call\n  \
                    File \"/w/alembic/env.py\", line 15, in <module>\n    context.run_migrations()\n  \
                    File \"/w/alembic/versions/0004.py\", line 10, in upgrade\n    raise RuntimeError('x')\n\
                    RuntimeError: x\n\n  DETAIL: more";
        assert_eq!(
            condense(tail),
            "  File \"/w/alembic/versions/0004.py\", line 10, in upgrade\n    raise RuntimeError('x')\n\
             RuntimeError: x\n\n  DETAIL: more"
        );
    }

    #[test]
    fn rows_that_mark_an_expression_are_left_out() {
        let tail = "  File \"/w/app.py\", line 3, in f\n    return rows[0].total\n           ^^^^^^^^^^^^^\n    a / b\n    ~~^~~\n\
                    LINE 1: UPDATE leads\n               ^";
        let rest = "  File \"/w/app.py\", line 3, in f\n    return rows[0].total\n    a / b\nLINE 1: UPDATE leads\n               ^";
        assert_eq!(condense(tail), rest);
    }

    #[test]
    fn an_exception_that_the_last_one_repeats_is_left_out() {
        let tail = "INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.\n\
                    INFO  [alembic.runtime.migration] Running upgrade 2 -> 3, score\n\
                    Traceback (most recent call last):\n\
                    psycopg.errors.UndefinedColumn: column \"compani\" does not exist\n\
                    LINE 1: UPDATE leads\n\nThe above exception was the direct cause of the following exception:\n\n\
                    Traceback (most recent call last):\n  \
                    File \"/w/alembic/versions/3.py\", line 13, in upgrade\n    op.execute()\n\
                    sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedColumn) column \"compani\" does not exist\n\
                    LINE 1: UPDATE leads\n(Background on this error at: https://sqlalche.me/e/21/f405)";
        assert_eq!(
            condense(tail),
            "INFO  [alembic.runtime.migration] Running upgrade 2 -> 3, score\n\
             Traceback (most recent call last):\n  \
             File \"/w/alembic/versions/3.py\", line 13, in upgrade\n    op.execute()\n\
             sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedColumn) column \"compani\" does not exist\n\
             LINE 1: UPDATE leads"
        );
        assert_eq!(
            condense(&format!("{tail}\n[SQL: UPDATE leads]")),
            condense(tail),
            "Postgres has shown it"
        );
        let other = tail.replace(
            "sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedColumn) column \"compani\"",
            "KeyError: 1",
        );
        assert!(condense(&other).contains("psycopg.errors.UndefinedColumn"), "it says something of its own");
    }

    #[test]
    fn a_statement_that_the_code_shows_is_left_out() {
        let tail = |code: &str| {
            format!(
                "  File \"/w/3.py\", line 7, in upgrade\n    op.execute({code})\nE: exists\n[SQL: CREATE TABLE part (id int)]"
            )
        };
        assert!(condense(&tail("\"CREATE TABLE part (id int)\"")).ends_with("E: exists"));
        assert!(condense(&tail("STATEMENT")).ends_with("[SQL: CREATE TABLE part (id int)]"));
    }

    #[test]
    fn text_without_a_traceback_is_unchanged() {
        assert_eq!(condense(&"x\n".repeat(99)).lines().count(), MOST);
        for tail in ["", "  indented\nplain\n  more", "INFO one\nFAILED: no such revision"] {
            assert_eq!(condense(tail), tail);
        }
    }
}
