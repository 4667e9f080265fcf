//! Cases for the whole of recognition: files of a worktree in, configuration out.

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

fn paths(root: &Path) -> RecognitionPaths {
    RecognitionPaths { root: root.into(), main_root: None, state: None, path: None }
}

fn yaml(files: &[(&str, &str)]) -> String {
    let root = tree(files);
    let recognised = recognise(&paths(root.path()));
    if !recognised.yaml.is_empty() {
        config::load(root.path(), None, &|| recognise(&paths(root.path()))).unwrap();
    }
    recognised.yaml
}

const NEXT: &str = r#"{ "dependencies": { "next": "16.4.6", "react": "19" } }"#;
const APP: &str =
    "from fastapi import FastAPI\n\napp = FastAPI(title='x')\n\n@app.get(\"/healthz\")\ndef healthz(): ...\n";
const INI: &str = "[alembic]\n# comment\nscript_location = %(here)s/alembic\n";

#[test]
fn reference_repository_is_written_as_devrun_yaml() {
    let files = [
        ("pnpm-lock.yaml", ""),
        ("pnpm-workspace.yaml", "packages: [frontend]"),
        ("package.json", "{}"),
        ("frontend/package.json", NEXT),
        ("frontend/app/page.tsx", "export default function Page() { return null }\n"),
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
        recognise(&paths(root.path())).remarks,
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
fn names_similar_to_fastapi_are_not_fastapi() {
    for (manifest, source) in
        [("# fastapi\nflask\n", APP), ("fastapi-users\n", APP), ("fastapi\n", "app = Flask()\n")]
    {
        assert_eq!(yaml(&[("requirements.txt", manifest), ("main.py", source)]), "", "{manifest}");
    }
}

#[test]
fn a_manifest_without_an_application_is_reported_where_nothing_else_is_found() {
    let root = tree(&[("requirements.txt", "fastapi\n"), ("main.py", "x = 1\n")]);
    let error = config::load(root.path(), None, &|| recognise(&paths(root.path()))).unwrap_err();
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
fn readiness_asks_the_page_that_is_printed_and_no_other() {
    let page = ("app/page.tsx", "export default function Page() { return null }\n");
    let readme = ("README.md", "Open http://acme.localhost:3000/admin?tab=1 in a browser.\n");
    let ready = |files: &[(&str, &str)]| {
        let text = yaml(files);
        text.lines()
            .find_map(|line| line.trim().strip_prefix("ready: ").map(str::to_string))
            .unwrap_or_default()
    };
    let limits = "timeout: 15s, deadline: 3m";
    assert_eq!(
        ready(&[("package.json", NEXT), page, readme]),
        format!("{{ http: \"/admin?tab=1\", host: acme.localhost, status: any, {limits} }}")
    );
    assert_eq!(ready(&[("package.json", NEXT), page]), format!("{{ http: /, {limits} }}"));
    let plain = ("next.config.ts", "export default { reactStrictMode: true };\n");
    let sends = ("next.config.ts", "export default { async redirects() { return [] } };\n");
    assert_eq!(ready(&[("package.json", NEXT), sends]), format!("{{ http: /, {limits} }}"));
    assert_eq!(ready(&[("package.json", NEXT), plain]), "{ log: '[Rr]eady (in|started)', deadline: 3m }");
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

const BACKEND: [(&str, &str); 4] = [
    ("backend/requirements.txt", "fastapi\nsqlalchemy\naiosqlite\nalembic\n"),
    ("backend/app/main.py", APP),
    ("backend/app/__init__.py", ""),
    ("backend/alembic.ini", INI),
];

#[test]
fn an_application_on_sqlite_keeps_its_file_and_its_migrations_run_before_it() {
    let settings = "import os\nurl = os.environ.get('DATABASE_URL', 'sqlite:///./app.db')\n";
    let found = yaml(&[&BACKEND[..], &[("backend/app/db.py", settings)]].concat());
    assert!(!found.contains("\ndatabase:"), "{found}");
    assert!(
        found.contains("  migrate:  # backend/alembic.ini:3\n    run: alembic upgrade head\n"),
        "{found}"
    );
    assert!(found.contains("depends_on: { migrate: completed }"), "{found}");
}

#[test]
fn a_database_that_every_worktree_shares_is_not_migrated_and_is_reported() {
    let settings = "import os\nurl = os.environ.get('DATABASE_URL', 'mysql+pymysql://u:p@localhost/app')\n";
    let root = tree(&[&BACKEND[..], &[("backend/app/db.py", settings)]].concat());
    let found = recognise(&paths(root.path()));
    assert!(!found.yaml.contains("alembic upgrade"), "{}", found.yaml);
    let told = found.notices.iter().any(|notice| notice.notice.text.contains("the application uses MySQL"));
    assert!(told, "{:?}", found.notices);
}

#[test]
fn equal_findings_of_one_file_are_one_notice() {
    let config = "module.exports = { async rewrites() { return [\n\
                  { source: '/a', destination: 'http://127.0.0.1:8000/a' },\n\
                  { source: '/b', destination: 'http://127.0.0.1:8000/b' },\n] } }\n";
    let files = [("frontend/package.json", NEXT), ("frontend/next.config.js", config)];
    let root = tree(&[&BACKEND[..], &files].concat());
    let found = recognise(&paths(root.path()));
    let notices: Vec<_> =
        found.notices.iter().filter(|notice| notice.notice.text.contains("next.config")).collect();
    assert_eq!(notices.len(), 1, "{:?}", found.notices);
    assert!(notices[0].notice.text.starts_with("frontend/next.config.js:2,3: the code has port 8000"));
    assert!(notices[0].notice.fix.as_ref().unwrap().contains("line 3: "));
    let code = notices[0].redirect.as_ref().unwrap();
    assert_eq!(code.file, Path::new("frontend/next.config.js"));
    assert!(
        code.without_modules
            .starts_with("frontend/next.config.js:2,3: the code has port 8000; `node_preload")
    );
    assert!(found.yaml.contains("redirects:\n  8000: backend"), "{}", found.yaml);
    // The code already says how the page finds the backend.
    assert!(!found.yaml.contains("NEXT_PUBLIC_API_URL"), "{}", found.yaml);
}

#[test]
fn keys_of_third_parties_are_listed_once() {
    let settings =
        "import os\nstripe = os.environ['STRIPE_SECRET_KEY']\nopenai = os.environ['OPENAI_API_KEY']\n";
    let root = tree(&[&BACKEND[..], &[("backend/app/settings.py", settings)]].concat());
    let found = recognise(&paths(root.path()));
    let list = found.notices.iter().find(|notice| notice.notice.text.contains("2 values")).expect("a list");
    assert_eq!(list.notice.text, "2 values that only you have are not set; the code fails without them");
    let lines = list.notice.fix.as_deref().unwrap();
    assert!(lines.contains("backend/.env: OPENAI_API_KEY=…  # read at backend/app/settings.py:3"), "{lines}");
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn redis_that_devrun_can_download_is_a_service() {
    let bin = tree(&[("python3", "")]);
    std::fs::set_permissions(bin.path().join("python3"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let root = tree(&[
        ("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\ndependencies = ['fastapi', 'redis']\n"),
        ("main.py", APP),
        (".env.example", "REDIS_URL=redis://localhost:6379/0\n"),
    ]);
    let with = |path: Option<&Path>| {
        let place = RecognitionPaths { path: path.map(Into::into), ..paths(root.path()) };
        recognise(&place).yaml.contains("redis: {")
    };
    assert!(with(Some(bin.path())));
    assert!(!with(None));
}
