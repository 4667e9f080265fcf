//! The preset `celery`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};

/// A Celery worker that takes jobs from queues of the worktree.
pub(super) const CELERY: ServicePreset = ServicePreset {
    name: "celery",
    role: PresetRole::Worker { separator: ",", usual_queue: "celery", has_app: true },
    programs: &[PresetProgram {
        name: "celery",
        run: "exec celery --app \"$CELERY_APP\" worker --loglevel INFO --queues \"$CELERY_QUEUES\" --hostname \"$CELERY_NODE\"",
        wheels: &[],
    }],
    install: "add celery to the Python packages of the repository",
    ports: &[],
    probe: PresetProbe::None,
    data: None,
    data_file: None,
    own_env: &[
        ("CELERY_APP", "<app>"),
        ("CELERY_QUEUES", "<queues>"),
        // Two workers of one name on a shared broker would answer for each other.
        ("CELERY_NODE", "<name>-${slot}@%h"),
    ],
    env: &[("<NAME>_QUEUE", "<queue>")],
    images: &[],
};

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, own_variable, variable};

    #[test]
    fn queues_carry_the_worktree_and_the_usual_one_is_served_only_beside_an_own_redis() {
        let alone = config("services: { celery: { app: app.tasks } }\n").unwrap();
        assert_eq!(variable(&alone, "CELERY_QUEUE"), Some("celery-${slug}"));
        assert_eq!(own_variable(&alone, "celery", "CELERY_QUEUES"), Some("celery-${slug}"));
        assert_eq!(own_variable(&alone, "celery", "CELERY_APP"), Some("app.tasks"));
        let beside = config("services: { redis: {}, celery: { app: app.tasks } }\n").unwrap();
        assert_eq!(own_variable(&beside, "celery", "CELERY_QUEUES"), Some("celery,celery-${slug}"));
        let shared = "services: { redis: { shared: redis://localhost }, celery: { app: app.tasks } }\n";
        assert_eq!(own_variable(&config(shared).unwrap(), "celery", "CELERY_QUEUES"), Some("celery-${slug}"));
    }

    #[test]
    fn written_queues_replace_those_of_the_preset() {
        let written = "services: { worker: { preset: celery, app: a, queues: ['mail-${slot}', slow] } }\n";
        let config = config(written).unwrap();
        assert_eq!(own_variable(&config, "worker", "CELERY_QUEUES"), Some("mail-${slot},slow"));
        assert_eq!(variable(&config, "WORKER_QUEUE"), Some("mail-${slot}"));
    }
}
