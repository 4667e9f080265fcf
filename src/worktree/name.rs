//! Makes the name of a branch and of a folder from any text. Pure.

/// The maximum length of a folder's name in bytes: file systems allow 255, and tools put it into longer names.
const LONGEST: usize = 100;

/// Returns a valid name of a branch: `text` itself if it is one, else `text` with a hyphen in place of blanks and of other
/// characters that git does not allow. `None` if nothing is left.
pub fn branch(text: &str) -> Option<String> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    let text = text.trim().replace("@{", "-");
    let parts = text.split('/').map(|part| {
        let mut name = String::with_capacity(part.len());
        for c in part.chars() {
            match c {
                c if refused(c) && name.ends_with('-') => {}
                c if refused(c) => name.push('-'),
                '.' if name.ends_with('.') => {}
                c => name.push(c),
            }
        }
        let mut name = name.trim_start_matches(['.', '-']).trim_end_matches(['.', '-']);
        while let Some(rest) = name.strip_suffix(".lock") {
            name = rest.trim_end_matches(['.', '-']);
        }
        name.to_string()
    });
    let name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    (!name.is_empty() && name != "@" && name != "HEAD").then_some(name)
}

/// Returns the name of a folder for `branch`: letters, digits and `._-`, with a hyphen in place of other characters.
pub fn folder(branch: &str) -> String {
    let mut name = String::with_capacity(branch.len());
    for c in branch.chars() {
        let kept = if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        if name.len() + kept.len_utf8() > LONGEST {
            break;
        }
        if kept != '-' || !name.ends_with('-') {
            name.push(kept);
        }
    }
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "worktree".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_valid_branch_is_unchanged() {
        for name in ["main", "feature/auth", "worktree-x", "Größe", "a--b", "fix#12", "v1.2"] {
            assert_eq!(branch(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn w7_names_with_spaces_and_slashes_become_valid() {
        for (text, wanted, wanted_folder) in [
            ("Refactor payments schema", "Refactor-payments-schema", "Refactor-payments-schema"),
            ("  feature/new  login ", "feature/new-login", "feature-new-login"),
            ("/a//b/", "a/b", "a-b"),
            ("-rf", "rf", "rf"),
            (".hidden/..x..y", "hidden/x.y", "hidden-x.y"),
            ("what?*[now]", "what-now]", "what-now"),
            ("a@{1}", "a-1}", "a-1"),
            ("x.lock", "x", "x"),
            ("a~b^c:d\\e", "a-b-c-d-e", "a-b-c-d-e"),
            ("$(id)", "$(id)", "id"),
        ] {
            assert_eq!(branch(text).as_deref(), Some(wanted), "{text:?}");
            assert_eq!(folder(wanted), wanted_folder, "{text:?}");
        }
        for text in ["", "  ", "/", "..", "@", "HEAD", "-"] {
            assert_eq!(branch(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_branch_of_a_branch_is_unchanged(text in "\\PC{0,30}") {
            if let Some(name) = branch(&text) {
                prop_assert_eq!(branch(&name), Some(name.clone()));
                let folder = folder(&name);
                prop_assert!(!folder.is_empty() && folder.len() <= LONGEST && !folder.contains('/'));
                prop_assert!(!folder.starts_with(['-', '.']));
            }
        }
    }
}
