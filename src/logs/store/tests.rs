//! Tests of writing the logs, and of write errors.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::logs::query;
use crate::logs::rotated;

/// Counts the lines that the store passes on.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<usize>>);

impl Sink for Counter {
    fn lines(&mut self, _: usize, chunk: &[u8], _: bool) -> io::Result<()> {
        *self.0.lock().unwrap() += memchr::memchr_iter(b'\n', chunk).count();
        Ok(())
    }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, |why| panic!("{why}"))
}

fn texts(folder: &Path, name: &str) -> Vec<String> {
    let lines = query::tail_since(folder, name, Timestamp::at(0), usize::MAX).unwrap();
    lines.into_iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

#[test]
fn each_line_has_its_time_and_only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("logs");
    let before = Timestamp::now();
    let store = open(&folder);
    let mut sink = store.before(&["web", "api"], LogLimits::default(), Counter::default());
    sink.lines(0, b"one\n\ntwo\n", false).unwrap();
    sink.lines(1, b"\xff\x00\n", false).unwrap();
    sink.lines(0, b"rest\nthree\n", true).unwrap();
    store.listener()(&Event::Note("chosen".into()));
    drop(store);
    let text = std::fs::read(folder.join("web.log")).unwrap();
    let marks: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').map(|line| line.get(24..).unwrap_or(line)).collect();
    assert_eq!(marks, [&b" one"[..], b" ", b" two", b"+rest", b" three", b""]);
    let line = &query::tail_since(&folder, "api", Timestamp::at(0), 5).unwrap()[0];
    assert_eq!(line.text, b"\xff\x00");
    assert!(before <= line.time && line.time <= Timestamp::now());
    assert_eq!(std::fs::read_to_string(folder.join("devrun.log")).unwrap()[24..], *" note: chosen\n");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("web.log"))), (0o700, 0o600));
}

#[test]
fn a_process_called_devrun_has_a_separate_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.before(&["devrun"], LogLimits::default(), Counter::default()).lines(0, b"a line\n", false).unwrap();
    store.listener()(&Event::Note("a note".into()));
    drop(store);
    assert_eq!(texts(dir.path(), "devrun"), ["a line"]);
    assert_eq!(query::names(dir.path()).unwrap(), ["devrun~", "devrun"]);
}

#[test]
fn large_output_is_rotated_and_its_end_is_complete() {
    const LINES: usize = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let counter = Counter::default();
    let mut sink = store.before(&["web"], LogLimits::default(), counter.clone());
    let mut chunk = Vec::new();
    for number in 0..LINES {
        writeln(&mut chunk, number);
        if chunk.len() > 100_000 || number + 1 == LINES {
            sink.lines(0, &chunk, false).unwrap();
            chunk.clear();
        }
    }
    drop(store);
    assert_eq!(*counter.0.lock().unwrap(), LINES);
    let path = dir.path().join("web.log");
    let sizes = [0, 1, 2, 3].map(|age| std::fs::metadata(rotated(&path, age)).map_or(0, |meta| meta.len()));
    assert!(
        sizes[..3].iter().all(|size| (1..=LogLimits::default().size).contains(size)) && sizes[3] == 0,
        "{sizes:?}"
    );
    let kept = texts(dir.path(), "web");
    let mut expected = Vec::new();
    for (line, number) in kept.iter().rev().zip((0..LINES).rev()) {
        expected.clear();
        writeln(&mut expected, number);
        assert_eq!(format!("{line}\n").as_bytes(), expected);
    }
    assert!(kept.len() > 150_000, "{}", kept.len());
}

fn writeln(chunk: &mut Vec<u8>, number: usize) {
    use std::io::Write;
    writeln!(chunk, "line {number:090}").unwrap();
}

#[test]
fn an_unusable_folder_is_reported_once_and_blocks_no_output() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("logs");
    std::fs::File::create(&folder).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    let store = Store::open(&folder, move |why| saying.lock().unwrap().push(why));
    let counter = Counter::default();
    let mut sink = store.before(&["web"], LogLimits::default(), counter.clone());
    for _ in 0..100 {
        sink.lines(0, &b"a line\n".repeat(10_000), false).unwrap();
    }
    drop(store);
    sink.lines(0, b"after the end\n", false).unwrap();
    assert_eq!(*counter.0.lock().unwrap(), 1_000_001);
    assert_eq!(said.lock().unwrap().len(), 1, "{said:?}");
}
