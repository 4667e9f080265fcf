//! The files that devrun writes for programs that it does not start, and variables of the login shell.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::asking::{answer, base, devrun, fine, json as parsed, port, refusal, server};
use crate::support::Sandbox;

const IGNORED: &str = ".env\n.env.*\n!.env.example\n!.env.agent.template\n";

/// Makes a repository with a server and these files, and a linked worktree.
fn two_worktrees(config: &str, files: &[(&str, &str)]) -> (Sandbox, PathBuf, PathBuf) {
    let sandbox = Sandbox::new();
    let config = format!("{}{config}", server(base()));
    let mut all = vec![("devrun.yaml", config.as_str()), (".gitignore", IGNORED)];
    all.extend(files);
    let main = sandbox.repo_with(&all);
    let linked = sandbox.worktree("linked", "linked");
    (sandbox, main, linked)
}

/// Starts and stops the stack.
#[track_caller]
pub(crate) fn run(sandbox: &Sandbox, worktree: &Path) {
    fine(devrun(sandbox, worktree, &["up", "-d"]));
    fine(devrun(sandbox, worktree, &["down"]));
}

pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the value of a variable as a shell that reads the file sees it.
fn sourced(sandbox: &Sandbox, file: &Path, name: &str) -> String {
    let line = format!("set -a; . '{}'; printf %s \"${name}\"", file.display());
    fine(sandbox.program("/bin/sh", &["-c", &line])).stdout
}

#[test]
fn p4_a_generated_file_has_the_variables_of_the_stack_and_is_deleted_with_the_worktree() {
    let config = "env: { NEXT_PUBLIC_API_URL: 'http://localhost:${ports.web}', SIGNING_KEY: '${secret.KEY}' }\n\
                  env_out: { .env.devrun: {} }\n";
    let (sandbox, main, linked) = two_worktrees(config, &[]);
    sandbox.write(&main.join(".env"), "FROM_MAIN=it's here\n");
    // git removes the files in the worktree, but not this one.
    let file = sandbox.path().join("outside.env");
    symlink(&file, linked.join(".env.devrun")).unwrap();
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let plan = answer(&sandbox, &linked, "plan");
    let url = format!("http://localhost:{}", port(&plan, "web"));
    for (name, wanted) in [
        ("NEXT_PUBLIC_API_URL", url.as_str()),
        ("FROM_MAIN", "it's here"),
        ("WEB_PORT", &port(&plan, "web").to_string()),
        ("DEVRUN_BRANCH", "linked"),
    ] {
        assert_eq!(sourced(&sandbox, &file, name), wanted, "{name}");
    }
    assert_eq!(sourced(&sandbox, &file, "SIGNING_KEY").len(), 64);
    assert_eq!(mode(&file), 0o600, "it holds secrets");
    for kept_out in ["PATH=", "DEVRUN_VARIABLES", "PYTHONUNBUFFERED", "FORCE_COLOR"] {
        assert!(!text(&file).contains(kept_out), "{kept_out}: {}", text(&file));
    }
    assert_eq!(answer(&sandbox, &linked, "status")["changed"], Value::Null);
    fine(devrun(&sandbox, &linked, &["down"]));
    assert!(file.is_file(), "the ports stay leased, so the values stay true");
    assert!(!main.join(".env.devrun").exists());
    fine(devrun(&sandbox, &main, &["rm", "linked", "--yes"]));
    assert!(!linked.exists() && !file.exists());
}

#[test]
fn e3_env_out_corrects_stale_values() {
    let (sandbox, _, linked) = two_worktrees("env: { LEVEL: one }\nenv_out: { .env.devrun: {} }\n", &[]);
    run(&sandbox, &linked);
    let file = linked.join(".env.devrun");
    assert_eq!(sourced(&sandbox, &file, "LEVEL"), "one");
    let old = text(&linked.join("devrun.yaml"));
    sandbox.write(&linked.join("devrun.yaml"), &old.replace("LEVEL: one", "LEVEL: two"));
    run(&sandbox, &linked);
    assert_eq!(sourced(&sandbox, &file, "LEVEL"), "two");
    // devrun deletes the file of an entry that the configuration no longer has.
    sandbox.write(&linked.join("devrun.yaml"), &old.replace("env_out: { .env.devrun: {} }", ""));
    run(&sandbox, &linked);
    assert!(!file.exists());
}

#[test]
fn e5_a_block_keeps_order_comments_mode_and_links() {
    let config = "env: { LEVEL: mine }\nenv_out: { .env.local: { block: true, only: [LEVEL, 'WEB_*'] } }\n";
    let (sandbox, main, linked) = two_worktrees(config, &[]);
    let outside = sandbox.path().join("outside.env");
    let own = "# first\nZ=1\nLEVEL='yours'  # comment\n\nA=2";
    sandbox.write(&outside, own);
    set_mode(&outside, 0o640);
    let link = linked.join(".env.local");
    symlink(&outside, &link).unwrap();
    run(&sandbox, &linked);
    let written = text(&outside);
    assert!(written.starts_with(&format!("{own}\n# >>> devrun env for ")), "{written}");
    assert_eq!(mode(&outside), 0o640);
    assert_eq!(std::fs::read_link(&link).unwrap(), outside, "the link was replaced");
    assert_eq!(sourced(&sandbox, &outside, "LEVEL"), "mine");
    assert_eq!(sourced(&sandbox, &outside, "A"), "2");
    assert!(written.contains("WEB_PORT=") && !written.contains("DEVRUN_SLUG="), "{written}");
    run(&sandbox, &linked);
    assert_eq!(text(&outside), written, "the second run changed it");
    // devrun does not read its own block: the explanation names only the line of the user.
    let told = fine(devrun(&sandbox, &linked, &["env", "--explain", "LEVEL"])).stdout;
    assert!(told.contains("instead of .env.local:3, which has another value"), "{told}");
    assert!(!told.contains(".env.local:8"), "{told}");
    // A line of the user below the block would win, so the block moves.
    sandbox.write(&outside, &format!("{written}LEVEL=below\n"));
    run(&sandbox, &linked);
    assert_eq!(sourced(&sandbox, &outside, "LEVEL"), "mine");
    sandbox.write(&outside, &written);
    fine(devrun(&sandbox, &main, &["rm", "linked", "--yes"]));
    assert_eq!((text(&outside), mode(&outside)), (own.to_string(), 0o640));
}

#[test]
fn e5_a_file_with_only_the_block_is_deleted() {
    let config = "env_out: { .env.local: { block: true } }\n";
    let (sandbox, main, linked) = two_worktrees(config, &[]);
    let outside = sandbox.path().join("new.env");
    symlink(&outside, linked.join(".env.local")).unwrap();
    run(&sandbox, &linked);
    assert_eq!(mode(&outside), 0o600);
    // The folder is deleted by hand, and the file is outside.
    std::fs::remove_dir_all(&linked).unwrap();
    fine(devrun(&sandbox, &main, &["rm", "linked", "--yes"]));
    assert!(!outside.exists(), "{}", text(&outside));
}

#[test]
fn only_ignored_files_are_written() {
    let (sandbox, _, linked) = two_worktrees("env_out: { conf/dev.env: {} }\n", &[("tracked.env", "A=1\n")]);
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert_eq!(error["fix"], "add this line to .gitignore: /conf/dev.env", "{error:#}");
    assert!(error["message"].as_str().unwrap().starts_with("devrun.yaml:6:"), "{error:#}");
    assert!(!linked.join("conf").exists());
    let config = text(&linked.join("devrun.yaml"));
    let with = |output: &str| config.replace("conf/dev.env: {}", output);
    sandbox.write(&linked.join("devrun.yaml"), &with("tracked.env: { block: true }"));
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("git tracks `tracked.env`"), "{error:#}");
    // A file of the user is not overwritten.
    sandbox.write(&linked.join(".env.local"), "MINE=1\n");
    sandbox.write(&linked.join("devrun.yaml"), &with(".env.local: {}"));
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert!(error["fix"].as_str().unwrap().contains("block: true"), "{error:#}");
    assert_eq!(text(&linked.join(".env.local")), "MINE=1\n");
    // Neither is a tracked file at the end of an ignored link.
    std::fs::remove_file(linked.join(".env.local")).unwrap();
    symlink("tracked.env", linked.join(".env.local")).unwrap();
    sandbox.write(&linked.join("devrun.yaml"), &with(".env.local: { block: true }"));
    refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert_eq!(text(&linked.join("tracked.env")), "A=1\n");
}

#[test]
fn two_worktrees_do_not_overwrite_each_other_through_a_link() {
    let config = "env_out: { .env.local: { block: true } }\n";
    let (sandbox, main, linked) = two_worktrees(config, &[]);
    sandbox.write(&main.join(".env.local"), "KEY=1\n");
    run(&sandbox, &main);
    symlink(main.join(".env.local"), linked.join(".env.local")).unwrap();
    let before = text(&main.join(".env.local"));
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    assert!(error["fix"].as_str().unwrap().contains("cp --remove-destination"), "{error:#}");
    assert_eq!(text(&main.join(".env.local")), before);
    // The values of the main worktree do not reach this one through the file either.
    let env = parsed(&fine(devrun(&sandbox, &linked, &["env", "--json", "--reveal"])));
    assert_eq!((&env["KEY"], &env["DEVRUN_BRANCH"]), (&json!("1"), &json!("linked")));
}

#[test]
fn e6_e7_the_published_agent_template_becomes_env_local() {
    let template = "# for $AGENTS\nPORT=$AGENT_DYNAMIC_PORT\nREDIS_URL=redis://localhost:6379/${slot % 16}\nNODE_ENV=development\n\
                    HOME_OF=${DEVRUN_SLUG}\n";
    let (sandbox, main, linked) = two_worktrees("", &[(".env.agent.template", template)]);
    run(&sandbox, &linked);
    let plan = answer(&sandbox, &linked, "plan");
    let slot = plan["slot"].as_u64().unwrap();
    let written = text(&linked.join(".env.local"));
    let wanted = format!(
        "# for $AGENTS\nPORT={}\nREDIS_URL=redis://localhost:6379/{}\nNODE_ENV=development\nHOME_OF=linked\n",
        port(&plan, "web"),
        slot % 16
    );
    assert!(written.starts_with("# Generated by devrun for ") && written.ends_with(&wanted), "{written}");
    // Values that devrun generated are not its input.
    assert_eq!(answer(&sandbox, &linked, "env")["NODE_ENV"], Value::Null);
    // The user's own file is left alone, with a notice.
    sandbox.write(&main.join(".env.local"), "MINE=1\n");
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    let status = answer(&sandbox, &main, "status");
    let notice = status["notices"][0]["text"].as_str().unwrap();
    assert!(notice.starts_with(".env.local is not made from .env.agent.template: "), "{notice}");
    fine(devrun(&sandbox, &main, &["down"]));
    assert_eq!(text(&main.join(".env.local")), "MINE=1\n");
}

#[test]
fn e6_an_unknown_placeholder_stops_the_start() {
    let files = [(".env.agent.template", "A=1\nPORT=$AGENT_PORT\n")];
    let (sandbox, _, linked) = two_worktrees("", &files);
    let error = refusal(devrun(&sandbox, &linked, &["up", "-d", "--json"]), "config-invalid", 80);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with(".env.agent.template:2:6: `$AGENT_PORT` is not a known placeholder"),
        "{message}"
    );
    assert!(!linked.join(".env.local").exists());
    // A template that makes no file may hold anything.
    sandbox.write(&linked.join(".env.local"), "MINE=1\n");
    run(&sandbox, &linked);
}

#[test]
fn e6_a_template_without_a_value_is_left_alone_with_a_notice() {
    let template = "PORT=${AGENT_DYNAMIC_PORT:-3000}\nDB=localhost:$DYNAMIC_DB_PORT\n";
    let (sandbox, _, linked) = two_worktrees("", &[(".env.agent.template", template)]);
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let status = answer(&sandbox, &linked, "status");
    let notice = status["notices"][0]["text"].as_str().unwrap();
    assert!(notice.contains("`$DYNAMIC_DB_PORT` has no value: there is no branch database"), "{notice}");
    fine(devrun(&sandbox, &linked, &["down"]));
    assert!(!linked.join(".env.local").exists());
    sandbox.write(&linked.join(".env.agent.template"), "PORT=${AGENT_DYNAMIC_PORT:-3000}\n");
    run(&sandbox, &linked);
    let web = port(&answer(&sandbox, &linked, "plan"), "web");
    assert!(text(&linked.join(".env.local")).ends_with(&format!("PORT={web}\n")));
}

#[test]
fn e9_p10_templates_embed_the_worktree_in_names() {
    let config = "env: { QUEUE: 'queue-${slug}-${ports.web}', REDIS_URL: 'redis://localhost:6379/${slot % 16}' }\n\
                  env_out: { .env.jobs: { template: jobs.env.tpl } }\n";
    let template = "WORKER=worker-${ports.web}\nPREFIX=cache-${branch}\nQ=${QUEUE}\nNEXT=${ports.web + 1}\n";
    let (sandbox, main, linked) = two_worktrees(config, &[("jobs.env.tpl", template)]);
    run(&sandbox, &linked);
    let plan = answer(&sandbox, &linked, "plan");
    let (web, slot) = (port(&plan, "web"), plan["slot"].as_u64().unwrap());
    let written = text(&linked.join(".env.jobs"));
    let wanted =
        format!("WORKER=worker-{web}\nPREFIX=cache-linked\nQ=queue-linked-{web}\nNEXT={}\n", web + 1);
    assert!(written.ends_with(&wanted), "{written}");
    assert_eq!(plan["env"]["REDIS_URL"], format!("redis://localhost:6379/{}", slot % 16));
    assert_ne!(answer(&sandbox, &main, "plan")["env"]["QUEUE"], plan["env"]["QUEUE"]);
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    sandbox.write(&linked.join("jobs.env.tpl"), "A=1\n");
    let changed = answer(&sandbox, &linked, "status")["changed"].clone();
    assert!(changed.to_string().contains("jobs.env.tpl"), "{changed:#}");
    fine(devrun(&sandbox, &linked, &["down"]));
}

#[test]
fn e8_e10_every_child_and_ci_get_the_variables() {
    let config = "env: { NEXT_PUBLIC_API_URL: 'http://localhost:${ports.web}' }\n";
    let (sandbox, _, linked) = two_worktrees(config, &[]);
    let url = format!("http://localhost:{}", port(&answer(&sandbox, &linked, "plan"), "web"));
    let exec = fine(devrun(&sandbox, &linked, &["exec", "--", "devrun-fixture", "env:NEXT_PUBLIC_API_URL"]));
    assert_eq!(exec.stdout, format!("env NEXT_PUBLIC_API_URL={url}\n"));
    let ci = fine(devrun(&sandbox, &linked, &["env", "--format", "dotenv", "--reveal"]).env("CI", "true"));
    let file = sandbox.path().join("ci.env");
    sandbox.write(&file, &ci.stdout);
    assert_eq!(sourced(&sandbox, &file, "NEXT_PUBLIC_API_URL"), url);
    // NEXT_PUBLIC_* is built into pages, so a change asks for a restart.
    fine(devrun(&sandbox, &linked, &["up", "-d"]));
    let old = text(&linked.join("devrun.yaml"));
    sandbox.write(&linked.join("devrun.yaml"), &old.replace("${ports.web}'", "${ports.web}/v2'"));
    let changed = answer(&sandbox, &linked, "status")["changed"].clone();
    assert!(changed.to_string().contains("devrun.yaml"), "{changed:#}");
    fine(devrun(&sandbox, &linked, &["down"]));
}

#[test]
fn p13_tests_that_load_an_env_file_get_the_port() {
    let config = "env_out: { api/.env.test.local: { only: [PORT, WEB_PORT] } }\n";
    let (sandbox, _, linked) = two_worktrees(config, &[("api/file", "")]);
    let old = text(&linked.join("devrun.yaml"));
    sandbox.write(
        &linked.join("devrun.yaml"),
        &old.replace("    port: web\n", "    port: web\n    directory: api\n"),
    );
    run(&sandbox, &linked);
    let web = port(&answer(&sandbox, &linked, "plan"), "web").to_string();
    let file = linked.join("api/.env.test.local");
    assert_eq!(sourced(&sandbox, &file, "PORT"), web, "the file lies in the folder of one process");
    // A runner that strips the environment still has the file.
    let line = format!("env -i sh -c '. {}; echo $PORT'", file.display());
    assert_eq!(fine(sandbox.program("/bin/sh", &["-c", &line])).stdout.trim(), web);
}

#[test]
fn mistakes_in_env_out_and_shell_env_have_a_place() {
    for (line, said) in [
        ("env_out: { .env.x: { onyl: [A] } }\n", "did you mean `only`?"),
        ("env_out: { ../x: {} }\n", "leads out of the worktree"),
        ("env_out: { .env.x: { process: wbe } }\n", "did you mean `web`?"),
        ("env_out: { .env.x: { only: [A], template: t } }\n", "the template itself"),
        ("env_out: { .env.x: { only: ['A B'] } }\n", "is not a valid name for an environment variable"),
        ("env_out: { .env.x: {}, ./.env.x: {} }\n", "is named twice"),
        ("env_out: { .env.x: { template: none } }\n", "there is no file `none`"),
        ("shell_env: ['*']\n", "every variable of the login shell"),
    ] {
        let (sandbox, main, _) = two_worktrees(line, &[]);
        let error = refusal(devrun(&sandbox, &main, &["up", "-d", "--json"]), "config-invalid", 80);
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("devrun.yaml:6:") && message.contains(said), "{message}");
    }
}

#[test]
fn e1_named_variables_come_from_the_login_shell() {
    let (sandbox, main, linked) = two_worktrees("shell_env: [STRIPE_TOKEN, 'CLERK_*', NOT_ANYWHERE]\n", &[]);
    let rc = "echo Hello; echo CLERK_FAKE=greeting\nexport STRIPE_TOKEN=tok_abcdef CLERK_KEY='two words' OTHER_KEY=never\n\
              export CLERK_SET=rc\ncat\necho >> \"$HOME/started\"\n";
    sandbox.write(&sandbox.home().join(".bash_profile"), rc);
    sandbox.write(&main.join(".env"), "STRIPE_TOKEN=from_file\n");
    let call = |args: &[&str]| devrun(&sandbox, &linked, args).env("SHELL", "/bin/bash");
    let exec = [
        "exec",
        "--",
        "devrun-fixture",
        "env:STRIPE_TOKEN",
        "env:CLERK_KEY",
        "env:OTHER_KEY",
        "env:CLERK_FAKE",
    ];
    let ended = fine(call(&exec));
    let wanted =
        "env STRIPE_TOKEN=tok_abcdef\nenv CLERK_KEY=two words\nenv OTHER_KEY unset\nenv CLERK_FAKE unset\n";
    assert_eq!(ended.stdout, wanted, "{ended}");
    for args in [&["env"][..], &["env", "--explain"], &["plan", "--json"], &["env", "--json", "--all"]] {
        let shown = fine(call(args)).to_string();
        assert!(!shown.contains("tok_abcdef") && !shown.contains("two words"), "{shown}");
        assert!(!shown.contains("Hello") && !shown.contains("OTHER_KEY"), "{shown}");
    }
    assert!(text(&sandbox.home().join("started")).starts_with('\n'));
    let told = fine(call(&["env", "--explain", "STRIPE_TOKEN"])).stdout;
    let wanted = "STRIPE_TOKEN=********\n    the login shell, which shell_env names\n    instead of .env:1 of the main worktree, \
                  which has another value\n";
    assert_eq!(told, wanted);
    // The shell is not started when every name is set.
    let started = || text(&sandbox.home().join("started")).lines().count();
    let before = started();
    let all = [("STRIPE_TOKEN", "own"), ("CLERK_SET", "own"), ("NOT_ANYWHERE", "")];
    let set = all.iter().fold(
        call(&["exec", "--", "devrun-fixture", "env:STRIPE_TOKEN", "env:CLERK_KEY"]),
        |call, (name, value)| call.env(name, value),
    );
    assert_eq!(fine(set).stdout, "env STRIPE_TOKEN=own\nenv CLERK_KEY unset\n");
    assert_eq!(started(), before);
}

#[test]
fn keys_of_the_login_shell_are_written_to_a_file_only_by_name() {
    let config = "shell_env: [STRIPE_TOKEN]\n\
                  env: { COPY: 'Bearer ${STRIPE_TOKEN}' }\n\
                  urls: { Admin: 'http://localhost:1/?as=${STRIPE_TOKEN}' }\n\
                  env_out: { .env.all: {}, .env.star: { only: ['*'] }, .env.some: { only: ['STRIPE_*', 'C*', FROM_FILE] },\n  \
                  .env.named: { only: [STRIPE_TOKEN] }, .env.copy: { only: [COPY] } }\n";
    let (sandbox, main, linked) = two_worktrees(config, &[]);
    sandbox.write(&sandbox.home().join(".profile"), "export STRIPE_TOKEN=tok_abcdef\n");
    sandbox.write(&main.join(".env"), "FROM_FILE=x-${STRIPE_TOKEN}\nOTHER_FILE=x-${STRIPE_TOKEN}\n");
    let call = |args: &[&str]| fine(devrun(&sandbox, &linked, args).env("SHELL", "/bin/sh"));
    let mut said = call(&["up", "-d"]).to_string();
    for args in [&["plan"][..], &["plan", "--json"], &["env"], &["env", "--explain"], &["status", "--json"]] {
        said += &call(args).to_string();
    }
    let notices = answer(&sandbox, &linked, "status")["notices"].to_string();
    call(&["down"]);
    assert!(!said.contains("tok_abcdef"), "{said}");
    for name in [".env.all", ".env.star"] {
        assert!(!text(&linked.join(name)).contains("tok_abcdef"), "{name}");
        for variable in ["COPY", "OTHER_FILE"] {
            let notice = format!("{variable} is not written to {name}: it holds a value of the login shell");
            assert!(notices.contains(&notice), "{notices}");
        }
    }
    assert!(text(&linked.join(".env.some")).ends_with("FROM_FILE=x-tok_abcdef\n"));
    assert!(!text(&linked.join(".env.some")).contains("COPY"));
    assert!(text(&linked.join(".env.named")).ends_with("STRIPE_TOKEN=tok_abcdef\n"));
    assert!(text(&linked.join(".env.copy")).ends_with("COPY='Bearer tok_abcdef'\n"));
    assert_eq!(mode(&linked.join(".env.named")), 0o600);
}

#[test]
fn background_processes_of_the_login_shell_end_with_it() {
    let (sandbox, _, linked) = two_worktrees("shell_env: [STRIPE_TOKEN]\n", &[]);
    let rc = "sleep 1000 >/dev/null 2>&1 &\nexport STRIPE_TOKEN=tok_abcdef\n";
    sandbox.write(&sandbox.home().join(".bash_profile"), rc);
    let exec = ["exec", "--", "devrun-fixture", "env:STRIPE_TOKEN"];
    let ended = fine(devrun(&sandbox, &linked, &exec).env("SHELL", "/bin/bash"));
    assert_eq!(ended.stdout, "env STRIPE_TOKEN=tok_abcdef\n");
    assert_eq!(sandbox.processes(), []);
}

#[test]
fn a_login_shell_that_hangs_or_fails_is_reported_and_ended() {
    let (sandbox, _, linked) = two_worktrees("shell_env: [STRIPE_TOKEN]\n", &[]);
    for (rc, said) in
        [("exec sleep 1000\n", "did not end within"), ("exit 3\n", "did not print its environment")]
    {
        sandbox.write(&sandbox.home().join(".bash_profile"), rc);
        let ended = fine(devrun(&sandbox, &linked, &["plan"]).env("SHELL", "/bin/bash"));
        assert!(
            ended.stderr.contains(&format!("shell_env: STRIPE_TOKEN not read from /bin/bash: it {said}")),
            "{ended}"
        );
    }
    assert_eq!(sandbox.processes(), []);
}
