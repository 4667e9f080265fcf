//! A question that a person answers at the terminal, with no as the answer to anything but yes.

use std::io::{self, IsTerminal};

use super::Console;

impl Console {
    /// True when somebody can be asked: what is typed comes from a terminal, and what is said goes to one.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks, and waits for a line. The end of the input is a no.
    pub async fn ask(&self, question: &str) -> io::Result<bool> {
        self.flush();
        self.curtain.lift(|| self.err.say(format!("{question} [y/N] ").as_bytes()))?;
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = read.await.map_err(io::Error::other)??;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
