//! Cases for `interpolate`, one per behaviour.

use proptest::prelude::*;

use super::*;
use crate::config::source::Source;
use crate::error::{Code, Explain};

fn template(text: &str) -> Template {
    let at = ConfigPosition {
        key: "env.X".into(),
        column: 6,
        ..ConfigPosition::line(&Source::new("devrun.yaml", "\n  X: y\n"), 2)
    };
    Template::new(text, &at)
}

fn scope() -> Scope {
    let env = [("SET", "value"), ("EMPTY", ""), ("_U1", "u")];
    Scope::new(env.map(|(name, value)| (name.into(), value.into())).into())
        .with_branch("feature/x")
        .with_worktree(Path::new("/w/t"), "t")
        .with_ports(26, &[("web".to_string(), 3126), ("a-b".to_string(), 4026)].into())
}

fn render(text: &str) -> String {
    template(text).render(&scope()).unwrap()
}

fn refuse(text: &str) -> ConfigError {
    template(text).render(&scope()).unwrap_err()
}

#[test]
fn a_few_lines_do_not_fill_the_memory() {
    let env = [("LONG", "x".repeat(50_000))].map(|(name, value)| (name.into(), value.into()));
    let scope = Scope::new(env.into());
    assert_eq!(template("${LONG}").render(&scope).unwrap().len(), 50_000);
    assert!(template(&"${LONG}".repeat(3)).render(&scope).is_err());
    let copy = scope.clone().with_branch("x");
    assert!(
        (0..1000).any(|_| template("${LONG}").render(&copy).is_err()),
        "each is short enough, all are not"
    );
}

#[test]
fn names_are_replaced() {
    for (text, value) in [
        ("plain", "plain"),
        ("${SET}", "value"),
        ("a${SET}b${_U1}c", "avaluebuc"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NONE:-d}", "d"),
        ("${NONE-d}", "d"),
        ("${NONE:-}", ""),
        ("${SET:-d}", "value"),
        ("${SET:?must be set}", "value"),
        ("${EMPTY?m}", ""),
        ("${NONE:-${SET}}", "value"),
        ("${NONE:-a${NONE2:-b${SET}}c}d", "abvaluecd"),
        ("${NONE:-http://localhost:${ports.web}/}", "http://localhost:3126/"),
        ("${branch} ${slug} ${slot} ${worktree}", "feature/x t 26 /w/t"),
        ("${ports.web}${ports.a-b}", "31264026"),
        ("$$", "$"),
        ("$${SET}", "${SET}"),
        ("$$$${SET}", "$${SET}"),
        ("$PORT $ $1 $(x) a$", "$PORT $ $1 $(x) a$"),
        ("{SET} }", "{SET} }"),
    ] {
        assert_eq!(render(text), value, "{text}");
    }
}

#[test]
fn values_are_not_rendered_again() {
    let scope = Scope::new([("A".into(), "${B} $$".into())].into());
    assert_eq!(template("${A}").render(&scope).unwrap(), "${B} $$");
}

#[test]
fn missing_variable_is_named_with_its_place() {
    let error = refuse("x${NONE}");
    assert_eq!(error.code(), Code::VariableMissing);
    assert_eq!(error.to_string(), "devrun.yaml:2:6: env.X: NONE is not set");
    assert_eq!(refuse("${NONE:?ask Ann}").to_string(), "devrun.yaml:2:6: env.X: NONE is not set: ask Ann");
    assert_eq!(refuse("${EMPTY:?}").to_string(), "devrun.yaml:2:6: env.X: EMPTY is not set");
    assert_eq!(refuse("${NONE:-${NONE2}}").to_string(), "devrun.yaml:2:6: env.X: NONE2 is not set");
}

#[test]
fn unknown_names_of_devrun_list_the_known_ones() {
    let error = refuse("${brunch}");
    assert!(error.to_string().contains("did you mean `${branch}`"), "{error}");
    assert!(error.fix().unwrap().contains("branch, ports.a-b, ports.web, slot, slug, worktree"));
    assert!(refuse("${database.url}").to_string().contains("has no value yet at this place"));
}

#[test]
fn invalid_names_are_refused() {
    for text in
        ["${}", "${a b}", "${Mixed}", "${1A}", "${SET:+x}", "${SET/x}", "${ SET }", "${branch:-x}", "${ü}"]
    {
        assert!(refuse(text).to_string().contains("is neither"), "{text}: {}", refuse(text));
    }
}

#[test]
fn unterminated_references_are_refused() {
    for text in ["${", "${SET", "${SET:-${X}", "a${b${c}"] {
        assert!(refuse(text).to_string().contains("never closes"), "{text}");
    }
}

#[test]
fn defaults_cannot_be_nested_without_end() {
    let text = format!("{}x{}", "${N:-".repeat(50), "}".repeat(50));
    assert!(refuse(&text).to_string().contains("too deeply"));
}

#[test]
fn checks_refuse_only_values_that_can_never_work() {
    let ports = [("web".to_string(), 3100)].into();
    for good in
        ["${NONE}", "${database.url} ${ports.web} ${branch}", "${A:-${ports.web}}", "${A:?${ports.nope}}"]
    {
        template(good).check(&ports).unwrap();
    }
    for bad in ["${ports.nope}", "${A:-${brunch}}", "${", "${Mixed}"] {
        template(bad).check(&ports).unwrap_err();
    }
    let error = template("${ports.wep}").check(&ports).unwrap_err();
    assert!(error.to_string().contains("did you mean `${ports.web}`"), "{error}");
}

#[test]
fn secrets_are_not_printed() {
    let text = format!("{:?} {:?}", template("s3cret"), Scope::new([("A".into(), "s3cret".into())].into()));
    assert!(!text.contains("s3cret"), "{text}");
}

proptest! {
    #[test]
    fn rendering_and_checking_never_panic(text in "[\\PC${}:?-]*") {
        let _ = template(&text).render(&scope());
        let _ = template(&text).check(&BTreeMap::new());
    }

    #[test]
    fn text_without_dollars_stays(text in "[^$]*") {
        prop_assert_eq!(render(&text), text);
    }

    #[test]
    fn a_result_without_dollars_stays_when_rendered_again(text in "([a-z ]|\\$\\{(SET|NONE:-d|slot)\\}){0,10}") {
        let once = render(&text);
        prop_assert_eq!(render(&once), once);
    }

    #[test]
    fn templates_that_render_pass_the_check(text in "([a-z$]|\\$\\{(SET|NONE:-d|slot|ports.web|no|X)\\}){0,6}") {
        let ports = [("web".to_string(), 3100), ("a-b".to_string(), 4000)].into();
        if template(&text).render(&scope()).is_ok() {
            prop_assert!(template(&text).check(&ports).is_ok());
        }
    }
}

#[test]
fn the_database_has_parts_and_forms() {
    let scope = scope()
        .with_database("dev-x", "postgresql://me:p%2Fw@h:6000/app?sslmode=require")
        .with_unpooled("postgresql://me:p%2Fw@direct:6000/app")
        .with_secrets(&[("KEY".to_string(), "abc".to_string())].into());
    for (text, value) in [
        ("${database.host} ${database.port} ${database.user} ${database.password}", "h 6000 me p/w"),
        ("${database.name} ${database.branch}", "app dev-x"),
        ("${database.url}", "postgresql://me:p%2Fw@h:6000/app?sslmode=require"),
        ("${database.direct_url}", "postgresql://me:p%2Fw@direct:6000/app"),
        ("${database.direct_url:postgres?a=b}", "postgres://me:p%2Fw@direct:6000/app?a=b"),
        ("${database.url:postgresql+asyncpg}", "postgresql+asyncpg://me:p%2Fw@h:6000/app?ssl=require"),
        ("${database.url}?schema=public", "postgresql://me:p%2Fw@h:6000/app?sslmode=require&schema=public"),
        ("${database.url?sslmode=disable}", "postgresql://me:p%2Fw@h:6000/app?sslmode=disable"),
        (
            "[\"${database.direct_url}?a=1\", \"x?\"]",
            "[\"postgresql://me:p%2Fw@direct:6000/app?a=1\", \"x?\"]",
        ),
        ("${database.name}?a", "app?a"),
        ("${secret.KEY}", "abc"),
    ] {
        assert_eq!(template(text).render(&scope).unwrap(), value, "{text}");
    }
}

#[test]
fn a_form_that_is_none_of_postgres_s_is_refused() {
    let ports = BTreeMap::new();
    for text in ["${database.url:}", "${database.url:mysql}", "${database.url?a b}", "${database.url:-x}"] {
        template(text).check(&ports).unwrap_err();
    }
}

#[test]
fn template_with_a_secret_is_recognised() {
    for (text, secret) in [
        ("x ${database.password}", true),
        ("${A:-${secret.KEY}}", true),
        ("${database.direct_url}", true),
        ("${database.host}:${database.port}", false),
    ] {
        assert_eq!(template(text).holds_secret(&Scope::default()), secret, "{text}");
    }
}

#[test]
fn p10_arithmetic_derives_a_redis_database_from_the_slot() {
    let ports = [("web".to_string(), 3147)].into();
    let scope = Scope::new([("OFFSET".into(), "3".into()), ("WORD".into(), "x".into())].into())
        .with_branch("b")
        .with_ports(47, &ports);
    let at = ConfigPosition::file(&crate::config::source::Source::new("devrun.yaml", ""));
    let template = |text: &str| Template::new(text, &at);
    assert_eq!(template("redis://h:6379/${slot % 16}").render(&scope).unwrap(), "redis://h:6379/15");
    assert_eq!(template("${ports.web - 3000 + OFFSET}").render(&scope).unwrap(), "150");
    let names = template("${slot % 16}${OFFSET + 1}").names();
    assert_eq!(names, ["slot", "OFFSET"]);
    for (text, said) in [("${WORD + 1}", "`WORD` is not an integer"), ("${NONE + 1}", "NONE is not set")] {
        let error = template(text).render(&scope).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(template(text).check(&ports).is_ok());
    }
    let error = template("${branch + 1}").check(&ports).unwrap_err().to_string();
    assert!(error.contains("`branch` is not an integer"), "{error}");
    assert!(
        template("${slto % 16}").check(&ports).unwrap_err().to_string().contains("did you mean `${slot}`")
    );
}
