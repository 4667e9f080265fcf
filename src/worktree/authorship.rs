//! Asks git which commit added a file.

use std::path::Path;
use std::time::Duration;

use super::git::git;
use crate::context::Context;

/// How long git may take to search a long history.
const SEARCH: Duration = Duration::from_secs(30);

/// The commit that added a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Authorship {
    /// The name of its author.
    pub author: String,
    /// The date on which the author wrote it: `2026-01-31`.
    pub date: String,
    /// Its abbreviated id.
    pub commit: String,
}

/// Returns the last commit in the history of HEAD that added `file`. `None` if it is not committed or git fails.
pub async fn authorship(ctx: &Context, folder: &Path, file: &Path) -> Option<Authorship> {
    let cmd = git(ctx, folder).limit(SEARCH).env("GIT_LITERAL_PATHSPECS", "1");
    let cmd =
        cmd.args(["log", "-1", "--diff-filter=A", "--no-show-signature", "--format=%an%x00%as%x00%h", "--"]);
    let text = cmd.arg(file).ok().await.ok()?.text();
    let mut fields = text.split('\0').map(String::from);
    Some(Authorship { author: fields.next()?, date: fields.next()?, commit: fields.next()? })
}
