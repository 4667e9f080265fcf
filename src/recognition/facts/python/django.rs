//! Finds the port of a Postgres in the settings of Django, where a literal decides to which server the application connects.

use tree_sitter::Node;

use super::code::PythonCode;
use crate::recognition::facts::FixedDatabase;
use crate::recognition::facts::syntax::children;

/// Returns the literal ports of the databases whose `ENGINE` is that of Postgres.
pub(super) fn fixed_ports(code: &PythonCode<'_>) -> Vec<FixedDatabase> {
    code.of_kind("dictionary").filter_map(|settings| fixed_port(code, settings)).collect()
}

fn fixed_port(code: &PythonCode<'_>, settings: Node<'_>) -> Option<FixedDatabase> {
    let value = |name: &str| {
        children(settings).into_iter().filter(|entry| entry.kind() == "pair").find_map(|pair| {
            let key = pair.child_by_field_name("key").and_then(|key| code.string(key))?;
            (key == name).then(|| pair.child_by_field_name("value")).flatten()
        })
    };
    let engine = value("ENGINE").and_then(|engine| code.string(engine))?;
    if !engine.starts_with("django") || !(engine.contains("postgresql") || engine.contains("postgis")) {
        return None;
    }
    let written = value("PORT")?;
    let port = match written.kind() {
        "integer" => code.text(written).parse().ok()?,
        _ => code.string(written)?.parse().ok()?,
    };
    let read = value("HOST").and_then(|host| like_host(code, host, port));
    let read = read.unwrap_or_else(|| format!("os.environ.get(\"POSTGRES_PORT\", \"{port}\")"));
    Some(FixedDatabase { at: code.spot(written), port: Some((port, read)) })
}

/// Returns the expression that reads the port as the code reads the host: `environ.get("DB_PORT", "5432")` for
/// `environ.get("DB_HOST", "db")`.
fn like_host(code: &PythonCode<'_>, host: Node<'_>, port: u16) -> Option<String> {
    let function = code.text(host.child_by_field_name("function").filter(|_| host.kind() == "call")?);
    let name = code.string(*code.arguments(host).positional.first()?)?;
    let family = name.strip_suffix("_HOST")?;
    Some(format!("{function}(\"{family}_PORT\", \"{port}\")"))
}
