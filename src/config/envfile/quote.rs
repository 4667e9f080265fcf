//! Quotes values for env files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Quotes `value` for a dotenv file, but leaves a value as it is where every reader agrees on it: some readers, such as `docker
/// run --env-file`, take quotes literally.
pub fn dotenv_value(value: &OsStr) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=?-".contains(byte);
    let bytes = value.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(is_plain) { bytes.into() } else { dotenv_quoted(value) }
}

/// Quotes `value` for a dotenv file. Uses single quotes where every reader, including shells, takes the text literally;
/// else double quotes with the escapes of devrun's own reader, which most readers share.
pub fn dotenv_quoted(value: &OsStr) -> Vec<u8> {
    let text = value.to_string_lossy();
    let literal = !text.contains(['\'', '\r']) && !text.contains(r"\\") && !text.ends_with('\\');
    if literal {
        return [b"'", value.as_bytes(), b"'"].concat();
    }
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
        .replace('\r', r"\r")
        .replace("${", r"\${");
    format!("\"{escaped}\"").into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::envfile::dotenv;
    use crate::config::source::Source;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn plain_values_have_no_quotes() {
        assert_eq!(
            dotenv_value(OsStr::new("postgresql://u:p@h:5432/db?a=b")),
            b"postgresql://u:p@h:5432/db?a=b"
        );
        assert_eq!(dotenv_value(OsStr::new("a b")), b"'a b'");
        assert_eq!(dotenv_value(OsStr::new("")), b"''");
    }

    proptest! {
        #[test]
        fn what_is_written_as_dotenv_is_read_back(value in "([a-z '\"`\\\\$\\{\\}#\r\n=]|\\PC){0,30}") {
            let file = format!("NAME={}\nNEXT=1\n", text(dotenv_value(OsStr::new(&value))));
            let outer = |_: &str| Some("not this".to_string());
            let read = dotenv::parse(&Source::new(".env", file), &mut dotenv::KnownVariables::default(), &outer).unwrap();
            let wanted = vec![("NAME".to_string(), value), ("NEXT".to_string(), "1".to_string())];
            prop_assert_eq!(read.vars, wanted);
        }
    }
}
