//! Exports what integration tests and benchmarks call directly. Exists only with the feature `fixture`, so that the
//! compiler finds code that the program itself does not use.

pub mod context {
    pub use crate::context::{Context, Dirs, variables};
}

pub mod control {
    pub use crate::control::{routes, server, socket, stack_handle, status};
}

pub mod database {
    pub use crate::database::alembic_history::AlembicHead;
    pub use crate::database::{BranchDatabase, WantedDatabase};

    pub mod connect {
        pub use crate::database::connect::connect;
    }
    pub mod migrate {
        pub use crate::database::migrate::{FailureCause, MigrateError};
    }
    pub mod neon {
        pub use crate::database::neon::{Grant, Key, Neon, NeonProject, NeonRequest, Pace};
    }
}

pub mod error {
    pub use crate::error::{Code, Report};
}

pub mod event {
    pub use crate::event::Events;
}

pub mod isolation {
    pub use crate::isolation::{Territory, audit};
}

pub mod logs {
    pub use crate::logs::Timestamp;
}

pub mod os {
    pub mod cgroup {
        pub use crate::os::cgroup::ControlGroup;
    }
    pub mod cmd {
        pub use crate::os::cmd::Cmd;
    }
    pub mod fs {
        pub use crate::os::fs::{make_own_dir, replace, replace_for_now};
    }
    pub mod proc {
        pub use crate::os::proc::{
            ProcessEntry, command_of, directory_of, entry, env_of, environ, namespace, table,
        };
    }
}

pub mod recognition {
    pub use crate::recognition::{RecognitionPaths, recognise};
}

pub mod supervisor {
    pub use crate::supervisor::watchdog::Watchdog;

    pub mod output {
        pub use crate::supervisor::output::Framer;
    }
    pub mod sweep {
        pub use crate::supervisor::sweep::{SharedServers, is_alive, worktree_tag};
    }
}

pub mod ui {
    pub use crate::ui::error_text::text;
    pub use crate::ui::full_screen::FullScreen;
    pub use crate::ui::style::Style;
}
