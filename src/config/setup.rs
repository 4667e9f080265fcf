//! Reads `setup:`, the steps that make files which the product needs: generated code, builds.

use crate::config::error::ConfigError;
use crate::config::model::SetupStep;
use crate::config::value_tree::{KeyValue, Node, Value};
use crate::config::{keys, values};
use crate::plan::Need;

/// Reads the steps, in the order written.
pub fn read(node: &Node) -> Result<Vec<SetupStep>, ConfigError> {
    values::named(node)?.iter().map(step).collect()
}

fn step(entry: &KeyValue) -> Result<SetupStep, ConfigError> {
    let name = entry.name.clone();
    // The short form: `codegen: pnpm codegen`.
    if let Value::Text(_) = entry.value.value {
        let run = values::run(&entry.value)?;
        return Ok(SetupStep { name, run, directory: ".".into(), inputs: Vec::new(), needs: None });
    }
    let table = entry.value.table(&keys::SETUP)?;
    let needs = |node: &Node| {
        let needs = values::needs(node)?;
        if needs.contains(&Need::Setup) {
            return Err(
                node.error("must not wait for `setup`: steps run in the order in which they are written")
            );
        }
        Ok((needs, node.at.clone()))
    };
    Ok(SetupStep {
        name,
        run: values::run(table.need("run")?)?,
        directory: table.map("directory", values::inner_path)?.unwrap_or_else(|| ".".into()),
        inputs: table.map("inputs", values::patterns)?.unwrap_or_default(),
        needs: table.map("needs", needs)?,
    })
}
