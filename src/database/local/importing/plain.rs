//! Loads a file of SQL, such as `pg_dump` writes, over one session. psql is not needed, and its commands in the file have no
//! effect: they could run programs.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use futures_util::SinkExt;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, CopyInSink};

use super::{archive, create_extensions, progress, session};
use crate::database::catalogue::words;
use crate::database::import::{ImportError, ImportRequest};
use crate::database::local::Local;
use crate::database::sql_text::{SqlStatement, StatementReader};
use crate::error::Report;
use crate::os::read;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 512 << 20;
/// How many bytes of statements and rows are sent at once.
const BATCH: usize = 128 << 10;

/// A COPY in progress. `None` for the sink if its rows are left out.
type Rows = Option<std::pin::Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>>;

/// Loads the file into the database `name`. Returns the kinds of statements that it leaves out.
pub(super) async fn load(
    local: &Local,
    name: &str,
    path: &Path,
    request: &ImportRequest,
) -> Result<Vec<String>, Report> {
    let client = session(local, name).await?;
    let mut lines = lines_of(path)?;
    let mut loader = SqlLoader { client: &client, path, batch: Vec::new(), size: 0, left_out: Vec::new() };
    let mut reader = StatementReader::default();
    let mut rows: Option<Rows> = None;
    let mut buffer = Vec::new();
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        let line =
            line.map_err(|source| ImportError::Unreadable { path: path.into(), source: source.into() })?;
        number += 1;
        if let Some(sink) = &mut rows {
            reader.skip();
            let is_end = line.strip_suffix(b"\n").unwrap_or(&line).trim_ascii_end() == b"\\.";
            if let Some(sink) = sink {
                if !is_end {
                    buffer.extend_from_slice(&line);
                }
                if buffer.len() >= BATCH || (is_end && !buffer.is_empty()) {
                    let sent = sink.feed(Cursor::new(std::mem::take(&mut buffer))).await;
                    sent.map_err(|error| loader.failed(number, &error))?;
                }
            }
            if is_end && let Some(sink) = rows.take().flatten() {
                let mut sink = sink;
                sink.as_mut().finish().await.map_err(|error| loader.failed(number, &error))?;
            }
            continue;
        }
        let text = String::from_utf8(line).map_err(|_| ImportError::Statement {
            file: path.into(),
            line: number,
            reason: "it is not UTF-8".into(),
        })?;
        if reader.is_between() && text.starts_with('\\') {
            reader.skip();
            continue;
        }
        for statement in reader.feed(&text) {
            rows = loader.take(local, name, request, statement).await?;
        }
    }
    if let Some(statement) = reader.finish() {
        loader.take(local, name, request, statement).await?;
    }
    loader.flush().await?;
    Ok(loader.left_out)
}

/// Reads the lines of a file on another thread.
fn lines_of(path: &Path) -> Result<Receiver<std::io::Result<Vec<u8>>>, ImportError> {
    let file = read::open(path).map_err(|source| ImportError::Unreadable { path: path.into(), source })?;
    let (sender, receiver) = channel(256);
    tokio::task::spawn_blocking(move || {
        let mut reader = BufReader::with_capacity(1 << 20, file);
        loop {
            let mut line = Vec::new();
            let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) if line.len() as u64 == LONGEST && !line.ends_with(b"\n") => {
                    Err(std::io::Error::other("a line is longer than 512 MiB"))
                }
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

struct SqlLoader<'a> {
    client: &'a Client,
    path: &'a Path,
    /// Statements that insert rows, which are sent together.
    batch: Vec<SqlStatement>,
    size: usize,
    left_out: Vec<String>,
}

impl SqlLoader<'_> {
    /// Runs a statement, keeps it for [`SqlLoader::flush`], or leaves it out. Returns the COPY that it begins.
    async fn take(
        &mut self,
        local: &Local,
        name: &str,
        request: &ImportRequest,
        statement: SqlStatement,
    ) -> Result<Option<Rows>, Report> {
        if statement.begins(&["create", "extension"]) {
            self.flush().await?;
            create_extensions(local, name, &archive::created(&statement.text)).await?;
            return Ok(None);
        }
        let leaves_rows_out = request.schema_only
            || table_of(&statement).is_some_and(|(schema, table)| {
                request.exclude_table_data.iter().any(|pattern| archive::excludes(pattern, &schema, &table))
            });
        match reason_to_leave_out(&statement) {
            Some("") => return Ok(None),
            Some(kind) => {
                if !self.left_out.iter().any(|known| known == kind) {
                    self.left_out.push(kind.into());
                }
                return Ok(None);
            }
            None => {}
        }
        if statement.takes_rows {
            self.flush().await?;
            progress(local, statement.text.lines().next().unwrap_or_default().to_string());
            if leaves_rows_out {
                return Ok(Some(None));
            }
            let sink = self.client.copy_in(&statement.text).await;
            return Ok(Some(Some(Box::pin(sink.map_err(|error| self.failed(statement.line, &error))?))));
        }
        let is_insert = statement.begins(&["insert"]);
        if leaves_rows_out && (is_insert || statement.text.contains("setval(")) {
            return Ok(None);
        }
        if !is_insert {
            self.flush().await?;
        }
        self.size += statement.text.len();
        self.batch.push(statement);
        if !is_insert || self.size >= BATCH {
            self.flush().await?;
        }
        Ok(None)
    }

    /// Runs the statements that were kept.
    async fn flush(&mut self) -> Result<(), ImportError> {
        let batch = std::mem::take(&mut self.batch);
        self.size = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = batch.iter().map(|statement| statement.text.as_str()).collect();
        let ended = self.client.batch_execute(&texts.join(";\n")).await;
        ended.map_err(|error| {
            let position = error.as_db_error().and_then(|error| match error.position() {
                Some(ErrorPosition::Original(position)) => Some(*position as usize),
                _ => None,
            });
            let line =
                position.and_then(|position| line_at(&batch, position)).or(batch.first().map(|one| one.line));
            self.failed(line.unwrap_or_default(), &error)
        })
    }

    fn failed(&self, line: u32, error: &tokio_postgres::Error) -> ImportError {
        ImportError::Statement { file: self.path.into(), line, reason: words(error) }
    }
}

/// Returns the line of the statement that has the character at `position` when all are joined.
fn line_at(batch: &[SqlStatement], position: usize) -> Option<u32> {
    let mut end = 0;
    batch.iter().find_map(|statement| {
        end += statement.text.chars().count() + 2;
        (position <= end).then_some(statement.line)
    })
}

/// Returns the schema and the table that a statement adds rows to.
fn table_of(statement: &SqlStatement) -> Option<(String, String)> {
    let skip = if statement.begins(&["copy"]) {
        1
    } else if statement.begins(&["insert", "into"]) {
        2
    } else {
        return None;
    };
    let [first, second, ..] = statement.words.get(skip..)? else { return None };
    let rest = statement.text.split_whitespace().nth(skip)?;
    // `public.users`, `"Odd".users`; a name with blanks is compared by its first word.
    let is_qualified =
        rest.trim_start_matches('"').to_lowercase().starts_with(&first.to_lowercase()) && rest.contains('.');
    Some(if is_qualified { (first.clone(), second.clone()) } else { ("public".into(), first.clone()) })
}

/// Returns the kind of a statement that is left out: the empty text if the user need not know. `None` if it is to run.
fn reason_to_leave_out(statement: &SqlStatement) -> Option<&'static str> {
    let begins = |words: &[&str]| statement.begins(words);
    let lower = statement.text.to_lowercase();
    let is_owner = begins(&["alter"])
        && lower
            .rsplit_once(" owner to ")
            .is_some_and(|(_, name)| !name.trim().contains(char::is_whitespace));
    let silent = is_owner
        || begins(&["grant"])
        || begins(&["revoke"])
        || begins(&["alter", "default", "privileges"])
        || begins(&["comment", "on", "extension"])
        || begins(&["create", "schema", "public"])
        || begins(&["set", "transaction_timeout"])
        || begins(&["set", "session", "authorization"])
        || begins(&["set", "role"])
        || begins(&["reset", "role"]);
    if silent {
        return Some("");
    }
    [
        (&["create", "database"][..], "DATABASE"),
        (&["alter", "database"], "DATABASE"),
        (&["drop", "database"], "DATABASE"),
        (&["create", "role"], "ROLE"),
        (&["alter", "role"], "ROLE"),
        (&["drop", "role"], "ROLE"),
        (&["create", "user"], "ROLE"),
        (&["create", "event", "trigger"], "EVENT TRIGGER"),
        (&["alter", "event", "trigger"], "EVENT TRIGGER"),
        (&["create", "publication"], "PUBLICATION"),
        (&["alter", "publication"], "PUBLICATION"),
        (&["create", "subscription"], "SUBSCRIPTION"),
        (&["security", "label"], "SECURITY LABEL"),
    ]
    .into_iter()
    .find_map(|(words, kind)| statement.begins(words).then_some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::sql_text::statements;

    fn reason(text: &str) -> Option<&'static str> {
        reason_to_leave_out(&statements(text)[0])
    }

    #[test]
    fn owners_and_parts_for_superusers_are_left_out() {
        assert_eq!(reason("ALTER TABLE ONLY public.users OWNER TO prod;"), Some(""));
        assert_eq!(reason("ALTER FUNCTION f(a integer, b text) OWNER TO \"x\";"), Some(""));
        assert_eq!(reason("CREATE ROLE x;"), Some("ROLE"));
        for kept in ["ALTER TABLE users ADD owner text;", "CREATE SCHEMA crm;", "SET search_path = '';"] {
            assert_eq!(reason(kept), None, "{kept}");
        }
    }

    #[test]
    fn the_table_of_rows_is_found() {
        let table =
            |text: &str| table_of(&statements(text)[0]).map(|(schema, table)| format!("{schema} {table}"));
        assert_eq!(table("COPY public.users (id) FROM stdin;").as_deref(), Some("public users"));
        assert_eq!(table("INSERT INTO users VALUES (1);").as_deref(), Some("public users"));
        assert_eq!(table("INSERT INTO crm.\"People\" VALUES (1);").as_deref(), Some("crm People"));
        assert_eq!(table("select 1;"), None);
    }

    #[test]
    fn an_error_in_a_batch_has_the_line_of_its_statement() {
        let batch = statements("select 1;\nselect é;\n\nselect 3;");
        assert_eq!([1, 9, 12, 18, 25].map(|position| line_at(&batch, position)), [1, 1, 2, 2, 4].map(Some));
    }
}
