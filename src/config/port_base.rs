//! The range of port bases.

/// Number of slots. Bases must be this far apart, or two worktrees could get the same port.
pub const SLOTS: u16 = 100;
/// The lowest port base; lower ports need privileges.
pub const LOWEST: u16 = 1024;
/// The highest port base, so that the last slot still fits.
pub const HIGHEST: u16 = u16::MAX - SLOTS;
