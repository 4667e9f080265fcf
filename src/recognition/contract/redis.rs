//! Binds variables that hold the address of the repository's own Redis.

use super::super::parts::PartKind;
use super::Reason;
use super::address::literal;
use super::builder::ContractBuilder;
use super::evidence::{Evidence, VariableValue, View};
use super::names::words;
use crate::context::this_machine::is_this_machine;

/// Binds each Redis URL of a local server, and `REDIS_HOST` and `REDIS_PORT`, if the worktree has a Redis.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    let services = evidence.parts.processes.iter().filter(|part| part.kind == PartKind::Service);
    let Some(redis) =
        services.into_iter().find(|part| part.name.contains("redis") || part.name.contains("valkey"))
    else {
        return;
    };
    let port = format!("${{ports.{}}}", redis.name);
    for view in views {
        if let Some((value, text)) =
            view.deciding().iter().find_map(|value| Some((value, url(value, &port)?)))
        {
            draft.bind(view, text, Reason::Redis, value.at);
            continue;
        }
        let Some(at) = view.at().filter(|_| !view.reads.is_empty()) else { continue };
        let Some(piece) = piece(view.name) else { continue };
        let remote = view.person().is_some_and(|value| !is_here(evidence, value.text));
        match piece {
            RedisPart::Url if view.values.is_empty() => {
                draft.bind(view, format!("redis://localhost:{port}/0"), Reason::Redis, at);
            }
            RedisPart::Host if !remote => draft.bind(view, "localhost".to_string(), Reason::Redis, at),
            RedisPart::Port if is_local(evidence, view) => draft.bind(view, port.clone(), Reason::Redis, at),
            // The worktree's server has no password, and refuses a client that sends one.
            RedisPart::Password if is_local(evidence, view) && !view.values.is_empty() => {
                draft.bind(view, String::new(), Reason::Redis, at);
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum RedisPart {
    Url,
    Host,
    Port,
    Password,
}

fn piece(name: &str) -> Option<RedisPart> {
    let words = words(name);
    if !words.iter().any(|word| word == "REDIS") {
        return None;
    }
    Some(match words.last()?.as_str() {
        "URL" | "URI" | "DSN" => RedisPart::Url,
        "HOST" | "HOSTNAME" | "SERVER" => RedisPart::Host,
        "PORT" => RedisPart::Port,
        "PASSWORD" | "PASS" => RedisPart::Password,
        _ => return None,
    })
}

/// Returns false if the user's variable for the host (`REDIS_HOST` beside `REDIS_PORT`) names another machine.
fn is_local(evidence: &Evidence<'_>, view: &View<'_>) -> bool {
    let stem = view.name.rsplit_once('_').map_or("", |(stem, _)| stem);
    evidence.person_of(&format!("{stem}_HOST"), view.part).is_none_or(|host| is_here(evidence, host))
}

fn is_here(evidence: &Evidence<'_>, host: &str) -> bool {
    is_this_machine(host) || evidence.facts.services.iter().any(|service| service.name == host)
}

/// Returns the URL with the address of this worktree's Redis and the database number of `value`. Leaves out the password, TLS and the
/// parameters: this Redis has neither password nor TLS.
fn url(value: &VariableValue<'_>, port: &str) -> Option<String> {
    let (scheme, after) = value.text.split_once("://")?;
    if !["redis", "rediss", "valkey"].contains(&scheme) {
        return None;
    }
    let place = after.rsplit_once('@').map_or(after, |(_, place)| place);
    let end = place.find(['/', '?']).unwrap_or(place.len());
    let host = place[..end].split(':').next().unwrap_or_default();
    let local = is_this_machine(host) || (!host.contains('.') && !host.is_empty());
    let path = place[end..].split('?').next().unwrap_or_default();
    let scheme = if scheme == "rediss" { "redis" } else { scheme };
    local.then(|| format!("{scheme}://localhost:{port}{}", literal(path)))
}

#[cfg(test)]
mod tests {
    use super::super::test_repo::{TestRepo, part};
    use super::*;

    fn repo() -> TestRepo {
        TestRepo::new().part(part("redis", PartKind::Service, "redis-server --port $PORT", &[6379]))
    }

    #[test]
    fn a_local_url_keeps_the_number_of_its_database_and_loses_its_password() {
        let contract = repo()
            .env(
                "backend/.env.example",
                "CELERY_BROKER_URL=redis://redis:6379/2\nREDIS_URL=rediss://:pw@localhost:6379",
            )
            .reads("backend/app/settings.py", &["CELERY_BROKER_URL", "REDIS_URL"])
            .bind();
        assert_eq!(contract.value("CELERY_BROKER_URL"), Some("redis://localhost:${ports.redis}/2"));
        assert_eq!(contract.value("REDIS_URL"), Some("redis://localhost:${ports.redis}"));
    }

    #[test]
    fn pieces_and_unset_urls_are_bound_too() {
        let contract = repo()
            .reads(
                "backend/app/settings.py",
                &[
                    "REDIS_URL",
                    "REDIS_HOST=redis",
                    "REDIS_PORT=6379",
                    "CACHE_REDIS_PORT=6379",
                    "REDIS_PASSWORD=pw",
                    "REDIS_DB=0",
                ],
            )
            .bind();
        assert_eq!(contract.value("REDIS_URL"), Some("redis://localhost:${ports.redis}/0"));
        assert_eq!(contract.value("REDIS_HOST"), Some("localhost"));
        assert_eq!(contract.value("CACHE_REDIS_PORT"), Some("${ports.redis}"));
        // devrun sets it for every process, as the port of the process `redis`.
        assert_eq!(contract.value("REDIS_PORT"), None);
        assert_eq!(contract.value("REDIS_PASSWORD"), Some(""));
        assert_eq!(contract.value("REDIS_DB"), None);
    }

    #[test]
    fn a_persons_redis_elsewhere_other_brokers_and_a_product_without_redis_stay() {
        let contract = repo()
            .env("backend/.env", "REDIS_HOST=r.example.net\nREDIS_URL=redis://r.example.net:6379/0\nBROKER_URL=amqp://localhost")
            .reads("backend/app/settings.py", &["REDIS_URL", "REDIS_HOST", "REDIS_PORT=6379", "BROKER_URL"])
            .bind();
        assert_eq!(contract.bindings, []);
        let without =
            TestRepo::new().reads("backend/app/settings.py", &["REDIS_URL=redis://localhost:6379"]).bind();
        assert_eq!(without.bindings, []);
    }
}
