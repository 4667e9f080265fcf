//! Finds the cause of a failed migration in its output: a module of the repository, a setting, an extension.

use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;

use super::address::ServerAddress;
use super::python;
use crate::context::missing_settings::{self, MissingSetting, ProgramPlace};
use crate::error::Fault;

/// How to get a server with an extension that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionAdvice {
    /// The line of the compose file whose image brings the extension, and the image.
    pub image: Option<(String, String)>,
    /// The next step.
    pub fix: String,
}

impl ExtensionAdvice {
    /// Returns a sentence about the image: `docker-compose.yml:3 uses pgvector/pgvector:pg17, which has it`.
    pub(super) fn sentence(&self) -> Option<String> {
        let (at, image) = self.image.as_ref()?;
        Some(format!("{at} uses the image {image}, which has it; devrun runs a Postgres without containers"))
    }
}

/// The likely cause of a failed migration, judged by the end of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The command or a library is not installed.
    Dependencies,
    /// The command is not installed, and the configuration lets devrun install no packages that could contain it.
    UndeclaredPackages,
    /// The missing module is a folder or file of the repository, which is not on the import path.
    OwnModule {
        /// The module's name.
        module: String,
        /// Its folder or file.
        path: PathBuf,
    },
    /// Settings that the code requires are missing.
    Settings(Vec<MissingSetting>),
    /// The Postgres server lacks an extension, a role, a locale or a privilege that the migration needs.
    Lacking {
        /// The extension, if that is what is missing.
        extension: Option<String>,
        /// How to get a server with that extension, once it is known.
        advice: Option<Box<ExtensionAdvice>>,
    },
    /// The command tried to connect to another server than the branch database's and got no answer.
    OtherServer {
        /// The address of the other server.
        address: ServerAddress,
        /// The address of the branch database's server.
        own: ServerAddress,
        /// The line of code that contains the address, as `config.py:27`.
        written: Option<String>,
    },
    /// The database did not answer the command.
    Server,
    /// The command downloads something and did not reach the server.
    Download,
    /// The database user lacks a right.
    Rights,
    /// The database was migrated by code that this worktree does not have.
    UnknownRevision {
        /// The database that it is copied from, if that one has the revision too.
        parent: Option<String>,
    },
    /// The command exceeded its time limit.
    Slow,
    /// An object that the migration creates exists already. An earlier attempt may have left it.
    Exists,
    /// An object that the migration creates exists already, and no migration that the database records makes it. The code that left
    /// it may have been corrected since, or not. Has all objects that no recorded migration makes, as `table public.leads`.
    Leftover(Vec<String>),
    /// The migration itself, and it committed a part of its work before it failed. Has the objects that no recorded migration makes.
    HalfApplied(Vec<String>),
    /// The migration itself: no other cause was recognised.
    Code,
}

impl FailureCause {
    /// Returns where the fault lies, or `None` if that is not known.
    pub(super) fn fault(&self) -> Option<Fault> {
        Some(match self {
            FailureCause::Exists | FailureCause::Leftover(_) | FailureCause::UnknownRevision { .. } => {
                return None;
            }
            FailureCause::Code | FailureCause::HalfApplied(_) | FailureCause::OtherServer { .. } => {
                Fault::Code
            }
            FailureCause::OwnModule { .. } | FailureCause::Settings(_) | FailureCause::UndeclaredPackages => {
                Fault::Configuration
            }
            FailureCause::Dependencies
            | FailureCause::Server
            | FailureCause::Download
            | FailureCause::Rights
            | FailureCause::Slow
            | FailureCause::Lacking { .. } => Fault::Environment,
        })
    }
}

static MODULE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?m)ModuleNotFoundError: No module named '([\w.]+)'").ok());
static EXTENSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"extension "([\w-]+)" is not available|extension control file "[^"]*/([\w-]+)\.control""#)
        .ok()
});
static ABSENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"role "[^"]+" does not exist|collation "[^"]+" for encoding "[^"]+" does not exist|permission denied to create|language "[^"]+" does not exist"#).ok()
});

/// Returns the cause that the output of a command names, if there is one.
pub(super) fn find(tail: &str, program: &ProgramPlace<'_>) -> Option<FailureCause> {
    let named = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref()?.captures(tail)?;
        Some(found.iter().skip(1).flatten().next()?.as_str().to_string())
    };
    if let Some(extension) = named(&EXTENSION) {
        return Some(FailureCause::Lacking { extension: Some(extension), advice: None });
    }
    if ABSENT.as_ref().is_some_and(|pattern| pattern.is_match(tail)) {
        return Some(FailureCause::Lacking { extension: None, advice: None });
    }
    if let Some(module) = named(&MODULE)
        && let Some(path) = python::own_module(program.directory, &module)
    {
        return Some(FailureCause::OwnModule { module, path });
    }
    let settings = missing_settings::with_examples(missing_settings::names(tail), program);
    match missing_settings::fault(&settings)? {
        Fault::Configuration => Some(FailureCause::Settings(settings)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn found(tail: &str, directory: &Path) -> Option<FailureCause> {
        let set = BTreeSet::from(["DATABASE_URL".to_string()]);
        find(tail, &ProgramPlace { directory, root: directory, set: &set })
    }

    fn written(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::os::fs::replace(&path, text.as_bytes(), 0o600).unwrap();
    }

    #[test]
    fn missing_features_of_postgres_are_not_a_fault_of_the_code() {
        for (tail, extension) in [
            (r#"ERROR: extension "vector" is not available"#, Some("vector")),
            (
                r#"could not open extension control file "/usr/share/postgresql/extension/postgis.control": No such file"#,
                Some("postgis"),
            ),
            (r#"ERROR: role "authenticated" does not exist"#, None),
            (r#"ERROR: collation "en_US.utf8" for encoding "UTF8" does not exist"#, None),
            ("ERROR: permission denied to create role", None),
        ] {
            let found = found(tail, Path::new("/nowhere")).unwrap();
            let lacking = FailureCause::Lacking { extension: extension.map(Into::into), advice: None };
            assert_eq!(found, lacking, "{tail}");
        }
    }

    #[test]
    fn a_module_of_the_repository_is_not_missing_from_the_packages() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), "app/models.py", "");
        let tail = "ModuleNotFoundError: No module named 'app.models'";
        assert!(matches!(found(tail, folder.path()), Some(FailureCause::OwnModule { .. })));
        assert_eq!(found("ModuleNotFoundError: No module named 'psycopg'", folder.path()), None);
    }

    #[test]
    fn missing_settings_are_named_with_their_example() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), ".env.example", "DEBUG=1\nSECRET_KEY=changethis\n");
        let tail = "pydantic_core.ValidationError: 1 validation error for Settings\nsecret_key\n  Field required [type=missing]";
        let Some(FailureCause::Settings(named)) = found(tail, folder.path()) else { panic!() };
        assert_eq!((named[0].name.as_str(), named.len()), ("SECRET_KEY", 1));
        assert!(named[0].example.as_ref().unwrap().ends_with(".env.example:2"));
        let read = |name: &str| format!("    url = os.environ[\"{name}\"]\nKeyError: '{name}'");
        assert!(matches!(found(&read("STRIPE_KEY"), folder.path()), Some(FailureCause::Settings(_))));
        assert_eq!(found(&read("DATABSE_URL"), folder.path()), None, "a misspelling of DATABASE_URL");
        assert_eq!(found("KeyError: 'x'", folder.path()), None);
    }
}
