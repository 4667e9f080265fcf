//! `ensure` with recorded and with real package managers.
