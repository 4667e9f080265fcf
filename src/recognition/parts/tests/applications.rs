//! Cases for choosing an application, and for starting it.

use super::*;

const OBJECT: ApplicationKind = ApplicationKind::Object;
const FACTORY: ApplicationKind = ApplicationKind::Factory;

fn made(by: &str) -> ApplicationKind {
    ApplicationKind::Made(by.into())
}

fn pair(run: &str, directory: &str) -> (String, String) {
    (run.into(), directory.into())
}

const REQUIREMENTS: &str = "fastapi==0.1\nuvicorn\n";

#[test]
fn an_index_file_of_a_serverless_template_is_an_application() {
    let repo = Repo::new(&[("requirements.txt", REQUIREMENTS), ("api/index.py", "")]).module(
        "api/index.py",
        &[("app", OBJECT)],
        &[],
    );
    assert_eq!(repo.backend(), pair("uvicorn api.index:app --reload --reload-dir api --fd $BACKEND_FD", ""));
}

#[test]
fn an_object_that_a_function_of_the_repository_returns_is_an_application() {
    let files = [
        ("backend/requirements.txt", REQUIREMENTS),
        ("backend/app/main.py", ""),
        ("backend/app/core.py", ""),
    ];
    let wanted = pair("uvicorn app.main:app --reload --reload-dir app --fd $BACKEND_FD", "backend");
    let here =
        Repo::new(&files).module("backend/app/main.py", &[("create", FACTORY), ("app", made("create"))], &[]);
    assert_eq!(here.backend(), wanted);
    for import in ["app.core:create", ".core:create"] {
        let imported = Repo::new(&files)
            .module("backend/app/main.py", &[("app", made("create"))], &[import])
            .module("backend/app/core.py", &[("create", FACTORY)], &[]);
        assert_eq!(imported.backend(), wanted, "{import}");
    }
    let other = Repo::new(&files).module("backend/app/main.py", &[("app", made("celery"))], &[]);
    assert!(other.parts().processes.is_empty(), "{:?}", other.parts());
}

#[test]
fn factory_is_started_as_a_factory_with_or_without_a_command() {
    let repo = Repo::new(&[
        ("backend/requirements.txt", REQUIREMENTS),
        ("backend/app/main.py", ""),
        ("backend/Makefile", ""),
    ])
    .module("backend/app/main.py", &[("create_app", FACTORY)], &[])
    .command(
        "backend/Makefile",
        Author::Make("run".into()),
        Some("backend"),
        "uvicorn --factory app.main:create_app --reload",
    );
    let wanted = "uvicorn --factory app.main:create_app --reload --reload-dir app --fd $BACKEND_FD";
    assert_eq!(repo.backend(), pair(wanted, "backend"));
    assert_eq!(repo.part("backend").at.unwrap().file, Path::new("backend/Makefile"));
    let silent = Repo { facts: Facts { commands: Vec::new(), ..repo.facts.clone() }, root: repo.root };
    assert_eq!(silent.backend(), pair(wanted, "backend"));
}

#[test]
fn an_application_at_any_depth_has_its_import_root() {
    let file = "backend/src/shop/infrastructure/api/main.py";
    let base = || {
        Repo::new(&[
            ("backend/requirements.txt", REQUIREMENTS),
            (file, ""),
            ("backend/src/shop/__init__.py", ""),
        ])
    };
    let wanted =
        "uvicorn shop.infrastructure.api.main:app --app-dir src --reload --reload-dir src --fd $BACKEND_FD";
    let said = base().module(file, &[("app", OBJECT)], &[]).command(
        "backend/Makefile",
        Author::Make("run".into()),
        Some("backend"),
        "uvicorn shop.infrastructure.api.main:app",
    );
    assert_eq!(said.backend(), pair(wanted, "backend"));
    assert_eq!(base().module(file, &[("app", OBJECT)], &[]).backend(), pair(wanted, "backend"));
}

#[test]
fn the_entry_point_of_the_manifest_comes_first() {
    let toml = "[project]\nname = \"x\"\ndependencies = [\"fastapi\", \"uvicorn\"]\n\n[tool.fastapi]\nentrypoint = \"app.web:application\"\n";
    let repo = Repo::new(&[
        ("backend/pyproject.toml", toml),
        ("backend/app/web.py", ""),
        ("backend/app/main.py", ""),
    ])
    .module("backend/app/web.py", &[("application", made("build")), ("build", FACTORY)], &[])
    .module("backend/app/main.py", &[("app", OBJECT)], &[])
    .command("README.md", Author::Document, Some("backend"), "uvicorn app.main:app");
    assert!(repo.backend().0.starts_with("uvicorn app.web:application "), "{:?}", repo.backend());
    let at = repo.part("backend").at.unwrap();
    assert_eq!((at.file.as_path(), at.line), (Path::new("backend/pyproject.toml"), 6));
}

#[test]
fn of_several_objects_the_one_that_includes_the_others_is_taken() {
    let files = [
        ("server/requirements.txt", REQUIREMENTS),
        ("server/shop/app.py", ""),
        ("server/shop/links/app.py", ""),
        ("server/main.py", ""),
    ];
    let nearest = Repo::new(&files).module("server/shop/links/app.py", &[("app", OBJECT)], &[]).module(
        "server/shop/app.py",
        &[("app", made("create_app")), ("create_app", FACTORY)],
        &[],
    );
    assert!(nearest.backend().0.starts_with("uvicorn shop.app:app "), "{:?}", nearest.backend());
    let including = Repo::new(&files).module("server/main.py", &[("app", OBJECT)], &[]).module(
        "server/shop/links/app.py",
        &[("api", OBJECT)],
        &["main:app"],
    );
    assert!(including.backend().0.starts_with("uvicorn shop.links.app:api "), "{:?}", including.backend());
}

#[test]
fn imports_of_a_file_decide_its_root() {
    let files = [
        ("apps/api/requirements.txt", REQUIREMENTS),
        ("apps/api/main.py", ""),
        ("apps/api/routers/items.py", ""),
    ];
    let above = Repo::new(&files).module(
        "apps/api/main.py",
        &[("app", OBJECT)],
        &["fastapi:FastAPI", "api.routers.items:router"],
    );
    assert_eq!(
        above.backend(),
        pair("uvicorn api.main:app --reload --reload-dir api --fd $BACKEND_FD", "apps")
    );
    let relative =
        Repo::new(&files).module("apps/api/main.py", &[("app", OBJECT)], &[".routers.items:router"]);
    assert_eq!(relative.backend().1, "apps");
    let beside = Repo::new(&files).module("apps/api/main.py", &[("app", OBJECT)], &["routers.items:router"]);
    assert_eq!(beside.backend(), pair("uvicorn main:app --reload --fd $BACKEND_FD", "apps/api"));
}

#[test]
fn commands_of_every_kind_name_an_application() {
    let files = [
        ("backend/requirements.txt", REQUIREMENTS),
        ("backend/app/site.py", ""),
        ("backend/app/other.py", ""),
    ];
    for text in [
        "uvicorn app.site:api --port 8123",
        "poetry run uvicorn app.site:api",
        "python -m uvicorn app.site:api",
        "gunicorn -k uvicorn.workers.UvicornWorker app.site:api -b 0.0.0.0:8123",
        "fastapi dev app/site.py",
        "alembic upgrade head && uvicorn app.site:api --host 0.0.0.0",
    ] {
        let repo = Repo::new(&files)
            .module("backend/app/site.py", &[("api", OBJECT)], &[])
            .module("backend/app/other.py", &[("app", OBJECT)], &[])
            .command("backend/Dockerfile", Author::Dockerfile, Some("backend"), text);
        assert!(repo.backend().0.starts_with("uvicorn app.site:api "), "{text}: {:?}", repo.backend());
        assert_eq!(repo.part("backend").usual_ports.contains(&8123), text.contains("8123"), "{text}");
    }
}

#[test]
fn tests_and_examples_hold_no_application() {
    let repo =
        Repo::new(&[("requirements.txt", REQUIREMENTS), ("tests/main.py", ""), ("examples/app.py", "")])
            .module("tests/main.py", &[("app", OBJECT)], &[])
            .module("examples/app.py", &[("app", OBJECT)], &[])
            .command("examples/Makefile", Author::Make("run".into()), None, "uvicorn app:app");
    let parts = repo.parts();
    assert!(parts.processes.is_empty());
    assert_eq!(parts.left_out.len(), 1, "{parts:#?}");
    assert!(parts.left_out[0].why.starts_with("requirements.txt names fastapi, and no application"));
    assert!(parts.left_out[0].lines.contains("uvicorn MODULE:app"), "{parts:#?}");
}

#[test]
fn readiness_is_asked_where_the_answer_is_certain() {
    let base = || {
        Repo::new(&[("requirements.txt", REQUIREMENTS), ("main.py", "")]).module(
            "main.py",
            &[("app", OBJECT)],
            &[],
        )
    };
    assert_eq!(base().part("backend").ready.as_deref(), Some("http: /openapi.json"));
    assert_eq!(base().route("main.py", "/healthz").part("backend").ready.as_deref(), Some("http: /healthz"));
    let mut hidden = base();
    hidden.facts.modules[0].applications[0].hides_schema = true;
    assert_eq!(hidden.part("backend").ready.as_deref(), Some("log: Application startup complete"));
}

#[test]
fn a_further_application_with_locked_packages_runs_and_others_are_left_out_with_the_lines_that_add_them() {
    let repo = Repo::new(&[
        ("a/requirements.txt", REQUIREMENTS),
        ("a/main.py", ""),
        ("b/requirements.txt", REQUIREMENTS),
        ("b/main.py", ""),
        ("c/pyproject.toml", "[project]\ndependencies = [\"fastapi\"]\n"),
        ("c/main.py", ""),
    ])
    .module("a/main.py", &[("app", OBJECT)], &[])
    .module("b/main.py", &[("app", OBJECT)], &[])
    .module("c/main.py", &[("app", OBJECT)], &[]);
    let parts = repo.parts();
    assert_eq!(names(&parts), ["backend", "b"]);
    assert_eq!(parts.processes[1].port, PartPort::Listens(8200));
    assert_eq!(parts.python, [Path::new("a"), Path::new("b")]);
    assert!(parts.left_out[0].lines.contains("ports: { c: 8300 }"), "{parts:#?}");
    let workspace = Repo::new(&[
        ("uv.lock", ""),
        ("a/requirements.txt", REQUIREMENTS),
        ("a/main.py", ""),
        ("b/requirements.txt", REQUIREMENTS),
        ("b/main.py", ""),
    ])
    .module("a/main.py", &[("app", OBJECT)], &[])
    .module("b/main.py", &[("app", OBJECT)], &[]);
    assert_eq!(names(&workspace.parts()), ["backend", "b"]);
}

#[test]
fn server_of_another_framework_is_left_out_with_the_lines_that_add_it() {
    let repo = Repo::new(&[
        ("api/pyproject.toml", "[project]\nname = 'api'\nversion = '1'\ndependencies = ['litestar>=2']\n"),
        ("web/package.json", r#"{ "scripts": { "dev": "vite" }, "devDependencies": { "vite": "7" } }"#),
    ]);
    let left_out = repo.parts().left_out;
    assert_eq!(left_out.len(), 1, "{left_out:#?}");
    assert!(
        left_out[0].why.starts_with("api/pyproject.toml names litestar: devrun does not know"),
        "{left_out:#?}"
    );
    assert!(left_out[0].lines.contains("port: backend, directory: api"), "{left_out:#?}");
}

#[test]
fn lines_of_another_framework_contain_the_command_of_the_repository() {
    let repo = Repo::new(&[(
        "pyproject.toml",
        "[project]\nname = 'api'\nversion = '1'\ndependencies = ['litestar>=2']\n",
    )])
    .command("README.md", Author::Document, None, "litestar --app x:y run")
    .command("compose.yml", Author::Compose("worker".into()), None, "litestar workers run")
    .command(
        "compose.yml",
        Author::Compose("app".into()),
        None,
        "litestar run --reload --host 0.0.0.0 --port=8000",
    );
    let left_out = &repo.parts().left_out[0];
    assert!(
        left_out.lines.contains("run: litestar run --reload --host $DEVRUN_HOST --port $PORT"),
        "{left_out:#?}"
    );
    assert!(left_out.why.contains("this repository starts it with `litestar run --reload`"), "{left_out:#?}");
    assert_eq!(
        left_out.candidates,
        [
            "litestar run --reload --host 0.0.0.0 --port=8000",
            "litestar workers run",
            "litestar --app x:y run"
        ]
    );
}

#[test]
fn lines_of_another_framework_prefer_the_repository_s_own_program() {
    let manifest = "[project]\nname = 'api'\nversion = '1'\ndependencies = ['litestar>=2']\n";
    let compose = |name: &str| Author::Compose(name.into());
    let repo = Repo::new(&[("pyproject.toml", manifest)])
        .command("compose.yml", compose("app"), None, "litestar run --reload")
        .command("compose.yml", compose("migrator"), None, "litestar database upgrade --no-prompt")
        .command("compose.yml", compose("worker"), None, "litestar workers run")
        .command("pyproject.toml", Author::Pyproject("app".into()), None, "app.__main__:run_cli")
        .command("AGENTS.md", Author::Document, None, "app database upgrade")
        .command("README.md", Author::Document, None, "app run");
    let lines = &repo.parts().left_out[0].lines;
    for wanted in [
        "backend: { run: app run --host $DEVRUN_HOST --port $PORT, port: backend, directory: .",
        "worker: { run: app workers run, directory: .",
        "database: { migrate: { run: app database upgrade --no-prompt, directory: . } }",
    ] {
        assert!(lines.contains(wanted), "{wanted}: {lines}");
    }
}
