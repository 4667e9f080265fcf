//! Opens a tunnel to the API through the proxy that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, with the
//! meaning that curl gives them).
//!
//! The proxy sees the host name and the port of the API. The key and all requests are encrypted inside the tunnel.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::retry::{self, RequestOutcome};
use crate::database::tls;

/// The address of a proxy that is not used: with it, a [`Matcher`] shows what `NO_PROXY` excepts.
const ANY: &str = "http://proxy.invalid";

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    secure: bool,
    host: String,
    port: u16,
    /// User and password, marked as sensitive.
    login: Option<HeaderValue>,
}

impl Proxy {
    /// Returns the proxy that the variables `env` name for the https address `authority` (`host:port`). As with curl, the
    /// lower-case name of a variable comes first, and an empty variable counts as not set. Errors if the value is no address
    /// of an http or https proxy.
    pub(super) fn of(env: &BTreeMap<OsString, OsString>, authority: &str) -> Result<Option<Proxy>, String> {
        let find = |names: [&'static str; 2]| {
            let values = names.into_iter().filter_map(|name| Some((name, env.get(OsStr::new(name))?)));
            values
                .map(|(name, value)| (name, value.to_string_lossy().trim().to_string()))
                .find(|(_, value)| !value.is_empty())
        };
        let Some((name, value)) =
            find(["https_proxy", "HTTPS_PROXY"]).or_else(|| find(["all_proxy", "ALL_PROXY"]))
        else {
            return Ok(None);
        };
        let no = find(["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default();
        let Ok(target) = format!("https://{authority}").parse::<Uri>() else { return Ok(None) };
        if Matcher::builder().all(ANY).no(no).build().intercept(&target).is_none() {
            return Ok(None);
        }
        // The value may contain a password anywhere, so no error shows it.
        let address = if value.contains("://") { value } else { format!("http://{value}") };
        let unusable = || format!("the value of {name} is no address of a proxy, such as http://HOST:PORT");
        let found = Matcher::builder().all(address.as_str()).build().intercept(&target);
        let Some(found) = found else {
            let scheme = address.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
            return Err(if is_other_scheme(scheme) { other_scheme(scheme, name) } else { unusable() });
        };
        let uri = found.uri();
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            scheme => return Err(other_scheme(scheme.unwrap_or_default(), name)),
        };
        let bracketed = uri.host().unwrap_or_default();
        let has_port = uri.authority().is_some_and(|authority| authority.as_str() != bracketed);
        let port = match uri.port_u16() {
            Some(port) => port,
            None if has_port => return Err(unusable()),
            None if secure => 443,
            None => 80,
        };
        let host = bracketed.trim_matches(['[', ']']).to_string();
        if host.is_empty() || port == 0 {
            return Err(unusable());
        }
        let mut login = found.basic_auth().cloned();
        if let Some(login) = &mut login {
            login.set_sensitive(true);
        }
        Ok(Some(Proxy { secure, host, port, login }))
    }

    /// Returns host and port, for messages.
    pub(super) fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// Connects to `authority` (`host:port`) through the proxy. A refusal of the proxy is final unless its status is 5xx.
    pub(super) async fn connect(&self, authority: &str) -> Result<TokioIo<Upgraded>, RequestOutcome> {
        let place = format!("the proxy {}", self.address());
        let failed = |error| retry::not_connected(&place, &error);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        if !self.secure {
            return self.tunnel(stream, authority).await;
        }
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| RequestOutcome::Untrusted(format!("cannot connect to {place}: {error}")))?;
        let connector = tls::connector().map_err(RequestOutcome::Untrusted)?;
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        self.tunnel(stream, authority).await
    }

    /// Asks the proxy behind `stream` for a tunnel to `authority`.
    async fn tunnel(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        authority: &str,
    ) -> Result<TokioIo<Upgraded>, RequestOutcome> {
        let place = format!("the proxy {}", self.address());
        let lost =
            |error: hyper::Error| RequestOutcome::NotSent(format!("{place} does not open a tunnel: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(HOST, authority);
        if let Some(login) = &self.login {
            request = request.header(PROXY_AUTHORIZATION, login);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| RequestOutcome::Untrusted(format!("{place} cannot be asked: {error}")))?;
        let answer = sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        if !status.is_success() {
            let said = format!("{place} refuses a tunnel to {authority}: {status}");
            return Err(if status.is_server_error() {
                RequestOutcome::NotSent(said)
            } else {
                RequestOutcome::Untrusted(said)
            });
        }
        Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(lost)?))
    }
}

/// Returns true for the name of a scheme, which cannot be a part of a password.
fn is_other_scheme(scheme: &str) -> bool {
    ["ftp", "quic", "socks", "socks4", "socks4a", "socks5", "socks5h"]
        .contains(&scheme.to_ascii_lowercase().as_str())
}

fn other_scheme(scheme: &str, variable: &str) -> String {
    format!("devrun cannot use the {scheme} proxy of {variable}, only http and https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(env: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Proxy::of(&env, "console.neon.tech:443")
    }

    fn found(env: &[(&str, &str)]) -> Option<(bool, String, u16)> {
        proxy(env).unwrap().map(|proxy| (proxy.secure, proxy.host, proxy.port))
    }

    #[test]
    fn the_first_fitting_variable_names_the_proxy() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("HTTP_PROXY", "http://a:1")]), None);
        assert_eq!(found(&[("https_proxy", "http://a:3128")]), Some((false, "a".into(), 3128)));
        assert_eq!(found(&[("ALL_PROXY", "a:3128")]), Some((false, "a".into(), 3128)));
        assert_eq!(found(&[("ALL_PROXY", "a:3128/")]), Some((false, "a".into(), 3128)));
        let both = [("all_proxy", "http://a:1"), ("HTTPS_PROXY", "https://b")];
        assert_eq!(found(&both), Some((true, "b".into(), 443)));
        assert_eq!(
            found(&[("https_proxy", " "), ("HTTPS_PROXY", "http://[::1]:9")]),
            Some((false, "::1".into(), 9))
        );
    }

    #[test]
    fn lower_case_comes_first_as_with_curl() {
        let two = |lower, upper| [(lower, "http://lower:1"), (upper, "http://upper:1")];
        for env in [two("https_proxy", "HTTPS_PROXY"), two("all_proxy", "ALL_PROXY")] {
            assert_eq!(found(&env).unwrap().1, "lower");
        }
        let excepted = [("HTTPS_PROXY", "http://a:1"), ("no_proxy", "neon.tech"), ("NO_PROXY", "other")];
        assert_eq!(found(&excepted), None);
    }

    #[test]
    fn unparsable_address_is_an_error_that_hides_it() {
        for value in [
            "http://",
            "http://me:hunter2",
            "http://me:hunter2@",
            "http://me:hunter2@a:99999",
            "http://me:hunter2@a:0",
            "http://me:hun ter2@a:1",
            "me:hunter2://a:1",
            "a:1/hunter2 x",
        ] {
            let error = proxy(&[("HTTPS_PROXY", value), ("ALL_PROXY", "http://b:1")]).unwrap_err();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("hun"), "{value}: {error}");
            assert_eq!(found(&[("HTTPS_PROXY", value), ("NO_PROXY", "neon.tech")]), None, "{value}");
        }
        let env =
            [("https_proxy".into(), std::os::unix::ffi::OsStringExt::from_vec(b"http://a\xff:1".to_vec()))];
        assert!(Proxy::of(&env.into(), "console.neon.tech:443").is_err());
    }

    #[test]
    fn password_of_the_proxy_is_never_printed() {
        let found = proxy(&[("HTTPS_PROXY", "http://me:hunter2@a:1")]).unwrap().unwrap();
        assert!(found.login.is_some() && !format!("{found:?}").contains("aHVudGVy"), "{found:?}");
    }

    #[test]
    fn proxy_of_another_kind_is_refused() {
        assert!(
            proxy(&[("ALL_PROXY", "socks5://me:hunter2@a:1")])
                .unwrap_err()
                .contains("socks5 proxy of ALL_PROXY")
        );
    }

    #[tokio::test]
    async fn https_proxy_without_a_trusted_certificate_is_not_tried_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = format!("https://me:hunter2@127.0.0.1:{port}");
        let proxy = proxy(&[("HTTPS_PROXY", &address)]).unwrap().unwrap();
        // rustls reports an answer that is not TLS as it reports a certificate that it does not accept.
        let server = async {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            // Closing before the client has sent everything would reset the connection.
            let _ = tokio::io::AsyncReadExt::read(&mut client, &mut [0; 4096]).await;
            client
        };
        let (_client, outcome) = tokio::join!(server, proxy.connect("console.neon.tech:443"));
        let Err(RequestOutcome::Untrusted(told)) = outcome else { panic!("{outcome:?}") };
        assert!(told.starts_with(&format!("cannot connect to the proxy 127.0.0.1:{port}: ")), "{told}");
    }
}
