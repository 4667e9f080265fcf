//! Checks how well a lock file fits the manifest whose packages it should lock. Pure: bytes in, result out.
//!
//! The result is used only to choose between several lock files. The package manager decides whether an install is
//! possible.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::context::package_json::{self, SECTIONS};

/// How well a lock file fits, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It locks other folders, but not this one.
    Foreign,
    /// It locks nothing, although the manifest wants packages.
    Empty,
    /// It locks other packages than the manifest wants.
    Stale,
    /// devrun cannot read its format.
    Unknown,
    /// It locks the packages that the manifest wants.
    Fits,
}

/// The packages that a manifest wants, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WantedPackages {
    /// Names and versions.
    packages: Vec<(String, String)>,
    /// Names of peer dependencies, which another package must provide.
    peers: BTreeSet<String>,
}

/// The packages that a lock file records for one folder, with the versions as the manifest wrote them. There are no
/// versions if the format does not keep them.
type Recorded = BTreeMap<String, BTreeSet<String>>;

impl WantedPackages {
    /// Returns the packages of `manifest`.
    pub(super) fn of(manifest: &Value) -> WantedPackages {
        let packages = package_json::packages(manifest);
        let packages = packages.filter_map(|(name, version)| Some((name.clone(), version.as_str()?.into())));
        let peers = manifest["peerDependencies"].as_object().into_iter().flatten();
        WantedPackages { packages: packages.collect(), peers: peers.map(|(name, _)| name.clone()).collect() }
    }

    fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.packages.iter().map(|(name, version)| (name, version))
    }

    fn names(&self, name: &str) -> bool {
        self.all().any(|(wanted, _)| wanted == name) || self.peers.contains(name)
    }
}

/// Checks the lock file with the name `name`. `folder` is the manifest's folder relative to the lock file's folder, empty
/// for the same folder.
pub(super) fn fit(name: &str, bytes: &[u8], folder: &str, wanted: &WantedPackages) -> Fit {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Fit::Empty;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Fit::Unknown };
    let recorded = match name {
        "pnpm-lock.yaml" => pnpm(text, folder),
        "package-lock.json" | "npm-shrinkwrap.json" => npm(text, folder),
        "bun.lock" => bun(text, folder),
        "yarn.lock" => yarn(text, folder),
        _ => Err(Fit::Unknown),
    };
    // A yarn.lock does not separate the packages of the folders from indirect ones.
    let exact = name != "yarn.lock";
    match recorded {
        Err(fit) => fit,
        Ok(recorded) if recorded.is_empty() && wanted.all().next().is_some() => Fit::Empty,
        Ok(recorded) => compare(&recorded, wanted, exact, folder.is_empty()),
    }
}

fn compare(recorded: &Recorded, wanted: &WantedPackages, exact: bool, own: bool) -> Fit {
    let is_recorded = |(name, version): (&String, &String)| {
        recorded.get(name).is_some_and(|versions| versions.is_empty() || versions.contains(version))
    };
    let nothing_else = !exact || recorded.keys().all(|name| wanted.names(name));
    match (wanted.all().all(is_recorded) && nothing_else, own || exact) {
        (true, _) => Fit::Fits,
        (false, true) => Fit::Stale,
        // The file does not show that the folder belongs to it.
        (false, false) => Fit::Foreign,
    }
}

/// Reads the keys of a pnpm lock file by their indentation. Only keys and plain values count.
fn pnpm(text: &str, folder: &str) -> Result<Recorded, Fit> {
    let importer = if folder.is_empty() { "." } else { folder };
    let mut recorded = Recorded::new();
    let (mut has_importers, mut is_named) = (false, false);
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let depth = line.len() - bare.len();
        let Some((key, value)) = entry(bare) else { continue };
        path.retain(|(above, _)| *above < depth);
        path.push((depth, key));
        let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
        let mut record = |name: &str, version: Option<&str>| {
            recorded.entry(name.into()).or_default().extend(version.map(Into::into));
        };
        match keys[..] {
            ["importers", folder] => (has_importers, is_named) = (true, is_named || folder == importer),
            ["importers", folder, section, name, "specifier"]
                if folder == importer && SECTIONS.contains(&section) =>
            {
                record(name, Some(&value));
            }
            // Format version 5, and projects without members in versions 5 and 6.
            ["importers", folder, "specifiers", name] if folder == importer => record(name, Some(&value)),
            ["specifiers", name] if folder.is_empty() => record(name, Some(&value)),
            [section, name, "specifier"] if folder.is_empty() && SECTIONS.contains(&section) => {
                record(name, Some(&value));
            }
            _ => {}
        }
    }
    let is_foreign = !is_named && (has_importers || !folder.is_empty());
    if is_foreign { Err(Fit::Foreign) } else { Ok(recorded) }
}

/// Returns key and value of a YAML line, without quotes.
fn entry(line: &str) -> Option<(String, String)> {
    let bare = |text: &str| text.trim().trim_matches(['\'', '"']).to_string();
    let line = line.trim_end();
    let end = match line.chars().next()? {
        quote @ ('\'' | '"') => line[1..].find(quote)? + 2,
        '#' | '-' => return None,
        _ => line.find(": ").or_else(|| line.strip_suffix(':').map(str::len))?,
    };
    let value = line[end..].strip_prefix(':')?;
    Some((bare(&line[..end]), bare(value)))
}

fn npm(text: &str, folder: &str) -> Result<Recorded, Fit> {
    let lock: Value = serde_json::from_str(text).map_err(|_| Fit::Unknown)?;
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        return section_of(packages, folder);
    }
    // Format version 1 mixes direct and indirect packages, and does not record workspaces.
    let all = lock.get("dependencies").and_then(Value::as_object).ok_or(Fit::Empty)?;
    Err(if folder.is_empty() && !all.is_empty() { Fit::Unknown } else { Fit::Foreign })
}

fn bun(text: &str, folder: &str) -> Result<Recorded, Fit> {
    let lock: Value = serde_json::from_str(&without_trailing_commas(text)).map_err(|_| Fit::Unknown)?;
    section_of(lock.get("workspaces").and_then(Value::as_object).ok_or(Fit::Empty)?, folder)
}

/// Returns the packages that `folders` records for `folder`: npm's and bun's files have a copy of the manifest's sections.
fn section_of(folders: &serde_json::Map<String, Value>, folder: &str) -> Result<Recorded, Fit> {
    let own = folders.get(folder).ok_or(if folders.is_empty() { Fit::Empty } else { Fit::Foreign })?;
    let entries = SECTIONS.iter().filter_map(|section| own.get(section)?.as_object()).flatten();
    let versions = |version: &Value| version.as_str().map(Into::into).into_iter().collect();
    Ok(entries.map(|(name, version)| (name.clone(), versions(version))).collect())
}

/// Removes the commas that bun writes before a closing bracket and that JSON does not allow.
fn without_trailing_commas(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        let closes = || text[at + 1..].trim_start().starts_with(['}', ']']);
        if in_string || c != ',' || !closes() {
            plain.push(c);
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    plain
}

/// Reads the first lines of yarn's entries: `"a@^1", a@^2:`, and in later versions `"a@npm:^1, a@npm:^2":`.
fn yarn(text: &str, folder: &str) -> Result<Recorded, Fit> {
    let mut recorded = Recorded::new();
    let heads = text.lines().filter(|line| !line.starts_with([' ', '#'])).filter_map(|l| l.strip_suffix(':'));
    for one in heads.flat_map(|head| head.split(',')) {
        let one = one.trim().trim_matches('"');
        let Some(at) = one.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| at) else {
            continue;
        };
        let version = one[at + 1..].strip_prefix("npm:").unwrap_or(&one[at + 1..]);
        recorded.entry(one[..at].into()).or_default().insert(version.into());
    }
    let later = text.contains("__metadata:");
    if later && !folder.is_empty() && !text.contains(&format!("@workspace:{folder}\"")) {
        return Err(Fit::Foreign);
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &[u8] = br#"{"dependencies":{"next":"^15"},"devDependencies":{"@types/node":"22"}}"#;

    fn fit(name: &str, text: &str, folder: &str) -> Fit {
        super::fit(
            name,
            text.as_bytes(),
            folder,
            &WantedPackages::of(&package_json::parse(MANIFEST).unwrap()),
        )
    }

    #[test]
    fn a_pnpm_lock_fits_by_its_importer() {
        let importer = |folder: &str| {
            format!(
                "lockfileVersion: '9.0'\n\nimporters:\n\n  {folder}:\n    dependencies:\n      next:\n        \
                 specifier: ^15\n        version: 15.0.0(react@19)\n    devDependencies:\n      '@types/node':\n        \
                 specifier: '22'\n        version: 22.1.0\n\npackages:\n\n  next@15.0.0:\n    resolution: {{}}\n"
            )
        };
        assert_eq!(fit("pnpm-lock.yaml", &importer("."), ""), Fit::Fits);
        assert_eq!(fit("pnpm-lock.yaml", &importer("."), "ui"), Fit::Foreign);
        assert_eq!(fit("pnpm-lock.yaml", &importer("ui"), "ui"), Fit::Fits);
        assert_eq!(fit("pnpm-lock.yaml", &importer(".").replace("^15", "^14"), ""), Fit::Stale);
        assert_eq!(fit("pnpm-lock.yaml", &importer(".").replace("next:", "vite:"), ""), Fit::Stale);
        let empty = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n";
        assert_eq!(fit("pnpm-lock.yaml", empty, ""), Fit::Empty);
        assert_eq!(fit("pnpm-lock.yaml", " \n", ""), Fit::Empty);
        let old =
            "lockfileVersion: 5.4\nspecifiers:\n  next: ^15\n  '@types/node': '22'\npackages:\n  /a/1: {}\n";
        assert_eq!(fit("pnpm-lock.yaml", old, ""), Fit::Fits);
        assert_eq!(fit("pnpm-lock.yaml", old, "ui"), Fit::Foreign);
    }

    #[test]
    fn an_npm_lock_fits_by_its_copy_of_the_manifest() {
        let lock = |folder: &str| {
            format!(
                r#"{{"packages":{{"{folder}":{{"dependencies":{{"next":"^15"}},"devDependencies":{{"@types/node":"22"}}}}}}}}"#
            )
        };
        assert_eq!(fit("package-lock.json", &lock(""), ""), Fit::Fits);
        assert_eq!(fit("package-lock.json", &lock("ui"), "ui"), Fit::Fits);
        assert_eq!(fit("package-lock.json", &lock(""), "ui"), Fit::Foreign);
        assert_eq!(fit("package-lock.json", &lock("").replace("^15", "^14"), ""), Fit::Stale);
        assert_eq!(fit("package-lock.json", r#"{"lockfileVersion":3,"packages":{}}"#, ""), Fit::Empty);
        assert_eq!(fit("package-lock.json", "<<<<<<< HEAD", ""), Fit::Unknown);
    }

    #[test]
    fn a_bun_lock_is_read_with_its_commas() {
        let lock = r#"{ "lockfileVersion": 1, "workspaces": { "": { "name": "a,}", "dependencies": { "next": "^15", },
            "devDependencies": { "@types/node": "22", }, }, }, }"#;
        assert_eq!(fit("bun.lock", lock, ""), Fit::Fits);
        assert_eq!(fit("bun.lock", lock, "ui"), Fit::Foreign);
        assert_eq!(fit("bun.lockb", "#!/usr/bin/env bun\n", ""), Fit::Unknown);
    }

    #[test]
    fn a_yarn_lock_fits_if_it_has_every_version() {
        let classic = "# yarn lockfile v1\n\n\nnext@^15, next@^14:\n  version \"15\"\n\n\"@types/node@22\":\n  version \"22\"\n";
        assert_eq!(fit("yarn.lock", classic, ""), Fit::Fits);
        assert_eq!(fit("yarn.lock", "# yarn lockfile v1\n\n\n", ""), Fit::Empty);
        assert_eq!(fit("yarn.lock", "# yarn lockfile v1\nnext@^15:\n", ""), Fit::Stale);
        assert_eq!(fit("yarn.lock", "# yarn lockfile v1\nnext@^15:\n", "ui"), Fit::Foreign);
        let later = "__metadata:\n  version: 8\n\n\"next@npm:^15\":\n  version: 15\n\n\"@types/node@npm:22\":\n  version: 22\n";
        assert_eq!(fit("yarn.lock", later, ""), Fit::Fits);
        assert_eq!(fit("yarn.lock", later, "ui"), Fit::Foreign);
    }
}
