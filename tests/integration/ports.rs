//! Ports as a user sees them: the formula, permanent leases, busy ports, many worktrees at once, a damaged table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::asking::{
    answer, base, devrun, fine, get, interrupt, json, listen, port, refusal, serve, server, skip, solo,
};
use crate::support::{LIMIT, Running, Sandbox, wait_for};

/// Computes the preferred slot as in a shell: the first four hex digits of the hash of `echo "$PWD"`, modulo 100.
fn preferred(path: &Path) -> u16 {
    let path = path.canonicalize().unwrap_or_else(|_| path.into());
    let digest = Sha256::new().chain_update(path.as_os_str().as_bytes()).chain_update("\n").finalize();
    u16::from_be_bytes([digest[0], digest[1]]) % 100
}

/// Makes two worktrees of the repository that prefer the same slot.
fn colliding(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let mut known: BTreeMap<u16, String> = BTreeMap::new();
    let root = sandbox.path().canonicalize().unwrap();
    for number in 0.. {
        let name = format!("feature-{number}");
        if let Some(other) = known.insert(preferred(&root.join(&name)), name.clone()) {
            return (sandbox.worktree(&other, &other), sandbox.worktree(&name, &name));
        }
    }
    unreachable!("a hundred and one folders share a hundred slots")
}

fn table(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".local/state/devrun-worktree/leases.json")
}

/// Returns the recorded leases.
fn leases(sandbox: &Sandbox) -> Vec<Value> {
    let table: Value = serde_json::from_slice(&std::fs::read(table(sandbox)).unwrap()).unwrap();
    table["leases"].as_array().unwrap().clone()
}

/// Starts a program outside devrun that listens on `port`.
fn stranger(sandbox: &Sandbox, port: u16) -> Running {
    let fixture = sandbox.fixture(&["listen:PORT", "say:there", "sleep"]).env("PORT", port.to_string());
    let mut running = fixture.directory(sandbox.path()).start();
    running.expect_line("^there$");
    running
}

#[test]
fn slot_matches_the_documented_shell_formula() {
    let sandbox = Sandbox::new();
    let (web, api) = (base(), base());
    let config = format!("ports: {{ web: {web}, api: {api} }}\nprocesses: {{ web: 'true' }}\n");
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    for folder in [main, sandbox.worktree("a", "a"), sandbox.worktree("My Apps", "b")] {
        let ports = answer(&sandbox, &folder, "ports");
        let slot = ports["slot"].as_u64().unwrap();
        let wanted = u64::from(preferred(&folder));
        // Two of the folders may prefer the same slot.
        let is_taken = leases(&sandbox).iter().any(|row| row["slot"] == wanted);
        assert!(slot == wanted || is_taken, "{folder:?}: {slot} instead of {wanted}");
        assert_eq!(u64::from(port(&ports, "web")), u64::from(web) + slot);
        assert_eq!(u64::from(port(&ports, "api")), u64::from(api) + slot);
    }
}

#[test]
fn ports_leases_a_slot_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let first = answer(&sandbox, &main, "ports");
    assert_eq!(leases(&sandbox).len(), 1);
    assert_eq!(leases(&sandbox)[0]["worktree"], main.canonicalize().unwrap().to_str().unwrap());
    for verb in ["ports", "plan"] {
        let again = answer(&sandbox, &main, verb);
        assert_eq!((&again["slot"], &again["ports"]), (&first["slot"], &first["ports"]));
    }
    let shown = fine(devrun(&sandbox, &main, &["ports"]));
    assert_eq!(shown.stdout, format!("web  {}\n", port(&first, "web")));
    assert!(TcpListener::bind(("127.0.0.1", port(&first, "web"))).is_ok());
    let running = serve(devrun(&sandbox, &main, &["up", "--strict-ports"]));
    assert_eq!(answer(&sandbox, &main, "ports"), first, "a running stack does not move its own ports");
    assert_eq!(get(port(&first, "web"), "/env/PORT"), port(&first, "web").to_string());
    interrupt(running);
    assert_eq!(answer(&sandbox, &main, "ports"), first);
}

#[test]
fn worktrees_that_collide_run_side_by_side_and_keep_their_ports() {
    for swapped in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
        let (a, b) = colliding(&sandbox);
        let (first, second) = if swapped { (b, a) } else { (a, b) };
        let one = serve(devrun(&sandbox, &first, &[]));
        let two = serve(devrun(&sandbox, &second, &[]));
        let ports = |folder: &Path| port(&answer(&sandbox, folder, "ports"), "web");
        let before = [ports(&first), ports(&second)];
        assert_eq!(answer(&sandbox, &first, "ports")["slot"], preferred(&first));
        let serves_itself = |folder: &Path| {
            let who = get(ports(folder), "/env/DEVRUN_WORKTREE");
            assert_eq!(Path::new(&who), folder.canonicalize().unwrap());
        };
        serves_itself(&first);
        serves_itself(&second);
        let (one, two) = (interrupt(one).stderr, interrupt(two).stderr);
        let leased = format!("is leased by worktree {}", first.canonicalize().unwrap().display());
        assert!(two.contains(&leased) && two.contains("and keeps it"), "{two}");
        assert!(!one.contains("and keeps it"), "{one}");
        // Now they start in the other order, one with `--strict-ports`.
        let two = serve(devrun(&sandbox, &second, &[]));
        let one = serve(devrun(&sandbox, &first, &["up", "--strict-ports"]));
        assert_eq!([ports(&first), ports(&second)], before);
        serves_itself(&first);
        serves_itself(&second);
        for running in [one, two] {
            let ended = interrupt(running);
            assert!(!ended.stderr.contains("and keeps it"), "{ended}");
        }
        interrupt(serve(devrun(&sandbox, &second, &["up", "--strict-ports"])));
        assert_eq!([ports(&first), ports(&second)], before);
    }
}

#[test]
fn lease_of_a_removed_worktree_is_freed() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let (gone, heir) = colliding(&sandbox);
    let before = answer(&sandbox, &gone, "ports");
    let error = refusal(devrun(&sandbox, &heir, &["up", "--strict-ports", "--json"]), "port-busy", 82);
    let holder = error["holder"]["worktree"].as_str().unwrap();
    assert_eq!(Path::new(holder), gone.canonicalize().unwrap());
    std::fs::remove_dir_all(&gone).unwrap();
    assert_eq!(answer(&sandbox, &heir, "ports"), before);
    assert_eq!(leases(&sandbox).len(), 1);
}

#[test]
fn one_busy_port_moves_all_ports() {
    let sandbox = Sandbox::new();
    let (web, api) = (base(), base());
    let config = format!(
        "ports: {{ api: {api}, web: {web} }}\nprocesses:\n  web:\n    run: exec devrun-fixture env:API_PORT env:WEB_PORT\n"
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    let wanted = api + preferred(&main);
    let stranger = stranger(&sandbox, wanted);
    let error = refusal(devrun(&sandbox, &main, &["up", "--strict-ports", "--json"]), "port-busy", 82);
    assert_eq!(error["holder"]["pid"], stranger.pid());
    let command = error["holder"]["command"].as_str().unwrap();
    assert!(command.contains("devrun-fixture listen:PORT"), "{command}");
    assert!(error["message"].as_str().unwrap().contains(&wanted.to_string()), "{error:#}");
    assert_eq!(error["fault"], "environment", "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains(&format!("pid {}", stranger.pid())), "{error:#}");
    let told = devrun(&sandbox, &main, &["up", "--strict-ports"]).run();
    assert!(told.stderr.contains(&format!("(pid {})", stranger.pid())), "{told}");

    let ended = fine(devrun(&sandbox, &main, &[]));
    let note = ended.stderr.lines().find(|line| line.starts_with("note: ")).unwrap();
    for part in [format!("port {wanted} is held by "), "devrun-fixture listen:PORT".into()] {
        assert!(note.contains(&part), "{note}");
    }
    assert!(note.contains(&format!("(pid {})", stranger.pid())), "{note}");
    let ports = answer(&sandbox, &main, "ports");
    let home = preferred(&main);
    let until =
        format!("now has slot {}, and the next start tries its home slot {home} again", ports["slot"]);
    assert!(note.ends_with(&until), "{note}");
    let away = &ports["away"];
    assert_eq!(
        (&away["home"], &away["port"], &away["returns"]),
        (&json!(home), &json!(wanted), &json!(true))
    );
    assert_eq!(away["obstacle"]["kind"], "busy");
    assert_eq!(away["obstacle"]["pid"], stranger.pid());
    let shown = fine(devrun(&sandbox, &main, &["ports"])).stdout;
    assert!(shown.contains(&format!("not the home slot {home}: port {wanted} was held by ")), "{shown}");
    assert_ne!(ports["slot"], preferred(&main));
    assert_eq!(port(&ports, "api") - api, port(&ports, "web") - web);
    for name in ["api", "web"] {
        let line = format!("env {}_PORT={}", name.to_uppercase(), port(&ports, name));
        assert!(ended.stdout.contains(&line), "{ended}");
    }

    drop(stranger);
    drop(listen("127.0.0.1", wanted));
    assert_eq!(answer(&sandbox, &main, "ports"), ports, "looking moves nothing");
    let later = fine(devrun(&sandbox, &main, &["up", "--strict-ports"]));
    assert!(
        later.stderr.contains(&format!("note: this worktree is back in its home slot {home}")),
        "{later}"
    );
    let ports = answer(&sandbox, &main, "ports");
    assert_eq!((ports["slot"].as_u64(), &ports["away"]), (Some(home.into()), &Value::Null));
}

#[test]
fn ports_move_home_at_once_when_nothing_runs() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base))]);
    let home = preferred(&main);
    let held = listen("127.0.0.1", base + home);
    let running = serve(devrun(&sandbox, &main, &[]));
    let status = fine(devrun(&sandbox, &main, &["status"])).stdout;
    assert!(
        status.contains(&format!("not the home slot {home}: port {} was held by ", base + home)),
        "{status}"
    );
    assert_eq!(answer(&sandbox, &main, "status")["away"]["home"], home);
    let error = refusal(devrun(&sandbox, &main, &["ports", "--move-home", "--json"]), "already-running", 88);
    assert_eq!(error["fix"], "devrun down && devrun ports --move-home && devrun up -d");
    interrupt(running);
    refusal(devrun(&sandbox, &main, &["ports", "--move-home", "--json"]), "port-busy", 82);
    drop(held);
    let moved = json(&fine(devrun(&sandbox, &main, &["ports", "--move-home", "--json"])));
    assert_eq!((moved["slot"].as_u64(), &moved["away"]), (Some(home.into()), &Value::Null));
}

#[test]
fn replace_stops_a_manual_server() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base))]);
    let wanted = base + preferred(&main);
    let by_hand = sandbox.fixture(&["listen:PORT", "say:there", "sleep"]).env("PORT", wanted.to_string());
    let mut by_hand = by_hand.directory(&main).start();
    by_hand.expect_line("^there$");
    let error = refusal(devrun(&sandbox, &main, &["up", "--strict-ports", "--json"]), "port-busy", 82);
    let message = error["message"].as_str().unwrap();
    let said = format!("this worktree's own server already runs here (pid {}", by_hand.pid());
    assert!(message.contains(&said), "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("devrun up -d --replace"), "{error:#}");
    let error = refusal(devrun(&sandbox, &main, &["up", "--replace", "--json"]), "not-confirmed", 2);
    assert!(error["fix"].as_str().unwrap().contains("--yes"), "{error:#}");
    assert!(TcpListener::bind(("127.0.0.1", wanted)).is_err(), "it was not ended without a yes");
    let running = serve(devrun(&sandbox, &main, &["up", "--replace", "--yes"]));
    assert_eq!(port(&answer(&sandbox, &main, "ports"), "web"), wanted);
    by_hand.wait();
    interrupt(running);
}

#[test]
fn replace_does_not_end_the_program_that_runs_devrun() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base))]);
    let wanted = base + preferred(&main);
    let agent = "import socket, subprocess, sys\n\
                 server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
                 done = subprocess.run([sys.argv[2], 'up', '-d', '--replace', '--yes'], capture_output=True, text=True)\n\
                 print('alive', done.returncode, done.stderr)\n";
    let arguments = ["-c", agent, &wanted.to_string(), env!("CARGO_BIN_EXE_devrun")];
    let ended = fine(sandbox.program("python3", &arguments).directory(&main));
    assert!(ended.stdout.starts_with("alive 0"), "{ended}");
    assert!(ended.stdout.contains("is not ended: it started this devrun"), "{ended}");
    assert_ne!(port(&answer(&sandbox, &main, "ports"), "web"), wanted);
    fine(devrun(&sandbox, &main, &["down"]));
}

#[test]
fn port_busy_on_any_address_is_busy() {
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
        let sandbox = Sandbox::new();
        let base = base();
        let main = sandbox.repo_with(&[("devrun.yaml", &solo(base, "true"))]);
        let wanted = base + preferred(&main);
        if address.contains(':') && TcpListener::bind((address, 0)).is_err() {
            skip("there is no IPv6 here");
            continue;
        }
        let held = listen(address, wanted);
        let asked = fine(devrun(&sandbox, &main, &["ports", "--json"]));
        let moved = port(&json(&asked), "web");
        assert_ne!(moved, wanted, "{address}");
        // `ports` moves the worktree, so `ports` also prints the note.
        assert!(asked.stderr.contains(&format!("note: port {wanted} is held by ")), "{asked}");
        let again = fine(devrun(&sandbox, &main, &["ports", "--json"]));
        assert_eq!((port(&json(&again), "web"), again.stderr.as_str()), (moved, ""));
        drop(held);
    }
}

#[test]
fn exhausted_slots_name_their_holders() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base, "true"))]);
    let rows = (0..100).map(|slot| {
        let folder = sandbox.path().join(format!("held/{slot}"));
        std::fs::create_dir_all(&folder).unwrap();
        json!({ "worktree": folder, "slot": slot, "ports": { "web": base + slot } })
    });
    let text = json!({ "version": 1, "leases": rows.collect::<Vec<_>>() }).to_string();
    sandbox.write(&table(&sandbox), &text);
    for verb in ["up", "ports", "plan"] {
        let error = refusal(devrun(&sandbox, &main, &[verb, "--json"]), "ports-exhausted", 82);
        assert_eq!(error["message"], "none of the 100 slots is free");
        let cause = error["cause"].as_str().unwrap();
        assert_eq!(cause.matches("is leased by worktree").count(), 12, "{cause}");
        assert!(cause.ends_with("… and 88 more"), "{cause}");
        let fix = error["fix"].as_str().unwrap();
        assert!(fix.contains("`ports:`") && !fix.contains("devrun "), "{fix}");
    }
    // A removed worktree frees its slot.
    std::fs::remove_dir(sandbox.path().join("held/42")).unwrap();
    assert_eq!(answer(&sandbox, &main, "ports")["slot"], 42);
}

#[test]
fn concurrent_worktrees_get_distinct_slots() {
    let sandbox = Sandbox::new();
    let base = base();
    sandbox.repo_with(&[("devrun.yaml", &solo(base, "true"))]);
    let folders: Vec<PathBuf> =
        (0..20).map(|n| sandbox.worktree(&format!("w{n}"), &format!("b{n}"))).collect();
    let asked: Vec<Running> =
        folders.iter().map(|folder| devrun(&sandbox, folder, &["ports", "--json"]).start()).collect();
    let answers: Vec<Value> = asked.into_iter().map(|running| json(&running.wait())).collect();
    let slots: BTreeSet<u64> = answers.iter().map(|answer| answer["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots.len(), 20);
    assert_eq!(leases(&sandbox).len(), 20);
    for (folder, before) in folders.iter().zip(&answers) {
        assert_eq!(answer(&sandbox, folder, "ports"), *before);
    }
}

#[test]
fn damaged_lease_table_is_set_aside() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "exec devrun-fixture env:PORT"))]);
    let before = answer(&sandbox, &main, "ports");
    for (number, damage) in ["", "{ \"leases\": [", "[]", "{\"leases\": 7}", "\u{0}\u{1}"].iter().enumerate()
    {
        sandbox.write(&table(&sandbox), damage);
        let ended = fine(devrun(&sandbox, &main, &[]));
        let kept = table(&sandbox).with_file_name(format!("leases.json.broken-{}", number + 1));
        assert!(ended.stderr.contains("warning: the table of port leases was damaged"), "{ended}");
        assert!(ended.stderr.contains(&kept.display().to_string()), "{ended}");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), *damage);
        assert_eq!(answer(&sandbox, &main, "ports"), before, "the preferred slot is free as it was");
        let again = fine(devrun(&sandbox, &main, &[]));
        assert!(!again.stderr.contains("warning"), "{again}");
    }
}

#[test]
fn readable_leases_of_a_damaged_table_count() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    let (other, main) = colliding(&sandbox);
    let taken = answer(&sandbox, &other, "ports");
    let mut rows = leases(&sandbox);
    rows[0]["from_the_future"] = json!({ "kept": true });
    rows.push(json!({ "worktree": 7 }));
    let text = json!({ "version": 9, "also": "kept", "leases": rows }).to_string();
    sandbox.write(&table(&sandbox), &text);
    let asked = fine(devrun(&sandbox, &main, &["ports", "--json"]));
    assert!(asked.stderr.contains("1 of its leases are recovered"), "{asked}");
    assert_ne!(json(&asked)["slot"], taken["slot"]);
    let written = std::fs::read_to_string(table(&sandbox)).unwrap();
    assert!(written.contains("from_the_future") && written.contains("also"), "{written}");
    assert_eq!(leases(&sandbox).len(), 2);
}

#[test]
fn leases_hold_after_a_configuration_change() {
    let sandbox = Sandbox::new();
    let (before, after) = (base(), base());
    sandbox.repo_with(&[("devrun.yaml", &solo(before, "true"))]);
    let (one, two) = colliding(&sandbox);
    let slot = answer(&sandbox, &one, "ports")["slot"].clone();
    for folder in [&one, &two] {
        sandbox.write(&folder.join("devrun.yaml"), &solo(after, "true"));
    }
    let told = answer(&sandbox, &one, "ports");
    assert_eq!(told["slot"], slot);
    assert_ne!(answer(&sandbox, &two, "ports")["ports"], told["ports"]);
    fine(devrun(&sandbox, &one, &["up", "--strict-ports"]));
    assert_eq!(answer(&sandbox, &one, "ports"), told);
}

#[test]
fn unusable_state_folder_is_named() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    sandbox.write(table(&sandbox).parent().unwrap(), "a file");
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "state-unusable", 74);
    assert!(error["message"].as_str().unwrap().contains("devrun-worktree"), "{error:#}");
}

/// Waits until no other process can listen on `address`.
fn becomes_reserved(address: (&str, u16)) {
    wait_for(&format!("devrun to reserve {address:?}"), LIMIT, || match TcpListener::bind(address) {
        Ok(_) => Err("another process can listen there".into()),
        Err(_) => Ok(()),
    });
}

#[test]
fn both_loopback_addresses_of_a_port_belong_to_the_running_stack() {
    if TcpListener::bind(("::1", 0)).is_err() {
        return skip("there is no IPv6 here");
    }
    let sandbox = Sandbox::new();
    let base = base();
    let run = "exec python3 -m http.server $PORT --bind $(cat address)";
    let config = format!(
        "ports: {{ web: {base} }}\nprocesses:\n  web: {{ run: {}, port: web, ready: {{ tcp: true }} }}\n",
        json!(run)
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config), ("address", "127.0.0.1")]);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let port = port(&answer(&sandbox, &main, "ports"), "web");
    // The reservation does not block a server that binds other addresses than before.
    for address in ["127.0.0.1", "0.0.0.0", "::", "localhost", "::1", "127.0.0.1"] {
        sandbox.write(&main.join("address"), address);
        fine(devrun(&sandbox, &main, &["restart", "web"]));
        becomes_reserved(("::1", port));
        becomes_reserved(("127.0.0.1", port));
        let outside = ["0.0.0.0", "::"].contains(&address);
        let status = answer(&sandbox, &main, "status");
        let found = status["processes"][0].get("exposed").cloned();
        assert_eq!(found, outside.then(|| json!([port])), "{address}");
        let shown = fine(devrun(&sandbox, &main, &["status"])).stdout;
        assert_eq!(shown.contains(&format!("reachable from outside on {port}")), outside, "{shown}");
    }
    fine(devrun(&sandbox, &main, &["down"]));
    assert!(TcpListener::bind(("::1", port)).is_ok());
}

#[test]
fn unprobed_and_inherited_ports_are_reserved() {
    if TcpListener::bind(("::1", 0)).is_err() {
        return skip("there is no IPv6 here");
    }
    let sandbox = Sandbox::new();
    let (web, api) = (base(), base());
    let bound = "exec python3 -m http.server $PORT --bind 127.0.0.1";
    let config = format!(
        "ports: {{ web: {web}, api: {api} }}\nprocesses:\n  web: {{ run: {bound}, port: web }}\n  \
         api: {{ run: exec sleep 600, listen: api }}\n"
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let ports = answer(&sandbox, &main, "ports");
    let other = ("::1", port(&ports, "api"));
    assert!(TcpListener::bind(other).is_err(), "the other loopback address of an inherited port is free");
    becomes_reserved(("127.0.0.1", port(&ports, "web")));
    becomes_reserved(("::1", port(&ports, "web")));
    fine(devrun(&sandbox, &main, &["down"]));
    assert!(TcpListener::bind(other).is_ok());
}

#[test]
fn manual_server_of_another_worktree_suggests_kill() {
    let sandbox = Sandbox::new();
    let base = base();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base))]);
    let other = sandbox.worktree("other", "other");
    let wanted = base + preferred(&main);
    let by_hand = sandbox.fixture(&["listen:PORT", "say:there", "sleep"]).env("PORT", wanted.to_string());
    let mut by_hand = by_hand.directory(&other).start();
    by_hand.expect_line("^there$");
    let error = refusal(devrun(&sandbox, &main, &["up", "--strict-ports", "--json"]), "port-busy", 82);
    assert!(error["message"].as_str().unwrap().contains("started by hand"), "{error:#}");
    assert_eq!(error["holder"]["by_hand"], true);
    // `--replace` does not stop a server of another worktree.
    let arguments = ["up", "--strict-ports", "--replace", "--yes", "--json"];
    refusal(devrun(&sandbox, &main, &arguments), "port-busy", 82);
    let fix = error["fix"].as_str().unwrap();
    let command = fix.split('`').nth(1).unwrap();
    assert_eq!(command, format!("kill {}", by_hand.pid()));
    // Does what the suggested command does.
    by_hand.signal(Signal::SIGTERM);
    by_hand.wait();
    let running = serve(devrun(&sandbox, &main, &["up", "--strict-ports"]));
    interrupt(running);
}

#[test]
fn other_programs_cannot_take_the_ports_while_a_run_prepares() {
    // A server that never answers: the preparation waits for it.
    let database = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = database.local_addr().unwrap();
    let sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ web: {}, api: {} }}\ndatabase: {{ provider: url, url: {{ admin_env: ADMIN_URL }} }}\n\
         processes:\n  web: {{ run: 'true', port: web }}\n  api: {{ run: 'true', listen: api }}\n",
        base(),
        base(),
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    let up = devrun(&sandbox, &main, &[]).env("ADMIN_URL", format!("postgres://admin:secret@{address}/shop"));
    let running = up.start();
    database.set_nonblocking(true).unwrap();
    let client =
        wait_for("a connection to the database", LIMIT, || database.accept().map_err(|_| running.stderr()));
    for name in ["web", "api"] {
        let port = port(&answer(&sandbox, &main, "ports"), name);
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err(), "{name}");
    }
    interrupt(running);
    drop(client);
    for name in ["web", "api"] {
        listen("127.0.0.1", port(&answer(&sandbox, &main, "ports"), name));
    }
}
