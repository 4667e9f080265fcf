//! The life of a worktree: `with`, `new` and `rm`, with real git and the real devrun.

#[path = "lifecycle/new.rs"]
mod new;
#[path = "lifecycle/rm.rs"]
mod rm;
#[path = "lifecycle/with.rs"]
mod with;
