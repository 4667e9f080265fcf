//! The output thread with pipes and sinks that misbehave.

use std::io::{PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::os::spawn;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// What happens before a chunk is taken.
type Before = dyn FnMut(&[u8], &Gauge) + Send;
type Lines = Arc<Mutex<Vec<(usize, String)>>>;

/// Remembers lines, after doing something that may take long.
struct Recorder {
    lines: Lines,
    first: Box<Before>,
    gauge: Gauge,
}

impl Sink for Recorder {
    fn lines(&mut self, process: usize, chunk: &[u8], _continued: bool) -> std::io::Result<()> {
        (self.first)(chunk, &self.gauge);
        self.lines.lock().unwrap().push((process, String::from_utf8_lossy(chunk).into_owned()));
        Ok(())
    }

    fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }
}

fn start(first: impl FnMut(&[u8], &Gauge) + Send + 'static) -> (Mux, Lines) {
    let lines = Lines::default();
    let sink = Recorder { lines: lines.clone(), first: Box::new(first), gauge: Gauge::default() };
    (Mux::start(sink, None, || ()).unwrap(), lines)
}

fn pipe(mux: &Mux, process: usize) -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    mux.add(Source { process, tap: None, pipe: reader.into() });
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
fn a_line_is_not_cut_because_we_were_held_up() {
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
        // It may have waited long enough before, on a busy machine: then this round proves nothing.
        let early = !std::mem::take(&mut *lines.lock().unwrap()).is_empty();
        // What is shown early would be by now.
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
async fn what_the_dead_left_comes_first_even_when_another_writes_for_ever() {
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
        let began = Instant::now();
        mux.drain(0).await;
        assert!(began.elapsed() < PATIENCE);
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
    let (mux, lines) = start(|_, gauge| {
        for _ in 0..25 {
            gauge.waits();
            std::thread::sleep(Duration::from_millis(100));
        }
        gauge.flows();
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
async fn one_that_reads_nothing_is_waited_for_only_where_there_is_time() {
    let (go, going) = channel::<()>();
    let (mux, lines) = start(move |_, gauge| {
        gauge.waits();
        let _ = going.recv();
        gauge.flows();
    });
    let mut writer = pipe(&mux, 0);
    writer.write_all(b"stuck\n").unwrap();
    tokio::time::timeout(LIMIT, mux.drain(0)).await.unwrap();
    // Known to be stuck by now: nobody waits again.
    let began = Instant::now();
    mux.drain(0).await;
    assert!(began.elapsed() < PATIENCE);
    let patient = mux.finish(false);
    tokio::pin!(patient);
    assert!(tokio::time::timeout(2 * PATIENCE, &mut patient).await.is_err());
    assert!(lines.lock().unwrap().is_empty());
    drop(go);
    tokio::time::timeout(LIMIT, patient).await.unwrap();
    assert_eq!(lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_hurried_end_leaves_a_stuck_reader_behind() {
    let (_go, going) = channel::<()>();
    let (mux, _lines) = start(move |_, gauge| {
        gauge.waits();
        let _ = going.recv();
    });
    pipe(&mux, 0).write_all(b"stuck\n").unwrap();
    let began = Instant::now();
    tokio::time::timeout(LIMIT, mux.finish(true)).await.unwrap();
    assert!(began.elapsed() >= PATIENCE);
    drop(mux);
    assert!(began.elapsed() < LIMIT);
}
