//! The rules for names of variables, processes and ports, and for the length of values.

/// Maximum length of a value in bytes: the longest string that Linux passes to a program (`MAX_ARG_STRLEN`).
pub const MAX_VALUE: usize = 128 << 10;

/// Returns true for a variable name that shells and every language accept.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns true for a word of a command that sets a variable: `NAME=value`.
pub fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| is_variable_name(name))
}

/// Returns true for `python`, `python3` and `python3.12`.
pub fn is_python(program: &str) -> bool {
    let version = program.strip_prefix("python");
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Returns true for a valid name of a process or port.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Returns `name` as the first part of a variable's name: in upper case, with `_` for any other character.
pub fn variable_stem(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Returns the words of a variable's name, in upper case.
pub fn words(name: &str) -> Vec<String> {
    name.split('_').filter(|word| !word.is_empty()).map(str::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_upper_case() {
        assert_eq!(variable_stem("api-v2"), "API_V2");
        assert_eq!(variable_stem("-foo_bar"), "_FOO_BAR");
    }
}
