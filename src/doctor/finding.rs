//! A finding of `devrun doctor`. Holds values only.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// How bad a finding is. The order is that of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// `devrun up` fails, or a run would damage something.
    Error,
    /// Worktrees disturb each other, or something will fail later.
    Warning,
    /// Worth knowing; nothing has to be done.
    Info,
}

macro_rules! finding_ids {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $severity:ident),+ $(,)?) => {
        /// The name of a finding. Agents rely on the names, so a new version may add names but does not change any.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FindingId { $($(#[$doc])* $variant),+ }

        impl FindingId {
            /// Every id, in the order of the documentation.
            #[cfg(test)]
            pub const ALL: &'static [FindingId] = &[$(FindingId::$variant),+];

            /// Returns the name as printed and documented.
            pub const fn name(self) -> &'static str {
                match self { $(FindingId::$variant => $name),+ }
            }

            /// Returns how bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(FindingId::$variant => Severity::$severity),+ }
            }
        }
    };
}

finding_ids! {
    /// The configuration is refused.
    ConfigurationInvalid = "configuration-invalid" => Error,
    /// There is no configuration, and recognition finds no process.
    ConfigurationMissing = "configuration-missing" => Error,
    /// The configuration is fine, and something else keeps devrun from making the plan.
    PlanFails = "plan-fails" => Error,
    NodeMissing = "node-missing" => Error,
    /// Node is not in the range that a manifest asks for.
    NodeVersion = "node-version" => Warning,
    /// Another major version of Node than `.nvmrc` names.
    NodePinned = "node-pinned" => Info,
    ManagerMissing = "manager-missing" => Info,
    ManagerVersion = "manager-version" => Info,
    /// Several lock files fit.
    LockfilesSeveral = "lockfiles-several" => Info,
    PythonMissing = "python-missing" => Warning,
    PostgresMissing = "postgres-missing" => Info,
    ServiceMissing = "service-missing" => Error,
    /// `node_modules` or `.venv` is a link.
    PackagesLinked = "packages-linked" => Error,
    /// Node resolves packages from a checkout around this worktree.
    PackagesLeaked = "packages-leaked" => Warning,
    /// A virtual environment was copied or moved here.
    VenvMoved = "venv-moved" => Warning,
    ReloadReachesWorktrees = "reload-reaches-worktrees" => Warning,
    TestsReachWorktrees = "tests-reach-worktrees" => Warning,
    LintReachesWorktrees = "lint-reaches-worktrees" => Warning,
    TypesReachWorktrees = "types-reach-worktrees" => Warning,
    /// Next.js takes a folder outside this worktree for the root of the project.
    NextRoot = "next-root" => Warning,
    PortInCode = "port-in-code" => Warning,
    /// A port in the code that devrun redirects.
    PortRedirected = "port-redirected" => Info,
    PortInVariable = "port-in-variable" => Warning,
    PortInUrl = "port-in-url" => Warning,
    /// The container engine of the database cannot be reached.
    DatabaseUnreachable = "database-unreachable" => Error,
    DatabaseInCode = "database-in-code" => Warning,
    DatabaseShared = "database-shared" => Warning,
    VariableForeign = "variable-foreign" => Info,
    EnvOutNotIgnored = "env-out-not-ignored" => Error,
    EnvFileNotIgnored = "env-file-not-ignored" => Warning,
    WorktreesNotIgnored = "worktrees-not-ignored" => Warning,
    HooksOff = "hooks-off" => Warning,
    HookIgnored = "hook-ignored" => Warning,
    HookWithoutProgram = "hook-without-program" => Warning,
    HookOutdated = "hook-outdated" => Info,
    HookMissing = "hook-missing" => Info,
    Leftovers = "leftovers" => Warning,
    OrphanedProcesses = "orphaned-processes" => Warning,
    /// A server whose worktree is gone.
    ServerWithoutWorktree = "server-without-worktree" => Warning,
    StrayServer = "stray-server" => Info,
    BranchShared = "branch-shared" => Warning,
    WorktreeBroken = "worktree-broken" => Warning,
    WorktreeGone = "worktree-gone" => Info,
    DiskFull = "disk-full" => Error,
    DiskLow = "disk-low" => Warning,
    OpenFilesLow = "open-files-low" => Warning,
    WatchesLow = "watches-low" => Warning,
    SharedMemorySmall = "shared-memory-small" => Warning,
    /// A variable has a name below `localhost` that programs cannot resolve.
    LocalhostUnresolved = "localhost-unresolved" => Warning,
    TenantInHost = "tenant-in-host" => Info,
    LoginsShared = "logins-shared" => Info,
    /// A check did not finish in time.
    Unfinished = "unfinished" => Info,
}

impl Serialize for FindingId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A file, folder or line that shows a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceLine {
    /// Relative to the worktree, or absolute if it is outside.
    pub file: PathBuf,
    /// Counted from 1; `None` for the file as a whole.
    pub line: Option<u32>,
}

/// A change that `--fix` makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Adds these lines to git's own list of ignored files, which is not part of the repository.
    Exclude(Vec<String>),
    /// Removes the sockets, records and leases of runs that have ended.
    Leftovers,
    /// Installs git's hook; made only if the user asks for it.
    Hook,
}

/// A problem, with the way to solve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorFinding {
    pub id: FindingId,
    /// One sentence without a full stop.
    pub title: String,
    pub evidence: Vec<EvidenceLine>,
    /// A command or an edit.
    pub fix: String,
    pub repair: Option<Repair>,
}

impl DoctorFinding {
    pub(super) fn new(id: FindingId, title: impl Into<String>, fix: impl Into<String>) -> DoctorFinding {
        DoctorFinding { id, title: title.into(), evidence: Vec::new(), fix: fix.into(), repair: None }
    }

    /// Adds a line of a file.
    pub(super) fn at(mut self, file: impl AsRef<Path>, line: Option<u32>) -> DoctorFinding {
        self.evidence.push(EvidenceLine { file: file.as_ref().into(), line: line.filter(|line| *line > 0) });
        self
    }

    /// Adds several files or folders.
    pub(super) fn at_all<P: AsRef<Path>>(self, files: impl IntoIterator<Item = P>) -> DoctorFinding {
        files.into_iter().fold(self, |finding, file| finding.at(file, None))
    }

    pub(super) fn repaired_by(mut self, repair: Repair) -> DoctorFinding {
        self.repair = Some(repair);
        self
    }

    /// Returns the finding for JSON.
    pub fn object(&self) -> Value {
        let line = |one: &EvidenceLine| match one.line {
            Some(line) => json!({ "file": one.file.display().to_string(), "line": line }),
            None => json!({ "file": one.file.display().to_string() }),
        };
        json!({
            "id": self.id,
            "severity": self.id.severity(),
            "title": self.title,
            "evidence": self.evidence.iter().map(line).collect::<Vec<_>>(),
            "fix": self.fix,
            "fixable": self.repair.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_finding_with_its_severity() {
        let row = |id: &FindingId| {
            format!("| `{}` | {} |", id.name(), format!("{:?}", id.severity()).to_lowercase())
        };
        let rows: Vec<String> = FindingId::ALL.iter().map(row).collect();
        let (_, table) = include_str!("../../docs/doctor.md").split_once("## Findings").unwrap();
        let documented = table.lines().filter(|line| line.starts_with("| `"));
        let cells = |line: &str| line.split_inclusive('|').take(3).collect::<String>();
        assert_eq!(documented.map(cells).collect::<Vec<_>>(), rows);
    }
}
