//! The probes with which `devrun status` checks a process before it calls the process ready.

use serde_json::json;

use crate::asking::{base, fine, json, skip_without};
use crate::support::Sandbox;

/// A server that answers 200 until the file `broken` exists. Then `page` never answers, and `api` answers 200 once more, then 503.
const BROKEN_LATER: &str = r#"
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        broken = os.path.exists("broken")
        if broken and sys.argv[1] == "page":
            time.sleep(600)
        self.send_response(503 if broken and Handler.last else 200)
        Handler.last = broken
        self.send_header("Content-Length", "0")
        self.end_headers()
Handler.last = False
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_process_that_fails_while_another_is_probed_is_not_ready() {
    let sandbox = Sandbox::new();
    if sandbox.program("python3", &["--version"]).run().code != Some(0) {
        return skip_without(&["python3"]);
    }
    let text = format!(
        "ports: {{ api: {}, page: {} }}\nprocesses:\n  \
         api: {{ run: [python3, server.py, api], port: api, ready: {{ http: / }} }}\n  \
         page: {{ run: [python3, server.py, page], port: page, ready: {{ http: / }} }}\n",
        base(),
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &text), ("server.py", BROKEN_LATER)]);
    fine(sandbox.devrun(&["up", "-d"]));
    sandbox.write(&sandbox.main().join("broken"), "");
    let status = json(&fine(sandbox.devrun(&["status", "--json"])));
    let api = &status["processes"][0];
    assert_eq!((&api["name"], &api["ready"]), (&json!("api"), &json!(false)), "{status:#}");
    assert!(api["reason"].as_str().unwrap().contains("503"), "{status:#}");
    fine(sandbox.devrun(&["down"]));
}
