//! Computes the preferred slot of a path, with a formula that can be repeated in a shell. Pure.
//!
//! `echo "$PWD" | sha256sum | head -c 4`, read as hexadecimal, modulo the number of slots. `echo` appends a newline, so
//! the newline is hashed too.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Returns the preferred slot of `path`, below `span` (0 counts as 1).
pub fn preferred_slot(path: &Path, span: u16) -> u16 {
    let digest = Sha256::new().chain_update(path.as_os_str().as_bytes()).chain_update(b"\n").finalize();
    u16::from_be_bytes([digest[0], digest[1]]) % span.max(1)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;
    use crate::os::cmd::Cmd;

    /// Path, first four hex digits of the hash, and ports from 3100 and 8100, computed with the shell.
    const VECTORS: [(&str, u16, u16, u16); 5] = [
        ("/w/feature-26", 0x7113, 3147, 8147),
        ("/w/feature-43", 0x6943, 3147, 8147),
        ("/home/u/apps/platform", 0x015d, 3149, 8149),
        ("/home/u/apps/platform/.claude/worktrees/feature-a", 0x71c1, 3121, 8121),
        ("/home/u/My Apps/é", 0x6bd7, 3107, 8107),
    ];

    #[test]
    fn ports_equal_those_computed_with_the_shell() {
        for (path, digits, frontend, backend) in VECTORS {
            let slot = preferred_slot(Path::new(path), 100);
            assert_eq!((3100 + slot, 8100 + slot), (frontend, backend), "{path}");
            assert_eq!(preferred_slot(Path::new(path), u16::MAX), digits % u16::MAX, "{path}");
        }
    }

    #[test]
    fn the_newline_is_hashed_too() {
        let without = Sha256::digest(b"/w/feature-26");
        assert_eq!(u16::from_be_bytes([without[0], without[1]]), 0xb023);
        assert_ne!(preferred_slot(Path::new("/w/feature-26"), 100), 0xb023 % 100);
    }

    #[tokio::test]
    async fn the_shell_agrees_on_raw_bytes() {
        let path = OsStr::from_bytes(b"/w/raw\xff\xfe");
        let line = r#"printf '%s\n' "$WHERE" | sha256sum | head -c 4"#;
        let Ok(output) = Cmd::shell(line).env("WHERE", path).ok().await else {
            return crate::os::skip("there is no sha256sum");
        };
        let digits = u16::from_str_radix(&output.text(), 16).unwrap();
        assert_eq!(preferred_slot(Path::new(path), 100), digits % 100);
    }

    proptest! {
        #[test]
        fn a_slot_is_below_the_span_and_always_the_same(
            path in prop::collection::vec(1_u8..=255, 0..200), span: u16,
        ) {
            let path = Path::new(OsStr::from_bytes(&path));
            let slot = preferred_slot(path, span);
            prop_assert!(slot < span.max(1));
            prop_assert_eq!(slot, preferred_slot(path, span));
        }
    }
}
