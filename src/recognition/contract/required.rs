//! Fills settings that the application needs and that no env file of the user sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::facts::{FileLine, GivenValue, ReadConstruct};
use super::address::literal;
use super::builder::ContractBuilder;
use super::evidence::{Evidence, Strength, VariableValue, View, is_product};
use super::names::{is_foreign_key, is_placeholder, is_signing_key, is_typed};
use super::{Reason, RemarkKind};

/// Keys that libraries read themselves, so the repository's code does not read them.
const READ_BY_LIBRARIES: &[&str] = &["NEXTAUTH_SECRET", "AUTH_SECRET", "BETTER_AUTH_SECRET"];

/// Binds required settings to the example's values, and signing keys without a usable value to random bytes. Reports values
/// that only the user has. Runs after the other rules that bind, because a variable that another rule bound has a value.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    let mut filled: BTreeMap<PathBuf, (FileLine, Vec<String>)> = BTreeMap::new();
    let mut random: Vec<(FileLine, String)> = Vec::new();
    let mut missing: BTreeMap<&str, (&View<'_>, bool)> = BTreeMap::new();
    for view in views {
        if is_bound(view, draft) {
            continue;
        }
        match decide(evidence, view) {
            RequirementDecision::Leave => {}
            RequirementDecision::Fill(value, foreign) => {
                draft.bind(view, literal(value.text), Reason::Example, value.at);
                let (_, names) =
                    filled.entry(value.at.file.clone()).or_insert_with(|| (value.at.clone(), Vec::new()));
                names.push(view.name.to_string());
                if foreign {
                    missing.entry(view.name).or_insert((view, false));
                }
            }
            RequirementDecision::Random => {
                let Some(at) = view.at().or_else(|| stated_empty(evidence, view)) else { continue };
                draft.bind(view, format!("${{secret.{}}}", view.name), Reason::RandomKey, at);
                random.push((at.clone(), view.name.to_string()));
            }
            RequirementDecision::Missing => {
                missing.entry(view.name).or_insert((view, fails(evidence, view)));
            }
        }
    }
    report(filled, random, draft);
    for (name, (view, required)) in missing {
        report_missing(evidence, name, view, required, draft);
    }
}

enum RequirementDecision<'a> {
    Leave,
    /// Takes the value of an example. True when the value is only a placeholder for the user's key.
    Fill(VariableValue<'a>, bool),
    Random,
    Missing,
}

fn is_bound(view: &View<'_>, draft: &ContractBuilder) -> bool {
    let names = view.reads.iter().flat_map(|read| std::iter::once(&read.name).chain(&read.aliases));
    draft.has(view.name, view.part) || names.into_iter().any(|name| draft.has(name, view.part))
}

fn decide<'a>(evidence: &Evidence<'a>, view: &View<'a>) -> RequirementDecision<'a> {
    let read_here = view.part.is_some();
    // An empty value in an example asks the user for one, and a library that signs with an empty key fails later and elsewhere.
    let by_library = READ_BY_LIBRARIES.contains(&view.name)
        && (view.values.iter().any(|value| value.strength > Strength::Person)
            || (!view.set && stated_empty(evidence, view).is_some()));
    if !read_here && !by_library {
        return RequirementDecision::Leave;
    }
    // Skips a name if the setting has another name with higher priority that is set.
    let own: Vec<_> = view.reads.iter().filter(|read| read.name == view.name).collect();
    let set_elsewhere =
        own.iter().flat_map(|read| &read.aliases).any(|alias| evidence.person_of(alias, view.part).is_some());
    if (own.is_empty() && !by_library) || set_elsewhere {
        return RequirementDecision::Leave;
    }
    let required = own.iter().any(|read| read.required);
    let default = view.values.iter().any(|value| value.strength == Strength::Default);
    if is_signing_key(view.name) {
        return signing_key(view, required);
    }
    if required && !is_typed(view.name) && evidence.facts.made.iter().any(|name| name == view.name) {
        return generated(view);
    }
    if view.set {
        return RequirementDecision::Leave;
    }
    let aliases = own.iter().flat_map(|read| &read.aliases).map(|alias| evidence.view_of(alias, view.part));
    let named_otherwise: Vec<VariableValue<'a>> = aliases.flat_map(|alias| alias.values).collect();
    let example =
        view.values.iter().chain(&named_otherwise).find(|value| value.strength != Strength::Default);
    let foreign = is_foreign_key(view.name);
    match example {
        Some(value) if required => RequirementDecision::Fill(*value, foreign && is_placeholder(value.text)),
        None if required || (foreign && !default && stated_empty(evidence, view).is_some()) => {
            RequirementDecision::Missing
        }
        _ => RequirementDecision::Leave,
    }
}

/// Decides on a key that any random text can be. Keeps the present value, unless the application itself refuses it.
fn signing_key<'a>(view: &View<'a>, required: bool) -> RequirementDecision<'a> {
    let default = view.values.iter().find(|value| value.strength == Strength::Default && !required).copied();
    if let Some(value) = view.person().or(default) {
        return if refused(view, value.text) {
            RequirementDecision::Random
        } else {
            RequirementDecision::Leave
        };
    }
    let examples = view.values.iter().filter(|value| value.strength != Strength::Default);
    let usable = examples.into_iter().find(|value| !refused(view, value.text) && !value.text.contains('<'));
    usable.map_or(RequirementDecision::Random, |value| RequirementDecision::Fill(*value, false))
}

/// Decides about a key whose example names a command for random text. A placeholder does not count as a value.
fn generated<'a>(view: &View<'a>) -> RequirementDecision<'a> {
    if let Some(value) = view.person() {
        return if refused(view, value.text) {
            RequirementDecision::Random
        } else {
            RequirementDecision::Leave
        };
    }
    let usable = |value: &&VariableValue<'_>| {
        value.strength != Strength::Default && !is_placeholder(value.text) && !refused(view, value.text)
    };
    view.values
        .iter()
        .find(usable)
        .map_or(RequirementDecision::Random, |value| RequirementDecision::Fill(*value, false))
}

/// Returns the line of a file of the product that sets the variable to an empty value.
fn stated_empty<'a>(evidence: &Evidence<'a>, view: &View<'_>) -> Option<&'a FileLine> {
    let mut given = evidence.facts.values.iter();
    let is_empty = |given: &&GivenValue| {
        given.name == view.name && given.value.trim().is_empty() && is_product(&given.at.file)
    };
    given.find(is_empty).map(|given| &given.at)
}

/// Returns true if the code fails without a value of the user. An empty value of an env file or an example reaches Python code, so
/// such code fails only if it refuses an empty value.
fn fails(evidence: &Evidence<'_>, view: &View<'_>) -> bool {
    let is_python = |by| matches!(by, ReadConstruct::Python | ReadConstruct::Settings);
    let mut required = view.reads.iter().filter(|read| read.required);
    let is_empty_given = stated_empty(evidence, view).is_some();
    required.any(|read| !is_empty_given || !is_python(read.by) || refused(view, ""))
}

/// Returns true if a validator of the application refuses the value.
fn refused(view: &View<'_>, text: &str) -> bool {
    view.reads.iter().any(|read| {
        read.refused.iter().any(|placeholder| placeholder == text)
            || read.min_length.is_some_and(|least| text.chars().count() < least)
    })
}

fn report(
    filled: BTreeMap<PathBuf, (FileLine, Vec<String>)>,
    random: Vec<(FileLine, String)>,
    draft: &mut ContractBuilder<'_>,
) {
    for (file, (at, mut names)) in filled {
        names.dedup();
        let text = format!(
            "{} {} the value of {}",
            names.join(", "),
            if names.len() == 1 { "has" } else { "have" },
            file.display()
        );
        draft.remark(RemarkKind::Filled, &at, text, None);
    }
    let mut names: Vec<String> = random.iter().map(|(_, name)| name.clone()).collect();
    names.dedup();
    if let Some((at, _)) = random.into_iter().next() {
        let text =
            format!("{}: random bytes that devrun keeps for this repository, outside git", names.join(", "));
        draft.remark(RemarkKind::Filled, &at, text, None);
    }
}

fn report_missing(
    evidence: &Evidence<'_>,
    name: &str,
    view: &View<'_>,
    required: bool,
    draft: &mut ContractBuilder<'_>,
) {
    let Some(at) = view.read_at().or_else(|| view.at()) else { return };
    let what = if is_foreign_key(name) {
        "is a key that only you have"
    } else if is_typed(name) {
        "is a password that you choose"
    } else {
        "has no value in any file of the repository"
    };
    let (kind, effect) = if required {
        (RemarkKind::RequiredKey, "the code fails without it")
    } else {
        (RemarkKind::OptionalKey, "the feature that reads it does not work without it")
    };
    let file = env_file(evidence, view);
    let fix = format!("{}: {name}=…", file.display());
    draft.remark(kind, at, format!("{name} {what}; {effect}"), Some(fix));
}

/// Returns the env file to write the value to: the one beside the example that names it, else the one in the part's
/// folder.
fn env_file(evidence: &Evidence<'_>, view: &View<'_>) -> PathBuf {
    let example = evidence
        .facts
        .values
        .iter()
        .find(|given| given.name == view.name && given.by == super::super::facts::Giver::Example);
    let folder = match (example, view.part) {
        (Some(given), _) => given.at.file.parent().unwrap_or(Path::new("")).to_path_buf(),
        (None, Some(part)) => super::evidence::without_dots(&evidence.part(part).directory),
        (None, None) => PathBuf::new(),
    };
    let node =
        view.reads.iter().any(|read| matches!(read.by, ReadConstruct::Node | ReadConstruct::ImportMeta));
    folder.join(if node { ".env.local" } else { ".env" })
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Giver, VariableRead};
    use super::super::test_repo::{TestRepo, spot};
    use super::*;

    fn setting(name: &str, refused: &[&str], min_length: Option<usize>) -> VariableRead {
        VariableRead {
            name: name.to_string(),
            aliases: Vec::new(),
            at: spot("backend/app/settings.py", 7),
            by: ReadConstruct::Settings,
            required: true,
            default: None,
            min_length,
            refused: refused.iter().map(ToString::to_string).collect(),
            list: false,
        }
    }

    #[test]
    fn a_required_setting_takes_the_examples_value_and_its_source_is_reported() {
        let contract = TestRepo::new()
            .env("backend/.env.example", "SECRET_KEY=change-me\nPROJECT_NAME=a $b\nUNUSED=x")
            .reads("backend/app/settings.py", &["SECRET_KEY", "PROJECT_NAME", "OPTIONAL=1"])
            .bind();
        assert_eq!(contract.value("SECRET_KEY"), Some("change-me"));
        assert_eq!(contract.value("PROJECT_NAME"), Some("a $$b"));
        assert_eq!(contract.bindings.len(), 2);
        assert_eq!(
            contract.said(RemarkKind::Filled),
            ["PROJECT_NAME, SECRET_KEY have the value of backend/.env.example"]
        );
    }

    #[test]
    fn a_setting_that_the_person_set_is_left_alone_even_when_it_is_empty() {
        let contract = TestRepo::new()
            .env("backend/.env", "PROJECT_NAME=")
            .env("backend/.env.example", "PROJECT_NAME=x")
            .reads("backend/app/settings.py", &["PROJECT_NAME"])
            .bind();
        assert_eq!(contract.bindings, []);
    }

    #[test]
    fn a_signing_key_whose_placeholder_the_code_refuses_gets_random_bytes() {
        for (file, value) in [
            ("backend/.env.example", "changethis"),
            ("backend/.env", "changethis"),
            ("backend/.env.example", ""),
        ] {
            let contract = TestRepo::new()
                .env(file, &format!("JWT_SECRET={value}"))
                .read(setting("JWT_SECRET", &["changethis"], None))
                .bind();
            assert_eq!(contract.value("JWT_SECRET"), Some("${secret.JWT_SECRET}"), "{file} {value}");
        }
        let short = TestRepo::new()
            .env("backend/.env.example", "SECRET_KEY=dev")
            .read(setting("SECRET_KEY", &[], Some(32)))
            .bind();
        assert_eq!(short.reason("SECRET_KEY"), Some(Reason::RandomKey));
        let none = TestRepo::new().read(setting("SECRET_KEY", &[], None)).bind();
        assert_eq!(none.reason("SECRET_KEY"), Some(Reason::RandomKey));
    }

    #[test]
    fn a_key_whose_example_says_how_to_make_it_gets_random_bytes() {
        let repo = |file: &str, value: &str| {
            TestRepo::new().env(file, &format!("VAULT_KEY={value}")).read(setting("VAULT_KEY", &[], None))
        };
        let example = "backend/.env.example";
        let reason = |repo: TestRepo| repo.bind().reason("VAULT_KEY");
        assert_eq!(reason(repo(example, "").made("VAULT_KEY")), Some(Reason::RandomKey));
        assert_eq!(reason(repo(example, "<your key>").made("VAULT_KEY")), Some(Reason::RandomKey));
        assert_eq!(reason(repo(example, "0011").made("VAULT_KEY")), Some(Reason::Example));
        assert_eq!(reason(repo("backend/.env", "0011").made("VAULT_KEY")), None);
        assert_eq!(reason(repo(example, "")), None);
    }

    #[test]
    fn a_key_that_a_library_reads_is_filled_where_the_example_names_it() {
        let contract = TestRepo::new().env("frontend/.env.example", "AUTH_SECRET=").bind();
        assert_eq!(contract.value("AUTH_SECRET"), Some("${secret.AUTH_SECRET}"));
        let contract = TestRepo::new()
            .env("frontend/.env.example", "AUTH_SECRET=")
            .env("frontend/.env", "AUTH_SECRET=")
            .bind();
        assert_eq!(contract.value("AUTH_SECRET"), None, "the user wants an empty one");
        let contract = TestRepo::new().env("frontend/.env.example", "NEXTAUTH_SECRET=your-secret").bind();
        assert_eq!(contract.value("NEXTAUTH_SECRET"), Some("your-secret"));
        let compose = Giver::Compose("web".into());
        let contract = TestRepo::new().given("compose.yml", 4, "AUTH_SECRET", "c2VjcmV0", compose).bind();
        assert_eq!(contract.value("AUTH_SECRET"), Some("c2VjcmV0"));
    }

    #[test]
    fn a_password_that_a_person_types_is_never_random() {
        let with = TestRepo::new()
            .env("backend/.env.example", "FIRST_SUPERUSER_PASSWORD=changethis")
            .read(setting("FIRST_SUPERUSER_PASSWORD", &["changethis"], None))
            .bind();
        assert_eq!(with.value("FIRST_SUPERUSER_PASSWORD"), Some("changethis"));
        let without = TestRepo::new().read(setting("ADMIN_PASSWORD", &[], None)).bind();
        assert_eq!(without.bindings, []);
        assert_eq!(
            without.said(RemarkKind::RequiredKey),
            ["ADMIN_PASSWORD is a password that you choose; the code fails without it"]
        );
    }

    #[test]
    fn a_required_key_that_the_example_leaves_empty_fails_only_where_the_code_refuses_that() {
        let kinds = |env: &str, min_length| {
            let read = setting("OPENAI_API_KEY", &[], min_length);
            let contract = TestRepo::new().env("backend/.env.example", env).read(read).bind();
            contract.remarks.iter().map(|remark| remark.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds("OPENAI_API_KEY=", None), [RemarkKind::OptionalKey]);
        assert_eq!(kinds("OPENAI_API_KEY=", Some(1)), [RemarkKind::RequiredKey]);
        assert_eq!(kinds("OTHER=", None), [RemarkKind::RequiredKey]);
    }

    #[test]
    fn keys_of_other_companies_are_listed_with_the_line_that_reads_them() {
        let contract = TestRepo::new()
            .env(
                "backend/.env.example",
                "OPENAI_API_KEY=\nSTRIPE_SECRET_KEY=sk_test_your_key\nUNREAD_API_KEY=",
            )
            .read(VariableRead { required: false, ..setting("OPENAI_API_KEY", &[], None) })
            .read(setting("STRIPE_SECRET_KEY", &[], None))
            .bind();
        assert_eq!(contract.value("OPENAI_API_KEY"), None);
        // The application starts with the placeholder.
        assert_eq!(contract.value("STRIPE_SECRET_KEY"), Some("sk_test_your_key"));
        let missing: Vec<_> =
            contract.remarks.iter().filter(|remark| remark.kind == RemarkKind::OptionalKey).collect();
        assert_eq!(missing.len(), 2);
        assert!(missing.iter().all(|remark| remark.at == spot("backend/app/settings.py", 7)));
        assert_eq!(missing[0].fix.as_deref(), Some("backend/.env: OPENAI_API_KEY=…"));
    }

    #[test]
    fn a_setting_with_two_names_is_filled_once() {
        let read = VariableRead { aliases: vec!["APP_TITLE".to_string()], ..setting("TITLE", &[], None) };
        let own = TestRepo::new()
            .env("backend/.env", "APP_TITLE=x")
            .env("backend/.env.example", "TITLE=y")
            .read(read.clone())
            .bind();
        assert_eq!(own.bindings, []);
        let fresh = TestRepo::new().env("backend/.env.example", "APP_TITLE=x").read(read).bind();
        assert_eq!(fresh.bindings.len(), 1);
    }
}
