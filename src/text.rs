//! Handles text of other programs and for them: masks secrets and control characters, quotes words for a shell, reads errors and requests
//! out of a process's output, and reads and writes durations and blocks of env files.
//!
//! Pure.

pub mod busy_port;
mod command;
mod command_folder;
pub mod diagnosis;
pub mod duration;
pub mod env_block;
pub mod failed_requests;
pub mod logged_error;
mod mask;
mod postgres_url;
pub mod reload;
pub mod repeats;
pub mod similar_names;
mod terminal;
pub mod traceback;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub use self::command::hide_in_command;
pub use self::command_folder::in_folder;
pub use self::mask::{Mask, hide_in_urls, is_secret, shown_url};
pub use self::postgres_url::{is_postgres_scheme, is_postgres_url, user_info_len};
pub use self::terminal::{escaped, harmless, may_leave_line, plain, push_within_line};

/// Returns the first five of `names` as text, and the number of the others.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns the instruction to correct the code at `place`.
pub fn correction_of(place: &str) -> String {
    format!("correct {place}")
}

/// Returns `text` encoded as one segment of a URL's path or one value of its query.
pub fn url_encoded(text: &str) -> String {
    const PLAIN: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &PLAIN).to_string()
}

/// Returns `word`, a path or a name, quoted for a POSIX shell, for commands that the user copies.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    // Only a NUL byte cannot be quoted, and no word of a command contains one.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Into::into)
}

/// Returns `value`, which may contain any bytes, quoted for a POSIX shell.
pub fn quoted_bytes(value: &OsStr) -> Vec<u8> {
    // Only a NUL byte cannot be quoted, and no variable contains one.
    shlex::bytes::try_quote(value.as_bytes()).unwrap_or_default().into_owned()
}

/// Returns the bytes whose digits `text` contains. Returns `None` for anything but pairs of hexadecimal digits.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Returns `bytes` as lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(hex([0x00, 0x0a, 0xff]), "000aff");
        assert_eq!(hex([]), "");
        assert_eq!(from_hex("000aFF"), Some(vec![0x00, 0x0a, 0xff]));
        assert_eq!(["0", "0g", "+1"].map(from_hex), [None, None, None]);
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/w/a-b_c.d")), "/w/a-b_c.d");
        for path in ["/w/my app", "/w/$(x)", "/w/it's", "/w/a\nb", "/w/;rm", "", "it's \"so\" `x`"] {
            assert_eq!(shlex::split(&quoted(path)), Some(vec![path.to_string()]), "{path}");
        }
    }

    #[test]
    fn special_characters_of_a_url_are_encoded() {
        assert_eq!(url_encoded("dev-feature/x&limit=1 ü"), "dev-feature%2Fx%26limit%3D1%20%C3%BC");
    }
}
