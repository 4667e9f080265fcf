//! Cases for reading commands from files.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::{Author, Giver};

/// Returns `DIRECTORY$ COMMAND` for each command.
fn shown(facts: &FileFacts) -> Vec<String> {
    let folder = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or("?".into(), |path| path.display().to_string())
    };
    facts.commands.iter().map(|command| format!("{}$ {}", folder(&command.directory), command.text)).collect()
}

fn values(facts: &FileFacts) -> Vec<(&str, &str)> {
    facts.values.iter().map(|given| (given.name.as_str(), given.value.as_str())).collect()
}

#[test]
fn scripts_of_package_json_run_in_its_folder() {
    let text = "{\n  \"scripts\": {\n    \"dev\": \"NODE_ENV=development next dev -p 3001\",\n    \"api\": \"cd ../api && uvicorn main:app\",\n    \"all\": \"concurrently -k \\\"next dev\\\" \\\"cd ../api && fastapi dev main.py\\\"\"\n  }\n}\n";
    let facts = package(Path::new("web/package.json"), text);
    assert_eq!(
        shown(&facts)[..4],
        [
            "web$ NODE_ENV=development next dev -p 3001",
            "api$ uvicorn main:app",
            "web$ next dev",
            "api$ fastapi dev main.py"
        ]
    );
    assert_eq!(facts.commands[1].at.line, 4);
    assert_eq!(values(&facts), [("NODE_ENV", "development")]);
    assert_eq!(facts.values[0].by, Giver::Script);
    assert_eq!(package(Path::new("package.json"), "{").limits.len(), 1);
    let proxy = package(Path::new("package.json"), "{\"proxy\": \"http://localhost:8000\"}");
    assert_eq!((proxy.addresses[0].port, proxy.addresses[0].server), (8000, Some(true)));
}

#[test]
fn tasks_of_pyproject_are_commands_in_each_manager_s_form() {
    let text = r#"
[tool.fastapi]
entrypoint = "app.main:app"
[tool.poe.tasks]
dev = "uvicorn app.main:app"
worker = { cmd = "celery -A app.tasks worker", cwd = "src", env = { MODE = "dev" } }
[tool.pdm.scripts]
start = { shell = "uvicorn x:y" }
list = { cmd = ["fastapi", "dev"] }
[tool.hatch.envs.default.scripts]
serve = "uvicorn z:app"
"#;
    let facts = pyproject(Path::new("api/pyproject.toml"), text);
    let found = shown(&facts);
    for expected in [
        "api$ app.main:app",
        "api$ uvicorn app.main:app",
        "api/src$ celery -A app.tasks worker",
        "api$ uvicorn x:y",
        "api$ fastapi dev",
        "api$ uvicorn z:app",
    ] {
        assert!(found.contains(&expected.to_string()), "{expected}: {found:?}");
    }
    assert_eq!(facts.commands[0].by, Author::Pyproject("fastapi.entrypoint".into()));
    assert_eq!(facts.commands[0].at.line, 3);
    assert_eq!(values(&facts), [("MODE", "dev")]);
}

#[test]
fn recipes_of_make_and_just_have_their_variables_and_folders() {
    let text = "PORT ?= 8000\nexport MODE=dev\n.PHONY: dev\ndev: deps ## run\n\t@cd backend && uvicorn app:app \\\n\t  --port $(PORT)\n\t# no\n\techo $$HOME\n";
    let facts = makefile(Path::new("Makefile"), text);
    assert_eq!(shown(&facts), ["backend$ uvicorn app:app --port 8000", "$ echo $HOME"]);
    assert_eq!((facts.commands[0].at.line, &facts.commands[0].by), (5, &Author::Make("dev".into())));
    assert_eq!(values(&facts), [("MODE", "dev")]);
    let just = justfile(
        Path::new("justfile"),
        "port := '1'\n[group('x')]\n@dev port='8000':\n    @cd api; fastapi dev\n",
    );
    assert_eq!(
        (shown(&just), &just.commands[0].by),
        (vec!["api$ fastapi dev".to_string()], &Author::Just("dev".into()))
    );
}

#[test]
fn procfiles_and_shell_scripts_are_read_line_by_line() {
    let facts =
        procfile(Path::new("Procfile.dev"), "# x\nweb: cd web && npm run dev\napi: PORT=8001 uvicorn a:b\n");
    assert_eq!(shown(&facts), ["web$ npm run dev", "$ PORT=8001 uvicorn a:b"]);
    let text = "#! /bin/bash\nset -e\ncd \"$(dirname \"$0\")/..\"\nif [ x ]; then\n  exec uvicorn app.main:app \\\n    --reload\nfi\ncd web\npython app/initial_data.py\n";
    assert_eq!(
        shown(&shell(Path::new("backend/scripts/dev.sh"), text)),
        ["backend$ uvicorn app.main:app --reload", "backend/web$ python app/initial_data.py"]
    );
    assert_eq!(
        shown(&shell(Path::new("prestart.sh"), "alembic upgrade head\n")),
        ["?$ alembic upgrade head"]
    );
}

#[test]
fn code_blocks_of_documents_are_commands_and_other_blocks_are_not() {
    let text = "# X\nRun `uvicorn app.main:app --reload`.\n\n```bash\ncd backend\n$ uv sync\nfastapi dev app/main.py # starts\n```\n```python\nuvicorn.run(app)\n```\n```\nnpm run dev\n```\n";
    let facts = document(Path::new("README.md"), text);
    assert_eq!(
        shown(&facts),
        [
            "?$ uvicorn app.main:app --reload",
            "backend$ uv sync",
            "backend$ fastapi dev app/main.py",
            "?$ npm run dev"
        ]
    );
    assert_eq!(facts.commands[2].at.line, 7);
}

#[test]
fn tenant_urls_have_their_port_and_path() {
    let text = "Open http://acme.localhost:3000/app/login?x=1.\nor <http://demo.localhost/>\nnot http://localhost:3000 nor http://<name>.localhost:1\n";
    let found = tenants(Path::new("CLAUDE.md"), text);
    let shown: Vec<_> =
        found.iter().map(|url| (url.at.line, url.host.as_str(), url.port, url.path.as_str())).collect();
    assert_eq!(
        shown,
        [(1, "acme.localhost", Some(3000), "/app/login?x=1"), (2, "demo.localhost", None, "/")]
    );
    assert_eq!(found[0].text, "http://acme.localhost:3000/app/login?x=1");
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_of_commands_panic(text in "(?s).{0,300}") {
        let path = Path::new("a/b");
        for read in [package, pyproject, makefile, justfile, procfile, shell, document] {
            let _ = read(path, &text);
        }
    }

    #[test]
    fn no_shell_line_makes_a_reader_panic(text in "[\\tA-Z=$(){}\\\\;&|'\"`~#:. \n\\-cd]{0,200}") {
        let path = Path::new("a/b");
        for read in [makefile, justfile, procfile, shell, document] {
            let _ = read(path, &text);
            let _ = read(path, &format!("```\ncd {text}\n```"));
        }
    }
}
