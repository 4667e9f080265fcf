//! Defines the command lines of the verbs that explain devrun to people, shells and editors.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct HelpArgs {
    /// A verb, as in `devrun help db reset`, or a page. Left out: the list of pages.
    #[arg(value_name = "VERB|PAGE")]
    pub(in crate::cli) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Completions {
    /// The shell.
    pub(in crate::cli) shell: CompletedShell,
    /// Write the file that this shell reads for this user.
    #[arg(long, conflicts_with = "uninstall")]
    pub(in crate::cli) install: bool,
    /// Remove that file.
    #[arg(long)]
    pub(in crate::cli) uninstall: bool,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CompletedShell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "nu")]
    Nushell,
    #[value(alias = "pwsh")]
    Powershell,
}

impl CompletedShell {
    /// Returns its name on the command line.
    pub(in crate::cli) const fn name(self) -> &'static str {
        match self {
            CompletedShell::Bash => "bash",
            CompletedShell::Zsh => "zsh",
            CompletedShell::Fish => "fish",
            CompletedShell::Nushell => "nushell",
            CompletedShell::Powershell => "powershell",
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ManArgs {
    /// Write them to the folders man1 and man5 of DIR. Left out: the folder that belongs to your account.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SchemaArgs {
    /// Write it to devrun's data folder, and print the line that makes an editor use it.
    #[arg(long)]
    pub(in crate::cli) install: bool,
}
