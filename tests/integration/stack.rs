//! The whole product as a user sees it: real git, Node.js, Python, Postgres and a browser.
//!
//! Only one product runs at a time (see `support::product`), and each test uses as little of it as possible.

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
#[path = "stack/pages.rs"]
mod pages;
#[path = "stack/shapes.rs"]
mod shapes;
#[path = "stack/together.rs"]
mod together;
#[path = "stack/written_to.rs"]
mod written_to;

use std::path::Path;

use crate::support::product::edit;

const FRONTEND: &str = "  frontend:
    run: node_modules/.bin/next dev --hostname $DEVRUN_HOST --port $PORT
    directory: frontend
    port: frontend
    ready: { http: /admin/leads, host: demodev.localhost, timeout: 15s, deadline: 3m }   # the first page compiles
";
/// The same frontend, which is ready before it compiles a page.
const QUICK: &str = "  frontend:
    run: pnpm dev
    directory: frontend
    port: frontend
    ready: { tcp: true }
";

/// Starts Next.js through pnpm without compiling the first page, which is the slowest part of a start.
fn without_first_page(repository: &Path) {
    edit(&repository.join("devrun.yaml"), FRONTEND, QUICK);
}

/// Removes the frontend and its packages.
fn without_frontend(repository: &Path) {
    let config = repository.join("devrun.yaml");
    edit(&config, FRONTEND, "");
    edit(&config, "  node: { directory: . }\n", "");
    edit(&config, "urls:\n  Tenant: http://demodev.localhost:${ports.frontend}/admin/leads\n", "");
}
