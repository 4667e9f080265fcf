//! A stack in the background and its clients: `up -d`, `status`, `wait`, orders for single processes, events, the socket
//! itself.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use devrun::testing::control::routes::{Handler, ROUTES, Route};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::asking::{base, json, refusal};
use crate::support::{Ended, LIMIT, Sandbox, wait_for};

/// Makes a repository with these processes: name, words for the fixture, further keys in flow style.
fn world(processes: &[(&str, &str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut text = format!("ports: {{ web: {} }}\nprocesses:\n", base());
    for (name, run, keys) in processes {
        let words: Vec<&str> = ["devrun-fixture"].into_iter().chain(run.split_whitespace()).collect();
        writeln!(text, "  {name}: {{ run: {}, {keys} }}", json!(words)).unwrap();
    }
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    sandbox
}

/// Runs devrun until it exits and returns its JSON. Panics if it fails.
#[track_caller]
fn answer(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ended = sandbox.devrun(&[args, &["--json"]].concat()).run();
    assert_eq!(ended.code, Some(0), "{args:?}: {ended}");
    json(&ended)
}

#[track_caller]
fn down(sandbox: &Sandbox) {
    let ended = sandbox.devrun(&["down"]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(sandbox.processes(), [], "{ended}");
}

fn pid(status: &Value, name: &str) -> Option<u64> {
    let processes = status["processes"].as_array().unwrap();
    processes.iter().find(|process| process["name"] == name).unwrap()["pid"].as_u64()
}

fn record(sandbox: &Sandbox) -> Value {
    let file = sandbox.main().join(".git/devrun/run.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn socket(sandbox: &Sandbox) -> PathBuf {
    record(sandbox)["socket"].as_str().unwrap().into()
}

const WEB: (&str, &str, &str) = ("web", "listen:PORT ready sleep", "port: web, ready: { http: / }");

#[test]
fn up_d_returns_when_ready_and_a_second_start_finds_it() {
    let sandbox = world(&[WEB, ("job", "append:starts:x ready sleep", "")]);
    let first = answer(&sandbox, &["up", "-d"]);
    assert_eq!(
        (&first["state"], &first["processes"][0]["ready"]),
        (&json!("ready"), &json!(true)),
        "{first:#}"
    );
    for asked in [&["up", "-d"][..], &["up"], &["status"], &["ps"], &["wait"], &["wait", "web"]] {
        assert_eq!(answer(&sandbox, asked), first, "{asked:?}");
    }
    let below = sandbox.main().join("below");
    std::fs::create_dir(&below).unwrap();
    let ended = sandbox.devrun(&["ps", "--json"]).directory(&below).run();
    assert_eq!(json(&ended), first);
    assert_eq!(std::fs::read_to_string(sandbox.main().join("starts")).unwrap(), "x\n");
    down(&sandbox);
    let after = answer(&sandbox, &["ps"]);
    assert_eq!((&after["state"], &after["ports"]), (&json!("stopped"), &first["ports"]), "{after:#}");
}

#[test]
fn twenty_concurrent_starts_give_one_stack() {
    let sandbox = world(&[WEB, ("job", "append:starts:x ready sleep", "")]);
    let all: Vec<_> = (0..20).map(|_| sandbox.devrun(&["up", "-d", "--json"]).start()).collect();
    let ended: Vec<Ended> = all.into_iter().map(crate::support::Running::wait).collect();
    let first = json(&ended[0]);
    assert_eq!(first["state"], "ready", "{}", ended[0]);
    for other in &ended {
        assert_eq!((other.code, json(other)), (Some(0), first.clone()), "{other}");
    }
    assert_eq!(std::fs::read_to_string(sandbox.main().join("starts")).unwrap(), "x\n");
    down(&sandbox);
}

#[test]
fn status_fits_a_screen_and_has_no_colours() {
    let sandbox = world(&[WEB, ("job", "ready sleep", "")]);
    let ended = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.lines().count() + ended.stderr.lines().count() <= 20, "{ended}");
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
    for part in ["State", "ready", "http://localhost:", "job", "pid "] {
        assert!(ended.stdout.contains(part), "no {part}: {ended}");
    }
    down(&sandbox);
}

#[test]
fn background_start_fails_like_a_foreground_start() {
    let sandbox = world(&[("web", "say:broken exit:3", "")]);
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "process-ended", 3);
    assert!(error["message"].as_str().unwrap().contains("web ended with exit code 3"), "{error:#}");
    let after = answer(&sandbox, &["status"]);
    assert_eq!(
        (&after["state"], &after["error"]["code"]),
        (&json!("failed"), &json!("process-ended")),
        "{after:#}"
    );
    assert_eq!(
        (&after["processes"][0]["state"], &after["processes"][0]["exit"]),
        (&json!("ended"), &json!(3))
    );
    assert_eq!(sandbox.processes(), []);

    let config = sandbox.main().join("devrun.yaml");
    sandbox.write(&config, "processes: { web: { runs: x } }\n");
    refusal(sandbox.devrun(&["up", "-d", "--json"]), "config-invalid", 80);
}

#[test]
fn timed_out_wait_names_the_awaited_state() {
    let sandbox = world(&[
        ("web", "ready sleep", "port: web, ready: { tcp: true, deadline: 10m }"),
        ("late", "ready sleep", "depends_on: [web]"),
    ]);
    let error = refusal(sandbox.devrun(&["up", "-d", "--timeout", "1", "--json"]), "timed-out", 88);
    let cause = error["cause"].as_str().unwrap();
    assert!(
        cause.contains("web is running, port ") && cause.contains("late is waiting, waiting for web"),
        "{error:#}"
    );
    assert_eq!(error["fix"], "devrun why web");
    let begun = answer(&sandbox, &["up", "-d", "--no-wait"]);
    assert_eq!(begun["state"], "starting", "{begun:#}");
    refusal(sandbox.devrun(&["wait", "late", "--timeout", "1", "--json"]), "timed-out", 88);
    down(&sandbox);
    refusal(sandbox.devrun(&["wait", "--json"]), "not-running", 88);
}

#[test]
fn single_process_stops_starts_and_restarts() {
    let sandbox = world(&[
        WEB,
        ("job", "report:TERM ready sleep", "stop_signal: INT"),
        ("spare", "ready sleep", "autostart: false"),
    ]);
    let first = answer(&sandbox, &["up", "-d"]);
    assert_eq!(first["processes"][2]["state"], "idle", "{first:#}");
    let again = answer(&sandbox, &["restart", "web"]);
    assert!(pid(&again, "web").is_some() && pid(&again, "web") != pid(&first, "web"), "{again:#}");
    assert_eq!(pid(&again, "job"), pid(&first, "job"));
    let stopped = answer(&sandbox, &["stop", "job", "web"]);
    assert_eq!((pid(&stopped, "job"), pid(&stopped, "web")), (None, None), "{stopped:#}");
    assert_eq!(
        (&stopped["processes"][1]["state"], &stopped["state"]),
        (&json!("stopped"), &json!("ready")),
        "{stopped:#}"
    );
    let port = u16::try_from(first["ports"]["web"].as_u64().unwrap()).unwrap();
    std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let up = answer(&sandbox, &["start", "spare", "job"]);
    assert!(pid(&up, "spare").is_some() && pid(&up, "job").is_some() && pid(&up, "web").is_none(), "{up:#}");
    let error = refusal(sandbox.devrun(&["restart", "wbe", "--json"]), "process-unknown", 2);
    assert!(error["fix"].as_str().unwrap().contains("web, job, spare"), "{error:#}");
    down(&sandbox);
}

#[test]
fn restart_keeps_order_and_skips_processes_that_are_down() {
    let words = |name: &str| format!("append:log:{name}-up graceful:INT ready sleep");
    let (back, front, spare) = (words("back"), words("front"), words("spare"));
    let sandbox = world(&[
        ("back", &back, ""),
        ("front", &front, "depends_on: [back]"),
        ("spare", &spare, "autostart: false"),
        ("helper", "ready sleep", "autostart: false, depends_on: [spare]"),
    ]);
    answer(&sandbox, &["up", "-d"]);
    let mut events = sandbox.devrun(&["events"]).start();
    events.expect_line(r#""event":"status""#);
    answer(&sandbox, &["restart"]);
    let told = events.expect_lines(r#""state":"stopp(ing|ed)""#, 4);
    let order: Vec<(&str, &str)> = told
        .iter()
        .map(|line| {
            (
                if line.contains("front") { "front" } else { "back" },
                if line.contains("stopping") { "asked" } else { "gone" },
            )
        })
        .collect();
    assert_eq!(
        order,
        [("front", "asked"), ("front", "gone"), ("back", "asked"), ("back", "gone")],
        "{told:?}"
    );
    // A process without a probe counts as up before its program has done anything, so the lines may come in any order.
    wait_for("the second start of both", LIMIT, || {
        let log = std::fs::read_to_string(sandbox.main().join("log")).unwrap();
        let count = |line: &str| log.lines().filter(|other| *other == line).count();
        if (count("back-up"), count("front-up")) == (2, 2) { Ok(()) } else { Err(log) }
    });
    let started = answer(&sandbox, &["start", "helper"]);
    assert!(pid(&started, "spare").is_some() && pid(&started, "helper").is_some(), "{started:#}");
    down(&sandbox);
}

#[test]
fn unanswering_process_is_shown_as_not_ready() {
    let words = "listen:PORT ready await:USR1 http:500 err:SyntaxError:line-7 await:USR2 http:200 sleep";
    let sandbox = world(&[("web", words, "port: web, ready: { http: / }"), ("job", "ready sleep", "")]);
    let first = answer(&sandbox, &["up", "-d"]);
    let mut events = sandbox.devrun(&["events"]).start();
    events.expect_line(r#""event":"status""#);
    let web = Pid::from_raw(i32::try_from(pid(&first, "web").unwrap()).unwrap());
    kill(web, Signal::SIGUSR1).unwrap();
    events.expect_line(r#""name":"web","state":"not-ready""#);
    let broken = answer(&sandbox, &["status"]);
    assert_eq!((&broken["state"], &broken["processes"][0]["ready"]), (&json!("degraded"), &json!(false)));
    assert!(broken["processes"][0]["reason"].as_str().unwrap().contains("GET / answered 500"), "{broken:#}");
    refusal(sandbox.devrun(&["wait", "--timeout", "1", "--json"]), "timed-out", 88);
    kill(web, Signal::SIGUSR2).unwrap();
    assert_eq!(answer(&sandbox, &["wait"]), first);
    down(&sandbox);
}

#[test]
fn a_server_that_hangs_is_not_ready() {
    let sandbox = world(&[WEB]);
    let first = answer(&sandbox, &["up", "-d"]);
    let web = Pid::from_raw(i32::try_from(pid(&first, "web").unwrap()).unwrap());
    kill(web, Signal::SIGSTOP).unwrap();
    refusal(sandbox.devrun(&["wait", "--timeout", "5", "--json"]), "timed-out", 88);
    let hung = answer(&sandbox, &["status"]);
    assert_eq!((&hung["state"], &hung["processes"][0]["ready"]), (&json!("degraded"), &json!(false)));
    assert_eq!(hung["processes"][0]["reason"], "no answer within 2s", "{hung:#}");
    let why = answer(&sandbox, &["why"]);
    assert_eq!(why["process"], "web", "{why:#}");
    kill(web, Signal::SIGCONT).unwrap();
    assert_eq!(answer(&sandbox, &["wait"]), first);
    down(&sandbox);
}

#[test]
fn a_process_that_another_program_kills_is_not_blamed_on_the_code() {
    let sandbox = world(&[("web", "say:ValueError:-old ready sleep", "")]);
    let first = answer(&sandbox, &["up", "-d"]);
    kill(Pid::from_raw(i32::try_from(pid(&first, "web").unwrap()).unwrap()), Signal::SIGKILL).unwrap();
    let why = wait_for("the end of the stack", LIMIT, || {
        let why = answer(&sandbox, &["why"]);
        if why["state"] == "ended" { Ok(why) } else { Err(format!("{why:#}")) }
    });
    assert_eq!((&why["fault"], &why["correct"]), (&Value::Null, &Value::Null), "{why:#}");
    assert!(
        why["cause"].as_str().unwrap().starts_with("devrun did not kill it: another program did"),
        "{why:#}"
    );
    assert!(!why["cause"].as_str().unwrap().contains("ValueError"), "{why:#}");
}

#[test]
fn failed_restart_is_reported_and_others_keep_running() {
    let sandbox = Sandbox::new();
    let web = "test -e broken && exec devrun-fixture 'say:ImportError: no x' sleep; exec devrun-fixture listen:PORT ready sleep";
    let text = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web: {{ run: {}, port: web, ready: {{ http: /, deadline: 1s }} }}\n  \
         job: {{ run: [devrun-fixture, ready, sleep] }}\n",
        base(),
        json!(["sh", "-c", web])
    );
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    let first = answer(&sandbox, &["up", "-d"]);
    let broken = sandbox.main().join("broken");
    sandbox.write(&broken, "");
    let error = refusal(sandbox.devrun(&["restart", "web", "--json"]), "not-ready", 86);
    assert!(error["cause"].as_str().unwrap().contains("ImportError: no x"), "{error:#}");
    assert_eq!(error["fix"], "devrun why web");
    let status = answer(&sandbox, &["status"]);
    assert_eq!(
        (&status["state"], pid(&status, "job")),
        (&json!("degraded"), pid(&first, "job")),
        "{status:#}"
    );
    let why = answer(&sandbox, &["why"]);
    assert_eq!((&why["fault"], &why["fix"]), (&json!("code"), &json!("devrun restart web")), "{why:#}");
    std::fs::remove_file(broken).unwrap();
    let healed = answer(&sandbox, &["restart", "web"]);
    assert_eq!((&healed["state"], pid(&healed, "job")), (&json!("ready"), pid(&first, "job")), "{healed:#}");
    down(&sandbox);
}

#[test]
fn error_from_before_a_reload_is_not_reported_again() {
    let sandbox = Sandbox::new();
    let web = "cat trace; devrun-fixture await-file:repaired say:Reloading...; \
               exec devrun-fixture await-file:go listen:PORT ready sleep";
    let text = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web: {{ run: {}, port: web, ready: {{ http: /, deadline: 10m }} }}\n",
        base(),
        json!(["sh", "-c", web])
    );
    let trace = "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\nKeyError: 'x'\n";
    let main = sandbox.repo_with(&[("devrun.yaml", &text), ("trace", trace)]);
    refusal(sandbox.devrun(&["up", "-d", "--json"]), "not-ready", 86);
    sandbox.write(&main.join("repaired"), "");
    // The server imports its code for longer than a process with an error may be silent.
    let error = refusal(sandbox.devrun(&["wait", "--timeout", "7s", "--json"]), "timed-out", 88);
    assert!(!error.to_string().contains("KeyError"), "{error:#}");
    sandbox.write(&main.join("go"), "");
    assert_eq!(answer(&sandbox, &["wait"])["state"], "ready");
    down(&sandbox);
}

/// Returns a configuration with a server that prints the file `site/trace` and is silent until there is a file `site/go`.
fn silent_server() -> String {
    let web = "cat trace; exec devrun-fixture await-file:go listen:PORT ready sleep";
    format!(
        "ports: {{ web: {} }}\nprocesses:\n  web: {{ run: {}, directory: site, port: web, ready: {{ http: /, deadline: 10m }} }}\n",
        base(),
        json!(["sh", "-c", web])
    )
}

#[test]
fn a_server_that_does_not_find_its_application_fails_before_its_deadline() {
    let sandbox = Sandbox::new();
    let said = "Error loading ASGI app. Attribute \"app\" not found in module \"app.main\".";
    let trace = format!("INFO:     Started reloader process [7] using WatchFiles\nERROR:    {said}\n");
    sandbox.repo_with(&[("devrun.yaml", &*silent_server()), ("site/trace", &trace)]);
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "not-ready", 86);
    let cause = format!("no answer since its error: {said}\nthe stack goes on");
    let fix = "define `app` in the module `app.main`, or correct the command of the server, then `devrun restart web`";
    assert_eq!((&error["cause"], &error["fix"]), (&json!(cause), &json!(fix)), "{error:#}");
    assert_eq!((&error["fault"], &error["correct"]), (&json!("code"), &Value::Null), "{error:#}");
    sandbox.write(&sandbox.main().join("site/go"), "");
    assert_eq!(answer(&sandbox, &["wait"])["state"], "ready");
    down(&sandbox);
}

#[test]
fn silent_process_with_an_error_fails_before_its_deadline() {
    let sandbox = Sandbox::new();
    let text = silent_server();
    let trace = "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\nKeyError: 'x'\n";
    let files = [("devrun.yaml", &*text), ("site/trace", trace), ("site/app.py", "")];
    let place = format!("{}:3", sandbox.repo_with(&files).join("site/app.py").display());
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "not-ready", 86);
    let cause = format!("no answer since its error: KeyError: 'x' ({place})\nthe stack goes on");
    assert_eq!(
        (&error["cause"], &error["fix"]),
        (&json!(cause), &json!(format!("correct {place}, then `devrun restart web`"))),
        "{error:#}"
    );
    assert_eq!(error["correct"], *place, "{error:#}");
    let why = answer(&sandbox, &["why"]);
    assert_eq!((&why["correct"], &why["cause"]), (&json!(place), &json!(cause.lines().next())), "{why:#}");
    sandbox.write(&sandbox.main().join("site/go"), "");
    assert_eq!(answer(&sandbox, &["wait"])["state"], "ready");
    down(&sandbox);
}

#[test]
fn restart_reports_why_the_stack_ended() {
    let sandbox = Sandbox::new();
    let web = "test -e broken && { echo 'ImportError: no x'; exit 3; }; exec devrun-fixture ready sleep";
    let text = format!("processes:\n  web: {{ run: {} }}\n", json!(["sh", "-c", web]));
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    answer(&sandbox, &["up", "-d"]);
    sandbox.write(&sandbox.main().join("broken"), "");
    let error = refusal(sandbox.devrun(&["restart", "web", "--json"]), "process-ended", 3);
    assert!(error["cause"].as_str().unwrap().contains("ImportError: no x"), "{error:#}");
}

#[test]
fn events_arrive_until_the_end() {
    let sandbox = world(&[WEB]);
    answer(&sandbox, &["up", "-d"]);
    let mut running = sandbox.devrun(&["events"]).start();
    running.expect_line(r#"^\{"event":"status","status":\{.*"state":"ready""#);
    answer(&sandbox, &["restart", "web"]);
    for part in ["stopping", "stopped", "running", "ready"] {
        running.expect_line(&format!(r#"^\{{"event":"process","name":"web","state":"{part}""#));
    }
    down(&sandbox);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.contains(r#"{"event":"stopping","why":"SIGTERM"}"#), "{ended}");
    assert!(ended.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{ended}");
}

#[test]
fn socket_is_private_and_removed_with_the_stack() {
    let sandbox = world(&[WEB]);
    answer(&sandbox, &["up", "-d"]);
    let socket = socket(&sandbox);
    assert!(socket.as_os_str().len() < 104, "{}", socket.display());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    down(&sandbox);
    assert!(!socket.exists());
}

/// Returns the answer of the supervisor to these bytes.
fn raw(sandbox: &Sandbox, request: &str) -> String {
    let mut stream = UnixStream::connect(socket(sandbox)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The supervisor may close the connection before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn malformed_requests_are_refused_without_harm() {
    let sandbox = world(&[WEB]);
    let first = answer(&sandbox, &["up", "-d"]);
    // This client sends nothing and stays connected.
    let silent = UnixStream::connect(socket(&sandbox)).unwrap();
    let close = "Host: x\r\nConnection: close\r\n";
    let unknown = raw(&sandbox, &format!("GET /v1/nothing HTTP/1.1\r\n{close}\r\n"));
    assert!(
        unknown.starts_with("HTTP/1.1 404") && unknown.contains("there is no GET /v1/nothing"),
        "{unknown}"
    );
    let method = raw(&sandbox, &format!("POST /v1/status HTTP/1.1\r\n{close}\r\n"));
    assert!(method.starts_with("HTTP/1.1 405") && method.contains("allow: GET"), "{method}");
    let body = raw(&sandbox, &format!("POST /v1/wait HTTP/1.1\r\n{close}Content-Length: 3\r\n\r\n{{x}}"));
    assert!(body.starts_with("HTTP/1.1 400") && body.contains("cannot be understood"), "{body}");
    let long = raw(
        &sandbox,
        &format!("POST /v1/wait HTTP/1.1\r\n{close}Content-Length: 999999\r\n\r\n{}", "x".repeat(999_999)),
    );
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    assert!(raw(&sandbox, "\0\0\0\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert_eq!(answer(&sandbox, &["status"]), first);
    drop(silent);
    down(&sandbox);
}

#[test]
fn hanging_supervisor_is_an_error() {
    let sandbox = world(&[WEB]);
    answer(&sandbox, &["up", "-d"]);
    let keeper = i32::try_from(record(&sandbox)["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(keeper), Signal::SIGTSTP).unwrap();
    let stopped = || {
        let entry = devrun::testing::os::proc::table()
            .into_iter()
            .find(|entry| entry.parent == keeper.cast_unsigned());
        entry.is_some_and(|entry| entry.state == 'T')
    };
    wait_for("the supervisor to stop", LIMIT, || if stopped() { Ok(()) } else { Err("not yet".into()) });
    let error = refusal(sandbox.devrun(&["status", "--json"]), "timed-out", 88);
    assert!(error["cause"].as_str().unwrap().contains("stopped"), "{error:#}");
    kill(Pid::from_raw(keeper), Signal::SIGCONT).unwrap();
    assert_eq!(answer(&sandbox, &["status"])["state"], "ready");
    down(&sandbox);
}

#[test]
fn record_without_a_socket_suggests_a_restart() {
    let sandbox = world(&[WEB]);
    answer(&sandbox, &["up", "-d"]);
    let file = sandbox.main().join(".git/devrun/run.json");
    let mut known = record(&sandbox);
    known.as_object_mut().unwrap().remove("socket");
    sandbox.write(&file, &known.to_string());
    let error = refusal(sandbox.devrun(&["status", "--json"]), "not-running", 88);
    assert_eq!(error["fix"], "devrun down && devrun up -d");
    down(&sandbox);
}

#[test]
fn every_documented_route_answers() {
    let sandbox = world(&[WEB]);
    answer(&sandbox, &["up", "-d"]);
    let answers_at_once = |route: &&Route| !matches!(route.handler, Handler::Events | Handler::Terminal);
    for route in ROUTES.iter().filter(answers_at_once) {
        let ask = match route.handler {
            Handler::Ask(_) => r#"{"timeout_ms":20000}"#,
            Handler::Bind(_) => r#"{"binding":null}"#,
            _ => "",
        };
        let head = format!("{} /v1{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", route.method, route.path);
        let said = raw(&sandbox, &format!("{head}Content-Length: {}\r\n\r\n{ask}", ask.len()));
        assert!(
            said.starts_with(&format!("HTTP/1.1 {}", route.success)),
            "{} {}: {said}",
            route.method,
            route.path
        );
        let body: Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(body.get("state").is_some() || body.get("openapi").is_some(), "{body:#}");
    }
    // The last route is `down`.
    wait_for(
        "the end",
        LIMIT,
        || if sandbox.processes().is_empty() { Ok(()) } else { Err("not yet".into()) },
    );
}

#[test]
fn attach_passes_input_and_output() {
    let sandbox = Sandbox::new();
    let config =
        "processes:\n  shell: { run: 'while read x; do echo got $x; done', tty: true }\n  plain: sleep 600\n";
    sandbox.repo_with(&[("devrun.yaml", config)]);
    answer(&sandbox, &["up", "-d"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut attached = sandbox.devrun(&["attach", "shell"]).with(|command| command.stdin(reader)).start();
    writer.write_all(b"one\n").unwrap();
    attached.expect_line("got one");
    // A new child has a new terminal; clients stay attached.
    answer(&sandbox, &["restart", "shell"]);
    writer.write_all(b"two\n").unwrap();
    attached.expect_line("got two");
    drop(writer);
    assert_eq!(attached.wait().code, Some(0));
    let error = refusal(sandbox.devrun(&["attach", "plain", "--json"]), "process-unknown", 2);
    assert!(error["fix"].as_str().unwrap().contains("tty: true"), "{error:#}");
    refusal(sandbox.devrun(&["attach", "gone", "--json"]), "process-unknown", 2);
    down(&sandbox);
}

#[test]
fn dead_server_under_a_reloader_is_not_ready() {
    let line = "child[ listen:PORT pidfile:server.pid sleep ] await-file:again listen:PORT sleep";
    let sandbox = world(&[("web", line, "port: web, ready: { http: / }")]);
    let first = answer(&sandbox, &["up", "-d"]);
    let port = u16::try_from(first["ports"]["web"].as_u64().unwrap()).unwrap();
    let text = wait_for("the server's pid", LIMIT, || {
        let text = std::fs::read_to_string(sandbox.main().join("server.pid")).unwrap_or_default();
        if text.is_empty() { Err(text) } else { Ok(text) }
    });
    kill(Pid::from_raw(text.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    wait_for("the port to be closed", LIMIT, || match std::net::TcpStream::connect(("127.0.0.1", port)) {
        Ok(_) => Err("it still answers".to_string()),
        Err(_) => Ok(()),
    });
    let broken = answer(&sandbox, &["status"]);
    assert_eq!((&broken["state"], &broken["processes"][0]["ready"]), (&json!("degraded"), &json!(false)));
    refusal(sandbox.devrun(&["wait", "--timeout", "1", "--json"]), "timed-out", 88);
    sandbox.write(&sandbox.main().join("again"), "");
    let ready = answer(&sandbox, &["wait"]);
    assert_eq!(ready["state"], "ready", "{ready:#}");
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    down(&sandbox);
}

#[test]
fn restart_during_the_start_answers_ready() {
    let sandbox = world(&[("web", "listen:PORT ready sleep", "port: web, ready: { http: / }")]);
    answer(&sandbox, &["up", "-d", "--no-wait"]);
    wait_for("the processes to be known", LIMIT, || {
        let status = answer(&sandbox, &["status"]);
        if status["processes"][0].is_object() { Ok(()) } else { Err(format!("{status:#}")) }
    });
    let restarted = answer(&sandbox, &["restart"]);
    assert_eq!(restarted["state"], "ready", "{restarted:#}");
    down(&sandbox);
}

#[test]
fn changed_inputs_are_named_and_restart_says_that_it_does_not_apply_them() {
    let sandbox = Sandbox::new();
    let config =
        |run: &str| format!("processes: {{ web: {{ run: [devrun-fixture, {run}, ready, sleep] }} }}\n");
    let main = sandbox.repo_with(&[("devrun.yaml", &config("env:A"))]);
    sandbox.write(&main.join(".env"), "A=1\n");
    let first = answer(&sandbox, &["up", "-d"]);
    assert_eq!(first["changed"], Value::Null, "{first:#}");
    sandbox.write(&main.join(".env"), "A=2\n");
    let fix = "devrun down && devrun up -d";
    for args in [&["restart", "web"][..], &["up", "-d"], &["status"], &["wait"], &["why"]] {
        let said = answer(&sandbox, args);
        assert_eq!(said["changed"], json!({ "files": [".env"], "fix": fix }), "{args:?}: {said:#}");
    }
    sandbox.write(&main.join("devrun.yaml"), &config("env:B"));
    for args in [&["restart"][..], &["up", "-d"], &["status"], &["why"]] {
        let said = sandbox.devrun(args).run();
        let wanted = "changed since the start of the stack, which keeps the old values: devrun.yaml, .env";
        // Standard error also reaches a script that discards the status.
        let words = if ["restart", "up"].contains(&args[0]) { &said.stderr } else { &said.stdout };
        assert!(words.contains(wanted) && words.contains(fix), "{args:?}: {said}");
    }
    let foreground = sandbox.devrun(&[]).run();
    assert!(foreground.stderr.contains("devrun.yaml, .env"), "{foreground}");
    sandbox.write(&main.join(".env"), "A=1\n");
    sandbox.write(&main.join("devrun.yaml"), &config("env:A"));
    assert_eq!(answer(&sandbox, &["status"])["changed"], Value::Null, "the same text again");
    down(&sandbox);
}
