//! The routes of the socket. The server follows this table, and the `OpenAPI` document is made from it.

use std::pin::Pin;

use hyper::Method;

use super::protocol::{Ask, Bind, PREFIX};
use super::stack_handle::{ProcessRequest, StackHandle};
use super::status::Status;
use crate::error::Report;

/// A status that is being determined.
pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<Status, Report>> + 'a>>;

/// The handler of a route. Its kind gives the types of the request and of the answer.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Takes the query of a request without a body, and answers with the status.
    Query(for<'a> fn(&'a StackHandle, Option<&'a str>) -> Reply<'a>),
    /// Takes an [`Ask`], and answers with the status.
    Ask(for<'a> fn(&'a StackHandle, Ask) -> Reply<'a>),
    /// Takes a [`Bind`], and answers with the status.
    Bind(fn(&StackHandle, Bind) -> Status),
    /// Answers with a line of JSON for each event: an [`EventMessage`](super::events::EventMessage).
    Events,
    /// Answers with the `OpenAPI` document.
    Document,
    /// Upgrades the connection to the terminal of the process that the path names.
    Terminal,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub method: Method,
    /// The path without [`PREFIX`]. A last segment `{name}` stands for a name.
    pub path: &'static str,
    /// A summary in one line.
    pub summary: &'static str,
    /// The status code of a success.
    pub success: u16,
    pub handler: Handler,
}

const fn get(path: &'static str, summary: &'static str, handler: Handler) -> Route {
    Route { method: Method::GET, path, summary, success: 200, handler }
}

const fn post(path: &'static str, summary: &'static str, handler: Handler) -> Route {
    Route { method: Method::POST, path, summary, success: 200, handler }
}

/// All routes of the socket.
pub static ROUTES: [Route; 10] = [
    get("/status", "What the stack is doing.", Handler::Query(|stack, query| Box::pin(status(stack, query)))),
    get(
        "/events",
        "Everything that happens from now on; what the stack is doing comes first.",
        Handler::Events,
    ),
    get("/openapi.json", "This document.", Handler::Document),
    Route {
        method: Method::GET,
        path: "/attach/{name}",
        summary: "Upgrades to the terminal of a process that has one.",
        success: 101,
        handler: Handler::Terminal,
    },
    post(
        "/wait",
        "Waits until the processes, or the whole stack, are ready.",
        Handler::Ask(|stack, ask| Box::pin(async move { stack.wait(&ask.names, ask.limit()).await })),
    ),
    post(
        "/start",
        "Starts processes that are down and waits until they are ready.",
        Handler::Ask(|stack, ask| Box::pin(order(stack, ProcessRequest::Start, ask))),
    ),
    post(
        "/stop",
        "Stops processes and waits until they are gone; the others go on.",
        Handler::Ask(|stack, ask| Box::pin(order(stack, ProcessRequest::Stop, ask))),
    ),
    post(
        "/restart",
        "Stops processes, starts them again and waits until they are ready.",
        Handler::Ask(|stack, ask| Box::pin(order(stack, ProcessRequest::Restart, ask))),
    ),
    post(
        "/bind",
        "Ends the stack after the end of the named process, or removes such a binding.",
        Handler::Bind(|stack, bind| {
            stack.bind(bind.binding);
            stack.status()
        }),
    ),
    Route {
        method: Method::POST,
        path: "/down",
        summary: "Takes the whole stack down. Answers before the stack is down.",
        success: 202,
        handler: Handler::Query(|stack, _| Box::pin(std::future::ready(Ok(down(stack))))),
    },
];

async fn status(stack: &StackHandle, query: Option<&str>) -> Result<Status, Report> {
    Ok(if query == Some("known=true") { stack.status() } else { stack.audited().await })
}

async fn order(stack: &StackHandle, order: ProcessRequest, ask: Ask) -> Result<Status, Report> {
    stack.order(order, &ask.names, ask.limit()).await?;
    Ok(stack.audited().await)
}

fn down(stack: &StackHandle) -> Status {
    stack.down();
    stack.status()
}

/// The result of a search for a route.
#[derive(Debug)]
pub enum Match<'a> {
    /// The route, and the name in the path; empty if the path has none.
    Route(&'static Route, &'a str),
    /// The path has no route for this method, but one for another.
    OtherMethod(Method),
    /// There is no route with this path.
    Unknown,
}

/// Finds the route for `method` and `path`, which includes [`PREFIX`].
pub fn find<'a>(method: &Method, path: &'a str) -> Match<'a> {
    let Some(path) = path.strip_prefix(PREFIX) else { return Match::Unknown };
    let mut found = ROUTES.iter().filter_map(|route| Some((route, route.name_in(path)?))).peekable();
    let Some((other, _)) = found.peek() else { return Match::Unknown };
    let other = Match::OtherMethod(other.method.clone());
    found.find(|(route, _)| route.method == *method).map_or(other, |(route, name)| Match::Route(route, name))
}

impl Route {
    /// Returns the name that `path` has in place of `{name}`, or an empty one if this route has none. `None` if it is
    /// the path of another route.
    fn name_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.strip_suffix("{name}") {
            Some(folder) => path.strip_prefix(folder).filter(|name| !name.is_empty() && !name.contains('/')),
            None => (path == self.path).then_some(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            Match::Route(route, name) => format!("{} {}", route.path, name),
            Match::OtherMethod(other) => format!("use {other}"),
            Match::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn every_route_is_found_by_its_method_and_path() {
        for route in &ROUTES {
            let path = format!("{PREFIX}{}", route.path);
            assert!(matches!(find(&route.method, &path), Match::Route(other, _) if other.path == route.path));
        }
    }

    #[test]
    fn unknown_path_is_404_and_wrong_method_is_405() {
        assert_eq!(found(&Method::GET, "/v1/attach/web%20x"), "/attach/{name} web%20x");
        assert_eq!(found(&Method::POST, "/v1/status"), "use GET");
        assert_eq!(found(&Method::GET, "/v1/down"), "use POST");
        for path in
            ["/", "/v1", "/v1/", "/status", "/v2/status", "/v1/status/", "/v1/attach/", "/v1/attach/a/b"]
        {
            assert_eq!(found(&Method::GET, path), "unknown", "{path}");
        }
    }
}
