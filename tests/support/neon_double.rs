//! Runs the double of Neon alone, for manual tests and benchmarks: `cargo run --example neon-double`.
//!
//! Prints the variables for the environment or an env file, then a line for each request: milliseconds since its start, method,
//! path, status. `--delay MS` delays every answer. Ctrl-C stops the double and removes its databases.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of the tests: every failure ends it")]
#![expect(dead_code, reason = "the tests use the rest")]

mod neon;

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let delay = match words.as_slice() {
        [] => 0,
        [option, delay] if option == "--delay" => delay.parse().unwrap(),
        _ => panic!("takes --delay MILLISECONDS, or nothing"),
    };
    let Some(double) = neon::Neon::start() else { panic!("there is no Postgres on this machine") };
    let start = Instant::now();
    double.state().delay = Duration::from_millis(delay);
    println!(
        "NEON_API_HOST={}\nNEON_API_KEY={}\nNEON_PROJECT_ID={}",
        double.host(),
        neon::KEY,
        neon::PROJECT
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut interrupted, mut ended) =
            (signal(SignalKind::interrupt()).unwrap(), signal(SignalKind::terminate()).unwrap());
        loop {
            for call in double.take_calls() {
                let at = call.at.duration_since(start).as_millis();
                let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
                println!("{at} {} {}{query} {}", call.method, call.path, call.status);
            }
            std::io::stdout().flush().unwrap();
            tokio::select! {
                _ = interrupted.recv() => break,
                _ = ended.recv() => break,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    });
}
