//! Scenarios and random orders of inputs, without real processes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::{Code, Exit};
use crate::plan::{PlannedWorktree, Probe, Process, Readiness, Restart, RunCommand};

/// Returns a process that runs `true`, with no other settings.
pub(in crate::supervisor) fn process(name: &str) -> Process {
    Process {
        name: name.into(),
        run: RunCommand::Argv(vec!["true".into()]),
        directory: PathBuf::from("/"),
        env: BTreeMap::new(),
        origins: BTreeMap::new(),
        secrets: BTreeSet::new(),
        port: None,
        depends_on: Vec::new(),
        needs: BTreeSet::new(),
        ready: None,
        restart: Restart { policy: RestartPolicy::No, max: 5 },
        stop_signal: 2,
        stop_grace: Duration::from_secs(5),
        tty: false,
        stdin: crate::plan::Stdin::Open,
        autostart: true,
        expose: false,
        node_preload: true,
        service: None,
    }
}

fn probed(name: &str) -> Process {
    let second = Duration::from_secs(1);
    let ready =
        Readiness { probe: Probe::Tcp { port: 1 }, interval: second, timeout: second, deadline: second };
    Process { ready: Some(ready), ..process(name) }
}

fn plan(processes: Vec<Process>) -> Plan {
    Plan {
        project: "p".into(),
        worktree: PlannedWorktree {
            path: "/".into(),
            head: crate::plan::Checkout::None,
            slug: "s".into(),
            state: "/".into(),
        },
        slot: 0,
        away: None,
        ports: BTreeMap::new(),
        database: None,
        env: crate::plan::Environment::default(),
        processes,
        urls: Vec::new(),
        host_urls: Vec::new(),
        redirects: std::collections::BTreeMap::new(),
        shared_ports: BTreeSet::new(),
        bindings: Vec::new(),
        logs: crate::plan::LogLimits::default(),
        python: Vec::new(),
    }
}

/// Returns short words for effects, so that scenarios are easy to read.
fn words(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Spawn(n) => Some(format!("spawn {n}")),
            Effect::Probe(n) => Some(format!("probe {n}")),
            Effect::Doubt(n) => Some(format!("doubt {n}")),
            Effect::Signal(n) => Some(format!("signal {n}")),
            Effect::Kill(n) => Some(format!("kill {n}")),
            Effect::AllReady => Some("ready".into()),
            Effect::Done(outcome) => Some(format!("done {}", outcome.exit.status())),
            Effect::Tell(Event::StopWaiting { names, .. }) => Some(format!("awaiting {}", names.join(","))),
            Effect::Tell(_) => None,
        })
        .collect()
}

struct Driver {
    machine: Machine,
    now: Instant,
}

impl Driver {
    fn new(processes: Vec<Process>) -> Driver {
        Driver { machine: Machine::new(&plan(processes), []), now: Instant::now() }
    }

    fn give(&mut self, input: Input) -> Vec<String> {
        words(&self.machine.handle(input, self.now))
    }

    fn after(&mut self, wait: Duration) -> Vec<String> {
        self.now += wait;
        self.give(Input::Tick)
    }
}

#[test]
fn a_dependent_waits_until_the_other_is_ready() {
    let mut front = process("front");
    front.depends_on = vec![("back".into(), Condition::Ready)];
    let mut run = Driver::new(vec![probed("back"), front]);
    assert_eq!(run.give(Input::Tick), ["spawn 0"]);
    assert_eq!(run.give(Input::Spawned(0, 10)), ["probe 0"]);
    assert_eq!(run.give(Input::Ready(0)), ["spawn 1"]);
    assert_eq!(run.give(Input::Spawned(1, 11)), ["ready"]);
}

#[test]
fn a_process_waits_for_its_own_preparation_only() {
    let mut back = process("back");
    back.needs = [Need::Python, Need::Database].into();
    let mut front = process("front");
    front.needs = [Need::Node].into();
    let mut run = Driver::new(vec![back, front]);
    assert!(run.give(Input::Tick).is_empty());
    assert_eq!(run.give(Input::Gate(Need::Node)), ["spawn 1"]);
    assert!(run.give(Input::Gate(Need::Python)).is_empty());
    assert_eq!(run.give(Input::Gate(Need::Database)), ["spawn 0"]);
}

#[test]
fn an_unexpected_end_ends_the_run_with_its_code() {
    let mut run = Driver::new(vec![process("a"), process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Spawned(1, 2));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(3), false)), ["signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["done 3"]);
}

#[test]
fn a_signal_death_becomes_128_plus_its_number() {
    let mut run = Driver::new(vec![process("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Signal(11), false)), ["done 139"]);
}

#[test]
fn stopping_is_parallel_and_escalates() {
    let mut run = Driver::new(vec![process("a"), process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Spawned(1, 2));
    assert_eq!(run.give(Input::Stop(StopReason::Signal(2))), ["signal 0", "signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), Vec::<String>::new());
    assert_eq!(run.after(Duration::from_secs(1)), ["awaiting b"]);
    assert_eq!(run.after(Duration::from_secs(4)), ["kill 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Signal(9), false)), ["done 130"]);
}

#[test]
fn a_second_request_kills_at_once() {
    let mut run = Driver::new(vec![process("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Stop(StopReason::Signal(15)));
    assert_eq!(run.give(Input::Kill), ["kill 0"]);
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Signal(9), false)), ["done 143"]);
}

#[test]
fn dependents_stop_first() {
    let mut front = process("front");
    front.depends_on = vec![("back".into(), Condition::Started)];
    let mut run = Driver::new(vec![process("back"), front]);
    run.give(Input::Tick);
    assert_eq!(run.give(Input::Spawned(0, 1)), ["spawn 1"]);
    run.give(Input::Spawned(1, 2));
    assert_eq!(run.give(Input::Stop(StopReason::Signal(2))), ["signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["signal 0"]);
}

#[test]
fn process_has_ended_only_after_the_children_of_its_leader() {
    let mut run = Driver::new(vec![process("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), true)), ["signal 0"]);
    assert_eq!(run.after(Duration::from_secs(5)), ["kill 0"]);
    assert_eq!(run.give(Input::TreeGone(0)), ["done 0"]);
}

#[test]
fn restarts_back_off_and_give_up() {
    let mut one = process("a");
    one.restart = Restart { policy: RestartPolicy::OnFailure, max: 2 };
    let mut run = Driver::new(vec![one]);
    run.give(Input::Tick);
    for delay in [100, 200] {
        run.give(Input::Spawned(0, 1));
        assert!(run.give(Input::LeaderEnded(0, Ending::Code(7), false)).is_empty());
        assert_eq!(run.after(Duration::from_millis(delay)), ["spawn 0"]);
    }
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(7), false)), ["done 7"]);
}

#[test]
fn given_up_process_leaves_the_others_running_after_the_stack_was_ready() {
    let mut one = process("a");
    one.restart = Restart { policy: RestartPolicy::OnFailure, max: 1 };
    let mut run = Driver::new(vec![one, process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::Spawned(1, 2)), ["ready"]);
    run.now += Duration::from_secs(1);
    run.give(Input::LeaderEnded(0, Ending::Code(7), false));
    run.after(Duration::from_millis(100));
    run.give(Input::Spawned(0, 3));
    let effects = run.machine.handle(Input::LeaderEnded(0, Ending::Code(7), false), run.now);
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Tell(Event::Process { state: ProcessState::GaveUp { ended, restarts, .. }, .. }) => {
            Some((*ended, *restarts))
        }
        _ => None,
    });
    assert_eq!((told, effects.len()), (Some((Ending::Code(7), 1)), 1), "{effects:?}");
    assert!(run.after(Duration::from_mins(1)).is_empty());
    // A restart by the user gives it its full number of restarts again.
    assert_eq!(run.give(Input::RestartThese(vec![0])), ["spawn 0"]);
    run.give(Input::Spawned(0, 4));
    assert!(run.give(Input::LeaderEnded(0, Ending::Code(7), false)).is_empty());
    assert_eq!(run.after(Duration::from_millis(100)), ["spawn 0"]);
    run.give(Input::Spawned(0, 5));
    run.give(Input::LeaderEnded(0, Ending::Code(7), false));
}

#[test]
fn stack_fails_if_only_a_given_up_process_is_left() {
    let (mut one, mut other) = (process("a"), process("b"));
    one.restart = Restart { policy: RestartPolicy::OnFailure, max: 0 };
    other.restart.policy = RestartPolicy::OnFailure;
    let mut run = Driver::new(vec![one, other]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Spawned(1, 2));
    run.now += Duration::from_secs(1);
    assert!(run.give(Input::LeaderEnded(0, Ending::Code(7), false)).is_empty());
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["done 7"]);
}

#[test]
fn failure_right_after_the_start_fails_the_run() {
    let mut one = process("a");
    one.restart = Restart { policy: RestartPolicy::OnFailure, max: 0 };
    let mut run = Driver::new(vec![one, process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::Spawned(1, 2)), ["ready"]);
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(7), false)), ["signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["done 7"]);
}

#[test]
fn healthy_child_resets_the_count_of_restarts() {
    let mut one = process("a");
    one.restart = Restart { policy: RestartPolicy::Always, max: 1 };
    let mut run = Driver::new(vec![one]);
    run.give(Input::Tick);
    for _ in 0..3 {
        run.give(Input::Spawned(0, 1));
        run.now += backoff::HEALTHY;
        assert!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)).is_empty());
        assert_eq!(run.after(Duration::from_millis(100)), ["spawn 0"]);
    }
}

#[test]
fn a_one_shot_may_end_and_a_failed_one_fails_the_run() {
    let build = || {
        let mut server = process("server");
        server.depends_on = vec![("job".into(), Condition::Completed)];
        let mut run = Driver::new(vec![process("job"), server]);
        run.give(Input::Tick);
        run.give(Input::Spawned(0, 1));
        run
    };
    assert_eq!(build().give(Input::LeaderEnded(0, Ending::Code(0), false)), ["spawn 1"]);
    assert_eq!(build().give(Input::LeaderEnded(0, Ending::Code(4), false)), ["done 4"]);
}

#[test]
fn process_without_autostart_is_started_if_another_depends_on_it() {
    let mut lazy = process("lazy");
    lazy.autostart = false;
    let mut front = process("front");
    front.depends_on = vec![("lazy".into(), Condition::Started)];
    assert_eq!(Driver::new(vec![lazy.clone(), front]).give(Input::Tick), ["spawn 0"]);
    assert_eq!(Driver::new(vec![lazy, process("b")]).give(Input::Tick), ["spawn 1"]);
}

#[test]
fn process_that_is_not_ready_in_time_fails_the_run() {
    let mut run = Driver::new(vec![probed("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::NotReady(0, Report::new(Code::NotReady, "no"))), ["signal 0"]);
    let done = run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    assert_eq!(done, [format!("done {}", Exit::Readiness.status())]);
}

#[test]
fn unresponsive_process_ends_nothing_and_is_still_probed() {
    let mut run = Driver::new(vec![probed("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::Ready(0)), ["ready"]);
    run.give(Input::RestartThese(vec![0]));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), ["spawn 0"]);
    run.give(Input::Spawned(0, 2));
    assert_eq!(run.give(Input::NotReady(0, Report::new(Code::NotReady, "no"))), ["doubt 0"]);
    assert!(run.give(Input::Ready(0)).is_empty());
    // A server of another program in its place ends the run.
    run.give(Input::RestartThese(vec![0]));
    run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    run.give(Input::Spawned(0, 3));
    assert_eq!(run.give(Input::NotReady(0, Report::new(Code::PortStolen, "no"))), ["signal 0"]);
}

#[test]
fn a_stop_while_nothing_runs_yet_ends_at_once() {
    let mut waiting = process("a");
    waiting.needs = [Need::Node].into();
    assert_eq!(Driver::new(vec![waiting]).give(Input::Stop(StopReason::Signal(2))), ["done 130"]);
}

#[test]
fn one_process_is_restarted_while_the_others_go_on() {
    let mut run = Driver::new(vec![process("a"), process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Spawned(1, 2));
    assert_eq!(run.give(Input::RestartThese(vec![0])), ["signal 0"]);
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), ["spawn 0"]);
    assert!(run.give(Input::Spawned(0, 3)).is_empty());
}

#[test]
fn stopped_process_stays_down_until_started_while_the_run_goes_on() {
    let mut run = Driver::new(vec![process("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::StopThese(vec![0])), ["signal 0"]);
    assert_eq!(run.after(Duration::from_secs(5)), ["kill 0"]);
    assert!(run.give(Input::LeaderEnded(0, Ending::Signal(9), false)).is_empty());
    assert!(run.after(Duration::from_mins(1)).is_empty());
    assert_eq!(run.give(Input::StartThese(vec![0])), ["spawn 0"]);
    run.give(Input::Spawned(0, 2));
    run.give(Input::StopThese(vec![0]));
    run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    assert_eq!(run.give(Input::Stop(StopReason::Signal(2))), ["done 130"]);
}

#[test]
fn start_of_a_stopping_process_restarts_it() {
    let mut run = Driver::new(vec![process("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::StopThese(vec![0]));
    assert!(run.give(Input::StartThese(vec![0])).is_empty());
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), ["spawn 0"]);
}

#[test]
fn silent_process_is_not_ready_until_it_answers_again() {
    let mut run = Driver::new(vec![probed("a"), process("b")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Spawned(1, 2));
    assert!(run.give(Input::Doubt(0)).is_empty(), "it was not ready yet");
    assert_eq!(run.give(Input::Ready(0)), ["ready"]);
    assert!(run.give(Input::Doubt(1)).is_empty(), "nobody can tell whether it is");
    assert_eq!(run.give(Input::Doubt(0)), ["doubt 0"]);
    assert_eq!(run.give(Input::Unready(0, "no answer".into())), ["doubt 0"], "it is probed until it answers");
    assert!(run.give(Input::Doubt(0)).is_empty(), "it is known already");
    assert!(run.give(Input::Ready(0)).is_empty(), "all being ready is told once");
    assert_eq!(run.give(Input::Doubt(0)), ["doubt 0"]);
}

/// Returns a run in which `back` and `front` are up. `front` needs `back` to be ready.
fn pair() -> Driver {
    let mut front = process("front");
    front.depends_on = vec![("back".into(), Condition::Ready)];
    let mut run = Driver::new(vec![probed("back"), front]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Ready(0));
    assert_eq!(run.give(Input::Spawned(1, 2)), ["ready"]);
    run
}

#[test]
fn dependents_stop_before_their_dependencies_and_start_after_them() {
    let mut run = pair();
    assert_eq!(run.give(Input::StopThese(vec![0, 1])), ["signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["signal 0"]);
    run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    assert_eq!(run.give(Input::StartThese(vec![1, 0])), ["spawn 0"]);

    let mut run = pair();
    assert_eq!(run.give(Input::RestartThese(vec![0, 1])), ["signal 1"]);
    assert_eq!(run.give(Input::LeaderEnded(1, Ending::Code(0), false)), ["signal 0"]);
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), ["spawn 0"]);
    assert_eq!(run.give(Input::Spawned(0, 3)), ["probe 0"]);
    assert_eq!(run.give(Input::Ready(0)), ["spawn 1"]);
}

#[test]
fn stop_of_one_process_leaves_its_dependents_running() {
    assert_eq!(pair().give(Input::StopThese(vec![0])), ["signal 0"]);
}

#[test]
fn start_also_starts_the_dependencies() {
    let mut run = pair();
    run.give(Input::StopThese(vec![0, 1]));
    run.give(Input::LeaderEnded(1, Ending::Code(0), false));
    run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    assert_eq!(run.give(Input::StartThese(vec![1])), ["spawn 0"]);

    let mut run = pair();
    run.give(Input::StopThese(vec![0]));
    run.give(Input::LeaderEnded(0, Ending::Code(0), false));
    assert_eq!(run.give(Input::RestartThese(vec![1])), ["signal 1", "spawn 0"]);

    let (mut lazy, mut spare) = (process("lazy"), process("spare"));
    (lazy.autostart, spare.autostart) = (false, false);
    spare.depends_on = vec![("lazy".into(), Condition::Started)];
    let mut run = Driver::new(vec![process("a"), lazy, spare]);
    assert_eq!(run.give(Input::Tick), ["spawn 0"]);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::StartThese(vec![2])), ["spawn 1"]);
    assert_eq!(run.give(Input::Spawned(1, 2)), ["spawn 2"]);
}

#[test]
fn process_that_never_becomes_ready_uses_up_its_restarts() {
    let mut one = probed("a");
    one.restart = Restart { policy: RestartPolicy::Always, max: 1 };
    let mut run = Driver::new(vec![one]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.now += backoff::HEALTHY;
    assert!(run.give(Input::LeaderEnded(0, Ending::Code(1), false)).is_empty());
    assert_eq!(run.after(Duration::from_millis(100)), ["spawn 0"]);
    run.give(Input::Spawned(0, 1));
    run.now += backoff::HEALTHY;
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(1), false)), ["done 1"]);
}

#[test]
fn dependents_are_skipped_if_a_server_exits_with_0_before_it_is_ready() {
    let (mut back, mut front) = (probed("back"), process("front"));
    back.restart.policy = RestartPolicy::OnFailure;
    front.depends_on = vec![("back".into(), Condition::Ready)];
    let mut run = Driver::new(vec![back, front]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    assert_eq!(run.give(Input::LeaderEnded(0, Ending::Code(0), false)), ["done 0"]);
    assert_eq!(run.machine.units[1].state, ProcessStage::Skipped);
}

#[test]
fn process_without_its_leader_is_not_ready_while_its_children_stop() {
    let mut run = Driver::new(vec![probed("a")]);
    run.give(Input::Tick);
    run.give(Input::Spawned(0, 1));
    run.give(Input::Ready(0));
    let effects = run.machine.handle(Input::LeaderEnded(0, Ending::Code(1), true), run.now);
    let is_told = |effect: &Effect| {
        matches!(effect, Effect::Tell(Event::Process { state: ProcessState::Unready { .. }, .. }))
    };
    assert!(effects.iter().any(is_told), "{effects:?}");
}

proptest! {
    /// Checks the invariants in a simulated world that carries out the effects and sends random inputs.
    #[test]
    fn invariants_hold_under_random_orders(
        choices in proptest::collection::vec((0u8..20, 0usize..3, 0i32..3), 1..200),
        policies in proptest::collection::vec(0u8..3, 3),
    ) {
        let mut processes = vec![probed("a"), process("b"), probed("c")];
        processes[1].depends_on = vec![("a".into(), Condition::Ready)];
        processes[2].depends_on = vec![("b".into(), Condition::Started)];
        processes[0].needs = [Need::Database].into();
        for (process, policy) in processes.iter_mut().zip(policies) {
            process.restart.policy = [RestartPolicy::No, RestartPolicy::OnFailure, RestartPolicy::Always][policy as usize];
        }
        let mut machine = Machine::new(&plan(processes), []);
        let mut now = Instant::now();
        let mut alive = [false; 3];
        let mut starting = [false; 3];
        // True if the leader has ended and processes that it started have not.
        let mut headless = [false; 3];
        let mut done = 0;
        let mut world = |input: Input, now: Instant, alive: &mut [bool; 3], starting: &mut [bool; 3], headless: [bool; 3]| {
            for effect in machine.handle(input, now) {
                match effect {
                    Effect::Spawn(n) => {
                        assert!(!alive[n] && !starting[n], "two children of {n}");
                        starting[n] = true;
                    }
                    Effect::Signal(n) => {
                        assert!(alive[n], "a signal to nobody");
                        let in_order = headless[n] || !machine.is_stopping();
                        assert!(in_order || n != 0 || !alive[1], "a stopped before its dependent b");
                        assert!(in_order || n != 1 || !alive[2], "b stopped before its dependent c");
                    }
                    Effect::Done(_) => {
                        done += 1;
                        assert!(!alive.contains(&true) && !starting.contains(&true), "done with children alive");
                    }
                    _ => {}
                }
            }
            done
        };
        let mut ended = 0;
        for (kind, n, code) in choices {
            if ended > 0 { break }
            let input = match kind {
                0 => Input::Gate(Need::Database),
                1 | 2 if starting[n] => { starting[n] = false; alive[n] = true; Input::Spawned(n, 1) }
                3 if alive[n] => Input::Ready(n),
                4 if alive[n] && !headless[n] => { alive[n] = false; Input::LeaderEnded(n, Ending::Code(code), false) }
                7 if alive[n] && !headless[n] => { headless[n] = true; Input::LeaderEnded(n, Ending::Code(code), true) }
                8 if headless[n] => { (headless[n], alive[n]) = (false, false); Input::TreeGone(n) }
                12 if alive[n] => Input::NotReady(n, Report::new(Code::NotReady, "no")),
                13 if alive[n] => Input::Unready(n, "no answer".into()),
                14 => Input::Doubt(n),
                15 if starting[n] => { starting[n] = false; Input::SpawnFailed(n, Report::new(Code::SpawnFailed, "no")) }
                16 => Input::StopThese(vec![0, 1, 2]),
                17 => Input::RestartThese(vec![2, 0, 1]),
                18 => Input::StartThese(vec![1, 2]),
                5 => Input::Stop(StopReason::Signal(2)),
                6 => Input::Kill,
                9 => Input::StartThese(vec![n]),
                10 => Input::StopThese(vec![n]),
                11 => Input::RestartThese(vec![n]),
                _ => { now += Duration::from_millis(700); Input::Tick }
            };
            ended = world(input, now, &mut alive, &mut starting, headless);
        }
        // A kill and the deaths that follow end the run exactly once.
        if ended == 0 {
            ended = world(Input::Kill, now, &mut alive, &mut starting, headless);
            for n in 0..3 {
                if starting[n] { starting[n] = false; alive[n] = true; world(Input::Spawned(n, 1), now, &mut alive, &mut starting, headless); }
            }
            for n in [2, 1, 0] {
                if alive[n] {
                    alive[n] = false;
                    let gone = if headless[n] { Input::TreeGone(n) } else { Input::LeaderEnded(n, Ending::Signal(9), false) };
                    ended = world(gone, now, &mut alive, &mut starting, headless);
                }
            }
        }
        prop_assert_eq!(ended, 1);
    }
}
