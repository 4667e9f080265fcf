//! Finds the configuration of a worktree: devrun.yaml, what was recognised, or a Procfile.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::model::{Config, Notice, PortRef, SLOTS};
use crate::config::process::{Dependency, Draft};
use crate::config::source::{At, Source};
use crate::config::{consistency, envfile, merge, needs, procfile, schema, yaml};
use crate::os::read::{self, Limit, ReadError};

/// What the file is called.
pub const FILE: &str = "devrun.yaml";
/// What it is not called, though many such files are.
pub const MISNAMED: &str = "devrun.yml";
/// What a Procfile is called.
pub const PROCFILE: &str = "Procfile";
/// What the Procfile for development is called; it comes before the other one.
pub const PROCFILE_DEV: &str = "Procfile.dev";

/// The entry of a Procfile that runs once, before the others.
pub const RELEASE: &str = "release";

/// What was recognised of a repository, in the form of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognised {
    /// The text of the devrun.yaml; empty when nothing was recognised.
    pub yaml: String,
    /// One remark for each part: `Next.js in frontend`.
    pub remarks: Vec<String>,
    /// Facts that a person should know: parts that were left out, addresses that no variable changes.
    pub notices: Vec<Notice>,
    /// What was looked for, when nothing was recognised.
    pub searched: String,
}

/// Loads the configuration of the worktree at `root`; `main_root` is the main worktree, whose env files stand in for
/// missing ones. Calls `recognise` at most once, and only when no file says everything.
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

/// The Procfile that runs without any configuration.
fn procfile(root: &Path, main_root: Option<&Path>) -> Result<Option<Arc<Source>>, ConfigError> {
    match read(root, main_root, Path::new(PROCFILE_DEV))? {
        Some(source) => Ok(Some(source)),
        None => read(root, main_root, Path::new(PROCFILE)),
    }
}

/// The error of a configuration whose name is [`MISNAMED`].
pub fn misnamed() -> ConfigError {
    let source = Source::new(MISNAMED, "");
    ConfigError::invalid(&At::file(&source), format!("is not read: the name is {FILE}"))
        .with_fix(format!("run `git mv {MISNAMED} {FILE}`"))
}

/// The text of a file of the worktree; `None` when it is not there. A link may lead to a file in the main worktree.
fn read(root: &Path, main_root: Option<&Path>, name: &Path) -> Result<Option<Arc<Source>>, ConfigError> {
    let path = root.join(name);
    let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
    let failed = |kind, message: String| unreadable(std::io::Error::new(kind, message).into());
    let roots: Vec<&Path> = std::iter::once(root).chain(main_root).collect();
    let limit = Limit { bytes: yaml::MAX_BYTES, ..Limit::SMALL };
    let bytes = match read::inside(&roots, &path, limit) {
        Ok(bytes) => bytes,
        // A link that leads nowhere was meant to be the configuration.
        Err(error) if error.is_missing() => {
            return match path.symlink_metadata() {
                Ok(_) => Err(failed(ErrorKind::NotFound, "it leads to a file that is not there".into())),
                Err(_) => Ok(None),
            };
        }
        Err(ReadError::TooLarge(_)) => {
            let source = Source::new(name.display().to_string(), "");
            let most = yaml::MAX_BYTES >> 10;
            let message = format!("is larger than {most} KiB, which no configuration needs");
            return Err(ConfigError::invalid(&At::file(&source), message));
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
    if merge::wants_recognition(&node)? {
        recognised = recognise();
        if recognised.yaml.is_empty() && merge::names_no_process(&node) {
            // A file that is wrong is told so before anything that it lacks.
            schema::read(&node)?;
            return Err(ConfigError::invalid(
                &At::file(source),
                "has no `processes`, and nothing was recognised",
            )
            .with_fix("write `processes:`, or name a Procfile with `procfile:`"));
        }
        let text = Source::new("what devrun recognised", recognised.yaml.clone());
        if !recognised.yaml.is_empty() {
            merge::complete(&mut node, yaml::parse(&text)?);
        }
    }
    let draft = schema::read(&node)?;
    let mut config = draft.config;
    config.provenance.files.push(source.name.clone());
    config.provenance.recognised = recognised.remarks;
    config.provenance.notices = recognised.notices;
    if root.join(MISNAMED).exists() {
        config.provenance.warnings.push(format!("{MISNAMED} is ignored: {FILE} is there"));
    }
    let mut processes = draft.processes;
    if let Some((path, at)) = draft.procfile {
        let Some(source) = read(root, main_root, &path)? else {
            return Err(ConfigError::invalid(&at, format!("there is no file `{}`", path.display())));
        };
        let base = procfile_base(&config.env_files, root, main_root)?;
        processes = add_procfile(&mut config, &source, base)?;
    }
    consistency::settle(config, processes, &At::file(source), &|folder| has_client(root, folder))
}

fn from_procfile(root: &Path, main_root: Option<&Path>, source: &Arc<Source>) -> Result<Config, ConfigError> {
    let mut config = empty();
    config.env_files = vec![".env".into()];
    let base = procfile_base(&config.env_files, root, main_root)?;
    let mut processes = add_procfile(&mut config, source, base)?;
    release_first(&mut processes);
    consistency::settle(config, processes, &At::file(source), &|_| false)
}

/// Makes `release`, which a deployment runs before it starts the others, a job that the others wait for.
fn release_first(drafts: &mut [Draft]) {
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

/// The port base of a Procfile's first process: PORT of the env files, as with foreman, where the system leaves it free.
fn procfile_base(env_files: &[PathBuf], root: &Path, main_root: Option<&Path>) -> Result<u16, ConfigError> {
    let files = envfile::load(env_files, root, main_root, &BTreeMap::new())?;
    let written = files.iter().flat_map(|file| &file.vars).rfind(|(name, _)| name == "PORT");
    let base = written.and_then(|(_, value)| value.parse().ok()).filter(|base| *base >= 1024);
    Ok(base.unwrap_or(procfile::FIRST_PORT))
}

/// Adds the processes of a Procfile: each gets a port of its name, 100 after the one before, as with foreman.
fn add_procfile(config: &mut Config, source: &Arc<Source>, base: u16) -> Result<Vec<Draft>, ConfigError> {
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
        let serves = asked || process.name == "web" || mentions_port(&process.run);
        process.port = Some(PortRef {
            name: process.name.clone(),
            listens: false,
            node: true,
            asked: serves,
            at: process.at.clone(),
        });
        drafts.push(Draft::alone(process));
    }
    Ok(drafts)
}

fn mentions_port(run: &crate::plan::Run) -> bool {
    matches!(run, crate::plan::Run::Shell(text) if text.contains("$PORT") || text.contains("${PORT"))
}

fn from_recognised(root: &Path, recognised: Recognised) -> Result<Config, ConfigError> {
    let source = Source::new("what devrun recognised", recognised.yaml);
    let draft = schema::read(&yaml::parse(&source)?)?;
    let mut config = draft.config;
    config.provenance.recognised = recognised.remarks;
    config.provenance.notices = recognised.notices;
    consistency::settle(config, draft.processes, &At::file(&source), &|folder| has_client(root, folder))
}

fn empty() -> Config {
    Config {
        name: None,
        ports: BTreeMap::new(),
        env_files: schema::default_env_files(),
        env: Vec::new(),
        dependencies: crate::config::model::Dependencies::default(),
        database: None,
        processes: Vec::new(),
        urls: Vec::new(),
        logs: crate::plan::LogLimits::default(),
        provenance: crate::config::model::Provenance::default(),
    }
}

fn has_client(root: &Path, folder: &Path) -> bool {
    let package = read(root, None, &folder.join("package.json")).ok().flatten();
    package
        .and_then(|package| serde_json::from_str(package.text()).ok())
        .is_some_and(|package| needs::names_database_client(&package))
}

/// Folders that must be there before anything is run in them.
fn check_folders(root: &Path, config: &Config) -> Result<(), ConfigError> {
    let processes = config.processes.iter().map(|process| {
        (At { key: format!("{}.directory", process.at.key), ..process.at.clone() }, process.directory.clone())
    });
    let file = config.processes.first().map(|process| At::file(&process.at.source));
    let elsewhere: [(&str, Option<&PathBuf>); 3] = [
        ("dependencies.node.directory", config.dependencies.node.as_ref()),
        ("dependencies.python.directory", config.dependencies.python.as_ref()),
        (
            "database.migrate.directory",
            config
                .database
                .as_ref()
                .and_then(|database| database.migrate.as_ref())
                .map(|migrate| &migrate.directory),
        ),
    ];
    let elsewhere = elsewhere
        .into_iter()
        .filter_map(|(key, folder)| Some((At { key: key.into(), ..file.clone()? }, folder?.clone())));
    for (at, folder) in processes.chain(elsewhere) {
        let shown = folder.display();
        let path = root.join(&folder);
        match read::resolve_inside(&[root], &path) {
            Ok(real) if real.is_dir() => {}
            Err(ReadError::Outside(real)) => {
                let message = format!("`{shown}` leads out of the worktree, to {}", real.display());
                return Err(ConfigError::invalid(&at, message).with_fix(format!(
                    "put the folder itself in the place of the link {shown}, or name one inside the worktree"
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
