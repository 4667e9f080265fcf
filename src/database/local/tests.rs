//! The local provider against real servers: the system's, and the one that npm delivers. A test whose server is not to
//! be had says so and does nothing. Afterwards no process and no folder is left, and that is checked.

mod bed;
mod door;
mod life;
mod sharing;
