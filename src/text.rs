//! Text that is not devrun's own on its way to people: secrets are taken out, what a terminal would obey is masked, paths
//! become words of a shell.
//!
//! Pure.

mod mask;
mod terminal;

use std::path::Path;

pub use self::mask::{Mask, hide_in_urls, is_secret};
pub use self::terminal::{escaped, harmless, plain};

/// Returns `path` as a POSIX shell reads it back, for commands that people copy.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Only a NUL byte cannot be quoted, and no path holds one.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/w/a-b_c.d")), "/w/a-b_c.d");
        for path in ["/w/my app", "/w/$(x)", "/w/it's", "/w/a\nb", "/w/;rm"] {
            assert_eq!(shlex::split(&quoted(Path::new(path))), Some(vec![path.to_string()]), "{path}");
        }
    }
}
