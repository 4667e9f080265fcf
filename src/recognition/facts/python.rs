//! Facts of a Python file: variables, settings classes, applications, workers, loopback addresses.
//!
//! A search of bytes decides whether the grammar runs at all. Nothing is executed or imported.

mod applications;
mod code;
mod constants;
mod environment;
mod literals;
mod refusals;
mod settings;
#[cfg(test)]
mod tests;
mod workers;

use std::path::Path;

use memchr::memmem;

use super::file::FileFacts;
use super::syntax::{Grammar, parse};
use code::Code;

/// A file with none of these has no facts.
const WORDS: &[&str] = &[
    "environ",
    "getenv",
    "Settings",
    "FastAPI",
    "APIRouter",
    "Celery",
    "create_all",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "load_dotenv",
    "decouple",
    "starlette.config",
    "dramatiq",
    "WorkerSettings",
    "from rq",
    "import rq",
    "uvicorn.run",
    "BaseConfig",
];

/// Returns the facts of the Python file `file`, whose text is `text`.
pub(super) fn read(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    if is_test(file) || !WORDS.iter().any(|word| memmem::find(text.as_bytes(), word.as_bytes()).is_some()) {
        return facts;
    }
    let Some(tree) = parse(Grammar::Python, text) else { return facts };
    let code = Code::new(file, text, &tree);
    // Literals that are the default of a variable are no fixed addresses.
    let mut defaults = Vec::new();
    environment::read(&code, &mut facts, &mut defaults);
    settings::read(&code, &mut facts, &mut defaults);
    literals::read(&code, &mut facts, &defaults);
    facts.module = applications::read(&code);
    workers::read(&code, &mut facts);
    facts
}

/// True for tests: the variables and addresses there are not the product's.
fn is_test(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("test_")
        || name.ends_with("_test.py")
        || name == "conftest.py"
        || file.parent().is_some_and(|folder| folder.iter().any(|part| part == "tests" || part == "test"))
}
