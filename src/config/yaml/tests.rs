//! Cases for `yaml`, one per behaviour.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::error::Explain;

fn read(text: &str) -> Result<Node, ConfigError> {
    parse(&Source::new("devrun.yaml", text))
}

fn message(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// Returns the text of the scalar at `path` (names separated by dots, items by their index).
fn scalar(text: &str, path: &str) -> String {
    let node = read(text).unwrap();
    let found = path.split('.').fold(&node, |node, part| match &node.value {
        Value::Map(entries) => &entries.iter().find(|entry| entry.name == part).unwrap().value,
        Value::List(items) => &items[part.parse::<usize>().unwrap()],
        _ => panic!("{part} is in a scalar"),
    });
    found.text().unwrap().to_string()
}

#[test]
fn scalars_keep_their_text() {
    for (written, value) in [
        ("1.10", "1.10"),
        ("no", "no"),
        ("'no'", "no"),
        ("0o17", "0o17"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("99999999999999999999999999999999999999999", "99999999999999999999999999999999999999999"),
        ("2026-01-02", "2026-01-02"),
        ("\"a\\nb\"", "a\nb"),
        ("a b # comment", "a b"),
        ("true", "true"),
        ("http://x:1/y#z", "http://x:1/y#z"),
    ] {
        assert_eq!(scalar(&format!("a:\n  b: {written}\n"), "a.b"), value, "{written}");
        if written.contains(" #") {
            continue;
        }
        assert_eq!(scalar(&format!("ü: 'é'\nb: {{ c: [x, {written}] }}\n"), "b.c.1"), value, "{written}");
    }
}

#[test]
fn anchors_and_merge_keys_work_and_numbers_keep_their_text() {
    let text = "a: &a { v: 1.10, w: yes }\nb: { <<: *a, x: 1 }\nc: *a\n";
    assert_eq!(scalar(text, "b.v"), "1.10");
    assert_eq!(scalar(text, "c.w"), "yes");
}

#[test]
fn places_are_line_column_and_key() {
    let node = read("a:\n  - x\n  - b: 7\n").unwrap();
    let Value::Map(top) = &node.value else { panic!() };
    let Value::List(items) = &top[0].value.value else { panic!() };
    let Value::Map(inner) = &items[1].value else { panic!() };
    assert_eq!(inner[0].value.at.to_string(), "devrun.yaml:3:8: a[1].b");
}

#[test]
fn a_byte_order_mark_and_crlf_change_nothing() {
    assert_eq!(scalar("\u{feff}a: 1.10\r\nb: no\r\n", "a"), "1.10");
    assert_eq!(scalar("\u{feff}a: 1.10\r\nb: no\r\n", "b"), "no");
}

#[test]
fn keys_may_be_any_scalar_but_nothing_else() {
    assert_eq!(scalar("no: x\n", "no"), "x");
    assert!(message("[a]: x\n").contains("a key must be text"));
}

#[test]
fn empty_files_are_errors_with_the_smallest_example() {
    for text in ["", "\n", "# only\n", "---\n", "~\n"] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().starts_with("devrun.yaml"), "{text:?}");
        if text != "~\n" {
            assert!(error.fix().unwrap().contains(SMALLEST), "{text:?}");
        }
    }
    read(SMALLEST).unwrap();
}

#[test]
fn the_top_must_be_keys() {
    assert!(message("- a\n").contains("must be keys and values, not a list"));
    assert!(message("hello\n").contains("must be keys and values, not a single value"));
}

#[test]
fn duplicate_keys_are_errors_at_the_second() {
    let text = "processes:\n  api:\n    run: x\n  api:\n    run: y\n";
    assert_eq!(message(text), "devrun.yaml:4:3: processes.api: is written twice");
    assert!(message("env: { A: 1, A: 2 }\n").contains(":1:14: "), "{}", message("env: { A: 1, A: 2 }\n"));
    // Equal as text, but a number and a string to YAML.
    assert!(message("a:\n  1: x\n  '1': y\n").contains("is written twice"));
}

#[test]
fn syntax_errors_have_a_place_and_never_the_value() {
    for text in [
        "env:\n  TOKEN: s3cret: x\n",
        "env:\n  TOKEN: 's3cret\n",
        "env:\n  TOKEN: s3cret\n FOO: x\n",
        "env: { TOKEN: s3cret\n",
        "env:\n\tTOKEN: s3cret\n",
        "env:\n  TOKEN: *s3cret\n",
        "env:\n  TOKEN: @s3cret\n",
        "env:\n  TOKEN: \"s3cret \\q\"\n",
        "a: 1\n---\nb: s3cret\n",
    ] {
        let error = read(text).unwrap_err();
        let shown =
            format!("{error}\n{}\n{}", error.why().unwrap_or_default(), error.fix().unwrap_or_default());
        assert!(shown.starts_with("devrun.yaml:"), "{shown}");
        assert!(!shown.contains("s3cret"), "{text:?}: {shown}");
    }
}

#[test]
fn several_documents_are_refused() {
    assert!(message("a: 1\n---\nb: 2\n").contains("more than one document"));
}

#[test]
fn large_and_explosive_texts_end_quickly() {
    assert!(message(&"a".repeat(MAX_BYTES + 1)).contains("larger than 256 KiB"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{previous}]").unwrap();
    }
    assert!(message(&bomb).contains("too large or too deeply nested"), "{}", message(&bomb));
    let deep = format!("a: {}{}\n", "[".repeat(40), "]".repeat(40));
    assert!(message(&deep).contains("too large or too deeply nested"), "{}", message(&deep));
    let wide = (0..6_000).map(|index| format!("k{index}: 1")).collect::<Vec<_>>().join("\n");
    assert!(message(&wide).contains("too large"), "{}", message(&wide));
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[\\PC\n\r:{}\\[\\]&*!|>'\"#-]*") {
        let _ = read(&text);
    }

    #[test]
    fn quoted_text_comes_back(value in "[ -~äß€🦀\n\t]{0,40}") {
        let json = serde_json::Value::from(value.clone()).to_string();
        prop_assert_eq!(scalar(&format!("a: {json}\n"), "a"), value);
    }
}
