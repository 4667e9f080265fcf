//! `devrun hook`, with real git and the real devrun.

#[path = "hooks/agent.rs"]
mod agent;
#[path = "hooks/post_checkout.rs"]
mod post_checkout;
