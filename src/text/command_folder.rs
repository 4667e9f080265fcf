//! Adds the folder to the devrun commands of a fix, for a reader who works in another folder. Pure.

use std::path::Path;

use super::quoted;

/// The texts before a command in a fix that does not begin with the command.
const BEFORE: [&str; 6] = ["`", "&& ", ": ", ", then ", "; then ", ", or "];
/// The arguments with which a command acts on no folder, or names one itself.
const ELSEWHERE: [&str; 7] = ["-C", "--help", "--version", "help", "agents", "schema", "completions"];

/// Returns `fix` with `-C` and `folder` in each command of devrun that acts on the current folder. A command after `cd` acts on the folder
/// of that, which is completed with `folder` if it is relative.
pub fn in_folder(fix: &str, folder: &Path) -> String {
    let option = format!("-C {} ", quoted(folder));
    let mut located = String::with_capacity(fix.len() + option.len());
    let mut rest = fix;
    while let Some(at) = rest.find("devrun ") {
        let (before, found) = rest.split_at(at);
        located.push_str(before);
        let follows_cd = complete_cd(&mut located, folder);
        let is_command = located.is_empty() || BEFORE.iter().any(|word| located.ends_with(word));
        let arguments = found.strip_prefix("devrun ").unwrap_or_default();
        let first = arguments.split([' ', '`']).next().unwrap_or_default();
        located.push_str("devrun ");
        if is_command && !follows_cd && !ELSEWHERE.contains(&first) {
            located.push_str(&option);
        }
        rest = arguments;
    }
    located + rest
}

/// Returns true if the commands that `located` ends with, joined by `&&`, begin with `cd`. Writes the path of that with `folder`.
fn complete_cd(located: &mut String, folder: &Path) -> bool {
    let start = located.rfind('`').map_or(0, |at| at + 1);
    let Some(after) = located[start..].strip_prefix("cd ") else { return false };
    let Some((written, rest)) = after.split_once(" && ") else { return false };
    if rest.contains("devrun ") {
        // An earlier command of the chain has completed it.
        return true;
    }
    let path = shlex::split(written).unwrap_or_default().concat();
    let completed = format!("cd {} && {rest}", quoted(folder.join(path)));
    located.replace_range(start.., &completed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_act_on_a_folder_name_it() {
        for (fix, located) in [
            ("devrun up -d", "devrun -C ../x up -d"),
            ("devrun down && devrun up -d", "devrun -C ../x down && devrun -C ../x up -d"),
            ("correct it, then run `devrun up -d`", "correct it, then run `devrun -C ../x up -d`"),
            ("if you mean it: devrun db reset --yes", "if you mean it: devrun -C ../x db reset --yes"),
            ("a; `devrun help database` describes it", "a; `devrun help database` describes it"),
            ("stop pid 7 (`devrun -C /w/b down`)", "stop pid 7 (`devrun -C /w/b down`)"),
            ("check that devrun is installed", "check that devrun is installed"),
            ("the next `devrun` migrates it", "the next `devrun` migrates it"),
            ("devrun logs devrun", "devrun -C ../x logs devrun"),
            (
                "`cd api && devrun exec -- uv lock`, then `devrun wait`",
                "`cd ../x/api && devrun exec -- uv lock`, then `devrun -C ../x wait`",
            ),
            ("run `cd /w/x/api && devrun exec -- alembic`", "run `cd /w/x/api && devrun exec -- alembic`"),
            (
                "cd 'a b' && devrun exec -- x && devrun wait",
                "cd '../x/a b' && devrun exec -- x && devrun wait",
            ),
        ] {
            assert_eq!(in_folder(fix, Path::new("../x")), located);
        }
    }

    #[test]
    fn the_folder_is_one_word_for_the_shell() {
        let fix = in_folder("devrun up -d", Path::new("/w/it's $(x)"));
        assert_eq!(shlex::split(&fix).unwrap()[2], "/w/it's $(x)");
    }
}
