//! Shows plans, events and errors to the user. Other modules write to the terminal only where a screen or a process owns it: `cli::top`,
//! `cli::attach`, and the answers to shell completion.

mod bottom_line;
pub mod compact;
pub mod console;
pub mod error_text;
pub mod full_screen;
pub mod notice;
pub mod prefixes;
mod screen;
mod shared_stream;
mod status_line;
pub mod style;
pub mod summary;
