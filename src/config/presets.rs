//! The services that devrun knows by name: their programs, ports, data, readiness and variables.
//!
//! Each preset is a file. `<name>` in a text of a preset is the name of the service, `<NAME>` the same as the first part of a
//! variable's name. `<app>`, `<queue>` and `<queues>` are the application and the queues of a worker.

mod celery;
mod mailpit;
mod minio;
mod redis;
mod rq;
mod valkey;

use crate::config::names::variable_stem;
use crate::plan::{ProgramWheel, ServiceData};

/// A service that devrun knows by name.
#[derive(Debug, PartialEq, Eq)]
pub struct ServicePreset {
    /// Its name in devrun.yaml.
    pub name: &'static str,
    /// The place in the order of starts.
    pub role: PresetRole,
    /// The programs that can serve it, each with its command. The first one that is installed runs.
    pub programs: &'static [PresetProgram],
    /// How to install one of the programs.
    pub install: &'static str,
    /// Its ports: what follows the service's name, and the base. The first one is the port of the process.
    pub ports: &'static [(&'static str, u16)],
    /// The probe that decides when it is ready.
    pub probe: PresetProbe,
    /// The treatment of its data at the start of a run, if the entry has no `data`; `None` if it has no data.
    pub data: Option<ServiceData>,
    /// The file in the data folder that holds all of the data, if a copy of that file is a copy of the data.
    pub data_file: Option<&'static str>,
    /// Variables for the process itself.
    pub own_env: &'static [(&'static str, &'static str)],
    /// Variables for every process, if the entry has no `env`.
    pub env: &'static [(&'static str, &'static str)],
    /// Names of compose images that this service replaces.
    pub images: &'static [&'static str],
}

/// The place of a service in the order of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresetRole {
    /// Other processes wait until it is ready.
    Server,
    /// Waits for servers, as other processes do. Takes jobs from queues with names of the worktree.
    Worker {
        /// The text between two queues on the command line.
        separator: &'static str,
        /// The queue to which the library sends jobs without a name.
        usual_queue: &'static str,
        /// True if the command names the application.
        has_app: bool,
    },
}

/// A program and the shell command that runs it.
#[derive(Debug, PartialEq, Eq)]
pub struct PresetProgram {
    pub name: &'static str,
    pub run: &'static str,
    /// The wheels from which devrun takes it if no program of the preset is installed.
    pub wheels: &'static [ProgramWheel],
}

impl PresetProgram {
    /// Returns the wheel with the program for this machine.
    pub fn wheel(&self) -> Option<&'static ProgramWheel> {
        self.wheels.iter().find(|wheel| wheel.is_for_this_machine())
    }
}

/// The readiness probe of a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresetProbe {
    /// It is ready once it is started.
    None,
    /// GET of this path on its port succeeds.
    Http(&'static str),
    /// A line of its output matches this regular expression.
    Log(&'static str),
}

/// Every preset.
pub const PRESETS: [&ServicePreset; 6] =
    [&redis::REDIS, &valkey::VALKEY, &minio::MINIO, &mailpit::MAILPIT, &celery::CELERY, &rq::RQ];

/// The names of the presets.
pub const PRESET_WORDS: [&str; 6] = [
    redis::REDIS.name,
    valkey::VALKEY.name,
    minio::MINIO.name,
    mailpit::MAILPIT.name,
    celery::CELERY.name,
    rq::RQ.name,
];

impl ServicePreset {
    /// Returns the preset with this name.
    pub fn named(name: &str) -> Option<&'static ServicePreset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// Returns the preset of Redis, which recognition uses.
    pub const fn redis() -> &'static ServicePreset {
        &redis::REDIS
    }

    /// Returns true if its server speaks the protocol of Redis.
    pub fn speaks_redis(&self) -> bool {
        [redis::REDIS.name, valkey::VALKEY.name].contains(&self.name)
    }

    /// Returns true if other processes wait for it.
    pub fn is_server(&self) -> bool {
        self.role == PresetRole::Server
    }

    /// Returns the names of its programs, for a message.
    pub fn program_names(&self) -> String {
        let names: Vec<&str> = self.programs.iter().map(|program| program.name).collect();
        names.join(" or ")
    }
}

/// Returns true if devrun can download `program` for this machine.
pub fn is_downloadable(program: &str) -> bool {
    let mut programs = PRESETS.into_iter().flat_map(|preset| preset.programs);
    programs.any(|one| one.name == program && one.wheel().is_some())
}

/// Returns a text of a preset for the service `name`.
pub fn for_service(text: &str, name: &str) -> String {
    text.replace("<name>", name).replace("<NAME>", &variable_stem(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_name_and_has_a_program() {
        for (preset, word) in PRESETS.into_iter().zip(PRESET_WORDS) {
            assert_eq!(ServicePreset::named(word), Some(preset));
            assert!(!preset.programs.is_empty() && !preset.install.is_empty(), "{word}");
            let is_first = preset.ports.first().is_none_or(|(suffix, _)| suffix.is_empty());
            assert!(is_first, "{word}: the first port has the name of the service");
        }
    }

    #[test]
    fn bases_of_presets_are_at_least_a_hundred_apart() {
        let servers = PRESETS.into_iter().filter(|preset| preset.name != valkey::VALKEY.name);
        let mut bases: Vec<u16> = servers.flat_map(|preset| preset.ports).map(|(_, base)| *base).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{bases:?}");
    }

    #[test]
    fn texts_name_the_service() {
        assert_eq!(
            for_service("<NAME>_URL=x:${ports.<name>-smtp}", "my-mail"),
            "MY_MAIL_URL=x:${ports.my-mail-smtp}"
        );
    }
}
