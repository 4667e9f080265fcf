//! Words the way out of an error in the code that runs: a line to correct, or a package that is missing. Pure.

use crate::error::{Fault, RESTART_STACK, START};

/// An error in the code, as the output of its program reports it.
#[derive(Clone, Copy, Debug)]
pub struct CodeError<'a> {
    /// The `file:line` that raised it.
    pub place: Option<&'a str>,
    /// The module that was not found.
    pub missing: Option<&'a str>,
    /// The file with the list of dependencies that was changed after the stack was started.
    pub changed: Option<&'a str>,
}

/// The next start of the corrected code.
#[derive(Clone, Copy, Debug)]
pub enum NextStart<'a> {
    /// The stack runs, and a restart of this process is enough.
    Process(&'a str),
    /// The stack has ended.
    Stack,
}

/// The way out of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// Where the fault lies.
    pub fault: Fault,
    /// The cause, if more is known than the message.
    pub cause: Option<String>,
    /// The next step, if one is known.
    pub fix: Option<String>,
}

impl CodeError<'_> {
    /// Returns the way out, up to the next start of the code.
    pub fn way_out(&self, next: NextStart<'_>) -> WayOut {
        let CodeError { place, missing, changed } = *self;
        let (restart, reinstall) = match next {
            NextStart::Process(name) => (format!("devrun restart {name}"), RESTART_STACK),
            NextStart::Stack => (START.into(), START),
        };
        if let (Some(module), Some(list)) = (missing, changed) {
            let cause =
                format!("{list} was changed after the stack was started, and {module} is not installed");
            return WayOut { fault: Fault::Environment, cause: Some(cause), fix: Some(reinstall.into()) };
        }
        let declared = |correction: String, package: String| match next {
            NextStart::Process(_) => {
                format!("{correction}, then `{restart}`; or declare {package}, then `{reinstall}`")
            }
            NextStart::Stack => format!("{correction}, or declare {package}, then `{restart}`"),
        };
        // A module with a dot may be a misspelled one of the repository.
        let fix = match (place, missing.filter(|module| !module.contains('.'))) {
            (Some(place), Some(module)) => {
                Some(declared(format!("correct {place}"), format!("the package of `{module}`")))
            }
            (Some(place), None) => Some(format!("correct {place}, then `{restart}`")),
            (None, Some(module)) => {
                Some(declared(format!("correct the import of `{module}`"), "its package".into()))
            }
            (None, None) => None,
        };
        WayOut { fault: Fault::Code, cause: None, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_a_misspelling_or_a_package_that_is_not_declared_or_not_installed() {
        let of = |missing, changed| {
            CodeError { place: Some("a.py:3"), missing, changed }.way_out(NextStart::Process("api"))
        };
        let code = |fix: &str| WayOut { fault: Fault::Code, cause: None, fix: Some(fix.into()) };
        assert_eq!(of(None, None), code("correct a.py:3, then `devrun restart api`"));
        assert_eq!(of(None, Some("uv.lock")), of(None, None), "the list is not the cause");
        assert_eq!(of(Some("app.modles"), None), of(None, None), "a module of the repository");
        let undeclared = "correct a.py:3, then `devrun restart api`; or declare the package of `httpx`, then `devrun down && \
                          devrun up -d`";
        assert_eq!(of(Some("httpx"), None), code(undeclared));
        let stale = of(Some("httpx"), Some("uv.lock"));
        assert_eq!((stale.fault, stale.fix.as_deref()), (Fault::Environment, Some(RESTART_STACK)));
        let cause = "uv.lock was changed after the stack was started, and httpx is not installed";
        assert_eq!(stale.cause.as_deref(), Some(cause));
    }

    #[test]
    fn a_stack_that_has_ended_is_started() {
        let of = |place, missing| CodeError { place, missing, changed: None }.way_out(NextStart::Stack).fix;
        assert_eq!(of(Some("a.py:3"), None).as_deref(), Some("correct a.py:3, then `devrun up -d`"));
        let unplaced = "correct the import of `zod`, or declare its package, then `devrun up -d`";
        assert_eq!(of(None, Some("zod")).as_deref(), Some(unplaced));
        assert_eq!(of(None, None), None);
    }
}
