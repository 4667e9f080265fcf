//! The files of a timer that prunes one repository every day: for systemd, or for launchd on macOS. Pure.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The program of the system that runs the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TimerService {
    /// Linux.
    Systemd,
    /// macOS. devrun has never been run there.
    Launchd,
}

/// The values that the files contain.
#[derive(Debug)]
pub(super) struct TimerSettings<'a> {
    /// The worktree to prune in, without line breaks.
    pub(super) folder: &'a str,
    /// This program, without line breaks.
    pub(super) program: &'a str,
    /// PATH, to find git and Postgres.
    pub(super) search_path: &'a str,
    /// Hex digits of the hash of the repository's path.
    pub(super) id: &'a str,
    /// The home folder.
    pub(super) home: &'a Path,
    /// The folder of configuration: `~/.config`.
    pub(super) config: &'a Path,
}

/// The files, and the commands that switch the timer on and off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimerFiles {
    pub(super) service: TimerService,
    /// Paths and contents.
    pub(super) files: Vec<(PathBuf, String)>,
    /// Commands that a shell understands, in their order.
    pub(super) enable: Vec<String>,
    pub(super) disable: Vec<String>,
    /// The link that switching on makes and switching off deletes.
    pub(super) link: Option<PathBuf>,
}

impl TimerFiles {
    pub(super) fn of(service: TimerService, settings: &TimerSettings<'_>) -> TimerFiles {
        match service {
            TimerService::Systemd => systemd(settings),
            TimerService::Launchd => launchd(settings),
        }
    }
}

fn systemd(settings: &TimerSettings<'_>) -> TimerFiles {
    let TimerSettings { folder, program, search_path, id, config, .. } = settings;
    let name = format!("devrun-prune-{id}");
    let service = format!(
        "[Unit]\nDescription=devrun prune in {}\nConditionPathIsDirectory={}\n\n[Service]\nType=oneshot\n\
         Environment={}\nExecStart={} -C {} prune --yes\n",
        specifiers(folder),
        specifiers(folder),
        word(&format!("PATH={search_path}")),
        // systemd replaces no variables in the name of the program.
        word(program),
        command_word(folder)
    );
    let timer = format!(
        "[Unit]\nDescription=daily devrun prune in {}\n\n[Timer]\nOnCalendar=daily\nRandomizedDelaySec=1h\n\
         Persistent=true\n\n[Install]\nWantedBy=timers.target\n",
        specifiers(folder)
    );
    let units = config.join("systemd/user");
    TimerFiles {
        service: TimerService::Systemd,
        files: vec![
            (units.join(format!("{name}.service")), service),
            (units.join(format!("{name}.timer")), timer),
        ],
        enable: vec![
            "systemctl --user daemon-reload".into(),
            format!("systemctl --user enable --now {name}.timer"),
        ],
        disable: vec![format!("systemctl --user disable --now {name}.timer")],
        link: Some(units.join(format!("timers.target.wants/{name}.timer"))),
    }
}

/// Doubles `%`, which begins a specifier of systemd.
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// Quotes a word of a setting for systemd.
fn word(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{}\"", text.replace('\n', "\\n").replace('\r', "\\r"))
}

/// Quotes a word of `ExecStart=`, where systemd also replaces variables.
fn command_word(text: &str) -> String {
    word(text).replace('$', "$$")
}

fn launchd(settings: &TimerSettings<'_>) -> TimerFiles {
    let TimerSettings { folder, program, search_path, id, home, .. } = settings;
    let label = format!("dev.devrun.prune-{id}");
    let arguments = [program, "-C", folder, "prune", "--yes"];
    let arguments = arguments.iter().fold(String::new(), |mut all, one| {
        let _ = writeln!(all, "\t\t<string>{}</string>", escaped_xml(one));
        all
    });
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n\
         \t<key>Label</key>\n\t<string>{label}</string>\n\t<key>ProgramArguments</key>\n\t<array>\n{arguments}\t</array>\n\
         \t<key>EnvironmentVariables</key>\n\t<dict>\n\t\t<key>PATH</key>\n\t\t<string>{}</string>\n\t</dict>\n\
         \t<key>StartCalendarInterval</key>\n\t<dict>\n\t\t<key>Hour</key>\n\t\t<integer>12</integer>\n\
         \t\t<key>Minute</key>\n\t\t<integer>0</integer>\n\t</dict>\n</dict>\n</plist>\n",
        escaped_xml(search_path)
    );
    let path = home.join(format!("Library/LaunchAgents/{label}.plist"));
    let enable = format!("launchctl bootstrap gui/$(id -u) {}", crate::text::quoted(&path));
    TimerFiles {
        service: TimerService::Launchd,
        files: vec![(path, text)],
        enable: vec![enable],
        disable: vec![format!("launchctl bootout gui/$(id -u)/{label}")],
        link: None,
    }
}

fn escaped_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(service: TimerService) -> TimerFiles {
        TimerFiles::of(
            service,
            &TimerSettings {
                folder: "/w/my $app 100%",
                program: "/opt/dev\"run\\x",
                search_path: "/usr/bin:/a b",
                id: "0123abcd",
                home: Path::new("/home/u"),
                config: Path::new("/home/u/.config"),
            },
        )
    }

    #[test]
    fn c3_systemd_gets_quoted_words() {
        let TimerFiles { files, enable, disable, .. } = files(TimerService::Systemd);
        let [(service_path, service), (timer_path, timer)] = &files[..] else { panic!("{files:?}") };
        assert_eq!(service_path, Path::new("/home/u/.config/systemd/user/devrun-prune-0123abcd.service"));
        assert_eq!(timer_path, Path::new("/home/u/.config/systemd/user/devrun-prune-0123abcd.timer"));
        insta::assert_snapshot!(service, @r#"
        [Unit]
        Description=devrun prune in /w/my $app 100%%
        ConditionPathIsDirectory=/w/my $app 100%%

        [Service]
        Type=oneshot
        Environment="PATH=/usr/bin:/a b"
        ExecStart="/opt/dev\"run\\x" -C "/w/my $$app 100%%" prune --yes
        "#);
        insta::assert_snapshot!(timer, @"
        [Unit]
        Description=daily devrun prune in /w/my $app 100%%

        [Timer]
        OnCalendar=daily
        RandomizedDelaySec=1h
        Persistent=true

        [Install]
        WantedBy=timers.target
        ");
        assert_eq!(enable[1], "systemctl --user enable --now devrun-prune-0123abcd.timer");
        assert_eq!(disable, ["systemctl --user disable --now devrun-prune-0123abcd.timer"]);
    }

    #[test]
    fn c3_launchd_gets_escaped_strings() {
        let TimerFiles { files, enable, .. } = files(TimerService::Launchd);
        let [(path, text)] = &files[..] else { panic!("{files:?}") };
        assert_eq!(path, Path::new("/home/u/Library/LaunchAgents/dev.devrun.prune-0123abcd.plist"));
        assert!(text.contains("<string>/w/my $app 100%</string>"), "{text}");
        let wanted =
            "launchctl bootstrap gui/$(id -u) /home/u/Library/LaunchAgents/dev.devrun.prune-0123abcd.plist";
        assert_eq!(enable, [wanted]);
        assert_eq!(escaped_xml("a&b<c>"), "a&amp;b&lt;c&gt;");
    }
}
