//! Recognition as a whole: files of a worktree in, configuration out.

use std::path::Path;

use super::*;
use crate::config;

/// A worktree with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
    }
    root
}

fn place(root: &Path) -> Place {
    Place { root: root.into(), main_root: None, state: None, path: None }
}

fn yaml(files: &[(&str, &str)]) -> String {
    let root = tree(files);
    let recognised = recognise(&place(root.path()));
    if !recognised.yaml.is_empty() {
        config::load(root.path(), None, &|| recognise(&place(root.path()))).unwrap();
    }
    recognised.yaml
}

const NEXT: &str = r#"{ "dependencies": { "next": "16.4.6", "react": "19" } }"#;
const APP: &str =
    "from fastapi import FastAPI\n\napp = FastAPI(title='x')\n\n@app.get(\"/healthz\")\ndef healthz(): ...\n";
const INI: &str = "[alembic]\n# comment\nscript_location = %(here)s/alembic\n";

#[test]
fn the_reference_shape_is_written_down_as_a_person_would() {
    let files = [
        ("pnpm-lock.yaml", ""),
        ("pnpm-workspace.yaml", "packages: [frontend]"),
        ("package.json", "{}"),
        ("frontend/package.json", NEXT),
        ("backend/requirements.txt", "fastapi[standard]==0.165\n"),
        ("backend/app/main.py", APP),
        ("backend/app/__init__.py", ""),
        ("backend/alembic.ini", INI),
    ];
    insta::assert_snapshot!(yaml(&files), @r#"
    ports: { frontend: 3100, backend: 8100 }
    env:
      NEXT_PUBLIC_API_URL: http://localhost:${ports.backend}  # frontend/package.json:1
    dependencies:
      node: { directory: . }
      python: { directory: backend }
    database:
      migrate:  # backend/alembic.ini:3
        run: alembic upgrade head
        directory: backend
        inputs: ["alembic/versions/*.py"]
    processes:
      backend:  # backend/app/main.py:3
        run: uvicorn app.main:app --reload --reload-dir app --fd $BACKEND_FD
        directory: backend
        listen: backend
        ready: { http: /healthz }
      frontend:  # frontend/package.json:1
        run: next dev --hostname $DEVRUN_HOST --port $PORT
        directory: frontend
        port: frontend
        ready: { http: /, timeout: 15s, deadline: 3m }
    "#);
    let root = tree(&files);
    assert_eq!(
        recognise(&place(root.path())).remarks,
        ["Next.js in frontend", "FastAPI in backend (app.main:app)", "Alembic in backend"]
    );
}

/// Files of a repository, the expected command, and the expected folder.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn applications_are_found_as_the_repository_names_them() {
    let object = "from fastapi import FastAPI\n\napp = FastAPI()\n";
    let factory = "from fastapi import FastAPI\n\n\ndef create_app() -> FastAPI:\n    return FastAPI()\n";
    let made = format!("{factory}\n\napp = create_app()\n");
    let toml = "[project]\nname = \"b\"\nversion = \"1\"\ndependencies = [\"fastapi\"]\n\n[tool.fastapi]\nentrypoint = \"app.web:application\"\n";
    let web =
        "from fastapi import FastAPI\n\n\ndef build():\n    return FastAPI()\n\n\napplication = build()\n";
    let makefile = |words: &str| format!("run:\n\t{words} --reload\n");
    let requirements = "fastapi\nuvicorn\n";
    let parent = "from fastapi import FastAPI\n\nfrom api.routers.items import router\n\napp = FastAPI()\napp.include_router(router)\n";
    let deep = "backend/src/shop/infrastructure/api/main.py";
    let (named, deep_make) = (
        makefile("uvicorn --factory app.main:create_app"),
        makefile("uvicorn shop.infrastructure.api.main:app"),
    );
    let cases: [Case<'_>; 8] = [
        (&[("requirements.txt", requirements), ("api/index.py", object)], "uvicorn api.index:app ", "."),
        (
            &[
                ("backend/requirements.txt", requirements),
                ("backend/app/main.py", &made),
                ("backend/app/__init__.py", ""),
            ],
            "uvicorn app.main:app ",
            "backend",
        ),
        (
            &[
                ("backend/requirements.txt", requirements),
                ("backend/app/main.py", factory),
                ("backend/Makefile", &named),
            ],
            "uvicorn --factory app.main:create_app ",
            "backend",
        ),
        (
            &[("backend/requirements.txt", requirements), (deep, object), ("backend/Makefile", &deep_make)],
            "uvicorn shop.infrastructure.api.main:app --app-dir src ",
            "backend",
        ),
        (
            &[("backend/pyproject.toml", toml), ("backend/app/web.py", web)],
            "uvicorn app.web:application ",
            "backend",
        ),
        (
            &[
                ("server/requirements.txt", requirements),
                ("server/shop/app.py", &made),
                ("server/shop/links/app.py", object),
            ],
            "uvicorn shop.app:app ",
            "server",
        ),
        (
            &[
                ("apps/api/requirements.txt", requirements),
                ("apps/api/main.py", parent),
                ("apps/api/routers/items.py", "from fastapi import APIRouter\n\nrouter = APIRouter()\n"),
                ("apps/api/__init__.py", ""),
            ],
            "uvicorn api.main:app ",
            "apps",
        ),
        (
            &[
                ("backend/requirements.txt", requirements),
                ("backend/app/main.py", object),
                ("frontend/package.json", r#"{ "scripts": { "dev": "vite" } }"#),
            ],
            "vite --port $PORT",
            "frontend",
        ),
    ];
    for (files, run, directory) in cases {
        let yaml = yaml(files);
        assert!(yaml.contains(&format!("run: {run}")), "{run}\n{yaml}");
        assert!(yaml.contains(&format!("directory: {directory}\n")), "{directory}\n{yaml}");
    }
}

#[test]
fn what_only_looks_like_fastapi_is_not() {
    for (manifest, source) in
        [("# fastapi\nflask\n", APP), ("fastapi-users\n", APP), ("fastapi\n", "app = Flask()\n")]
    {
        assert_eq!(yaml(&[("requirements.txt", manifest), ("main.py", source)]), "", "{manifest}");
    }
}

#[test]
fn a_manifest_without_an_application_is_said_where_nothing_else_is_found_too() {
    let root = tree(&[("requirements.txt", "fastapi\n"), ("main.py", "x = 1\n")]);
    let error = config::load(root.path(), None, &|| recognise(&place(root.path()))).unwrap_err();
    let why = crate::error::Explain::why(&error).unwrap();
    assert!(why.contains("requirements.txt:1: requirements.txt names fastapi"), "{why}");
}

#[test]
fn a_tenant_url_of_a_document_is_printed_with_this_worktree_s_port() {
    let readme = "Open http://acme.localhost:3000/admin in a browser.\n";
    let text = yaml(&[("package.json", NEXT), ("README.md", readme)]);
    assert!(
        text.contains("urls:\n  Tenant: http://acme.localhost:${ports.frontend}/admin  # README.md:1"),
        "{text}"
    );
}

#[test]
fn an_address_that_the_user_gave_is_never_replaced() {
    let files = |env: &'static str| {
        [
            ("frontend/package.json", NEXT),
            ("frontend/.env.local", env),
            ("backend/requirements.txt", "fastapi\n"),
            ("backend/main.py", APP),
        ]
    };
    let bound = "NEXT_PUBLIC_API_URL: http://localhost:${ports.backend}";
    assert!(yaml(&files("OTHER=1\n")).contains(bound));
    let staging = yaml(&files("NEXT_PUBLIC_API_URL=https://staging.example.com\n"));
    assert!(!staging.contains("NEXT_PUBLIC_API_URL"), "{staging}");
}
