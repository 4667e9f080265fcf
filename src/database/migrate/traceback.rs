//! A Python traceback without the frames of libraries: what is left is the project's own code and what went wrong. Pure.

/// Parts of paths that are nobody's to correct.
const LIBRARIES: [&str; 6] =
    ["site-packages", "dist-packages", "/lib/python", "/.venv/", "<frozen", "<string>"];

/// Lines that are kept at most.
const MOST: usize = 30;

/// The end of `tail` without the frames of libraries, and without the rest of a frame whose beginning was cut off.
pub(super) fn condense(tail: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_frame = |line: &str| line.trim_start().starts_with("File \"");
    let cut = tail.lines().find(|line| is_frame(line) || indent(line) == 0).is_some_and(is_frame);
    // Frames deeper than this are passed over; the first may have lost its head.
    let mut passing = cut.then_some(0);
    let kept = tail.lines().filter(|line| {
        if is_frame(line) {
            let library = LIBRARIES.iter().any(|part| line.contains(part));
            passing = library.then(|| indent(line));
            return !library;
        }
        if passing.is_some_and(|depth| indent(line) > depth) {
            return false;
        }
        passing = None;
        true
    });
    let kept: Vec<&str> = kept.collect();
    kept[kept.len().saturating_sub(MOST)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_projects_own() {
        let tail = "    sys.exit(main())\n             ^^^^^^\n  \
                    File \"/w/.venv/lib/python3.11/site-packages/alembic/config.py\", line 1, in main\n    \
                    CommandLine(prog=prog).main(argv=argv)\n  \
                    File \"<frozen importlib._bootstrap>\", line 241, in _call\n  \
                    File \"/w/alembic/env.py\", line 15, in <module>\n    context.run_migrations()\n  \
                    File \"/w/alembic/versions/0004.py\", line 10, in upgrade\n    raise RuntimeError('x')\n\
                    RuntimeError: x\n\n  DETAIL: more";
        assert_eq!(
            condense(tail),
            "  File \"/w/alembic/env.py\", line 15, in <module>\n    context.run_migrations()\n  \
             File \"/w/alembic/versions/0004.py\", line 10, in upgrade\n    raise RuntimeError('x')\n\
             RuntimeError: x\n\n  DETAIL: more"
        );
    }

    #[test]
    fn what_is_no_traceback_stays_as_it_is() {
        assert_eq!(condense(&"x\n".repeat(99)).lines().count(), MOST);
        for tail in ["", "  indented\nplain\n  more", "INFO one\nFAILED: no such revision"] {
            assert_eq!(condense(tail), tail);
        }
    }
}
