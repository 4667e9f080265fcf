//! Tests of leases: decisions on invented tables, and real tables, sockets and processes.

mod home;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use proptest::prelude::*;

use super::decide::{PortState, decide, recall};
use super::lease::list;
use super::port_holder::{Ownership, listener_is_ours};
use super::table::LeaseRow;
use super::table::{self, LeaseTable};
use super::*;
use crate::context::{Context, Dirs, variables};
use crate::event::{Event, Events};
use crate::os::spawn::{self, Isolation};

/// Two paths with the same hash. Two worktrees of one real repository had this conflict.
const TWINS: [&str; 2] = ["/w/feature-26", "/w/feature-43"];

fn request(path: impl AsRef<Path>) -> Request {
    Request {
        worktree: path.as_ref().into(),
        repository: None,
        bases: BTreeMap::from([("backend".into(), 8100), ("frontend".into(), 3100)]),
        span: DEFAULT_SPAN,
        strict: false,
        homing: Homing::Stay,
    }
}

fn row(request: &Request, lease: &Lease) -> LeaseRow {
    LeaseRow {
        worktree: request.worktree.clone(),
        slot: lease.slot,
        ports: lease.ports.clone(),
        repository: request.repository.clone(),
        created: 1,
        away: lease.away.clone(),
        other: serde_json::Map::new(),
    }
}

/// The number of slots that the tests use.
const DEFAULT_SPAN: u16 = 100;

fn other_process() -> Holder {
    Holder { pid: Some(7), command: Some("node server.js".into()), ..Holder::default() }
}

fn free(_: u16) -> PortState {
    PortState::Free
}

/// Returns a function that reports exactly `ports` as busy.
fn busy(ports: &[u16]) -> impl FnMut(u16) -> PortState {
    |port| if ports.contains(&port) { PortState::Busy(other_process()) } else { PortState::Free }
}

#[test]
fn the_first_lease_is_the_preferred_slot() {
    let lease = decide(&[], &request(TWINS[0]), &mut free).unwrap();
    assert_eq!((lease.slot, lease.ports["frontend"], lease.ports["backend"]), (47, 3147, 8147));
    assert_eq!((lease.moved, lease.ours), (None, vec![]));
}

#[test]
fn twins_run_side_by_side_in_either_order_and_keep_their_ports() {
    for [first, second] in [TWINS, [TWINS[1], TWINS[0]]] {
        let (first, second) = (request(first), request(second));
        let one = decide(&[], &first, &mut free).unwrap();
        let table = vec![row(&first, &one)];
        let two = decide(&table, &second, &mut free).unwrap();
        assert_eq!((one.slot, two.slot), (47, 48));
        let moved = two.moved.clone().unwrap();
        assert_eq!((moved.wanted, moved.port), (47, 8147));
        assert_eq!(moved.obstacle, Obstacle::leased(&first.worktree));
        let table = vec![row(&first, &one), row(&second, &two)];
        for (request, lease) in [(&second, &two), (&first, &one), (&second, &two)] {
            let again = decide(&table, request, &mut free).unwrap();
            assert_eq!((again.slot, again.moved), (lease.slot, None));
        }
        let alone = decide(&table[1..], &second, &mut free).unwrap();
        assert_eq!(alone.slot, 48, "the slot stays if the other worktree is removed");
    }
}

#[test]
fn one_busy_port_moves_all_of_them() {
    for port in [3147, 8147] {
        let lease = decide(&[], &request(TWINS[0]), &mut busy(&[port])).unwrap();
        assert_eq!((lease.ports["frontend"], lease.ports["backend"]), (3148, 8148));
        let moved = lease.moved.unwrap();
        assert_eq!((moved.wanted, moved.port), (47, port.into()));
        assert_eq!(moved.to_string(), format!("port {port} is held by node server.js (pid 7)"));
    }
}

#[test]
fn a_leased_slot_that_became_busy_is_left_for_the_next() {
    let request = request(TWINS[0]);
    let lease = decide(&[], &request, &mut busy(&[3147])).unwrap();
    let table = [row(&request, &lease)];
    let again = decide(&table, &request, &mut busy(&[3148])).unwrap();
    assert_eq!((again.slot, again.moved.unwrap().wanted), (49, 48));
}

#[test]
fn slots_wrap_around_at_the_end() {
    let request = Request { span: 48, ..request(TWINS[0]) };
    assert_eq!(hash::preferred_slot(&request.worktree, 48), 0x7113 % 48);
    let wanted = 0x7113 % 48;
    let all_above: Vec<u16> = (wanted..48).map(|slot| 3100 + slot).collect();
    assert_eq!(decide(&[], &request, &mut busy(&all_above)).unwrap().slot, 0);
}

#[test]
fn equal_slots_with_different_bases_do_not_conflict_but_equal_ports_do() {
    let own = request(TWINS[0]);
    let other = Request { bases: BTreeMap::from([("web".into(), 5000)]), ..request(TWINS[1]) };
    let one = decide(&[], &own, &mut free).unwrap();
    let two = decide(&[row(&own, &one)], &other, &mut free).unwrap();
    assert_eq!((one.slot, two.slot), (47, 47), "other bases, no conflict");
    let shifted = Request {
        bases: BTreeMap::from([("web".into(), 3100 + 47 - 21)]),
        ..request("/home/u/apps/platform/.claude/worktrees/feature-a")
    };
    let three = decide(&[row(&own, &one)], &shifted, &mut free).unwrap();
    assert_eq!((three.slot, three.moved.unwrap().port), (22, 3147), "another slot, the same port");
}

#[test]
fn strict_ports_keep_the_slot_or_fail() {
    let strict = Request { strict: true, ..request(TWINS[0]) };
    assert_eq!(decide(&[], &strict, &mut free).unwrap().slot, 47);
    let error = decide(&[], &strict, &mut busy(&[8147])).unwrap_err();
    assert_eq!((error.code(), error.holder()), (Code::PortBusy, Some(other_process())));
    assert_eq!(error.to_string(), "port 8147 is held by node server.js (pid 7)");
    assert_eq!(error.fix().unwrap(), "stop pid 7 (`kill 7`), or run without strict ports");
    let other = request(TWINS[1]);
    let lease = decide(&[], &other, &mut free).unwrap();
    let error = decide(&[row(&other, &lease)], &strict, &mut free).unwrap_err();
    assert_eq!(error.holder().unwrap().worktree.as_deref(), Some(TWINS[1]));
}

#[test]
fn exhaustion_lists_the_holders() {
    let request = Request { span: 3, ..request(TWINS[0]) };
    let error = decide(&[], &request, &mut |_| PortState::Busy(other_process())).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::PortsExhausted, "none of the 3 slots is free")
    );
    assert_eq!(error.why().unwrap().lines().count(), 3);
    assert!(error.why().unwrap().contains("port 8100 is held by node server.js (pid 7)"));
    let wide = Request { span: 100, ..request };
    let error = decide(&[], &wide, &mut |_| PortState::Busy(other_process())).unwrap_err();
    assert!(error.why().unwrap().ends_with("… and 88 more"));
}

#[test]
fn our_own_listener_keeps_the_slot() {
    let request = request(TWINS[0]);
    let mut ours = |port| if port == 8147 { PortState::Ours(other_process()) } else { PortState::Free };
    let lease = decide(&[], &request, &mut ours).unwrap();
    assert_eq!((lease.slot, lease.moved), (47, None));
    assert_eq!(lease.ours, [(8147, other_process())]);
}

#[test]
fn a_slot_is_leased_even_without_ports() {
    let bare = |path| Request { bases: BTreeMap::new(), ..request(path) };
    let (one, two) = (bare(TWINS[0]), bare(TWINS[1]));
    let lease = decide(&[], &one, &mut free).unwrap();
    assert_eq!((lease.slot, lease.ports.len()), (47, 0));
    assert_eq!(decide(&[row(&one, &lease)], &two, &mut free).unwrap().slot, 47);
}

#[test]
fn other_bases_keep_the_slot_if_possible() {
    let before = request(TWINS[0]);
    let held = decide(&[], &before, &mut busy(&[3147])).unwrap();
    let after = Request {
        bases: BTreeMap::from([("frontend".into(), 4100), ("worker".into(), 9100)]),
        ..before.clone()
    };
    let table = [row(&before, &held)];
    let lease = decide(&table, &after, &mut free).unwrap();
    assert_eq!(lease.slot, 48);
    assert_eq!(lease.ports, BTreeMap::from([("frontend".into(), 4148), ("worker".into(), 9148)]));
    assert_eq!(recall(&table, &after), Some(lease));
    let narrow = Request { span: 20, ..before };
    assert_eq!(decide(&table, &narrow, &mut free).unwrap().slot, 0x7113 % 20, "the slot is beyond the span");
}

#[test]
fn unusable_ports_are_skipped() {
    let high = Request { bases: BTreeMap::from([("web".into(), 65500)]), ..request(TWINS[0]) };
    let lease = decide(&[], &high, &mut free).unwrap();
    assert_eq!(
        (lease.slot, lease.moved.unwrap().to_string().as_str()),
        (0, "port 65547 does not exist (the highest is 65535)")
    );
    let blocked = Request { bases: BTreeMap::from([("web".into(), 6666 - 47)]), ..request(TWINS[0]) };
    let lease = decide(&[], &blocked, &mut free).unwrap();
    assert_eq!((lease.slot, lease.moved.unwrap().obstacle), (51, Obstacle::Blocked));
}

#[test]
fn recall_inspects_no_port_but_checks_other_leases() {
    let (one, two) = (request(TWINS[0]), request(TWINS[1]));
    let lease = decide(&[], &one, &mut free).unwrap();
    assert_eq!(recall(&[], &one), None);
    assert_eq!(recall(&[row(&one, &lease)], &one).unwrap().ports, lease.ports);
    assert_eq!(recall(&[row(&one, &lease), row(&two, &lease)], &one), None, "another worktree has it too");
}

proptest! {
    /// Checks, for any order of leases and releases and any busy ports, that no port is leased twice and no worktree
    /// moves without a reason.
    #[test]
    fn leases_never_overlap(
        calls in prop::collection::vec((0_u8..12, prop::collection::vec(0_u16..10, 0..4), any::<bool>()), 1..60),
    ) {
        let mut table: Vec<LeaseRow> = Vec::new();
        for (who, busy_slots, leaves) in calls {
            let request = Request { span: 10, ..request(format!("/w/tree-{who}")) };
            if leaves {
                table.retain(|row| row.worktree != request.worktree);
                continue;
            }
            let ports: Vec<u16> = busy_slots.iter().map(|slot| 3100 + slot).collect();
            let held = table.iter().find(|row| row.worktree == request.worktree).cloned();
            let Ok(lease) = decide(&table, &request, &mut busy(&ports)) else { continue };
            prop_assert!(!ports.contains(&lease.ports["frontend"]));
            if let Some(held) = held.filter(|held| !ports.contains(&held.ports["frontend"])) {
                prop_assert_eq!(held.slot, lease.slot);
                prop_assert!(lease.moved.is_none());
            }
            table.retain(|row| row.worktree != request.worktree);
            table.push(row(&request, &lease));
            let mut taken: Vec<u16> = table.iter().flat_map(|row| row.ports.values().copied()).collect();
            let all = taken.len();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), all);
        }
    }

    #[test]
    fn paths_survive_the_file_byte_for_byte(path in prop::collection::vec(1_u8..=255, 1..60), slot: u16) {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        let lease = Lease { slot, ports: BTreeMap::new(), moved: None, away: None, left: None, ours: vec![] };
        let request = Request { repository: Some(path.clone()), ..request(&path) };
        let mut table = LeaseTable::default();
        table.rows.push(row(&request, &lease));
        let reading = LeaseTable::parse(&table.to_bytes());
        prop_assert!(!reading.damaged);
        prop_assert_eq!(reading.table.rows, table.rows);
    }

    #[test]
    fn any_bytes_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        LeaseTable::parse(&bytes);
    }
}

#[test]
fn fields_of_another_version_are_kept() {
    let text =
        br#"{"version": 2, "note": "x", "leases": [{"worktree": "/w/a", "slot": 3, "colour": "red"}]}"#;
    let reading = LeaseTable::parse(text);
    assert!(!reading.damaged);
    assert_eq!((reading.table.rows[0].slot, reading.table.rows[0].ports.len()), (3, 0));
    let again = String::from_utf8(reading.table.to_bytes()).unwrap();
    for kept in [r#""version": 2"#, r#""note": "x""#, r#""colour": "red""#] {
        assert!(again.contains(kept), "{again}");
    }
}

#[test]
fn an_unreadable_row_does_not_affect_the_others() {
    let text = br#"{"leases": [{"worktree": 5}, {"worktree": "/w/a", "slot": 3}, {"worktree": "/w/b", "slot": "x"}]}"#;
    let reading = LeaseTable::parse(text);
    assert!(reading.damaged);
    assert_eq!(reading.table.rows.len(), 1);
}

/// A simulated machine: a state directory, and the warnings that were sent.
struct Machine {
    ctx: Context,
    told: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&told);
        let home = |name: &str| folder.path().join(name);
        let ctx = Context {
            cwd: folder.path().into(),
            env: BTreeMap::new(),
            dirs: Dirs {
                state: home("state"),
                data: home("data"),
                cache: home("cache"),
                runtime: home("run"),
            },
            events: Events::new(move |event| {
                if let Event::Warning(text) = event {
                    ear.lock().unwrap().push(text);
                }
            }),
            started: Instant::now(),
            colour: false,
        };
        Machine { ctx, told, folder }
    }

    /// Creates a worktree's folder.
    fn worktree(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn file(&self) -> PathBuf {
        table::file(&self.ctx.dirs)
    }

    async fn lease(&self, request: &Request) -> Lease {
        lease(&self.ctx, request).await.unwrap()
    }
}

/// Returns a free port below the range that the system hands out, so that no other test gets it.
fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 40).unwrap() * 250;
    let ports = || Some(20_000 + (start + NEXT.fetch_add(200, Ordering::Relaxed)) % 10_000);
    std::iter::from_fn(ports).find(|port| crate::os::net::is_free(*port)).unwrap()
}

/// Returns a request whose preferred slot has exactly `port`.
fn request_for(path: &Path, port: u16) -> Request {
    let slot = hash::preferred_slot(path, DEFAULT_SPAN);
    Request { bases: BTreeMap::from([("web".into(), port - slot)]), ..request(path) }
}

/// Returns a listener, and a request of `path` that wants its port.
fn occupied(path: &Path) -> (TcpListener, Request) {
    let port = unused_port();
    (TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap(), request_for(path, port))
}

#[tokio::test]
async fn a_lease_is_stored_privately_and_written_once() {
    let machine = Machine::new();
    let request = Request {
        repository: Some("/r/.git".into()),
        bases: BTreeMap::new(),
        ..request(machine.worktree("a"))
    };
    let first = machine.lease(&request).await;
    let written = std::fs::metadata(machine.file()).unwrap();
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    let again = machine.lease(&request).await;
    assert_eq!(again.slot, first.slot);
    assert_eq!(
        std::fs::metadata(machine.file()).unwrap().ino(),
        written.ino(),
        "an unchanged table is not written"
    );
    let rows = list(&machine.ctx).unwrap();
    assert_eq!(
        (rows.len(), rows[0].slot, rows[0].repository.as_deref()),
        (1, first.slot, Some(Path::new("/r/.git")))
    );
    assert!(rows[0].created > 1_600_000_000);
}

#[tokio::test]
async fn a_foreign_listener_moves_the_worktree_and_the_move_lasts() {
    let machine = Machine::new();
    let path = machine.worktree("a");
    let (listener, request) = occupied(&path);
    let port = listener.local_addr().unwrap().port();
    let strict = lease(&machine.ctx, &Request { strict: true, ..request.clone() }).await.unwrap_err();
    assert_eq!(strict.holder().unwrap().pid, Some(std::process::id()));
    let moved = machine.lease(&request).await;
    assert_ne!(moved.ports["web"], port);
    assert_eq!(moved.moved.as_ref().unwrap().port, u32::from(port));
    drop(listener);
    let later = machine.lease(&request).await;
    assert_eq!((later.slot, later.moved), (moved.slot, None));
}

#[tokio::test]
async fn a_listener_on_the_other_address_family_makes_a_port_busy() {
    let machine = Machine::new();
    let path = machine.worktree("a");
    let port = unused_port();
    let Ok(_listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) else {
        return crate::os::skip("there is no IPv6 here");
    };
    let request = request_for(&path, port);
    assert_eq!(machine.lease(&request).await.moved.unwrap().port, u32::from(port));
}

#[tokio::test]
async fn recorded_lease_is_returned_without_inspecting_ports() {
    let machine = Machine::new();
    let path = machine.worktree("a");
    let (listener, request) = occupied(&path);
    drop(listener);
    let first = recorded(&machine.ctx, &request).await.unwrap();
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first.ports["web"])).unwrap();
    let again = recorded(&machine.ctx, &request).await.unwrap();
    assert_eq!((again.slot, again.moved), (first.slot, None));
}

#[tokio::test]
async fn leases_of_worktrees_that_are_gone_are_reclaimed() {
    let machine = Machine::new();
    let (gone, here) = (machine.worktree("gone"), machine.worktree("here"));
    let port = unused_port();
    let narrow =
        |path: &Path| Request { span: 1, bases: BTreeMap::from([("web".into(), port)]), ..request(path) };
    assert_eq!(machine.lease(&narrow(&gone)).await.ports["web"], port);
    let error = lease(&machine.ctx, &narrow(&here)).await.unwrap_err();
    assert!(error.why().unwrap().contains(&gone.display().to_string()), "{:?}", error.why());
    std::fs::remove_dir(&gone).unwrap();
    assert_eq!(machine.lease(&narrow(&here)).await.slot, 0);
    let rows = list(&machine.ctx).unwrap();
    assert_eq!(rows.iter().map(|row| row.worktree.clone()).collect::<Vec<_>>(), [here]);
}

#[tokio::test]
async fn a_released_lease_is_gone() {
    let machine = Machine::new();
    let request = Request { bases: BTreeMap::new(), ..request(machine.worktree("a")) };
    machine.lease(&request).await;
    assert!(release(&machine.ctx, &request.worktree).await.unwrap());
    assert!(!release(&machine.ctx, &request.worktree).await.unwrap());
    assert_eq!(list(&machine.ctx).unwrap(), []);
}

#[tokio::test]
async fn a_damaged_table_is_renamed_with_a_warning() {
    let machine = Machine::new();
    let request = Request { bases: BTreeMap::new(), ..request(machine.worktree("a")) };
    for number in 1..=2 {
        crate::os::fs::replace(&machine.file(), b"{\"leases\": [", 0o600).unwrap();
        assert_eq!(list(&machine.ctx).unwrap(), []);
        machine.lease(&request).await;
        let aside = machine.ctx.dirs.state.join(format!("leases.json.broken-{number}"));
        assert_eq!(std::fs::read(&aside).unwrap(), b"{\"leases\": [");
        assert!(machine.told.lock().unwrap().last().unwrap().contains(aside.to_str().unwrap()));
    }
    assert_eq!(list(&machine.ctx).unwrap().len(), 1);
}

#[tokio::test]
async fn many_simultaneous_leases_get_different_ports() {
    let machine = Machine::new();
    let requests: Vec<Request> = (0..20)
        .map(|n| Request {
            bases: BTreeMap::from([("web".into(), 31000)]),
            ..request(machine.worktree(&format!("t{n}")))
        })
        .collect();
    let tasks = tokio::task::LocalSet::new();
    let mut slots = tasks
        .run_until(async {
            let handles: Vec<_> = requests
                .into_iter()
                .map(|request| {
                    let ctx = machine.ctx.clone();
                    tokio::task::spawn_local(async move { lease(&ctx, &request).await.unwrap().slot })
                })
                .collect();
            let mut slots = Vec::new();
            for handle in handles {
                slots.push(handle.await.unwrap());
            }
            slots
        })
        .await;
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 20);
}

/// A process that holds a listening socket and is tagged as a process of `worktree`. It is killed when dropped.
#[cfg(target_os = "linux")]
struct Child(std::process::Child);

#[cfg(target_os = "linux")]
impl Child {
    #[expect(clippy::disallowed_methods, reason = "os::cmd has no commands that outlive the call")]
    fn holding(listener: TcpListener, worktree: &Path) -> Child {
        let mut command = std::process::Command::new("sleep");
        command.arg("600").env(variables::WORKTREE, worktree).env(variables::RUN, "run");
        let descriptors = vec![listener.into()];
        spawn::isolate(&mut command, Isolation { die_with_us: true, descriptors, ..Isolation::default() });
        Child(command.spawn().unwrap())
    }
}

#[cfg(target_os = "linux")]
impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn processes_left_by_the_own_worktree_keep_the_slot_and_are_reported() {
    let machine = Machine::new();
    let path = machine.worktree("a");
    let (listener, request) = occupied(&path);
    let port = listener.local_addr().unwrap().port();
    let child = Child::holding(listener, &path);
    let kept = machine.lease(&request).await;
    assert_eq!((kept.ports["web"], &kept.moved), (port, &None));
    let [(on, holder)] = &kept.ours[..] else { panic!("{kept:?}") };
    assert_eq!((*on, holder.pid), (port, Some(child.0.id())));
    assert_eq!(holder.worktree.as_deref(), path.to_str());
    drop(child);
    assert_eq!(machine.lease(&request).await.ours, []);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_of_another_worktree_is_named_with_that_worktree() {
    let machine = Machine::new();
    let path = machine.worktree("a");
    let (listener, request) = occupied(&path);
    let port = listener.local_addr().unwrap().port();
    let child = Child::holding(listener, Path::new("/w/other"));
    let moved = machine.lease(&request).await.moved.unwrap();
    let holder = moved.obstacle.holder().unwrap();
    assert_eq!(holder.to_string(), format!("sleep 600 (pid {}) of worktree /w/other", child.0.id()));
    assert!(matches!(listener_is_ours(port, child.0.id()), Ownership::Ours));
    let Ownership::Other(stranger) = listener_is_ours(port, u32::MAX) else { panic!() };
    // The age may have grown by a second between the two calls.
    assert_eq!(Holder { age: holder.age, ..stranger }, *holder);
}
