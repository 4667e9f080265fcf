//! Runs system calls that may block forever (a dead network mount, a pipe without a writer) on other threads.
//!
//! Work runs on a small pool of threads. When its time limit passes, the caller continues and the thread is abandoned:
//! it ends with its call, if that ever returns. Further work is refused once too many threads hang. Work must not start
//! a process, because children die with the thread that started them.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::text::quoted;

/// The most pieces of work that run at the same time, including those that hang.
const MOST: usize = 64;

/// Threads that wait for work.
static IDLE: Mutex<Vec<Sender<Job>>> = Mutex::new(Vec::new());
static RUNNING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

type Job = Box<dyn FnOnce() + Send>;
type JobResult<T> = Result<T, Box<dyn Any + Send>>;

/// The work did not end in time, or no thread could run it.
#[derive(Debug, thiserror::Error)]
pub enum Stuck {
    /// The work still runs.
    #[error("it took longer than {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// Earlier work hangs, or the system has no thread left.
    #[error("no thread is free for it: {0}")]
    NoThread(io::Error),
}

impl Stuck {
    /// Returns what to do if the work reads or writes `place`.
    pub fn fix(&self, place: &Path) -> String {
        let place = quoted(place);
        match self {
            Stuck::TimedOut(_) => format!("check the disk or the network mount that holds {place}"),
            Stuck::NoThread(_) => {
                format!(
                    "check the disk or the network mount that holds {place}, and the limit of processes (`ulimit -u`)"
                )
            }
        }
    }
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> io::Error {
        match stuck {
            Stuck::TimedOut(_) => io::Error::new(io::ErrorKind::TimedOut, stuck),
            Stuck::NoThread(error) => error,
        }
    }
}

/// Runs `work` on another thread and waits at most `limit`. If called on such a thread, runs `work` directly: the limit
/// of the outer call applies. Errors if the limit passes or no thread is available.
pub fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stuck> {
    if IS_WORKER.get() {
        return Ok(work());
    }
    let (answer, answered) = channel();
    let worker = submit(move || drop(answer.send(catch_unwind(AssertUnwindSafe(work)))))?;
    match answered.recv_timeout(limit) {
        Ok(answer) => Ok(finished(worker, answer)),
        Err(RecvTimeoutError::Timeout) => Err(Stuck::TimedOut(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(Stuck::NoThread(io::ErrorKind::BrokenPipe.into())),
    }
}

/// Runs `work` on another thread and waits at most `limit`, for async code: other tasks of this thread continue. Errors as
/// [`within`] does.
pub async fn run<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stuck> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let worker = submit(move || drop(answer.send(catch_unwind(AssertUnwindSafe(work)))))?;
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(answer)) => Ok(finished(worker, answer)),
        Ok(Err(_)) => Err(Stuck::NoThread(io::ErrorKind::BrokenPipe.into())),
        Err(_) => Err(Stuck::TimedOut(limit)),
    }
}

/// Keeps the thread for the next caller and returns the result of the work. A panic of the work continues in the
/// caller.
fn finished<T>(worker: Sender<Job>, answer: JobResult<T>) -> T {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    answer.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Passes `job` to an idle thread, or to a new one.
fn submit(job: impl FnOnce() + Send + 'static) -> Result<Sender<Job>, Stuck> {
    let place = WorkerSlot::take().ok_or_else(|| {
        Stuck::NoThread(io::Error::new(io::ErrorKind::TimedOut, format!("{MOST} earlier calls still hang")))
    })?;
    let job: Job = Box::new(move || {
        let _place = place;
        job();
    });
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let worker = match idle {
        Some(worker) => worker,
        None => start().map_err(Stuck::NoThread)?,
    };
    worker.send(job).map_err(|_| Stuck::NoThread(io::ErrorKind::BrokenPipe.into()))?;
    Ok(worker)
}

fn start() -> io::Result<Sender<Job>> {
    let (sender, jobs) = channel::<Job>();
    std::thread::Builder::new().name("devrun-blocking".into()).spawn(move || {
        IS_WORKER.set(true);
        for job in jobs {
            job();
        }
    })?;
    Ok(sender)
}

/// One of the [`MOST`] places. It is released when the work has ended, in time or not.
struct WorkerSlot;

impl WorkerSlot {
    fn take() -> Option<WorkerSlot> {
        let more = |running| (running < MOST).then_some(running + 1);
        RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| WorkerSlot)
    }
}

impl Drop for WorkerSlot {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_work_is_abandoned_and_the_next_runs() {
        let (release, held) = channel::<()>();
        let stuck = within(Duration::from_millis(20), move || held.recv());
        assert!(matches!(stuck, Err(Stuck::TimedOut(_))));
        assert_eq!(within(Duration::from_mins(1), || 7).unwrap(), 7);
        drop(release);
    }

    #[test]
    fn nested_work_runs_on_the_thread_of_the_outer_work() {
        let id = || std::thread::current().id();
        let (outer, inner) =
            within(Duration::from_mins(1), move || (id(), within(Duration::ZERO, id).unwrap())).unwrap();
        assert_eq!(outer, inner);
        assert_ne!(outer, id());
    }

    #[tokio::test]
    async fn tasks_continue_while_work_hangs() {
        let (release, held) = channel::<()>();
        let work = run(Duration::from_mins(1), move || held.recv().is_err());
        // Runs beside the work on the same thread, and only this ends the work.
        let other = async { drop(release) };
        assert!(tokio::join!(work, other).0.unwrap());
    }

    #[test]
    #[should_panic(expected = "from the work")]
    fn a_panic_of_the_work_reaches_the_caller() {
        let _ = within(Duration::from_mins(1), || panic!("from the work"));
    }
}
