//! Cases for `envfile`, one per behaviour.

use proptest::prelude::*;

use super::*;
use crate::error::Explain;

fn read_with(text: &str, outer: &[(&str, &str)]) -> Result<dotenv::Read, ConfigError> {
    let lookup =
        |name: &str| outer.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string());
    dotenv::parse(&Source::new(".env", text), &mut BTreeMap::new(), &lookup)
}

fn vars(text: &str) -> Vec<(String, String)> {
    read_with(text, &[]).unwrap().vars
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn values_mean_what_the_tools_that_read_the_same_file_make_of_them() {
    let cases = [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("  export\tA=b", "b"),
        ("A=", ""),
        ("A=fo ur", "fo ur"),
        ("A='it is'", "it is"),
        ("A=\"say 'hi'\"", "say 'hi'"),
        ("A='say \"hi\"'", "say \"hi\""),
        (r#"A="say \"hi\"""#, "say \"hi\""),
        (r"A='it\'s'", "it's"),
        (r#"A="a\nb\tc\\n""#, "a\nb\tc\\n"),
        (r"A='a\nb'", r"a\nb"),
        (r"A=a\nb", r"a\nb"),
        (r#"A="\$x""#, r"\$x"),
        (r"A=\$x", r"\$x"),
        ("A=user@host", "user@host"),
        ("A=~pun|u@|0n$=", "~pun|u@|0n$="),
        ("A=pa$$wo$rd", "pa$$wo$rd"),
        ("A=pa#ss", "pa#ss"),
        ("A=#ss", "#ss"),
        ("A= # nothing", ""),
        ("A=b # comment", "b"),
        ("A='b # no comment' # comment", "b # no comment"),
        ("A=O'Brien", "O'Brien"),
        ("A={\"a\": \"b\"}", "{\"a\": \"b\"}"),
        ("A=ünï çødé", "ünï çødé"),
        ("A=postgres://u:p@h:5/d?a=b&c=d", "postgres://u:p@h:5/d?a=b&c=d"),
        ("A='two\nlines'", "two\nlines"),
        ("A=\"two\r\nlines\"\r\n", "two\nlines"),
        ("A=b\r\n", "b"),
        ("A=`b'\"`", "b'\""),
        ("\u{feff}A=b", "b"),
    ];
    for (text, value) in cases {
        assert_eq!(vars(text), [pair("A", value)], "{text:?}");
    }
}

#[test]
fn short_and_underscored_names_count() {
    assert_eq!(vars("a=1\n_X=2\n_=3"), [pair("a", "1"), pair("_X", "2"), pair("_", "3")]);
}

#[test]
fn what_is_no_assignment_is_ignored_and_told_without_its_text() {
    let read = read_with("-foo=secret\nü=secret\nB=1\nsecret\nA: 1\n1A=secret\n# c\n\n", &[]).unwrap();
    assert_eq!(read.vars, [pair("B", "1")]);
    assert_eq!(read.warnings.len(), 5);
    assert_eq!(read.warnings[0], ".env:1 is ignored: it is no NAME=value");
    assert!(read.warnings.iter().all(|warning| !warning.contains("secret")));
}

#[test]
fn the_next_line_after_a_quoted_value_is_read_and_numbered() {
    let read = read_with("A='x\ny'\nB=1\noops\n", &[]).unwrap();
    assert_eq!(read.vars, [pair("A", "x\ny"), pair("B", "1")]);
    assert_eq!(read.warnings, [".env:4 is ignored: it is no NAME=value"]);
}

#[test]
fn unclosed_quotes_and_text_after_quotes_are_errors_with_their_line_and_without_the_value() {
    for (text, message) in [
        ("OK=1\nTOKEN='abc", ".env:2:1: TOKEN: opens a quote and never closes it"),
        ("OK=1\nTOKEN=\"abc\" def", ".env:2:1: TOKEN: has text after the closing quote"),
    ] {
        let error = read_with(text, &[]).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!error.why().unwrap().contains("abc"));
    }
}

#[test]
fn braces_are_replaced_from_outside_then_from_above() {
    let text = "A=1\nB=${A}-${OUT}\nC='${A}'\nD=${NOPE:-x}${NOPE}\nE=\\${A}\nF=\"${A}$A\"\nG=${a b}\nH=${A";
    let read = read_with(text, &[("OUT", "o"), ("A", "outer")]).unwrap();
    let values: Vec<&str> = read.vars.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["1", "outer-o", "${A}", "x", "${A}", "outer$A", "${a b}", "${A"]);
}

#[test]
fn our_own_environment_is_neither_read_nor_changed() {
    assert!(std::env::var("PATH").is_ok());
    assert_eq!(vars("X=${PATH}\nDEVRUN_TEST_ENVFILE=1"), [pair("X", ""), pair("DEVRUN_TEST_ENVFILE", "1")]);
    assert!(std::env::var("DEVRUN_TEST_ENVFILE").is_err());
}

#[test]
fn the_worktree_s_file_wins_then_the_main_worktree_s_and_none_is_no_error() {
    let (root, main) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |dir: &tempfile::TempDir, name: &str, text: &str| {
        crate::os::fs::replace(&dir.path().join(name), text.as_bytes(), 0o600).unwrap();
    };
    write(&main, ".env", "A=main\nB=main");
    write(&main, ".env.local", "A=local\nC=${B}");
    write(&root, ".env", "A=own\nB=own");
    let names = [".env", ".env.local", ".env.none"].map(PathBuf::from);
    let files = load(&names, root.path(), Some(main.path()), &BTreeMap::new()).unwrap();
    let found: Vec<Found> = files.iter().map(|file| file.found).collect();
    assert_eq!(found, [Found::Worktree, Found::Main, Found::Nowhere]);
    assert_eq!(files[0].vars[0], pair("A", "own"));
    assert_eq!(files[1].vars, [pair("A", "local"), pair("C", "own")]);
    assert!(!format!("{files:?}").contains("own"), "values are never printed");
}

#[test]
fn unreadable_files_are_named() {
    let root = tempfile::tempdir().unwrap();
    // A link to itself is no file that anybody, root included, can read.
    std::os::unix::fs::symlink(".env", root.path().join(".env")).unwrap();
    crate::os::fs::replace(&root.path().join("latin"), b"A=1\nB=\xe9\n", 0o600).unwrap();
    let load_one = |name: &str| load(&[name.into()], root.path(), None, &BTreeMap::new()).unwrap_err();
    assert!(load_one(".env").to_string().contains(".env"));
    assert!(load_one("latin").to_string().ends_with("line 2 is not UTF-8"));
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[\\PC\n\r\\\\'\"`$={}#]*") {
        let _ = read_with(&text, &[]);
    }

    #[test]
    fn single_quoted_values_come_back_as_they_are(value in "[^\\\\'\0\r]*") {
        prop_assert_eq!(vars(&format!("A='{value}'\n")), [pair("A", &value)]);
    }
}
