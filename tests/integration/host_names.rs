//! Host names of worktrees: printed, exported, and checked against the application.

use serde_json::json;

use crate::asking::{answer, base, devrun, fine};
use crate::support::{LIMIT, Sandbox, wait_for};

/// A server that answers only requests for `localhost`, as Django does.
const STRICT: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_known = self.headers["Host"].split(":")[0] == "localhost"
        self.send_response(200 if is_known else 400)
        self.end_headers()
        self.wfile.write(b"fine" if is_known else b"<h1>DisallowedHost at /</h1>")

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn an_application_that_rejects_the_host_name_is_reported_with_the_line_to_change() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web: {{ run: exec python3 strict.py, port: web, ready: {{ http: / }} }}\n",
        base()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config), ("strict.py", STRICT)]);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let notice = wait_for("the notice", LIMIT, || {
        let status = answer(&sandbox, &main, "status");
        status["notices"].get(0).cloned().ok_or_else(|| format!("{status:#}"))
    });
    let text = notice["text"].as_str().unwrap();
    assert!(
        text.starts_with("web rejects this worktree's host name: it answers http://repo.localhost:"),
        "{text}"
    );
    assert!(notice["fix"].as_str().unwrap().contains("ALLOWED_HOSTS"), "{notice}");
    fine(devrun(&sandbox, &main, &["down"]));
}

#[test]
fn names_are_unique_on_the_machine_and_reach_templates_and_variables() {
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {}, api: {} }}\nprocesses:\n  web: {{ run: 'true', port: web }}\n  api: {{ run: 'true', port: api }}\n\
         urls: {{ Tenant: \"http://demo.${{host}}:${{ports.web}}/x\" }}\n",
        base(),
        base()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    let plan = answer(&sandbox, &main, "plan");
    let (web, api) = (&plan["ports"]["web"], &plan["ports"]["api"]);
    let hosts = json!({ "Web": format!("http://repo.localhost:{web}"), "Api": format!("http://api.repo.localhost:{api}") });
    assert_eq!(plan["host_urls"], hosts);
    assert_eq!(plan["urls"]["Tenant"], format!("http://demo.repo.localhost:{web}/x"));
    let origins = format!(
        "http://localhost:{web},http://localhost:{api},http://repo.localhost:{web},http://api.repo.localhost:{api},http://demo.repo.localhost:{web}"
    );
    assert_eq!(plan["env"]["DEVRUN_ORIGINS"], origins);
    let said = fine(devrun(&sandbox, &main, &["url"])).stdout;
    assert!(said.contains(&format!("http://localhost:{web}  http://repo.localhost:{web}\n")), "{said}");

    // A second repository in a folder of the same name.
    let second = sandbox.path().join("elsewhere/repo");
    sandbox.write(&second.join("devrun.yaml"), &config);
    fine(sandbox.program("git", &["init", "-q", second.to_str().unwrap()]));
    let url = answer(&sandbox, &second, "plan")["host_urls"]["Web"].as_str().unwrap().to_string();
    assert!(url.starts_with("http://repo-") && url.contains(".localhost:"), "{url}");
    assert_eq!(answer(&sandbox, &main, "plan")["host_urls"], hosts);
}
