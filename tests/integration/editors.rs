//! The JSON Schema of devrun.yaml: in a validator, and in the language server that editors run.

#[path = "editors/language_server.rs"]
mod language_server;

use serde_json::Value;

use self::language_server::LanguageServer;
use crate::asking::{devrun, fine, json};
use crate::support::product::{entries, project};
use crate::support::{Sandbox, shape};

#[test]
fn an_editor_accepts_the_configuration_that_init_writes_for_every_shape() {
    let sandbox = Sandbox::new();
    let Some(mut server) = LanguageServer::start(&sandbox) else { return };
    let shapes = entries(&project().join("tests/shapes"));
    let names: Vec<String> = shapes
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let sandbox = Sandbox::new();
        let files = shape::files(&name);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let main = sandbox.repo_with(&files);
        if !main.join("devrun.yaml").exists() {
            fine(devrun(&sandbox, &main, &["init"]));
        }
        let text = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
        assert_eq!(server.problems(&text), Vec::<String>::new(), "{name}\n{text}");
    }
}

#[test]
fn an_editor_reports_an_unknown_key_in_the_file_that_init_writes() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("Procfile", "web: npm start\n")]);
    fine(devrun(&sandbox, &main, &["init"]));
    let file = main.join("devrun.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=file:///"), "{text}");
    let Some(mut server) = LanguageServer::start(&sandbox) else { return };
    assert_eq!(server.problems(&text), Vec::<String>::new());
    let wrong = format!("{text}prots: {{ web: 3000 }}\nlogs: {{ size: 10 }}\n");
    let problems = server.problems(&wrong);
    let has = |part: &str| problems.iter().any(|problem| problem.contains(part));
    assert!(has("Property prots is not allowed") && has("Incorrect type"), "{problems:#?}");
    // devrun refuses the file that the editor reports.
    sandbox.write(&file, &wrong);
    let refused = devrun(&sandbox, &main, &["plan"]).run();
    assert_eq!(refused.code, Some(80), "{refused}");
}

#[test]
fn installing_the_schema_again_changes_nothing() {
    let sandbox = Sandbox::new();
    let first = answer_of_install(&sandbox);
    let path = first["path"].as_str().unwrap();
    let written = std::fs::read(path).unwrap();
    assert_eq!(answer_of_install(&sandbox), first);
    assert_eq!(std::fs::read(path).unwrap(), written);
    let shown = fine(sandbox.devrun(&["schema"]).directory(sandbox.path())).stdout;
    let values: [Value; 2] =
        [&shown, std::str::from_utf8(&written).unwrap()].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(values[0], values[1]);
}

fn answer_of_install(sandbox: &Sandbox) -> Value {
    json(&fine(sandbox.devrun(&["schema", "--install", "--json"]).directory(sandbox.path())))
}
