//! Checks whether the servers of a stack answer under the worktree's own host names as they do under `localhost`. Development
//! servers and applications often have a list of the hosts that they accept.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use url::Url;

use crate::plan::{Notice, Plan, Probe};

/// Maximum duration of one request.
const LIMIT: Duration = Duration::from_secs(5);
/// How much of a page is read: its title and the reason of a refusal are at the beginning.
const READ: usize = 256 << 10;

/// The answer of a page under one host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PageAnswer {
    status: u16,
    body: String,
}

/// Requests the page of each HTTP probe of `plan` under `localhost` and under the worktree's host name. Returns a notice for each
/// server that answers otherwise under the second one. Leaves out a probe with a host: that application has host names already.
pub async fn check(plan: &Plan) -> Vec<Notice> {
    let mut notices = Vec::new();
    for process in &plan.processes {
        let Some(Probe::Http { path, host: None, port, .. }) =
            process.ready.as_ref().map(|ready| &ready.probe)
        else {
            continue;
        };
        let Some(host) = host_of(plan, *port) else { continue };
        let usual_host = format!("localhost:{port}");
        // A server that does not answer is left to its readiness probe.
        let (Some(usual), Some(named)) =
            (request(*port, path, &usual_host).await, request(*port, path, &host).await)
        else {
            continue;
        };
        notices.extend(difference(&process.name, path, (&usual_host, &usual), (&host, &named)));
    }
    notices
}

/// Returns host and port of the URL under the worktree's host name that leads to `port`.
fn host_of(plan: &Plan, port: u16) -> Option<String> {
    let urls = plan.host_urls.iter().filter_map(|(_, url)| Url::parse(url).ok());
    let url = urls.into_iter().find(|url| url.port() == Some(port))?;
    Some(format!("{}:{port}", url.host_str()?))
}

/// Returns a notice if the server accepts the first host and rejects the second one, or shows another page there. Pure.
fn difference(
    process: &str,
    path: &str,
    (plain, usual): (&str, &PageAnswer),
    (host, named): (&str, &PageAnswer),
) -> Option<Notice> {
    let (first, second) = (format!("http://{plain}{path}"), format!("http://{host}{path}"));
    if usual.status < 400 && named.status >= 400 {
        let text = format!(
            "{process} rejects this worktree's host name: it answers {second} with {}, and {first} with {}",
            named.status, usual.status
        );
        return Some(Notice { text, fix: line_to_change(&named.body).map(str::to_string) });
    }
    let (usual, named) = (title(&usual.body)?, title(&named.body)?);
    (usual != named).then(|| {
        let text = format!(
            "{process} shows the page \"{named}\" at {second}, and \"{usual}\" at {first}: it takes the host name for something else"
        );
        Notice::new(text)
    })
}

/// Returns the line that makes the server accept the host name, if `body` is the refusal of a known one.
fn line_to_change(body: &str) -> Option<&'static str> {
    /// Refusals as their servers write them.
    const REFUSALS: [(&str, &str); 7] = [
        ("Blocked request. This host", "in vite.config: server: { allowedHosts: [\".localhost\"] }"),
        (
            "Invalid Host header",
            "in the configuration of webpack's server: devServer: { allowedHosts: [\".localhost\"] }",
        ),
        (
            "Invalid host header",
            "in the application: TrustedHostMiddleware, allowed_hosts=[\"localhost\", \"*.localhost\"]",
        ),
        ("DisallowedHost", "in the Django settings: ALLOWED_HOSTS = [\"localhost\", \".localhost\"]"),
        (
            "Invalid HTTP_HOST header",
            "in the Django settings: ALLOWED_HOSTS = [\"localhost\", \".localhost\"]",
        ),
        ("Blocked host", "in config/environments/development.rb: config.hosts << \".localhost\""),
        ("Unauthorized", "in next.config: allowedDevOrigins: [\"*.localhost\", \"**.localhost\"]"),
    ];
    REFUSALS.iter().find(|(refusal, _)| body.contains(refusal)).map(|(_, line)| *line)
}

/// Returns the text of the page's `<title>`.
fn title(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<title")?;
    let (_, rest) = rest.split_once('>')?;
    rest.split_once("</title>").map(|(title, _)| title.trim())
}

/// Returns the answer to `GET path` for `host`; `None` if there is none in time.
async fn request(port: u16, path: &str, host: &str) -> Option<PageAnswer> {
    tokio::time::timeout(LIMIT, answer(port, path, host)).await.ok()?.ok()
}

async fn answer(
    port: u16,
    path: &str,
    host: &str,
) -> Result<PageAnswer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn_local(async { drop(connection.await) });
    let request = hyper::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "devrun")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    // A longer page counts as one without a title.
    let body =
        Limited::new(answer.into_body(), READ).collect().await.map(http_body_util::Collected::to_bytes);
    Ok(PageAnswer { status, body: String::from_utf8_lossy(&body.unwrap_or_default()).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(usual: (u16, &str), named: (u16, &str)) -> Option<Notice> {
        let page = |(status, body): (u16, &str)| PageAnswer { status, body: body.into() };
        difference("web", "/", ("localhost:1", &page(usual)), ("x.localhost:1", &page(named)))
    }

    #[test]
    fn a_refusal_is_named_with_the_line_to_change() {
        let refused = notice((200, ""), (400, "<h1>DisallowedHost at /</h1>")).unwrap();
        assert_eq!(
            refused.text,
            "web rejects this worktree's host name: it answers http://x.localhost:1/ with 400, and http://localhost:1/ with 200"
        );
        assert!(refused.fix.unwrap().contains("ALLOWED_HOSTS"));
        assert_eq!(notice((200, ""), (403, "no")).unwrap().fix, None);
        let vite = "Blocked request. This host (\"x.localhost\") is not allowed.";
        assert!(notice((307, ""), (403, vite)).unwrap().fix.unwrap().contains("allowedHosts"));
    }

    #[test]
    fn another_page_is_named_and_the_same_one_is_not() {
        let page = |title: &str| format!("<head><title data-x>{title}</title>");
        let other = notice((200, &page("Shop")), (200, &page("No tenant"))).unwrap();
        assert!(other.text.contains("\"No tenant\" at http://x.localhost:1/"), "{}", other.text);
        assert_eq!(notice((200, &page("Shop")), (200, &page(" Shop "))), None);
        assert_eq!(notice((404, ""), (404, "")), None);
        assert_eq!(notice((200, "{}"), (200, "{}")), None);
    }
}
