//! Tests of reading the logs, with files in various states.

use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::logs::rotated;

fn add(path: &Path, text: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text).unwrap();
}

fn stored(millis: u64, text: &str) -> String {
    format!("{} {text}\n", Timestamp::at(millis))
}

fn turn_over(path: &Path) {
    let _ = std::fs::remove_file(rotated(path, 2));
    for age in [1, 0] {
        let _ = std::fs::rename(rotated(path, age), rotated(path, age + 1));
    }
}

fn texts(told: &[ProcessLine]) -> Vec<String> {
    told.iter().map(|told| String::from_utf8_lossy(&told.line.text).into_owned()).collect()
}

fn name(name: &str) -> Vec<String> {
    vec![name.into()]
}

#[test]
fn lines_of_several_processes_are_sorted_by_time_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let written = stored(5, "a5") + &stored(3, "a3, the clock was set back") + &stored(9, "a9");
    add(&dir.path().join("a.log"), written.as_bytes());
    add(&dir.path().join("b.log"), (stored(1, "b1") + &stored(5, "b5") + &stored(10, "b10")).as_bytes());
    add(&dir.path().join("devrun.log"), stored(2, "note").as_bytes());
    let names = names(dir.path()).unwrap();
    assert_eq!(names, ["a", "b", "devrun"]);
    let (told, _) = read(dir.path(), &names, &Filter::default(), None).unwrap();
    assert_eq!(texts(&told), ["b1", "note", "a5", "a3, the clock was set back", "b5", "a9", "b10"]);
    let (told, _) = read(dir.path(), &names, &Filter::default(), Some(2)).unwrap();
    assert_eq!(texts(&told), ["a9", "b10"]);
    let since = Filter { since: Some(Timestamp::at(9)), grep: None };
    assert_eq!(texts(&read(dir.path(), &names, &since, None).unwrap().0), ["a9", "b10"]);
    let grep = Filter { since: None, grep: Some(Regex::new("^b").unwrap()) };
    assert_eq!(texts(&read(dir.path(), &names, &grep, Some(2)).unwrap().0), ["b5", "b10"]);
}

#[test]
fn a_missing_folder_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    assert!(names(&dir.path().join("none")).unwrap().is_empty());
    assert!(tail_since(&dir.path().join("none"), "web", Timestamp::at(0), 5).unwrap().is_empty());
}

#[test]
fn following_crosses_files_and_waits_for_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    add(&path, (stored(1, "one") + "2026-").as_bytes());
    let (told, mut follow) = read(dir.path(), &name("web"), &Filter::default(), Some(10)).unwrap();
    assert_eq!(texts(&told), ["one"]);
    assert!(follow.more().unwrap().is_empty());
    add(&path, b"01-01T00:00:00.000Z two\n");
    assert_eq!(texts(&follow.more().unwrap()), ["two"]);
    add(&path, stored(3, "three").as_bytes());
    for number in 4..6 {
        turn_over(&path);
        add(&path, stored(number, &number.to_string()).as_bytes());
    }
    assert_eq!(texts(&follow.more().unwrap()), ["three", "4", "5"]);
    // More was written than is kept: the remaining lines are returned.
    for number in 6..12 {
        turn_over(&path);
        add(&path, stored(number, &number.to_string()).as_bytes());
    }
    assert_eq!(texts(&follow.more().unwrap()), ["9", "10", "11"]);
    assert!(follow.more().unwrap().is_empty());
}

#[test]
fn following_works_before_the_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let (told, mut follow) = read(dir.path(), &name("web"), &Filter::default(), Some(10)).unwrap();
    assert!(told.is_empty());
    add(&dir.path().join("web.log"), stored(1, "one").as_bytes());
    assert_eq!(texts(&follow.more().unwrap()), ["one"]);
}

#[test]
fn very_long_lines_are_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.log");
    let long = "x".repeat(1 << 20);
    add(&path, (stored(1, "before") + &stored(2, &long) + &stored(3, "after")).as_bytes());
    let lines: Vec<usize> = tail_since(dir.path(), "web", Timestamp::at(0), 2)
        .unwrap()
        .iter()
        .map(|line| line.text.len())
        .collect();
    assert_eq!(lines, [1 << 20, 5]);
    let mut follow = Follow::new(&Filter::default());
    follow.add(path, None);
    assert_eq!(follow.more().unwrap().len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_last_lines_are_returned_whatever_the_lengths_and_rotations(
        widths in proptest::collection::vec(prop_oneof![8 => 0_usize..200, 1 => 60_000_usize..70_000], 0..60),
        turns in proptest::collection::btree_set(0_usize..60, 0..3),
        count in 0_usize..70,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        for (number, width) in widths.iter().enumerate() {
            if turns.contains(&number) { turn_over(&path) }
            let text = format!("{number} {}", "x".repeat(*width));
            add(&path, stored(number as u64, &text).as_bytes());
        }
        let first_kept = if turns.iter().filter(|turn| **turn < widths.len() && **turn > 0).count() < 3 { 0 } else { *turns.first().unwrap() };
        let expected: Vec<u64> =
            (first_kept..widths.len()).rev().take(count).collect::<Vec<_>>().into_iter().rev().map(|n| n as u64).collect();
        let found = tail_since(dir.path(), "web", Timestamp::at(0), count).unwrap();
        let numbers: Vec<u64> = found.iter().map(|line| {
            let text = String::from_utf8_lossy(&line.text).into_owned();
            text.split(' ').next().unwrap().parse().unwrap()
        }).collect();
        prop_assert_eq!(numbers, expected);
    }
}
