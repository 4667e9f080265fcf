//! Is a process ready? One probe at a time, each attempt bounded, the whole bounded by a deadline.
//!
//! Asks 127.0.0.1 and never a name: `*.localhost` is not resolved everywhere, and another worktree must not answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use crate::os::cmd::Cmd;
use crate::plan::{Environment, Probe, Process, Readiness, Run};

/// Time between two probes of a process that was ready: a person is mending it, and servers log each probe.
const LEISURE: Duration = Duration::from_secs(1);
/// Time between the probes that find out whether it still is ready.
const RECHECK: Duration = Duration::from_millis(300);

/// Probes until ready, and tells each answer that differs from the one before; the last answer when the deadline passes
/// first. A [`Probe::Log`] never resolves here: the output thread sees the lines.
pub async fn wait(
    process: &Process,
    readiness: &Readiness,
    env: &Environment,
    mut tell: impl FnMut(&str),
) -> Result<(), String> {
    let start = Instant::now();
    let mut last = "no answer yet".to_string();
    let mut pause = Duration::from_millis(10);
    loop {
        let left = readiness.deadline.saturating_sub(start.elapsed());
        if let Probe::Log(pattern) = &readiness.probe {
            tokio::time::sleep(left).await;
            return Err(format!("no line of its output matched `{pattern}`"));
        }
        let attempt =
            tokio::time::timeout(readiness.timeout.min(left), attempt(process, &readiness.probe, env)).await;
        match attempt {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(answer)) => take(&mut last, answer, &mut tell),
            // Cut short by the deadline, it says less than the answer before.
            Err(_) if left < readiness.timeout => {}
            Err(_) => take(&mut last, format!("no answer within {:?}", readiness.timeout), &mut tell),
        }
        if start.elapsed() + pause >= readiness.deadline {
            return Err(last);
        }
        // Quick at first, when a server that starts fast is about to answer; then as configured.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(readiness.interval);
    }
}

/// Whether one that was ready still is: it may just be starting again by itself, so several probes, as long as one may take.
pub async fn recheck(process: &Process, readiness: &Readiness, env: &Environment) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match once(process, readiness, env).await {
            Err(_) if start.elapsed() + RECHECK < readiness.timeout => tokio::time::sleep(RECHECK).await,
            answer => return answer,
        }
    }
}

async fn once(process: &Process, readiness: &Readiness, env: &Environment) -> Result<(), String> {
    match tokio::time::timeout(readiness.timeout, attempt(process, &readiness.probe, env)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {:?}", readiness.timeout)),
    }
}

/// Probes, at leisure, until ready.
pub async fn until_ready(process: &Process, readiness: &Readiness, env: &Environment) {
    while once(process, readiness, env).await.is_err() {
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
        // Some servers bind the other family only.
        Err(error) => {
            let other = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
            tokio::net::TcpStream::connect(other).await.map_err(|_| format!("port {port}: {error}"))
        }
    }
}

async fn http(port: u16, path: &str, host: Option<&str>, wanted: Option<u16>) -> Result<(), String> {
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
    // Driven beside us: it may end in the instant the answer arrives, or stay open while a page streams on.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn_local(async { drop(connection.await) });
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let good =
        wanted.map_or(status.is_success() || status.is_redirection(), |wanted| status.as_u16() == wanted);
    if good { Ok(()) } else { Err(format!("GET {path} answered {status}")) }
}

/// The `Host` header: with our port, unless it names one.
fn host_header(host: Option<&str>, port: u16) -> String {
    match host {
        Some(host) if host.contains(':') => host.to_string(),
        Some(host) => format!("{host}:{port}"),
        None => format!("localhost:{port}"),
    }
}

async fn exec(process: &Process, run: &Run, env: &Environment) -> Result<(), String> {
    let command = match run {
        Run::Shell(line) => Cmd::shell(line),
        Run::Argv(words) => Cmd::new(&words[0]).args(&words[1..]),
    };
    let mut command = command.directory(&process.directory).only_env(&env.vars);
    for (name, value) in &process.env {
        command = command.env(name, value);
    }
    command.ok().await.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_gets_our_port() {
        assert_eq!(host_header(None, 3147), "localhost:3147");
        assert_eq!(host_header(Some("demodev.localhost"), 3147), "demodev.localhost:3147");
        assert_eq!(host_header(Some("demodev.localhost:80"), 3147), "demodev.localhost:80");
    }
}
