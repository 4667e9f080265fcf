//! Cases for workers, Redis and Procfiles beside the recognised applications.

use super::*;

const REQUIREMENTS: &str = "fastapi\ncelery[redis]\narq\n";

fn base() -> Repo {
    Repo::new(&[
        ("requirements.txt", REQUIREMENTS),
        ("app/main.py", ""),
        ("app/tasks.py", ""),
        ("app/jobs.py", ""),
    ])
    .module("app/main.py", &[("app", ApplicationKind::Object)], &[])
}

fn runs(parts: &Parts) -> Vec<(&str, &str)> {
    parts.processes.iter().skip(1).map(|part| (part.name.as_str(), part.run.as_str())).collect()
}

#[test]
fn workers_run_as_the_repository_s_own_commands_say() {
    let parts = base()
        .command("compose.yaml", Author::Compose("queue".into()), None, "celery -A app.tasks worker -l info")
        .command("compose.yaml", Author::Compose("flower".into()), None, "celery -A app.tasks flower")
        .command("Makefile", Author::Make("work".into()), None, "celery -A app.tasks worker")
        .command("Makefile", Author::Make("beat".into()), None, "celery -A app.tasks beat")
        .command("README.md", Author::Document, None, "arq app.jobs.WorkerSettings")
        .parts();
    let wanted = [
        ("queue", "celery -A app.tasks worker -l info"),
        ("beat", "celery -A app.tasks beat"),
        ("worker", "arq app.jobs.WorkerSettings"),
    ];
    assert_eq!(runs(&parts), wanted);
    assert!(parts.left_out.is_empty(), "{parts:#?}");
}

#[test]
fn a_worker_that_only_code_shows_is_started() {
    let parts = base()
        .module("app/tasks.py", &[("celery", ApplicationKind::Celery)], &[])
        .module("app/jobs.py", &[("WorkerSettings", ApplicationKind::Arq)], &[])
        .parts();
    let wanted = [
        ("worker", "celery -A app.tasks:celery worker --loglevel INFO"),
        ("worker-2", "arq app.jobs.WorkerSettings"),
    ];
    assert_eq!(runs(&parts), wanted);
}

#[test]
fn a_manifest_that_names_celery_without_a_worker_is_reported() {
    let parts = base().parts();
    assert!(parts.left_out[0].why.contains("names celery"), "{parts:#?}");
    assert_eq!(parts.left_out[0].at.line, 2);
}

#[test]
fn a_worker_beside_a_frontend_alone_is_left_out_with_a_reason() {
    let page = ("web/package.json", r#"{"scripts":{"dev":"vite"},"devDependencies":{"vite":"7"}}"#);
    let parts = Repo::new(&[page, ("jobs/requirements.txt", "celery\n")]).parts();
    assert!(parts.left_out[0].why.contains("names celery"), "{parts:#?}");
    let parts = Repo::new(&[page, ("jobs/requirements.txt", "celery\n"), ("jobs/tasks.py", "")])
        .module("jobs/tasks.py", &[("app", ApplicationKind::Celery)], &[])
        .parts();
    assert!(parts.left_out[0].why.contains("no Python application was found"), "{parts:#?}");
    assert!(parts.left_out[0].lines.contains("run: 'celery -A tasks:app worker"), "{parts:#?}");
}

#[test]
fn a_package_that_starts_vite_by_another_script_is_left_out_with_a_reason() {
    let manifest =
        |script: &str| format!(r#"{{"scripts":{{"ui":"{script}"}},"devDependencies":{{"vite":"7"}}}}"#);
    let left_out = |script: &str| Repo::new(&[("package.json", &manifest(script))]).parts().left_out.len();
    assert_eq!((left_out("vite --open"), left_out("vite build")), (1, 0));
}

#[test]
fn a_python_command_on_the_backend_s_image_is_a_worker() {
    let service = |name: &str| Service { name: name.into(), build: Some("".into()), ..Service::default() };
    let parts = base()
        .service(service("poller"))
        .service(service("migrations"))
        .command("compose.yaml", Author::Compose("poller".into()), None, "python -m app.jobs")
        .command("compose.yaml", Author::Compose("migrations".into()), None, "python -m app.tasks")
        .parts();
    assert_eq!(runs(&parts), [("poller", "python -m app.jobs")]);
}

#[test]
fn redis_is_a_service_of_the_worktree_where_it_is_expected_and_available() {
    let redis = Service {
        name: "cache".into(),
        image: Some("redis:7-alpine".into()),
        at: Some(FileLine { file: "compose.yaml".into(), line: 4 }),
        ..Service::default()
    };
    let repo = base().service(redis);
    let part = repo.part("redis");
    assert_eq!((part.kind, part.services), (PartKind::Service, vec!["cache".to_string()]));
    let valkey = find(repo.root.path(), &repo.facts, &|program| program == "valkey-server");
    assert!(valkey.processes.iter().any(|part| part.name == "redis"), "{valkey:#?}");
    let none = find(repo.root.path(), &repo.facts, &|_| false);
    assert!(none.wants_redis.is_some() && none.processes.iter().all(|part| part.name != "redis"));
    assert!(none.left_out.iter().any(|left| left.why.contains("neither redis-server nor valkey-server")));
    assert!(base().parts().wants_redis.is_none());
    let default = base().reads("REDIS_URL", Some("redis://localhost:6379/0")).parts();
    assert_eq!(default.wants_redis.unwrap().file, Path::new("app/settings.py"));
}

#[test]
fn procfile_adds_processes_that_recognition_missed() {
    let procfile = |repo: Repo, name: &str, text: &str| {
        repo.command("Procfile", Author::Procfile(name.into()), None, text)
    };
    let mut repo = base();
    repo =
        procfile(repo, "web", "gunicorn app.main:app -k uvicorn.workers.UvicornWorker --bind 0.0.0.0:$PORT");
    repo = procfile(repo, "worker", "celery -A app.tasks worker");
    repo = procfile(repo, "hooks", "./hooks --port $PORT");
    repo = procfile(repo, "release", "./release.sh");
    let parts = repo.parts();
    assert_eq!(names(&parts), ["backend", "worker", "hooks", "release"]);
    assert_eq!(parts.processes[2].port, PartPort::Binds(5000));
    assert_eq!((parts.processes[3].kind, parts.processes[3].port), (PartKind::Job, PartPort::None));
    let dev =
        repo.command("Procfile.dev", Author::Procfile("css".into()), None, "tailwindcss --watch").parts();
    assert_eq!(names(&dev), ["backend", "worker", "css"], "Procfile.dev comes before Procfile");
}

#[test]
fn a_release_that_migrates_is_the_migration() {
    let repo = Repo::new(&[
        ("requirements.txt", "fastapi\nalembic\n"),
        ("app/main.py", ""),
        ("alembic.ini", "[alembic]\nscript_location = alembic\n"),
        ("alembic/env.py", ""),
    ])
    .module("app/main.py", &[("app", ApplicationKind::Object)], &[])
    .command("Procfile", Author::Procfile("release".into()), None, "alembic upgrade head")
    .command("Procfile", Author::Procfile("web".into()), None, "uvicorn app.main:app --port $PORT");
    let parts = repo.parts();
    assert_eq!(names(&parts), ["backend"]);
    assert_eq!(parts.migrations.unwrap().run, "alembic upgrade head");
    assert_eq!(parts.python, [Path::new("")]);
}

#[test]
fn procfile_of_an_unknown_framework_has_its_packages_prepared() {
    let parts = Repo::new(&[("requirements.txt", "flask\n"), ("package.json", "{}"), ("app.py", "")])
        .command("Procfile", Author::Procfile("web".into()), None, "gunicorn app:app")
        .parts();
    assert_eq!(names(&parts), ["web"]);
    assert!(!parts.python.is_empty() && !parts.node.is_empty());
}

#[test]
fn a_procfile_without_packages_and_database_is_left_to_the_configuration() {
    let parts = Repo::new(&[("Procfile", "web: ./serve")])
        .command("Procfile", Author::Procfile("web".into()), None, "./serve")
        .parts();
    assert_eq!(parts, Parts::default());
}
