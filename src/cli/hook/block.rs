//! Inserts and removes devrun's block in the text of a hook. Pure.
//!
//! The block is at the top, behind the `#!` line. There it runs even if the rest of the hook exits early or fails, and the
//! exit status of the hook is that of the rest.

use std::ops::Range;

/// The first line of the block.
const BEGIN: &[u8] = b"# >>> devrun hook >>>\n";
/// The last line of the block.
const END: &[u8] = b"# <<< devrun hook <<<\n";
/// The first line of a hook that devrun makes.
const SHEBANG: &[u8] = b"#!/bin/sh\n";
/// Shells that run the block.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh"];

/// The reason why a hook is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BlockError {
    /// The hook is no shell script. The value is its interpreter.
    #[error("it is not a shell script but runs with {0}")]
    OtherLanguage(String),
    /// The hook is a compiled program.
    #[error("it is a program, not a script")]
    Binary,
    /// The first or the last line of the block is missing or occurs twice.
    #[error("the first or the last line of devrun's block in it is missing")]
    Damaged,
}

/// The state of the block in a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockState {
    Missing,
    /// Another version of devrun wrote it, or the user changed it.
    Outdated,
    Installed {
        packages: bool,
    },
}

/// Returns the block. A hook may run with `set -e` or `set -u`, so no command of the block fails and no variable is unset. The
/// shell starts devrun in the background, so that git does not even wait for its start.
pub(super) fn block(packages: bool) -> Vec<u8> {
    let option = if packages { " --packages" } else { "" };
    let text = format!(
        "# Prepares new worktrees in the background. `devrun hook uninstall` removes these lines.\n\
         case \"${{1-}}${{3-}}\" in\n  \
           *[!0]*1)\n    \
             ;;\n  \
           0*1)\n    \
             if command -v devrun >/dev/null 2>&1; then\n      \
               devrun hook post-checkout{option} \"$@\" </dev/null >/dev/null 2>&1 &\n    \
             fi\n    \
             ;;\n\
         esac\n"
    );
    [BEGIN, text.as_bytes(), END].concat()
}

/// Returns `hook` with the block, in place of an older one or behind the `#!` line. `None` stands for a missing file.
pub(super) fn insert(hook: Option<&[u8]>, packages: bool) -> Result<Vec<u8>, BlockError> {
    let block = block(packages);
    let Some(hook) = hook.filter(|hook| !hook.trim_ascii().is_empty()) else {
        return Ok([SHEBANG, &block].concat());
    };
    let at = if let Some(found) = find(hook)? {
        found
    } else {
        let behind = behind_shebang(hook)?;
        behind..behind
    };
    let before = &hook[..at.start];
    let newline: &[u8] = if before.is_empty() || before.ends_with(b"\n") { b"" } else { b"\n" };
    Ok([before, newline, &block, &hook[at.end..]].concat())
}

/// Returns `hook` without the block. `None` if there is none.
pub(super) fn remove(hook: &[u8]) -> Result<Option<Vec<u8>>, BlockError> {
    Ok(find(hook)?.map(|at| [&hook[..at.start], &hook[at.end..]].concat()))
}

/// Returns true if `hook` does nothing: it is empty, or has only the line with which devrun begins a new one.
pub(super) fn is_empty(hook: &[u8]) -> bool {
    let hook = hook.trim_ascii();
    hook.is_empty() || hook == SHEBANG.trim_ascii()
}

/// Returns the state of the block in `hook`.
pub(super) fn state(hook: &[u8]) -> Result<BlockState, BlockError> {
    let Some(at) = find(hook)? else {
        behind_shebang(hook)?;
        return Ok(BlockState::Missing);
    };
    let packages = [false, true].into_iter().find(|packages| hook[at.clone()] == block(*packages));
    Ok(packages.map_or(BlockState::Outdated, |packages| BlockState::Installed { packages }))
}

/// Returns where the block is. Errors if one of its two marks is missing or occurs twice.
fn find(hook: &[u8]) -> Result<Option<Range<usize>>, BlockError> {
    // The last line of a file may have no newline.
    let positions = |mark: &[u8]| -> Vec<usize> {
        let mark = mark.trim_ascii_end();
        let starts = (0..hook.len()).filter(|at| *at == 0 || hook[*at - 1] == b'\n');
        starts.filter(|at| hook[*at..].starts_with(mark)).collect()
    };
    match (positions(BEGIN).as_slice(), positions(END).as_slice()) {
        ([], []) => Ok(None),
        ([begin], [end]) if begin < end => Ok(Some(*begin..hook.len().min(end + END.len()))),
        _ => Err(BlockError::Damaged),
    }
}

/// Returns the position behind the `#!` line, or 0 if there is none: git then runs the hook with a shell. Errors if the hook
/// is not a shell script.
fn behind_shebang(hook: &[u8]) -> Result<usize, BlockError> {
    if hook.iter().take(1024).any(|byte| *byte == 0) {
        return Err(BlockError::Binary);
    }
    let Some(rest) = hook.strip_prefix(b"#!") else { return Ok(0) };
    let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    let line = String::from_utf8_lossy(&rest[..length]);
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
    let mut interpreter = base(first);
    if interpreter == "env" {
        let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
        interpreter = base(name.unwrap_or_default());
    }
    if SHELLS.contains(&interpreter.as_str()) {
        Ok(hook.len().min(2 + length))
    } else {
        Err(BlockError::OtherLanguage(interpreter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_a_hook_keeps_every_byte_outside_the_block() {
        for hook in [
            &b"#!/bin/sh\nset -eu\necho mine\nexit 0\n"[..],
            b"#!/usr/bin/env -S bash -e\nexec git lfs post-checkout \"$@\"",
            b"echo without a first line\n",
            b"#!/bin/zsh\n\xff\xfe\r\n",
        ] {
            let with = insert(Some(hook), false).unwrap();
            assert_eq!(state(&with), Ok(BlockState::Installed { packages: false }));
            assert_eq!(insert(Some(&with), false).unwrap(), with, "a second time");
            let other = insert(Some(&with), true).unwrap();
            assert_eq!(state(&other), Ok(BlockState::Installed { packages: true }));
            assert_eq!(remove(&other).unwrap().unwrap(), hook);
            assert_eq!(remove(hook), Ok(None));
            assert_eq!(state(hook), Ok(BlockState::Missing));
        }
        let only_line = insert(Some(b"#!/bin/sh"), false).unwrap();
        assert!(only_line.starts_with(b"#!/bin/sh\n# >>>"), "{}", String::from_utf8_lossy(&only_line));
    }

    #[test]
    fn a_new_hook_is_empty_without_the_block() {
        for hook in [None, Some(&b""[..]), Some(b"\n")] {
            let made = insert(hook, false).unwrap();
            assert!(made.starts_with(b"#!/bin/sh\n# >>>"));
            assert!(is_empty(&remove(&made).unwrap().unwrap()));
        }
        assert!(!is_empty(b"#!/bin/sh\n# a comment of the user\n"));
    }

    #[test]
    fn a_changed_block_is_replaced_and_a_damaged_one_is_refused() {
        let hook = insert(Some(b"#!/bin/sh\necho mine\n"), false).unwrap();
        let text = String::from_utf8(hook.clone()).unwrap();
        let changed = text.replace("</dev/null", "");
        assert_eq!(state(changed.as_bytes()), Ok(BlockState::Outdated));
        assert_eq!(insert(Some(changed.as_bytes()), false).unwrap(), hook);
        for damaged in [text.replace("# <<<", "#"), text.replace("# >>>", "#"), format!("{text}{text}")] {
            assert_eq!(insert(Some(damaged.as_bytes()), false), Err(BlockError::Damaged));
            assert_eq!(remove(damaged.as_bytes()), Err(BlockError::Damaged));
        }
    }

    #[test]
    fn scripts_in_other_languages_and_programs_are_refused() {
        let refused = |hook: &[u8]| insert(Some(hook), false).unwrap_err();
        let other = |name: &str| BlockError::OtherLanguage(name.into());
        assert_eq!(refused(b"#!/usr/bin/env python3\nimport os\n"), other("python3"));
        assert_eq!(refused(b"#!/usr/bin/env -S node --no-warnings\n"), other("node"));
        assert_eq!(refused(b"#!/usr/bin/fish\n"), other("fish"));
        assert_eq!(refused(b"#! \n"), other(""));
        assert_eq!(refused(b"\x7fELF\0\0"), BlockError::Binary);
    }
}
