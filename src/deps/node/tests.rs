//! Tests of `ensure` with package managers that only record their calls, and with real ones.

use super::*;
use crate::deps::test_env::TestEnv;
use crate::error::{Code, Explain, Fault};

/// Answers like pnpm, as far as these tests need it.
const PNPM: &str = r#"
case "$1" in --version) echo "${PNPM_VERSION-12.21.0}"; exit;; esac
mkdir -p node_modules frontend/node_modules
echo "Packages: +34"
echo '{}' > node_modules/.modules.yaml
echo "Done in 28ms using pnpm v12.21.0""#;

fn stage() -> TestEnv {
    let stage = TestEnv::new();
    stage.program("node", "");
    stage.program("pnpm", PNPM);
    stage.write("wt/package.json", r#"{"name":"root"}"#);
    stage.write("wt/pnpm-workspace.yaml", "packages: [frontend]");
    stage.write("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
    stage.write("wt/frontend/package.json", r#"{"name":"frontend"}"#);
    stage
}

fn request(stage: &TestEnv) -> NodeRequest {
    NodeRequest {
        worktree: stage.path("wt"),
        directory: stage.path("wt/frontend"),
        state: stage.path("state"),
        env: stage.env.clone(),
    }
}

async fn run(stage: &TestEnv) -> Result<Done, DepsError> {
    ensure(&stage.ctx, &request(stage)).await
}

#[tokio::test]
async fn the_first_time_installs_and_the_second_runs_nothing() {
    let stage = stage();
    let done = run(&stage).await.unwrap();
    assert_eq!(done, Done { worked: true, outcome: "pnpm 12.21.0, 34 packages".into(), fetched: None });
    let calls = stage.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].starts_with("pnpm [wt] install --frozen-lockfile --prefer-offline "), "{calls:?}");
    assert!(calls[0].contains("--config.enable-global-virtual-store=false"));
    assert!(calls[0].contains("--config.confirmModulesPurge=false"), "node_modules is ours");
    assert_eq!(stage.count_events("StepStarted"), 1);
    assert!(stage.count_events("StepProgress") >= 1);

    let done = run(&stage).await.unwrap();
    assert_eq!((done.worked, done.outcome.as_str()), (false, "unchanged"));
    assert_eq!(stage.calls().len(), 1);
    assert_eq!(stage.count_events("StepStarted"), 1);
}

#[tokio::test]
async fn installs_with_yarn_1_wait_for_each_other() {
    let stage = stage();
    stage.program("yarn", "case \"$1\" in --version) echo 1.22.22; exit;; esac\nmkdir -p node_modules");
    stage.write("wt/package.json", r#"{"name":"root","packageManager":"yarn@1.22.22"}"#);
    stage.write("wt/yarn.lock", "# yarn lockfile v1\n");
    std::fs::remove_file(stage.path("wt/pnpm-lock.yaml")).unwrap();
    std::fs::remove_file(stage.path("wt/pnpm-workspace.yaml")).unwrap();
    let request = NodeRequest { directory: stage.path("wt"), ..request(&stage) };
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
    let mutex = format!("--mutex file:{}", stage.ctx.dirs.cache.join("yarn.lock").display());
    assert!(stage.calls().iter().any(|call| call.ends_with(&mutex)), "{:?}", stage.calls());

    let install = "[ -e node_modules/.yarn-integrity ] || { mkdir -p node_modules/six; echo > node_modules/six/package.json; }";
    let done = "echo > node_modules/.yarn-integrity";
    stage.program("yarn", &format!("case \"$1\" in --version) echo 1.22.22; exit;; esac\n{install}\n{done}"));
    let manifest = r#"{"name":"root","packageManager":"yarn@1.22.22","dependencies":{"six":"1"}}"#;
    stage.write("wt/package.json", manifest);
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
    std::fs::remove_dir_all(stage.path("wt/node_modules/six")).unwrap();
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
    assert!(stage.path("wt/node_modules/six").is_dir(), "yarn 1 only looks at its own record");
}

#[tokio::test]
async fn a_change_of_any_input_makes_the_install_stale() {
    let stage = stage();
    run(&stage).await.unwrap();
    let mut installs = 1;
    for (file, text) in [
        ("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'\nsettings: {}\n"),
        ("wt/frontend/package.json", r#"{"name":"frontend","version":"2.0.0"}"#),
        ("wt/packages/new/package.json", "{}"),
        ("wt/.npmrc", "registry=https://registry.example"),
        ("wt/.nvmrc", "24"),
    ] {
        stage.write(file, text);
        assert!(run(&stage).await.unwrap().worked, "{file}");
        installs += 1;
        assert!(!run(&stage).await.unwrap().worked, "{file}");
    }
    stage.program("node", "# another version");
    assert!(run(&stage).await.unwrap().worked, "node");
    for folder in ["wt/frontend/node_modules", "wt/node_modules"] {
        std::fs::remove_dir_all(stage.path(folder)).unwrap();
        assert!(run(&stage).await.unwrap().worked, "{folder}");
    }
    assert_eq!(stage.calls().len(), installs + 3);
}

#[tokio::test]
async fn a_package_that_was_removed_makes_the_install_stale_and_an_added_one_does_not() {
    let stage = stage();
    let manifest = r#"{"name":"frontend","dependencies":{"own":"1","@s/hoisted":"1","nowhere":"1"}}"#;
    stage.write("wt/frontend/package.json", manifest);
    let install = "for package in node_modules/@s/hoisted frontend/node_modules/own; do mkdir -p $package; \
                   echo > $package/package.json; done";
    stage.program("pnpm", &format!("{PNPM}\n{install}"));
    run(&stage).await.unwrap();
    stage.write("wt/node_modules/added/package.json", "{}");
    assert!(!run(&stage).await.unwrap().worked);
    for package in ["node_modules/@s/hoisted", "frontend/node_modules/own"] {
        std::fs::remove_dir_all(stage.path(&format!("wt/{package}"))).unwrap();
        assert!(run(&stage).await.unwrap().worked, "{package}");
        assert_eq!(stage.count_events(&format!("lacks {package}/package.json")), 1);
        assert!(!run(&stage).await.unwrap().worked, "{package}");
    }
}

#[tokio::test]
async fn a_rewritten_but_equal_file_changes_nothing() {
    let stage = stage();
    run(&stage).await.unwrap();
    stage.write("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
    stage.write("wt/.git", "gitdir: elsewhere");
    stage.write("wt/.claude/worktrees/a/package.json", "{}");
    stage.write("wt/nested/.git", "gitdir: elsewhere");
    stage.write("wt/nested/package.json", "{}");
    assert!(!run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn a_moved_worktree_is_installed_again() {
    let stage = stage();
    run(&stage).await.unwrap();
    std::fs::rename(stage.path("wt"), stage.path("moved")).unwrap();
    let moved = stage.path("moved");
    let request = NodeRequest { directory: moved.join("frontend"), worktree: moved, ..request(&stage) };
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
}

#[tokio::test]
async fn linked_packages_are_refused_before_anything_runs() {
    let stage = stage();
    std::fs::create_dir(stage.path("other")).unwrap();
    std::os::unix::fs::symlink(stage.path("other"), stage.path("wt/node_modules")).unwrap();
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::InstallFailed);
    assert!(error.why().unwrap().contains("Turbopack"));
    assert!(error.fix().unwrap().starts_with("rm "));
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn a_stale_lock_file_names_the_command_that_updates_it() {
    let stage = stage();
    stage.program(
        "pnpm",
        "echo 'Error: ERR_PNPM_OUTDATED_LOCKFILE' >&2; echo 'left-pad (lockfile: 1)' >&2; exit 1",
    );
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale);
    assert!(error.why().unwrap().contains("left-pad"));
    let wanted = format!("cd {} && pnpm install, commit", stage.path("wt").display());
    assert!(error.fix().unwrap().starts_with(&wanted), "{:?}", error.fix());
}

#[tokio::test]
async fn the_differences_of_npm_are_shown_in_place_of_its_usage() {
    let stage = stage();
    std::fs::remove_file(stage.path("wt/pnpm-lock.yaml")).unwrap();
    std::fs::remove_file(stage.path("wt/pnpm-workspace.yaml")).unwrap();
    stage.write("wt/frontend/package-lock.json", "{}");
    let usage = "echo 'npm error   [--include <prod|dev>]' >&2; ".repeat(20);
    stage.program(
        "npm",
        &format!(
            "echo 'npm error code EUSAGE' >&2; echo 'npm error `npm ci` can only install packages when your package.json \
             and package-lock.json are in sync.' >&2; echo 'npm error Missing: is-odd@3.0.1 from lock file' >&2; {usage}exit 1"
        ),
    );
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale);
    assert_eq!(error.why().as_deref(), Some("Missing: is-odd@3.0.1 from lock file"));
}

#[tokio::test]
async fn a_manifest_that_is_no_file_is_not_called_missing() {
    let stage = stage();
    let manifest = stage.path("wt/frontend/package.json");
    std::fs::remove_file(&manifest).unwrap();
    nix::unistd::mkfifo(&manifest, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} cannot be read", manifest.display()));
    assert_eq!(error.why().as_deref(), Some("it is a named pipe, not a regular file"));
    assert_eq!(error.fault(), Some(Fault::Code));
    std::fs::remove_file(&manifest).unwrap();
    assert!(run(&stage).await.unwrap_err().to_string().ends_with("has no package.json"));
}

#[tokio::test]
async fn a_failed_install_shows_the_last_lines_and_is_tried_again() {
    let stage = stage();
    stage.program("pnpm", "mkdir -p node_modules; echo 'no space left' >&2; exit 7");
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::InstallFailed);
    assert_eq!(error.why().as_deref(), Some("no space left"));
    assert!(error.fix().unwrap().contains("pnpm install --frozen-lockfile"));
    stage.program("pnpm", PNPM);
    assert!(run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn a_killed_install_is_done_again() {
    let stage = stage();
    stage.program("pnpm", "mkdir -p node_modules/.pnpm; echo x > \"$CALLS.began\"; sleep 600");
    let began = stage.path("calls.began");
    tokio::select! {
        _ = run(&stage) => panic!("it cannot end"),
        () = TestEnv::appears(&began) => {}
    }
    stage.program("pnpm", PNPM);
    assert!(run(&stage).await.unwrap().worked);
    assert!(!run(&stage).await.unwrap().worked);
    assert!(stage.calls()[1].contains("confirmModulesPurge"), "devrun created this folder");
}

#[tokio::test]
async fn packages_that_devrun_did_not_install_are_not_removed() {
    let stage = stage();
    stage.write("wt/node_modules/left-pad/index.js", "");
    run(&stage).await.unwrap();
    stage.write("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'\n# 2\n");
    run(&stage).await.unwrap();
    let calls = stage.calls();
    assert_eq!(calls.len(), 2);
    assert!(!calls.iter().any(|call| call.contains("confirmModulesPurge")), "{calls:?}");
}

#[tokio::test]
async fn simultaneous_installs_run_once() {
    let stage = stage();
    let (one, two) = tokio::join!(run(&stage), run(&stage));
    assert_ne!(one.unwrap().worked, two.unwrap().worked);
    assert_eq!(stage.calls().len(), 1);
}

#[tokio::test]
async fn missing_tools_are_named_with_what_to_install() {
    let stage = stage();
    std::fs::remove_file(stage.path("bin/pnpm")).unwrap();
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::ToolMissing);
    assert_eq!(error.to_string(), "pnpm 12.21.0 is not installed");
    assert_eq!(error.fix().unwrap(), "npm install --global pnpm@12.21.0, then run `devrun up -d`");
    std::fs::remove_file(stage.path("bin/node")).unwrap();
    let error = run(&stage).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::ToolMissing, "node is not installed"));
    std::fs::remove_file(stage.path("wt/frontend/package.json")).unwrap();
    assert_eq!(run(&stage).await.unwrap_err().code(), Code::ConfigInvalid);
}

/// `npm pack` writes a tarball `t`, and `npm install --prefix FOLDER` installs a program that records its calls.
const NPM: &str = r#"
if [ "$1" = pack ]; then
    while [ "$1" != --pack-destination ]; do shift; done
    printf t > "$2/t.tgz"
    exit
fi
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/.bin"
cat > "$2/node_modules/.bin/pnpm" <<'END'
#!/bin/sh
echo "fetched pnpm $*" >> "$CALLS"
mkdir -p node_modules
END
chmod +x "$2/node_modules/.bin/pnpm""#;

#[tokio::test]
async fn a_missing_manager_is_fetched_once_into_the_cache() {
    let stage = stage();
    std::fs::remove_file(stage.path("bin/pnpm")).unwrap();
    stage.program("npm", NPM);
    stage.write("wt/package.json", r#"{"packageManager":"pnpm@12.20.9"}"#);
    let done = run(&stage).await.unwrap();
    let bin = stage.path("cache/checked-tools/pnpm-12.20.9/node_modules/.bin");
    assert_eq!(done.fetched.as_ref(), Some(&bin));
    assert_eq!(stage.count_events("fetching pnpm 12.20.9"), 2, "a note and a line of progress");
    assert!(stage.calls()[0].starts_with("npm "));
    assert!(stage.calls()[..2].iter().all(|call| call.contains("--ignore-scripts")), "{:?}", stage.calls());
    assert!(stage.calls()[2].starts_with("fetched pnpm install"));
    let left = std::fs::read_dir(stage.path("cache/checked-tools")).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with('.')));

    let again = run(&stage).await.unwrap();
    assert_eq!((again.worked, again.fetched), (false, Some(bin.clone())), "processes need it every time");
    stage.write("wt/pnpm-lock.yaml", "lockfileVersion: '9.0'\n# 2\n");
    run(&stage).await.unwrap();
    assert_eq!(
        stage.calls().iter().filter(|call| call.starts_with("npm ")).count(),
        2,
        "pack and install, once"
    );
    std::fs::remove_dir_all(stage.path("cache")).unwrap();
    assert!(run(&stage).await.unwrap().worked, "the cache may be emptied at any time");
    assert!(bin.is_dir());
}

#[tokio::test]
async fn another_major_version_than_the_pinned_one_is_not_used() {
    let stage = stage();
    stage.program("npm", NPM);
    stage.write("wt/package.json", r#"{"packageManager":"pnpm@10.34.9"}"#);
    let done = run(&stage).await.unwrap();
    assert_eq!(done.outcome, "pnpm 10.34.9");
    assert_eq!(done.fetched, Some(stage.path("cache/checked-tools/pnpm-10.34.9/node_modules/.bin")));
    assert!(stage.count_events("the project pins pnpm 10.34.9, installed is 12.21.0") > 0);
    stage.write("wt/package.json", r#"{"packageManager":"pnpm@12.0.1"}"#);
    assert_eq!(run(&stage).await.unwrap().fetched, None, "the same major is enough");
}

#[tokio::test]
async fn a_pinned_manager_that_no_registry_has_is_the_fault_of_the_manifest() {
    let stage = stage();
    std::fs::remove_file(stage.path("bin/pnpm")).unwrap();
    stage.program("npm", "echo 'npm error code ETARGET' >&2\necho 'npm error notarget No matching version found for pnpm@99.0.0.' >&2\nexit 1");
    stage.write("wt/package.json", "{\n  \"packageManager\": \"pnpm@99.0.0\"\n}\n");
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Code));
    let why = error.why().unwrap();
    assert!(why.starts_with("package.json:2 wants pnpm@99.0.0, which the registry does not have"), "{why}");
}

#[tokio::test]
async fn a_tool_without_the_hash_that_is_pinned_or_compiled_in_is_not_used() {
    use sha2::Digest;
    let stage = stage();
    std::fs::remove_file(stage.path("bin/pnpm")).unwrap();
    stage.program("npm", NPM);
    let pin = |hash: &str| format!(r#"{{"packageManager":"pnpm@9.1.0+sha512.{hash}"}}"#);
    let digits: Vec<String> = sha2::Sha512::digest(b"t").iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = digits.concat();
    // Another repository has downloaded the same version before, without a hash.
    stage.write("wt/package.json", r#"{"packageManager":"pnpm@9.1.0"}"#);
    run(&stage).await.unwrap();
    stage.write("wt/package.json", &pin("abcd"));
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::ToolMissing);
    assert!(error.why().unwrap().contains("package.json pins"), "{:?}", error.why());
    stage.write("wt/package.json", &pin(&hash));
    run(&stage).await.unwrap();
    stage.write("wt/package.json", "{}");
    let error = run(&stage).await.unwrap_err();
    assert!(error.why().unwrap().contains("devrun expects"), "{:?}", error.why());
}

#[tokio::test]
async fn settings_of_the_repository_do_not_affect_the_download() {
    let mut stage = stage();
    std::fs::remove_file(stage.path("bin/pnpm")).unwrap();
    stage.program("npm", &format!("echo \"registry=$npm_config_registry\" >> \"$CALLS\"\n{NPM}"));
    stage.write("wt/package.json", r#"{"packageManager":"pnpm@9.1.0"}"#);
    stage.write("wt/.npmrc", "registry=http://127.0.0.1:9/");
    stage.env.insert("npm_config_registry".into(), "http://127.0.0.1:9/".into());
    run(&stage).await.unwrap();
    let seen: Vec<String> = stage.calls().into_iter().filter(|call| call.starts_with("registry=")).collect();
    assert_eq!(seen, ["registry=", "registry="]);
}

#[test]
fn every_manager_is_called_so_that_it_keeps_the_lock_file() {
    let line = |manager, lockfile: Option<&str>| {
        let root = PathBuf::from("/w");
        let lockfile = lockfile.map(PathBuf::from);
        let choice =
            ManagerChoice { manager, pin: None, hash: None, root, lockfile, fallback: "", remark: None };
        command::arguments(&choice).join(" ")
    };
    assert!(line(Manager::Pnpm, Some("/w/l")).starts_with("install --frozen-lockfile"));
    assert!(line(Manager::Pnpm, Some("/w/l")).ends_with("--ignore-workspace"), "nested in another checkout");
    assert!(line(Manager::Pnpm, None).starts_with("install --no-frozen-lockfile"));
    assert!(line(Manager::Npm, Some("/w/l")).starts_with("ci "));
    assert!(line(Manager::Npm, None).starts_with("install "));
    assert!(line(Manager::Yarn, Some("/w/l")).contains("--immutable"));
    assert!(line(Manager::YarnClassic, Some("/w/l")).contains("--frozen-lockfile"));
    assert!(line(Manager::Bun, Some("/w/l")).contains("--frozen-lockfile"));
}

#[test]
fn production_settings_of_the_shell_do_not_reach_the_install() {
    for name in
        ["NODE_ENV", "npm_config_omit", "NPM_CONFIG_PRODUCTION", "YARN_PRODUCTION", "npm_config_dry-run"]
    {
        let env: ToolEnv = [(name.into(), "production".into())].into();
        assert!(!command::environment(&env).contains_key(std::ffi::OsStr::new(name)), "{name}");
    }
}

#[tokio::test]
async fn a_setting_in_the_shell_is_an_input_of_the_install() {
    let mut stage = stage();
    run(&stage).await.unwrap();
    stage.env.insert("npm_config_user_agent".into(), "npm/11".into());
    assert!(!run(&stage).await.unwrap().worked, "npm sets it for the scripts it runs");
    stage.env.insert("npm_config_ignore_scripts".into(), "true".into());
    assert!(run(&stage).await.unwrap().worked);
    assert!(!run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn local_packages_and_deep_members_are_inputs() {
    let stage = stage();
    stage.write("wt/frontend/package.json", r#"{"dependencies":{"a":"file:./vendor/x/y/a"}}"#);
    stage.write("wt/pnpm-workspace.yaml", "packages:\n  - packages/*/*/*\n");
    run(&stage).await.unwrap();
    for file in ["wt/frontend/vendor/x/y/a/package.json", "wt/packages/a/b/c/package.json"] {
        stage.write(file, "{}");
        assert!(run(&stage).await.unwrap().worked, "{file}");
    }
    assert!(!run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn of_two_lock_files_the_fitting_one_is_installed() {
    let stage = stage();
    std::fs::remove_file(stage.path("wt/pnpm-workspace.yaml")).unwrap();
    stage.program("npm", "mkdir -p node_modules; echo x > node_modules/.package-lock.json");
    stage.write("wt/frontend/package.json", r#"{"dependencies":{"next":"15"}}"#);
    stage.write("wt/frontend/pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
    stage.write("wt/frontend/package-lock.json", r#"{"packages":{"":{"dependencies":{"next":"15"}}}}"#);
    run(&stage).await.unwrap();
    assert!(stage.calls()[0].starts_with("npm [frontend] ci "), "{:?}", stage.calls());
    assert_eq!(stage.count_events("frontend/pnpm-lock.yaml is empty"), 1);
}

#[tokio::test]
async fn a_node_that_is_too_old_is_reported_in_one_line() {
    let stage = stage();
    let said = r#"printf 'Error: ERR_PNPM_UNSUPPORTED_ENGINE\n  x Unsupported engine for /w: wanted:\n  | {"node":"24.x"} (current: {"node":"20.20.2"})\n' >&2; exit 1"#;
    stage.program("pnpm", said);
    let error = run(&stage).await.unwrap_err();
    let node = stage.path("bin/node");
    assert_eq!(error.code(), Code::ToolMissing);
    assert_eq!(
        error.to_string(),
        format!("this project needs Node 24.x, but node is v20.20.2 ({})", node.display())
    );
    assert!(error.fix().unwrap().contains("nvm install 24"), "{:?}", error.fix());
}

#[test]
fn outcomes_are_read_from_the_output() {
    let told = |lines: &[&str]| {
        let mut told = command::InstallOutput::default();
        for line in lines {
            told.hear(line);
        }
        told.outcome("x", told.version.as_deref())
    };
    assert_eq!(told(&["Packages: +1", "Done in 28ms using pnpm v12.21.0"]), "x 12.21.0, 1 package");
    assert_eq!(told(&["added 185 packages in 12s"]), "x, 185 packages");
    assert_eq!(told(&["Already up to date"]), "x");
}

/// With npm's registry: downloads pnpm, lets it write a lock file, installs, and finds the install finished.
#[tokio::test]
async fn real_pnpm_installs_a_workspace() {
    let mut stage = TestEnv::real();
    let path = std::env::var_os("PATH").unwrap();
    let plain = std::env::split_paths(&path).filter(|folder| !folder.join("pnpm").exists());
    stage.env.insert("PATH".into(), std::env::join_paths(plain).unwrap());
    stage.ctx.env = stage.env.clone();
    stage.write("wt/package.json", r#"{"name":"root","private":true,"packageManager":"pnpm@12.21.0"}"#);
    stage.write("wt/pnpm-workspace.yaml", "packages:\n  - frontend\n");
    let member = |version| {
        format!(r#"{{"name":"frontend","private":true,"dependencies":{{"is-number":"{version}"}}}}"#)
    };
    stage.write("wt/frontend/package.json", &member("7.0.0"));
    let without_lock = run(&stage).await.unwrap();
    assert!(without_lock.outcome.starts_with("pnpm 12.21.0, 1 package"), "{}", without_lock.outcome);
    assert!(stage.path("wt/pnpm-lock.yaml").is_file());
    assert!(!run(&stage).await.unwrap().worked, "the lock file that it wrote is one of its inputs");

    for folder in ["wt/node_modules", "wt/frontend/node_modules"] {
        std::fs::remove_dir_all(stage.path(folder)).unwrap();
    }
    assert!(run(&stage).await.unwrap().worked);
    assert!(stage.path("wt/node_modules/.modules.yaml").is_file());
    assert!(
        stage.path("wt/node_modules/.pnpm/is-number@7.0.0").is_dir(),
        "real folders, no global virtual store"
    );
    let package = stage.path("wt/frontend/node_modules/is-number");
    assert!(package.join("package.json").is_file());
    let real = package.canonicalize().unwrap();
    for gone in [&package, &real] {
        if gone == &real { std::fs::remove_dir_all(gone) } else { std::fs::remove_file(gone) }.unwrap();
        assert!(run(&stage).await.unwrap().worked, "{}", gone.display());
        assert!(package.join("package.json").is_file(), "{}", gone.display());
        assert!(!run(&stage).await.unwrap().worked);
    }

    stage.write("wt/frontend/package.json", &member("6.0.0"));
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale, "{error}: {:?}", error.why());
}

/// With npm's registry: mistakes in the files are blamed on the code, with file and line, and the fix helps.
#[tokio::test]
async fn failures_of_real_npm_are_blamed_on_their_cause() {
    let stage = TestEnv::real();
    let manifest =
        |version| format!("{{\n  \"dependencies\": {{\n    \"is-number\": \"{version}\"\n  }}\n}}\n");
    stage.write("wt/frontend/package.json", &manifest("99.0.0"));
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Code), "{:?}", error.why());
    assert!(error.fix().unwrap().contains("frontend/package.json:3"), "{:?}", error.fix());
    stage.write("wt/frontend/package.json", "{\n  \"dependencies\": {},\n}\n");
    let error = run(&stage).await.unwrap_err();
    assert!(error.fix().unwrap().starts_with("correct frontend/package.json:3"), "{:?}", error.fix());
    stage.write("wt/frontend/package.json", &manifest("7.0.0"));
    run(&stage).await.unwrap();
    let whole = std::fs::read_to_string(stage.path("wt/frontend/package-lock.json")).unwrap();
    stage
        .write("wt/frontend/package-lock.json", &format!("<<<<<<< HEAD\n{whole}=======\n{whole}>>>>>>> b\n"));
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Code));
    assert!(
        error.why().unwrap().starts_with("frontend/package-lock.json:1 has conflict markers"),
        "{:?}",
        error.why()
    );
    stage.write("wt/frontend/package-lock.json", &whole);
    assert!(run(&stage).await.unwrap().worked, "one side of the conflict helps");
    let mut stage = stage;
    stage.env.insert("npm_config_registry".into(), "http://127.0.0.1:9/".into());
    stage.env.insert("npm_config_fetch_retries".into(), "0".into());
    stage.env.insert("npm_config_cache".into(), stage.path("empty").into());
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Environment), "{:?}", error.why());
    assert!(error.why().unwrap().starts_with("the package registry could not be reached"));
}
