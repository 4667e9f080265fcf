//! Recognises the shape of a repository that has no configuration, and writes down the devrun.yaml it would have.
//!
//! What is recognised goes through the same text as what people write, so `devrun init` shows exactly what runs. Looks at
//! files only; the parts know Next.js and `FastAPI`, nothing else of devrun does.

pub mod fastapi;
pub mod next;
pub mod tree;

use std::fmt::Write as _;
use std::path::Path;

use fastapi::FastApi;
use next::Next;

/// What was recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// A Next.js application.
    pub next: Option<Next>,
    /// A `FastAPI` application.
    pub fastapi: Option<FastApi>,
}

/// Looks at the worktree at `root`.
pub fn detect(root: &Path) -> Shape {
    let tree = tree::scan(root);
    Shape { next: next::find(root, &tree), fastapi: fastapi::find(root, &tree) }
}

impl Shape {
    /// True when nothing was recognised.
    pub fn is_empty(&self) -> bool {
        self.next.is_none() && self.fastapi.is_none()
    }

    /// What was recognised, a remark each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(next) = &self.next {
            remarks.push(format!("Next.js in {}", next.directory.display()));
        }
        if let Some(fastapi) = &self.fastapi {
            remarks.push(format!("FastAPI in {} ({})", fastapi.directory.display(), fastapi.app));
            if let Some(alembic) = &fastapi.alembic {
                remarks.push(format!("Alembic in {}", alembic.directory.display()));
            }
        }
        remarks
    }

    /// The devrun.yaml that says what was recognised; empty when nothing was.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        // Writing to a String never fails.
        let _ = self.write_yaml(&mut text);
        text
    }

    fn write_yaml(&self, out: &mut String) -> std::fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let bases =
            [self.next.as_ref().map(|_| "frontend: 3100"), self.fastapi.as_ref().map(|_| "backend: 8100")];
        let bases: Vec<&str> = bases.into_iter().flatten().collect();
        writeln!(out, "ports: {{ {} }}", bases.join(", "))?;
        if self.next.is_some() && self.fastapi.is_some() {
            writeln!(out, "env:\n  NEXT_PUBLIC_API_URL: http://localhost:${{ports.backend}}")?;
        }
        writeln!(out, "dependencies:")?;
        if let Some(next) = &self.next {
            writeln!(out, "  node: {{ directory: {} }}", scalar(&next.packages.to_string_lossy()))?;
        }
        if let Some(fastapi) = &self.fastapi {
            writeln!(out, "  python: {{ directory: {} }}", scalar(&fastapi.packages.to_string_lossy()))?;
            if let Some(alembic) = &fastapi.alembic {
                writeln!(out, "database:\n  migrate:\n    run: alembic upgrade head")?;
                writeln!(out, "    directory: {}", scalar(&alembic.directory.to_string_lossy()))?;
                writeln!(out, "    inputs: [{}]", quoted(&alembic.inputs))?;
            }
        }
        writeln!(out, "processes:")?;
        if let Some(fastapi) = &self.fastapi {
            writeln!(out, "  backend:\n    run: {}", scalar(&fastapi.command()))?;
            writeln!(out, "    directory: {}", scalar(&fastapi.directory.to_string_lossy()))?;
            writeln!(out, "    listen: backend\n    ready: {{ {} }}", fastapi.probe.yaml())?;
        }
        if let Some(next) = &self.next {
            writeln!(out, "  frontend:\n    run: {}", scalar(&next.command()))?;
            writeln!(out, "    directory: {}", scalar(&next.directory.to_string_lossy()))?;
            writeln!(out, "    port: frontend")?;
            // The first page compiles while the first request waits.
            writeln!(out, "    ready: {{ http: /, timeout: 15s, deadline: 3m }}")?;
        }
        Ok(())
    }
}

/// `text` as a YAML scalar: bare where that is safe in any position, else in JSON's quotes, which YAML reads too.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric() || " ._-/$+".contains(c) || (c == ':' && !text.contains(": "))
        })
        && !text.ends_with([':', ' ']);
    if plain { text.into() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
