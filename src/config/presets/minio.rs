//! The preset `minio`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};
use crate::plan::ServiceData;

/// An S3 server, served by `minio`. Rows of the branch database name its objects, so it keeps its data.
pub(super) const MINIO: ServicePreset = ServicePreset {
    name: "minio",
    role: PresetRole::Server,
    programs: &[PresetProgram {
        name: "minio",
        run: "exec minio server \"$DEVRUN_DATA\" --address \"$MINIO_ADDRESS\" --console-address \"$MINIO_CONSOLE_ADDRESS\"",
        wheels: &[],
    }],
    install: "install MinIO (https://github.com/minio/minio; Debian has no package; Homebrew: minio/stable/minio)",
    ports: &[("", 9400), ("-console", 9500)],
    probe: PresetProbe::Http("/minio/health/live"),
    data: Some(ServiceData::Keep),
    data_file: None,
    own_env: &[
        ("MINIO_ADDRESS", "127.0.0.1:${ports.<name>}"),
        ("MINIO_CONSOLE_ADDRESS", "127.0.0.1:${ports.<name>-console}"),
        ("MINIO_ROOT_USER", "devrun"),
        ("MINIO_ROOT_PASSWORD", "${secret.MINIO_ROOT_PASSWORD}"),
    ],
    // The names that the SDKs of S3 read.
    env: &[
        ("<NAME>_URL", "http://127.0.0.1:${ports.<name>}"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:${ports.<name>}"),
        ("AWS_ACCESS_KEY_ID", "devrun"),
        ("AWS_SECRET_ACCESS_KEY", "${secret.MINIO_ROOT_PASSWORD}"),
        ("AWS_REGION", "us-east-1"),
    ],
    images: &["minio"],
};

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, process, variable};

    #[test]
    fn minio_has_two_ports_and_the_variables_of_an_s3_client() {
        let config = config("services: { minio: {} }\n").unwrap();
        assert_eq!((config.ports["minio"], config.ports["minio-console"]), (9400, 9500));
        assert_eq!(variable(&config, "AWS_ENDPOINT_URL_S3"), Some("http://127.0.0.1:${ports.minio}"));
        assert_eq!(variable(&config, "AWS_SECRET_ACCESS_KEY"), Some("${secret.MINIO_ROOT_PASSWORD}"));
        let minio = process(&config, "minio");
        assert!(!minio.run.to_string().contains("secret"), "the password is in the environment alone");
        assert_eq!(minio.service.as_ref().unwrap().data, Some(crate::plan::ServiceData::Keep));
    }
}
