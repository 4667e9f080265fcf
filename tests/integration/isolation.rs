//! The audit of connections and the preflight request, on real processes.

use serde_json::Value;

use crate::asking::{base, devrun};
use crate::support::{Running, Sandbox};

/// A program that connects to `$TARGET`, reports it, and stays connected.
const CLIENT: &str = "import os,socket,time\n\
    s = socket.create_connection(('127.0.0.1', int(os.environ['TARGET'])))\n\
    print('connected', flush=True)\n\
    time.sleep(1000)\n";
/// A program that listens on a free port and prints it. The kernel accepts the connections.
const SERVER: &str = "import socket,time\n\
    s = socket.create_server(('127.0.0.1', 0))\n\
    print('port', s.getsockname()[1], flush=True)\n\
    time.sleep(1000)\n";
/// A program that answers requests on `$PORT` and allows only the origin in `$ALLOWED`, or all with `*`.
const WEB: &str = "import http.server,os\n\
    class H(http.server.BaseHTTPRequestHandler):\n\
    \x20   def answer(self):\n\
    \x20       self.send_response(200)\n\
    \x20       if os.environ.get('ALLOWED') in ('*', self.headers.get('Origin')):\n\
    \x20           self.send_header('Access-Control-Allow-Origin', self.headers['Origin'])\n\
    \x20       self.send_header('Content-Length', '0')\n\
    \x20       self.end_headers()\n\
    \x20   do_GET = do_OPTIONS = answer\n\
    http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n";

/// Starts a server outside every stack. Returns it with its port.
fn stranger(sandbox: &Sandbox) -> (Running, u16) {
    let mut running = sandbox.program("python3", &["-c", SERVER]).start();
    let line = running.expect_line(r"^port \d+$");
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    (running, port)
}

fn client_of(target: &str) -> String {
    format!(
        "ports: {{ web: {} }}\nprocesses:\n  worker:\n    run: python3 client.py\n    env: {{ TARGET: \"{target}\" }}\n    \
         depends_on: [web]\n    ready: {{ log: connected }}\n  web:\n    run: python3 web.py\n    port: web\n    \
         ready: {{ http: / }}\n",
        base()
    )
}

fn findings(sandbox: &Sandbox) -> Value {
    let ended = devrun(sandbox, &sandbox.main(), &["status", "--json"]).run();
    let status: Value = serde_json::from_str(&ended.stdout).unwrap();
    status["isolation"].clone()
}

#[test]
fn a_connection_to_a_foreign_server_is_reported_with_its_holder() {
    let sandbox = Sandbox::new();
    let (server, port) = stranger(&sandbox);
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &client_of(&port.to_string())),
        ("client.py", CLIENT),
        ("web.py", WEB),
    ]);
    let up = devrun(&sandbox, &main, &["up", "-d"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    let found = findings(&sandbox);
    assert_eq!(found[0]["process"], "worker", "{found}");
    assert_eq!(found[0]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(found[0]["server"], "http");
    assert!(found[0]["holder"].as_str().unwrap().contains(&format!("pid {}", server.pid())), "{found}");
    let said = format!("worker is connected to 127.0.0.1:{port} (python3");
    assert!(up.stdout.contains(&said), "{up}");
    let down = devrun(&sandbox, &main, &["down"]).run();
    assert_eq!(down.code, Some(0), "{down}");
}

#[test]
fn a_finding_names_the_variable_whose_value_is_the_address() {
    let sandbox = Sandbox::new();
    let (_server, port) = stranger(&sandbox);
    let both = format!("{port}\", TARGET_URL: \"http://localhost:{port}/api");
    let main =
        sandbox.repo_with(&[("devrun.yaml", &client_of(&both)), ("client.py", CLIENT), ("web.py", WEB)]);
    let up = devrun(&sandbox, &main, &["up", "-d"]).run();
    assert_eq!(findings(&sandbox)[0]["reads"], "TARGET_URL (devrun.yaml:5)", "{up}");
    assert!(up.stdout.contains("It reads TARGET_URL (devrun.yaml:5)"), "{up}");
    assert_eq!(devrun(&sandbox, &main, &["down"]).run().code, Some(0));
}

#[test]
fn connection_to_a_server_of_the_worktree_is_accepted() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &client_of("${ports.web}")),
        ("client.py", CLIENT),
        ("web.py", WEB),
    ]);
    let up = devrun(&sandbox, &main, &["up", "-d", "--strict-isolation"]).run();
    assert_eq!(up.code, Some(0), "{up}");
    assert_eq!(findings(&sandbox), Value::Null);
    devrun(&sandbox, &main, &["down"]).run();
}

#[test]
fn strict_isolation_fails_the_run_and_is_default_in_ci() {
    let sandbox = Sandbox::new();
    let (_server, port) = stranger(&sandbox);
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &client_of(&port.to_string())),
        ("client.py", CLIENT),
        ("web.py", WEB),
    ]);
    for (args, ci) in [(["up", "-d", "--strict-isolation"].as_slice(), ""), (&["up", "-d"], "true")] {
        let up = devrun(&sandbox, &main, args).env("CI", ci).run();
        assert_eq!(up.code, Some(90), "{args:?}: {up}");
        assert!(up.stderr.contains("[not-isolated]"), "{up}");
    }
    let up = devrun(&sandbox, &main, &["up", "-d", "--strict-isolation=false"]).env("CI", "true").run();
    assert_eq!(up.code, Some(0), "{up}");
    devrun(&sandbox, &main, &["down"]).run();
}

#[test]
fn a_backend_that_refuses_its_own_page_is_named() {
    let sandbox = Sandbox::new();
    let (_server, port) = stranger(&sandbox);
    let (first, second) = (base(), base());
    let config = |allowed: &str| {
        format!(
            "ports: {{ frontend: {first}, backend: {second} }}\nprocesses:\n  backend:\n    run: python3 web.py\n    \
             port: backend\n    env: {{ ALLOWED: \"{allowed}\" }}\n    ready: {{ http: / }}\n  frontend:\n    \
             run: python3 web.py\n    port: frontend\n    ready: {{ http: / }}\n    \
             env: {{ NEXT_PUBLIC_API_URL: \"http://localhost:${{ports.backend}}/api\" }}\n  worker:\n    \
             run: python3 client.py\n    env: {{ TARGET: \"{port}\" }}\n    ready: {{ log: connected }}\n"
        )
    };
    let files = [("devrun.yaml", &*config("http://localhost:3000")), ("web.py", WEB), ("client.py", CLIENT)];
    let main = sandbox.repo_with(&files);
    let said = || {
        let mut up = devrun(&sandbox, &main, &[]).start();
        // The audit comes after the preflight requests.
        up.expect_line(r"worker is connected to");
        up.signal_group(nix::sys::signal::Signal::SIGINT);
        let ended = up.wait();
        format!("{}{}", ended.stdout, ended.stderr)
    };
    let refused = said();
    assert!(refused.contains("backend refuses the page of frontend"), "{refused}");
    assert!(refused.contains("NEXT_PUBLIC_API_URL"), "{refused}");
    let background = devrun(&sandbox, &main, &["up", "-d", "--json"]).run();
    let status: Value = serde_json::from_str(&background.stdout).unwrap();
    let told = status["notices"][0]["text"].as_str().unwrap_or_default();
    assert!(told.contains("backend refuses the page of frontend"), "{background}");
    let shown = devrun(&sandbox, &main, &["status"]).run();
    assert!(shown.stdout.contains("notice: backend refuses the page"), "{shown}");
    assert_eq!(devrun(&sandbox, &main, &["down"]).run().code, Some(0));
    sandbox.write(&main.join("devrun.yaml"), &config("http://localhost:${ports.frontend}"));
    let allowed = said();
    assert!(!allowed.contains("refuses"), "{allowed}");
}
