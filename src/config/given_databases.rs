//! Decides which variables of env files and of the shell get the address of the branch database, and which name another
//! Postgres.
//!
//! Pure. A variable with the URL of a Postgres on this machine or in a container, and a family of variables with the
//! parts of such an address, lead to the server that all worktrees share. They get the branch database's values in the
//! same form. A variable that the user wrote under `env:` keeps its value, and decides about its family.

use std::collections::BTreeMap;

use crate::config::interpolate::Template;
use crate::config::libpq;
use crate::config::model::{Config, ProcessConfig};
use crate::config::names::variable_stem;
use crate::config::postgres_names::{self, DEFAULT_URL, PostgresPart, is_apart, split};
use crate::config::postgres_url::{self, PgUrl};
use crate::config::url_forms::{self, UrlForm};
use crate::plan::{OtherDatabaseForm, OtherDatabaseVariable, Reason};

/// The values that env files and the shell give, by the names of the variables.
pub type GivenValues<'a> = BTreeMap<&'a str, &'a str>;

/// The variables whose values env files and the shell do not decide: those of `env:` with their templates, and those
/// that devrun computes or withholds, without a template.
pub type DecidedVariables<'a> = BTreeMap<String, Option<&'a Template>>;

/// A given variable that gets the branch database's value instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedVariable {
    pub name: String,
    /// The value as devrun.yaml writes it: `${database.host}`.
    pub template: String,
    /// Whether it is a URL or a part of the address.
    pub reason: Reason,
}

/// A family: the variables that hold the parts of one address.
struct DatabaseFamily<'a> {
    stem: String,
    members: Vec<(PostgresPart, &'a str, FamilyMember<'a>)>,
}

/// The source that decides the value of a variable of a family.
#[derive(Clone, Copy)]
enum FamilyMember<'a> {
    /// An env file or the shell, with this value.
    Given(&'a str),
    /// The configuration; without a template, devrun itself.
    Decided(Option<&'a Template>),
}

/// The server that a family leads to.
enum FamilyServer<'a> {
    /// A server on this machine or in a container.
    Local,
    /// A server on another machine, and the variable that names its host.
    Remote(&'a str, &'a str),
    /// A server that the user chose under `env:`.
    Chosen,
    /// A server that is no Postgres.
    OtherKind,
    /// No variable names the host.
    Unnamed,
}

/// Returns the variables that env files and the shell do not decide for `process`; without one, for all processes.
pub fn decided<'a>(config: &'a Config, process: Option<&'a ProcessConfig>) -> DecidedVariables<'a> {
    let urls = config.url_env().iter().map(|variable| variable.name.clone());
    let ports = config.ports.keys().map(|port| format!("{}_PORT", variable_stem(port)));
    let fixed = libpq::STEERING.into_iter().chain([DEFAULT_URL]).chain(config.withheld());
    let computed = urls.chain(ports).chain(fixed.map(Into::into)).map(|name| (name, None));
    let written = config.env.iter().chain(process.into_iter().flat_map(|process| &process.env));
    computed.chain(written.map(|(name, template)| (name.clone(), Some(template)))).collect()
}

/// Returns the given variables that lead to a Postgres on this machine or in a container.
pub fn replaced(given: &GivenValues<'_>, decided: &DecidedVariables<'_>) -> Vec<ReplacedVariable> {
    let urls = given.iter().filter(|(name, _)| !decided.contains_key(**name) && !is_apart(name));
    let urls = urls.filter_map(|(name, value)| {
        let url = PgUrl::parse(value).filter(PgUrl::is_local)?;
        let template = postgres_url::template(name, url.scheme, &url.kept_query());
        Some(ReplacedVariable { name: (*name).into(), template, reason: Reason::DatabaseUrl })
    });
    let families = families(given, decided);
    let servers: Vec<FamilyServer<'_>> = families.iter().map(|family| family.server(given)).collect();
    let all = || families.iter().zip(&servers);
    let has_local = all().any(|(_, server)| matches!(server, FamilyServer::Local));
    let has_other = all().any(|(family, server)| {
        family.has(PostgresPart::Host) && matches!(server, FamilyServer::Remote(..) | FamilyServer::Chosen)
    });
    let parts = all().filter(|(family, server)| match server {
        FamilyServer::Local => true,
        // `DATABASE_NAME` belongs to `DB_HOST`. Without any host, the one in the code is that of the shared server.
        FamilyServer::Unnamed => has_local || (family.is_login() && !has_other),
        FamilyServer::Remote(..) | FamilyServer::Chosen | FamilyServer::OtherKind => false,
    });
    let parts = parts.flat_map(|(family, _)| family.given()).map(|(part, name, _)| ReplacedVariable {
        name: name.into(),
        template: part.template().into(),
        reason: Reason::DatabasePart,
    });
    urls.chain(parts).collect()
}

/// Returns a report for each family that names a Postgres on another machine, except the server of the URL `own`.
pub fn remote(
    given: &GivenValues<'_>,
    decided: &DecidedVariables<'_>,
    own: Option<&str>,
) -> Vec<OtherDatabaseVariable> {
    let own = own.and_then(url_forms::parts);
    let report = |family: &DatabaseFamily<'_>| {
        let FamilyServer::Remote(name, host) = family.server(given) else { return None };
        if own.as_ref().is_some_and(|own| family.is_at(own)) {
            return None;
        }
        let parts = family.given().map(|(part, name, _)| (name.to_string(), part.template())).collect();
        let form = OtherDatabaseForm::Parts(parts);
        Some(OtherDatabaseVariable { name: name.into(), host: host.into(), form })
    };
    families(given, decided).iter().filter_map(report).collect()
}

/// Returns the form of the Postgres URL `value`, so that the branch database's URL gets the driver and the parameters that the
/// application expects. `None` if it is not a Postgres URL, or its form is the default.
pub fn form(value: &str) -> Option<UrlForm> {
    let url = PgUrl::parse(value)?;
    let form = UrlForm::read(&format!("{}{}", url.scheme, url.kept_query()))?;
    (form.merged("postgresql://") != "postgresql://").then_some(form)
}

fn families<'a>(given: &GivenValues<'a>, decided: &'a DecidedVariables<'_>) -> Vec<DatabaseFamily<'a>> {
    let mut families: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let given = given.iter().filter(|(name, _)| !decided.contains_key(**name));
    let given = given.map(|(name, value)| (*name, FamilyMember::Given(value)));
    let decided = decided.iter().map(|(name, template)| (name.as_str(), FamilyMember::Decided(*template)));
    for (name, member) in given.chain(decided) {
        if let Some((stem, part)) = split(name) {
            families.entry(stem).or_default().push((part, name, member));
        }
    }
    let all = families.into_iter().map(|(stem, members)| DatabaseFamily { stem, members });
    all.filter(DatabaseFamily::is_postgres).collect()
}

impl<'a> DatabaseFamily<'a> {
    fn has(&self, part: PostgresPart) -> bool {
        self.members.iter().any(|(other, ..)| *other == part)
    }

    /// Returns true if the family names a database and the role that uses it.
    fn is_login(&self) -> bool {
        self.has(PostgresPart::Name) && (self.has(PostgresPart::User) || self.has(PostgresPart::Password))
    }

    fn given(&self) -> impl Iterator<Item = (PostgresPart, &'a str, &'a str)> {
        self.members.iter().filter_map(|(part, name, member)| match member {
            FamilyMember::Given(value) => Some((*part, *name, *value)),
            FamilyMember::Decided(_) => None,
        })
    }

    /// Returns true if the names show a Postgres, or the usual port does. `CHROMA_DB_HOST` alone shows none.
    fn is_postgres(&self) -> bool {
        if postgres_names::is_own(&self.stem) {
            let has_role = [PostgresPart::Name, PostgresPart::User, PostgresPart::Password];
            return postgres_names::is_plain(&self.stem) || has_role.into_iter().any(|part| self.has(part));
        }
        let is_usual =
            |(part, _, value): (PostgresPart, &str, &str)| part == PostgresPart::Port && value == "5432";
        self.is_login() && !postgres_names::is_other(&self.stem) && self.given().any(is_usual)
    }

    fn server(&self, given: &GivenValues<'a>) -> FamilyServer<'a> {
        let mut engines = postgres_names::engine_variables(&self.stem);
        let is_other_engine = |name: String| {
            given.get(name.as_str()).is_some_and(|value| postgres_names::kind_of_engine(value).is_some())
        };
        let is_other_port = |(part, _, value): (PostgresPart, &str, &str)| {
            part == PostgresPart::Port && postgres_names::kind_of_port(value).is_some()
        };
        if engines.any(is_other_engine) || self.given().any(is_other_port) {
            return FamilyServer::OtherKind;
        }
        let mut server = FamilyServer::Unnamed;
        for (part, name, member) in &self.members {
            match (part, member) {
                (PostgresPart::Host, FamilyMember::Given(host)) if url_forms::is_local(host) => {
                    server = FamilyServer::Local;
                }
                (PostgresPart::Host, FamilyMember::Given(host)) => return FamilyServer::Remote(name, host),
                (PostgresPart::Host, FamilyMember::Decided(Some(template))) if leads_here(template) => {
                    server = FamilyServer::Local;
                }
                (PostgresPart::Port, FamilyMember::Decided(Some(template))) if template.uses_database() => {}
                (PostgresPart::Host | PostgresPart::Port, FamilyMember::Decided(_)) => {
                    return FamilyServer::Chosen;
                }
                _ => {}
            }
        }
        server
    }

    /// Returns true if no given host, port or name differs from the address `own`.
    fn is_at(&self, own: &url_forms::UrlParts) -> bool {
        self.given().all(|(part, _, value)| match part {
            PostgresPart::Host => value == own.host,
            PostgresPart::Port => value == own.port,
            PostgresPart::Name => value == own.name,
            PostgresPart::User | PostgresPart::Password => true,
        })
    }
}

/// Returns true if a host that the user wrote is the branch database's, or may be.
fn leads_here(template: &Template) -> bool {
    template.uses_database() || (template.names().is_empty() && url_forms::is_local(&template.text))
}

#[cfg(test)]
mod tests;
