//! Cases for `detect`, one per behaviour.

use std::path::Path;

use super::*;

/// A worktree with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
    }
    root
}

const NEXT: &str = r#"{ "dependencies": { "next": "16.4.6", "react": "19" } }"#;
const APP: &str =
    "from fastapi import FastAPI\n\napp = FastAPI(title='x')\n\n@app.get(\"/healthz\")\ndef healthz(): ...\n";
const INI: &str = "[alembic]\n# comment\nscript_location = %(here)s/alembic\n";

fn reference() -> Vec<(&'static str, &'static str)> {
    vec![
        ("pnpm-lock.yaml", ""),
        ("pnpm-workspace.yaml", "packages: [frontend]"),
        ("package.json", "{}"),
        ("frontend/package.json", NEXT),
        ("backend/requirements.txt", "fastapi[standard]==0.165\n"),
        ("backend/app/main.py", APP),
        ("backend/app/__init__.py", ""),
        ("backend/alembic.ini", INI),
    ]
}

#[test]
fn the_reference_shape_is_written_down_as_a_person_would() {
    let root = tree(&reference());
    let shape = detect(root.path());
    assert_eq!(
        shape.to_yaml(),
        r#"ports: { frontend: 3100, backend: 8100 }
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
    run: node_modules/.bin/next dev --hostname $DEVRUN_HOST --port $PORT
    directory: frontend
    port: frontend
    ready: { http: /, timeout: 15s, deadline: 3m }
"#
    );
    assert_eq!(
        shape.remarks(),
        ["Next.js in frontend", "FastAPI in backend (app.main:app)", "Alembic in backend"]
    );
}

#[test]
fn nothing_is_nothing() {
    assert!(detect(tree(&[("README.md", "next fastapi"), ("package.json", "{ broken")]).path()).is_empty());
    assert!(detect(Path::new("/nonexistent")).is_empty());
    assert_eq!(Shape::default().to_yaml(), "");
}

#[test]
fn parts_are_recognised_alone() {
    let next = detect(tree(&[("package.json", NEXT), ("package-lock.json", "{}")]).path());
    assert_eq!(
        next.next.as_ref().unwrap().command(),
        "node_modules/.bin/next dev --hostname $DEVRUN_HOST --port $PORT"
    );
    assert!(next.fastapi.is_none() && !next.to_yaml().contains("backend"));
    let fastapi = detect(tree(&[("requirements.txt", "fastapi\n"), ("main.py", APP)]).path());
    let found = fastapi.fastapi.as_ref().unwrap();
    assert_eq!(found.command(), "uvicorn main:app --reload --fd $BACKEND_FD");
    assert!(!fastapi.to_yaml().contains("frontend") && !fastapi.to_yaml().contains("database"));
}

#[test]
fn tools_folders_and_other_checkouts_are_not_looked_at() {
    for folder in ["node_modules/x", ".next/x", ".claude/worktrees/x", ".venv/x", "nested"] {
        let root = tree(&[(&format!("{folder}/package.json"), NEXT), ("nested/.git", "gitdir: /x")]);
        assert!(detect(root.path()).is_empty(), "{folder}");
    }
}

#[test]
fn the_application_nearest_the_top_with_the_usual_name_is_taken() {
    let next = |files: &[(&str, &str)]| detect(tree(files).path()).next.unwrap().directory;
    assert_eq!(next(&[("apps/a/package.json", NEXT), ("docs/package.json", NEXT)]), Path::new("docs"));
    assert_eq!(next(&[("docs/package.json", NEXT), ("web/package.json", NEXT)]), Path::new("web"));
    assert_eq!(next(&[("b/package.json", NEXT), ("a/package.json", NEXT)]), Path::new("a"));
}

#[test]
fn a_workspace_s_programs_are_where_its_manager_puts_them() {
    let next = |files: &[(&str, &str)]| detect(tree(files).path()).next.unwrap();
    let npm = next(&[("apps/web/package.json", NEXT), ("package-lock.json", "{}"), ("package.json", "{}")]);
    assert_eq!(
        (npm.packages.as_path(), npm.bin.as_path()),
        (Path::new("."), Path::new("../../node_modules/.bin"))
    );
    let pnpm = next(&[("apps/web/package.json", NEXT), ("pnpm-lock.yaml", "")]);
    assert_eq!(
        (pnpm.packages.as_path(), pnpm.bin.as_path()),
        (Path::new("."), Path::new("node_modules/.bin"))
    );
    let own = next(&[("web/package.json", NEXT), ("web/yarn.lock", ""), ("package-lock.json", "")]);
    assert_eq!(
        (own.packages.as_path(), own.bin.as_path()),
        (Path::new("web"), Path::new("node_modules/.bin"))
    );
    let none = next(&[("web/package.json", NEXT)]);
    assert_eq!(none.packages, Path::new("web"));
}

#[test]
fn python_manifests_and_layouts_are_understood() {
    let python = |files: &[(&str, &str)]| detect(tree(files).path()).fastapi;
    let toml = "[project]\ndependencies = [\"fastapi>=0.1\"]\n";
    for (manifest, text, file, app) in [
        ("api/pyproject.toml", toml, "api/src/shop/main.py", "shop.main:app"),
        ("api/requirements-dev.txt", "FastAPI==1\n", "api/app/api.py", "app.api:app"),
        ("pyproject.toml", toml, "api/main.py", "api.main:app"),
        ("Pipfile", "fastapi = '*'\n", "server.py", "server:app"),
    ] {
        assert_eq!(python(&[(manifest, text), (file, APP)]).unwrap().app, app, "{file}");
    }
    let src = python(&[("pyproject.toml", toml), ("src/shop/main.py", APP)]).unwrap();
    assert_eq!(
        src.command(),
        "uvicorn shop.main:app --app-dir src --reload --reload-dir src --fd $BACKEND_FD"
    );
    let typed = "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n";
    assert_eq!(python(&[("pyproject.toml", toml), ("main.py", typed)]).unwrap().app, "main:api");
    let workspace =
        python(&[("uv.lock", ""), ("backend/pyproject.toml", toml), ("backend/main.py", APP)]).unwrap();
    assert_eq!(
        (workspace.directory.as_path(), workspace.packages.as_path()),
        (Path::new("backend"), Path::new("."))
    );
    let nested =
        python(&[("pyproject.toml", toml), ("backend/pyproject.toml", toml), ("backend/app/main.py", APP)]);
    assert_eq!(nested.unwrap().directory, Path::new("backend"));
}

#[test]
fn only_folders_with_source_are_watched_where_that_is_all_of_it() {
    let watched = |more: &[(&str, &str)]| {
        let base =
            [("requirements.txt", "fastapi"), ("app/main.py", APP), ("alembic/env.py", ""), ("setup.py", "")];
        detect(tree(&[&base[..], more].concat()).path()).fastapi.unwrap().reload_dirs
    };
    assert_eq!(watched(&[]), ["app"]);
    assert_eq!(watched(&[("shared/x/y.py", ""), ("tests/t.py", "")]), ["app", "shared"]);
    assert!(watched(&[("settings.py", "")]).is_empty());
    assert!(watched(&[("a/x.py", ""), ("b/x.py", ""), ("c/x.py", ""), ("d/x.py", "")]).is_empty());
}

#[test]
fn what_only_looks_like_fastapi_is_not() {
    for (manifest, source) in [
        ("# fastapi\nflask\n", APP),
        ("fastapi-users\n", APP),
        ("fastapi\n", "app = Flask()\n"),
        ("fastapi\n", "    app = FastAPI()\n"),
    ] {
        assert!(
            detect(tree(&[("requirements.txt", manifest), ("main.py", source)]).path()).is_empty(),
            "{manifest}"
        );
    }
    let only_tests = tree(&[("requirements.txt", "fastapi"), ("tests/main.py", APP)]);
    assert!(detect(only_tests.path()).is_empty());
}

#[test]
fn the_health_route_counts_only_when_its_path_is_certain() {
    let healthz = |main: &str, other: &str| {
        let files = [("requirements.txt", "fastapi"), ("app/main.py", main), ("app/health.py", other)];
        detect(tree(&files).path()).fastapi.unwrap().probe == fastapi::Probe::Healthz
    };
    let bare = "app = FastAPI()\napp.include_router(health.router)\n";
    let prefixed = "app = FastAPI()\napp.include_router(health.router, prefix='/api')\n";
    let router = "router = APIRouter()\n@router.get('/healthz')\ndef h(): ...\n";
    assert!(healthz(APP, ""));
    assert!(healthz(bare, router));
    assert!(!healthz(prefixed, router));
    assert!(!healthz(bare, "router = APIRouter(prefix='/api')\n@router.get('/healthz')\n"));
    assert!(!healthz(bare, "# GET /healthz\n"));
}

#[test]
fn without_a_health_route_the_application_itself_is_asked_and_not_its_port() {
    for (main, probe) in [
        ("app = FastAPI()\n", "http: /openapi.json"),
        ("app = FastAPI(openapi_url=None)\n", "log: Application startup complete"),
        ("app = FastAPI(**settings())\n", "log: Application startup complete"),
    ] {
        let root = tree(&[("requirements.txt", "fastapi"), ("main.py", main)]);
        let yaml = detect(root.path()).to_yaml();
        assert!(yaml.contains(&format!("    listen: backend\n    ready: {{ {probe} }}\n")), "{yaml}");
        let config =
            crate::config::load(root.path(), None, &|| crate::recognition::recognise(root.path())).unwrap();
        assert!(config.processes[0].ready.is_some(), "{yaml}");
    }
}

#[test]
fn migrations_are_where_alembic_ini_says() {
    let alembic = |ini: &str, name: &str| {
        let files = [("requirements.txt", "fastapi"), ("main.py", APP), (name, ini)];
        detect(tree(&files).path()).fastapi.unwrap().alembic
    };
    for (location, inputs) in [
        ("alembic", "alembic/versions/*.py"),
        ("./db/migrations/", "db/migrations/versions/*.py"),
        ("%(here)s/alembic", "alembic/versions/*.py"),
        ("app:migrations", "app/migrations/versions/*.py"),
    ] {
        let found = alembic(&format!("[alembic]\nscript_location = {location}\n"), "alembic.ini").unwrap();
        assert_eq!((found.directory.as_path(), found.inputs.as_str()), (Path::new("."), inputs));
    }
    assert_eq!(alembic(INI, "db/alembic.ini").unwrap().directory, Path::new("db"));
    assert!(alembic("[alembic]\nscript_location = ../x\n", "alembic.ini").is_none());
    assert!(alembic("[alembic]\n", "alembic.ini").is_none());
}

#[test]
fn strange_folder_names_survive_being_written_down() {
    for folder in ["my app", "a: b", "{x}", "- y", "it's", "no", "ü", "1", "a #b"] {
        let root = tree(&[(&format!("{folder}/package.json"), NEXT)]);
        let config =
            crate::config::load(root.path(), None, &|| crate::recognition::recognise(root.path())).unwrap();
        assert_eq!(config.processes[0].directory, Path::new(folder), "{folder}");
    }
}
