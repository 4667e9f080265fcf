//! Finds and runs `pg_dump`, which reads the server that is imported, and `pg_restore`.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::database::import::{ImportError, ImportRequest, SourceServer};
use crate::database::local::binaries::server_env;
use crate::database::local::error::LocalError;
use crate::database::local::packages::OLDEST;
use crate::database::local::state::APP;
use crate::database::local::{Local, SocketFolder, dump_programs, server};
use crate::error::Report;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, CmdError};
use crate::text::Mask;

/// The time limit of `pg_dump` and of `pg_restore`.
const LIMIT: Duration = Duration::from_hours(6);

/// `pg_dump` and `pg_restore` that can read the source, and write for the local server.
pub(super) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Returns the newest programs that are not newer than the local server, and not older than `least`. Downloads them if there are none.
    pub(super) async fn find(local: &Local, least: u32) -> Result<Tools, Report> {
        let most = local.cluster.made_by()?.unwrap_or(OLDEST);
        let beside = server::programs(&local.cluster.data());
        let majors = least.max(OLDEST)..=most;
        let found = dump_programs::find_or_fetch(local, beside, majors.clone()).await;
        let found = found.map_err(|reason| ImportError::NoTools {
            least: *majors.start(),
            most: *majors.end(),
            reason,
        });
        Ok(Tools { folder: found? })
    }

    pub(super) fn command(&self, local: &Local, program: &str) -> Cmd {
        Cmd::new(self.folder.join(program))
            .directory(&local.cluster.folder)
            .limit(LIMIT)
            .only_env(server_env())
    }

    /// Prepares `pg_restore` for the role of applications. The returned value must live as long as the command.
    pub(super) fn restore(&self, local: &Local) -> Result<(Cmd, SocketFolder), LocalError> {
        let folder = local.cluster.admin_socket().open_folder()?;
        let state = local.state.borrow();
        let cmd = self
            .command(local, "pg_restore")
            .arg("--no-password")
            .env("PGHOST", folder.path())
            .env("PGPORT", state.port.to_string())
            .env("PGUSER", APP)
            .env("PGPASSWORD", &state.app_password)
            .env("PGAPPNAME", format!("devrun (pid {})", std::process::id()));
        Ok((cmd, folder))
    }
}

/// Finds the programs that can dump `source` for the local server.
pub(super) async fn tools_for(local: &Local, source: &SourceServer) -> Result<Tools, Report> {
    let (source_major, local_major) = (source.major, local.cluster.made_by()?.unwrap_or(OLDEST));
    if source_major > local_major {
        return Err(ImportError::Newer { source_major, local_major }.into());
    }
    Tools::find(local, source_major).await
}

/// Dumps the source to a file, which only this user can read and which is removed with the returned value.
pub(super) async fn dump(
    local: &Local,
    tools: &Tools,
    source: &SourceServer,
    request: &ImportRequest,
) -> Result<NamedTempFile, Report> {
    let folder = &local.cluster.folder;
    let file = tempfile::Builder::new()
        .prefix("import-")
        .tempfile_in(folder)
        .map_err(LocalError::io("write to", folder))?;
    let mut cmd = tools
        .command(local, "pg_dump")
        .args(["--format=custom", "--no-owner", "--no-privileges", "--no-password", "--verbose"])
        .args(["--exclude-schema=_devrun", "--lock-wait-timeout=60s"])
        .arg("--file")
        .arg(file.path());
    if request.schema_only {
        cmd = cmd.arg("--schema-only");
    }
    for pattern in &request.exclude_table_data {
        cmd = cmd.arg(format!("--exclude-table-data={pattern}"));
    }
    // The password must not be in the arguments, which other users can read.
    for (name, value) in &source.variables {
        cmd = cmd.env(name, value);
    }
    let mask = Mask::of_urls([source.url.as_str()]);
    watched(local, cmd, "pg_dump", &mask).await?;
    Ok(file)
}

/// Runs `cmd` and shows its lines as progress.
pub(super) async fn watched(
    local: &Local,
    cmd: Cmd,
    program: &'static str,
    mask: &Mask,
) -> Result<(), ImportError> {
    let prefix = format!("{program}: ");
    let events = &local.ctx.events;
    let mut on_line = |line: &str| {
        let detail = mask.apply(line.strip_prefix(prefix.as_str()).unwrap_or(line));
        events.send(Event::StepProgress { step: Step::Database, detail });
    };
    let ended = cmd.watched(&mut on_line).await;
    ended.map(drop).map_err(|error: CmdError| {
        let tail = error.tail(40).map_or_else(|| error.ending(), |tail| errors_of(&tail));
        ImportError::Tool { program, tail: mask.apply(&tail) }
    })
}

/// Returns the last lines of a verbose program's output that are about an error, or the last lines if none is.
fn errors_of(tail: &str) -> String {
    let is_error = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        ["error", "fatal", "detail", "hint", "command was"].iter().any(|word| lower.contains(word))
    };
    let lines: Vec<&str> = tail.lines().filter(is_error).collect();
    let lines = if lines.is_empty() { tail.lines().collect() } else { lines };
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_an_error_are_reported() {
        let tail =
            "pg_dump: reading extensions\npg_dump: error: query failed: ERROR:  no\npg_dump: detail: x";
        assert_eq!(errors_of(tail), "pg_dump: error: query failed: ERROR:  no\npg_dump: detail: x");
        assert_eq!(errors_of("a\nb"), "a\nb");
    }
}
