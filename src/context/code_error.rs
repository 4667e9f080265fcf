//! Advises on an error in the code that runs: which line to correct, or which package to install. Pure.

use crate::context::dependency_lists::PackageState;
use crate::context::missing_application::MissingApplication;
use crate::error::{Fault, RESTART_STACK, START};
use crate::text::correction_of;

/// An error in the code, as the output of its program reports it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeError<'a> {
    /// The `file:line` that raised it.
    pub place: Option<&'a str>,
    /// The module that was not found.
    pub missing: Option<&'a str>,
    /// Why it was not found, if the files of the worktree show it.
    pub package: Option<&'a PackageState>,
    /// The application that the server did not find.
    pub application: Option<&'a MissingApplication>,
}

/// The next start of the corrected code.
#[derive(Clone, Copy, Debug)]
pub enum NextStart<'a> {
    /// The stack runs, and a restart of this process is enough.
    Process(&'a str),
    /// The stack has ended.
    Stack,
}

/// The advice on an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Where the fault lies.
    pub fault: Fault,
    /// The cause, if more is known than the message.
    pub cause: Option<String>,
    /// The `file:line` or the file to correct.
    pub correct: Option<String>,
    /// The next step, if one is known.
    pub fix: Option<String>,
}

impl CodeError<'_> {
    /// Returns the advice, up to the next start of the code.
    pub fn advice(&self, next: NextStart<'_>) -> Advice {
        let CodeError { place, missing, package, application } = *self;
        let (restart, reinstall) = match next {
            NextStart::Process(name) => (format!("devrun restart {name}"), RESTART_STACK),
            NextStart::Stack => (START.into(), START),
        };
        let correct = place.map(String::from);
        let of_code = |cause, fix| Advice { fault: Fault::Code, cause, correct, fix };
        let corrected = |correction: String| format!("{correction}, then `{restart}`");
        let either = |correction: String, other: String| match next {
            NextStart::Process(_) => format!("{}; or {other}, then `{reinstall}`", corrected(correction)),
            NextStart::Stack => format!("{correction}, or {other}, then `{restart}`"),
        };
        let Some(module) = missing else {
            let correction = application.map(MissingApplication::fix);
            let correction = correction.or_else(|| place.map(correction_of));
            return of_code(None, correction.map(corrected));
        };
        let correction = match place {
            Some(place) => correction_of(place),
            None => format!("correct the import of `{module}`"),
        };
        let environment = |cause| Advice {
            fault: Fault::Environment,
            cause: Some(cause),
            correct: None,
            fix: Some(reinstall.into()),
        };
        match package {
            Some(PackageState::NotInstalled { list }) => {
                environment(format!("`{module}` is in {list} but is not installed"))
            }
            Some(PackageState::Changed { list }) => environment(format!(
                "{list} was changed after the stack was started, and {module} is not installed"
            )),
            Some(PackageState::NotCompiled { input, list, others, command }) if others.is_empty() => Advice {
                fault: Fault::Code,
                cause: Some(format!(
                    "`{module}` is in {input} but not in {list}, from which devrun installs"
                )),
                correct: Some(list.clone()),
                fix: Some(format!("update {list} with `{command}`, then `{reinstall}`")),
            },
            Some(PackageState::NotCompiled { input, list, others, command }) => {
                let packages = others.join(", ");
                let cause =
                    format!("{list}, from which devrun installs, does not have {packages} of {input}");
                of_code(Some(cause), Some(either(correction, format!("update {list} with `{command}`"))))
            }
            Some(PackageState::WithoutModule) => {
                let cause = format!("the package `{module}` is installed and has no module of this name");
                of_code(Some(cause), Some(corrected(correction)))
            }
            // A module with a dot may be a misspelled one of the repository.
            None if module.contains('.') => of_code(None, place.map(|_| corrected(correction))),
            None => {
                let package =
                    if place.is_some() { format!("the package of `{module}`") } else { "its package".into() };
                of_code(None, Some(either(correction, format!("declare {package}"))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(place: Option<&str>, missing: Option<&str>, package: Option<&PackageState>) -> Advice {
        CodeError { place, missing, package, application: None }.advice(NextStart::Process("api"))
    }

    fn code(cause: Option<&str>, fix: &str) -> Advice {
        let correct = Some("a.py:3".into());
        Advice { fault: Fault::Code, cause: cause.map(Into::into), correct, fix: Some(fix.into()) }
    }

    #[test]
    fn a_missing_module_is_a_misspelling_or_a_package_that_is_not_declared() {
        let of = |missing| of(Some("a.py:3"), missing, None);
        assert_eq!(of(None), code(None, "correct a.py:3, then `devrun restart api`"));
        assert_eq!(of(Some("app.modles")), of(None), "a module of the repository");
        let undeclared = "correct a.py:3, then `devrun restart api`; or declare the package of `httpx`, then `devrun down && \
                          devrun up -d`";
        assert_eq!(of(Some("httpx")), code(None, undeclared));
    }

    #[test]
    fn a_package_that_is_listed_and_not_installed_is_the_environment() {
        let of = |package: PackageState| of(Some("a.py:3"), Some("httpx"), Some(&package));
        let environment = |cause: &str| Advice {
            fault: Fault::Environment,
            cause: Some(cause.into()),
            correct: None,
            fix: Some(RESTART_STACK.into()),
        };
        let list = || "b/uv.lock".to_string();
        let gone = of(PackageState::NotInstalled { list: list() });
        assert_eq!(gone, environment("`httpx` is in b/uv.lock but is not installed"));
        let changed = of(PackageState::Changed { list: list() });
        let cause = "b/uv.lock was changed after the stack was started, and httpx is not installed";
        assert_eq!(changed, environment(cause));
    }

    #[test]
    fn a_list_that_lacks_packages_of_its_input_is_updated() {
        let of = |others: &[&str]| {
            let package = PackageState::NotCompiled {
                input: "r.in".into(),
                list: "r.txt".into(),
                others: others.iter().map(ToString::to_string).collect(),
                command: "uv pip compile".into(),
            };
            of(Some("a.py:3"), Some("httpx"), Some(&package))
        };
        let sure = Advice {
            fault: Fault::Code,
            cause: Some("`httpx` is in r.in but not in r.txt, from which devrun installs".into()),
            correct: Some("r.txt".into()),
            fix: Some("update r.txt with `uv pip compile`, then `devrun down && devrun up -d`".into()),
        };
        assert_eq!(of(&[]), sure);
        let perhaps = "correct a.py:3, then `devrun restart api`; or update r.txt with `uv pip compile`, then `devrun down && \
                       devrun up -d`";
        let cause = "r.txt, from which devrun installs, does not have pyyaml of r.in";
        assert_eq!(of(&["pyyaml"]), code(Some(cause), perhaps));
    }

    #[test]
    fn a_module_that_its_package_does_not_have_is_corrected() {
        let cause = "the package `pillow` is installed and has no module of this name";
        let found = of(Some("a.py:3"), Some("pillow"), Some(&PackageState::WithoutModule));
        assert_eq!(found, code(Some(cause), "correct a.py:3, then `devrun restart api`"));
    }

    #[test]
    fn a_missing_application_is_defined_or_its_command_is_corrected() {
        let application = MissingApplication { module: "app.main".into(), variable: Some("app".into()) };
        let error = CodeError { application: Some(&application), ..CodeError::default() };
        let advice = error.advice(NextStart::Process("api"));
        assert_eq!((advice.fault, advice.correct), (Fault::Code, None));
        assert_eq!(advice.fix, Some(format!("{}, then `devrun restart api`", application.fix())));
    }

    #[test]
    fn a_stack_that_has_ended_is_started() {
        let of = |place, missing| {
            CodeError { place, missing, ..CodeError::default() }.advice(NextStart::Stack).fix
        };
        assert_eq!(of(Some("a.py:3"), None).as_deref(), Some("correct a.py:3, then `devrun up -d`"));
        let unplaced = "correct the import of `zod`, or declare its package, then `devrun up -d`";
        assert_eq!(of(None, Some("zod")).as_deref(), Some(unplaced));
        assert_eq!(of(None, None), None);
        let gone = PackageState::NotInstalled { list: "r.txt".into() };
        let gone = CodeError { missing: Some("six"), package: Some(&gone), ..CodeError::default() };
        assert_eq!(gone.advice(NextStart::Stack).fix.as_deref(), Some("devrun up -d"));
    }
}
