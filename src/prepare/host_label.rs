//! Chooses the label of a worktree's host names, `<label>.localhost`, which no other worktree on this machine has.

use std::path::Path;

use crate::ports::table::{self, LeaseRow};
use crate::worktree::slug;

/// Returns `own_slug`, the slug of the worktree at `path`; with a part of the path's hash if a worktree of another repository that got its
/// lease earlier has the same. `leases` are in the order in which they were made; those of worktrees that no longer exist do not count.
pub(super) fn choose(leases: &[LeaseRow], path: &Path, own_slug: &str) -> String {
    choose_among(
        leases.iter().filter(|row| table::exists(&row.worktree)).map(|row| row.worktree.as_path()),
        path,
        own_slug,
    )
}

fn choose_among<'a>(leased: impl Iterator<Item = &'a Path>, path: &Path, own_slug: &str) -> String {
    let is_taken = leased.take_while(|other| *other != path).any(|other| slug::slug(other, true) == own_slug);
    if is_taken { slug::slug(path, false) } else { own_slug.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(leased: &[&str], path: &str) -> String {
        let path = Path::new(path);
        choose_among(leased.iter().map(Path::new), path, &slug::slug(path, true))
    }

    #[test]
    fn the_first_worktree_of_a_name_keeps_it() {
        let leased = ["/a/login", "/b/login", "/c/other"];
        assert_eq!(label(&leased, "/a/login"), "login");
        let second = label(&leased, "/b/login");
        assert!(second.starts_with("login-") && second.len() == "login-".len() + 6, "{second}");
        assert_eq!(label(&leased, "/c/other"), "other");
        // A worktree without a lease comes after all others.
        assert_ne!(label(&leased, "/d/login"), "login");
        assert_ne!(label(&leased, "/d/login"), second);
        assert_eq!(label(&[], "/d/login"), "login");
    }
}
