//! Tests devrun's own connections to the server, with another process on the server's port.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::{cluster, postmaster, server, state};
use super::test_env::{TestServer, admin, connect, number, system, until, wanted};
use crate::database::connect::{Patience, reach};
use crate::os::{fs, net};

#[tokio::test]
async fn a_stranger_on_the_servers_port_receives_nothing() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let data = cluster::data(local.folder());
    let found = postmaster::running(&data).unwrap();
    kill(Pid::from_raw(found.pid.cast_signed()), Signal::SIGKILL).unwrap();
    until("the kill", || postmaster::running(&data).is_none()).await;
    // The server's child processes hold its port for a moment longer.
    let port = found.port.unwrap();
    until("the port", || net::is_free(port)).await;
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let branch = local.find("dev-main").await.unwrap().unwrap();
    assert!(!branch.url.contains(&format!(":{port}/")), "{}", branch.url);
    assert_eq!(number(&connect(&branch).await, "SELECT 1::bigint").await, 1);
    stranger.set_nonblocking(true).unwrap();
    while let Ok((mut probe, _)) = stranger.accept() {
        probe.set_nonblocking(false).unwrap();
        let mut got = Vec::new();
        probe.read_to_end(&mut got).unwrap();
        assert!(got.is_empty(), "{got:?}");
    }
    local.release();
}

#[tokio::test]
async fn passwords_of_an_older_devrun_change_at_the_next_start() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let before = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    let path = local.folder().join("state.json");
    local.release();
    let text = String::from_utf8(fs::read(&path).unwrap().unwrap()).unwrap();
    fs::replace(&path, text.replace("\"version\": 2", "\"version\": 1").as_bytes(), 0o600).unwrap();
    let local = server.open(Some(&bin)).await;
    let after = local.find("dev-main").await.unwrap().unwrap();
    assert_ne!(after.url, before.url);
    assert_eq!(number(&connect(&after).await, "SELECT 1::bigint").await, 1);
    let old: tokio_postgres::Config = before.url.parse().unwrap();
    assert!(old.connect(tokio_postgres::NoTls).await.is_err());
    local.release();
    let kept = server.open(Some(&bin)).await;
    assert_eq!(kept.find("dev-main").await.unwrap().unwrap().url, after.url);
    kept.release();
    assert!(state::ClusterState::load(&path).unwrap().unwrap().renewed().unwrap().is_none());
}

#[tokio::test]
async fn the_socket_is_open_to_the_servers_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let data = cluster::data(local.folder());
    let port = postmaster::running(&data).unwrap().port.unwrap();
    assert!(data.join(format!(".s.PGSQL.{port}")).exists());
    // The server itself checks the folder's mode only when it starts.
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    let known = state::ClusterState::load(&local.folder().join("state.json")).unwrap().unwrap();
    assert!(server::connect(&local.cluster, &known).await.is_err());
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
    assert!(server::connect(&local.cluster, &known).await.is_ok());
    local.release();
}

#[tokio::test]
async fn the_error_about_a_full_database_has_the_words_of_the_server() {
    let server = TestServer::new();
    let Some(bin) = system() else { return };
    let local = server.open(Some(&bin)).await;
    let main = local.ensure(&wanted("dev-main", "dev-main")).await.unwrap();
    admin(&local).await.batch_execute("ALTER DATABASE \"dev-main\" CONNECTION LIMIT 0").await.unwrap();
    for patience in [Patience::of_a_look(Duration::from_secs(30)), Duration::from_millis(100).into()] {
        let start = Instant::now();
        let error = reach(&main, None, patience).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        let words = error.to_string();
        assert!(words.ends_with("/dev-main: too many connections for database \"dev-main\""), "{words}");
    }
    local.release();
}
