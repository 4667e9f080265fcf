//! Checks that a shared Redis answers and has the database of this worktree.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::error::ServiceError;
use super::resp::{self, RespValue};
use crate::context::default_ports;
use crate::context::this_machine::is_this_machine;

/// Time limit of the check.
const LIMIT: Duration = Duration::from_secs(5);

/// A shared Redis, as the configuration names it.
#[derive(Clone, Debug)]
pub struct SharedRedis {
    /// Where it is written.
    pub at: String,
    pub service: String,
    /// The URL for this worktree.
    pub url: String,
    /// The slot, if it is the number of the database.
    pub slot: Option<u16>,
}

/// Checks that the server answers, accepts the password, and has a database with the number of the slot.
pub async fn check(redis: &SharedRedis) -> Result<(), ServiceError> {
    let SharedRedis { at, service, url, slot } = redis;
    let wrong = |reason| ServiceError::SharedUrl { at: at.clone(), service: service.clone(), reason };
    let url = Url::parse(url).map_err(|_| wrong("it is no URL"))?;
    if url.scheme() != "redis" {
        return Err(wrong("its scheme is not redis"));
    }
    let number = url.path().trim_start_matches('/');
    if slot.is_some_and(|slot| number != slot.to_string()) {
        return Err(wrong("it names a database, whose number is the slot"));
    }
    let host = url.host_str().ok_or_else(|| wrong("it has no host"))?.trim_matches(['[', ']']).to_string();
    let port = url.port().unwrap_or(default_ports::REDIS);
    let address = format!("{host}:{port}");
    let user = percent_decode_str(url.username()).decode_utf8_lossy().into_owned();
    let password =
        url.password().map(|password| percent_decode_str(password).decode_utf8_lossy().into_owned());
    let mut commands: Vec<Vec<&str>> = Vec::new();
    if let Some(password) = &password {
        let user = (!user.is_empty()).then_some(user.as_str());
        commands.push(["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect());
    }
    commands.push(if number.is_empty() { vec!["PING"] } else { vec!["SELECT", number] });
    commands.push(vec!["CONFIG", "GET", "databases"]);
    let asked = resp::ask(&host, port, &commands, LIMIT).await;
    let answers = asked.map_err(|error| ServiceError::Unreachable {
        at: at.clone(),
        service: service.clone(),
        address: address.clone(),
        reason: error.to_string(),
    })?;
    judge(redis, address, &answers)
}

/// Returns the port in `url` if the host is this machine.
pub fn local_port(url: &str) -> Option<u16> {
    let url = Url::parse(url).ok()?;
    is_this_machine(url.host_str()?).then(|| url.port().unwrap_or(default_ports::REDIS))
}

/// Errors if the server refused a command. The last answer, to `CONFIG GET databases`, may be a refusal: many servers refuse that
/// command.
fn judge(redis: &SharedRedis, address: String, answers: &[RespValue]) -> Result<(), ServiceError> {
    let (at, service) = (redis.at.clone(), redis.service.clone());
    let Some((configured, others)) = answers.split_last() else { return Ok(()) };
    let refusal = others.iter().find_map(|answer| match answer {
        RespValue::Error(text) => Some(text.clone()),
        _ => None,
    });
    match (refusal, redis.slot) {
        (None, _) => Ok(()),
        (Some(text), Some(slot)) if text.contains("out of range") => {
            let databases = match configured {
                RespValue::List(items) => items.get(1).and_then(|count| count.parse().ok()),
                _ => None,
            };
            Err(ServiceError::NoDatabase { at, service, address, slot, databases })
        }
        (Some(answer), _) => Err(ServiceError::Refused { at, service, address, answer }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(url: &str, slot: Option<u16>) -> SharedRedis {
        SharedRedis {
            at: "devrun.yaml:1:2: services.redis.shared".into(),
            service: "redis".into(),
            url: url.into(),
            slot,
        }
    }

    fn judged(answers: &[RespValue]) -> Option<String> {
        judge(&redis("", Some(57)), "h:1".into(), answers).err().map(|error| error.to_string())
    }

    #[test]
    fn number_of_databases_is_in_the_error_if_the_server_reports_it() {
        let range = RespValue::Error("ERR DB index is out of range".into());
        let count = RespValue::List(vec!["databases".into(), "16".into()]);
        let begin = "devrun.yaml:1:2: services.redis.shared: this worktree has slot 57, and the shared server of `redis` at h:1 has \
                     no database 57";
        assert_eq!(judged(&[range.clone(), count]), Some(format!("{begin}: it has 16, from 0 to 15")));
        assert_eq!(judged(&[range, RespValue::Error("NOPERM".into())]), Some(begin.into()));
    }

    #[test]
    fn refused_password_is_reported_and_refused_config_get_is_not() {
        let ok = RespValue::Text("OK".into());
        assert_eq!(judged(&[ok.clone(), RespValue::Error("NOPERM".into())]), None);
        let wrong = RespValue::Error("WRONGPASS invalid username-password pair".into());
        assert!(
            judged(&[wrong, ok.clone(), ok])
                .unwrap()
                .ends_with("refuses: WRONGPASS invalid username-password pair")
        );
    }

    #[test]
    fn only_servers_on_this_machine_have_a_local_port() {
        for (url, port) in [
            ("redis://localhost/3", Some(6379)),
            ("redis://:pw@[::1]:7000/3", Some(7000)),
            ("redis://cache.example.net:6379/3", None),
        ] {
            assert_eq!(local_port(url), port, "{url}");
        }
    }

    #[tokio::test]
    async fn urls_that_cannot_be_used_are_refused_without_showing_them() {
        for (url, slot) in
            [("no url", None), ("rediss://:pw@h", None), ("redis://:pw@h/3/57", Some(57)), ("redis:x", None)]
        {
            let error = check(&redis(url, slot)).await.unwrap_err();
            assert!(
                matches!(error, ServiceError::SharedUrl { .. }) && !error.to_string().contains("pw"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn missing_server_is_unreachable() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = check(&redis(&format!("redis://127.0.0.1:{port}/5"), Some(5))).await.unwrap_err();
        assert!(matches!(error, ServiceError::Unreachable { .. }), "{error}");
    }
}
