//! Ports of a worktree: the preferred slot (pure), the machine-wide lease, the guard that looks before we leap.
