//! Probes whether a process is ready. One probe runs at a time; each attempt has a time limit, and all together have a
//! deadline.
//!
//! Connects to the loopback addresses and never to a name: not every system resolves `*.localhost`, and another
//! worktree must not answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::os::cmd::Cmd;
use crate::plan::{Accepted, Environment, Probe, Process, Readiness, RunCommand};

/// The minimum interval between probes of a process that was ready before. The user is probably fixing it, and servers
/// log each probe.
const LEISURE: Duration = Duration::from_secs(1);
/// The interval between probes that check whether a process is still ready.
const RECHECK: Duration = Duration::from_millis(300);

/// Probes until the process is ready. Passes each new answer to `tell`. Errors with the last answer at the deadline. A
/// [`Probe::Log`] never succeeds here, because the output thread matches the lines.
pub async fn wait(
    process: &Process,
    readiness: &Readiness,
    env: &Environment,
    tell: impl FnMut(&str),
) -> Result<(), String> {
    if let Probe::Log(pattern) = &readiness.probe {
        tokio::time::sleep(readiness.deadline).await;
        return Err(format!("no line of its output matched `{pattern}`"));
    }
    until_deadline(readiness, async || attempt(process, &readiness.probe, env).await, tell).await
}

/// Repeats `attempt` until it succeeds, with the pauses and the limits of `readiness`.
async fn until_deadline(
    readiness: &Readiness,
    attempt: impl AsyncFn() -> Result<(), String>,
    mut tell: impl FnMut(&str),
) -> Result<(), String> {
    let start = Instant::now();
    let mut last = "no answer yet".to_string();
    let mut pause = Duration::from_millis(10);
    loop {
        let left = readiness.deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(readiness.timeout.min(left), attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(answer)) => take(&mut last, answer, &mut tell),
            // An attempt that the deadline cut short says less than the previous answer.
            Err(_) if left < readiness.timeout => {}
            Err(_) => take(&mut last, format!("no answer within {:?}", readiness.timeout), &mut tell),
        }
        if start.elapsed() + pause >= readiness.deadline {
            return Err(last);
        }
        // Probe often at first, because a fast server answers soon; then at the configured interval.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(readiness.interval);
    }
}

/// Checks whether a process that was ready still is. It may be restarting itself, so a failed probe is repeated until
/// the time limit of one probe has passed. Errors with the last answer.
pub async fn recheck(process: &Process, readiness: &Readiness, env: &Environment) -> Result<(), String> {
    within_one_probe(readiness, async || once(process, readiness, env).await).await
}

/// Repeats `probe` until it succeeds or the time limit of one probe has passed.
async fn within_one_probe(
    readiness: &Readiness,
    probe: impl AsyncFn() -> Result<(), String>,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match probe().await {
            Err(_) if start.elapsed() + RECHECK < readiness.timeout => tokio::time::sleep(RECHECK).await,
            answer => return answer,
        }
    }
}

async fn once(process: &Process, readiness: &Readiness, env: &Environment) -> Result<(), String> {
    probe_once(process, readiness, env, readiness.timeout)
        .await
        .unwrap_or_else(|| Err(format!("no answer within {:?}", readiness.timeout)))
}

/// Probes once, with the time limit of one attempt and `limit` at most. Returns `None` if there is no answer in that
/// time. A [`Probe::Log`] always passes, because an old line says nothing about the present.
pub async fn probe_once(
    process: &Process,
    readiness: &Readiness,
    env: &Environment,
    limit: Duration,
) -> Option<Result<(), String>> {
    if matches!(readiness.probe, Probe::Log(_)) {
        return Some(Ok(()));
    }
    let limit = limit.min(readiness.timeout);
    tokio::time::timeout(limit, attempt(process, &readiness.probe, env)).await.ok()
}

/// Probes slowly until the process is ready.
pub async fn until_ready(process: &Process, readiness: &Readiness, env: &Environment) {
    slowly(readiness, async || once(process, readiness, env).await).await;
}

/// Repeats `probe` until it succeeds, with pauses of at least [`LEISURE`].
async fn slowly(readiness: &Readiness, probe: impl AsyncFn() -> Result<(), String>) {
    while probe().await.is_err() {
        tokio::time::sleep(readiness.interval.max(LEISURE)).await;
    }
}

fn take(last: &mut String, answer: String, tell: &mut impl FnMut(&str)) {
    if *last != answer {
        tell(&answer);
        *last = answer;
    }
}

async fn attempt(process: &Process, probe: &Probe, env: &Environment) -> Result<(), String> {
    match probe {
        Probe::Tcp { port } => connect(*port).await.map(drop),
        Probe::Http { path, host, status, port } => http(*port, path, host.as_deref(), *status).await,
        Probe::Exec(run) => exec(process, run, env).await,
        Probe::Log(_) => std::future::pending().await,
    }
}

async fn connect(port: u16) -> Result<tokio::net::TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match tokio::net::TcpStream::connect(address).await {
        Ok(stream) => Ok(stream),
        // Some servers listen only on IPv6.
        Err(error) => {
            let other = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
            tokio::net::TcpStream::connect(other).await.map_err(|_| format!("port {port}: {error}"))
        }
    }
}

async fn http(port: u16, path: &str, host: Option<&str>, wanted: Accepted) -> Result<(), String> {
    let stream = connect(port).await?;
    let broken = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let host = host_header(host, port);
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, host)
        .header(hyper::header::USER_AGENT, "devrun")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    // Runs concurrently with the request: the connection may end at the moment the answer arrives, or stay open while
    // the page is still sent.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn_local(async { drop(connection.await) });
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    if wanted.takes(status.as_u16()) { Ok(()) } else { Err(format!("GET {path} answered {status}")) }
}

/// Returns the `Host` header, with `port` unless `host` contains one.
fn host_header(host: Option<&str>, port: u16) -> String {
    match host {
        Some(host) if host.contains(':') => host.to_string(),
        Some(host) => format!("{host}:{port}"),
        None => format!("localhost:{port}"),
    }
}

async fn exec(process: &Process, run: &RunCommand, env: &Environment) -> Result<(), String> {
    let mut command = Cmd::of(run).directory(&process.directory).only_env(&env.vars);
    for (name, value) in &process.env {
        command = command.env(name, value);
    }
    command.ok().await.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn a_status_below_500_is_any_answer_and_2xx_and_3xx_are_success() {
        let taken = |accepted: Accepted| [200, 307, 404, 500].map(|status| accepted.takes(status));
        assert_eq!(taken(Accepted::Success), [true, true, false, false]);
        assert_eq!(taken(Accepted::Any), [true, true, true, false]);
        assert_eq!(taken(Accepted::Only(404)), [false, false, true, false]);
    }

    #[test]
    fn host_header_gets_the_port_unless_it_has_one() {
        assert_eq!(host_header(None, 3147), "localhost:3147");
        assert_eq!(host_header(Some("demodev.localhost"), 3147), "demodev.localhost:3147");
        assert_eq!(host_header(Some("demodev.localhost:80"), 3147), "demodev.localhost:80");
    }

    fn readiness(interval: u64, timeout: u64, deadline: u64) -> Readiness {
        let [interval, timeout, deadline] = [interval, timeout, deadline].map(Duration::from_millis);
        Readiness { probe: Probe::Tcp { port: 1 }, interval, timeout, deadline }
    }

    /// Answers each attempt with the next of `answers`, `None` with silence, and records when it was made, in milliseconds.
    struct Server {
        answers: RefCell<VecDeque<Option<Result<(), &'static str>>>>,
        start: Instant,
        times: RefCell<Vec<u128>>,
    }

    impl Server {
        fn new(answers: &[Option<Result<(), &'static str>>]) -> Server {
            let answers = RefCell::new(answers.iter().copied().collect());
            Server { answers, start: Instant::now(), times: RefCell::default() }
        }

        /// Answers with a refusal when no answer is left.
        async fn answer(&self) -> Result<(), String> {
            self.times.borrow_mut().push(self.start.elapsed().as_millis());
            let next = self.answers.borrow_mut().pop_front();
            match next.unwrap_or(Some(Err("refused"))) {
                Some(answer) => answer.map_err(Into::into),
                None => std::future::pending().await,
            }
        }

        async fn until_deadline(&self, readiness: &Readiness) -> (Result<(), String>, Vec<String>) {
            let told = RefCell::default();
            let tell = |answer: &str| RefCell::<Vec<String>>::borrow_mut(&told).push(answer.into());
            let result = until_deadline(readiness, async || self.answer().await, tell).await;
            (result, told.into_inner())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn probes_are_frequent_at_first_and_then_at_the_interval() {
        let server = Server::new(&[Some(Err("refused")); 6]);
        server.answers.borrow_mut().push_back(Some(Ok(())));
        let (result, told) = server.until_deadline(&readiness(100, 1000, 60_000)).await;
        assert_eq!((result, told), (Ok(()), vec!["refused".to_string()]));
        assert_eq!(*server.times.borrow(), [0, 10, 30, 70, 150, 250, 350]);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_the_last_whole_answer_counts() {
        let server = Server::new(&[Some(Err("refused")), Some(Err("500")), None]);
        let (result, told) = server.until_deadline(&readiness(20, 1000, 60)).await;
        assert_eq!((result, told), (Err("500".into()), vec!["refused".into(), "500".into()]));
        assert_eq!(server.start.elapsed(), Duration::from_millis(60));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_an_answer_ends_at_its_own_limit() {
        let server = Server::new(&[None, Some(Ok(()))]);
        let (result, told) = server.until_deadline(&readiness(100, 50, 1000)).await;
        assert_eq!((result, told), (Ok(()), vec!["no answer within 50ms".to_string()]));
        assert_eq!(*server.times.borrow(), [0, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_recheck_is_repeated_for_the_time_of_one_probe() {
        let server = Server::new(&[]);
        let result = within_one_probe(&readiness(100, 1000, 9000), async || server.answer().await).await;
        assert_eq!(result, Err("refused".into()));
        assert_eq!(*server.times.borrow(), [0, 300, 600, 900]);
        let restarted = Server::new(&[Some(Err("refused")), Some(Ok(()))]);
        let result = within_one_probe(&readiness(100, 1000, 9000), async || restarted.answer().await).await;
        assert_eq!((result, restarted.times.borrow().len()), (Ok(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_no_longer_ready_is_probed_slowly() {
        let refused = Some(Err("refused"));
        for (interval, times) in [(100, [0, 1000, 2000]), (5000, [0, 5000, 10_000])] {
            let server = Server::new(&[refused, refused, Some(Ok(()))]);
            slowly(&readiness(interval, 50, 50), async || server.answer().await).await;
            assert_eq!(*server.times.borrow(), times);
        }
    }
}
