//! `devrun open`: the user's browser gets one argument; Chromium gets a profile of the worktree.

use std::path::{Path, PathBuf};

use crate::asking::{base, devrun, fine, json, refusal, skip_without};
use crate::support::product::find;
use crate::support::{LIMIT, Sandbox, wait_for};

/// A server whose `/login` sets a cookie with the name of its folder. It prints the cookies of each request.
const LOGIN: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("request", self.path, self.headers.get("Cookie", "no cookie"), flush=True)
        self.send_response(200)
        if self.path == "/login":
            self.send_header("Set-Cookie", "session=" + os.path.basename(os.getcwd()) + "; Max-Age=9999; Path=/")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>shop</title><link rel=icon href=data:,>")

    def log_message(self, *args):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Makes a repository with [`LOGIN`], and returns its folder.
fn shop(sandbox: &Sandbox) -> PathBuf {
    let config = format!(
        "ports: {{ web: {} }}\nprocesses:\n  web: {{ run: exec python3 login.py, port: web, ready: {{ http: / }} }}\n\
         urls:\n  Page: \"http://localhost:${{ports.web}}/\"\n  Login: \"http://localhost:${{ports.web}}/login\"\n\
         \x20 Odd: \"http://localhost:${{ports.web}}/$(touch odd)`touch odd`\"\n",
        base()
    );
    sandbox.repo_with(&[("devrun.yaml", &config), ("login.py", LOGIN)])
}

/// Returns a browser that writes the number of its arguments and the last one to a file, and that file.
fn recorder(sandbox: &Sandbox) -> (String, PathBuf) {
    let (program, file) = (sandbox.path().join("browser"), sandbox.path().join("opened"));
    let script = format!("for last; do :; done\necho \"$# $last\" > {}\n", file.display());
    sandbox.write(&program, &script);
    (format!("/bin/sh {}", program.display()), file)
}

#[test]
fn the_browser_gets_the_url_as_one_argument() {
    let sandbox = Sandbox::new();
    let main = shop(&sandbox);
    let open = |args: &[&str]| {
        devrun(&sandbox, &main, &[&["open"], args].concat())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
    };
    refusal(open(&["--json"]), "not-running", 88);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let (browser, file) = recorder(&sandbox);
    let opened = |args: &[&str]| {
        let said = fine(open(args).env("BROWSER", &browser));
        let recorded = std::fs::read_to_string(&file).unwrap();
        assert_eq!(recorded.trim_end(), format!("1 {}", said.stdout.trim_end()), "{said}");
        recorded
    };
    assert!(opened(&[]).ends_with("/\n"));
    assert!(opened(&["login"]).ends_with("/login\n"));
    assert!(opened(&["Odd"]).contains("$(touch"));
    assert!(!main.join("odd").exists() && !sandbox.path().join("odd").exists(), "a shell ran");

    // Without a display the URL is printed, which is no error.
    std::fs::remove_file(&file).unwrap();
    for args in [&[][..], &["--browser-profile"]] {
        let said = fine(open(args).env_remove("BROWSER"));
        assert!(said.stdout.starts_with("http://localhost:"), "{said}");
        assert!(said.stderr.contains("no display"), "{said}");
    }
    let answer = json(&fine(open(&["--json", "--print"]).env("BROWSER", &browser)));
    assert_eq!(answer["opened"], false);
    assert!(!file.exists());
    refusal(open(&["nowhere", "--json"]), "usage", 2);
    let error = refusal(open(&["--json"]).env("BROWSER", "/bin/false"), "spawn-failed", 87);
    assert_eq!(error["fault"], "environment");
    fine(devrun(&sandbox, &main, &["down"]));
}

/// Returns the value of `BROWSER` for a Chromium without windows. Without Chromium, reports that the test is skipped.
fn chromium(options: &str) -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let Some(program) = names.iter().find_map(|name| find(name)) else {
        skip_without(&["chromium"]);
        return None;
    };
    let root = if nix::unistd::geteuid().is_root() { "--no-sandbox" } else { "" };
    Some(format!("{} --headless --disable-gpu --disable-dev-shm-usage {root} {options}", program.display()))
}

/// Waits until no Chromium of the sandbox runs: its cookies are on disk then.
#[track_caller]
fn browsers_ended(sandbox: &Sandbox) {
    wait_for("the end of Chromium", LIMIT, || {
        let all = sandbox.processes();
        let found = all.iter().find(|process| process.command.contains("--user-data-dir"));
        found.map_or(Ok(()), |process| Err(process.to_string()))
    });
}

/// Waits until the server in `folder` has had a request for `path`, and returns the cookies of the last one.
#[track_caller]
fn cookies(sandbox: &Sandbox, folder: &Path, path: &str) -> String {
    let start = format!("web | request {path} ");
    wait_for(&start, LIMIT, || {
        let said = fine(devrun(sandbox, folder, &["logs", "web"])).stdout;
        let found = said.lines().rev().find_map(|line| line.strip_prefix(&start));
        found.map(str::to_string).ok_or(said)
    })
}

#[test]
fn two_worktrees_with_profiles_stay_logged_in() {
    let Some(browser) = chromium("--dump-dom") else { return };
    let sandbox = Sandbox::new();
    let main = shop(&sandbox);
    let other = sandbox.worktree("other", "other");
    let open = |folder: &Path, name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let call = devrun(&sandbox, folder, &["open", "--browser-profile", name]);
        fine(call.env("BROWSER", &browser).env("PATH", path));
        browsers_ended(&sandbox);
    };
    for folder in [&main, &other] {
        fine(devrun(&sandbox, folder, &["up", "-d"]));
        open(folder, "Login");
        cookies(&sandbox, folder, "/login");
    }
    for (folder, session) in [(&main, "session=repo"), (&other, "session=other")] {
        open(folder, "Page");
        assert_eq!(cookies(&sandbox, folder, "/"), session);
        fine(devrun(&sandbox, folder, &["down"]));
    }
    let profile = main.join(".git/devrun/browser");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&profile).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "a profile holds logins");
}

#[test]
fn rm_ends_the_browser_and_deletes_its_profile() {
    let Some(browser) = chromium("--remote-debugging-port=0") else { return };
    let sandbox = Sandbox::new();
    shop(&sandbox);
    let other = sandbox.worktree("other", "other");
    fine(devrun(&sandbox, &other, &["up", "-d"]));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let call = devrun(&sandbox, &other, &["open", "--browser-profile"]);
    fine(call.env("BROWSER", &browser).env("PATH", path));
    let profile = sandbox.main().join(".git/worktrees/other/devrun/browser");
    wait_for("Chromium's lock", LIMIT, || {
        let lock = profile.join("SingletonLock");
        lock.symlink_metadata().map(drop).map_err(|error| error.to_string())
    });
    cookies(&sandbox, &other, "/");
    fine(sandbox.devrun(&["rm", "other", "--yes"]));
    assert!(!profile.exists() && !other.exists());
    browsers_ended(&sandbox);
}

/// Returns the address of the page under the worktree's own host name.
#[track_caller]
fn host_url(sandbox: &Sandbox, folder: &Path) -> String {
    let status = crate::asking::answer(sandbox, folder, "status");
    status["host_urls"]["Web"].as_str().unwrap_or_else(|| panic!("{status:#}")).to_string()
}

#[test]
fn host_names_keep_two_logins_in_one_browser() {
    let Some(browser) = chromium("--dump-dom") else { return };
    let sandbox = Sandbox::new();
    let main = shop(&sandbox);
    let other = sandbox.worktree("other", "other");
    let profile = format!("--user-data-dir={}", sandbox.path().join("profile").display());
    let words: Vec<&str> = browser.split_whitespace().collect();
    let visit = |url: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let args = [&words[1..], &[profile.as_str(), url]].concat();
        fine(sandbox.program(words[0], &args).env("PATH", path));
        browsers_ended(&sandbox);
    };
    let worktrees = [(&main, "session=repo"), (&other, "session=other")];
    for (folder, _) in worktrees {
        fine(devrun(&sandbox, folder, &["up", "-d"]));
        visit(&format!("{}/login", host_url(&sandbox, folder)));
        cookies(&sandbox, folder, "/login");
    }
    for (folder, session) in worktrees {
        visit(&format!("{}/", host_url(&sandbox, folder)));
        assert_eq!(cookies(&sandbox, folder, "/"), session);
    }
    // Under `localhost` the second login replaces the first, which is why the host names exist.
    let plain = |folder: &Path, path: &str| {
        let port = crate::asking::port(&crate::asking::answer(&sandbox, folder, "ports"), "web");
        visit(&format!("http://localhost:{port}{path}"));
    };
    plain(&main, "/login");
    plain(&other, "/login");
    plain(&main, "/");
    assert_eq!(cookies(&sandbox, &main, "/"), "session=other");
    for (folder, _) in worktrees {
        fine(devrun(&sandbox, folder, &["down"]));
    }
}
