//! Cases for explanations, on a stack with a backend, a frontend and a value of each origin.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::envfile::EnvFileOrigin;
use crate::config::loader::LoaderVariable;

/// The parts of a stack that explanations use.
#[derive(Default)]
struct Stack {
    env: Environment,
    backend: (BTreeMap<String, String>, BTreeMap<String, Origin>),
    bindings: Vec<BoundVariable>,
    files: Option<Files>,
    inherited: BTreeMap<OsString, OsString>,
    login_shell: BTreeSet<String>,
    foreign: Vec<ForeignVariable>,
    written: Vec<(PathBuf, BTreeSet<String>)>,
    urls: BTreeMap<&'static str, Option<FileLine>>,
    pending: BTreeMap<(Option<&'static str>, &'static str), Origin>,
}

fn spot(file: &str, line: u32) -> FileLine {
    FileLine { file: file.into(), line }
}

fn line(file: &str, line: u32) -> EnvLine {
    EnvLine { at: spot(file, line), worktree: EnvFileWorktree::This }
}

fn file(name: &str, found: EnvFileOrigin, vars: &[(&str, &str)]) -> EnvFile {
    EnvFile {
        name: Path::new(name).into(),
        found,
        lines: (1..).zip(vars).map(|(line, (name, _))| ((*name).to_string(), line)).collect(),
        vars: vars.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect(),
        left_out: Vec::new(),
        passed_over: None,
        warnings: Vec::new(),
    }
}

fn binding(
    name: &str,
    process: Option<&str>,
    reason: Reason,
    source: FileLine,
    read: Option<FileLine>,
) -> BoundVariable {
    BoundVariable { name: name.into(), process: process.map(Into::into), reason, source: Some(source), read }
}

impl Stack {
    fn common(&mut self, name: &str, value: &str, origin: Origin) {
        self.env.vars.insert(name.into(), value.into());
        self.env.origins.insert(name.into(), origin);
    }

    fn own(&mut self, name: &str, value: &str, origin: Origin) {
        self.backend.0.insert(name.into(), value.into());
        self.backend.1.insert(name.into(), origin);
    }

    fn explained(&self, names: &[&str], all: bool, reveal: bool) -> Vec<Explanation> {
        let none = Files {
            common: Vec::new(),
            own: BTreeMap::new(),
            names: [].into(),
            outside: Vec::new(),
            left: BTreeMap::new(),
        };
        let secrets = BTreeSet::new();
        let own = ProcessVariables {
            name: "backend",
            env: &self.backend.0,
            origins: &self.backend.1,
            secrets: &secrets,
        };
        let known = ExplainInput {
            env: &self.env,
            processes: vec![own],
            bindings: &self.bindings,
            files: self.files.as_ref().unwrap_or(&none),
            inherited: &self.inherited,
            login_shell: &self.login_shell,
            foreign: &self.foreign,
            written: self.written.clone(),
            urls: self.urls.clone(),
            pending: self.pending.clone(),
            reveal,
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        explain(&known, &names, all)
    }
}

fn sample() -> Stack {
    let mut stack = Stack::default();
    stack.common(
        "API_KEY",
        "abc123secret",
        Origin::File(EnvLine { worktree: EnvFileWorktree::Main, ..line(".env", 2) }),
    );
    stack.common("POSTGRES_SERVER", "127.0.0.1", Origin::Recognised);
    stack.common("LEVEL", "info", Origin::Config(spot("devrun.yaml", 4)));
    stack.common("WEB_PORT", "3147", Origin::Computed(Computed::Port));
    stack.common(variables::VARIABLES, "LEVEL", Origin::Computed(Computed::Variables));
    stack.env.vars.insert("EDITOR".into(), "vi".into());
    stack.inherited = [("EDITOR", "vi"), ("LEVEL", "info"), ("PORT", "3000")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    stack.own("PORT", "8147", Origin::Computed(Computed::ProcessPort));
    stack.own("API_URL", "http://localhost:8147", Origin::Recognised);
    stack.own("LEVEL", "debug", Origin::File(line("app/.env", 3)));
    stack.bindings = vec![
        binding(
            "POSTGRES_SERVER",
            None,
            Reason::DatabasePart,
            spot(".env.example", 3),
            Some(spot("app/settings.py", 14)),
        ),
        binding("API_URL", Some("backend"), Reason::OwnAddress, spot("app/.env", 1), None),
    ];
    let own = [("API_URL", "http://localhost:8000"), ("POSTGRES_SERVER", "db"), ("LEVEL", "debug")];
    let modes = LoaderVariable {
        plain: Some("prod".into()),
        loaded: Some("dev".into()),
        line: Some(line(".env.development", 1)),
    };
    stack.files = Some(Files {
        common: vec![
            file(".env", EnvFileOrigin::Main, &[("LEVEL", "warn"), ("API_KEY", "abc123secret")]),
            EnvFile {
                vars: Vec::new(),
                ..file(".env.development", EnvFileOrigin::Worktree, &[("MODE", "dev")])
            },
        ],
        own: [("backend".to_string(), vec![file("app/.env", EnvFileOrigin::Worktree, &own)])].into(),
        names: [].into(),
        outside: Vec::new(),
        left: [("MODE".to_string(), modes)].into(),
    });
    stack
}

#[test]
fn every_variable_that_devrun_sets_or_a_file_gives_is_explained() {
    insta::assert_snapshot!(text(&sample().explained(&[], false, false)), @r"
    API_KEY=********
        .env:2 of the main worktree
    API_URL=http://localhost:8147  (backend)
        in place of the value at app/.env:1: own address of a part
    LEVEL=info
        devrun.yaml:4
        instead of the shell, which has the same value
        instead of .env:1 of the main worktree, which has another value
    LEVEL=debug  (backend)
        app/.env:3
        instead of devrun.yaml:4, which has another value
    MODE
        .env.development:1, which the program reads itself
    PORT=8147  (backend)
        computed: port of the process
        instead of the shell, which has another value
    POSTGRES_SERVER=127.0.0.1
        recognised at .env.example:3: part of the branch database's address; read at app/settings.py:14
        instead of app/.env:2, which has another value
    WEB_PORT=3147
        computed: port of this worktree
    ");
}

#[test]
fn only_named_variables_are_explained_with_their_ignored_values() {
    let mut stack = sample();
    stack.inherited.insert("NEON_API_KEY".into(), "napi_x".into());
    let told = text(&stack.explained(&["EDITOR", "NEON_API_KEY", "NOWHERE"], false, false));
    assert_eq!(
        told,
        "EDITOR=vi\n    the shell\nNEON_API_KEY\n    not set\n    the shell has a value, which devrun keeps \
         out\nNOWHERE\n    not set\n"
    );
}

#[test]
fn secrets_are_masked_unless_revealed_and_inherited_variables_need_all() {
    let stack = sample();
    assert!(!text(&stack.explained(&[], true, false)).contains("abc123secret"));
    assert!(text(&stack.explained(&[], true, true)).contains("API_KEY=abc123secret"));
    assert!(text(&stack.explained(&[], true, false)).contains("EDITOR=vi"));
    assert!(!text(&stack.explained(&[], false, false)).contains("EDITOR"));
}

#[test]
fn url_of_a_missing_database_is_explained() {
    let stack = Stack {
        urls: [("DATABASE_URL", None), ("DIRECT_URL", None)].into(),
        bindings: vec![binding("DIRECT_URL", None, Reason::DatabaseUrl, spot(".env.example", 1), None)],
        ..Stack::default()
    };
    assert_eq!(
        text(&stack.explained(&[], false, false)),
        "DATABASE_URL\n    computed: URL of the branch database; no value until the branch database exists\n\
         DIRECT_URL\n    recognised at .env.example:1: URL of the branch database; no value until the branch \
         database exists\n"
    );
}

#[test]
fn the_line_of_url_env_is_the_source_of_a_url() {
    let mut stack = Stack { urls: [("DB_URL", Some(spot("devrun.yaml", 4)))].into(), ..Stack::default() };
    assert_eq!(
        text(&stack.explained(&["DB_URL"], false, false)),
        "DB_URL\n    devrun.yaml:4: URL of the branch database; no value until the branch database exists\n"
    );
    stack.common("DB_URL", "postgresql://x", Origin::Computed(Computed::DatabaseUrl));
    assert_eq!(
        text(&stack.explained(&["DB_URL"], false, false)),
        "DB_URL=postgresql://x\n    devrun.yaml:4: URL of the branch database\n"
    );
}

#[test]
fn explanations_of_one_process_are_its_own_and_those_of_every_process() {
    let all = sample().explained(&[], false, false);
    let named = |all: &[Explanation], name: &str| -> Vec<Option<String>> {
        all.iter().filter(|one| one.name == name).map(|one| one.process.clone()).collect()
    };
    assert_eq!(named(&of_process(all, "backend"), "API_URL"), [Some("backend".to_string())]);
    let all = sample().explained(&[], false, false);
    assert!(named(&of_process(all, "frontend"), "API_URL").iter().all(Option::is_none));
}

#[test]
fn a_value_that_waits_for_the_database_is_not_that_of_a_file() {
    let mut stack = sample();
    stack.common("POSTGRES_SERVER", "localhost", Origin::File(line(".env", 3)));
    stack.pending = [((None, "POSTGRES_SERVER"), Origin::Recognised)].into();
    stack.files = None;
    assert_eq!(
        text(&stack.explained(&["POSTGRES_SERVER"], false, false)),
        "POSTGRES_SERVER\n    recognised at .env.example:3: part of the branch database's address; read at \
         app/settings.py:14; no value until the branch database exists\n"
    );
}

#[test]
fn explanations_are_typed_as_json() {
    let explained = serde_json::to_value(sample().explained(&["API_URL", "WEB_PORT"], false, false)).unwrap();
    let wanted = json!([
        {
            "name": "API_URL",
            "process": "backend",
            "value": "http://localhost:8147",
            "from": { "kind": "recognised", "file": "app/.env", "line": 1 },
            "reason": "own-address",
            "read": null,
            "shadows": [
                { "from": { "kind": "env-file", "file": "app/.env", "line": 1, "main_worktree": false }, "same": false },
            ],
        },
        {
            "name": "WEB_PORT",
            "process": null,
            "value": "3147",
            "from": { "kind": "computed" },
            "reason": "port",
            "read": null,
            "shadows": [],
        },
    ]);
    assert_eq!(explained, wanted);
}

#[test]
fn the_login_shell_and_files_of_other_copies_are_sources() {
    let mut stack = sample();
    let other = EnvFileOrigin::Other("/w/b".into());
    let mut env = file(".env", other, &[("CLERK_KEY", "file"), ("API_PORT", "8147"), ("MODE", "x")]);
    env.vars.retain(|(name, _)| name != "API_PORT");
    env.left_out = vec![("API_PORT".into(), "1".into())];
    stack.common("CLERK_KEY", "shell", Origin::LoginShell);
    stack.common("MODE", "x", Origin::File(env.line("MODE").unwrap()));
    stack.inherited.insert("CLERK_KEY".into(), "shell".into());
    stack.login_shell = ["CLERK_KEY".to_string()].into();
    stack.files.as_mut().unwrap().common = vec![env];
    stack.foreign =
        vec![ForeignVariable { name: "PYTHONPATH".into(), worktree: "/w/c".into(), is_partial: false }];
    stack.written = [".env.devrun", "web/.env"].map(|path| (path.into(), ["MODE".to_string()].into())).into();
    let names = ["CLERK_KEY", "MODE", "API_PORT", "PYTHONPATH"];
    insta::assert_snapshot!(text(&stack.explained(&names, false, true)), @r"
    API_PORT
        not set
        .env:2 of the worktree /w/b has a value, which devrun keeps out
    CLERK_KEY=shell
        the login shell, which shell_env names
        instead of .env:1 of the worktree /w/b, which has another value
    MODE=x
        .env:3 of the worktree /w/b
        written to .env.devrun, web/.env
    PYTHONPATH
        not set
        a value of the shell that leads into /w/c was taken out
    ");
}

#[test]
fn a_password_of_an_example_that_the_user_types_is_shown() {
    let mut stack = sample();
    let names = ["FIRST_SUPERUSER_PASSWORD", "SECRET_KEY"];
    for name in names {
        stack.common(name, "changethis", Origin::Recognised);
        stack.bindings.push(binding(name, None, Reason::Example, spot(".env.example", 3), None));
    }
    let shown = stack.explained(&names, false, false);
    let values: Vec<Option<&str>> = shown.iter().map(|one| one.value.as_deref()).collect();
    assert_eq!(values, [Some("changethis"), Some(MASK)]);
}

#[test]
fn the_url_of_the_branch_database_is_shown_without_its_password() {
    let mut stack = sample();
    let url = "postgresql+asyncpg://app:s3cret@127.0.0.1:25325/dev-x";
    stack.common("DATABASE_URL", url, Origin::Recognised);
    stack.common("OTHER_URL", url, Origin::Config(spot("devrun.yaml", 4)));
    let read = Some(spot("backend/app/db.py", 16));
    stack.bindings.push(binding("DATABASE_URL", None, Reason::DatabaseUrl, spot("backend/.env", 1), read));
    let shared = [("DATABASE_URL", "postgresql://app:pasted@localhost/app")];
    stack.files.as_mut().unwrap().common = vec![
        file(".env", EnvFileOrigin::Example(".env.example".into()), &shared),
        file("backend/.env", EnvFileOrigin::Worktree, &shared),
    ];
    assert_eq!(
        text(&stack.explained(&["DATABASE_URL", "OTHER_URL"], false, false)),
        "DATABASE_URL=postgresql+asyncpg://app:***@127.0.0.1:25325/dev-x\n    in place of the value at backend/.env:1: URL \
         of the branch database; read at backend/app/db.py:16\nOTHER_URL=********\n    devrun.yaml:4\n",
        "no program reads an example, and a line is named once"
    );
}
