//! Fills settings that the application needs and that no file of the person sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::facts::{Reader, Spot};
use super::address::literal;
use super::draft::Draft;
use super::evidence::{Evidence, Strength, Value, View, is_product};
use super::names::{is_foreign_key, is_placeholder, is_signing_key, is_typed};
use super::{Reason, RemarkKind};

/// Keys that libraries read by themselves, so that no line of the repository's code does.
const READ_BY_LIBRARIES: &[&str] = &["NEXTAUTH_SECRET", "AUTH_SECRET", "BETTER_AUTH_SECRET"];

/// Binds required settings to the example's values and signing keys to random bytes, and reports what only a person has.
/// Runs last: a variable that another rule bound has a value.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut Draft) {
    let mut filled: BTreeMap<PathBuf, (Spot, Vec<String>)> = BTreeMap::new();
    let mut random: Vec<(Spot, String)> = Vec::new();
    let mut missing: BTreeMap<&str, (&View<'_>, bool)> = BTreeMap::new();
    for view in views {
        if is_bound(view, draft) {
            continue;
        }
        match decide(evidence, view) {
            Decision::Leave => {}
            Decision::Fill(value, foreign) => {
                draft.bind(view, literal(value.text), Reason::Example, value.at);
                let (_, names) =
                    filled.entry(value.at.file.clone()).or_insert_with(|| (value.at.clone(), Vec::new()));
                names.push(view.name.to_string());
                if foreign {
                    missing.entry(view.name).or_insert((view, false));
                }
            }
            Decision::Random => {
                let Some(at) = view.at() else { continue };
                draft.bind(view, format!("${{secret.{}}}", view.name), Reason::RandomKey, at);
                random.push((at.clone(), view.name.to_string()));
            }
            Decision::Missing => {
                missing.entry(view.name).or_insert((view, view.reads.iter().any(|read| read.required)));
            }
        }
    }
    report(filled, random, draft);
    for (name, (view, required)) in missing {
        report_missing(evidence, name, view, required, draft);
    }
}

enum Decision<'a> {
    Leave,
    /// The value of an example; true when it only stands for the key that a person has.
    Fill(Value<'a>, bool),
    Random,
    Missing,
}

fn is_bound(view: &View<'_>, draft: &Draft) -> bool {
    let names = view.reads.iter().flat_map(|read| std::iter::once(&read.name).chain(&read.aliases));
    draft.has(view.name, view.part) || names.into_iter().any(|name| draft.has(name, view.part))
}

fn decide<'a>(evidence: &Evidence<'a>, view: &View<'a>) -> Decision<'a> {
    let read_here = view.part.is_some();
    let by_library = READ_BY_LIBRARIES.contains(&view.name)
        && view.values.iter().any(|value| value.strength == Strength::Example);
    if !read_here && !by_library {
        return Decision::Leave;
    }
    // A name that another one of the same setting outranks is that setting's, not a setting to fill.
    let own: Vec<_> = view.reads.iter().filter(|read| read.name == view.name).collect();
    let set_elsewhere =
        own.iter().flat_map(|read| &read.aliases).any(|alias| evidence.person_of(alias, view.part).is_some());
    if (own.is_empty() && !by_library) || set_elsewhere {
        return Decision::Leave;
    }
    let required = own.iter().any(|read| read.required);
    let default = view.values.iter().any(|value| value.strength == Strength::Default);
    if is_signing_key(view.name) {
        return signing_key(view, required);
    }
    if view.set {
        return Decision::Leave;
    }
    let aliases = own.iter().flat_map(|read| &read.aliases).map(|alias| evidence.view_of(alias, view.part));
    let named_otherwise: Vec<Value<'a>> = aliases.flat_map(|alias| alias.values).collect();
    let example =
        view.values.iter().chain(&named_otherwise).find(|value| value.strength != Strength::Default);
    let foreign = is_foreign_key(view.name);
    match example {
        Some(value) if required => Decision::Fill(*value, foreign && is_placeholder(value.text)),
        None if required || (foreign && !default && is_stated_empty(evidence, view)) => Decision::Missing,
        _ => Decision::Leave,
    }
}

/// A key that any random text can be: the value that counts stays, unless the application's own rule refuses it.
fn signing_key<'a>(view: &View<'a>, required: bool) -> Decision<'a> {
    let default = view.values.iter().find(|value| value.strength == Strength::Default && !required).copied();
    if let Some(value) = view.person().or(default) {
        return if refused(view, value.text) { Decision::Random } else { Decision::Leave };
    }
    let examples = view.values.iter().filter(|value| value.strength != Strength::Default);
    let usable = examples.into_iter().find(|value| !refused(view, value.text) && !value.text.contains('<'));
    usable.map_or(Decision::Random, |value| Decision::Fill(*value, false))
}

/// True when an example names the variable and leaves its value to the person.
fn is_stated_empty(evidence: &Evidence<'_>, view: &View<'_>) -> bool {
    evidence
        .facts
        .values
        .iter()
        .any(|given| given.name == view.name && given.value.trim().is_empty() && is_product(&given.at.file))
}

/// True when the application's own rule refuses the value.
fn refused(view: &View<'_>, text: &str) -> bool {
    view.reads.iter().any(|read| {
        read.refused.iter().any(|placeholder| placeholder == text)
            || read.min_length.is_some_and(|least| text.chars().count() < least)
    })
}

fn report(filled: BTreeMap<PathBuf, (Spot, Vec<String>)>, random: Vec<(Spot, String)>, draft: &mut Draft) {
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

fn report_missing(evidence: &Evidence<'_>, name: &str, view: &View<'_>, required: bool, draft: &mut Draft) {
    let Some(at) = view.read_at().or_else(|| view.at()) else { return };
    let what = if is_foreign_key(name) {
        "is a key that only you have"
    } else if is_typed(name) {
        "is a password that you choose"
    } else {
        "has no value in any file of the repository"
    };
    let effect = if required {
        "the code fails without it"
    } else {
        "the feature that reads it does not work without it"
    };
    let file = env_file(evidence, view);
    let fix = format!("{}: {name}=…", file.display());
    draft.remark(RemarkKind::MissingKey, at, format!("{name} {what}; {effect}"), Some(fix));
}

/// The env file to write it to: the one beside the example that names it, else the one of the part's folder.
fn env_file(evidence: &Evidence<'_>, view: &View<'_>) -> PathBuf {
    let example = evidence
        .facts
        .values
        .iter()
        .find(|given| given.name == view.name && given.by == super::super::facts::Giver::Example);
    let folder = match (example, view.part) {
        (Some(given), _) => given.at.file.parent().unwrap_or(Path::new("")).to_path_buf(),
        (None, Some(part)) => super::evidence::plain(&evidence.part(part).directory),
        (None, None) => PathBuf::new(),
    };
    let node = view.reads.iter().any(|read| matches!(read.by, Reader::Node | Reader::ImportMeta));
    folder.join(if node { ".env.local" } else { ".env" })
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Read;
    use super::super::kit::{Repo, spot};
    use super::*;

    fn setting(name: &str, refused: &[&str], min_length: Option<usize>) -> Read {
        Read {
            name: name.to_string(),
            aliases: Vec::new(),
            at: spot("backend/app/settings.py", 7),
            by: Reader::Settings,
            required: true,
            default: None,
            min_length,
            refused: refused.iter().map(ToString::to_string).collect(),
            list: false,
        }
    }

    #[test]
    fn a_required_setting_takes_the_examples_value_and_it_is_said_from_where() {
        let contract = Repo::new()
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
        let contract = Repo::new()
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
            let contract = Repo::new()
                .env(file, &format!("JWT_SECRET={value}"))
                .read(setting("JWT_SECRET", &["changethis"], None))
                .bind();
            assert_eq!(contract.value("JWT_SECRET"), Some("${secret.JWT_SECRET}"), "{file} {value}");
        }
        let short = Repo::new()
            .env("backend/.env.example", "SECRET_KEY=dev")
            .read(setting("SECRET_KEY", &[], Some(32)))
            .bind();
        assert_eq!(short.reason("SECRET_KEY"), Some(Reason::RandomKey));
        let none = Repo::new().read(setting("SECRET_KEY", &[], None)).bind();
        assert_eq!(none.reason("SECRET_KEY"), Some(Reason::RandomKey));
    }

    #[test]
    fn a_key_that_a_library_reads_is_filled_where_the_example_names_it() {
        let contract = Repo::new().env("frontend/.env.example", "AUTH_SECRET=").bind();
        assert_eq!(contract.value("AUTH_SECRET"), None, "an example without a value says nothing");
        let contract = Repo::new().env("frontend/.env.example", "NEXTAUTH_SECRET=your-secret").bind();
        assert_eq!(contract.value("NEXTAUTH_SECRET"), Some("your-secret"));
    }

    #[test]
    fn a_password_that_a_person_types_is_never_random() {
        let with = Repo::new()
            .env("backend/.env.example", "FIRST_SUPERUSER_PASSWORD=changethis")
            .read(setting("FIRST_SUPERUSER_PASSWORD", &["changethis"], None))
            .bind();
        assert_eq!(with.value("FIRST_SUPERUSER_PASSWORD"), Some("changethis"));
        let without = Repo::new().read(setting("ADMIN_PASSWORD", &[], None)).bind();
        assert_eq!(without.bindings, []);
        assert_eq!(
            without.said(RemarkKind::MissingKey),
            ["ADMIN_PASSWORD is a password that you choose; the code fails without it"]
        );
    }

    #[test]
    fn keys_of_other_companies_are_listed_with_the_line_that_reads_them() {
        let contract = Repo::new()
            .env(
                "backend/.env.example",
                "OPENAI_API_KEY=\nSTRIPE_SECRET_KEY=sk_test_your_key\nUNREAD_API_KEY=",
            )
            .read(Read { required: false, ..setting("OPENAI_API_KEY", &[], None) })
            .read(setting("STRIPE_SECRET_KEY", &[], None))
            .bind();
        assert_eq!(contract.value("OPENAI_API_KEY"), None);
        // The application starts with the placeholder.
        assert_eq!(contract.value("STRIPE_SECRET_KEY"), Some("sk_test_your_key"));
        let missing: Vec<_> =
            contract.remarks.iter().filter(|remark| remark.kind == RemarkKind::MissingKey).collect();
        assert_eq!(missing.len(), 2);
        assert!(missing.iter().all(|remark| remark.at == spot("backend/app/settings.py", 7)));
        assert_eq!(missing[0].fix.as_deref(), Some("backend/.env: OPENAI_API_KEY=…"));
    }

    #[test]
    fn a_setting_with_two_names_is_filled_once() {
        let read = Read { aliases: vec!["APP_TITLE".to_string()], ..setting("TITLE", &[], None) };
        let own = Repo::new()
            .env("backend/.env", "APP_TITLE=x")
            .env("backend/.env.example", "TITLE=y")
            .read(read.clone())
            .bind();
        assert_eq!(own.bindings, []);
        let fresh = Repo::new().env("backend/.env.example", "APP_TITLE=x").read(read).bind();
        assert_eq!(fresh.bindings.len(), 1);
    }
}
