//! Reads the names of Python packages in requirements files, manifests and lock files. Pure.

use std::collections::BTreeSet;

use toml::Value;

/// A package that a file wants or locks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPackage {
    /// Its name in normal form.
    pub name: String,
    /// True if it is always installed: it needs no marker, extra or optional group.
    pub is_certain: bool,
}

/// Returns the normal form of the name at the start of a requirement: `Foo_Bar[x]>=1` gives `foo-bar`.
pub fn name(requirement: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = requirement.find(|c| !is_part(c)).unwrap_or(requirement.len());
    let words = requirement[..end].split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn listed(requirement: &str) -> Option<ListedPackage> {
    let name = name(requirement);
    let is_certain = !requirement.split(" #").next().unwrap_or_default().contains(';');
    (!name.is_empty()).then_some(ListedPackage { name, is_certain })
}

/// Returns the packages in a requirements file. Options and paths have no name.
pub fn of_requirements(text: &str) -> Vec<ListedPackage> {
    let lines = text.lines().map(str::trim).filter(|line| !line.contains("://") || line.contains(" @ "));
    lines.filter(|line| !line.starts_with(['-', '#', '.', '/'])).filter_map(listed).collect()
}

/// Returns the other files that a requirements file includes, relative to its folder.
pub fn included(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    let rest =
        lines.filter_map(|line| line.strip_prefix("--requirement").or_else(|| line.strip_prefix("-r")));
    rest.filter_map(|rest| Some(rest.trim_start_matches(['=', ' ']).split(" #").next()?.trim())).collect()
}

/// Returns the packages that a `pyproject.toml` wants, in all groups and extras; of Poetry only those of the main table.
pub fn of_manifest(text: &str) -> Vec<ListedPackage> {
    let Ok(manifest) = toml::from_str::<Value>(text) else { return Vec::new() };
    let at = |path: &[&str]| path.iter().try_fold(&manifest, |value, key| value.get(key));
    let strings = |value: Option<&Value>, is_certain: bool| {
        let all = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        all.filter_map(listed)
            .map(|one| ListedPackage { is_certain: one.is_certain && is_certain, ..one })
            .collect::<Vec<_>>()
    };
    let mut found = strings(at(&["project", "dependencies"]), true);
    for (table, default) in
        [(&["project", "optional-dependencies"][..], None), (&["dependency-groups"], Some("dev"))]
    {
        for (group, list) in at(table).and_then(Value::as_table).into_iter().flatten() {
            found.extend(strings(Some(list), default == Some(group.as_str())));
        }
    }
    let own = at(&["tool", "poetry", "dependencies"]).and_then(Value::as_table).into_iter().flatten();
    found.extend(own.filter(|(key, _)| *key != "python").map(|(key, value)| {
        let conditions = ["optional", "markers", "python", "platform"];
        ListedPackage { name: name(key), is_certain: conditions.iter().all(|key| value.get(key).is_none()) }
    }));
    found
}

/// Returns the packages in a `uv.lock`. A package is certain if the project at `folder` (relative to the file) needs it
/// without a condition.
pub fn of_uv_lock(text: &str, folder: &str) -> Vec<ListedPackage> {
    let Ok(lock) = toml::from_str::<Value>(text) else { return Vec::new() };
    let packages = || lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let text_of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(String::from);
    let is_project = |package: &&Value| {
        let source = package.get("source");
        let place = ["virtual", "editable"].iter().find_map(|kind| source?.get(kind)?.as_str());
        place == Some(folder)
    };
    let mut certain = BTreeSet::new();
    let mut open: Vec<&Value> = packages().filter(is_project).collect();
    while let Some(package) = open.pop() {
        let own = package.get("dependencies");
        let dev = package.get("dev-dependencies").and_then(|groups| groups.get("dev"));
        let lists = own.into_iter().chain(dev.filter(|_| is_project(&package)));
        for one in lists.filter_map(Value::as_array).flatten().filter(|one| one.get("marker").is_none()) {
            let Some(name) = text_of(one, "name") else { continue };
            if certain.insert(name.clone()) {
                open.extend(packages().filter(|package| text_of(package, "name").as_ref() == Some(&name)));
            }
        }
    }
    let names = packages().filter_map(|package| text_of(package, "name"));
    names.map(|one| ListedPackage { is_certain: certain.contains(&one), name: name(&one) }).collect()
}

/// Returns the packages in a `poetry.lock` or `pdm.lock`.
pub fn of_grouped_lock(text: &str) -> Vec<ListedPackage> {
    let Ok(lock) = toml::from_str::<Value>(text) else { return Vec::new() };
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let listed = |package: &Value| {
        let groups = package.get("groups").and_then(Value::as_array);
        let is_default = groups.is_none_or(|groups| {
            groups.iter().filter_map(Value::as_str).any(|group| ["main", "default", "dev"].contains(&group))
        });
        let is_optional = package.get("optional").and_then(Value::as_bool) == Some(true);
        let has_marker = package.get("marker").or_else(|| package.get("markers")).is_some();
        let name = name(package.get("name")?.as_str()?);
        Some(ListedPackage { name, is_certain: is_default && !is_optional && !has_marker })
    };
    packages.filter_map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names, those that are not certain with a `?`.
    fn shown(all: Vec<ListedPackage>) -> String {
        let all = all.into_iter().map(|one| format!("{}{}", one.name, if one.is_certain { "" } else { "?" }));
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn packages_of_a_requirements_file_have_their_normal_name() {
        let text = "# comment\nFoo_Bar[x]>=1 # why; not\nzope.interface==5 \\\n    --hash=sha256:00\n    # via x\n\
                    colorama ; sys_platform == 'win32'\nown @ https://x.example/own.whl\n-e ./lib\n-r base.txt\n./path\n\
                    git+https://x.example/y\n--requirement=dev.txt # all\n-c limits.txt\n";
        assert_eq!(shown(of_requirements(text)), "foo-bar zope-interface colorama? own");
        assert_eq!(included(text), ["base.txt", "dev.txt"]);
    }

    #[test]
    fn optional_packages_are_not_certain() {
        let text = "[project]\ndependencies = ['six>1', 'tomli; python_version < \"3.11\"']\n\
                    [project.optional-dependencies]\nx = ['httpx']\n[dependency-groups]\ndev = ['pytest']\ndocs = ['mkdocs']\n\
                    [tool.poetry.dependencies]\npython = '^3'\nb = '*'\nc = { version = '1', optional = true }\n";
        assert_eq!(shown(of_manifest(text)), "six tomli? httpx? pytest mkdocs? b c?");
        assert_eq!(shown(of_manifest("<<<<")), "");
    }

    #[test]
    fn packages_of_a_lock_file_are_certain_if_its_project_always_needs_them() {
        let package = |name: &str, rest: &str| format!("[[package]]\nname = '{name}'\n{rest}\n");
        let uv = [
            package(
                "own",
                "source = { virtual = '.' }\ndependencies = [{ name = 'six' }, { name = 'win', marker = 'x' }]\n\
                 [package.optional-dependencies]\nx = [{ name = 'extra' }]\n\
                 [package.dev-dependencies]\ndev = [{ name = 'pytest' }]",
            ),
            package("six", "dependencies = [{ name = 'deep' }]"),
            package("deep", ""),
            package("win", ""),
            package("extra", ""),
            package("pytest", ""),
        ];
        assert_eq!(shown(of_uv_lock(&uv.concat(), ".")), "own? six deep win? extra? pytest");
        let poetry = [
            package("six", "optional = false\ngroups = ['main']"),
            package("x", "optional = true"),
            package("y", "groups = ['docs']"),
            package("z", "markers = 'a'"),
        ];
        assert_eq!(shown(of_grouped_lock(&poetry.concat())), "six x? y? z?");
    }
}
