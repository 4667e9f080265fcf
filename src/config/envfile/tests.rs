//! Cases for `envfile`, one per behaviour.

use proptest::prelude::*;

use super::*;
use crate::error::Explain;

fn read_with(text: &str, outer: &[(&str, &str)]) -> Result<dotenv::EnvFileContent, ConfigError> {
    let lookup =
        |name: &str| outer.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string());
    dotenv::parse(&Source::new(".env", text), &mut dotenv::KnownVariables::default(), &lookup)
}

fn vars(text: &str) -> Vec<(String, String)> {
    read_with(text, &[]).unwrap().vars
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn values_equal_those_of_other_readers_of_env_files() {
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
fn lines_without_an_assignment_are_ignored_with_a_warning_that_hides_their_text() {
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
    assert_eq!(read.lines, [("A".to_string(), 1), ("B".to_string(), 3)].into());
    assert_eq!(read.warnings, [".env:4 is ignored: it is no NAME=value"]);
}

/// The values that dotenv 18.0.10 gives; @next/env 16.4.6 gives the same. python-dotenv 1.2.4 ignores these lines.
#[test]
fn value_with_unbalanced_quotes_is_read_as_dotenv_does_with_a_warning() {
    let cases = [
        (r#"A="{"type":"x"}""#, r#"{"type":"x"}"#),
        ("A='it's'", "it's"),
        ("A=\"abc", "\"abc"),
        ("A='abc", "'abc"),
        ("A=`abc", "`abc"),
        ("A=`a`b`", "a`b"),
        ("A=\"a\" b", "\"a\" b"),
        ("A=\"a\"b", "\"a\"b"),
        ("A=\"a\" ; b", "\"a\" ; b"),
        ("A='a' 'b'", "a' 'b"),
        ("A=\"\"a\"\"", "\"a\""),
        ("A='a'b'c'", "a'b'c"),
        (r#"A="a\"#, r#""a\"#),
        ("A=\"p\"w\" # x \"", "p\"w"),
        ("A=\"a # b\" c", "\"a"),
        ("A=\"#a", "\""),
        ("A=\"a'", "\"a'"),
        (r#"A="a"b\nc""#, "a\"b\nc"),
    ];
    for (text, value) in cases {
        let read = read_with(&format!("{text}\nB=2\n"), &[]).unwrap();
        assert_eq!(read.vars, [pair("A", value), pair("B", "2")], "{text:?}");
        assert_eq!(read.warnings, [".env:1 A: its quotes do not pair up; it is read as dotenv does"]);
    }
}

#[test]
fn a_quote_that_another_line_seems_to_close_costs_its_own_line_only() {
    let read = read_with("A=\"abc\nB=\"y\"\nC='x\ny'\n", &[]).unwrap();
    assert_eq!(read.vars, [pair("A", "\"abc"), pair("B", "y"), pair("C", "x\ny")]);
}

#[test]
fn bytes_that_are_no_text_and_characters_that_no_program_gets_are_warnings() {
    let read = read_with("A=a\u{fffd}\nB=b\0\nC=1\n", &[]).unwrap();
    assert_eq!(read.vars, [pair("A", "a\u{fffd}"), pair("C", "1")]);
    assert_eq!(read.warnings.len(), 2, "{:?}", read.warnings);
}

#[test]
fn values_that_grow_without_end_are_refused() {
    let double = |number: u32| format!("A{number}=${{A{0}}}${{A{0}}}", number - 1);
    let lines: Vec<String> = std::iter::once("A0=0123456789".into()).chain((1..60).map(double)).collect();
    let text = lines.join("\n");
    let error = read_with(&text, &[]).unwrap_err();
    assert!(error.to_string().ends_with("becomes too long when `${…}` in it is replaced"), "{error}");
    // Many long values, each within the limit.
    let long = "x".repeat(100_000);
    let text = format!("A={long}\n{}", "B=${A}\n".repeat(100));
    assert!(read_with(&text, &[]).is_err());
    let text = format!("A={long}\n{}", "B=${A}\n".repeat(9));
    assert_eq!(read_with(&text, &[]).unwrap().vars.len(), 10);
}

#[test]
fn a_file_of_another_kind_gives_a_few_warnings() {
    let read = read_with(&"nonsense\n".repeat(1000), &[]).unwrap();
    assert_eq!(read.warnings.len(), 21);
    assert_eq!(read.warnings[20], ".env: 980 more lines are ignored or odd");
}

#[test]
fn references_take_inherited_values_before_earlier_lines() {
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
    let files =
        load(&names, EnvFilePlaces::own_and_main(root.path(), Some(main.path())), &BTreeMap::new()).unwrap();
    let found: Vec<EnvFileOrigin> = files.iter().map(|file| file.found.clone()).collect();
    assert_eq!(found, [EnvFileOrigin::Worktree, EnvFileOrigin::Main, EnvFileOrigin::Nowhere]);
    assert_eq!(files[0].vars[0], pair("A", "own"));
    assert_eq!(files[1].vars, [pair("A", "local"), pair("C", "own")]);
    assert!(!format!("{files:?}").contains("own"), "values are never printed");
}

#[test]
fn unreadable_files_are_named() {
    let root = tempfile::tempdir().unwrap();
    // No user, root included, can read a link to itself.
    std::os::unix::fs::symlink(".env", root.path().join(".env")).unwrap();
    let error =
        load(&[".env".into()], EnvFilePlaces::own_and_main(root.path(), None), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains(".env"));
}

#[test]
fn a_file_that_is_not_utf_8_is_read_as_dotenv_does() {
    let root = tempfile::tempdir().unwrap();
    crate::os::fs::replace(&root.path().join(".env"), b"# caf\xe9\nB=\xe9\nC=1\n", 0o600).unwrap();
    let files =
        load(&[".env".into()], EnvFilePlaces::own_and_main(root.path(), None), &BTreeMap::new()).unwrap();
    assert_eq!(files[0].vars, [pair("B", "\u{fffd}"), pair("C", "1")]);
    assert_eq!(files[0].warnings.len(), 2);
}

#[test]
fn a_link_leads_to_the_main_worktree_and_nowhere_else() {
    let base = tempfile::tempdir().unwrap();
    let (root, main, other) = (base.path().join("wt"), base.path().join("main"), base.path().join("other"));
    for folder in [&main, &other] {
        crate::os::fs::replace(&folder.join(".env"), b"A=1", 0o600).unwrap();
    }
    let read = |target: &Path| {
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(target, root.join(".env")).unwrap();
        load(&[".env".into()], EnvFilePlaces::own_and_main(&root, Some(&main)), &BTreeMap::new())
    };
    assert_eq!(read(&main.join(".env")).unwrap()[0].vars, [pair("A", "1")]);
    let error = read(&other.join(".env")).unwrap_err();
    assert!(error.to_string().contains("leads out of the worktree"), "{error}");
    assert!(error.fix().unwrap().contains("put a copy of the file"));
}

#[test]
fn named_pipe_is_read_once_for_all_readers() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join(".env");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut pipe = std::fs::File::options().write(true).open(pipe).unwrap();
            std::io::Write::write_all(&mut pipe, b"A=secret\n").unwrap();
        }
    });
    for _ in 0..2 {
        let files =
            load(&[".env".into()], EnvFilePlaces::own_and_main(root.path(), None), &BTreeMap::new()).unwrap();
        assert_eq!(files[0].vars, [pair("A", "secret")]);
    }
    writer.join().unwrap();
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

#[test]
fn a_missing_env_comes_from_another_worktree_then_from_the_example() {
    let dir = tempfile::tempdir().unwrap();
    let [root, main, one, two] = ["root", "main", "one", "two"].map(|name| dir.path().join(name));
    for folder in [&root, &main, &one, &two] {
        std::fs::create_dir(folder).unwrap();
    }
    let write = |folder: &Path, name: &str, text: &str| {
        crate::os::fs::replace(&folder.join(name), text.as_bytes(), 0o600).unwrap();
    };
    let others = [one.clone(), two.clone()];
    let places = EnvFilePlaces {
        root: &root,
        main: Some(&main),
        others: &others,
        leased: &[],
        examples: true,
        outside: &[],
    };
    let read = || load(&[".env".into(), ".env.local".into()], places, &BTreeMap::new()).unwrap();
    write(&root, ".env.example", "KEY=example\nPORT=3000\n");
    write(&root, ".env.local.example", "LOCAL=no\n");
    write(&two, ".env.local", "LOCAL=no\n");
    let [file, local] = <[EnvFile; 2]>::try_from(read()).unwrap();
    assert_eq!(
        (file.found.clone(), local.found),
        (EnvFileOrigin::Example(".env.example".into()), EnvFileOrigin::Nowhere)
    );
    assert_eq!(file.vars, [pair("KEY", "example")]);
    assert_eq!(file.line("KEY").unwrap().at.to_string(), ".env.example:1");
    assert_eq!(
        file.replacement(&|_| false).unwrap(),
        ".env.example is read in place of .env, which no worktree has; left out, because they belong to another copy: PORT"
    );
    assert_eq!(
        file.replacement(&|name| name == "PORT").unwrap(),
        ".env.example is read in place of .env, which no worktree has",
        "devrun sets PORT"
    );
    write(&root, ".env.example", "PORT=3000\n");
    assert_eq!(read().remove(0).replacement(&|name| name == "PORT"), None, "the example gives nothing else");
    write(&two, ".env", "KEY=two\nDATABASE_URL=postgres://two\n");
    write(&one, ".env", &env_block::generated("/w", "KEY=generated\n"));
    let file = read().remove(0);
    assert_eq!(
        (file.vars.as_slice(), file.left_out.as_slice()),
        (&[pair("KEY", "two")][..], &[pair("DATABASE_URL", "postgres://two")][..])
    );
    assert_eq!(file.line("KEY").unwrap().worktree, EnvFileWorktree::Other(two));
    write(&main, ".env", &format!("{}KEY=main\nPORT=1\n", env_block::block("/w", "KEY=written\n")));
    let file = read().remove(0);
    assert_eq!(file.vars, [pair("KEY", "main"), pair("PORT", "1")]);
    assert_eq!(file.line("KEY").unwrap().at.line, 5);
}

#[test]
fn a_value_that_is_left_out_does_not_come_back_through_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let [root, other] = ["root", "other"].map(|name| dir.path().join(name));
    for folder in [&root, &other] {
        std::fs::create_dir(folder).unwrap();
    }
    let write = |folder: &Path, name: &str, text: &str| {
        crate::os::fs::replace(&folder.join(name), text.as_bytes(), 0o600).unwrap();
    };
    let text = "KEY=1\nAPI_PORT=8147\nNAME=api-${API_PORT}\nAGAIN=${NAME}/${KEY}\nDEFAULT=${API_PORT:-8000}\n\
                OUT=${OUTER}\nLATE=8147\nLATE=redis://h/1\nPORT=1\nPORT=auto\n";
    write(&other, ".env", text);
    write(&root, ".env.local", "SEEN=${API_PORT}${NAME}${KEY}\n");
    let others = [other.clone()];
    let leased = [(other.clone(), 9000)];
    let places = EnvFilePlaces {
        root: &root,
        main: None,
        others: &others,
        leased: &leased,
        examples: true,
        outside: &[],
    };
    let inherited =
        [("OUTER", "8147"), ("HOST", "x:9000")].map(|(name, value)| (name.into(), value.into())).into();
    let [file, local] =
        <[EnvFile; 2]>::try_from(load(&[".env".into(), ".env.local".into()], places, &inherited).unwrap())
            .unwrap();
    assert_eq!(file.vars, [pair("KEY", "1"), pair("OUT", "8147"), pair("PORT", "auto")]);
    let left_out: Vec<&str> = file.left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left_out, ["API_PORT", "NAME", "AGAIN", "DEFAULT", "LATE"]);
    assert_eq!(file.line("LATE").unwrap().at.line, 8);
    assert_eq!(local.vars, [pair("SEEN", "1")]);
}

#[test]
fn another_copy_that_cannot_be_read_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let [root, other] = ["root", "other"].map(|name| dir.path().join(name));
    for (folder, name) in [(&root, ".env.example"), (&other, ".env")] {
        std::fs::create_dir(folder).unwrap();
        std::os::unix::fs::symlink(name, folder.join(name)).unwrap();
    }
    let others = [other];
    let places =
        EnvFilePlaces { root: &root, main: None, others: &others, leased: &[], examples: true, outside: &[] };
    let file = load(&[".env".into()], places, &BTreeMap::new()).unwrap().remove(0);
    assert_eq!((file.found.clone(), file.vars.len()), (EnvFileOrigin::Nowhere, 0));
    assert!(
        file.replacement(&|_| false).unwrap().contains("/other is passed over: cannot read "),
        "{:?}",
        file.replacement(&|_| false)
    );
}
