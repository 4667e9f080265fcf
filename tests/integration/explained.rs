//! Explanations that devrun prints: `env --explain`, the bindings of `plan --json`, and `init --facts`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::asking::{answer, devrun, fine, json};
use crate::support::Sandbox;

/// A secret that devrun must never print.
const SECRET: &str = "hunter2-hunter2";

/// Makes a frontend and a backend whose variables name servers on localhost, a second project without a lock file, and a service.
fn product(sandbox: &Sandbox) -> PathBuf {
    let settings = "import os\n\nSERVER = os.environ[\"POSTGRES_SERVER\"]\nUSER = os.environ[\"POSTGRES_USER\"]\n\
                    WORD = os.environ[\"POSTGRES_PASSWORD\"]\nNAME = os.environ[\"POSTGRES_DB\"]\n";
    let example =
        "POSTGRES_SERVER=localhost\nPOSTGRES_USER=app\nPOSTGRES_PASSWORD=changeme\nPOSTGRES_DB=app\n";
    let main = sandbox.repo_with(&[
        (".gitignore", ".env\n"),
        (".env.example", example),
        ("devrun.yaml", "env: { LEVEL: debug }\n"),
        ("docker-compose.yml", "services:\n  db:\n    image: postgres:17\n    ports: ['5432:5432']\n"),
        ("package.json", "{}"),
        ("pnpm-lock.yaml", ""),
        ("pnpm-workspace.yaml", "packages: [frontend]\n"),
        ("frontend/package.json", r#"{ "dependencies": { "next": "16.0.0" } }"#),
        ("frontend/.env.example", "# local\nBACKEND_URL=http://localhost:8000\n"),
        ("frontend/lib/api.ts", "export const base = process.env.BACKEND_URL;\n"),
        ("backend/requirements.txt", "fastapi==0.1\npsycopg==3.2\n"),
        ("backend/app/main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n"),
        ("backend/app/settings.py", settings),
        ("reports/pyproject.toml", "[project]\nname = \"reports\"\ndependencies = [\"fastapi\"]\n"),
        ("reports/main.py", "from fastapi import FastAPI\n\nreports = FastAPI()\n"),
    ]);
    let own = format!("POSTGRES_SERVER=localhost\nAPI_TOKEN={SECRET}\nLEVEL=info\n");
    sandbox.write(&main.join(".env"), &own);
    main
}

/// Returns the explanation of `name`, for every process or for one.
fn explained<'a>(told: &'a Value, name: &str, process: Option<&str>) -> &'a Value {
    let all = told["variables"].as_array().unwrap();
    let found = all.iter().find(|one| one["name"] == name && one["process"] == json!(process));
    found.unwrap_or_else(|| panic!("{name} is not explained: {told:#}"))
}

/// Returns the entry of the list `told` whose name is `name`.
fn named<'a>(told: &'a Value, name: &str) -> &'a Value {
    let found = told.as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {told:#}"))
}

#[test]
fn each_variable_is_explained_with_its_source_and_what_it_replaces() {
    let sandbox = Sandbox::new();
    let main = product(&sandbox);
    let told = fine(devrun(&sandbox, &main, &["env", "--explain", "--json"]));
    assert!(!told.stdout.contains(SECRET), "{told}");
    let told = json(&told);
    let server = explained(&told, "POSTGRES_SERVER", None);
    assert_eq!(server["value"], Value::Null, "{server:#}");
    assert_eq!(server["reason"], "database-part", "{server:#}");
    assert_eq!(server["from"]["kind"], "recognised", "{server:#}");
    assert_eq!(server["read"], json!({ "file": "backend/app/settings.py", "line": 3 }), "{server:#}");
    let file = json!({ "kind": "env-file", "file": ".env", "line": 1, "main_worktree": false });
    assert_eq!(server["shadows"], json!([{ "from": file, "same": false }]), "{server:#}");
    let port = explained(&told, "PORT", Some("backend"));
    assert_eq!((&port["from"]["kind"], &port["reason"]), (&json!("computed"), &json!("process-port")));
    let token = explained(&told, "API_TOKEN", None);
    assert_eq!((&token["value"], &token["from"]["line"]), (&json!("********"), &json!(2)), "{token:#}");

    let plan = answer(&sandbox, &main, "plan");
    let url = named(&plan["bindings"], "BACKEND_URL");
    let read = json!({ "file": "frontend/lib/api.ts", "line": 1 });
    let source = json!({ "file": "frontend/.env.example", "line": 2 });
    assert_eq!((&url["reason"], &url["source"]), (&json!("own-address"), &source), "{url:#}");
    assert_eq!(url["read"], read);
    let same = explained(&told, "BACKEND_URL", url["process"].as_str());
    assert_eq!(same["value"], format!("http://localhost:{}", plan["ports"]["backend"]), "{same:#}");
    assert_eq!((&same["read"], &same["from"]["file"]), (&read, &source["file"]));

    let linked = sandbox.worktree("linked", "b");
    let there = devrun(&sandbox, &linked, &["env", "--explain", "LEVEL", "API_TOKEN"]).env("LEVEL", "warn");
    assert_eq!(
        fine(there).stdout,
        "API_TOKEN=********\n    .env:2 of the main worktree\nLEVEL=debug\n    devrun.yaml:1\n    instead of the shell, \
         which has another value\n    instead of .env:3 of the main worktree, which has another value\n"
    );
}

#[test]
fn configured_variable_is_not_a_binding() {
    let sandbox = Sandbox::new();
    let main = product(&sandbox);
    sandbox.write(&main.join("devrun.yaml"), "env:\n  BACKEND_URL: http://api.test\n");
    let plan = answer(&sandbox, &main, "plan");
    named(&plan["bindings"], "POSTGRES_USER");
    let bindings = plan["bindings"].as_array().unwrap();
    assert!(bindings.iter().all(|one| one["name"] != "BACKEND_URL"), "{plan:#}");
    let told = json(&fine(devrun(&sandbox, &main, &["env", "--explain", "--json", "BACKEND_URL"])));
    let source = json!({ "kind": "config", "file": "devrun.yaml", "line": 2 });
    assert_eq!(explained(&told, "BACKEND_URL", None)["from"], source);
    assert_eq!(devrun(&sandbox, &main, &["env", "LEVEL"]).run().code, Some(2));
}

#[test]
fn facts_name_parts_candidates_variables_ports_services_and_questions() {
    let sandbox = Sandbox::new();
    let main = product(&sandbox);
    let shown = fine(devrun(&sandbox, &main, &["init", "--facts", "--json"]));
    assert!(!shown.stdout.contains(SECRET), "{shown}");
    let told = json(&shown);
    let (backend, frontend) = (named(&told["parts"], "backend"), named(&told["parts"], "frontend"));
    assert_eq!((&backend["kind"], &backend["directory"]), (&json!("backend"), &json!("backend")));
    assert_eq!(backend["at"], "backend/app/main.py:3", "{backend:#}");
    assert_eq!((&backend["usual_ports"], &frontend["usual_ports"]), (&json!([8000]), &json!([3000])));
    let variable = named(&told["variables"], "BACKEND_URL");
    assert_eq!(variable["at"], "frontend/.env.example:2", "{variable:#}");
    assert_eq!(variable["read_at"], "frontend/lib/api.ts:1", "{variable:#}");
    let service = named(&told["facts"]["services"], "db");
    assert_eq!((&service["image"], &service["ports"]), (&json!("postgres:17"), &json!([[5432, 5432]])));
    let questions = told["questions"].as_array().unwrap();
    let question =
        questions.iter().find(|one| one["at"].as_str().is_some_and(|at| at.starts_with("reports/")));
    let question = question.unwrap_or_else(|| panic!("no question about reports: {questions:#?}"));
    assert!(!question["question"].as_str().unwrap().is_empty(), "{question:#}");
    assert!(question["candidates"].is_array() && question["lines"].is_string(), "{question:#}");
    let modules = told["facts"]["modules"].as_array().unwrap();
    let objects = modules.iter().flat_map(|module| module["applications"].as_array().unwrap());
    let objects: Vec<&Value> = objects.map(|object| &object["name"]).collect();
    assert!(objects.contains(&&json!("app")) && objects.contains(&&json!("reports")), "{objects:?}");

    let text = fine(devrun(&sandbox, &main, &["init", "--facts"])).stdout;
    for wanted in ["part ", "object ", "service ", "variable ", "reads ", "question: "] {
        assert!(text.lines().any(|line| line.starts_with(wanted)), "{wanted}: {text}");
    }
    assert!(!text.contains(SECRET), "{text}");
}
