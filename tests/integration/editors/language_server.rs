//! Runs the YAML language server of editors, and speaks its protocol over standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::asking::skip;
use crate::support::product::{entries, find, project};
use crate::support::{LIMIT, Sandbox};

/// A language server. Dropping it kills the server.
pub(super) struct LanguageServer {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    opened: u32,
}

/// Returns the program that `scripts/tools --tests` installed.
fn program() -> Option<PathBuf> {
    let installed = entries(&project().join(".tools"))
        .map(|folder| folder.join("node_modules/yaml-language-server/bin/yaml-language-server"));
    installed.into_iter().find(|program| program.is_file())
}

impl LanguageServer {
    /// Starts the server. Returns `None` and reports a skipped test if it is not installed.
    #[expect(clippy::disallowed_methods, reason = "a test speaks with the server through its pipes")]
    pub(super) fn start(sandbox: &Sandbox) -> Option<LanguageServer> {
        let (Some(node), Some(program)) = (find("node"), program()) else {
            skip("there is no yaml-language-server: run scripts/tools --tests");
            return None;
        };
        let mut child = Command::new(node)
            .arg(program)
            .arg("--stdio")
            .current_dir(sandbox.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = read(&mut output) {
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut server = LanguageServer { child, input, messages, opened: 0 };
        let root = format!("file://{}", sandbox.path().display());
        let capabilities = json!({ "textDocument": { "publishDiagnostics": {} } });
        let settings = json!({ "yaml": { "schemaStore": { "enable": false }, "validate": true } });
        server.send(&json!({ "id": 1, "method": "initialize", "params": {
            "processId": null, "rootUri": root, "capabilities": capabilities } }));
        server.wait_for(|message| message["id"] == 1);
        server.send(&json!({ "method": "initialized", "params": {} }));
        server.send(
            &json!({ "method": "workspace/didChangeConfiguration", "params": { "settings": settings } }),
        );
        Some(server)
    }

    /// Opens a file with this text, and returns the messages of the problems that the server reports in it.
    pub(super) fn problems(&mut self, text: &str) -> Vec<String> {
        self.opened += 1;
        let uri = format!("file:///nowhere/{}/devrun.yaml", self.opened);
        self.send(&json!({ "method": "textDocument/didOpen", "params": { "textDocument": {
            "uri": uri, "languageId": "yaml", "version": 1, "text": text } } }));
        let answer = self.wait_for(|message| {
            message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == uri
        });
        let problems = answer["params"]["diagnostics"].as_array().unwrap();
        problems.iter().map(|problem| problem["message"].as_str().unwrap().to_string()).collect()
    }

    fn send(&mut self, message: &Value) {
        let mut message = message.clone();
        message["jsonrpc"] = json!("2.0");
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.input.flush().unwrap();
    }

    /// Returns the first message that `is_it` accepts. Answers the requests of the server until then.
    fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.messages.recv_timeout(LIMIT).expect("the language server answers");
            if is_it(&message) {
                return message;
            }
            if let (Some(id), Some(_)) = (message.get("id"), message.get("method")) {
                let items = message["params"]["items"].as_array().map_or(0, Vec::len);
                let empty: Value = if items == 0 { Value::Null } else { vec![Value::Null; items].into() };
                self.send(&json!({ "id": id, "result": empty }));
            }
        }
    }
}

impl Drop for LanguageServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a message: a header with its length, a blank line, JSON.
fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
