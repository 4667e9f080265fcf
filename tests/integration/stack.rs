//! The whole product from outside: real git, Node.js, Python, Postgres and a browser.
//!
//! One product at a time (see `support::product`), and as little as possible of it where a test needs less.

#[path = "stack/again.rs"]
mod again;
#[path = "stack/broken.rs"]
mod broken;
#[path = "stack/database.rs"]
mod database;
#[path = "stack/first_run.rs"]
mod first_run;
#[path = "stack/handed.rs"]
mod handed;
#[path = "stack/killed.rs"]
mod killed;
#[path = "stack/shapes.rs"]
mod shapes;
#[path = "stack/together.rs"]
mod together;

use std::path::Path;

use crate::support::product::edit;

const FRONTEND: &str = "  frontend:
    run: node_modules/.bin/next dev --hostname $DEVRUN_HOST --port $PORT
    directory: frontend
    port: frontend
    ready: { http: /admin/leads, host: demodev.localhost, timeout: 15s, deadline: 3m }   # the first page compiles
";
/// The same, ready before a page is compiled.
const QUICK: &str = "  frontend:
    run: pnpm dev
    directory: frontend
    port: frontend
    ready: { tcp: true }
";

/// Leaves the first page uncompiled, which is the slowest part of a start, and starts Next.js through pnpm.
fn without_first_page(repository: &Path) {
    edit(&repository.join("devrun.yaml"), FRONTEND, QUICK);
}

/// Leaves the frontend out, with its packages.
fn without_frontend(repository: &Path) {
    let config = repository.join("devrun.yaml");
    edit(&config, FRONTEND, "");
    edit(&config, "  node: { directory: . }\n", "");
    edit(&config, "urls:\n  Tenant: http://demodev.localhost:${ports.frontend}/admin/leads\n", "");
}
