//! Tests of the waits of a client's request, with a paused clock.

use std::path::Path;

use super::*;
use crate::event::Ending;

/// Returns the handle of a stack with one process without a probe.
fn handle() -> StackHandle {
    let process = ProcessStatus { name: "web".into(), state: Word::Waiting, ..ProcessStatus::default() };
    let mut status = Status::preparing(Path::new("/w"), None, "w");
    status.processes = vec![process];
    StackHandle::new(status, unbounded_channel().0).0
}

fn report(handle: &StackHandle, state: ProcessState) {
    handle.listen(Events::discarded()).send(Event::Process { name: "web".into(), state });
}

async fn after(pause: Duration, action: impl FnOnce()) {
    tokio::time::sleep(pause).await;
    action();
}

#[tokio::test(start_paused = true)]
async fn end_of_a_run_waits_for_open_connections_only_a_moment() {
    let (handle, start) = (handle(), Instant::now());
    let connection = handle.open_connection();
    handle.close(None).await;
    assert!(start.elapsed() >= CLOSE_LIMIT, "{:?}", start.elapsed());
    let start = Instant::now();
    tokio::join!(handle.close(None), after(CLOSE_LIMIT / 2, || drop(connection)));
    assert!(start.elapsed() < CLOSE_LIMIT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wait_ends_at_its_limit_and_lists_open_processes() {
    let (handle, start) = (handle(), Instant::now());
    let error = handle.wait(&[], Duration::from_mins(1)).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::TimedOut, "not ready within 60 s"));
    assert_eq!(error.cause.as_deref(), Some("web is waiting"));
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_process_without_a_probe_is_up_when_it_has_run_for_a_moment() {
    let handle = handle();
    let deadline = Deadline::within(Duration::from_mins(1));
    let up = |status: &Status| status.processes[0].ready;
    let stable = || handle.wait_until_stable(up, |status| failure_of(status, &[0]), &[0], deadline);
    report(&handle, ProcessState::Started { pid: 7, at: None });
    let start = Instant::now();
    assert!(stable().await.is_ok());
    assert!(start.elapsed() >= STABLE_AFTER, "{:?}", start.elapsed());
    // The next child ends before that time.
    report(&handle, ProcessState::Started { pid: 8, at: None });
    let ended = ProcessState::Ended(Ending::Code(1));
    let (result, ()) = tokio::join!(stable(), after(STABLE_AFTER / 2, || report(&handle, ended)));
    assert_eq!(result.unwrap_err().code, Code::ProcessEnded);
}

#[test]
fn the_first_readiness_of_a_process_is_kept_until_its_next_start() {
    let handle = handle();
    let first = |handle: &StackHandle| handle.status().processes[0].first_ready;
    report(&handle, ProcessState::Started { pid: 7, at: None });
    let known = first(&handle);
    assert!(known.is_some(), "a process without a probe is ready at once");
    report(&handle, ProcessState::Unready { why: "refused".into(), fault: None });
    assert_eq!(first(&handle), known);
    handle.status_sender.send_modify(|status| status.processes[0].probed = true);
    report(&handle, ProcessState::Started { pid: 8, at: None });
    assert_eq!(first(&handle), None);
}
