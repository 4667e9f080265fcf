//! Checks whether each backend accepts requests from the page of a frontend, with the same request that a browser
//! sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use hyper_util::rt::TokioIo;
use url::Url;

use super::server_variables;
use crate::context::this_machine::is_this_machine;
use crate::plan::{Notice, Plan, Process};
use crate::text::harmless;

/// Maximum duration of one request.
const LIMIT: Duration = Duration::from_secs(2);
/// Prefixes of variables that frameworks build into code for the browser.
const PUBLIC: [&str; 7] =
    ["NEXT_PUBLIC_", "VITE_", "PUBLIC_", "NUXT_PUBLIC_", "REACT_APP_", "EXPO_PUBLIC_", "GATSBY_"];

/// A page that calls a backend from the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    /// The process that serves the page, and its port.
    page: (String, u16),
    /// The process that is called, and its port.
    backend: (String, u16),
    /// The variable that holds the address, and the path of the address.
    variable: String,
    path: String,
}

/// Sends a preflight request for each page that calls a backend of `plan`, and returns a notice for each refusal.
pub async fn check(plan: &Plan) -> Vec<Notice> {
    let calls = calls(plan);
    let mut refused = Vec::new();
    for call in &calls {
        // A backend that does not answer is left to its readiness probe.
        if let Ok(Ok(Some(reason))) = tokio::time::timeout(LIMIT, refusal(call)).await {
            refused.push(Notice::new(sentence(call, &reason)));
        }
    }
    refused
}

/// The reason why a browser keeps the answer of a backend from a page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PreflightRefusal {
    NoOrigin,
    /// The answer allows only this origin.
    OtherOrigin(String),
}

impl PreflightRefusal {
    /// Compares the value of `Access-Control-Allow-Origin` with the origin of the page, as browsers do. Returns `None` if
    /// the page is allowed. Source: <https://fetch.spec.whatwg.org/#cors-check>
    fn of(allowed: Option<&str>, origin: &str) -> Option<PreflightRefusal> {
        match allowed {
            None => Some(PreflightRefusal::NoOrigin),
            Some(value) if value == "*" || value == origin => None,
            Some(value) => Some(PreflightRefusal::OtherOrigin(value.into())),
        }
    }
}

fn origin(call: &Call) -> String {
    format!("http://localhost:{}", call.page.1)
}

fn sentence(call: &Call, refusal: &PreflightRefusal) -> String {
    let Call { page: (page, _), backend: (backend, _), variable, .. } = call;
    let answer = match refusal {
        PreflightRefusal::NoOrigin => "has no Access-Control-Allow-Origin".to_string(),
        PreflightRefusal::OtherOrigin(other) => format!("allows only {}", harmless(other)),
    };
    format!(
        "{backend} refuses the page of {page}: its answer to a preflight request from {} {answer} (the page calls it by \
         {variable}); allow that origin in the CORS settings of {backend}, from an environment variable that devrun.yaml \
         can set",
        origin(call)
    )
}

/// Finds the pages that have the address of a backend in a variable for the browser.
fn calls(plan: &Plan) -> Vec<Call> {
    let own = |process: &Process| Some((process.name.clone(), process.port.as_ref()?.port()));
    let servers: Vec<(String, u16)> = plan.processes.iter().filter_map(own).collect();
    let shared = plan.env.vars.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let is_used = |name: &str| is_public(name) && !is_unread(plan, name);
    let shared: Vec<(&str, &str)> = shared.filter(|(name, _)| is_used(name)).collect();
    let mut calls: Vec<Call> = Vec::new();
    for process in &plan.processes {
        let Some(page) = own(process) else { continue };
        let own = process.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // A variable for every process is meant for the page whose code reads it. A backend has it too, but is not the page of
        // another backend.
        let is_usual = page.0 == "frontend" || page.0 == "web";
        let shared = shared
            .iter()
            .copied()
            .filter(|(variable, _)| server_variables::reads(plan, variable, process).unwrap_or(is_usual));
        for (variable, value) in own.filter(|(name, _)| is_used(name)).chain(shared) {
            let Some((port, path)) = address(value) else { continue };
            let backend = servers.iter().find(|(name, other)| *other == port && *name != page.0);
            let Some(backend) = backend else { continue };
            let known = calls.iter().any(|call| call.page == page && call.backend == *backend);
            if !known {
                let (variable, backend) = (variable.to_string(), backend.clone());
                calls.push(Call { page: page.clone(), backend, variable, path });
            }
        }
    }
    calls
}

/// Returns true if recognition gave the variable a value and found no line that reads it: the page may call nothing.
fn is_unread(plan: &Plan, variable: &str) -> bool {
    let mut given = plan.bindings.iter().filter(|binding| binding.name == variable).peekable();
    given.peek().is_some() && given.all(|binding| binding.read.is_none())
}

fn is_public(name: &str) -> bool {
    PUBLIC.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns port and path of a URL on this machine.
fn address(value: &str) -> Option<(u16, String)> {
    let url = Url::parse(value).ok().filter(|url| url.scheme() == "http")?;
    let host = url.host_str()?;
    is_this_machine(host).then(|| Some((url.port()?, url.path().to_string()))).flatten()
}

/// Sends the preflight request. Returns the reason if a browser would refuse the page.
async fn refusal(call: &Call) -> Result<Option<PreflightRefusal>, Box<dyn std::error::Error>> {
    let stream =
        tokio::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, call.backend.1))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn_local(async { drop(connection.await) });
    let request = hyper::Request::options(&call.path)
        .header(HOST, format!("localhost:{}", call.backend.1))
        .header(ORIGIN, origin(call))
        .header(ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let allowed =
        answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap_or_default());
    Ok(PreflightRefusal::of(allowed, &origin(call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_of_the_page_and_any_origin_allow_it() {
        let origin = "http://localhost:14000";
        assert_eq!(PreflightRefusal::of(Some("*"), origin), None);
        assert_eq!(PreflightRefusal::of(Some(origin), origin), None);
        assert_eq!(PreflightRefusal::of(None, origin), Some(PreflightRefusal::NoOrigin));
        let other = PreflightRefusal::of(Some("http://localhost:3000"), origin);
        assert_eq!(other, Some(PreflightRefusal::OtherOrigin("http://localhost:3000".into())));
        let call = Call {
            page: ("web".into(), 14000),
            backend: ("api".into(), 14100),
            variable: "VITE_API_URL".into(),
            path: "/".into(),
        };
        let said = sentence(&call, &other.unwrap());
        assert!(said.contains("from http://localhost:14000 allows only http://localhost:3000"), "{said}");
    }

    #[test]
    fn a_variable_that_no_code_reads_is_no_call() {
        let plan = server_variables::tests::plan();
        assert!(is_unread(&plan, "API_URL"));
        assert!(!is_unread(&plan, "NEXT_PUBLIC_API_URL"), "web/lib/api.ts reads it");
        assert!(!is_unread(&plan, "NEXT_PUBLIC_OTHER"), "the user wrote it");
    }

    #[test]
    fn addresses_on_this_machine_have_a_port_and_a_path() {
        assert_eq!(address("http://localhost:8147/api/v1"), Some((8147, "/api/v1".into())));
        assert_eq!(address("http://demo.localhost:8147"), Some((8147, "/".into())));
        assert_eq!(address("https://api.example.com"), None);
        assert_eq!(address("8147"), None);
    }
}
