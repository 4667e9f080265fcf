//! Recognises that a server does not find its application in the code. Pure.

use std::sync::LazyLock;

use regex::Regex;

/// An application that the command of a server names and that the code does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingApplication {
    /// The module in the command.
    pub module: String,
    /// The variable in the module; `None` if there is no such module.
    pub variable: Option<String>,
}

/// The messages of uvicorn, for a variable and for a module, and of gunicorn.
static MESSAGES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r#"Error loading ASGI app\. Attribute "(?<variable>[^"]+)" not found in module "(?<module>[^"]+)""#,
        r#"Error loading ASGI app\. Could not import module "(?<module>[^"]+)""#,
        r"Failed to find attribute '(?<variable>[^']+)' in '(?<module>[^']+)'",
    ];
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});

impl MissingApplication {
    /// Returns the application that the message in `line` names.
    pub fn read(line: &str) -> Option<MissingApplication> {
        let found = MESSAGES.iter().find_map(|message| message.captures(line))?;
        let variable = found.name("variable").map(|variable| variable.as_str().into());
        Some(MissingApplication { module: found["module"].into(), variable })
    }

    /// Returns the step that lets the server find its application.
    pub fn fix(&self) -> String {
        let MissingApplication { module, variable } = self;
        match variable {
            Some(variable) => {
                format!("define `{variable}` in the module `{module}`, or correct the command of the server")
            }
            None => format!("add the module `{module}`, or correct the command of the server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_servers_name_module_and_variable() {
        let fix = |line: &str| MissingApplication::read(line).map(|found| found.fix());
        let variable = "define `app` in the module `app.main`, or correct the command of the server";
        for line in [
            r#"ERROR:    Error loading ASGI app. Attribute "app" not found in module "app.main"."#,
            "Failed to find attribute 'app' in 'app.main'.",
        ] {
            assert_eq!(fix(line).as_deref(), Some(variable), "{line}");
        }
        let module = r#"ERROR:    Error loading ASGI app. Could not import module "app.mian"."#;
        assert_eq!(
            fix(module).as_deref(),
            Some("add the module `app.mian`, or correct the command of the server")
        );
        assert_eq!(fix("ERROR:    Exception in ASGI application"), None);
    }
}
