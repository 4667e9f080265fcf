//! Renders a template of an env file. Pure.
//!
//! `${…}` means the same as in a value of devrun.yaml. `$AGENT_DYNAMIC_PORT` and `$DYNAMIC_DB_PORT`, the placeholders of
//! published templates, are replaced too, also in braces. Comments are copied as they are. A placeholder that is not known is an
//! error with its line and column.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::interpolate::{Scope, Template, closing};
use crate::config::source::{ConfigPosition, Source};
use crate::text::similar_names::nearest;

/// The placeholders of published templates.
pub const PUBLISHED: [&str; 2] = ["AGENT_DYNAMIC_PORT", "DYNAMIC_DB_PORT"];

/// The values of [`PUBLISHED`]; `None` if this stack has no such port.
#[derive(Clone, Debug, Default)]
pub struct PublishedPorts {
    /// The port of the application.
    pub application: Option<u16>,
    /// The port of the database server.
    pub database: Option<String>,
}

impl PublishedPorts {
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "AGENT_DYNAMIC_PORT" => self.application.map(|port| port.to_string()),
            _ => self.database.clone(),
        }
    }

    fn variables(&self) -> BTreeMap<String, String> {
        PUBLISHED.into_iter().filter_map(|name| Some((name.to_string(), self.value(name)?))).collect()
    }
}

/// An error in a template.
#[derive(Debug)]
pub enum TemplateError {
    /// A placeholder has a name that is not known.
    Unknown(ConfigError),
    /// A value cannot be computed, or the stack has none for a known name.
    Other(ConfigError),
}

impl From<ConfigError> for TemplateError {
    fn from(error: ConfigError) -> TemplateError {
        TemplateError::Other(error)
    }
}

/// Returns the text of `source` with every placeholder replaced.
pub fn render(source: &Arc<Source>, scope: &Scope, ports: &PublishedPorts) -> Result<String, TemplateError> {
    let scope = &scope.clone().with_variables(&ports.variables());
    let mut rendered = String::with_capacity(source.text().len());
    for (number, line) in (1..).zip(source.text().split_inclusive('\n')) {
        if line.trim_start().starts_with('#') {
            rendered.push_str(line);
            continue;
        }
        render_line(source, number, line, scope, ports, &mut rendered)?;
    }
    Ok(rendered)
}

fn render_line(
    source: &Arc<Source>,
    number: u32,
    line: &str,
    scope: &Scope,
    ports: &PublishedPorts,
    rendered: &mut String,
) -> Result<(), TemplateError> {
    let mut at = 0;
    while let Some(dollar) = line[at..].find('$').map(|found| at + found) {
        rendered.push_str(&line[at..dollar]);
        let column = u32::try_from(line[..dollar].chars().count()).unwrap_or(u32::MAX).saturating_add(1);
        let position = ConfigPosition { column, ..ConfigPosition::line(source, number) };
        let after = &line[dollar + 1..];
        at = if let Some(inside) = after.strip_prefix('{') {
            // A `?` behind the URL of the database adds parameters to it, so the text up to the next `$` belongs to the template.
            let closed = closing(inside).map_or(line.len(), |end| dollar + 2 + end + 1);
            let end = line[closed..].find('$').map_or(line.len(), |next| closed + next);
            rendered.push_str(&in_braces(&Template::new(&line[dollar..end], &position), scope)?);
            end
        } else if after.starts_with('$') {
            rendered.push('$');
            dollar + 2
        } else {
            let length = after.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
            let name = &after[..length.unwrap_or(after.len())];
            if name.len() > 1 && name.starts_with(|c: char| c.is_ascii_uppercase()) {
                rendered.push_str(&published(name, ports, &position)?);
                dollar + 1 + name.len()
            } else {
                rendered.push('$');
                dollar + 1
            }
        };
    }
    rendered.push_str(&line[at..]);
    Ok(())
}

fn in_braces(template: &Template, scope: &Scope) -> Result<String, TemplateError> {
    template.render(scope).map_err(|error| match error {
        ConfigError::Variable { ref name, .. } if PUBLISHED.contains(&name.as_str()) => {
            TemplateError::Other(without_value(name, &template.at))
        }
        error if template.has_unknown_name(scope) => TemplateError::Unknown(error),
        error => TemplateError::Other(error),
    })
}

fn published(name: &str, ports: &PublishedPorts, at: &ConfigPosition) -> Result<String, TemplateError> {
    if !PUBLISHED.contains(&name) {
        let near = nearest(name, &PUBLISHED).map(|near| format!("; did you mean `${near}`?"));
        let message = format!("`${name}` is not a known placeholder{}", near.unwrap_or_default());
        return Err(TemplateError::Unknown(ConfigError::invalid(at, message).with_fix(format!(
            "write `${{{name}}}` for the variable {name}, or `$$` for a dollar sign; known without braces: $AGENT_DYNAMIC_PORT, \
             $DYNAMIC_DB_PORT"
        ))));
    }
    ports.value(name).ok_or_else(|| without_value(name, at).into())
}

/// Returns the error for one of [`PUBLISHED`] that this stack does not have.
fn without_value(name: &str, at: &ConfigPosition) -> ConfigError {
    let missing =
        if name == "AGENT_DYNAMIC_PORT" { "no process has a port" } else { "there is no branch database" };
    ConfigError::invalid(at, format!("`${name}` has no value: {missing}"))
        .with_fix("remove the line from the template")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let ports = PublishedPorts { application: Some(3147), database: Some("5433".into()) };
        with(text, &ports).map_err(|error| match error {
            TemplateError::Unknown(error) => error.to_string(),
            TemplateError::Other(error) => format!("other: {error}"),
        })
    }

    fn with(text: &str, published: &PublishedPorts) -> Result<String, TemplateError> {
        let ports = [("web".to_string(), 3147)].into();
        let scope = Scope::new([("KEY".into(), "k".into())].into())
            .with_branch("b")
            .with_ports(47, &ports)
            .with_database("db", "postgresql://u:p@localhost:5433/db");
        render(&Source::new(".env.t", text), &scope, published)
    }

    #[test]
    fn published_placeholders_and_names_of_devrun_are_replaced() {
        let text = "# $NOT_KNOWN ${nor this}\nPORT=$AGENT_DYNAMIC_PORT\nDB=localhost:$DYNAMIC_DB_PORT/x\nQ=w-${ports.web}${slot % 16}\n\
                    K=\"${KEY}\" $1 $$X p$ss\nU=${database.url}?schema=public\nN=${NONE:-${branch}}";
        let wanted = "# $NOT_KNOWN ${nor this}\nPORT=3147\nDB=localhost:5433/x\nQ=w-314715\nK=\"k\" $1 $X p$ss\n\
                      U=postgresql://u:p@localhost:5433/db?schema=public\nN=b";
        assert_eq!(rendered(text).unwrap(), wanted);
    }

    #[test]
    fn e6_an_unknown_placeholder_is_an_error_with_line_and_column() {
        for (text, place) in [
            ("A=1\nB=é$DYNAMIC_PORT\n", ".env.t:2:4: `$DYNAMIC_PORT` is not a known placeholder"),
            (
                "A=1\n\nB=${ports.web}${prots.web}",
                ".env.t:3:15: `${prots.web}` is not a name that devrun knows",
            ),
            ("A=${NONE}", ".env.t:1:3: NONE is not set"),
            ("A=${slot", "other: .env.t:1:3: opens `${`"),
            ("A=${slot / 0}", "other: .env.t:1:3: `${slot / 0}`"),
        ] {
            let error = rendered(text).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn e6_published_placeholders_work_in_braces_too() {
        let text =
            "PORT=${AGENT_DYNAMIC_PORT}\nDB=${DYNAMIC_DB_PORT:-5432}\nNEXT=${AGENT_DYNAMIC_PORT + 1}\n";
        assert_eq!(rendered(text).unwrap(), "PORT=3147\nDB=5433\nNEXT=3148\n");
        let none = PublishedPorts::default();
        assert_eq!(with("DB=${DYNAMIC_DB_PORT:-5432}", &none).unwrap(), "DB=5432");
        for text in ["A=$DYNAMIC_DB_PORT", "A=${DYNAMIC_DB_PORT}"] {
            let Err(TemplateError::Other(error)) = with(text, &none) else { panic!("{text}") };
            assert_eq!(
                error.to_string(),
                ".env.t:1:3: `$DYNAMIC_DB_PORT` has no value: there is no branch database"
            );
        }
    }
}
