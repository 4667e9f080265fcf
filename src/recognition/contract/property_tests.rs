//! Tests properties that hold for any facts.

use proptest::prelude::*;

use super::super::facts::Giver;
use super::test_repo::TestRepo;

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "DATABASE_URL",
        "POSTGRES_HOST",
        "POSTGRES_PASSWORD",
        "PGPASSWORD",
        "NEXT_PUBLIC_API_URL",
        "BACKEND_PORT",
        "CORS_ORIGINS",
        "REDIS_URL",
        "REDIS_PASSWORD",
        "SECRET_KEY",
        "OPENAI_API_KEY",
        "FRONTEND_URL",
        "ADMIN_PASSWORD",
        "WAREHOUSE_URL",
    ]);
    prop_oneof![4 => known.prop_map(str::to_string), 1 => "[A-Za-z_]{0,12}"]
}

fn value() -> impl Strategy<Value = String> {
    let forms = prop::sample::select(vec![
        "postgresql+asyncpg://app:hunter2@localhost:5432/app?password=hunter2&x=1",
        "postgres://u:hunter2@db.example.net/main?sslmode=require",
        "http://u:hunter2@localhost:8000",
        "http://localhost:8000/?token=hunter2",
        "hunter2",
        "[\"http://u:hunter2@localhost:3000\",\"http://localhost:3000\"]",
        "http://localhost:3000,http://x:hunter2@localhost:3000",
        "redis://:hunter2@localhost:6379/1?password=hunter2",
        "[",
        "http://[",
        "://",
        "localhost:99999",
        "$",
        "${A}",
        "8000",
        "http://localhost:3000",
        "https://api.example.net/v1",
        "rediss://",
        "postgres://",
    ]);
    prop_oneof![6 => forms.prop_map(str::to_string), 1 => ".{0,40}"]
}

fn repository() -> impl Strategy<Value = TestRepo> {
    let file = prop::sample::select(vec![
        ".env",
        "frontend/.env.local",
        "backend/.env",
        "backend/.env.production",
        "x/y/.env",
    ]);
    let line = (file, name(), value());
    let read = (
        prop::sample::select(vec!["frontend/a.ts", "backend/a.py", "z/b.py"]),
        name(),
        prop::option::of("[a-z:/0-9]{0,30}"),
    );
    (prop::collection::vec(line, 0..12), prop::collection::vec(read, 0..12)).prop_map(|(lines, reads)| {
        let mut repo = TestRepo::new().service("db", "postgres:17", &[(5432, 5432)]);
        for (file, name, value) in lines {
            repo = repo.given(file, 1, &name, &value, Giver::EnvFile);
        }
        for (file, name, default) in reads {
            let name = default.map_or(name.clone(), |default| format!("{name}={default}"));
            repo = repo.reads(file, &[&name]);
        }
        repo
    })
}

proptest! {
    #[test]
    fn no_facts_make_it_panic_and_no_password_of_an_env_file_reaches_a_binding_or_a_remark(repo in repository()) {
        let contract = repo.bind();
        for binding in &contract.bindings {
            prop_assert!(!binding.value.contains("hunter2"), "{binding:?}");
        }
        for remark in &contract.remarks {
            prop_assert!(!remark.text.contains("hunter2") && !remark.fix.as_deref().unwrap_or_default().contains("hunter2"));
        }
        prop_assert_eq!(contract, repo.bind());
    }

    #[test]
    fn an_address_that_a_person_set_to_another_machine_stays(
        name in prop::sample::select(vec!["NEXT_PUBLIC_API_URL", "API_URL", "FRONTEND_URL", "REDIS_URL", "CORS_ORIGINS"]),
        host in "[a-z]{1,8}\\.(com|net)", port in prop::option::of(prop::sample::select(vec![8000_u16, 3000, 6379])),
    ) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = if name == "REDIS_URL" { "redis" } else { "https" };
        let default = format!("{name}=http://localhost:8000");
        let repo = TestRepo::new()
            .part(super::test_repo::part("redis", super::super::parts::PartKind::Service, "redis-server", &[6379]))
            .env("frontend/.env.local", &format!("{name}={scheme}://{host}{port}"))
            .reads("frontend/lib/api.ts", &[&default]);
        prop_assert_eq!(repo.bind().bindings, vec![]);
    }
}
