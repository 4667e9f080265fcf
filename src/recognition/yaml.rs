//! Writes the recognised parts as the text of a devrun.yaml, with the file and line that each part was derived from.

use std::fmt::{Result, Write as _};
use std::path::{Path, PathBuf};

use super::contract::{Binding, Contract, Reason};
use super::facts::{FileLine, TenantUrl};
use super::parts::{Part, PartKind, PartPort, Parts, probe_page, tree};

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
    services(out, parts)?;
    writeln!(out, "processes:")?;
    for part in parts.processes.iter().filter(|part| part.kind != PartKind::Service) {
        let own = rest.iter().copied().filter(|binding| binding.process.as_ref() == Some(&part.name));
        let files = contract.env_files.get(&part.name).map_or(&[][..], Vec::as_slice);
        process(out, parts, part, files, own)?;
    }
    tenant(out, parts, tenants)
}

fn ports(out: &mut String, parts: &Parts) -> Result {
    let base = |part: &Part| match part.port {
        PartPort::None => None,
        PartPort::Binds(base) | PartPort::Listens(base) => Some(format!("{}: {base}", part.name)),
    };
    // Frontends come first, as users list them.
    let is_front = |part: &&Part| part.kind == PartKind::Frontend;
    let front = parts.processes.iter().filter(is_front);
    // The preset of a service has its base.
    let is_rest = |part: &&Part| !is_front(part) && part.kind != PartKind::Service;
    let rest = parts.processes.iter().filter(is_rest);
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
    if parts.node.is_empty() && parts.python.is_empty() {
        return Ok(());
    }
    writeln!(out, "dependencies:")?;
    for (key, folders) in [("node", &parts.node), ("python", &parts.python)] {
        match folders.as_slice() {
            [] => {}
            [folder] => writeln!(out, "  {key}: {{ directory: {} }}", directory(folder))?,
            several => {
                let all: Vec<String> = several.iter().map(|folder| list_item(&tree::shown(folder))).collect();
                writeln!(out, "  {key}: {{ directory: [{}] }}", all.join(", "))?;
            }
        }
    }
    Ok(())
}

/// The scheme of a URL in its default form.
const PLAIN: &str = "postgresql";

/// Returns the scheme of a binding to the branch database's URL alone; `None` for any other value.
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
        let inputs: Vec<String> = migrations.inputs.iter().map(|input| quoted(input)).collect();
        if migrations.is_sql {
            writeln!(out, "    sql: [{}]", inputs.join(", "))?;
        } else {
            writeln!(out, "    run: {}", scalar(&migrations.run))?;
            writeln!(out, "    directory: {}", directory(&migrations.directory))?;
            writeln!(out, "    inputs: [{}]", inputs.join(", "))?;
        }
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

/// Writes the services. Each keeps its data, and sets no variables by itself: the bindings set those that the code reads,
/// except where a person's value leads to another machine.
fn services(out: &mut String, parts: &Parts) -> Result {
    let mut services = parts.processes.iter().filter(|part| part.kind == PartKind::Service).peekable();
    if services.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "services:")?;
    services.try_for_each(|part| {
        writeln!(out, "  {}: {{ data: keep, env: {{}} }}{}", part.name, comment(part.at.as_ref()))
    })
}

fn process<'a>(
    out: &mut String,
    parts: &Parts,
    part: &Part,
    files: &[PathBuf],
    own: impl Iterator<Item = &'a Binding>,
) -> Result {
    writeln!(out, "  {}:{}", part.name, comment(part.at.as_ref()))?;
    writeln!(out, "    run: {}", scalar(&part.run))?;
    writeln!(out, "    directory: {}", directory(&part.directory))?;
    if !files.is_empty() {
        let files: Vec<String> = files.iter().map(|file| list_item(&file.to_string_lossy())).collect();
        writeln!(out, "    env_files: [{}]", files.join(", "))?;
    }
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

/// Returns the processes that `part` must wait for: jobs, which end before anything else starts, and servers beside the
/// product, which must answer before a part uses them.
fn after(parts: &Parts, part: &Part) -> Vec<String> {
    let others = parts.processes.iter().filter(|other| other.name != part.name);
    others
        .filter_map(|other| match (other.kind, part.kind) {
            (PartKind::Service, PartKind::Backend | PartKind::Worker | PartKind::Job) => {
                Some(format!("{}: ready", other.name))
            }
            (PartKind::Job, PartKind::Backend | PartKind::Frontend | PartKind::Worker) => {
                Some(format!("{}: completed", other.name))
            }
            _ => None,
        })
        .collect()
}

/// Writes the tenant URL from the repository's documents, with this worktree's port.
fn tenant(out: &mut String, parts: &Parts, tenants: &[TenantUrl]) -> Result {
    let Some(tenant) = tenants.first() else { return Ok(()) };
    let Some(part) = probe_page::server_of(&parts.processes, tenant) else { return Ok(()) };
    let url = format!("http://{}:${{ports.{}}}{}", tenant.host, part.name, tenant.path);
    writeln!(out, "urls:\n  Tenant: {}{}", scalar(&url), comment(Some(&tenant.at)))
}

/// Returns the place as a comment at the end of a line.
pub(super) fn comment(at: Option<&FileLine>) -> String {
    // A line break in the name of a file would end the comment.
    at.filter(|at| !at.file.to_string_lossy().contains(char::is_control))
        .map(|at| format!("  # {}:{}", at.file.display(), at.line))
        .unwrap_or_default()
}

/// Returns a folder as a scalar.
pub(super) fn directory(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".into() } else { scalar(&folder.to_string_lossy()) }
}

/// Returns `text` as a YAML scalar: unquoted where that is safe in any position, else in JSON's quotes, which YAML
/// accepts too.
pub(super) fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric() || " ._-/$+&={}'".contains(c) || (c == ':' && !text.contains(": "))
        })
        && !text.ends_with([':', ' ']);
    let is_word =
        ["null", "true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if plain && !is_word { text.into() } else { quoted(text) }
}

/// Returns `text` as an item of a one-line list, in which commas and brackets have a meaning.
pub(super) fn list_item(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    if plain { text.into() } else { quoted(text) }
}

/// Returns `text` in quotes.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
