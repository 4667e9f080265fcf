//! A misbehaving child process: tests choose its behaviour by words on its command line, which it executes from left to right.
//!
//! [`HELP`] lists the words. A fixture exits by itself after ten minutes, so that one that escapes its supervisor does not run
//! for ever.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use devrun::testing::supervisor::Watchdog;
use devrun::testing::supervisor::sweep::SharedServers;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::socket::{MsgFlags, Shutdown, accept, recv, send, shutdown};
use nix::unistd::{Pid, getpgrp, getpid, getsid, setpgid, setsid};

const HELP: &str = "\
devrun-fixture WORD…    executes the words from left to right, then exits with code 0

A word is NAME or NAME:VALUE or NAME:VALUE:VALUE. A + before it runs it in the background;
`join` waits for all background words. PORT is a number or the name of a variable with a number.

output    ready               ready PID PGID SID
          say:TEXT err:TEXT   a line on stdout, on stderr
          partial:TEXT        without a newline
          lines:N[:WIDTH]     N numbered lines on stdout, as fast as possible
          errlines:N[:WIDTH]  the same on stderr
          invalid             a line that is not UTF-8
          progress:N          N states of one line, separated by carriage returns, then done
          full-screen-panic   takes the whole terminal and panics
          mute                redirects stdout and stderr to /dev/null
reports   env                 env NAME=VALUE for every variable
          env:NAME            env NAME=VALUE, or: env NAME unset
          fds                 fd NUMBER TARGET for every open descriptor
          signals             SigBlk and SigIgn as at the start; SIGPIPE, bit 0x1000, is always set
                              because every Rust program ignores it
          cwd                 cwd PATH
          tty                 tty yes, or: tty no
          stdin               stdin N, at the end of input after N bytes
signals   (active from the start, at any position; NAMES such as INT,TERM,HUP)
          ignore:NAMES        ignores them
          report:NAMES        prints `got INT` and continues
          graceful:NAMES[:MS] prints `got INT`, waits MS milliseconds, prints `bye`, exits with 0
          await:NAME          waits for that signal
files     pidfile:PATH        writes its pid
          append:PATH:TEXT    appends a line
          touch:PATH          creates the file
          await-file:PATH     waits until the file exists
time      sleep sleep:MS      sleeps ten minutes; MS milliseconds
          join                waits for background words
          watchdog:MS         hangs after its keeper has exited; the run has MS milliseconds to end
end       exit:N              exits at once
          die:NAME            dies by that signal
children  child[ WORD… ]      starts another fixture without waiting for it; nests
          setsid setpgid      in the child: creates a new session, a new group. Full escape:
                              child[ setsid child[ mute sleep ] ]
          breed:MS            starts a sleeping child every MS milliseconds, at most 100
          hop:MS              every MS milliseconds becomes another process, at most 1000 times
network   listen:PORT         binds 127.0.0.1:PORT and answers HTTP: GET /pid, /env/NAME, /host,
                              /exit/N; any other path as set by `http:`
          listen-fd:NAME      the same on the descriptor in variable NAME
          http:STATUS[:BODY]  sets the answer to other paths (200:ok)
          requests            prints a line `GET PATH` for each later request
          hosts               prints a line `Host: VALUE` for each later request
          deaf:PORT           binds and listens, accepts, never answers
";

const FOREVER: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(5);
/// Set in fixtures that another fixture started: they must not inherit its blocked signals.
const CHILD: &str = "FIXTURE_CHILD";

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The answer of listeners, and the parts of each request that they print.
struct Answer {
    status: u16,
    body: String,
    told: bool,
    hosts: bool,
}

static ANSWER: Mutex<Answer> =
    Mutex::new(Answer { status: 200, body: String::new(), told: false, hosts: false });
/// `/proc/self/status` before the fixture blocked any signal.
static STATUS: OnceLock<String> = OnceLock::new();

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() || words.iter().any(|word| word == "--help") {
        print(io::stdout(), HELP.as_bytes());
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(CHILD).is_some() {
        let _ = SigSet::empty().thread_set_mask();
    }
    STATUS.get_or_init(|| std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    match Program::new(&words).and_then(|mut program| program.run(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(io::stderr(), format!("devrun-fixture: {error}\n").as_bytes());
            ExitCode::from(64)
        }
    }
}

/// A running list of words.
struct Program {
    awaited: Receiver<Signal>,
    background: Vec<JoinHandle<Outcome>>,
}

/// The reaction to a signal.
#[derive(Clone, Copy)]
enum Reaction {
    Ignore,
    Report,
    Grace(u64),
    Await,
}

impl Program {
    fn new(words: &[String]) -> Result<Program, Box<dyn std::error::Error + Send + Sync>> {
        let mut reactions = BTreeMap::new();
        let mut depth = 0_usize;
        for word in words {
            match word.as_str() {
                "child[" => depth += 1,
                "]" => depth = depth.checked_sub(1).ok_or("unexpected ]")?,
                _ if depth > 0 => {}
                own => {
                    let (name, value, more) = parts(own.trim_start_matches('+'));
                    let reaction = match name {
                        "ignore" => Reaction::Ignore,
                        "report" => Reaction::Report,
                        "graceful" => Reaction::Grace(number(more.unwrap_or("0"))?),
                        "await" => Reaction::Await,
                        _ => continue,
                    };
                    for name in value.split(',') {
                        reactions.insert(signal(name)?, reaction);
                    }
                }
            }
        }
        let (tell, awaited) = channel();
        take_signals(reactions, tell)?;
        // A thread that starts before `take_signals` would not block the signals.
        std::thread::spawn(|| {
            std::thread::sleep(FOREVER);
            end(0)
        });
        Ok(Program { awaited, background: Vec::new() })
    }

    fn run(&mut self, words: &[String]) -> Outcome {
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if word == "child[" {
                let length = block(rest)?;
                spawn(&rest[..length])?;
                rest = &rest[length + 1..];
            } else if word == "join" {
                for thread in self.background.drain(..) {
                    thread.join().map_err(|_| "a background word failed")??;
                }
            } else if let Some(signals) = word.strip_prefix("await:") {
                let wanted = signal(signals)?;
                while self.awaited.recv()? != wanted {}
            } else if let Some(word) = word.strip_prefix('+') {
                let word = word.to_string();
                self.background.push(std::thread::spawn(move || perform(&word)));
            } else {
                perform(word)?;
            }
        }
        Ok(())
    }
}

/// Blocks the signals of `reactions` in every thread and waits for them in a separate thread, so no handler is needed.
fn take_signals(reactions: BTreeMap<Signal, Reaction>, tell: Sender<Signal>) -> nix::Result<()> {
    if reactions.is_empty() {
        return Ok(());
    }
    let set: SigSet = reactions.keys().copied().collect();
    set.thread_block()?;
    std::thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            let name = signal.as_str().trim_start_matches("SIG");
            match reactions.get(&signal) {
                Some(Reaction::Report) => say(&format!("got {name}")),
                Some(Reaction::Grace(ms)) => {
                    say(&format!("got {name}"));
                    std::thread::sleep(Duration::from_millis(*ms));
                    say("bye");
                    end(0);
                }
                Some(Reaction::Await) => {
                    let _ = tell.send(signal);
                }
                Some(Reaction::Ignore) | None => {}
            }
        }
    });
    Ok(())
}

/// Takes the whole terminal and panics.
fn full_screen_panic() -> Outcome {
    let _screen = devrun::testing::ui::FullScreen::enter()?;
    panic!("in the middle of a picture");
}

fn perform(word: &str) -> Outcome {
    let (name, value, more) = parts(word);
    match name {
        "ready" => say(&format!("ready {} {} {}", getpid(), getpgrp(), getsid(None)?)),
        "say" => say(whole(word)),
        "err" => print(io::stderr(), format!("{}\n", whole(word)).as_bytes()),
        "partial" => print(io::stdout(), whole(word).as_bytes()),
        "lines" => lines(io::stdout(), number(value)?, number(more.unwrap_or("0"))?),
        "errlines" => lines(io::stderr(), number(value)?, number(more.unwrap_or("0"))?),
        "invalid" => print(io::stdout(), b"invalid \xff\xfe\xc3( end\n"),
        "progress" => {
            for state in 1..=number(value)? {
                print(io::stdout(), format!("\rstate {state}").as_bytes());
            }
            say("\rdone");
        }
        "full-screen-panic" => return full_screen_panic(),
        "mute" => {
            let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
            nix::unistd::dup2_stdout(&null)?;
            nix::unistd::dup2_stderr(&null)?;
        }
        "env" if value.is_empty() => {
            for (name, value) in std::env::vars_os() {
                say(&format!("env {}={}", name.to_string_lossy(), value.to_string_lossy()));
            }
        }
        "env" => match std::env::var_os(value) {
            Some(found) => say(&format!("env {value}={}", found.to_string_lossy())),
            None => say(&format!("env {value} unset")),
        },
        "fds" => descriptors()?,
        "signals" => {
            let status = STATUS.get().map_or("", String::as_str);
            let shown =
                status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
            shown.for_each(say);
        }
        "cwd" => say(&format!("cwd {}", std::env::current_dir()?.display())),
        "tty" => say(if io::IsTerminal::is_terminal(&io::stdout()) { "tty yes" } else { "tty no" }),
        "stdin" => say(&format!("stdin {}", io::copy(&mut io::stdin(), &mut io::sink())?)),
        // Active from the start.
        "ignore" | "report" | "graceful" => {}
        "pidfile" => append(whole(word), &getpid().to_string(), true)?,
        "append" => {
            let (path, text) = whole(word).rsplit_once(':').ok_or("append:PATH:TEXT")?;
            append(path, text, false)?;
        }
        "touch" => drop(std::fs::File::create(whole(word))?),
        "await-file" => {
            while !Path::new(whole(word)).exists() {
                std::thread::sleep(POLL);
            }
        }
        "sleep" if value.is_empty() => std::thread::sleep(FOREVER),
        "sleep" => std::thread::sleep(Duration::from_millis(number(value)?)),
        "exit" => end(value.parse()?),
        "die" => die(signal(value)?)?,
        "watchdog" => {
            let (keeper, ours) = std::os::unix::net::UnixStream::pair()?;
            let _watchdog =
                Watchdog::start(ours, Duration::from_millis(number(value)?), SharedServers::below([]))?;
            drop(keeper);
            std::thread::sleep(FOREVER);
        }
        "setsid" => drop(setsid()?),
        "setpgid" => setpgid(Pid::from_raw(0), Pid::from_raw(0))?,
        "breed" => {
            for _ in 0..100 {
                spawn(&["sleep".to_string()])?;
                std::thread::sleep(Duration::from_millis(number(value)?));
            }
        }
        "hop" => {
            let left = more.map_or(Ok(1000), number)?;
            std::thread::sleep(Duration::from_millis(number(value)?));
            if left > 0 {
                spawn(&[format!("hop:{value}:{}", left - 1)])?;
                end(0);
            }
        }
        "listen" => serve_forever(bound(value)?),
        "listen-fd" => {
            let descriptor = std::env::var(value)?.parse()?;
            std::thread::spawn(move || serve(descriptor));
        }
        "deaf" => {
            let listener = bound(value)?;
            std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
        }
        "http" => {
            let mut answer = answer();
            answer.status = value.parse()?;
            answer.body = more.unwrap_or_default().into();
        }
        "requests" => answer().told = true,
        "hosts" => answer().hosts = true,
        _ => return Err(format!("no such word: {word}; see --help").into()),
    }
    Ok(())
}

/// Returns the name and up to two values of a word.
fn parts(word: &str) -> (&str, &str, Option<&str>) {
    let (name, rest) = word.split_once(':').unwrap_or((word, ""));
    match rest.split_once(':') {
        Some((value, more)) => (name, value, Some(more)),
        None => (name, rest, None),
    }
}

/// Returns the text after the name.
fn whole(word: &str) -> &str {
    word.split_once(':').map_or("", |(_, value)| value)
}

fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.parse()
}

fn signal(name: &str) -> nix::Result<Signal> {
    format!("SIG{name}").parse()
}

/// Returns the length of the block at the beginning of `words`, up to its `]`.
fn block(words: &[String]) -> Result<usize, &'static str> {
    let mut depth = 1_usize;
    for (index, word) in words.iter().enumerate() {
        match word.as_str() {
            "child[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(index);
        }
    }
    Err("child[ without ]")
}

/// Writes `bytes`, and ignores errors such as an output without a reader.
fn print(mut stream: impl Write, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

fn say(line: &str) {
    print(io::stdout(), format!("{line}\n").as_bytes());
}

fn lines(stream: impl Write, count: u64, width: u64) {
    let mut stream = BufWriter::with_capacity(64 << 10, stream);
    let width = usize::try_from(width).unwrap_or_default();
    for number in 1..=count {
        // Padding with dots makes a torn line visible.
        let mut line = format!("line {number} ");
        line.extend(std::iter::repeat_n('.', width.saturating_sub(line.len())));
        let _ = stream.write_all(line.trim_end().as_bytes()).and_then(|()| stream.write_all(b"\n"));
    }
    let _ = stream.flush();
}

fn append(path: &str, text: &str, replace: bool) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(!replace).write(true).truncate(replace);
    options.open(path)?.write_all(format!("{text}\n").as_bytes())
}

fn descriptors() -> io::Result<()> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        if let (Ok(number), Ok(target)) =
            (entry.file_name().to_string_lossy().parse::<u32>(), std::fs::read_link(entry.path()))
        {
            all.insert(number, target);
        }
    }
    // Leaves out the descriptor of the folder that this loop reads.
    all.retain(|_, target| !target.starts_with("/proc"));
    for (number, target) in all {
        say(&format!("fd {number} {}", target.display()));
    }
    Ok(())
}

#[expect(clippy::exit, reason = "ends from any thread")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

fn die(signal: Signal) -> Outcome {
    let set: SigSet = [signal].into_iter().collect();
    set.thread_unblock()?;
    raise(signal)?;
    Err(format!("survived {signal}").into())
}

#[expect(clippy::disallowed_methods, reason = "a fixture starts other programs without a limit on purpose")]
fn spawn(words: &[String]) -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?).args(words).env(CHILD, "1").spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}

fn answer() -> std::sync::MutexGuard<'static, Answer> {
    ANSWER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bound(port: &str) -> Result<TcpListener, Box<dyn std::error::Error + Send + Sync>> {
    let number = if port.chars().all(|c| c.is_ascii_digit()) { port.into() } else { std::env::var(port)? };
    Ok(TcpListener::bind(("127.0.0.1", number.parse()?))?)
}

fn serve_forever(listener: TcpListener) {
    std::thread::spawn(move || serve(listener.as_raw_fd()));
}

/// Serves HTTP on a raw descriptor, because an inherited one has no owner in Rust.
fn serve(listener: RawFd) {
    while let Ok(connection) = accept(listener) {
        std::thread::spawn(move || {
            let Some(head) = request(connection) else { return nix::unistd::close(connection) };
            let (reply, exit) = reply(&head);
            let mut left = reply.as_bytes();
            while let Ok(sent @ 1..) = send(connection, left, MsgFlags::MSG_NOSIGNAL) {
                left = &left[sent..];
            }
            let _ = shutdown(connection, Shutdown::Write);
            // Unread bytes would turn the end of the connection into a reset.
            while let Ok(1..) = recv(connection, &mut [0; 512], MsgFlags::empty()) {}
            if let Some(code) = exit {
                end(code);
            }
            nix::unistd::close(connection)
        });
    }
}

/// Reads the head of a request, up to its empty line.
fn request(connection: RawFd) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let count @ 1.. = recv(connection, &mut buffer, MsgFlags::empty()).ok()? else { return None };
        head.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(head).ok()
}

/// Returns the value of the `Host` header, or an empty string without one.
fn host_of(head: &str) -> String {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let host = headers.find(|(name, _)| name.eq_ignore_ascii_case("host"));
    host.map_or("", |(_, value)| value.trim()).to_string()
}

/// Returns the answer, and the code to exit with after it.
fn reply(head: &str) -> (String, Option<i32>) {
    let path = head.split(' ').nth(1).unwrap_or("/");
    let place = path.trim_start_matches('/');
    let (verb, value) = place.split_once('/').unwrap_or((place, ""));
    let mut exit = None;
    let (status, body) = match verb {
        "pid" => (200, getpid().to_string()),
        "env" => match std::env::var_os(value) {
            Some(found) => (200, found.to_string_lossy().into_owned()),
            None => (404, String::new()),
        },
        "host" => (200, host_of(head)),
        "exit" => {
            exit = value.parse().ok();
            (200, "bye".into())
        }
        _ => {
            let answer = answer();
            (answer.status, answer.body.clone())
        }
    };
    if answer().told {
        say(&format!("GET {path}"));
    }
    if answer().hosts {
        say(&format!("Host: {}", host_of(head)));
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Fixture\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    (head + &body, exit)
}
