//! Finds the part of a server's output that is about its present code. Pure.

use super::diagnosis;

/// Texts that reloaders write when they restart a server or send changed modules to the page: uvicorn, Flask, Node, nodemon and
/// Vite. Errors before the last of them are about code that has changed. Lines about one page or one worker process are no such
/// sign, such as `Compiled /admin` of Next.js and `Started server process` of uvicorn: an error of another page or worker still counts.
const RELOADS: [&str; 6] = [
    "Reloading...",
    " * Restarting with",
    "Restarting '",
    "restarting due to changes",
    "page reload",
    "hmr update",
];

/// Texts with which a reloader or a server says that the server has ended, after which only an edit starts it again: Python's
/// `multiprocessing` as uvicorn uses it, uvicorn, Node, nodemon.
const ENDED: [&str; 5] = [
    "Process SpawnProcess-",
    "Application startup failed. Exiting.",
    "Error loading ASGI app.",
    "Failed running '",
    "app crashed - waiting for file changes",
];

/// Returns true if `text`, the output since the last reload, says that the server has ended and the reloader waits for an edit.
pub fn waits_for_edit(text: &str) -> bool {
    ENDED.iter().any(|sign| text.contains(sign))
}

/// Returns the lines of `text` after the last one that reports a reload; all of them if none does. A line with an error never
/// reports one.
pub fn since(text: &str) -> &str {
    let mut rest = text;
    let mut since = text;
    while let Some((line, after)) = rest.split_once('\n') {
        if is_reload(line) {
            since = after;
        }
        rest = after;
    }
    since
}

/// Returns true for a line that reports a reload.
pub fn is_reload(line: &str) -> bool {
    RELOADS.iter().any(|sign| line.contains(sign)) && !reports_error(line)
}

/// Returns true for a line with an error message, also one that a logger has put a level in front of.
fn reports_error(line: &str) -> bool {
    let is_level = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        ["error", "exception", "fatal", "critical", "failed"].contains(&word.as_str())
    };
    diagnosis::is_error(line) || line.split_whitespace().any(is_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_before_a_reload_are_old() {
        assert_eq!(since("SyntaxError: x\n"), "SyntaxError: x\n");
        let reload = "WARNING:  WatchFiles detected changes in 'app/main.py'. Reloading...\n";
        assert_eq!(since(&format!("SyntaxError: x\n{reload}")), "");
        let again = format!("SyntaxError: x\n{reload}  File \"app/main.py\", line 3\nNameError: y\n");
        assert_eq!(since(&again), "  File \"app/main.py\", line 3\nNameError: y\n");
        for reload in [
            " * Restarting with stat\n",
            "Restarting 'server.js'\n",
            "[nodemon] restarting due to changes...\n",
            "10:02:03 AM [vite] (client) hmr update /src/App.tsx\n",
        ] {
            assert_eq!(since(&format!("Error: x\n{reload}")), "", "{reload}");
        }
    }

    #[test]
    fn errors_before_a_line_about_one_page_or_worker_are_not_old() {
        for line in
            [" ○ Compiling /admin ...", " ✓ Compiled /admin in 1.2s", "INFO:     Started server process [7]"]
        {
            let text = format!("Error: x\n{line}\n");
            assert_eq!(since(&text), text);
        }
    }

    #[test]
    fn a_server_that_ended_below_its_reloader_waits_for_an_edit() {
        let dead = "Process SpawnProcess-3:\nTraceback (most recent call last):\nOSError: refused\n";
        assert!(waits_for_edit(dead));
        assert!(!waits_for_edit("Error: connect ECONNREFUSED 127.0.0.1:6379\n"), "the server may try again");
    }

    #[test]
    fn a_line_with_an_error_is_no_reload() {
        for line in [
            "RuntimeError: Reloading... did not end",
            "ERROR:    page reload of /admin: no template",
            "[vite] Internal server error: hmr update failed",
            "2026-01-02 10:00:00 ERROR app Reloading... was refused",
        ] {
            let text = format!("{line}\n  at /w/x.js:1\n");
            assert_eq!(since(&text), text, "{line}");
        }
    }
}
