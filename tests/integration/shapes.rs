//! Checks what devrun recognises in each repository of `tests/shapes`, in two worktrees with separate ports.

use std::path::Path;

use serde_json::Value;

use crate::asking::{answer, devrun, fine, port};
use crate::support::Sandbox;
use crate::support::shape::files;

/// A shape and the plan that devrun must make of it.
#[derive(Default)]
struct Shape<'a> {
    /// Its file.
    name: &'a str,
    /// Processes: name, beginning of the command, folder.
    processes: &'a [(&'a str, &'a str, &'a str)],
    /// Variables of every process with their values; `{NAME}` is the worktree's port of that name, `{slug}` its slug.
    variables: &'a [(&'a str, &'a str)],
    /// Lines of the configuration that `devrun init` would write, without the comments.
    lines: &'a [&'a str],
    /// True when each worktree has a branch database.
    database: bool,
}

fn check(shape: &Shape<'_>) {
    let sandbox = Sandbox::new();
    let found = files(shape.name);
    let found: Vec<(&str, &str)> = found.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let main = sandbox.repo_with(&found);
    let linked = sandbox.worktree("linked", "linked");
    let written = fine(devrun(&sandbox, &main, &["init", "--print"])).stdout;
    let lines: Vec<&str> =
        written.lines().map(|line| line.split("  # ").next().unwrap_or(line).trim()).collect();
    for line in shape.lines {
        assert!(lines.contains(line), "{}: no line {line:?} in\n{written}", shape.name);
    }
    let plans = [(&main, "main"), (&linked, "linked")].map(|(folder, branch)| {
        let plan = answer(&sandbox, folder, "plan");
        check_plan(shape, &plan, folder, branch);
        plan
    });
    let ports = |plan: &Value| -> Vec<u64> {
        plan["ports"].as_object().unwrap().values().filter_map(Value::as_u64).collect()
    };
    let shared = ports(&plans[0]).into_iter().any(|number| ports(&plans[1]).contains(&number));
    assert!(!shared, "{}: one port for two worktrees: {plans:#?}", shape.name);
}

fn check_plan(shape: &Shape<'_>, plan: &Value, folder: &Path, branch: &str) {
    let name = shape.name;
    let all = plan["processes"].as_array().unwrap();
    let known: Vec<&str> = all.iter().map(|process| process["name"].as_str().unwrap()).collect();
    let wanted: Vec<&str> = shape.processes.iter().map(|(process, ..)| *process).collect();
    assert_eq!(known, wanted, "{name}: {plan:#}");
    for (process, (_, run, directory)) in all.iter().zip(shape.processes) {
        assert!(process["run"].as_str().unwrap().starts_with(run), "{name}: {process:#}");
        let directory: std::path::PathBuf = folder.join(directory).components().collect();
        assert_eq!(process["directory"], directory.to_str().unwrap(), "{name}");
    }
    for (variable, value) in shape.variables {
        let ports = plan["ports"].as_object().unwrap().keys();
        let value = ports.fold((*value).to_string(), |value, known| {
            value.replace(&format!("{{{known}}}"), &port(plan, known).to_string())
        });
        let value = value.replace("{slug}", plan["slug"].as_str().unwrap());
        assert_eq!(plan["env"][variable], value, "{name}: {variable} in {plan:#}");
    }
    let database = shape.database.then(|| format!("dev-{branch}"));
    assert_eq!(plan["database"]["name"].as_str(), database.as_deref(), "{name}: {plan:#}");
}

const NEXT: &str = "next dev --hostname $DEVRUN_HOST --port $PORT";

#[test]
fn a_rewrite_in_next_js_is_redirected_to_the_python_functions_beside_it() {
    check(&Shape {
        name: "next-api",
        processes: &[("backend", "uvicorn api.index:app ", ""), ("frontend", NEXT, "")],
        lines: &["8000: backend", "python: { directory: . }", "node: { directory: . }"],
        ..Shape::default()
    });
}

#[test]
fn parts_of_a_database_address_and_lists_of_origins_get_the_values_of_the_worktree() {
    check(&Shape {
        name: "parts",
        processes: &[("backend", "uvicorn app.main:app ", "backend"), ("frontend", NEXT, "frontend")],
        variables: &[
            ("NEXT_PUBLIC_API_BASE_URL", "http://localhost:{backend}"),
            (
                "BACKEND_CORS_ORIGINS",
                r#"["http://localhost:3000","http://localhost:{frontend}","http://{slug}.localhost:{frontend}"]"#,
            ),
        ],
        lines: &[
            "POSTGRES_SERVER: \"${database.host}\"",
            "POSTGRES_PORT: \"${database.port}\"",
            "POSTGRES_DB: \"${database.name}\"",
            "run: alembic upgrade head",
        ],
        database: true,
    });
}

#[test]
fn an_api_of_a_workspace_is_found_by_the_script_of_its_package() {
    check(&Shape {
        name: "turborepo",
        processes: &[
            ("backend", "uvicorn src.main:app ", "apps/api"),
            ("frontend", "next dev --turbopack --hostname $DEVRUN_HOST --port $PORT", "apps/web"),
        ],
        variables: &[
            ("API_URL", "http://localhost:{backend}/v1"),
            ("NEXTAUTH_URL", "http://localhost:{frontend}"),
        ],
        lines: &["node: { directory: . }", "python: { directory: apps/api }"],
        ..Shape::default()
    });
}

#[test]
fn vite_and_an_application_factory_reach_each_other() {
    check(&Shape {
        name: "vite-factory",
        processes: &[
            ("backend", "uvicorn --factory app.main:create_app ", "server"),
            ("frontend", "vite --port $PORT --strictPort", "client"),
        ],
        variables: &[
            ("VITE_API_URL", "http://localhost:{backend}/api"),
            (
                "CORS_ORIGINS",
                "http://localhost:5173,http://127.0.0.1:5173,http://localhost:{frontend},http://127.0.0.1:{frontend},http://{slug}.localhost:{frontend}",
            ),
        ],
        ..Shape::default()
    });
}

#[test]
fn a_url_keeps_the_driver_that_the_example_names() {
    check(&Shape {
        name: "asyncpg",
        processes: &[("backend", "uvicorn app.main:app ", "")],
        lines: &["DATABASE_URL: postgresql+asyncpg"],
        database: true,
        ..Shape::default()
    });
}

#[test]
fn an_application_deep_below_src_is_started_from_its_project() {
    check(&Shape {
        name: "src-layout",
        processes: &[
            ("backend", "uvicorn shop.infrastructure.api.main:app --app-dir src ", "backend"),
            ("frontend", NEXT, "web"),
        ],
        variables: &[("NEXT_PUBLIC_API_ROOT", "http://localhost:{backend}")],
        lines: &["url_env: [SQLALCHEMY_DATABASE_URI]"],
        database: true,
    });
}

#[test]
fn the_workers_of_a_procfile_run_and_its_release_is_the_migration() {
    check(&Shape {
        name: "procfile",
        processes: &[
            ("backend", "uvicorn app.main:app ", ""),
            ("worker", "celery -A app.tasks worker", ""),
            ("mail", "python -m app.mail", ""),
        ],
        lines: &["run: alembic upgrade head", "url_env: [DATABASE_URL]"],
        database: true,
        ..Shape::default()
    });
}

#[test]
fn prisma_and_drizzle_migrate_where_there_is_no_alembic() {
    check(&Shape {
        name: "prisma",
        processes: &[("backend", "uvicorn main:app ", "api"), ("frontend", NEXT, "")],
        variables: &[("NEXT_PUBLIC_API_URL", "http://localhost:{backend}")],
        lines: &["run: prisma migrate deploy", "url_env: [DATABASE_URL]"],
        database: true,
    });
    check(&Shape {
        name: "drizzle",
        processes: &[("frontend", NEXT, "apps/web")],
        lines: &["run: drizzle-kit push --force", "POSTGRES_URL: postgres"],
        database: true,
        ..Shape::default()
    });
}

#[test]
fn further_frontends_and_backends_have_packages_of_their_own() {
    check(&Shape {
        name: "several",
        processes: &[
            ("backend", "uvicorn main:app ", "backend"),
            ("reports", "uvicorn main:reports ", "reports"),
            ("frontend", NEXT, "web"),
            ("admin", "vite --port $PORT", "admin"),
            ("worker", "celery -A tasks:app worker", "jobs"),
        ],
        variables: &[
            ("API_URL", "http://localhost:{backend}"),
            ("REPORTS_URL", "http://localhost:{reports}/v1"),
            (
                "CORS_ORIGINS",
                "http://localhost:3000,http://localhost:5174,http://localhost:{frontend},http://localhost:{admin},http://{slug}.localhost:{frontend},http://admin.{slug}.localhost:{admin}",
            ),
        ],
        lines: &[
            "node: { directory: [web, admin] }",
            "python: { directory: [backend, reports, jobs] }",
            "url_env: [DATABASE_URL]",
        ],
        database: true,
    });
}

#[test]
fn plain_sql_is_applied_where_nothing_else_migrates() {
    check(&Shape {
        name: "sql",
        processes: &[("backend", "uvicorn main:app ", "")],
        lines: &[r#"sql: ["db/schema.sql", "db/rows.sql"]"#, "url_env: [DATABASE_URL]"],
        database: true,
        ..Shape::default()
    });
}

#[test]
fn an_application_on_sqlite_has_no_branch_database() {
    check(&Shape {
        name: "sqlite",
        processes: &[("backend", "uvicorn main:app ", ""), ("migrate", "alembic upgrade head", "")],
        lines: &["depends_on: { migrate: completed }"],
        ..Shape::default()
    });
}
