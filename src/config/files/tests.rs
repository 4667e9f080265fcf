//! Cases for `files`, one per behaviour.

use super::*;
use crate::config::model::ProbeConfig;
use crate::config::provider::ProviderChoice;
use crate::config::venvs::Venvs;
use crate::config::{interpolate::Scope, json_schema, resolve, urls};
use crate::error::{Code, Explain};
use crate::plan::Need;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
    }
    root
}

/// The result of recognition for [`reference`].
const RECOGNISED: &str = r#"ports: { frontend: 3100, backend: 8100 }
env:
  NEXT_PUBLIC_API_URL: http://localhost:${ports.backend}
dependencies:
  node: { directory: . }
  python: { directory: backend }
database:
  migrate:
    run: alembic upgrade head
    directory: backend
    inputs: ["alembic/versions/*.py"]
processes:
  backend:
    run: uvicorn app.main:app --reload --reload-dir app --fd $BACKEND_FD
    directory: backend
    listen: backend
    ready: { http: /healthz }
  frontend:
    run: next dev --port $PORT
    directory: frontend
    port: frontend
    ready: { http: /, timeout: 15s, deadline: 3m }
"#;

/// Recognises [`reference`] by one of its files, and any other folder as nothing.
fn load_at(root: &Path, main_root: Option<&Path>) -> Result<Config, ConfigError> {
    let loaded = load(root, main_root, &|| {
        if !root.join("backend/app/main.py").exists() {
            return Recognised { searched: "looked for an application".into(), ..Recognised::default() };
        }
        Recognised {
            yaml: RECOGNISED.into(),
            remarks: vec!["Next.js in frontend".into(), "FastAPI in backend (app.main:app)".into()],
            ..Recognised::default()
        }
    });
    if let Ok(text) = std::fs::read_to_string(root.join(FILE)) {
        json_schema::tests::compare(&text, &loaded);
    }
    loaded
}

fn load_tree(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_at(tree(files).path(), None)
}

fn reference() -> Vec<(&'static str, &'static str)> {
    vec![
        ("pnpm-lock.yaml", ""),
        ("frontend/package.json", r#"{ "dependencies": { "next": "16" } }"#),
        ("backend/requirements.txt", "fastapi\n"),
        ("backend/app/main.py", "app = FastAPI()\n@app.get('/healthz')\ndef h(): ...\n"),
        ("backend/alembic.ini", "[alembic]\nscript_location = alembic\n"),
    ]
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [reference(), more.to_vec()].concat()
}

#[test]
fn devrun_yaml_comes_first_then_recognition_then_a_procfile() {
    let yaml = ("devrun.yaml", "processes: { a: b }\n");
    let procfile = ("Procfile", "web: run\n");
    let development = ("Procfile.dev", "api: run\n");
    let first = load_tree(&with(&[yaml, procfile])).unwrap();
    assert_eq!(first.provenance.summary(), "devrun.yaml");
    let second = load_tree(&with(&[procfile])).unwrap();
    assert_eq!(
        second.provenance.summary(),
        "recognised: Next.js in frontend, FastAPI in backend (app.main:app)"
    );
    assert_eq!(load_tree(&[procfile]).unwrap().provenance.summary(), "Procfile");
    assert_eq!(load_tree(&[procfile, development]).unwrap().provenance.summary(), "Procfile.dev");
}

#[test]
fn complete_file_is_merged_with_recognition_only_on_request() {
    let names = |yaml: &'static str| -> Vec<String> {
        let config = load_tree(&with(&[("devrun.yaml", yaml)])).unwrap();
        config.processes.iter().map(|process| process.name.clone()).collect()
    };
    assert_eq!(names("processes: { a: b }\n"), ["a"]);
    assert_eq!(names("processes: { a: { run: b } }\n"), ["a"]);
    assert_eq!(names("recognise: true\nprocesses: { a: b }\n"), ["a", "backend", "frontend"]);
    assert_eq!(
        names("processes: { a: b, frontend: { autostart: false } }\n"),
        ["a", "frontend", "backend"],
        "a process without a command is one that was recognised"
    );
    let yaml = "recognise: false\nprocesses: { frontend: { autostart: false } }\n";
    let error = load_tree(&with(&[("devrun.yaml", yaml)])).unwrap_err();
    assert!(error.to_string().contains("needs `run`"), "{error}");
}

#[test]
fn release_is_a_job_before_the_other_processes_of_a_procfile() {
    let config = load_tree(&[("Procfile", "web: serve\nrelease: prepare\nworker: work\n")]).unwrap();
    let waits = |name: &str| {
        let process = config.processes.iter().find(|process| process.name == name).unwrap();
        process.depends_on.clone()
    };
    let after = [("release".to_string(), crate::plan::Condition::Completed)];
    assert_eq!((waits("web"), waits("worker"), waits("release")), (after.to_vec(), after.to_vec(), vec![]));
}

#[test]
fn the_recognised_configuration_is_the_reference_one() {
    let config = load_tree(&reference()).unwrap();
    assert_eq!(config.ports, [("frontend".to_string(), 3100), ("backend".to_string(), 8100)].into());
    let [backend, frontend] = &config.processes[..] else { panic!() };
    assert!(backend.port.as_ref().unwrap().listens && !frontend.port.as_ref().unwrap().listens);
    assert_eq!(backend.needs, [Need::Python, Need::Database].into());
    assert_eq!(frontend.needs, [Need::Node].into());
    assert!(frontend.depends_on.is_empty(), "each starts when its own inputs are there");
    assert!(
        matches!(&backend.ready.as_ref().unwrap().probe, ProbeConfig::Http { path, .. } if path.text == "/healthz")
    );
    let database = config.database.as_ref().unwrap();
    assert_eq!(database.provider, ProviderChoice::Auto);
    assert_eq!(database.migrate.as_ref().unwrap().inputs, ["alembic/versions/*.py"]);
    let ports = [("frontend".to_string(), 3126), ("backend".to_string(), 8126)].into();
    let scope = Scope::default().with_ports(26, &ports);
    assert_eq!(config.env[0].1.render(&scope).unwrap(), "http://localhost:8126");
    let found = urls::urls(&config, &scope).unwrap();
    let wanted = [("Frontend", "http://localhost:3126"), ("Backend", "http://localhost:8126")];
    assert_eq!(found, wanted.map(|(name, url)| (name.to_string(), url.to_string())));
}

#[test]
fn a_file_without_processes_is_completed_by_what_is_recognised() {
    let yaml = "name: x\nports: { frontend: 4100, mail: 9000 }\nenv: { A: b }\ndatabase: { provider: local }\nurls: { Tenant: 'http://t.localhost:${ports.frontend}' }\n";
    let config = load_tree(&with(&[("devrun.yaml", yaml)])).unwrap();
    let ports: Vec<_> = config.ports.iter().map(|(name, base)| (name.as_str(), *base)).collect();
    assert_eq!(ports, [("backend", 8100), ("frontend", 4100), ("mail", 9000)]);
    assert_eq!(config.processes.len(), 2);
    let env: Vec<&str> = config.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(env, ["A", "NEXT_PUBLIC_API_URL"]);
    let database = config.database.unwrap();
    assert_eq!(database.provider, ProviderChoice::Named("local"));
    assert!(database.migrate.is_some());
    assert!(!config.dependencies.node.is_empty() && !config.dependencies.python.is_empty());
    assert!(config.provenance.summary().starts_with("devrun.yaml; recognised: Next.js"));
}

#[test]
fn written_values_win_over_recognised_ones() {
    let yaml = "env: { NEXT_PUBLIC_API_URL: x }\ndependencies: { node: { directory: frontend } }\ndatabase: { migrate: { run: ./migrate } }\nprocesses:\n";
    let config = load_tree(&with(&[("devrun.yaml", yaml)])).unwrap();
    assert_eq!(config.env[0].1.text, "x");
    assert_eq!(config.dependencies.node, [Path::new("frontend")]);
    let migrate = config.database.unwrap().migrate.unwrap();
    assert_eq!((migrate.run, migrate.inputs.len()), (crate::plan::RunCommand::Shell("./migrate".into()), 1));
    let none = load_tree(&with(&[("devrun.yaml", "database: { provider: none }\n")])).unwrap();
    assert!(none.database.is_none());
    assert_eq!(none.processes[0].needs, [Need::Python].into());
}

#[test]
fn a_procfile_runs_as_with_foreman() {
    let config = load_tree(&[("Procfile", "web: serve $PORT\nworker: work\nnonsense\n")]).unwrap();
    let ports: Vec<_> = config.ports.iter().map(|(name, base)| (name.as_str(), *base)).collect();
    assert_eq!(ports, [("web", 5000), ("worker", 5100)]);
    assert_eq!(config.env_files, [Path::new(".env")]);
    assert_eq!(config.provenance.warnings.len(), 1);
    assert!(config.processes.iter().all(|process| process.ready.is_none() && process.needs.is_empty()));
    let asked: Vec<bool> =
        config.processes.iter().map(|process| process.port.as_ref().unwrap().asked).collect();
    assert_eq!(asked, [true, false]);
    let scope =
        Scope::default().with_ports(7, &[("web".to_string(), 5007), ("worker".to_string(), 5107)].into());
    let processes =
        resolve::processes(&config, Path::new("/w"), &scope, &|_| BTreeMap::new(), &Venvs::default())
            .unwrap();
    assert_eq!(processes[1].env["PORT"], "5107");
    assert_eq!(
        urls::urls(&config, &scope).unwrap(),
        [("Web".to_string(), "http://localhost:5007".to_string())]
    );
}

#[test]
fn a_port_in_env_is_the_base_of_a_procfile() {
    let files = [("Procfile", "web: x\napi: y\n"), (".env", "PORT=\"7000\"\n")];
    assert_eq!(
        load_tree(&files).unwrap().ports,
        [("web".to_string(), 7000), ("api".to_string(), 7100)].into()
    );
    let files = [("Procfile", "web: x\n"), (".env", "PORT=nonsense\n")];
    assert_eq!(load_tree(&files).unwrap().ports["web"], 5000);
    let (root, main) = (tree(&[("Procfile", "web: x\n")]), tree(&[(".env", "PORT=7000\n")]));
    assert_eq!(load_at(root.path(), Some(main.path())).unwrap().ports["web"], 7000);
}

#[test]
fn a_procfile_can_be_named_and_given_ports() {
    let yaml = "procfile: ./dev/Procfile.dev\nports: { api: 5050 }\n";
    let files = [("devrun.yaml", yaml), ("dev/Procfile.dev", "web: x\napi: y\n")];
    let config = load_tree(&files).unwrap();
    assert_eq!(config.ports, [("web".to_string(), 5200), ("api".to_string(), 5050)].into());
    assert_eq!(config.provenance.summary(), "devrun.yaml, dev/Procfile.dev");
    let error = load_tree(&[("devrun.yaml", yaml)]).unwrap_err();
    assert_eq!(error.to_string(), "devrun.yaml:1:11: procfile: there is no file `dev/Procfile.dev`");
}

#[test]
fn a_devrun_yaml_beside_a_procfile_changes_single_keys() {
    let yaml = "processes: { web: { restart: on-failure }, extra: { run: more } }\n";
    let procfile = "release: prepare\nworker: work \"a: b\"\nweb: serve\napi: x $PORT\n";
    let config = load_tree(&[("devrun.yaml", yaml), ("Procfile", procfile)]).unwrap();
    let names: Vec<&str> = config.processes.iter().map(|process| process.name.as_str()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(config.ports, [("web".to_string(), 5200), ("api".to_string(), 5300)].into());
    let of = |name: &str| config.processes.iter().find(|process| process.name == name).unwrap();
    assert_eq!(of("web").restart.policy, crate::plan::RestartPolicy::OnFailure);
    assert_eq!(of("worker").run, crate::plan::RunCommand::Shell("work \"a: b\"".into()));
    assert_eq!(config.provenance.summary(), "devrun.yaml, Procfile");
    let config = load_tree(&[("devrun.yaml", "env: { A: b }\n"), ("Procfile", "web: serve\n")]).unwrap();
    assert_eq!(config.processes.len(), 1);
}

#[test]
fn nothing_at_all_names_init_and_the_smallest_example() {
    let error = load_tree(&[("README.md", "")]).unwrap_err();
    assert_eq!(error.code(), Code::ConfigMissing);
    let fix = error.fix().unwrap();
    assert!(fix.contains("devrun init") && fix.contains(crate::config::error::SMALLEST));
    let config = load_tree(&[("devrun.yaml", crate::config::error::SMALLEST)]).unwrap();
    assert_eq!(config.processes[0].name, "web");
    let error = load_tree(&[("devrun.yaml", "name: x\n")]).unwrap_err();
    assert!(error.to_string().contains("nothing was recognised"));
}

#[test]
fn devrun_yml_is_reported() {
    let error = load_tree(&[("devrun.yml", "processes: { a: b }\n")]).unwrap_err();
    assert!(error.to_string().contains("the name is devrun.yaml"));
    let both = load_tree(&[("devrun.yml", ""), ("devrun.yaml", "processes: { a: b }\n")]).unwrap();
    assert_eq!(both.provenance.warnings, ["devrun.yml is ignored because devrun.yaml exists"]);
}

#[test]
fn unreadable_files_are_named() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("devrun.yaml")).unwrap();
    let error = load_at(root.path(), None).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
    let root = tempfile::tempdir().unwrap();
    crate::os::fs::replace(&root.path().join("devrun.yaml"), b"name: ok\nb: \xff\n", 0o600).unwrap();
    assert!(load_at(root.path(), None).unwrap_err().to_string().ends_with("line 2 is not UTF-8"));
    let large = "#".repeat(yaml::MAX_BYTES + 1);
    assert!(load_tree(&[("devrun.yaml", &large)]).unwrap_err().to_string().contains("larger than 256 KiB"));
}

#[test]
fn folders_must_exist() {
    for (yaml, expected) in [
        (
            "processes: { a: { run: b, directory: nope } }\n",
            "processes.a.directory: there is no folder `nope`",
        ),
        (
            "processes: { a: b }\ndependencies: { node: { directory: nope } }\n",
            "dependencies.node.directory: there is",
        ),
        (
            "processes: { a: b }\ndatabase: { migrate: { run: x, directory: nope } }\n",
            "database.migrate.directory: there",
        ),
    ] {
        let error = load_tree(&[("devrun.yaml", yaml)]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_frontend_with_a_database_client_waits_for_the_database() {
    let package = r#"{ "dependencies": { "next": "16", "drizzle-orm": "1" } }"#;
    let config = load_tree(&with(&[("frontend/package.json", package)])).unwrap();
    assert_eq!(config.processes[1].needs, [Need::Node, Need::Database].into());
}

#[test]
fn a_file_with_services_alone_is_complete_where_nothing_is_recognised() {
    let config = load_tree(&[("devrun.yaml", "services: { redis: {} }\n")]).unwrap();
    assert_eq!(config.processes.iter().map(|process| process.name.as_str()).collect::<Vec<_>>(), ["redis"]);
    let error = load_tree(&[("devrun.yaml", "name: x\n")]).unwrap_err();
    assert!(error.to_string().contains("has no `processes`"), "{error}");
}

#[test]
fn processes_of_a_procfile_wait_for_services_too() {
    let yaml = "procfile: Procfile\nservices: { redis: {} }\n";
    let config = load_tree(&[("devrun.yaml", yaml), ("Procfile", "web: serve --port $PORT\n")]).unwrap();
    let web = config.processes.iter().find(|process| process.name == "web").unwrap();
    assert_eq!(web.depends_on, [("redis".to_string(), crate::plan::Condition::Ready)]);
}

#[test]
fn examples_beside_the_readme_are_read() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(here.join(name)).unwrap();
    let root = tree(&[
        ("devrun.yaml", &read("devrun.yaml.example")),
        ("Procfile", &read("Procfile.example")),
        ("frontend/package.json", "{}"),
        ("backend/requirements.txt", ""),
    ]);
    let config = load_at(root.path(), None).unwrap();
    assert_eq!(config.processes.len(), 8);
    let ports = config.ports.iter().map(|(name, base)| (name.clone(), base + 1)).collect();
    let env = [("NEON_PROJECT_ID".into(), "p".into())].into();
    let scope = Scope::new(env).with_branch("b").with_worktree(root.path(), "s").with_ports(1, &ports);
    resolve::database(config.database.as_ref().unwrap(), &scope).unwrap();
    resolve::processes(
        &config,
        root.path(),
        &scope.clone().with_database("n", "u"),
        &|_| BTreeMap::new(),
        &Venvs::default(),
    )
    .unwrap();
    urls::urls(&config, &scope).unwrap();
    std::fs::remove_file(root.path().join("devrun.yaml")).unwrap();
    let procfile = load_at(root.path(), None).unwrap();
    assert_eq!(procfile.processes.len(), 3);
}

#[test]
fn the_example_names_every_key() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(here.join("devrun.yaml.example")).unwrap();
    for key in schema::keys() {
        assert!(text.contains(&format!("{key}:")), "{key}");
    }
}
