//! Decides what a file of `env_out` becomes: a generated file, or a file of the user with a block. Pure.

use std::collections::BTreeSet;

use crate::config::envfile::dotenv;
use crate::text::env_block::{self, SplitFile};

/// The content of a file before devrun writes it.
#[derive(Debug)]
pub(super) struct FileContent {
    /// Its bytes; `None` if it does not exist.
    pub(super) bytes: Option<Vec<u8>>,
    is_generated: bool,
    /// The bytes without blocks of devrun; nothing for a generated file.
    split: SplitFile,
}

impl FileContent {
    /// Reads the structure of `bytes`. Errors with the number of the line that begins a block without an end.
    pub(super) fn of(bytes: Option<Vec<u8>>) -> Result<FileContent, usize> {
        let text = bytes.as_deref().unwrap_or_default();
        let is_generated = env_block::is_generated(text);
        let split = env_block::split(if is_generated { b"" } else { text })?;
        Ok(FileContent { bytes, is_generated, split })
    }

    fn text(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// Returns the worktrees whose values the file holds.
    pub(super) fn owners(&self) -> Vec<String> {
        self.split.owners.iter().cloned().chain(env_block::generated_owner(self.text())).collect()
    }

    /// Returns true if devrun wrote some or all of it.
    pub(super) fn has_written(&self) -> bool {
        self.is_generated || !self.split.owners.is_empty()
    }

    /// Returns true if nothing in it is from the user.
    pub(super) fn is_all_written(&self) -> bool {
        env_block::is_all_written(self.text()) && !self.is_edited()
    }

    /// Returns true if it is a generated file that the user has edited.
    pub(super) fn is_edited(&self) -> bool {
        self.is_generated && !env_block::is_unedited(self.text())
    }

    /// Returns true if it has text outside devrun's blocks, and is no generated file.
    pub(super) fn is_of_user(&self) -> bool {
        !self.split.before.iter().chain(&self.split.after).all(u8::is_ascii_whitespace)
    }

    /// Returns the bytes in front of the first block.
    pub(super) fn before_block(&self) -> &[u8] {
        &self.split.before
    }

    /// Returns true if a first block needs a newline in front of it. An empty file of the user gets one too, so that it does not look
    /// like a file of devrun.
    pub(super) fn needs_newline(&self) -> bool {
        let before = &self.split.before;
        !self.has_written() && self.bytes.is_some() && before.last().is_none_or(|last| *last != b'\n')
    }

    /// Returns the file of the user with `block` in it, in place of an earlier one. A line below it that sets one of the variables of
    /// `body` would win, so the block then moves to the end. Of a generated file that the user has edited, the lines stay that set
    /// neither one of these variables nor one of `written`, which devrun wrote before.
    pub(super) fn with_block(&self, block: &str, body: &str, written: &BTreeSet<String>) -> Vec<u8> {
        let own: BTreeSet<String> = names(body);
        let edited = if self.is_edited() { user_lines(self.text(), &(&own | written)) } else { Vec::new() };
        let SplitFile { before, after, owners } = &self.split;
        let wins = !owners.is_empty() && !names(&String::from_utf8_lossy(after)).is_disjoint(&own);
        let (front, rest): (Vec<u8>, &[u8]) = match (self.is_generated, wins) {
            (true, _) => (edited, b""),
            (false, true) => ([before.as_slice(), after].concat(), b""),
            (false, false) => (before.clone(), after),
        };
        let ends_line = front.last().is_none_or(|last| *last == b'\n');
        let newline: &[u8] = if self.needs_newline() || !ends_line { b"\n" } else { b"" };
        [front.as_slice(), newline, block.as_bytes(), rest].concat()
    }
}

/// Returns the names that the lines of `text` set.
pub(super) fn names(text: &str) -> BTreeSet<String> {
    dotenv::assignments(text).into_iter().map(|(name, _)| name.into()).collect()
}

/// Returns the lines of a generated file that set none of `names`.
fn user_lines(bytes: &[u8], names: &BTreeSet<String>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&env_block::without_header(bytes)).into_owned();
    let mut kept = String::new();
    let mut at = 0;
    for (_, range) in dotenv::assignments(&text).into_iter().filter(|(name, _)| names.contains(*name)) {
        kept.push_str(&text[at..range.start]);
        at = range.end;
    }
    kept.push_str(&text[at..]);
    kept.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_block(text: Option<&str>, body: &str, written: &[&str]) -> String {
        let content = FileContent::of(text.map(|text| text.as_bytes().to_vec())).unwrap();
        let written = written.iter().map(ToString::to_string).collect();
        let bytes = content.with_block(&env_block::block("/w", body), body, &written);
        let block = env_block::block("/w", body);
        String::from_utf8(bytes).unwrap().replace(&block, "[block]")
    }

    #[test]
    fn a_block_goes_behind_the_lines_of_the_user_or_stays_where_it_is() {
        let old = env_block::block("/w", "A=0\n");
        for (text, wanted) in [
            (None, "[block]"),
            (Some("B=1\n"), "B=1\n[block]"),
            (Some("B=1"), "B=1\n[block]"),
            (Some(""), "\n[block]"),
            (Some(&*format!("B=1\n{old}C=2\n")), "B=1\n[block]C=2\n"),
            // Readers take the last value of a variable.
            (Some(&*format!("B=1\n{old}A=2\n")), "B=1\nA=2\n[block]"),
            (Some(&*old), "[block]"),
            (Some(&*format!("\n{old}")), "\n[block]"),
        ] {
            assert_eq!(with_block(text, "A=1\n", &[]), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_block_in_place_of_a_generated_file_keeps_added_lines() {
        let generated = env_block::generated("/w", "A=1\nOLD='one\ntwo'\n");
        assert_eq!(with_block(Some(&generated), "A=2\n", &[]), "[block]");
        let edited = format!("{generated}# mine\nMINE=1");
        assert_eq!(with_block(Some(&edited), "A=2\n", &["A", "OLD"]), "# mine\nMINE=1\n[block]");
        assert_eq!(with_block(Some(&edited), "A=2\n", &[]), "OLD='one\ntwo'\n# mine\nMINE=1\n[block]");
    }

    #[test]
    fn text_of_the_user_is_recognised() {
        let generated = env_block::generated("/w", "A=1\n");
        let block = env_block::block("/w", "A=1\n");
        let facts = |text: &str| {
            let content = FileContent::of(Some(text.into())).unwrap();
            (content.is_of_user(), content.is_edited(), content.is_all_written())
        };
        assert_eq!(facts(&generated), (false, false, true));
        assert_eq!(facts(&format!("{generated}B=1\n")), (false, true, false));
        assert_eq!(facts(&block), (false, false, true));
        assert_eq!(facts(&format!("{block}B=1\n")), (true, false, false));
        assert_eq!(facts(" \n"), (false, false, false));
        assert_eq!(FileContent::of(Some(b"A=1\n# >>> devrun env for /w\n".to_vec())).unwrap_err(), 2);
    }
}
