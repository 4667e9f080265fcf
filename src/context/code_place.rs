//! Finds the file of a place in the code that the output of a program names relative to the program's folder.

use std::path::Path;

/// Returns `place` (`file:line`) with the whole path of its file, if its path is relative and the file exists below `directory` or
/// `root`; otherwise `place` unchanged.
pub fn whole(place: &str, directory: &Path, root: &Path) -> String {
    let Some((file, line)) = place.rsplit_once(':') else { return place.into() };
    if Path::new(file).is_absolute() {
        return place.into();
    }
    // Next.js names its files relative to its own folder, or to that of the workspace.
    let found = [directory, root].map(|folder| folder.join(file)).into_iter().find(|path| path.is_file());
    found.map_or_else(|| place.into(), |path| format!("{}:{line}", path.display()))
}

#[cfg(test)]
mod tests {
    use crate::os::fs;

    #[test]
    fn a_relative_place_gets_the_whole_path_of_a_file_that_exists() {
        let root = tempfile::tempdir().unwrap();
        let web = root.path().join("web");
        std::fs::create_dir(&web).unwrap();
        for file in [web.join("page.tsx"), root.path().join("shared.ts"), root.path().join("page.tsx")] {
            fs::replace(&file, b"", 0o600).unwrap();
        }
        let whole = |place: &str| super::whole(place, &web, root.path());
        assert_eq!(whole("page.tsx:3"), format!("{}:3", web.join("page.tsx").display()));
        assert_eq!(whole("shared.ts:1"), format!("{}:1", root.path().join("shared.ts").display()));
        for unchanged in ["/w/page.tsx:3", "absent.tsx:3", "page.tsx"] {
            assert_eq!(whole(unchanged), unchanged);
        }
    }
}
