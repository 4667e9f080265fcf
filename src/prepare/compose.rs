//! Compares the compose files that the configuration names with the services, processes and database of the worktree.

use std::path::Path;

use crate::config::ConfigError;
use crate::config::model::{Config, ProcessConfig};
use crate::config::presets::{PRESETS, ServicePreset};
use crate::os::read::{self, Limit};
use crate::plan::{ComposeProvider, ComposeService, FileLine, Notice, RepositoryNotice};
use crate::recognition::facts::{self, Service};

/// Words in the names of images that hold a Postgres.
const POSTGRES: [&str; 4] = ["postg", "pgvector", "timescale", "pgbouncer"];

/// Reads the compose files, and adds their services and the notices about them to the configuration. Errors if a file is
/// missing or cannot be read.
pub(super) fn add(root: &Path, config: &mut Config) -> Result<(), ConfigError> {
    for (file, at) in config.compose.clone() {
        let wrong = |reason: String| ConfigError::invalid(&at, reason);
        let bytes = read::inside(&[root], &root.join(&file), Limit::SMALL).map_err(|error| {
            let shown = file.display();
            let reason = if error.is_missing() {
                format!("there is no file `{shown}`")
            } else {
                format!("{shown}: {error}")
            };
            wrong(reason).with_fix("name a compose file of this worktree, relative to its top")
        })?;
        let text = read::decoded(bytes).ok_or_else(|| wrong("is not UTF-8".into()))?;
        let services = facts::compose_services(&file, &text).map_err(wrong)?;
        let compared: Vec<ComposeService> =
            services.into_iter().map(|service| compare(config, &file, service)).collect();
        let notices: Vec<Notice> = compared.iter().filter_map(|service| notice(config, service)).collect();
        config.provenance.notices.extend(notices.into_iter().map(RepositoryNotice::certain));
        config.provenance.compose.extend(compared);
    }
    Ok(())
}

fn compare(config: &Config, file: &Path, service: Service) -> ComposeService {
    ComposeService {
        provided_by: provider(config, &service),
        at: service.at.unwrap_or(FileLine { file: file.into(), line: 1 }),
        name: service.name,
        image: service.image,
        ports: service.ports.into_iter().map(|(host, _)| host).collect(),
    }
}

/// Returns the part of the stack that takes the place of a compose service.
fn provider(config: &Config, service: &Service) -> Option<ComposeProvider> {
    let image = service.image_name().unwrap_or_default();
    if let Some(own) =
        config.services.iter().find(|own| own.preset.is_some_and(|preset| serves(preset, image)))
    {
        let name = own.name.clone();
        let is_shared = own.shared.is_some();
        return Some(if is_shared { ComposeProvider::Shared(name) } else { ComposeProvider::Process(name) });
    }
    if config.database.is_some() && POSTGRES.iter().any(|word| image.contains(word)) {
        return Some(ComposeProvider::Database);
    }
    let built_from = |process: &&ProcessConfig| {
        let directory = folder(&process.directory);
        let is_inner = process.service.is_none() && directory != Path::new("");
        is_inner && service.build.as_deref().map(folder) == Some(directory)
    };
    let by_name = config.processes.iter().find(|process| process.name == service.name);
    let found = by_name.or_else(|| config.processes.iter().find(built_from));
    found.map(|process| ComposeProvider::Process(process.name.clone()))
}

fn folder(path: &Path) -> &Path {
    if path == Path::new(".") { Path::new("") } else { path }
}

/// Returns true if the preset takes the place of an image. Valkey serves what Redis serves.
fn serves(preset: &ServicePreset, image: &str) -> bool {
    preset.images.contains(&image) || preset.speaks_redis() && ServicePreset::redis().images.contains(&image)
}

/// Returns the notice about a service that devrun does not provide.
fn notice(config: &Config, service: &ComposeService) -> Option<Notice> {
    if service.provided_by.is_some() {
        return None;
    }
    let image = service.image.as_ref().map(|image| format!(" ({image})")).unwrap_or_default();
    let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    let ports = match ports.len() {
        0 => "it publishes no port".to_string(),
        1 => format!("all worktrees share its port {}", ports[0]),
        _ => format!("all worktrees share its ports {}", ports.join(", ")),
    };
    let text = format!("{}: {}{image} is left to your container engine; {ports}", service.at, service.name);
    let image = facts::Service { image: service.image.clone(), ..facts::Service::default() };
    let preset = PRESETS
        .into_iter()
        .find(|preset| image.image_name().is_some_and(|name| preset.images.contains(&name)));
    let is_free = |preset: &&ServicePreset| config.services.iter().all(|own| own.name != preset.name);
    let is_database = image.image_name().is_some_and(|name| POSTGRES.iter().any(|word| name.contains(word)));
    let fix = preset.filter(is_free).map(|preset| format!("services: {{ {}: {{}} }}", preset.name));
    let fix = fix.or_else(|| is_database.then(|| "database: {}".into()));
    Some(Notice { text, fix })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Recognised};

    const COMPOSE: &str = "services:\n  db: { image: 'pgvector/pgvector:pg17', ports: ['5432:5432'] }\n  \
                           cache: { image: 'docker.io/bitnami/redis:7@sha256:00', ports: ['6379:6379'] }\n  \
                           queue: { image: 'rabbitmq:4', ports: ['5672:5672', '15672:15672'] }\n  \
                           mail: { image: axllent/mailpit }\n  api: { build: ./backend }\n  other: { build: . }\n";

    fn found(top: &str) -> (Vec<(String, Option<ComposeProvider>)>, Vec<Notice>) {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
        };
        write("compose.yaml", COMPOSE);
        write("backend/x", "");
        write(
            "devrun.yaml",
            &format!("compose: compose.yaml\n{top}processes: {{ web: {{ run: x, directory: backend }} }}\n"),
        );
        let mut config = config::load(root.path(), None, &Recognised::default).unwrap();
        add(root.path(), &mut config).unwrap();
        let services = config.provenance.compose.into_iter().map(|one| (one.name, one.provided_by)).collect();
        (services, config.provenance.notices.into_iter().map(|one| one.notice).collect())
    }

    #[test]
    fn every_service_is_provided_or_left_to_an_engine() {
        let process = |name: &str| Some(ComposeProvider::Process(name.into()));
        let (services, notices) = found("services: { valkey: {} }\ndatabase: {}\n");
        let expected = [
            ("db", Some(ComposeProvider::Database)),
            ("cache", process("valkey")),
            ("queue", None),
            ("mail", None),
            ("api", process("web")),
            ("other", None),
        ];
        assert_eq!(services, expected.map(|(name, provided)| (name.to_string(), provided)));
        let texts: Vec<&str> = notices.iter().map(|notice| notice.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "compose.yaml:4: queue (rabbitmq:4) is left to your container engine; all worktrees share its ports 5672, 15672",
                "compose.yaml:5: mail (axllent/mailpit) is left to your container engine; it publishes no port",
                "compose.yaml:7: other is left to your container engine; it publishes no port",
            ]
        );
        assert_eq!(notices[1].fix.as_deref(), Some("services: { mailpit: {} }"));
    }

    #[test]
    fn shared_server_and_missing_service_differ() {
        let (services, _) = found("services: { redis: { shared: 'redis://localhost' } }\n");
        assert_eq!(services[1].1, Some(ComposeProvider::Shared("redis".into())));
        let (services, notices) = found("");
        assert_eq!((&services[0].1, &services[1].1), (&None, &None));
        assert_eq!(notices[0].fix.as_deref(), Some("database: {}"));
        assert_eq!(notices[1].fix.as_deref(), Some("services: { redis: {} }"));
    }

    #[test]
    fn missing_file_is_an_error_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        let text = "compose: docker-compose.yml\nprocesses: { web: x }\n";
        crate::os::fs::replace(&root.path().join("devrun.yaml"), text.as_bytes(), 0o600).unwrap();
        let mut config = config::load(root.path(), None, &Recognised::default).unwrap();
        let error = add(root.path(), &mut config).unwrap_err();
        assert_eq!(error.to_string(), "devrun.yaml:1:10: compose: there is no file `docker-compose.yml`");
    }
}
