//! The preset `rq`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};

/// An RQ worker that takes jobs from queues of the worktree. The URL is in a variable, because it may hold a password.
pub(super) const RQ: ServicePreset = ServicePreset {
    name: "rq",
    role: PresetRole::Worker { separator: " ", usual_queue: "default", has_app: false },
    programs: &[PresetProgram { name: "rq", run: "exec rq worker $RQ_QUEUES", wheels: &[] }],
    install: "add rq to the Python packages of the repository",
    ports: &[],
    probe: PresetProbe::None,
    data: None,
    data_file: None,
    own_env: &[("RQ_REDIS_URL", "${REDIS_URL}"), ("RQ_QUEUES", "<queues>")],
    env: &[("<NAME>_QUEUE", "<queue>")],
    images: &[],
};

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, own_variable, process, variable};

    #[test]
    fn rq_takes_the_url_of_redis_and_queues_of_the_worktree() {
        let config = config("services: { redis: {}, rq: {} }\n").unwrap();
        assert_eq!(own_variable(&config, "rq", "RQ_REDIS_URL"), Some("${REDIS_URL}"));
        assert_eq!(own_variable(&config, "rq", "RQ_QUEUES"), Some("default rq-${slug}"));
        assert_eq!(variable(&config, "RQ_QUEUE"), Some("rq-${slug}"));
        assert_eq!(process(&config, "rq").depends_on[0].0, "redis");
    }
}
