//! The real servers on sockets that devrun holds: they restart repeatedly, and no client is refused.

use super::FRONTEND;
use crate::support::pester::pester;
use crate::support::product::{Product, edit};

/// Next.js on a socket from devrun.
const LISTENING: &str = "  frontend:
    run: node_modules/.bin/next dev --hostname $DEVRUN_HOST --port $PORT
    directory: frontend
    listen: frontend
    ready: { http: /admin/leads, host: demodev.localhost, timeout: 15s, deadline: 3m }
";

#[test]
fn uvicorn_and_next_refuse_no_client_during_restarts() {
    let product = Product::shaped(|repository| edit(&repository.join("devrun.yaml"), FRONTEND, LISTENING));
    let worktree = product.worktree("handed", "handed");
    let stack = product.up(&worktree);
    for (process, url, path, restarts, wanted) in
        [("backend", "Backend", "/healthz", 20, 1000), ("frontend", "Frontend", "/favicon.ico", 2, 50)]
    {
        let port = stack.port(url);
        let (answered, refused) = pester(port, path, wanted, || {
            for _ in 0..restarts {
                let ended = product.devrun_in(&worktree, &["restart", process]).run();
                assert_eq!(ended.code, Some(0), "{ended}");
            }
        });
        assert_eq!(refused, 0, "{process} after {answered}");
        assert!(answered >= wanted, "{process}: {answered}");
    }
    // The server that answers now is the one that started last.
    assert!(stack.page("acme").body.contains("Rosa Delgado"));
    stack.stop();
    assert_eq!(product.processes(), [], "processes are left");
}
