//! The output thread with slow and blocked pipes and sinks.

use std::io::{PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::os::spawn;

/// A time limit that is longer than any step of these tests.
const LIMIT: Duration = Duration::from_secs(20);

/// A function that runs before a chunk is recorded.
type Before = dyn FnMut(&[u8], &Backpressure) + Send;
type Lines = Arc<Mutex<Vec<(usize, String)>>>;

/// Records lines after it has called `first`, which may block.
struct Recorder {
    lines: Lines,
    first: Box<Before>,
    backpressure: Backpressure,
}

impl Sink for Recorder {
    fn lines(&mut self, process: usize, chunk: &[u8], _continued: bool) -> std::io::Result<()> {
        (self.first)(chunk, &self.backpressure);
        self.lines.lock().unwrap().push((process, String::from_utf8_lossy(chunk).into_owned()));
        Ok(())
    }

    fn backpressure(&self) -> Backpressure {
        self.backpressure.clone()
    }
}

fn start(first: impl FnMut(&[u8], &Backpressure) + Send + 'static) -> (Mux, Lines) {
    let lines = Lines::default();
    let sink =
        Recorder { lines: lines.clone(), first: Box::new(first), backpressure: Backpressure::default() };
    (Mux::start(sink, None, || ()).unwrap(), lines)
}

fn pipe(mux: &Mux, process: usize) -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    mux.add(OutputSource { process, tap: None, pipe: reader.into() });
    writer
}

fn wait_until(mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn delay_of_the_output_thread_does_not_cut_a_line() {
    let (blocked, is_blocked) = channel();
    let (go, going) = channel();
    let (mux, lines) = start(move |chunk, _| {
        if chunk == b"stop\n" {
            blocked.send(()).unwrap();
            going.recv().unwrap();
        }
    });
    let (mut slow, mut other) = (pipe(&mux, 0), pipe(&mux, 1));
    let mut shown = 0;
    let began = Instant::now();
    while shown < 3 {
        assert!(began.elapsed() < LIMIT);
        slow.write_all(b"begin ").unwrap();
        wait_until(|| spawn::unread(slow.as_fd()) == Some(0));
        other.write_all(b"stop\n").unwrap();
        is_blocked.recv_timeout(LIMIT).unwrap();
        // On a busy machine the beginning may have been shown before the block. Then this round proves nothing.
        let early = !std::mem::take(&mut *lines.lock().unwrap()).is_empty();
        // Longer than the delay after which an unfinished line is shown.
        std::thread::sleep(Duration::from_millis(150));
        slow.write_all(b"end\n").unwrap();
        go.send(()).unwrap();
        let is_last = |line: &(usize, String)| line.1.ends_with("end\n");
        wait_until(|| lines.lock().unwrap().iter().any(is_last));
        let said = std::mem::take(&mut *lines.lock().unwrap());
        if !early {
            assert!(said.contains(&(0, "begin end\n".into())), "{said:?}");
            shown += 1;
        }
    }
}

#[tokio::test]
async fn last_output_of_an_ended_process_is_not_delayed_by_a_busy_one() {
    let (mux, lines) = start(|_, _| ());
    let mut writer = pipe(&mux, 0);
    writer.write_all(b"last words\n").unwrap();
    let noise = std::thread::spawn(move || while writer.write_all(b"noise\n").is_ok() {});
    tokio::time::timeout(LIMIT, mux.drain(0)).await.unwrap();
    assert!(lines.lock().unwrap()[0].1.starts_with("last words\n"));
    tokio::time::timeout(LIMIT, mux.finish(false)).await.unwrap();
    noise.join().unwrap();
}

#[tokio::test]
async fn a_pipe_that_is_held_open_does_not_delay_an_end() {
    let (mux, lines) = start(|_, _| ());
    let mut writer = pipe(&mux, 0);
    for round in 0..20 {
        writer.write_all(b"one\ntwo\n").unwrap();
        mux.drain(0).await;
        let text: String = lines.lock().unwrap().iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(text, "one\ntwo\n".repeat(round + 1));
    }
    writer.write_all(b"unfinished").unwrap();
    mux.drain(0).await;
    assert_eq!(lines.lock().unwrap().last().unwrap().1, "unfinished\n");
    writer.write_all(b"three\n").unwrap();
    mux.finish(true).await;
    assert_eq!(lines.lock().unwrap().last().unwrap().1, "three\n");
}

#[tokio::test]
async fn a_reader_that_reads_at_all_is_waited_for() {
    let (mux, lines) = start(|_, backpressure| {
        for _ in 0..25 {
            backpressure.waits();
            std::thread::sleep(Duration::from_millis(100));
        }
        backpressure.flows();
    });
    let mut writer = pipe(&mux, 0);
    writer.write_all(b"slowly\n").unwrap();
    mux.drain(0).await;
    assert_eq!(lines.lock().unwrap().len(), 1);
    writer.write_all(b"very\n").unwrap();
    mux.finish(true).await;
    assert_eq!(lines.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn stalled_reader_is_waited_for_only_while_time_remains() {
    let (go, going) = channel::<()>();
    let (mux, lines) = start(move |_, backpressure| {
        backpressure.waits();
        let _ = going.recv();
        backpressure.flows();
    });
    let mut writer = pipe(&mux, 0);
    writer.write_all(b"stuck\n").unwrap();
    tokio::time::timeout(LIMIT, mux.drain(0)).await.unwrap();
    let patient = mux.finish(false);
    tokio::pin!(patient);
    assert!(tokio::time::timeout(2 * READER_LIMIT, &mut patient).await.is_err());
    assert!(lines.lock().unwrap().is_empty());
    drop(go);
    tokio::time::timeout(LIMIT, patient).await.unwrap();
    assert_eq!(lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_hurried_end_leaves_a_stuck_reader_behind() {
    let (_go, going) = channel::<()>();
    let (mux, _lines) = start(move |_, backpressure| {
        backpressure.waits();
        let _ = going.recv();
    });
    pipe(&mux, 0).write_all(b"stuck\n").unwrap();
    let began = Instant::now();
    tokio::time::timeout(LIMIT, mux.finish(true)).await.unwrap();
    assert!(began.elapsed() >= READER_LIMIT);
    drop(mux);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_known_to_be_stuck_is_not_waited_for_again() {
    let backpressure = Backpressure::default();
    backpressure.waits();
    let waited = async || {
        let start = tokio::time::Instant::now();
        let (_done, wait) = oneshot::channel();
        until_stuck(wait, &backpressure, READER_LIMIT).await;
        start.elapsed()
    };
    assert_eq!(waited().await, READER_LIMIT);
    assert_eq!(waited().await, CHECK_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_something_is_waited_for_however_slow_it_is() {
    let (backpressure, start) = (Backpressure::default(), tokio::time::Instant::now());
    let (done, wait) = oneshot::channel();
    let reader = async {
        for _ in 0..10 {
            backpressure.waits();
            tokio::time::sleep(READER_LIMIT / 2).await;
        }
        done.send(()).unwrap();
    };
    tokio::join!(until_stuck(wait, &backpressure, READER_LIMIT), reader);
    assert_eq!(start.elapsed(), READER_LIMIT * 5);
}
