//! Formats the block that is printed once, when everything is ready.

use std::fmt::Write;
use std::time::Duration;

use super::style::{Style, harmless};
use crate::plan::{Checkout, Database, DatabaseOrigin, Plan};

/// Returns worktree, branch, URLs, the origin of the database, and the time it took.
pub fn text(plan: &Plan, migrated: Option<&str>, took: Duration, style: Style) -> String {
    let path = harmless(&plan.worktree.path.to_string_lossy());
    let place = match &plan.worktree.head {
        Checkout::Branch(branch) => format!("{path} on {}", style.bold(&harmless(branch))),
        Checkout::Detached => format!("{path}, detached HEAD"),
        Checkout::None => format!("{path}, not in git"),
    };
    let mut rows = vec![("Worktree".to_string(), place)];
    rows.extend(plan.started_urls().iter().map(|(name, url)| {
        let host = plan.host_url(name).map(|host| format!("  {}", style.link(&harmless(host))));
        (harmless(name), format!("{}{}", style.link(&harmless(url)), host.unwrap_or_default()))
    }));
    rows.extend(plan.database.iter().map(|database| ("Database".into(), describe(database, migrated))));
    let width = rows.iter().map(|(name, _)| console::measure_text_width(name)).max().unwrap_or(0);
    let mut out = String::from("\n");
    for (name, value) in rows {
        let gap = " ".repeat(width - console::measure_text_width(&name));
        let _ = writeln!(out, "  {}{gap}  {value}", style.dim(&name));
    }
    let _ = write!(
        out,
        "\n  {} in {:.1} s. Ctrl-C stops everything.\n\n",
        style.good("Ready"),
        took.as_secs_f64()
    );
    out
}

fn describe(database: &Database, migrated: Option<&str>) -> String {
    let origin = match &database.origin {
        DatabaseOrigin::Existing => "already there".to_string(),
        DatabaseOrigin::Empty => "created empty".to_string(),
        DatabaseOrigin::CopyOf(parent) => format!("created from {}", harmless(parent)),
    };
    let migrated = migrated.map(|how| format!(", {how}")).unwrap_or_default();
    format!("{} ({}: {origin}{migrated})", harmless(&database.name), database.provider)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::{Environment, PlannedWorktree};

    #[test]
    fn the_block_has_place_urls_database_and_time() {
        let plan = Plan {
            project: "leadboard".into(),
            worktree: PlannedWorktree {
                path: "/w/feature-26".into(),
                head: Checkout::Branch("feature/x".into()),
                slug: "feature-26".into(),
                state: "/s".into(),
            },
            slot: 47,
            away: None,
            ports: BTreeMap::from([("backend".into(), 8147), ("frontend".into(), 3147)]),
            database: Some(Database {
                provider: "local".into(),
                name: "dev-feature-x-1a2b3c4d".into(),
                origin: DatabaseOrigin::CopyOf("dev-main".into()),
                masked_url: "postgresql://app:***@127.0.0.1:20100/x".into(),
            }),
            env: Environment::default(),
            processes: Vec::new(),
            logs: crate::plan::LogLimits::default(),
            python: Vec::new(),
            redirects: std::collections::BTreeMap::new(),
            shared_ports: std::collections::BTreeSet::new(),
            bindings: Vec::new(),
            host_urls: vec![
                ("Frontend".into(), "http://feature-26.localhost:3147".into()),
                ("Backend".into(), "http://backend.feature-26.localhost:8147".into()),
            ],
            urls: vec![
                ("Frontend".into(), "http://localhost:3147".into()),
                ("Backend".into(), "http://localhost:8147".into()),
                ("Tenant".into(), "http://demodev.localhost:3147/admin/leads".into()),
            ],
        };
        insta::assert_snapshot!(text(&plan, Some("already migrated in dev-main"), Duration::from_millis(3210), Style::PLAIN), @r"

          Worktree  /w/feature-26 on feature/x
          Frontend  http://localhost:3147  http://feature-26.localhost:3147
          Backend   http://localhost:8147  http://backend.feature-26.localhost:8147
          Tenant    http://demodev.localhost:3147/admin/leads
          Database  dev-feature-x-1a2b3c4d (local: created from dev-main, already migrated in dev-main)

          Ready in 3.2 s. Ctrl-C stops everything.
        ");
    }
}
