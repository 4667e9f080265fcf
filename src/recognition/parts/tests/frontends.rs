//! Cases for finding frontends, and for giving each server its port.

use super::*;

fn package(script: &str, packages: &str) -> String {
    format!(
        r#"{{ "scripts": {{ "dev": {} }}, "devDependencies": {{ {packages} }} }}"#,
        serde_json::json!(script)
    )
}

fn run(script: &str, packages: &str) -> String {
    Repo::new(&[("web/package.json", &package(script, packages))]).part("frontend").run
}

#[test]
fn every_known_server_is_started_on_its_port_with_the_repository_s_own_words() {
    for (script, wanted) in [
        ("next dev --turbopack -p 3001", "next dev --turbopack --hostname $DEVRUN_HOST --port $PORT"),
        ("next", "next dev --hostname $DEVRUN_HOST --port $PORT"),
        ("vite", "vite --port $PORT --strictPort --host $DEVRUN_HOST"),
        ("vite dev --port=3000 --host", "vite dev --port $PORT --strictPort --host $DEVRUN_HOST"),
        ("nuxt dev", "nuxt dev --port $PORT --host $DEVRUN_HOST"),
        ("astro dev", "astro dev --port $PORT --host $DEVRUN_HOST"),
        ("remix vite:dev", "remix vite:dev --port $PORT --host $DEVRUN_HOST"),
        ("react-router dev", "react-router dev --port $PORT --host $DEVRUN_HOST"),
        ("ng serve --open", "NG_CLI_ANALYTICS=false ng serve --port $PORT --host $DEVRUN_HOST"),
        ("expo start --web", "expo start --web --port $PORT"),
        ("react-scripts start", "BROWSER=none HOST=$DEVRUN_HOST react-scripts start"),
        (
            "NODE_ENV=x cross-env A=b next dev",
            "NODE_ENV=x cross-env A=b next dev --hostname $DEVRUN_HOST --port $PORT",
        ),
        ("dotenv -e ../.env -- next dev", "next dev --hostname $DEVRUN_HOST --port $PORT"),
        ("prisma generate && next dev", "prisma generate && next dev --hostname $DEVRUN_HOST --port $PORT"),
        ("docker compose up -d && vite", "vite --port $PORT --strictPort --host $DEVRUN_HOST"),
        ("concurrently \"tsc -w\" \"vite\"", "vite --port $PORT --strictPort --host $DEVRUN_HOST"),
    ] {
        assert_eq!(run(script, ""), wanted, "{script}");
    }
}

#[test]
fn a_script_that_starts_another_script_is_followed() {
    let json = r#"{ "scripts": { "dev": "npm run start:web", "start:web": "vite --port 4000" } }"#;
    let part = Repo::new(&[("package.json", json)]).part("frontend");
    assert_eq!(part.run, "vite --port $PORT --strictPort --host $DEVRUN_HOST");
    assert_eq!(part.usual_ports, [4000]);
    let circle = r#"{ "scripts": { "dev": "npm run start", "start": "npm run dev" } }"#;
    assert!(Repo::new(&[("package.json", circle)]).parts().processes.is_empty());
}

#[test]
fn scripts_that_build_or_test_are_not_frontends() {
    for script in [
        "vite build --watch",
        "vite preview",
        "vitest",
        "next build",
        "tsc -w",
        "turbo run dev",
        "cd web && vite",
    ] {
        let json = package(script, "");
        let repo = Repo::new(&[("package.json", &json)]);
        assert!(repo.parts().processes.is_empty(), "{script}");
    }
}

#[test]
fn next_without_a_known_script_is_started_by_its_own_server_or_as_usual() {
    let next = r#""next": "16""#;
    assert_eq!(run("turbo dev", next), "next dev --hostname $DEVRUN_HOST --port $PORT");
    assert_eq!(run("node server.js", next), "node server.js");
    let bare = r#"{ "dependencies": { "next": "16" } }"#;
    assert_eq!(
        Repo::new(&[("frontend/package.json", bare)]).part("frontend").run,
        "next dev --hostname $DEVRUN_HOST --port $PORT"
    );
}

#[test]
fn library_that_depends_on_next_is_no_frontend() {
    let library = r#"{ "name": "ui", "dependencies": { "next": "16" } }"#;
    let repo = Repo::new(&[
        ("package.json", r#"{ "workspaces": ["apps/*", "packages/*"] }"#),
        ("package-lock.json", "{}"),
        ("apps/web/package.json", &package("next dev", r#""next": "16", "ui": "1""#)),
        ("packages/ui/package.json", library),
    ]);
    assert_eq!(names(&repo.parts()), ["frontend"]);
}

#[test]
fn several_frontends_of_a_workspace_run_beside_each_other() {
    let next = package("next dev", r#""next": "16", "ui": "1""#);
    let vite = package("vite", "");
    let repo = Repo::new(&[
        ("package.json", r#"{ "workspaces": ["apps/*"] }"#),
        ("package-lock.json", "{}"),
        ("apps/web/package.json", &next),
        ("apps/admin/package.json", &vite),
        ("apps/docs/package.json", &next),
        ("packages/ui/package.json", r#"{ "name": "ui" }"#),
    ]);
    let parts = repo.parts();
    assert_eq!(names(&parts), ["frontend", "admin"]);
    assert_eq!(parts.processes[0].sources, [Path::new("apps/web"), Path::new("packages/ui")]);
    assert_eq!(parts.processes[1].port, PartPort::Binds(3200));
    assert_eq!(parts.node, [Path::new("")]);
    assert_eq!(parts.left_out.len(), 1);
    assert!(parts.left_out[0].why.contains("Next.js in apps/docs is left out"), "{parts:#?}");
}

#[test]
fn frontend_without_its_own_lock_file_is_left_out_with_a_notice() {
    let vite = package("vite", "");
    let repo = Repo::new(&[
        ("admin/package.json", &vite),
        ("admin/yarn.lock", ""),
        ("shop/package.json", &vite),
        ("web/package.json", &vite),
        ("web/package-lock.json", "{}"),
    ]);
    let parts = repo.parts();
    assert_eq!(names(&parts), ["frontend", "admin"]);
    assert_eq!(parts.node, [Path::new("web"), Path::new("admin")]);
    assert_eq!(parts.left_out.len(), 1, "{parts:#?}");
    assert!(parts.left_out[0].why.contains("Vite in shop is left out"), "{parts:#?}");
}

#[test]
fn a_page_without_a_known_script_is_reported_and_a_library_is_not() {
    let json = r#"{ "scripts": { "watch": "make" }, "devDependencies": { "vite": "6" } }"#;
    let page = Repo::new(&[("ui/package.json", json), ("ui/index.html", "")]).parts();
    assert!(page.left_out[0].why.starts_with("ui/package.json names vite"), "{page:#?}");
    assert!(Repo::new(&[("ui/package.json", json)]).parts().left_out.is_empty());
}

#[test]
fn the_port_that_a_configuration_names_is_the_usual_one() {
    let vite = package("vite", "");
    let config = "export default { server: { port: 3333 } }\n";
    let repo = Repo::new(&[("package.json", &vite), ("vite.config.ts", config)]);
    assert_eq!(repo.part("frontend").usual_ports, [3333, 5173]);
}
