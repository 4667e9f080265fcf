//! The preset `redis`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};
use crate::plan::ServiceData;

/// A Redis, served by `redis-server`, else by `valkey-server`.
pub(super) const REDIS: ServicePreset = ServicePreset {
    name: "redis",
    role: PresetRole::Server,
    programs: &[
        PresetProgram { name: "redis-server", run: REDIS_RUN },
        PresetProgram { name: "valkey-server", run: VALKEY_RUN },
    ],
    install: "install the Debian package redis-server (or valkey-server; Homebrew: redis)",
    ports: &[("", 6400)],
    probe: READY,
    data: Some(ServiceData::Empty),
    data_file: Some("dump.rdb"),
    own_env: &[],
    // devrun sets <NAME>_PORT for every port.
    env: &[("<NAME>_URL", "redis://127.0.0.1:${ports.<name>}/0"), ("<NAME>_HOST", "127.0.0.1")],
    images: &["redis", "redis-stack", "redis-stack-server", "valkey"],
};

/// One snapshot an hour, if anything changed, and one at the end. An append-only file would cost a write for each command.
pub(super) const REDIS_RUN: &str = "exec redis-server --port $PORT --bind 127.0.0.1 --dir \"$DEVRUN_DATA\" \
                                    --save '3600 1' --appendonly no";
pub(super) const VALKEY_RUN: &str = "exec valkey-server --port $PORT --bind 127.0.0.1 --dir \"$DEVRUN_DATA\" \
                                     --save '3600 1' --appendonly no";
/// The server accepts connections before it has loaded its data, so the port says too little.
pub(super) const READY: PresetProbe = PresetProbe::Log("Ready to accept connections");

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, process, variable};

    #[test]
    fn redis_has_a_port_and_a_url_and_keeps_no_data() {
        let config = config("services: { redis: {} }\nprocesses: { api: x }\n").unwrap();
        assert_eq!(config.ports.get("redis"), Some(&6400));
        assert_eq!(variable(&config, "REDIS_URL"), Some("redis://127.0.0.1:${ports.redis}/0"));
        let redis = process(&config, "redis");
        assert!(redis.run.to_string().starts_with("exec redis-server --port $PORT "), "{}", redis.run);
        assert_eq!(redis.service.as_ref().unwrap().data, Some(crate::plan::ServiceData::Empty));
    }

    #[test]
    fn two_servers_have_variables_by_their_names() {
        let config = config("services: { cache: { preset: redis }, broker: { preset: redis } }\n").unwrap();
        assert_eq!(variable(&config, "CACHE_URL"), Some("redis://127.0.0.1:${ports.cache}/0"));
        assert_eq!(variable(&config, "BROKER_URL"), Some("redis://127.0.0.1:${ports.broker}/0"));
        assert_eq!((config.ports["cache"], config.ports["broker"]), (6400, 6500));
    }
}
