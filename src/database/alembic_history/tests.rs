//! Tests of Alembic layouts, with the answers of the real `alembic`.

use super::*;

fn history(files: &[(&str, &str)]) -> History {
    History::read(files.iter().map(|(path, source)| (Path::new(*path), source.as_bytes())))
}

/// Returns a file as Alembic's own template writes it.
fn file(message: &str, revision: &str, down: &str) -> String {
    format!(
        "\"\"\"{message}\n\nRevision ID: {revision}\nRevises: \n\n\"\"\"\nfrom alembic import op\n\n\n\
         # revision identifiers, used by Alembic.\nrevision: str = '{revision}'\n\
         down_revision: Union[str, Sequence[str], None] = {down}\n\
         branch_labels: Union[str, Sequence[str], None] = None\n\
         depends_on: Union[str, Sequence[str], None] = None\n\n\n\
         def upgrade() -> None:\n    \"\"\"Upgrade schema.\"\"\"\n    revision = 'no'\n"
    )
}

/// Layouts with the heads that `alembic heads` (1.20) prints for them; `None` if it stops with an error.
#[test]
fn heads_are_those_of_alembic() {
    const A: &str = "revision='a1'\ndown_revision=None";
    const B: &str = "revision='b1'\ndown_revision='a1'";
    const C: &str = "revision='c1'\ndown_revision='a1'";
    let cases: [(&[&str], Option<&[&str]>); 16] = [
        (&[], Some(&[])),
        (&[A, "revision: str = \"b1\"\ndown_revision: str = \"a1\""], Some(&["b1"])),
        (&[A, B, C], Some(&["b1", "c1"])),
        (&[A, B, C, "revision='d1'\ndown_revision=(\n  'b1', # one\n  'c1',\n)"], Some(&["d1"])),
        (&[A, B, C, "revision='d1'\ndown_revision=['b1','c1']"], Some(&["d1"])),
        (
            &["revision='a1'\ndown_revision=None\nbranch_labels=('x',)", "revision='b1'\ndown_revision=None"],
            Some(&["a1", "b1"]),
        ),
        (&[A, "revision='b1'\ndown_revision=None\ndepends_on='a1'"], Some(&["a1", "b1"])),
        (&[A, B, "revision='c1'\ndown_revision='a1'\ndepends_on=('b1',)"], Some(&["b1", "c1"])),
        (&[B], None),
        (&[B, "revision='c1'\ndown_revision=None"], None),
        (&["revision='abcdef123456'\ndown_revision=None", "revision='b1'\ndown_revision='abcdef'"], None),
        (&[A, "revision='b1'\nrevision='b2'\ndown_revision='a1'"], Some(&["b2"])),
        (&["revision='a1'\ndown_revision=()", "revision='b1'\ndown_revision=('a1')"], Some(&["b1"])),
        (&["revision='a1'\ndown_revision=''"], None),
        (
            &["revision=('a' '1')\ndown_revision=None", "revision = 'b' \\\n  '1'\ndown_revision='a1'"],
            Some(&["b1"]),
        ),
        (&[A, A], None),
    ];
    for (sources, expected) in cases {
        let named: Vec<(String, &str)> =
            sources.iter().enumerate().map(|(i, source)| (format!("versions/{i}.py"), *source)).collect();
        let history = History::read(named.iter().map(|(path, source)| (Path::new(path), source.as_bytes())));
        assert_eq!(history.is_certain(), expected.is_some(), "{sources:?}");
        if let Some(expected) = expected {
            let heads: Vec<String> = history.heads().into_iter().map(|head| head.revision).collect();
            assert_eq!(heads, expected, "{sources:?}");
        }
    }
}

#[test]
fn a_head_is_reported_with_its_file_and_title() {
    let (users, lists) = (file("add users", "a1", "None"), file("add lists", "b1", "None"));
    let heads = history(&[("v/b1_lists.py", &lists), ("v/a1_users.py", &users)]).heads();
    assert_eq!(
        heads,
        [
            AlembicHead { revision: "a1".into(), file: "v/a1_users.py".into(), message: "add users".into() },
            AlembicHead { revision: "b1".into(), file: "v/b1_lists.py".into(), message: "add lists".into() },
        ]
    );
}

#[test]
fn a_missing_parent_is_reported_with_the_file_that_names_it() {
    let history =
        history(&[("v/b1.py", &file("b", "b1", "('a1', 'a2')")), ("v/a1.py", &file("a", "a1", "None"))]);
    let at = FileLine { file: "v/b1.py".into(), line: 12 };
    assert_eq!(history.missing(), Some(Missing { revision: "a2".into(), at }));
}

#[test]
fn an_id_in_two_files_is_reported_with_both_lines() {
    let (one, two) = (file("a", "a1", "None"), file("b", "a1", "None"));
    let history = history(&[("v/one.py", &one), ("v/two.py", &two)]);
    let at = ["v/one.py", "v/two.py"].map(|file| FileLine { file: file.into(), line: 11 });
    assert_eq!(history.duplicate(), Some(&Duplicate { revision: "a1".into(), at }));
    assert!(!history.is_certain());
}

#[test]
fn files_that_alembic_would_not_load_do_not_count() {
    let a = file("a", "a1", "None");
    let z = file("z", "z1", "None");
    let history = history(&[
        ("v/a1.py", &a),
        ("v/__init__.py", &z),
        ("v/.#a1.py", &z),
        ("v/z1.pyc", &z),
        ("v/env.py", "config = context.config\n"),
    ]);
    assert!(history.is_certain());
    assert_eq!(history.heads().len(), 1);
}

#[test]
fn a_history_that_is_computed_or_spread_is_not_certain() {
    let a = file("a", "a1", "None");
    assert!(
        !history(&[("v/a1.py", &a), ("v/b1.py", "revision = 'b1'\ndown_revision = latest()")]).is_certain()
    );
    assert!(!history(&[("v/a1.py", &a), ("w/b1.py", &file("b", "b1", "None"))]).is_certain());
}

#[test]
fn only_an_upgrade_to_the_one_head_needs_one_head() {
    let shell = |line: &str| upgrades_to_head(&RunCommand::Shell(line.into()));
    assert_eq!(shell("alembic upgrade head").as_deref(), Some("alembic"));
    assert_eq!(shell("uv run alembic -c 'x.ini' upgrade head").as_deref(), Some("uv run alembic -c 'x.ini'"));
    assert_eq!(
        shell("cd b && .venv/bin/alembic upgrade --sql \"head\"").as_deref(),
        Some(".venv/bin/alembic")
    );
    assert_eq!(shell("python -m alembic upgrade head; echo").as_deref(), Some("python -m alembic"));
    for line in [
        "alembic upgrade heads",
        "alembic upgrade a1b2",
        "alembic upgrade x@head",
        "alembic current && git show head",
        "npx prisma migrate deploy",
        "",
    ] {
        assert_eq!(shell(line), None, "{line}");
    }
    let argv = RunCommand::Argv(["alembic", "upgrade", "head"].map(String::from).to_vec());
    assert_eq!(upgrades_to_head(&argv).as_deref(), Some("alembic"));
}

#[test]
fn the_merge_command_can_be_pasted() {
    let head =
        |message: &str| AlembicHead { revision: "r".into(), file: "f".into(), message: message.into() };
    let two = [head("add users"), head("add lists.")];
    assert_eq!(
        merge_command("alembic", Path::new("/w/backend"), &two),
        "cd /w/backend && devrun exec -- alembic merge heads -m 'merge add users and add lists'"
    );
    let with_variable = merge_command("A=b alembic", Path::new("/w"), &two);
    assert!(
        with_variable.starts_with("cd /w && devrun exec -- env A=b alembic merge heads"),
        "{with_variable}"
    );
    let odd = [head("a"), head("drop $(x)"), head("bob's `y`")];
    let command = merge_command("uv run alembic", Path::new("/w/my app"), &odd);
    let words = shlex::split(&command).unwrap();
    assert_eq!(words[..3], ["cd", "/w/my app", "&&"]);
    assert_eq!(words.last().unwrap(), "merge a, drop $(x) and bob's `y`");
}
