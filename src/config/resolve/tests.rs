//! Cases for `resolve`, one per behaviour.

use std::time::Duration;

use super::*;
use crate::config::source::{ConfigPosition, Source};
use crate::config::urls::{host_urls, origins, urls};
use crate::config::{consistency, schema, yaml};
use crate::plan::{Need, RunCommand};

fn config(text: &str) -> Config {
    let source = Source::new("devrun.yaml", text);
    let draft = schema::read(&yaml::parse(&source).unwrap()).unwrap();
    consistency::complete(draft.config, draft.processes, &ConfigPosition::file(&source), &|_| false).unwrap()
}

fn scope() -> Scope {
    let ports = [("web".to_string(), 3026), ("my-api".to_string(), 4026)].into();
    let env = [("SET".into(), "s".into()), ("EMPTY".into(), "".into())].into();
    Scope::new(env).with_branch("feature/x").with_worktree(Path::new("/w/t"), "t").with_ports(26, &ports)
}

const PORTS: &str = "ports: { web: 3000, my-api: 4000 }\n";

#[test]
fn only_an_exposed_process_binds_every_interface() {
    let text = format!(
        "{PORTS}processes:\n  web: {{ run: x, port: web, expose: true }}\n  api: {{ run: x, listen: my-api }}\n"
    );
    let processes =
        processes(&config(&text), Path::new("/w/t"), &scope(), &|_| BTreeMap::new(), &Venvs::default())
            .unwrap();
    let [web, api] = &processes[..] else { panic!() };
    assert_eq!((web.expose, web.env["DEVRUN_HOST"].as_str()), (true, "0.0.0.0"));
    assert_eq!((api.expose, api.env["DEVRUN_HOST"].as_str()), (false, "127.0.0.1"));
}

#[test]
fn a_process_gets_its_port_its_socket_and_its_own_variables() {
    let text = format!(
        "{PORTS}database: {{}}\nprocesses:\n  web: {{ run: [serve], port: web, directory: front, env: {{ A: '${{SET}}:${{PORT}}' }} }}\n  api: {{ run: x, listen: my-api, env: {{ B: '${{MY_API_FD}}' }}, needs: [database] }}\n  other: y\n"
    );
    let processes =
        processes(&config(&text), Path::new("/w/t"), &scope(), &|_| BTreeMap::new(), &Venvs::default())
            .unwrap();
    let [web, api, other] = &processes[..] else { panic!() };
    assert_eq!(
        web.env,
        [("A", "s:3026"), ("DEVRUN_HOST", "127.0.0.1"), ("PORT", "3026")]
            .map(|(name, value)| (name.into(), value.into()))
            .into()
    );
    assert_eq!(web.port, Some(PortUse::Binds { name: "web".into(), port: 3026 }));
    assert_eq!(web.directory, Path::new("/w/t/front"));
    assert_eq!(web.run, RunCommand::Argv(vec!["serve".into()]));
    let wanted = [
        ("B", "3"),
        ("DEVRUN_HOST", "127.0.0.1"),
        ("LISTEN_FDNAMES", "my-api"),
        ("LISTEN_FDS", "1"),
        ("MY_API_FD", "3"),
        ("PORT", "4026"),
    ];
    assert_eq!(api.env, wanted.map(|(name, value)| (name.into(), value.into())).into());
    assert_eq!(
        api.port,
        Some(PortUse::Listens { name: "my-api".into(), port: 4026, fd_env: "MY_API_FD".into() })
    );
    assert_eq!(api.needs, [Need::Database].into());
    assert!(other.env.is_empty() && other.port.is_none());
    assert_eq!(other.directory, Path::new("/w/t"));
}

#[test]
fn probes_use_the_port_of_their_process() {
    let text = format!(
        "{PORTS}processes:\n  web: {{ run: x, port: web, ready: {{ http: '/${{slug}}', host: 'demo.localhost:${{ports.web}}', status: 204 }} }}\n  api: {{ run: x, port: my-api, ready: {{ tcp: true }} }}\n  log: {{ run: x, ready: {{ log: 'up \\$' }} }}\n"
    );
    let processes =
        processes(&config(&text), Path::new("/w"), &scope(), &|_| BTreeMap::new(), &Venvs::default())
            .unwrap();
    let probe = |index: usize| &processes[index].ready.as_ref().unwrap().probe;
    let plan::Probe::Http { path, host, status, port } = probe(0) else { panic!() };
    assert_eq!((path.as_str(), host.as_deref()), ("/t", Some("demo.localhost:3026")));
    assert_eq!((*status, *port), (crate::plan::Accepted::Only(204), 3026));
    assert!(matches!(probe(1), plan::Probe::Tcp { port: 4026 }));
    assert!(matches!(probe(2), plan::Probe::Log(pattern) if pattern.is_match(b"up $")));
}

#[test]
fn a_redirect_of_a_port_that_the_worktree_has_itself_is_left_out() {
    let text = format!("{PORTS}redirects: {{ 8000: web, 4026: web }}\nprocesses: {{ a: b }}\n");
    assert_eq!(redirects(&config(&text), &scope()), [(8000, 3026)].into());
}

#[test]
fn urls_are_those_of_the_ports_then_the_configured_ones() {
    let text = format!(
        "{PORTS}processes:\n  api: {{ run: x, port: my-api, ready: {{ tcp: true }} }}\n  web: {{ run: x, port: web }}\nurls: {{ Tenant: 'http://t.localhost:${{ports.web}}/' }}\n"
    );
    let found = urls(&config(&text), &scope()).unwrap();
    let wanted = [("Web", "http://localhost:3026"), ("Tenant", "http://t.localhost:3026/")];
    assert_eq!(found, wanted.map(|(name, url)| (name.to_string(), url.to_string())));
    let text = format!(
        "{PORTS}processes: {{ web: {{ run: x, port: web }} }}\nurls: {{ WEB: 'http://x/${{branch}}' }}\n"
    );
    assert_eq!(
        urls(&config(&text), &scope()).unwrap(),
        [("WEB".to_string(), "http://x/feature/x".to_string())]
    );
}

#[test]
fn every_http_port_has_a_host_name_of_the_worktree() {
    let text = format!(
        "{PORTS}processes:\n  api: {{ run: x, port: my_api }}\n  web: {{ run: x, port: web }}\nurls: {{ Tenant: 'http://t.${{host}}:${{ports.web}}/x' }}\n"
    )
    .replace("my-api", "my_api");
    let scope = Scope::default()
        .with_ports(26, &[("my_api".into(), 8026), ("web".into(), 3026)].into())
        .with_host("login");
    let found = host_urls(&config(&text), &scope);
    let wanted = [("Web", "http://login.localhost:3026"), ("My_api", "http://my-api.login.localhost:8026")];
    assert_eq!(found, wanted.map(|(name, url)| (name.to_string(), url.to_string())));
    assert_eq!(
        origins(&config(&text), &scope).join(" "),
        "http://localhost:3026 http://localhost:8026 http://login.localhost:3026 http://my-api.login.localhost:8026 \
         http://t.login.localhost:3026"
    );
}

#[test]
fn a_database_of_auto_does_without_variables_that_are_not_set() {
    let text = "processes: { a: b }\ndatabase: { provider: auto, branch: 'x-${branch}', neon: { project_id: '${NEON_PROJECT_ID}', parent: main, expires_in: 7d }, local: { bin: '${EMPTY}' } }\n";
    let config_of = |provider: &str| config(&text.replace("auto", provider)).database.unwrap();
    let auto = database(&config_of("auto"), &scope()).unwrap();
    assert_eq!((auto.branch.as_str(), auto.parent.as_deref()), ("x-feature/x", Some("main")));
    assert_eq!(auto.settings["neon"].text("project_id"), None);
    assert_eq!(auto.settings["neon"].time("expires_in"), Some(Duration::from_hours(168)));
    assert_eq!(auto.settings["local"].text("bin"), None);
    let neon = database(&config_of("neon"), &scope()).unwrap_err();
    assert_eq!(neon.to_string(), "devrun.yaml:2:72: database.neon.project_id: NEON_PROJECT_ID is not set");
    let local = database(&config_of("local"), &scope()).unwrap();
    assert_eq!((local.settings.get("neon"), local.parent), (None, None));
}
