//! Compose files: which of their services the stack provides, and the Redis that recognition adds.

use super::{ask, down, has_redis, planned, redis_port, up};
use crate::asking::{answer, base, devrun, fine, refusal};
use crate::support::Sandbox;

const COMPOSE: &str = "services:\n  cache:\n    image: redis:7\n    ports: ['6379:6379']\n  queue:\n    image: rabbitmq:4\n    ports: ['5672:5672']\n";

#[test]
fn plan_and_status_say_what_the_stack_provides_and_what_remains() {
    if !has_redis() {
        return;
    }
    let config = format!(
        "compose: docker-compose.yml\nservices: {{ redis: {{ port: {} }} }}\nprocesses: {{ api: devrun-fixture ready sleep }}\n",
        base()
    );
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &config), ("docker-compose.yml", COMPOSE)]);
    let plan = answer(&sandbox, &main, "plan");
    let expected = serde_json::json!([
        {
            "name": "cache", "at": { "file": "docker-compose.yml", "line": 2 }, "image": "redis:7", "ports": [6379],
            "provided_by": { "process": "redis" },
        },
        {
            "name": "queue", "at": { "file": "docker-compose.yml", "line": 5 }, "image": "rabbitmq:4", "ports": [5672],
            "provided_by": null,
        },
    ]);
    assert_eq!(plan["compose"], expected, "{plan:#}");
    let text = fine(devrun(&sandbox, &main, &["plan"])).stdout;
    let port = redis_port(&sandbox, &main);
    for line in [
        format!("cache: redis of this worktree, port {port}"),
        "queue: left to your container engine, port 5672".into(),
        "docker-compose.yml:5: queue (rabbitmq:4) is left to your container engine; all worktrees share its port 5672".into(),
    ] {
        assert!(text.contains(&line), "no {line:?} in\n{text}");
    }
    up(&sandbox, &main);
    let notices = answer(&sandbox, &main, "status")["notices"].clone();
    assert!(notices.to_string().contains("rabbitmq:4"), "{notices:#}");
    down(&sandbox, &main);
}

#[test]
fn missing_compose_file_is_an_error_with_its_place() {
    let sandbox = super::world("compose: other.yml\nprocesses: { api: devrun-fixture sleep }\n");
    let error = refusal(sandbox.devrun(&["plan", "--json"]), "config-invalid", 80);
    assert_eq!(error["message"], "devrun.yaml:1:10: compose: there is no file `other.yml`");
}

#[test]
fn recognised_redis_is_a_service_that_keeps_its_data() {
    if !has_redis() {
        return;
    }
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[
        ("docker-compose.yml", COMPOSE),
        ("requirements.txt", "fastapi\nredis\n"),
        (
            "main.py",
            "import os\nfrom fastapi import FastAPI\napp = FastAPI()\nurl = os.environ['REDIS_URL']\n",
        ),
        (".env.example", "REDIS_URL=redis://cache:6379/2\n"),
    ]);
    let written = fine(devrun(&sandbox, &main, &["init", "--print"])).stdout;
    assert!(
        written.contains("services:\n  redis: { data: keep, env: {} }  # docker-compose.yml:2\n"),
        "{written}"
    );
    let plan = answer(&sandbox, &main, "plan");
    let redis = planned(&plan, "redis");
    assert_eq!((&redis["service"]["data"], &redis["needs"]), (&"keep".into(), &serde_json::json!([])));
    assert_eq!(plan["env"]["REDIS_URL"], format!("redis://localhost:{}/2", plan["ports"]["redis"]));
    assert_eq!(planned(&plan, "backend")["depends_on"], serde_json::json!({ "redis": "ready" }));
    // The Redis alone, because the backend needs packages from a registry.
    let config = format!("recognise: false\n{}", super::config(", data: keep, env: {}"));
    sandbox.write(&main.join("devrun.yaml"), &config);
    up(&sandbox, &main);
    assert_eq!(ask(redis_port(&sandbox, &main), "PING"), "+PONG");
    down(&sandbox, &main);
}
