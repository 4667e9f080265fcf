//! Finds the file that a path of `env_out` leads to, and checks that devrun may write it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::OutputRefusal;
use super::content::FileContent;
use super::written::WrittenFiles;
use crate::config::ConfigError;
use crate::config::env_output::EnvOutput;
use crate::context::Context;
use crate::os::read::{self, Limit, ReadError};
use crate::text::quoted;
use crate::worktree::{self, GitTreatment};

/// Maximum size of a file of the user.
const SIZE_LIMIT: Limit = Limit::mebibytes(1);
/// Mode of a file that devrun creates.
const MODE: u32 = 0o600;

/// The file to write.
#[derive(Debug)]
pub(super) struct OutputTarget {
    /// The entry of the configuration.
    pub(super) output: EnvOutput,
    /// The path in the worktree.
    path: PathBuf,
    /// The file itself, behind symbolic links.
    pub(super) real: PathBuf,
}

impl OutputTarget {
    /// Finds the file. Errors if its folder is not in the worktree.
    pub(super) fn find(root: &Path, output: &EnvOutput) -> Result<OutputTarget, OutputRefusal> {
        let path = root.join(&output.path);
        let real = behind_links(&path)
            .map_err(|error| ConfigError::Unreadable { path: path.clone(), source: error.into() })?;
        let target = OutputTarget { output: output.clone(), path, real };
        match check_folder(root, &target.path) {
            Ok(()) => Ok(target),
            Err(outside) => Err(target.refused(
                format!(
                    "the folder of `{}` leads out of the worktree, to {}",
                    target.shown(),
                    outside.display()
                ),
                "name a file inside the worktree; the file itself may be a link",
            )),
        }
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.output.path.display()
    }

    fn refused(&self, message: impl Into<String>, fix: impl Into<String>) -> OutputRefusal {
        ConfigError::invalid(&self.output.at, message).with_fix(fix).into()
    }

    /// Reads the file. Errors if it holds text that devrun would destroy.
    pub(super) fn content(&self) -> Result<FileContent, OutputRefusal> {
        let shown = self.shown();
        let bytes = read::optional(&self.real, SIZE_LIMIT)
            .map_err(|source| ConfigError::Unreadable { path: self.path.clone(), source })?;
        let content = FileContent::of(bytes).map_err(|line| {
            self.refused(
                format!("{shown}:{line} begins a block of devrun whose last line is missing"),
                "delete the lines of the block; the next run writes it again",
            )
        })?;
        if !self.output.is_block && content.is_of_user() {
            return Err(self.refused(
                format!("`{shown}` exists, and devrun did not generate it"),
                format!("keep it and write a block into it: `{shown}: {{ block: true }}`, or move it away"),
            ));
        }
        Ok(content)
    }

    /// Returns the mode for the file: its own, if it exists.
    pub(super) fn mode(&self) -> u32 {
        std::fs::metadata(&self.real).map_or(MODE, |meta| meta.permissions().mode() & 0o7777)
    }

    /// Errors if another worktree writes the same file. Values of another worktree in a copy of its file do not count.
    pub(super) async fn check_owner(
        &self,
        ctx: &Context,
        content: &FileContent,
        own: &str,
    ) -> Result<(), OutputRefusal> {
        let shown = self.shown();
        let real = quoted(&self.real);
        for other in content.owners().iter().filter(|owner| *owner != own).map(Path::new) {
            if !other.is_dir() {
                continue;
            }
            let is_link = self.path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
            let copied = match path_in(ctx, other, &self.real).await {
                Some(Some(_)) | None if is_link => self.path.clone(),
                Some(Some(theirs)) => theirs,
                Some(None) | None => continue,
            };
            let message = format!(
                "`{shown}` holds the values of the worktree {}, which writes the same file",
                other.display()
            );
            let fix =
                format!("replace the link by a copy: cp --remove-destination {real} {}", quoted(&copied));
            return Err(self.refused(message, fix));
        }
        Ok(())
    }

    /// Errors if git does not ignore the file: its values belong to one worktree, and some are secret. Errors too if git fails.
    pub(super) async fn check_ignored(&self, ctx: &Context, root: &Path) -> Result<(), OutputRefusal> {
        let mut places = vec![self.path.clone()];
        places.extend(Some(self.real.clone()).filter(|real| *real != self.path));
        for place in places {
            // git looks at no path beyond a link.
            let folder = place.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(root);
            let rest = place.strip_prefix(folder).unwrap_or(&place);
            let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.into());
            let full = folder.join(rest);
            let inner = full.strip_prefix(root).ok();
            let shown = if place == self.path { self.output.path.as_path() } else { inner.unwrap_or(&full) };
            let shown_text = shown.display();
            let (message, fix) = match worktree::git_treatment(ctx, &folder, rest).await? {
                GitTreatment::Ignored => continue,
                GitTreatment::Shown => {
                    let line = inner.or_else(|| full.file_name().map(Path::new)).unwrap_or(shown).display();
                    (
                        format!("git does not ignore `{shown_text}`"),
                        format!("add this line to .gitignore: /{line}"),
                    )
                }
                GitTreatment::Tracked => (
                    format!("git tracks `{shown_text}`"),
                    format!(
                        "name another file, or: git rm --cached {} and add it to .gitignore",
                        quoted(shown)
                    ),
                ),
            };
            return Err(self.refused(message, fix));
        }
        Ok(())
    }
}

/// Returns the path by which the worktree `other` writes the file `real`, `Some(None)` if it does not write it, and `None` if that is
/// not known.
async fn path_in(ctx: &Context, other: &Path, real: &Path) -> Option<Option<PathBuf>> {
    let there = Context { cwd: other.into(), ..ctx.clone() };
    let worktree = Box::pin(worktree::locate(&there)).await.ok()?;
    let written = WrittenFiles::of(ctx, &worktree.state);
    let paths = written.paths_of(real).map(|path| worktree.path.join(path));
    Some(paths.into_iter().find(|path| behind_links(path).is_ok_and(|theirs| theirs == real)))
}

/// Returns the path of the file itself. The target of a link need not exist.
fn behind_links(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..40 {
        if let Ok(target) = std::fs::read_link(&path) {
            path = path.parent().unwrap_or(Path::new("/")).join(target);
            continue;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
        return Ok(std::fs::canonicalize(folder).map_or_else(|_| path.clone(), |folder| folder.join(name)));
    }
    Err(std::io::Error::other("too many levels of symbolic links"))
}

/// Errors with the place that the nearest existing folder above `path` leads to, if that is not in the worktree.
fn check_folder(root: &Path, path: &Path) -> Result<(), PathBuf> {
    let existing = path.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok());
    match read::resolve_inside(&[root], existing.unwrap_or(root)) {
        Ok(_) => Ok(()),
        Err(ReadError::Outside(outside)) => Err(outside),
        Err(_) => Err(existing.unwrap_or(root).into()),
    }
}
