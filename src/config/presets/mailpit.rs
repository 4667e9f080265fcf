//! The preset `mailpit`.

use super::{PresetProbe, PresetProgram, PresetRole, ServicePreset};
use crate::plan::ServiceData;

/// A mail server that delivers nothing and shows what it received, served by `mailpit`.
pub(super) const MAILPIT: ServicePreset = ServicePreset {
    name: "mailpit",
    role: PresetRole::Server,
    programs: &[PresetProgram {
        name: "mailpit",
        run: "exec mailpit --listen \"127.0.0.1:$PORT\" --smtp \"$MAILPIT_SMTP_ADDRESS\" --database \"$DEVRUN_DATA/mail.db\"",
        wheels: &[],
    }],
    install: "install Mailpit (https://mailpit.axllent.org/docs/install/; Debian has no package; Homebrew: mailpit)",
    ports: &[("", 8400), ("-smtp", 8500)],
    probe: PresetProbe::Http("/livez"),
    data: Some(ServiceData::Empty),
    data_file: None,
    own_env: &[("MAILPIT_SMTP_ADDRESS", "127.0.0.1:${ports.<name>-smtp}")],
    env: &[
        ("<NAME>_URL", "http://127.0.0.1:${ports.<name>}"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", "${ports.<name>-smtp}"),
    ],
    images: &["mailpit", "mailhog", "maildev"],
};

#[cfg(test)]
mod tests {
    use crate::config::services::tests::{config, process, variable};

    #[test]
    fn mailpit_has_a_port_for_mail_and_one_for_its_page() {
        let config = config("services: { mailpit: {} }\n").unwrap();
        assert_eq!((config.ports["mailpit"], config.ports["mailpit-smtp"]), (8400, 8500));
        assert_eq!(variable(&config, "SMTP_PORT"), Some("${ports.mailpit-smtp}"));
        assert!(process(&config, "mailpit").ready.is_some());
    }
}
