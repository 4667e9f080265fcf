//! Proposals for small repositories, as whole texts. The configuration reads every one of them.

use proptest::prelude::*;

use super::*;
use crate::config::{self, ConfigError, Recognised};
use crate::recognition::facts;

/// Returns the proposal for a repository with these files, and the result of reading it as a configuration.
fn proposal(files: &[(&str, &str)]) -> (String, Result<config::Config, ConfigError>) {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        crate::os::fs::replace(&root.path().join(name), text.as_bytes(), 0o600).unwrap();
    }
    let facts = facts::read(root.path(), None, None);
    let text = propose(&Tree::new(root.path(), &facts));
    crate::os::fs::replace(&root.path().join("devrun.yaml"), text.as_bytes(), 0o600).unwrap();
    let config = config::load(root.path(), None, &|| Recognised::default());
    (text, config)
}

/// Returns the proposal, which must be a complete configuration.
#[track_caller]
fn complete(files: &[(&str, &str)]) -> String {
    let (text, config) = proposal(files);
    if let Err(error) = config {
        panic!("{error}\n{text}");
    }
    text
}

/// Returns the proposal and the message of the error about its incomplete line.
#[track_caller]
fn incomplete(files: &[(&str, &str)]) -> String {
    let (text, config) = proposal(files);
    let error = config.map(|_| ()).unwrap_err();
    format!("{text}\n{error}\n")
}

const SERVER: &str = "import os, http.server\nport = int(os.environ.get('PORT', '8000'))\n";

#[test]
fn make_gets_the_port_in_the_variable_of_the_makefile() {
    let makefile = "PORT ?= 8000\n\nserve:\n\tpython3 server.py --port $(PORT)\n\ntest:\n\tpytest\n";
    insta::assert_snapshot!(complete(&[("Makefile", makefile), ("server.py", SERVER)]));
}

#[test]
fn port_in_the_only_command_of_a_target_is_replaced() {
    let makefile = ".PHONY: run\nrun:\n\tcd site && python3 -m http.server 8123\n";
    insta::assert_snapshot!(complete(&[("Makefile", makefile), ("site/index.html", "")]));
}

#[test]
fn target_with_several_commands_runs_as_a_whole() {
    let makefile = "dev: deps\n\tgo generate ./...\n\tgo run ./cmd/api\n\ndeps:\n\tgo mod download\n\nworker:\n\tgo run ./cmd/worker\n";
    let example = "# local\nSERVER_PORT=9090\nDATABASE_URL=postgres://localhost:5432/shop\n";
    insta::assert_snapshot!(complete(&[
        ("Makefile", makefile),
        (".env.example", example),
        ("cmd/api/main.go", "package main\n"),
    ]));
}

#[test]
fn targets_for_parts_are_a_process_each() {
    let justfile =
        "run-api:\n    cargo run --bin api\n\nrun-jobs:\n    cargo run --bin jobs\n\ntest:\n    cargo test\n";
    insta::assert_snapshot!(complete(&[("justfile", justfile), ("src/main.rs", "")]));
}

#[test]
fn package_script_runs_with_the_package_manager_of_the_lock_file() {
    let manifest = r#"{
  "scripts": { "build": "tsc", "start": "node server.js", "dev": "nodemon server.js" },
  "dependencies": { "express": "5" }
}
"#;
    let server = "const port = process.env.PORT || 4000\n";
    insta::assert_snapshot!(complete(&[
        ("package.json", manifest),
        ("pnpm-lock.yaml", ""),
        ("server.js", server),
    ]));
}

#[test]
fn command_and_port_come_from_the_dockerfile() {
    let dockerfile =
        "FROM node:24\nWORKDIR /app\nCOPY . .\nEXPOSE 8080\nCMD [\"node\", \"/app/server.js\"]\n";
    insta::assert_snapshot!(complete(&[("Dockerfile", dockerfile), ("server.js", "")]));
}

#[test]
fn built_services_of_compose_are_processes() {
    let compose = "\
services:
  api:
    build: ./api
    command: ruby server.rb
    ports: ['8000:8000']
    environment: { LOG_LEVEL: debug, DATABASE_URL: 'postgres://db:5432/shop', SECRET_KEY: abc }
    depends_on: [db, mailer]
  mailer:
    build: ./mailer
  db:
    image: postgres:18
";
    let mailer = "FROM ruby:3\nENTRYPOINT [\"ruby\"]\nCMD [\"mailer.rb\"]\n";
    insta::assert_snapshot!(complete(&[
        ("docker-compose.yml", compose),
        ("api/Dockerfile", "FROM ruby:3\n"),
        ("mailer/Dockerfile", mailer),
        ("api/server.rb", ""),
    ]));
}

#[test]
fn document_is_the_last_source_of_a_command() {
    let readme = "# Shop\n\nRun it:\n\n```sh\nbundle install\nbin/rails server\n```\n";
    insta::assert_snapshot!(complete(&[("README.md", readme), ("bin/rails", "")]));
}

#[test]
fn program_of_an_image_must_be_completed() {
    let dockerfile = "FROM golang AS build\nRUN go build -o /out/server .\nFROM scratch\nCOPY --from=build /out/server /server\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n";
    insta::assert_snapshot!(incomplete(&[("Dockerfile", dockerfile), ("main.go", "package main\n")]));
}

#[test]
fn repository_without_any_source_has_one_line_to_complete() {
    insta::assert_snapshot!(incomplete(&[("notes.txt", "")]));
}

#[test]
fn variable_that_only_the_user_has_is_asked_for() {
    let server = "import os\ntoken = os.environ['SHOP_TOKEN']\nport = os.environ['PORT']\n";
    let (text, _) = proposal(&[("Makefile", "run:\n\tpython3 server.py\n"), ("server.py", server)]);
    insta::assert_snapshot!(text);
}

proptest! {
    #[test]
    fn every_proposal_can_be_read(
        target in "[a-z:_.-]{1,8}",
        command in "[ -~]{0,40}",
        value in "[ -~]{0,20}",
        folder in "[ -.0-9A-~]{1,8}",
    ) {
        let makefile = format!("run:\n\t{command}\n{target}-dev:\n\t{command}\n");
        let compose = format!("services:\n  a:\n    build: ./x\n    environment: {{ A: {} }}\n", serde_json::json!(value));
        let nested = format!("{}/Dockerfile", folder.trim_matches(['.', ' ']));
        let files = [
            ("Makefile", makefile.as_str()),
            ("x/Dockerfile", &format!("CMD {command}\n")),
            ("compose.yaml", &compose),
            (".env.example", &format!("PORT={value}\nDATABASE_URL=postgres+{value}://x\n")),
            (nested.as_str(), &format!("EXPOSE {value}\nCMD {value}\n")),
        ];
        let (text, config) = proposal(&files);
        if let Err(error) = config {
            let message = error.to_string();
            prop_assert!(message.ends_with("run: has no value"), "{message}\n{text}");
        }
    }
}
