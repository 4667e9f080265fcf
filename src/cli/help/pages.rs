//! The pages of the documentation that are in the program.

/// A page of the documentation.
pub(super) struct HelpPage {
    /// Its name: that of the file in `docs`.
    pub(super) name: &'static str,
    /// Its subject, in one line.
    pub(super) about: &'static str,
    pub(super) text: &'static str,
}

macro_rules! pages {
    ($($name:literal, $about:literal;)*) => {
        /// The pages, in the order in which they are listed.
        pub(super) const PAGES: &[HelpPage] = &[
            $(HelpPage { name: $name, about: $about, text: include_str!(concat!("../../../docs/", $name, ".md")) },)*
            HelpPage {
                name: "example",
                about: "devrun.yaml.example: every key in one file",
                text: include_str!("../../../devrun.yaml.example"),
            },
        ];
    };
}

pages! {
    "installing", "packages, builds, and what remains after a removal";
    "configuration", "devrun.yaml: every key, values, the environment of a process";
    "recognition", "what devrun finds in a repository without a devrun.yaml";
    "worktrees", "make a worktree, test in it, throw it away";
    "ports", "how a worktree gets its ports and keeps them";
    "dependencies", "Node and Python packages: when and how they are installed";
    "database", "a Postgres database for each git branch";
    "neon", "branch databases on Neon";
    "services", "Redis, mail, S3 and workers in each worktree";
    "environment", "the variables that other programs see; files for editors and test runners";
    "isolation", "how processes are kept from the servers of other worktrees";
    "supervision", "processes: readiness, restarts, the end of a run";
    "control", "a stack in the background; the socket that clients use";
    "logs", "the output of processes, on the terminal and on disk";
    "events", "what happens to a stack, as lines of JSON";
    "cleaning-up", "what deleted worktrees, branches and killed runs leave";
    "doctor", "problems that devrun finds before a run, each with its fix";
    "open", "open a stack in the browser, with logins of this worktree alone";
    "top", "watch all stacks of the machine on one screen";
    "hooks", "prepare worktrees that git and agents make";
    "agent-tools", "devrun for coding agents";
    "agents", "the manual that coding agents read";
    "shells-and-editors", "completions, manual pages, checks in an editor";
    "exit-codes", "exit statuses and error codes";
    "security", "what devrun protects, and against which attacker";
    "troubleshooting", "when something goes wrong";
}
