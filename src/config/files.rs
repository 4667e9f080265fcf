//! Finds the configuration of a worktree: devrun.yaml, the recognised project, or a Procfile.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::envfile::EnvFilePlaces;
use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::model::{Config, PortRef};
use crate::config::port_base::SLOTS;
use crate::config::process::{Dependency, UncheckedProcess};
use crate::config::source::{ConfigPosition, Source};
use crate::config::{consistency, envfile, guessed_needs, keys, merge, procfile, schema, yaml};
use crate::context::package_json;
use crate::os::read::{self, Limit, ReadError};
use crate::plan::{BoundVariable, RepositoryNotice};
use crate::text::quoted;

/// Name of the configuration file.
pub const FILE: &str = "devrun.yaml";
/// A common misspelling of [`FILE`], which devrun reports instead of reading.
pub const MISNAMED: &str = "devrun.yml";
/// Name of a Procfile.
pub const PROCFILE: &str = "Procfile";
/// Name of the Procfile for development, which takes precedence over [`PROCFILE`].
pub const PROCFILE_DEV: &str = "Procfile.dev";

pub use super::procfile::RELEASE;

/// Name of the YAML that recognition writes, as shown in errors.
const RECOGNISED: &str = "what devrun recognised";

/// The parts of a repository that devrun recognised, in the form of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognised {
    /// The text of a devrun.yaml; empty when nothing was recognised.
    pub yaml: String,
    /// One remark for each part: `Next.js in frontend`.
    pub remarks: Vec<String>,
    /// Facts that the user should know: parts that were left out, addresses that no variable changes.
    pub notices: Vec<RepositoryNotice>,
    /// Where recognition looked, or why it left parts out; shown when nothing was recognised.
    pub searched: String,
    /// Variables to which the text gives values.
    pub bindings: Vec<BoundVariable>,
}

/// Loads the configuration of the worktree at `root`. `main_root` is the main worktree; its env files are read where
/// this worktree has none. Calls `recognise` at most once, and not at all if devrun.yaml describes every process.
pub fn load(
    root: &Path,
    main_root: Option<&Path>,
    recognise: &dyn Fn() -> Recognised,
) -> Result<Config, ConfigError> {
    let config = if let Some(source) = read(root, main_root, Path::new(FILE))? {
        from_yaml(root, main_root, &source, recognise)?
    } else if root.join(MISNAMED).exists() {
        return Err(misnamed());
    } else {
        let recognised = recognise();
        if recognised.yaml.is_empty() {
            let procfile = procfile(root, main_root)?.ok_or_else(|| ConfigError::Missing {
                root: root.into(),
                found: recognised.searched.clone(),
            })?;
            from_procfile(root, main_root, &procfile)?
        } else {
            from_recognised(root, recognised)?
        }
    };
    check_folders(root, &config)?;
    Ok(config)
}

/// Returns the template of the path of new worktrees in the devrun.yaml of the worktree at `root`, without checking the other
/// keys. `None` if there is no file or the key is absent.
pub fn worktree_path(root: &Path, main_root: Option<&Path>) -> Result<Option<Template>, ConfigError> {
    let Some(source) = read(root, main_root, Path::new(FILE))? else { return Ok(None) };
    let node = yaml::parse(&source)?;
    let written = node.entries()?.iter().find(|entry| entry.name == keys::WORKTREES);
    written.map_or(Ok(None), |entry| schema::worktree_path(&entry.value))
}

/// Returns the Procfile of the worktree: [`PROCFILE_DEV`], or else [`PROCFILE`].
fn procfile(root: &Path, main_root: Option<&Path>) -> Result<Option<Arc<Source>>, ConfigError> {
    match read(root, main_root, Path::new(PROCFILE_DEV))? {
        Some(source) => Ok(Some(source)),
        None => read(root, main_root, Path::new(PROCFILE)),
    }
}

/// Returns the error for a configuration file that is called [`MISNAMED`].
pub fn misnamed() -> ConfigError {
    let source = Source::new(MISNAMED, "");
    ConfigError::invalid(&ConfigPosition::file(&source), format!("is not read: the name is {FILE}"))
        .with_fix(format!("run `git mv {MISNAMED} {FILE}`"))
}

/// Returns the text of a file of the worktree; `None` if it does not exist. A symbolic link may lead into the main
/// worktree.
fn read(root: &Path, main_root: Option<&Path>, name: &Path) -> Result<Option<Arc<Source>>, ConfigError> {
    let path = root.join(name);
    let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
    let failed = |kind, message: String| unreadable(std::io::Error::new(kind, message).into());
    let roots: Vec<&Path> = std::iter::once(root).chain(main_root).collect();
    let limit = Limit { bytes: yaml::MAX_BYTES, ..Limit::SMALL };
    let bytes = match read::inside(&roots, &path, limit) {
        Ok(bytes) => bytes,
        // A dangling link is an error: the user meant it to be the configuration.
        Err(error) if error.is_missing() => {
            return match path.symlink_metadata() {
                Ok(_) => Err(failed(ErrorKind::NotFound, "it leads to a file that is not there".into())),
                Err(_) => Ok(None),
            };
        }
        Err(ReadError::TooLarge(_)) => {
            let source = Source::new(name.display().to_string(), "");
            let most = yaml::MAX_BYTES >> 10;
            let message = format!("is larger than {most} KiB, the limit");
            return Err(ConfigError::invalid(&ConfigPosition::file(&source), message));
        }
        Err(error) => return Err(unreadable(error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        failed(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })?;
    Ok(Some(Source::new(name.display().to_string(), text)))
}

fn from_yaml(
    root: &Path,
    main_root: Option<&Path>,
    source: &Arc<Source>,
    recognise: &dyn Fn() -> Recognised,
) -> Result<Config, ConfigError> {
    let mut node = yaml::parse(source)?;
    let mut recognised = Recognised::default();
    let mut added = Source::new(RECOGNISED, "");
    let mut beside = None;
    if merge::wants_recognition(&node)? {
        recognised = recognise();
        recognised.notices.retain(|notice| !merge::is_answered(&notice.notice, &node));
        if recognised.yaml.is_empty()
            && let Some(source) = procfile(root, main_root)?
        {
            let base = procfile_base(&schema::default_env_files(), root, main_root)?;
            recognised.yaml = procfile::to_yaml(&procfile::parse(&source)?, base, &merge::ports(&node));
            beside = Some(source.name.clone());
        }
        if recognised.yaml.is_empty() && merge::names_no_process(&node) && !merge::names_service(&node) {
            // Errors in the file come before the error about missing processes.
            schema::read(&node)?;
            return Err(ConfigError::invalid(
                &ConfigPosition::file(source),
                "has no `processes`, and nothing was recognised",
            )
            .with_fix("write `processes:`, or name a Procfile with `procfile:`"));
        }
        added = Source::new(RECOGNISED, recognised.yaml.clone());
        if !recognised.yaml.is_empty() {
            merge::complete(&mut node, yaml::parse(&added)?);
        }
    }
    let draft = schema::read(&node)?;
    let mut config = draft.config;
    config.provenance.files.push(source.name.clone());
    config.provenance.files.extend(beside);
    config.provenance.added = recognised.yaml;
    config.provenance.recognised = recognised.remarks;
    config.provenance.notices = recognised.notices;
    if root.join(MISNAMED).exists() {
        config.provenance.warnings.push(format!("{MISNAMED} is ignored because {FILE} exists"));
    }
    let mut processes = draft.processes;
    if let Some((path, at)) = draft.procfile {
        let Some(source) = read(root, main_root, &path)? else {
            return Err(ConfigError::invalid(&at, format!("there is no file `{}`", path.display())));
        };
        let base = procfile_base(&config.env_files, root, main_root)?;
        processes = add_procfile(&mut config, &source, base)?;
    }
    let config = consistency::complete(config, processes, &ConfigPosition::file(source), &|folder| {
        has_client(root, folder)
    })?;
    Ok(bound(config, recognised.bindings, &added))
}

/// Adds the bindings with values from `text`. For the other variables, the file has its own value.
fn bound(mut config: Config, bindings: Vec<BoundVariable>, text: &Arc<Source>) -> Config {
    let is_added = |at: &ConfigPosition| Arc::ptr_eq(&at.source, text);
    let of_process = |name: &str| config.processes.iter().find(|process| process.name == name);
    let is_used = |binding: &BoundVariable| {
        let env = match &binding.process {
            None => Some(&config.env),
            Some(process) => of_process(process).map(|process| &process.env),
        };
        let mut env = env.into_iter().flatten();
        let mut urls = config.url_env().iter().filter(|_| binding.process.is_none());
        env.any(|(name, template)| *name == binding.name && is_added(&template.at))
            || urls.any(|url| url.name == binding.name && is_added(&url.at))
    };
    let bindings = bindings.into_iter().filter(is_used).collect();
    config.provenance.bindings = bindings;
    config
}

fn from_procfile(root: &Path, main_root: Option<&Path>, source: &Arc<Source>) -> Result<Config, ConfigError> {
    let mut config = empty();
    config.env_files = vec![".env".into()];
    let base = procfile_base(&config.env_files, root, main_root)?;
    let mut processes = add_procfile(&mut config, source, base)?;
    release_first(&mut processes);
    consistency::complete(config, processes, &ConfigPosition::file(source), &|_| false)
}

/// Makes every other process wait for `release`, which a deployment runs to completion before it starts the others.
fn release_first(drafts: &mut [UncheckedProcess]) {
    let Some(at) =
        drafts.iter().find(|draft| draft.process.name == RELEASE).map(|draft| draft.process.at.clone())
    else {
        return;
    };
    for draft in drafts.iter_mut().filter(|draft| draft.process.name != RELEASE) {
        draft.depends_on.push(Dependency {
            name: RELEASE.into(),
            condition: Some(crate::plan::Condition::Completed),
            at: at.clone(),
        });
    }
}

/// Returns the port base of a Procfile's first process: `PORT` of the env files, as with foreman, unless it is below
/// 1024, where a port needs privileges.
fn procfile_base(env_files: &[PathBuf], root: &Path, main_root: Option<&Path>) -> Result<u16, ConfigError> {
    let files = envfile::load(env_files, EnvFilePlaces::own_and_main(root, main_root), &BTreeMap::new())?;
    let written = files.iter().flat_map(|file| &file.vars).rfind(|(name, _)| name == "PORT");
    let base = written.and_then(|(_, value)| value.parse().ok()).filter(|base| *base >= 1024);
    Ok(base.unwrap_or(procfile::FIRST_PORT))
}

/// Reads the processes of a Procfile. Each gets a port with its name: the one in `ports`, or else the next free base, 100 above the
/// one before, as with foreman.
fn add_procfile(
    config: &mut Config,
    source: &Arc<Source>,
    base: u16,
) -> Result<Vec<UncheckedProcess>, ConfigError> {
    let read = procfile::parse(source)?;
    config.provenance.files.push(source.name.clone());
    config.provenance.warnings.extend(read.warnings);
    let mut next = base;
    let mut drafts = Vec::new();
    for mut process in read.processes {
        let asked = config.ports.contains_key(&process.name);
        if !asked {
            while config.ports.values().any(|taken| taken.abs_diff(next) < SLOTS) {
                next = next.saturating_add(SLOTS);
                if next > u16::MAX - SLOTS {
                    return Err(ConfigError::invalid(&process.at, "there are no ports left for it"));
                }
            }
            config.ports.insert(process.name.clone(), next);
        }
        let serves = asked || procfile::serves(&process.name, &process.run);
        process.port = Some(PortRef {
            name: process.name.clone(),
            listens: false,
            asked: serves,
            at: process.at.clone(),
        });
        drafts.push(UncheckedProcess::alone(process));
    }
    Ok(drafts)
}

fn from_recognised(root: &Path, recognised: Recognised) -> Result<Config, ConfigError> {
    let source = Source::new(RECOGNISED, recognised.yaml);
    let draft = schema::read(&yaml::parse(&source)?)?;
    let mut config = draft.config;
    config.provenance.added = source.text().into();
    config.provenance.recognised = recognised.remarks;
    config.provenance.notices = recognised.notices;
    let at = ConfigPosition::file(&source);
    let config = consistency::complete(config, draft.processes, &at, &|folder| has_client(root, folder))?;
    Ok(bound(config, recognised.bindings, &source))
}

fn empty() -> Config {
    Config {
        name: None,
        ports: BTreeMap::new(),
        env_files: schema::default_env_files(),
        env: Vec::new(),
        env_out: Vec::new(),
        shell_env: Vec::new(),
        dependencies: crate::config::model::Dependencies::default(),
        setup: Vec::new(),
        database: None,
        processes: Vec::new(),
        services: Vec::new(),
        provided: BTreeMap::new(),
        computed_by_service: std::collections::BTreeSet::new(),
        compose: Vec::new(),
        urls: Vec::new(),
        redirects: BTreeMap::new(),
        logs: crate::plan::LogLimits::default(),
        prunes_daily: false,
        provenance: crate::config::model::Provenance::default(),
    }
}

fn has_client(root: &Path, folder: &Path) -> bool {
    let package = read(root, None, &folder.join("package.json")).ok().flatten();
    package
        .and_then(|package| package_json::parse(package.text().as_bytes()))
        .is_some_and(|package| guessed_needs::names_database_client(&package))
}

/// Checks that each folder in which devrun runs something exists and is inside the worktree.
fn check_folders(root: &Path, config: &Config) -> Result<(), ConfigError> {
    let processes = config.processes.iter().map(|process| {
        (
            ConfigPosition { key: format!("{}.directory", process.at.key), ..process.at.clone() },
            process.directory.clone(),
        )
    });
    let file = config.processes.first().map(|process| ConfigPosition::file(&process.at.source));
    let migrate = config.database.as_ref().and_then(|database| database.migrate.as_ref());
    let seed = config.database.as_ref().and_then(|database| database.seed.as_ref());
    let elsewhere = [
        ("dependencies.node.directory", config.dependencies.node.iter().collect::<Vec<_>>()),
        ("dependencies.python.directory", config.dependencies.python.iter().collect()),
        ("setup.directory", config.setup.iter().map(|step| &step.directory).collect()),
        ("database.migrate.directory", migrate.map(|migrate| &migrate.directory).into_iter().collect()),
        ("database.seed.directory", seed.map(|seed| &seed.directory).into_iter().collect()),
    ];
    let elsewhere = elsewhere
        .into_iter()
        .flat_map(|(key, folders)| folders.into_iter().map(move |folder| (key, folder.clone())))
        .filter_map(|(key, folder)| Some((ConfigPosition { key: key.into(), ..file.clone()? }, folder)));
    for (at, folder) in processes.chain(elsewhere) {
        let shown = folder.display();
        let path = root.join(&folder);
        match read::resolve_inside(&[root], &path) {
            Ok(real) if real.is_dir() => {}
            Err(ReadError::Outside(real)) => {
                let message = format!("`{shown}` leads out of the worktree, to {}", real.display());
                return Err(ConfigError::invalid(&at, message).with_fix(format!(
                    "put the folder itself in the place of the link {}, or name one inside the worktree",
                    quoted(&folder)
                )));
            }
            Err(error) if !error.is_missing() => {
                return Err(ConfigError::Unreadable { path, source: error });
            }
            _ => {
                return Err(ConfigError::invalid(&at, format!("there is no folder `{shown}`"))
                    .with_fix("folders are relative to the top of the worktree"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
