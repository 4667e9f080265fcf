//! Tests the local provider with real servers: the system's and the one from npm. A test whose server is not available
//! is skipped with a message. At the end each test checks that no process is left.

mod admin_socket;
mod copying;
mod kept_session;
mod life;
mod load;
mod sharing;
mod test_env;
mod upgrade;
