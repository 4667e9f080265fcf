//! Removes compose files and Dockerfiles for deployment or tests, if there are others for development.

use std::path::{Path, PathBuf};

use super::kind::FileKind;

/// Words in the name of a file or folder for deployment or tests.
const ELSEWHERE: &[&str] =
    &["prod", "production", "stg", "stage", "staging", "test", "tests", "testing", "ci", "e2e"];

/// Returns the `wanted` files without those for other purposes. If all files of a kind are for other purposes, keeps
/// them.
pub(super) fn for_development<T>(wanted: Vec<(PathBuf, FileKind, T)>) -> Vec<(PathBuf, FileKind, T)> {
    let ranked = [FileKind::Compose, FileKind::Dockerfile];
    let plain: Vec<FileKind> = ranked
        .into_iter()
        .filter(|kind| wanted.iter().any(|(path, other, _)| other == kind && !is_elsewhere(path)))
        .collect();
    let keeps = |path: &Path, kind: &FileKind| !plain.contains(kind) || !is_elsewhere(path);
    wanted.into_iter().filter(|(path, kind, _)| keeps(path, kind)).collect()
}

fn is_elsewhere(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let names = [path.file_name(), folder].into_iter().flatten().filter_map(|name| name.to_str());
    let mut words = names.flat_map(|name| name.split(|c: char| !c.is_ascii_alphanumeric()));
    words.any(|word| ELSEWHERE.contains(&word.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(paths: &[&str]) -> Vec<String> {
        let wanted =
            paths.iter().map(|path| (PathBuf::from(path), FileKind::of(Path::new(path)).unwrap(), ()));
        for_development(wanted.collect()).into_iter().map(|(path, ..)| path.display().to_string()).collect()
    }

    #[test]
    fn files_for_deploying_give_way_to_files_for_development() {
        let paths = ["docker/dev/compose.yml", "docker/prod/compose.yml", "docker-compose.staging.yml"];
        assert_eq!(kept(&paths), ["docker/dev/compose.yml"]);
        assert_eq!(kept(&["api/Dockerfile.dev", "api/Dockerfile.prod"]), ["api/Dockerfile.dev"]);
    }

    #[test]
    fn single_file_of_its_kind_is_read_for_any_purpose() {
        let paths = ["compose.prod.yaml", "api/Dockerfile"];
        assert_eq!(kept(&paths), paths);
        assert_eq!(kept(&["tests/test_main.py", "app/main.py"]), ["tests/test_main.py", "app/main.py"]);
    }
}
