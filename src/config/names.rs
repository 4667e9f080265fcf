//! The rules for names of variables, processes and ports.

/// Returns true for a variable name that shells and every language accept.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
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
