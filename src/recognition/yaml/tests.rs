//! Cases for `yaml`, one per behaviour.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::{self, Recognised};
use crate::recognition::parts::Framework;
use crate::recognition::parts::Migrations;

fn spot(file: &str, line: u32) -> FileLine {
    FileLine { file: file.into(), line }
}

fn part(name: &str, kind: PartKind, port: PartPort) -> Part {
    Part {
        name: name.into(),
        kind,
        framework: Framework::default(),
        directory: PathBuf::new(),
        sources: Vec::new(),
        run: "true".into(),
        port,
        ready: None,
        usual_ports: vec![8000],
        services: Vec::new(),
        at: Some(spot("Makefile", 2)),
        remark: String::new(),
    }
}

fn binding(name: &str, process: Option<&str>, value: &str, reason: Reason) -> Binding {
    Binding {
        name: name.into(),
        process: process.map(Into::into),
        value: value.into(),
        reason,
        at: spot(".env.example", 7),
        read_at: None,
    }
}

#[test]
fn each_line_names_the_file_that_it_was_derived_from() {
    let parts = Parts {
        processes: vec![
            part("backend", PartKind::Backend, PartPort::Listens(8100)),
            part("frontend", PartKind::Frontend, PartPort::Binds(3100)),
        ],
        node: vec![PathBuf::new()],
        python: vec!["my app".into()],
        migrations: Some(Migrations {
            is_sql: false,
            run: "alembic upgrade head".into(),
            directory: "my app".into(),
            inputs: vec!["a/*.py".into()],
            at: Some(spot("alembic.ini", 3)),
            remark: String::new(),
        }),
        wants_database: true,
        ..Parts::default()
    };
    let contract = Contract {
        bindings: vec![
            binding("API_URL", None, "http://localhost:${ports.backend}", Reason::OwnAddress),
            binding("PORT_OF_API", Some("frontend"), "${ports.backend}", Reason::OwnAddress),
            binding("DATABASE_URL", None, "${database.url:postgresql+asyncpg}", Reason::DatabaseUrl),
        ],
        ..Contract::default()
    };
    let tenant = TenantUrl {
        at: spot("README.md", 9),
        text: String::new(),
        host: "acme.localhost".into(),
        port: Some(3000),
        path: "/admin".into(),
    };
    insta::assert_snapshot!(text(&parts, &contract, &[tenant]), @r#"
    ports: { frontend: 3100, backend: 8100 }
    env:
      API_URL: http://localhost:${ports.backend}  # .env.example:7
    dependencies:
      node: { directory: . }
      python: { directory: my app }
    database:
      migrate:  # alembic.ini:3
        run: alembic upgrade head
        directory: my app
        inputs: ["a/*.py"]
      url_env:
        DATABASE_URL: postgresql+asyncpg  # .env.example:7
    processes:
      backend:  # Makefile:2
        run: "true"
        directory: .
        listen: backend
      frontend:  # Makefile:2
        run: "true"
        directory: .
        port: frontend
        env:
          PORT_OF_API: "${ports.backend}"  # .env.example:7
    urls:
      Tenant: http://acme.localhost:${ports.frontend}/admin  # README.md:9
    "#);
}

#[test]
fn nothing_is_written_without_a_process() {
    assert_eq!(text(&Parts { wants_database: true, ..Parts::default() }, &Contract::default(), &[]), "");
}

#[test]
fn jobs_finish_and_servers_answer_before_their_dependents_start() {
    let parts = Parts {
        processes: vec![
            part("backend", PartKind::Backend, PartPort::Listens(8100)),
            part("frontend", PartKind::Frontend, PartPort::Binds(3100)),
            part("release", PartKind::Job, PartPort::None),
            part("redis", PartKind::Service, PartPort::Binds(6400)),
        ],
        ..Parts::default()
    };
    let root = tempfile::tempdir().unwrap();
    let config = config::load(root.path(), None, &|| Recognised {
        yaml: text(&parts, &Contract::default(), &[]),
        ..Recognised::default()
    })
    .unwrap();
    let after = |name: &str| {
        let process = config.processes.iter().find(|process| process.name == name).unwrap();
        process.depends_on.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(after("backend"), ["release", "redis"]);
    assert_eq!(after("frontend"), ["release"]);
    assert_eq!(after("release"), ["redis"]);
    assert!(after("redis").is_empty());
    let redis = config.services.iter().find(|service| service.name == "redis").unwrap();
    assert_eq!(redis.data, Some(crate::plan::ServiceData::Keep));
    assert!(config.provided.is_empty(), "recognition binds the variables that the code reads");
}

#[test]
fn strange_folders_and_commands_survive_being_written_down() {
    for folder in ["my app", "a: b", "{x}", "- y", "it's", "no", "ü", "1", "a #b", "x\"y"] {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(folder)).unwrap();
        let run = format!("A={{b}} x --y '{folder}' && z: # ${{PORT}}");
        let part = Part {
            directory: folder.into(),
            run: run.clone(),
            at: Some(spot(folder, 1)),
            ..part("a", PartKind::Backend, PartPort::None)
        };
        let parts = Parts { processes: vec![part], ..Parts::default() };
        let recognise =
            || Recognised { yaml: text(&parts, &Contract::default(), &[]), ..Recognised::default() };
        let config = config::load(root.path(), None, &recognise).unwrap();
        assert_eq!(config.processes[0].directory, Path::new(folder), "{folder}");
        assert_eq!(config.processes[0].run, crate::plan::RunCommand::Shell(run), "{folder}");
    }
}
