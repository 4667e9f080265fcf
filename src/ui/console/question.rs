//! Asks the user a question on the terminal. Every answer except yes counts as no.

use std::io::{self, IsTerminal};

use super::Console;

impl Console {
    /// Returns true if a user can be asked: standard input and standard error are terminals.
    pub fn can_ask() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks and waits for a line. The end of the input counts as no.
    pub async fn ask(&self, question: &str) -> io::Result<bool> {
        self.flush();
        self.progress_display.run_hidden(|| self.err.say(format!("{question} [y/N] ").as_bytes()))?;
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        });
        let line = read.await.map_err(io::Error::other)??;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}
