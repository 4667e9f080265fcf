//! Ports, from outside: the formula, leases that stay, strangers in the way, many at once, a damaged table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::asking::{
    answer, base, devrun, fine, get, interrupt, json, listen, port, refusal, serve, server, skip, solo,
};
use crate::support::{Running, Sandbox};

/// What people's shells compute: the first four hex digits of the hash of `echo "$PWD"`, modulo 100.
fn preferred(path: &Path) -> u16 {
    let path = path.canonicalize().unwrap_or_else(|_| path.into());
    let digest = Sha256::new().chain_update(path.as_os_str().as_bytes()).chain_update("\n").finalize();
    u16::from_be_bytes([digest[0], digest[1]]) % 100
}

/// Two worktrees of the repository that would like the same slot.
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

/// The leases as recorded.
fn leases(sandbox: &Sandbox) -> Vec<Value> {
    let table: Value = serde_json::from_slice(&std::fs::read(table(sandbox)).unwrap()).unwrap();
    table["leases"].as_array().unwrap().clone()
}

/// A program that has nothing to do with devrun and listens on `port`.
fn stranger(sandbox: &Sandbox, port: u16) -> Running {
    let fixture = sandbox.fixture(&["listen:PORT", "say:there", "sleep"]).env("PORT", port.to_string());
    let mut running = fixture.start();
    running.expect_line("^there$");
    running
}

#[test]
fn without_a_lease_the_slot_is_what_the_shell_computes() {
    let sandbox = Sandbox::new();
    let (web, api) = (base(), base());
    let config = format!("ports: {{ web: {web}, api: {api} }}\nprocesses: {{ web: 'true' }}\n");
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    for folder in [main, sandbox.worktree("a", "a"), sandbox.worktree("My Apps", "b")] {
        let ports = answer(&sandbox, &folder, "ports");
        let slot = ports["slot"].as_u64().unwrap();
        if leases(&sandbox).iter().filter(|row| row["slot"] == slot).count() == 1 {
            assert_eq!(slot, u64::from(preferred(&folder)), "{folder:?}");
        }
        assert_eq!(u64::from(port(&ports, "web")), u64::from(web) + slot);
        assert_eq!(u64::from(port(&ports, "api")), u64::from(api) + slot);
    }
}

#[test]
fn asking_for_ports_leases_them_and_starts_nothing() {
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
        // The other way round, and alone.
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
fn the_lease_of_a_worktree_that_was_removed_is_free_again() {
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
fn a_stranger_on_one_port_moves_all_of_them_once() {
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
    assert!(note.ends_with(&format!("now has slot {} and keeps it", ports["slot"])), "{note}");
    assert_ne!(ports["slot"], preferred(&main));
    assert_eq!(port(&ports, "api") - api, port(&ports, "web") - web);
    for name in ["api", "web"] {
        let line = format!("env {}_PORT={}", name.to_uppercase(), port(&ports, name));
        assert!(ended.stdout.contains(&line), "{ended}");
    }

    // Bookmarks and notes hold the new address by now: it stays when the old one would be free again.
    drop(stranger);
    drop(listen("127.0.0.1", wanted));
    let later = fine(devrun(&sandbox, &main, &["up", "--strict-ports"]));
    assert!(!later.stderr.contains("note:"), "{later}");
    assert_eq!(answer(&sandbox, &main, "ports"), ports);
}

#[test]
fn a_port_that_is_held_on_any_address_is_held() {
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
        // Asking is when it moves, so asking is when that is told.
        assert!(asked.stderr.contains(&format!("note: port {wanted} is held by ")), "{asked}");
        let again = fine(devrun(&sandbox, &main, &["ports", "--json"]));
        assert_eq!((port(&json(&again), "web"), again.stderr.as_str()), (moved, ""));
        drop(held);
    }
}

#[test]
fn when_every_slot_is_taken_the_holders_are_named() {
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
    // One that goes makes room.
    std::fs::remove_dir(sandbox.path().join("held/42")).unwrap();
    assert_eq!(answer(&sandbox, &main, "ports")["slot"], 42);
}

#[test]
fn many_at_once_each_get_their_own() {
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
fn a_damaged_table_is_set_aside_and_the_run_goes_on() {
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
fn what_can_be_read_of_a_damaged_table_still_counts() {
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
    assert!(asked.stderr.contains("1 of its leases could be read"), "{asked}");
    assert_ne!(json(&asked)["slot"], taken["slot"]);
    let written = std::fs::read_to_string(table(&sandbox)).unwrap();
    assert!(written.contains("from_the_future") && written.contains("also"), "{written}");
    assert_eq!(leases(&sandbox).len(), 2);
}

#[test]
fn ports_that_are_told_are_leased_whatever_the_configuration_said_before() {
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
fn a_state_folder_that_cannot_be_had_is_named() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    sandbox.write(table(&sandbox).parent().unwrap(), "a file");
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "state-unusable", 74);
    assert!(error["message"].as_str().unwrap().contains("devrun-worktree"), "{error:#}");
}
