//! Dependencies of a worktree: decides in milliseconds from a stamp whether to install, then lets the project's own
//! package manager do it.
