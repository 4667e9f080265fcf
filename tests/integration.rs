//! The one integration binary: a module per verb.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be had is a failure")]

mod support;

#[path = "integration/ground.rs"]
mod ground;
#[path = "integration/supervise.rs"]
mod supervise;
