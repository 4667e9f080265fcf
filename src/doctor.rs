//! Finds problems of a repository, its worktrees and this machine before they stop a run or mix two worktrees.
//!
//! `gather` reads the facts, with a time limit for each kind. `findings` has one file for each family of problems, with pure functions
//! from facts to findings. `repair` adds lines to git's list of ignored files. Executes nothing from the checkout, and sends
//! nothing over the network except a request to the container engine of the database.

mod facts;
mod finding;
mod findings;
mod gather;
mod repair;

pub use facts::{DoctorFacts, HookFacts, HookState};
#[cfg(test)]
pub use finding::EvidenceLine;
pub use finding::{DoctorFinding, FindingId, Repair, Severity};
pub use findings::findings;
pub use findings::leftovers::{RULES, removable};
pub use gather::gather;
pub use repair::exclude;
