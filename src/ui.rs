//! What people see. Reads plans, events and errors; decides nothing; the only room that writes to the terminal.

pub mod console;
pub mod failure;
pub mod lines;
mod outlet;
mod screen;
pub mod style;
pub mod summary;
