//! The preset `valkey`.

use super::redis::{READY, REDIS_RUN, REDIS_WHEELS, VALKEY_RUN};
use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};
use crate::plan::ServiceData;

/// A Valkey, served by `valkey-server`, else by `redis-server`.
pub(super) const VALKEY: ServicePreset = ServicePreset {
    name: "valkey",
    role: PresetRole::Server,
    programs: &[
        PresetProgram { name: "valkey-server", run: VALKEY_RUN, wheels: &[] },
        PresetProgram { name: "redis-server", run: REDIS_RUN, wheels: REDIS_WHEELS },
    ],
    install: "install the Debian package valkey-server (or redis-server; Homebrew: valkey)",
    ports: &[("", 6400)],
    probe: PROBE,
    data: Some(ServiceData::Empty),
    data_file: Some("dump.rdb"),
    own_env: &[],
    env: &[("<NAME>_URL", URL), ("REDIS_URL", URL), ("<NAME>_HOST", "127.0.0.1")],
    images: &[],
};

const PROBE: PresetProbe = READY;
/// Few libraries know a scheme `valkey`.
const URL: &str = "redis://127.0.0.1:${ports.<name>}/0";

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, process, variable};

    #[test]
    fn valkey_prefers_its_server_and_sets_the_variable_of_redis_too() {
        let config = config("services: { valkey: {} }\n").unwrap();
        assert!(process(&config, "valkey").run.to_string().starts_with("exec valkey-server "));
        for name in ["VALKEY_URL", "REDIS_URL"] {
            assert_eq!(variable(&config, name), Some("redis://127.0.0.1:${ports.valkey}/0"));
        }
    }

    #[test]
    fn valkey_may_have_the_name_redis() {
        let config = config("services: { redis: { preset: valkey } }\n").unwrap();
        assert_eq!(variable(&config, "REDIS_URL"), Some("redis://127.0.0.1:${ports.redis}/0"));
    }
}
