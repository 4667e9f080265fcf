//! Reads facts of a Python file: variables, settings classes, applications, workers, loopback addresses.
//!
//! Searches for a few words first, and parses the file only if it contains one of them. Executes and imports nothing.

mod applications;
mod code;
mod constants;
mod django;
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
use code::PythonCode;

/// Words that a file with facts must contain.
const WORDS: &[&str] = &[
    "environ",
    "getenv",
    "Settings",
    "settings.",
    "settings().",
    "FastAPI",
    "APIRouter",
    "Celery",
    "create_all",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "postgres",
    "load_dotenv",
    "decouple",
    "starlette.config",
    "dramatiq",
    "WorkerSettings",
    "from rq",
    "import rq",
    "uvicorn.run",
    "BaseConfig",
    // Helpers such as `get_env(` of another module.
    "env(",
    "env_",
];

/// Returns the facts of the Python file `file` with the content `text`.
pub(super) fn read(file: &Path, text: &str) -> FileFacts {
    let mut facts = FileFacts::default();
    if is_test(file) || !WORDS.iter().any(|word| memmem::find(text.as_bytes(), word.as_bytes()).is_some()) {
        return facts;
    }
    let Some(tree) = parse(Grammar::Python, text) else { return facts };
    let code = PythonCode::new(file, text, &tree);
    // A literal that is the default of a variable is not a fixed address.
    let mut defaults = Vec::new();
    environment::read(&code, &mut facts, &mut defaults);
    settings::read(&code, &mut facts, &mut defaults);
    refusals::guards(&code, &mut facts);
    literals::read(&code, &mut facts, &defaults);
    facts.databases.extend(django::fixed_ports(&code));
    facts.module = applications::read(&code);
    workers::read(&code, &mut facts);
    facts
}

/// Returns true for tests: variables and addresses there are not the product's.
fn is_test(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("test_")
        || name.ends_with("_test.py")
        || name == "conftest.py"
        || file.parent().is_some_and(|folder| folder.iter().any(|part| part == "tests" || part == "test"))
}
