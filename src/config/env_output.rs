//! Reads `env_out`, the files that devrun writes for programs that it does not start, and `shell_env`.

use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::source::ConfigPosition;
use crate::config::value_tree::{KeyValue, Node, Value};
use crate::config::{keys, values};

/// A template that devrun uses without configuration, and the file that is made from it. Guides for agents publish both names.
pub const USUAL_TEMPLATE: &str = ".env.agent.template";
pub const USUAL_OUTPUT: &str = ".env.local";

/// A file that devrun writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvOutput {
    /// Path relative to the worktree.
    pub path: PathBuf,
    /// Where it is configured.
    pub at: ConfigPosition,
    /// True to write a block into a file of the user; false to generate the whole file.
    pub is_block: bool,
    /// The variables to write; the usual ones if absent.
    pub only: Option<Vec<NamePattern>>,
    /// The process whose variables are written, and where it is named.
    pub process: Option<(String, ConfigPosition)>,
    /// The template to render, relative to the worktree, and where it is named.
    pub template: Option<(PathBuf, ConfigPosition)>,
}

/// The name of a variable, or a pattern such as `CLERK_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    pattern: glob::Pattern,
    /// Where it is written.
    pub at: ConfigPosition,
}

impl NamePattern {
    fn read(node: &Node) -> Result<NamePattern, ConfigError> {
        let text = node.word()?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
        let pattern = glob::Pattern::new(text).ok().filter(|_| text.chars().all(is_name));
        let pattern = pattern.ok_or_else(|| {
            node.error(format!("`{text}` is not a valid name for an environment variable"))
                .with_fix("write a name, or a pattern such as `CLERK_*`")
        })?;
        Ok(NamePattern { pattern, at: node.at.clone() })
    }

    /// Returns true if it matches `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }

    /// Returns the text as written.
    pub fn text(&self) -> &str {
        self.pattern.as_str()
    }

    /// Returns the name, unless it is a pattern.
    pub fn name(&self) -> Option<&str> {
        Some(self.pattern.as_str()).filter(|text| !text.contains('*'))
    }
}

/// Reads a list of names and patterns.
pub fn name_patterns(node: &Node) -> Result<Vec<NamePattern>, ConfigError> {
    node.items()?.into_iter().map(NamePattern::read).collect()
}

/// Reads `shell_env`. A pattern that matches every variable is an error, because only named variables may be read.
pub fn shell_env(node: &Node) -> Result<Vec<NamePattern>, ConfigError> {
    let all = name_patterns(node)?;
    match all.iter().find(|one| one.pattern.as_str().chars().all(|c| c == '*')) {
        None => Ok(all),
        Some(one) => Err(ConfigError::invalid(&one.at, "would read every variable of the login shell")
            .with_fix("name the variables, such as `[NEON_API_KEY, \"CLERK_*\"]`")),
    }
}

/// Reads `env_out`: a mapping from paths to options, or a list of paths.
pub fn read(node: &Node) -> Result<Vec<EnvOutput>, ConfigError> {
    let outputs: Vec<EnvOutput> = match &node.value {
        Value::Map(entries) => entries.iter().map(output).collect::<Result<_, _>>()?,
        _ => node
            .items()?
            .into_iter()
            .map(|item| Ok(EnvOutput::whole(values::inner_path(item)?, &item.at)))
            .collect::<Result<_, ConfigError>>()?,
    };
    let is_same = |one: &EnvOutput, other: &EnvOutput| one.path == other.path;
    for (index, output) in outputs.iter().enumerate() {
        if output.path == Path::new(".") {
            return Err(ConfigError::invalid(&output.at, "is a folder")
                .with_fix("name a file, such as `.env.devrun`"));
        }
        if let Some(other) = outputs[..index].iter().find(|other| is_same(output, other)) {
            let message = format!("`{}` is named twice, also at {}", output.path.display(), other.at.spot());
            return Err(ConfigError::invalid(&output.at, message).with_fix("remove one of the entries"));
        }
    }
    Ok(outputs)
}

impl EnvOutput {
    /// Returns a generated file with the usual variables.
    fn whole(path: PathBuf, at: &ConfigPosition) -> EnvOutput {
        EnvOutput { path, at: at.clone(), is_block: false, only: None, process: None, template: None }
    }

    /// Returns the file that is generated from [`USUAL_TEMPLATE`] if the configuration names neither.
    pub fn usual(at: &ConfigPosition) -> EnvOutput {
        let template = Some((USUAL_TEMPLATE.into(), at.clone()));
        EnvOutput { template, ..EnvOutput::whole(USUAL_OUTPUT.into(), at) }
    }
}

fn output(entry: &KeyValue) -> Result<EnvOutput, ConfigError> {
    let name = Node { at: entry.at.clone(), value: Value::Text(entry.name.clone()) };
    let table = entry.value.table(&keys::ENV_OUT)?;
    let only = table.map("only", name_patterns)?;
    let template = table.map("template", |path| Ok((values::inner_path(path)?, path.at.clone())))?;
    if let (Some(_), Some((_, at))) = (&only, &template) {
        return Err(ConfigError::invalid(at, "the template itself says which variables are written")
            .with_fix("keep `only` or `template`, not both"));
    }
    Ok(EnvOutput {
        path: values::inner_path(&name)?,
        at: entry.at.clone(),
        is_block: table.map("block", Node::boolean)?.unwrap_or(false),
        only,
        process: table.map("process", |name| Ok((name.word()?.to_string(), name.at.clone())))?,
        template,
    })
}
