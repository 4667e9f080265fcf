//! `ensure` with recorded and with real tools.
