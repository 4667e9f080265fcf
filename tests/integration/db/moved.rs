//! A repository that moves from one provider to another and back, by an edit of one line.

use std::path::Path;

use super::World;
use crate::asking::{fine, json, skip_without};
use crate::support::server::Server;

fn edit(world: &World, worktree: &Path, from: &str, to: &str) {
    let file = worktree.join("devrun.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = text.replace(&format!("provider: {from}\n"), &format!("provider: {to}\n"));
    assert_eq!(text.lines().zip(edited.lines()).filter(|(a, b)| a != b).count(), 1, "{edited}");
    world.sandbox.write(&file, &edited);
}

#[test]
fn the_data_is_there_again_after_a_move_to_another_provider_and_back() {
    let Some(server) = Server::start() else { return skip_without(&["postgres"]) };
    let Some(mut world) = World::with("  url: { admin_env: ADMIN_URL }") else { return };
    world.sandbox.set("ADMIN_URL", server.url("neondb_owner", "app"));
    server.sql("postgres", "create database app");
    server.sql("app", "create table leads as select 'server' as name");
    let x = world.worktree("x");
    let first = world.ask(&x, &["migrate"]);
    assert_eq!(first["provider"], "local");
    world.sql(&x, "create table leads as select 'mine' as name");

    edit(&world, &x, "local", "url");
    let ended = fine(world.db(&x, &["migrate", "--json"]));
    assert_eq!(json(&ended)["provider"], "url");
    let told = "the database dev-x of the provider local stays there: `provider: local` brings it back";
    assert!(ended.stderr.contains(told), "{ended}");
    assert_eq!(world.sql(&x, "select name from leads"), "server");
    let again = fine(world.db(&x, &["migrate"]));
    assert!(!again.stderr.contains("stays there"), "said twice: {again}");

    edit(&world, &x, "url", "local");
    let back = fine(world.db(&x, &["migrate", "--json"]));
    assert_eq!(json(&back)["id"], first["id"]);
    assert!(back.stderr.contains("the database dev-x of the provider url stays there"), "{back}");
    assert_eq!(world.sql(&x, "select name from leads"), "mine");
    assert_eq!(server.sql("dev-x", "select name from leads"), ["server"]);
}
