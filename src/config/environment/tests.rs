//! Cases for `environment`, one per behaviour.

use super::*;
use crate::config::envfile::EnvFileOrigin;
use crate::config::source::{ConfigPosition, Source};
use crate::config::{consistency, schema, yaml};
use crate::plan::{EnvFileWorktree, EnvLine, FileLine};

const BASIC: &str = "ports: { web: 3000, my-api: 4000 }\nprocesses: { a: b }\n";

fn config(text: &str) -> Config {
    let source = Source::new("devrun.yaml", text);
    let draft = schema::read(&yaml::parse(&source).unwrap()).unwrap();
    consistency::complete(draft.config, draft.processes, &ConfigPosition::file(&source), &|_| false).unwrap()
}

fn vars<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<OsString, OsString> {
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn file<const N: usize>(pairs: [(&str, &str); N]) -> EnvFile {
    let vars = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let lines = (1..).zip(pairs).map(|(line, (name, _))| (name.to_string(), line)).collect();
    EnvFile {
        name: ".env".into(),
        found: EnvFileOrigin::Worktree,
        vars,
        lines,
        left_out: Vec::new(),
        passed_over: None,
        warnings: Vec::new(),
    }
}

fn scope(database: Option<&str>) -> Scope {
    let ports = [("web".to_string(), 3026), ("my-api".to_string(), 4026)].into();
    let scope =
        Scope::default().with_branch("b").with_worktree(Path::new("/w/t"), "t").with_ports(26, &ports);
    match database {
        Some(url) => scope.with_database("dev-b", url),
        None => scope,
    }
}

struct Case {
    config: Config,
    files: Vec<EnvFile>,
    inherited: BTreeMap<OsString, OsString>,
    scope: Scope,
    venv: Option<PathBuf>,
    colour: bool,
}

impl Case {
    fn new(text: &str) -> Case {
        Case {
            config: config(text),
            files: Vec::new(),
            inherited: BTreeMap::new(),
            scope: scope(None),
            venv: None,
            colour: false,
        }
    }

    fn compose(&self) -> Environment {
        self.try_compose().unwrap()
    }

    fn try_compose(&self) -> Result<Environment, ConfigError> {
        self.compose_with(&BTreeSet::new())
    }

    fn compose_with(&self, login_shell: &BTreeSet<String>) -> Result<Environment, ConfigError> {
        compose(&EnvironmentInputs {
            config: &self.config,
            files: &self.files,
            left: &BTreeMap::new(),
            inherited: &self.inherited,
            login_shell,
            scope: &self.scope,
            worktree: Path::new("/w/t"),
            venv: self.venv.as_deref(),
            colour: self.colour,
        })
    }
}

fn get<'a>(env: &'a Environment, name: &str) -> Option<&'a str> {
    env.vars.get(OsStr::new(name)).map(|value| value.to_str().unwrap())
}

#[test]
fn shell_overrides_env_files_and_env_overrides_both() {
    let mut case = Case::new("processes: { a: b }\nenv: { C: config, D: '${B}', E: }\n");
    case.files = vec![file([("A", "file"), ("B", "file"), ("C", "file")]), file([("A", "later")])];
    case.inherited = vars([("B", "shell"), ("C", "shell"), ("EMPTY", "")]);
    let env = case.compose();
    let values: Vec<_> = ["A", "B", "C", "D", "E", "EMPTY"].map(|name| get(&env, name).unwrap()).into();
    assert_eq!(values, ["later", "shell", "config", "shell", "", ""]);
    let line = |file: &str, line| FileLine { file: file.into(), line };
    let of_file = EnvLine { at: line(".env", 1), worktree: EnvFileWorktree::This };
    assert_eq!(env.origins.get("A"), Some(&Origin::File(of_file)));
    assert_eq!(env.origins.get("B"), None);
    assert_eq!(env.origins.get("C"), Some(&Origin::Config(line("devrun.yaml", 2))));
}

#[test]
fn ports_and_identity_are_computed_over_everything() {
    let mut case = Case::new(BASIC);
    case.files = vec![file([("WEB_PORT", "1"), ("PORT", "2")])];
    case.inherited = vars([("MY_API_PORT", "3"), ("PORT", "4"), ("DEVRUN_RUN", "x"), ("DEVRUN_SLOT", "9")]);
    let env = case.compose();
    assert_eq!((get(&env, "WEB_PORT"), get(&env, "MY_API_PORT")), (Some("3026"), Some("4026")));
    assert_eq!((get(&env, "PORT"), get(&env, "DEVRUN_RUN")), (None, None));
    assert_eq!((get(&env, "DEVRUN_SLOT"), get(&env, "DEVRUN_SLUG")), (Some("26"), Some("t")));
    assert_eq!(env.origins.get("WEB_PORT"), Some(&Origin::Computed(Computed::Port)));
    assert_eq!(env.origins.get("PORT"), None);
}

#[test]
fn database_url_is_that_of_the_branch_or_absent() {
    let text = "database: { url_env: [DATABASE_URL, OTHER_URL] }\nprocesses: { a: b }\nenv: { COPY: '${DATABASE_URL:-none}' }\n";
    let mut case = Case::new(text);
    case.files = vec![file([("OTHER_URL", "postgres://main")])];
    case.inherited = vars([("DATABASE_URL", "postgres://main")]);
    let env = case.compose();
    assert_eq!(
        (get(&env, "DATABASE_URL"), get(&env, "OTHER_URL"), get(&env, "COPY")),
        (None, None, Some("none"))
    );
    case.scope = scope(Some("postgres://u:p@h/dev"));
    let env = case.compose();
    assert_eq!(get(&env, "OTHER_URL"), Some("postgres://u:p@h/dev"));
    assert_eq!(get(&env, "COPY"), Some("postgres://u:p@h/dev"));
    assert_eq!(env.secrets, ["COPY", "DATABASE_URL", "OTHER_URL", "PGPASSWORD"].map(String::from).into());
}

#[test]
fn without_a_database_the_url_is_unchanged() {
    let mut case = Case::new(BASIC);
    case.inherited = vars([("DATABASE_URL", "postgres://own")]);
    assert_eq!(get(&case.compose(), "DATABASE_URL"), Some("postgres://own"));
}

#[test]
fn git_s_local_variables_and_foreign_sockets_are_kept_out() {
    let mut case = Case::new(BASIC);
    case.inherited = vars([
        ("GIT_DIR", "/x"),
        ("GIT_WORK_TREE", "/x"),
        ("GIT_INDEX_FILE", "/x"),
        ("GIT_EDITOR", "vi"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_PID", "1"),
    ]);
    let env = case.compose();
    let left: Vec<_> = env.vars.keys().filter(|name| name.to_str().unwrap().contains('_')).collect();
    assert!(left.contains(&&OsString::from("GIT_EDITOR")));
    assert!(
        !left
            .iter()
            .any(|name| matches!(name.to_str().unwrap(), "GIT_DIR" | "GIT_WORK_TREE" | "GIT_INDEX_FILE"))
    );
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("LISTEN_")));
}

#[test]
fn foreign_virtual_environment_is_removed_and_the_own_one_comes_first() {
    let mut case = Case::new(BASIC);
    case.inherited =
        vars([("VIRTUAL_ENV", "/other/.venv"), ("PATH", "/a:/other/.venv/bin:/b"), ("PYTHONHOME", "/p")]);
    let env = case.compose();
    assert_eq!((get(&env, "VIRTUAL_ENV"), get(&env, "PATH")), (None, Some("/a:/b")));
    case.venv = Some("/w/t/backend/.venv".into());
    let env = case.compose();
    assert_eq!(get(&env, "VIRTUAL_ENV"), Some("/w/t/backend/.venv"));
    assert_eq!(get(&env, "PATH"), Some("/w/t/backend/.venv/bin:/a:/b"));
    assert_eq!(get(&env, "PYTHONHOME"), None);
}

#[test]
fn the_own_virtual_environment_is_not_on_the_path_twice() {
    let mut case = Case::new(BASIC);
    case.venv = Some("/v".into());
    case.inherited = vars([("VIRTUAL_ENV", "/v"), ("PATH", "/a:/v/bin")]);
    assert_eq!(get(&case.compose(), "PATH"), Some("/v/bin:/a"));
    case.inherited = BTreeMap::new();
    assert_eq!(get(&case.compose(), "PATH"), Some("/v/bin:/usr/local/bin:/usr/bin:/bin"));
    case.venv = Some("/with:colon".into());
    case.inherited = vars([("PATH", "/a")]);
    let error = case.try_compose().unwrap_err();
    assert_eq!(error.to_string(), "/with:colon/bin cannot be on PATH: its name contains a `:`");
}

#[test]
fn tools_get_default_settings_unless_the_user_set_them() {
    let mut case = Case::new(BASIC);
    let env = case.compose();
    assert_eq!((get(&env, "PYTHONUNBUFFERED"), get(&env, "NEXT_TELEMETRY_DISABLED")), (Some("1"), Some("1")));
    assert_eq!((get(&env, "FORCE_COLOR"), get(&env, "CLICOLOR_FORCE")), (None, None));
    case.colour = true;
    let env = case.compose();
    assert_eq!((get(&env, "FORCE_COLOR"), get(&env, "CLICOLOR_FORCE")), (Some("1"), Some("1")));
    for (name, value, wanted) in
        [("NO_COLOR", "1", None), ("NO_COLOR", "", Some("1")), ("FORCE_COLOR", "0", Some("0"))]
    {
        case.inherited = vars([(name, value)]);
        assert_eq!(get(&case.compose(), "FORCE_COLOR"), wanted, "{name}={value}");
    }
    case.files = vec![file([("NEXT_TELEMETRY_DISABLED", "")])];
    assert_eq!(get(&case.compose(), "NEXT_TELEMETRY_DISABLED"), Some(""));
}

#[test]
fn secrets_are_known_by_name_or_value() {
    for (name, value, secret) in [
        ("NEON_API_KEY", "x", true),
        ("github_token", "x", true),
        ("CLIENT_SECRET", "x", true),
        ("SECRET_SAUCE", "x", true),
        ("PGPASSWORD", "x", true),
        ("DB_PASSWORD_FILE", "x", true),
        ("REDIS_URL", "redis://:pw@h/0", true),
        ("REDIS_URL", "redis://h:6379/0", false),
        ("API_URL", "http://localhost:8100", false),
        ("KEYBOARD", "x", false),
        ("HOME", "/root", false),
    ] {
        assert_eq!(is_secret(name, value), secret, "{name}={value}");
    }
}

#[test]
fn env_value_with_a_missing_variable_is_an_error() {
    let case = Case::new("processes: { a: b }\nenv: { A: '${NONE}' }\n");
    let inherited = BTreeMap::new();
    let error = compose(&EnvironmentInputs {
        config: &case.config,
        files: &[],
        left: &BTreeMap::new(),
        inherited: &inherited,
        login_shell: &BTreeSet::new(),
        scope: &case.scope,
        worktree: Path::new("/w/t"),
        venv: None,
        colour: false,
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "devrun.yaml:2:11: env.A: NONE is not set");
}

#[test]
#[cfg(target_os = "linux")]
fn values_that_are_no_text_pass_through() {
    use std::os::unix::ffi::OsStringExt;
    let mut case = Case::new(BASIC);
    let raw = OsString::from_vec(vec![b'a', 0xff]);
    case.inherited = [("RAW".into(), raw.clone())].into();
    assert_eq!(case.compose().vars.get(OsStr::new("RAW")), Some(&raw));
}

#[test]
fn the_neon_key_reaches_processes_only_where_env_names_it() {
    let mut case = Case::new("processes: { a: b }\nenv: { COPY: '${BASE}' }\n");
    case.inherited = vars([("NEON_API_KEY", "napi_shell"), ("BASE", "x")]);
    assert_eq!(get(&case.compose(), "NEON_API_KEY"), None);
    case.inherited.clear();
    case.files = vec![file([("NEON_API_KEY", "napi_file"), ("BASE", "x")])];
    let env = case.compose();
    assert_eq!((get(&env, "NEON_API_KEY"), env.origins.get("NEON_API_KEY")), (None, None));
    case.config = config("processes: { a: b }\nenv: { NEON_API_KEY: '${NEON_API_KEY}' }\n");
    let env = case.compose();
    assert_eq!(get(&env, "NEON_API_KEY"), Some("napi_file"));
    assert!(env.secrets.contains("NEON_API_KEY"));
}

#[test]
fn values_made_of_secrets_are_masked_whatever_their_name() {
    let text = "database: { url_env: { DATABASE_URL: postgresql+asyncpg } }\nprocesses: { a: b }\n\
                env: { PASS: '${database.password}', SALT: '${secret.SALT}', AT: '${database.host}' }\n";
    let mut case = Case::new(text);
    case.scope = scope(Some("postgresql://u:p@h/dev")).with_secrets(&[("SALT".into(), "ab".into())].into());
    let env = case.compose();
    assert_eq!(get(&env, "DATABASE_URL"), Some("postgresql+asyncpg://u:p@h/dev"));
    for (name, secret) in [("PASS", true), ("SALT", true), ("DATABASE_URL", true), ("AT", false)] {
        assert_eq!(env.secrets.contains(name), secret, "{name}");
    }
}

#[test]
fn values_of_the_login_shell_are_masked_under_every_name() {
    let text = "processes: { a: b }\nenv: { COPY: 'x-${STRIPE}', SHORT: '${PIN}', PLAIN: '${OTHER}' }\n";
    let mut case = Case::new(text);
    case.files = vec![file([("FROM_FILE", "y-tok_abcdef")])];
    case.inherited = vars([("STRIPE", "tok_abcdef"), ("PIN", "1"), ("OTHER", "plain")]);
    let shell = ["STRIPE", "PIN"].map(String::from).into();
    case.scope = scope(None).with_private(&shell);
    let env = case.compose_with(&shell).unwrap();
    for (name, secret) in [
        ("COPY", true),
        ("SHORT", true),
        ("FROM_FILE", true),
        ("PIN", true),
        ("PLAIN", false),
        ("WEB_PORT", false),
    ] {
        assert_eq!(env.secrets.contains(name), secret, "{name}");
    }
}

#[test]
fn with_a_database_the_default_url_names_no_other_postgres() {
    let case = |database: &str, url: &str| {
        let mut case = Case::new(&format!("{database}{BASIC}"));
        case.inherited = vars([("DATABASE_URL", url)]);
        case.scope = scope(Some("postgresql://app:x@127.0.0.1:1/dev-b"));
        case.compose().vars.get(OsStr::new("DATABASE_URL")).cloned()
    };
    let own_name = "database: { url_env: [APP_DB] }\n";
    assert_eq!(case(own_name, "postgresql+asyncpg://u:p@shared/db"), None);
    assert_eq!(case(own_name, "sqlite:///app.db"), Some("sqlite:///app.db".into()));
    assert_eq!(case("", "postgres://u:p@shared/db"), Some("postgres://u:p@shared/db".into()));
}

#[test]
fn with_a_database_the_variables_of_libpq_lead_to_it() {
    let mut case = Case::new(&format!("database: {{}}\nenv: {{ PGAPPNAME: x, PGUSER: me }}\n{BASIC}"));
    case.files = vec![file([("PGHOST", "prod.example.net"), ("PGSERVICE", "prod")])];
    case.inherited = vars([
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGSSLMODE", "require"),
        ("PGOPTIONS", "-csearch_path=x"),
        ("PGTARGETSESSIONATTRS", "read-only"),
        ("PGCONNECT_TIMEOUT", "5"),
    ]);
    let names = |env: &Environment| -> Vec<String> {
        let names = env.vars.keys().filter_map(|name| name.to_str());
        names.filter(|name| name.starts_with("PG")).map(String::from).collect()
    };
    assert_eq!(names(&case.compose()), ["PGAPPNAME", "PGCONNECT_TIMEOUT", "PGUSER"], "no URL is known yet");
    case.scope = scope(Some("postgresql://app:x@127.0.0.1:6000/dev-b"));
    let env = case.compose();
    let pieces = ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"];
    let values = pieces.map(|name| get(&env, name).unwrap_or("none"));
    assert_eq!(values, ["127.0.0.1", "6000", "me", "x", "dev-b", "none"]);
    assert!(env.secrets.contains("PGPASSWORD"));
    case.scope = scope(Some("postgresql://u:p@ep-a.neon.tech/main?sslmode=require"));
    assert_eq!(get(&case.compose(), "PGSSLMODE"), Some("require"));
    case.config = config(BASIC);
    assert_eq!(get(&case.compose(), "PGHOST"), Some("prod.example.net"), "without a database they stay");
}

#[test]
fn urls_of_another_postgres_are_named_unless_devrun_set_them() {
    let mut case = Case::new(&format!("database: {{}}\nenv: {{ JOBS_URL: '${{DIRECT_URL}}' }}\n{BASIC}"));
    let other = "postgresql://u:p@prod.example.net/main";
    case.files = vec![file([("DIRECT_URL", other), ("JOBS_URL", other)])];
    case.inherited = vars([("POSTGRES_URL", other), ("DATABASE_URL", other)]);
    let names =
        |case: &Case| -> Vec<String> { case.compose().elsewhere.into_iter().map(|one| one.name).collect() };
    assert_eq!(names(&case), ["DIRECT_URL", "POSTGRES_URL"]);
    case.scope = scope(Some(other));
    assert!(names(&case).is_empty());
    case.config = config(BASIC);
    assert!(names(&case).is_empty());
}

#[test]
fn values_of_env_use_the_bindings_and_a_database_of_another_kind_leaves_those_alone() {
    let text =
        "database: {}\nenv: { COPY: 'x-${DB_HOST}', DB_HOST: '${database.host}' }\nprocesses: { a: b }\n";
    let mut case = Case::new(text);
    case.inherited = vars([("DB_HOST", "localhost")]);
    case.config.provenance.bindings = vec![crate::plan::BoundVariable {
        name: "DB_HOST".into(),
        process: None,
        reason: crate::plan::Reason::DatabasePart,
        source: None,
        read: None,
    }];
    case.scope = scope(Some("postgresql://u:p@h.example.net/dev"));
    assert_eq!(get(&case.compose(), "COPY"), Some("x-h.example.net"));
    case.scope = scope(Some("file:///tmp/dev.db"));
    let env = case.compose();
    assert_eq!((get(&env, "DB_HOST"), get(&env, "COPY")), (Some("localhost"), Some("x-localhost")));
    assert_eq!(env.origins.get("DB_HOST"), None);
    case.scope = scope(None).with_database_to_come();
    assert_eq!(get(&case.compose(), "DB_HOST"), None);
}

#[test]
fn nested_devrun_learns_which_variables_devrun_set() {
    let mut case = Case::new("processes: { a: b }\nenv: { LEVEL: info }\n");
    case.files = vec![file([("KEY", "x")])];
    case.inherited = vars([("SHELL", "/bin/sh")]);
    let env = case.compose();
    let told: Vec<&str> = get(&env, "DEVRUN_VARIABLES").unwrap().split(' ').collect();
    assert!(told.contains(&"LEVEL") && told.contains(&"KEY") && told.contains(&"DEVRUN_SLUG"), "{told:?}");
    assert!(
        !told.contains(&"SHELL") && !told.contains(&"DEVRUN_WORKTREE") && !told.contains(&"PATH"),
        "{told:?}"
    );
}
