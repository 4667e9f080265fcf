//! Failures of the service, and devrun's reaction.

use std::time::{Duration, Instant, SystemTime};

use super::{creations, double, ensure, ensure_in};
use crate::support::neon::{Fault, KEY};

#[test]
fn create_with_a_lost_answer_is_not_repeated() {
    let Some(neon) = double() else { return };
    let html = "<html><body>524: a timeout occurred</body></html>".to_string();
    let faults =
        [Fault::LoseAnswer, Fault::HalfAnswer, Fault::Mask(524, html), Fault::Mask(500, String::new())];
    for (at, fault) in faults.into_iter().enumerate() {
        let name = format!("dev-{at}");
        neon.fail("POST", "/branches", fault.clone());
        let branch = ensure(&neon, &name, |_| ()).unwrap();
        assert_eq!(branch.id, neon.branch(&name).unwrap().id);
        let calls = neon.take_calls();
        assert_eq!(creations(&calls), 1, "{fault:?}: {calls:#?}");
        let posts = calls.iter().filter(|call| call.method == "POST" && call.path == "/branches").count();
        assert_eq!(posts, 1, "{fault:?}: {calls:#?}");
    }
}

#[test]
fn failed_create_is_repeated_after_a_check() {
    let Some(neon) = double() else { return };
    neon.fail("POST", "/branches", Fault::Answer(502, Vec::new(), "<html>bad gateway</html>".into()));
    ensure(&neon, "dev-x", |_| ()).unwrap();
    let calls = neon.take_calls();
    let kinds: Vec<(&str, u16)> =
        calls.iter().take(4).map(|call| (call.method.as_str(), call.status)).collect();
    assert_eq!(kinds, [("GET", 200), ("POST", 502), ("GET", 200), ("POST", 201)]);
}

#[test]
fn requests_that_were_not_executed_are_repeated() {
    let Some(neon) = double() else { return };
    let busy = "project already has running conflicting operations, scheduling of new ones is prohibited";
    neon.fail("POST", "/branches", Fault::status(423, "", busy));
    neon.fail("POST", "/branches", Fault::status(503, "", "unavailable"));
    neon.fail("POST", "/branches", Fault::status(422, "", "branch not ready yet"));
    neon.fail("GET", "/branches", Fault::Answer(429, vec![("retry-after", "1".into())], String::new()));
    neon.fail("GET", "/operations/", Fault::status(404, "", "operation not found"));
    neon.fail("GET", "/connection_uri", Fault::status(404, "", "branch not found"));
    neon.fail("GET", "/connection_uri", Fault::HalfAnswer);
    let start = Instant::now();
    ensure(&neon, "dev-x", |_| ()).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After is a minimum");
    assert_eq!(creations(&neon.take_calls()), 1);
    // A date in the future is a minimum too.
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    neon.fail("GET", "/branches", Fault::Answer(429, vec![("retry-after", soon)], String::new()));
    let start = Instant::now();
    ensure(&neon, "dev-x", |_| ()).unwrap();
    // Dates have no fractions of seconds.
    assert!(start.elapsed() >= Duration::from_millis(1_900), "the date is a minimum");
    // A date beyond the time budget ends the run at once.
    let far =
        Fault::Answer(429, vec![("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT".into())], String::new());
    neon.fail("GET", "/branches", far);
    neon.take_calls();
    let report = ensure(&neon, "dev-y", |_| ()).unwrap_err();
    assert_eq!(neon.take_calls().len(), 1);
    assert_eq!(report.code.name(), "database-unavailable");
}

#[test]
fn branch_made_by_another_client_is_used() {
    let Some(neon) = double() else { return };
    let first = ensure(&neon, "dev-x", |_| ()).unwrap();
    // The first list does not contain the branch.
    let empty = r#"{"branches":[],"annotations":{}}"#.to_string();
    neon.fail("GET", "/branches", Fault::Answer(200, Vec::new(), empty));
    let second = ensure(&neon, "dev-x", |_| ()).unwrap();
    assert_eq!(first.id, second.id);
    let calls = neon.take_calls();
    assert!(calls.iter().any(|call| call.status == 409) && creations(&calls) == 1, "{calls:#?}");
}

#[test]
fn refusals_are_explained_and_not_repeated() {
    let Some(neon) = double() else { return };
    ensure(&neon, "dev-old", |_| ()).unwrap();
    let limit = Fault::status(422, "BRANCHES_LIMIT_EXCEEDED", "branches limit exceeded");
    let expiry = Fault::status(400, "", "expires_at is not allowed on this plan");
    for (fault, message, fix) in [
        (Fault::status(403, "", "no"), "NEON_API_KEY (a test) may not create the branch dev-x", "owner"),
        (Fault::status(404, "", "project not found"), "not found on Neon", "quiet-moon-123456, from a test"),
        (limit, "has reached its limit of branches", "dev-old"),
        (expiry, "expires_in", "remove"),
        (Fault::status(400, "", "bad"), "refuses to create", "follow Neon"),
    ] {
        neon.take_calls();
        neon.fail("POST", "/branches", fault);
        let report =
            ensure(&neon, "dev-x", |request| request.expires_in = Some(Duration::from_hours(1))).unwrap_err();
        assert!(report.message.contains(message), "{report:?}");
        assert!(report.fix.as_ref().unwrap().contains(fix), "{report:?}");
        assert!(report.cause.as_ref().unwrap().contains("(request req-1)"), "{report:?}");
        assert!(!format!("{report:?}").contains(KEY));
        let posts = neon.take_calls().iter().filter(|call| call.method == "POST").count();
        assert_eq!(posts, 1);
    }
}

#[test]
fn failed_compute_is_an_error_and_starts_next_time() {
    let Some(neon) = double() else { return };
    let dir = tempfile::tempdir().unwrap();
    neon.state().compute_fails = true;
    let report = ensure_in(&neon, dir.path(), "dev-x", |_| ()).unwrap_err();
    assert!(report.message.contains("start_compute failed"), "{report:?}");
    let cause = report.cause.unwrap();
    assert!(cause.starts_with("compute did not start (operation 00000000-"), "{cause}");
    ensure_in(&neon, dir.path(), "dev-x", |_| ()).unwrap();
    let calls = neon.take_calls();
    assert_eq!(creations(&calls), 1, "{calls:#?}");
    assert!(calls.iter().any(|call| call.path.ends_with("/start")), "{calls:#?}");
}

#[test]
fn a_branch_without_a_compute_gets_one() {
    let Some(neon) = double() else { return };
    let dir = tempfile::tempdir().unwrap();
    let first = ensure(&neon, "dev-x", |_| ()).unwrap();
    neon.state().branches.last_mut().unwrap().endpoint = None;
    let second = ensure_in(&neon, dir.path(), "dev-x", |_| ()).unwrap();
    assert_eq!(first.id, second.id);
    assert!(neon.branch("dev-x").unwrap().endpoint.is_some());
}

#[test]
fn no_redirect_is_followed() {
    let Some(neon) = double() else { return };
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let place = format!("http://{}/", elsewhere.local_addr().unwrap());
    neon.fail("GET", "/branches", Fault::Answer(307, vec![("location", place)], String::new()));
    let report = ensure(&neon, "dev-x", |_| ()).unwrap_err();
    assert!(report.cause.unwrap().contains("307"));
    assert!(elsewhere.accept().is_err(), "devrun followed the redirect");
}

#[test]
fn unreachable_service_is_reported_within_the_budget() {
    let Some(neon) = double() else { return };
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = ensure(&neon, "dev-x", |request| {
        request.host = Some(format!("http://{socket}"));
        request.pace.budget = Duration::from_secs(1);
    })
    .unwrap_err();
    assert_eq!(report.code.name(), "database-unavailable");
    assert!(report.cause.unwrap().contains("cannot connect"));
}

#[test]
fn expiry_is_requested() {
    let Some(neon) = double() else { return };
    ensure(&neon, "dev-x", |request| request.expires_in = Some(Duration::from_hours(24))).unwrap();
    let expires_at = neon.branch("dev-x").unwrap().expires_at.unwrap();
    assert!(expires_at.ends_with('Z') && expires_at.len() == 20, "{expires_at}");
}

#[test]
fn service_without_tls_gets_no_request() {
    let Some(neon) = double() else { return };
    let host = neon.host().replace("http://", "https://");
    let report = ensure(&neon, "dev-x", |request| request.host = Some(host)).unwrap_err();
    assert_eq!(report.code.name(), "database-unavailable");
    assert!(neon.take_calls().is_empty());
    let report = ensure(&neon, "dev-x", |request| request.host = Some("http://neon.example/api".into()));
    assert!(report.unwrap_err().message.contains("without encryption"));
}
