//! Shows plans, events and errors to the user. `cli` writes to the terminal without it in three places: `attach`, `complete` and the
//! effects of `top`.

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
