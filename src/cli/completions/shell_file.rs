//! Decides in which file each shell looks for the completions of a user, and the content of that file. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cli::args::CompletedShell;
use crate::context::user_folder;
use crate::text::quoted;

/// The words by which devrun recognises a file that it wrote.
pub(super) const MARK: &str = "written by `devrun completions";

/// The file with the completions of a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellFile {
    shell: CompletedShell,
    pub(super) path: PathBuf,
    /// The line that a start file of the shell needs, if the shell does not find the file by itself, and the name of that
    /// start file.
    pub(super) line: Option<(String, &'static str)>,
}

impl ShellFile {
    /// Returns the file for a user with this environment.
    pub(super) fn of(shell: CompletedShell, env: &BTreeMap<OsString, OsString>) -> ShellFile {
        let data = || user_folder(env, "XDG_DATA_HOME", ".local/share");
        let config = || user_folder(env, "XDG_CONFIG_HOME", ".config");
        let path = match shell {
            CompletedShell::Bash => {
                let own = env.get(OsStr::new("BASH_COMPLETION_USER_DIR")).map(PathBuf::from);
                own.unwrap_or_else(|| data().join("bash-completion")).join("completions/devrun")
            }
            CompletedShell::Zsh => data().join("zsh/site-functions/_devrun"),
            CompletedShell::Fish => config().join("fish/completions/devrun.fish"),
            CompletedShell::Nushell => data().join("nushell/vendor/autoload/devrun.nu"),
            CompletedShell::Powershell => config().join("powershell/devrun-completions.ps1"),
        };
        let line = match shell {
            CompletedShell::Bash | CompletedShell::Fish | CompletedShell::Nushell => None,
            CompletedShell::Zsh => {
                let folder = quoted(path.parent().unwrap_or(Path::new("/")));
                Some((format!("fpath+=({folder}); autoload -Uz compinit; compinit"), "~/.zshrc"))
            }
            CompletedShell::Powershell => {
                let path = path.to_string_lossy().replace('\'', "''");
                Some((format!(". '{path}'"), "$PROFILE"))
            }
        };
        ShellFile { shell, path, line }
    }

    /// Returns the content of the file. `script` is what `devrun completions` prints for this shell.
    pub(super) fn text(&self, script: &str) -> String {
        let shell = self.shell.name();
        let comment =
            format!("# Completions of devrun, {MARK} {shell} --install`. `--uninstall` removes this file.\n");
        match self.shell {
            CompletedShell::Bash => format!("{comment}eval \"$(devrun completions bash 2>/dev/null)\"\n"),
            // zsh looks for the first line, and calls this file as the function that completes.
            CompletedShell::Zsh => format!(
                "#compdef devrun\n{comment}eval \"$(devrun completions zsh 2>/dev/null)\"\n\
                 (( $+functions[_clap_dynamic_completer_devrun] )) && _clap_dynamic_completer_devrun \"$@\"\n"
            ),
            CompletedShell::Fish => format!("{comment}devrun completions fish 2>/dev/null | source\n"),
            CompletedShell::Powershell => format!(
                "{comment}if (Get-Command devrun -ErrorAction SilentlyContinue) {{\n    \
                 & devrun completions powershell 2>$null | Out-String | Invoke-Expression\n}}\n"
            ),
            // Nushell reads a file as a whole before it runs any of it.
            CompletedShell::Nushell => format!("{comment}{script}"),
        }
    }

    /// Returns the text about the steps that are left to the user.
    pub(super) fn advice(&self) -> String {
        match (&self.line, self.shell) {
            (Some((line, file)), _) => format!("Add this line to {file}, once:\n\n    {line}\n"),
            (None, CompletedShell::Bash) => {
                "It works in each new shell with the package bash-completion; without that package, add this line to \
                 ~/.bashrc:\n\n    eval \"$(devrun completions bash)\"\n"
                    .into()
            }
            (None, _) => "It works in each new shell.\n".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_a_file_in_its_own_folder() {
        let env: BTreeMap<OsString, OsString> = [("HOME".into(), "/home/u".into())].into();
        for (shell, path) in [
            (CompletedShell::Bash, "/home/u/.local/share/bash-completion/completions/devrun"),
            (CompletedShell::Zsh, "/home/u/.local/share/zsh/site-functions/_devrun"),
            (CompletedShell::Fish, "/home/u/.config/fish/completions/devrun.fish"),
            (CompletedShell::Nushell, "/home/u/.local/share/nushell/vendor/autoload/devrun.nu"),
            (CompletedShell::Powershell, "/home/u/.config/powershell/devrun-completions.ps1"),
        ] {
            let file = ShellFile::of(shell, &env);
            assert_eq!(file.path, Path::new(path));
            assert!(file.text("x").contains(MARK), "{shell:?}");
        }
        let moved = [("BASH_COMPLETION_USER_DIR".into(), "/b".into())].into();
        assert_eq!(ShellFile::of(CompletedShell::Bash, &moved).path, Path::new("/b/completions/devrun"));
    }
}
