//! Measures the time of the framer for a line, without pipes, prefixes and files: `cargo bench --bench framer`.

#![expect(clippy::print_stdout, reason = "what is measured is to be seen")]

use std::hint::black_box;
use std::time::Instant;

use devrun::testing::supervisor::output::Framer;

const ROUNDS: u32 = 4000;
/// Number of 100-byte lines in one read of a full pipe.
const LINES: u32 = 655;

fn main() {
    let read = [vec![b'x'; 99], b"\n".to_vec()].concat().repeat(LINES as usize);
    for (what, bytes) in [("whole lines", &read[..]), ("one cut by each read", &read[..read.len() - 50])] {
        let mut framer = Framer::default();
        let began = Instant::now();
        for _ in 0..ROUNDS {
            framer.push(black_box(bytes), |chunk, _| {
                black_box(chunk);
            });
        }
        let nanos = began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS) / f64::from(LINES);
        println!("  {what:>20}: {nanos:.2} ns for each line of 100 bytes");
    }
}
