//! `devrun mcp`: the messages of an agent's client over pipes.

use std::io::{PipeWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::asking::{answer, base, server};
use crate::support::{Running, Sandbox};

/// A running server and its client.
struct Talk {
    running: Running,
    to: PipeWriter,
    asked: u32,
}

impl Talk {
    #[track_caller]
    fn begin(sandbox: &Sandbox, folder: &Path) -> Talk {
        let (reader, to) = std::io::pipe().unwrap();
        let running =
            sandbox.devrun(&["mcp"]).directory(folder).with(|command| command.stdin(reader)).start();
        let mut talk = Talk { running, to, asked: 0 };
        let client = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } });
        let hello = talk.ask("initialize", &client);
        assert_eq!(hello["result"]["serverInfo"]["name"], "devrun", "{hello:#}");
        assert_eq!(hello["result"]["protocolVersion"], "2025-06-18", "{hello:#}");
        assert!(hello["result"]["instructions"].as_str().unwrap().contains("`why`"), "{hello:#}");
        talk.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        talk
    }

    fn say(&mut self, message: &Value) {
        self.to.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let line = self.running.expect_line(&format!(r#""id":{id}[,}}]"#));
        serde_json::from_str(&line).unwrap()
    }

    /// Calls a tool. Returns its answer, and whether that is an error.
    #[track_caller]
    fn call(&mut self, name: &str, arguments: &Value) -> (Value, bool) {
        let reply = self.ask("tools/call", &json!({ "name": name, "arguments": arguments }));
        let result = &reply["result"];
        let value = result["structuredContent"].clone();
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{reply:#}"));
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), value);
        (value, result["isError"].as_bool().unwrap_or_default())
    }

    #[track_caller]
    fn fine(&mut self, name: &str, arguments: &Value) -> Value {
        let (value, failed) = self.call(name, arguments);
        assert!(!failed, "{name} {arguments}: {value:#}");
        value
    }
}

#[test]
fn agent_starts_inspects_and_stops_a_stack() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let mut talk = Talk::begin(&sandbox, &main);
    let list = talk.ask("tools/list", &json!({}));
    let tools = list["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["up", "down", "status", "logs", "restart", "why"]);

    assert_eq!(talk.fine("status", &json!({}))["state"], "stopped");
    let up = talk.fine("up", &json!({}));
    assert_eq!((&up["state"], &up), (&json!("ready"), &answer(&sandbox, &main, "status")));
    assert_eq!(
        talk.fine("why", &json!({}))["summary"],
        "all is well: 1 of 1 process ready, no unresolved error since the last start or reload"
    );
    let logs = talk.fine("logs", &json!({ "process": "web", "lines": 5 }));
    assert!(logs["lines"].as_array().unwrap().len() <= 5 && logs.to_string().contains("serving"), "{logs:#}");
    let again = talk.fine("restart", &json!({ "process": "web" }));
    assert_ne!(again["processes"][0]["pid"], up["processes"][0]["pid"]);

    // Errors are the same as on the command line.
    let (unknown, failed) = talk.call("why", &json!({ "process": "nobody" }));
    assert!(
        failed && unknown["error"]["code"] == "process-unknown" && unknown["error"]["exit"] == 2,
        "{unknown:#}"
    );
    let (nowhere, failed) = talk.call("status", &json!({ "directory": "/nowhere" }));
    assert!(failed && nowhere["error"]["fault"] == "environment", "{nowhere:#}");
    for (tool, arguments) in [("exec", json!({ "command": "ls" })), ("up", json!({ "environment": {} }))] {
        let refused = talk.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        assert_eq!(refused["error"]["code"], -32602, "{refused:#}");
    }

    assert_eq!(talk.fine("down", &json!({}))["stopped"], true);
    drop(talk.to);
    let ended = talk.running.wait();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended}");
}

#[test]
fn stack_of_another_worktree_outlives_the_conversation() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "other");
    let mut talk = Talk::begin(&sandbox, &main);
    let up = talk.fine("up", &json!({ "directory": other }));
    assert_eq!((&up["branch"], &up["state"]), (&json!("other"), &json!("ready")));
    assert_eq!(talk.fine("status", &json!({}))["state"], "stopped");
    let third = sandbox.worktree("third", "third");
    let (refused, _) = talk.call("restart", &json!({ "directory": third }));
    assert_eq!(refused["error"]["fix"], format!("devrun -C {} up -d", third.display()), "{refused:#}");
    drop(talk.to);
    assert_eq!(talk.running.wait().code, Some(0));
    assert_eq!(answer(&sandbox, &other, "status"), up);
    let ended = sandbox.devrun(&["down"]).directory(other).run();
    assert_eq!(ended.code, Some(0), "{ended}");
}
