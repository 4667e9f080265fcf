//! Writes what was recognised as the text of a devrun.yaml, with the file and line that each part was concluded from.

use std::fmt::{Result, Write as _};
use std::path::Path;

use super::contract::{Binding, Contract, Reason};
use super::facts::{Spot, TenantUrl};
use super::parts::{Kind, Part, PartPort, Parts};

/// Returns the text; empty when there is no process.
pub fn text(parts: &Parts, contract: &Contract, tenants: &[TenantUrl]) -> String {
    let mut text = String::new();
    if !parts.processes.is_empty() {
        // Writing to a String never fails.
        let _ = write(&mut text, parts, contract, tenants);
    }
    text
}

fn write(out: &mut String, parts: &Parts, contract: &Contract, tenants: &[TenantUrl]) -> Result {
    ports(out, parts)?;
    let (urls, rest): (Vec<&Binding>, Vec<&Binding>) =
        contract.bindings.iter().partition(|binding| scheme(binding).is_some());
    variables(out, "", "env", rest.iter().copied().filter(|binding| binding.process.is_none()))?;
    dependencies(out, parts)?;
    database(out, parts, &urls)?;
    redirects(out, contract)?;
    writeln!(out, "processes:")?;
    for part in &parts.processes {
        let own = rest.iter().copied().filter(|binding| binding.process.as_ref() == Some(&part.name));
        process(out, parts, part, own)?;
    }
    tenant(out, parts, tenants)
}

fn ports(out: &mut String, parts: &Parts) -> Result {
    let base = |part: &Part| match part.port {
        PartPort::None => None,
        PartPort::Binds(base) | PartPort::Listens(base) => Some(format!("{}: {base}", part.name)),
    };
    // Frontends first, as people name them.
    let is_front = |part: &&Part| part.kind == Kind::Frontend;
    let front = parts.processes.iter().filter(is_front);
    let rest = parts.processes.iter().filter(|part| !is_front(part));
    let bases: Vec<String> = front.chain(rest).filter_map(base).collect();
    if bases.is_empty() { Ok(()) } else { writeln!(out, "ports: {{ {} }}", bases.join(", ")) }
}

fn variables<'a>(
    out: &mut String,
    indent: &str,
    key: &str,
    bindings: impl Iterator<Item = &'a Binding>,
) -> Result {
    let mut bindings = bindings.peekable();
    if bindings.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{indent}{key}:")?;
    for binding in bindings {
        writeln!(
            out,
            "{indent}  {}: {}{}",
            binding.name,
            scalar(&binding.value),
            comment(Some(&binding.at))
        )?;
    }
    Ok(())
}

fn dependencies(out: &mut String, parts: &Parts) -> Result {
    if parts.node.is_none() && parts.python.is_none() {
        return Ok(());
    }
    writeln!(out, "dependencies:")?;
    for (key, folder) in [("node", &parts.node), ("python", &parts.python)] {
        if let Some(folder) = folder {
            writeln!(out, "  {key}: {{ directory: {} }}", directory(folder))?;
        }
    }
    Ok(())
}

/// The scheme of a URL that wants no other form.
const PLAIN: &str = "postgresql";

/// The scheme of a binding that is the branch database's URL and nothing else.
fn scheme(binding: &Binding) -> Option<&str> {
    let inner = binding.value.strip_prefix("${database.url")?.strip_suffix('}')?;
    let is_url = binding.process.is_none() && binding.reason == Reason::DatabaseUrl;
    let scheme = if inner.is_empty() { PLAIN } else { inner.strip_prefix(':')? };
    (is_url && !scheme.contains(['$', '{', '}'])).then_some(scheme)
}

fn database(out: &mut String, parts: &Parts, urls: &[&Binding]) -> Result {
    if parts.migrations.is_none() && !parts.wants_database {
        return Ok(());
    }
    if urls.is_empty() && parts.migrations.is_none() {
        return writeln!(out, "database: {{}}");
    }
    writeln!(out, "database:")?;
    if let Some(migrations) = &parts.migrations {
        writeln!(out, "  migrate:{}", comment(migrations.at.as_ref()))?;
        writeln!(out, "    run: {}", scalar(&migrations.run))?;
        writeln!(out, "    directory: {}", directory(&migrations.directory))?;
        let inputs: Vec<String> = migrations.inputs.iter().map(|input| quoted(input)).collect();
        writeln!(out, "    inputs: [{}]", inputs.join(", "))?;
    }
    if urls.is_empty() {
        return Ok(());
    }
    if urls.iter().all(|binding| scheme(binding) == Some(PLAIN)) {
        let names: Vec<&str> = urls.iter().map(|binding| binding.name.as_str()).collect();
        return writeln!(
            out,
            "  url_env: [{}]{}",
            names.join(", "),
            comment(urls.first().map(|binding| &binding.at))
        );
    }
    writeln!(out, "  url_env:")?;
    for binding in urls {
        let scheme = scheme(binding).unwrap_or_default();
        writeln!(out, "    {}: {}{}", binding.name, scalar(scheme), comment(Some(&binding.at)))?;
    }
    Ok(())
}

fn redirects(out: &mut String, contract: &Contract) -> Result {
    if contract.redirects.is_empty() {
        return Ok(());
    }
    writeln!(out, "redirects:")?;
    for (port, part, at) in &contract.redirects {
        writeln!(out, "  {port}: {part}{}", comment(Some(at)))?;
    }
    Ok(())
}

fn process<'a>(
    out: &mut String,
    parts: &Parts,
    part: &Part,
    own: impl Iterator<Item = &'a Binding>,
) -> Result {
    writeln!(out, "  {}:{}", part.name, comment(part.at.as_ref()))?;
    writeln!(out, "    run: {}", scalar(&part.run))?;
    writeln!(out, "    directory: {}", directory(&part.directory))?;
    match part.port {
        PartPort::None => {}
        PartPort::Binds(_) => writeln!(out, "    port: {}", part.name)?,
        PartPort::Listens(_) => writeln!(out, "    listen: {}", part.name)?,
    }
    let after = after(parts, part);
    if !after.is_empty() {
        writeln!(out, "    depends_on: {{ {} }}", after.join(", "))?;
    }
    if let Some(ready) = &part.ready {
        writeln!(out, "    ready: {{ {ready} }}")?;
    }
    variables(out, "    ", "env", own)
}

/// Jobs end before anything else starts; servers beside the product answer before what uses them.
fn after(parts: &Parts, part: &Part) -> Vec<String> {
    let others = parts.processes.iter().filter(|other| other.name != part.name);
    others
        .filter_map(|other| match (other.kind, part.kind) {
            (Kind::Service, Kind::Backend | Kind::Worker | Kind::Job) => {
                Some(format!("{}: ready", other.name))
            }
            (Kind::Job, Kind::Backend | Kind::Frontend | Kind::Worker) => {
                Some(format!("{}: completed", other.name))
            }
            _ => None,
        })
        .collect()
}

/// The tenant URL that the repository's documents name, with this worktree's port.
fn tenant(out: &mut String, parts: &Parts, tenants: &[TenantUrl]) -> Result {
    let Some(tenant) = tenants.first() else { return Ok(()) };
    let named = parts.processes.iter().find(|part| {
        part.port != PartPort::None && tenant.port.is_some_and(|port| part.usual_ports.contains(&port))
    });
    let shown = parts.processes.iter().find(|part| part.kind == Kind::Frontend);
    let Some(part) = named.or(shown) else { return Ok(()) };
    let url = format!("http://{}:${{ports.{}}}{}", tenant.host, part.name, tenant.path);
    writeln!(out, "urls:\n  Tenant: {}{}", scalar(&url), comment(Some(&tenant.at)))
}

fn comment(at: Option<&Spot>) -> String {
    // A line break in a file's name would end the comment.
    at.filter(|at| !at.file.to_string_lossy().contains(char::is_control))
        .map(|at| format!("  # {}:{}", at.file.display(), at.line))
        .unwrap_or_default()
}

fn directory(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".into() } else { scalar(&folder.to_string_lossy()) }
}

/// `text` as a YAML scalar: bare where that is safe in any position, else in JSON's quotes, which YAML reads too.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric() || " ._-/$+&={}'".contains(c) || (c == ':' && !text.contains(": "))
        })
        && !text.ends_with([':', ' ']);
    let is_word =
        ["null", "true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if plain && !is_word { text.into() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
