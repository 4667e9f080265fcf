//! Shows plans, events and errors to the user. The only module that writes to the terminal.

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
