//! Completions, in the shells themselves.

use std::path::Path;
use std::time::Instant;

use crate::asking::{base, devrun, fine, json, refusal, skip_without};
use crate::supervise::terminal::Terminal;
use crate::support::product::find;
use crate::support::{Invocation, LIMIT, Sandbox};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "nushell", "powershell"];

/// Makes a worktree with two processes and a URL, and puts `devrun` on PATH.
fn repository(sandbox: &mut Sandbox) -> std::path::PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_devrun")).parent().unwrap();
    let path = std::env::join_paths(
        [program.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    sandbox.set("PATH", path.unwrap());
    let text = format!(
        "ports: {{ web: {}, api: {} }}\nprocesses:\n  frontend: {{ run: exec sleep 1000, port: web }}\n  \
         fulfilment: {{ run: exec sleep 1000, port: api }}\nurls: {{ Tenant: 'http://t.localhost:${{ports.web}}/' }}\n",
        base(),
        base()
    );
    let main = sandbox.repo_with(&[("devrun.yaml", &text)]);
    sandbox.worktree("other-tree", "feature/other");
    main
}

/// Returns what devrun answers to a shell that completes `line`.
#[track_caller]
fn completed(sandbox: &Sandbox, folder: &Path, line: &str) -> Vec<String> {
    let words: Vec<&str> = ["--"].into_iter().chain(line.split(' ')).collect();
    let asked = devrun(sandbox, folder, &words).env("DEVRUN_COMPLETE", "nushell");
    let ended = fine(asked);
    assert_eq!(ended.stderr, "", "{line}");
    let all = json(&ended);
    all.as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap().to_string()).collect()
}

#[test]
fn names_of_the_worktree_are_completed() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let linked = main.parent().unwrap().join("other-tree");
    for (line, expected) in [
        ("devrun why f", &["frontend", "fulfilment"][..]),
        ("devrun restart fr", &["frontend"]),
        ("devrun restart frontend fu", &["fulfilment"]),
        ("devrun logs d", &["devrun"]),
        ("devrun env --process fr", &["frontend"]),
        ("devrun url T", &["Tenant"]),
        ("devrun new x --from m", &["main"]),
        ("devrun rm f", &["feature/other"]),
        ("devrun help troubles", &["troubleshooting"]),
        ("devrun completions n", &["nushell"]),
        ("devrun self", &["self-check"]),
        ("devrun up --strict-p", &["--strict-ports"]),
    ] {
        assert_eq!(completed(&sandbox, &main, line), expected, "{line}");
    }
    let worktrees = completed(&sandbox, &main, "devrun -C /");
    assert!(worktrees.iter().any(|path| path.ends_with("other-tree")), "{worktrees:?}");
    // From another folder, for the worktree that the line names.
    let line = format!("devrun -C {} why fr", linked.display());
    let elsewhere = completed(&sandbox, sandbox.path(), &line);
    assert_eq!(elsewhere, ["frontend"], "{}", linked.display());
    // No port was leased for an answer.
    assert!(!sandbox.home().join(".local/state/devrun-worktree").exists());
}

#[test]
fn a_running_stack_completes_its_own_names() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    fine(devrun(&sandbox, &main, &["up", "-d"]));
    // The file is being edited.
    sandbox.write(&main.join("devrun.yaml"), "processes: [\n");
    assert_eq!(completed(&sandbox, &main, "devrun stop fu"), ["fulfilment"]);
    assert_eq!(completed(&sandbox, &main, "devrun url t"), Vec::<String>::new());
    assert_eq!(completed(&sandbox, &main, "devrun url T"), ["Tenant"]);
    fine(devrun(&sandbox, &main, &["down"]));
}

#[test]
fn a_shell_never_sees_an_error() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", "processes: [\n")]);
    for (shell, words) in [
        ("bash", &["--", "devrun", "why", ""][..]),
        ("fish", &["--", "devrun", "-C", "/nonexistent", "why", ""]),
        ("zsh", &["--", "devrun", "nonsense", ""]),
        ("bash", &[]),
        ("tcsh", &["--", "devrun", "why", ""]),
    ] {
        let asked = devrun(&sandbox, &main, words)
            .env("DEVRUN_COMPLETE", shell)
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env("_CLAP_IFS", "\n");
        let ended = asked.run();
        assert!(ended.stderr.is_empty() && !ended.stdout.contains("error:"), "{shell} {words:?}: {ended}");
    }
}

#[test]
fn a_configuration_that_never_ends_does_not_block_a_completion() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    // Nothing ever writes to this named pipe.
    std::fs::remove_file(main.join("devrun.yaml")).unwrap();
    nix::unistd::mkfifo(&main.join("devrun.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let start = Instant::now();
    assert_eq!(completed(&sandbox, &main, "devrun why f"), Vec::<String>::new());
    assert!(start.elapsed() < LIMIT, "the completion has its own limit");
}

#[test]
fn bash_completes_a_process_from_the_installed_file() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let Some(bash) = find("bash") else { return skip_without(&["bash"]) };
    let installed =
        json(&fine(sandbox.devrun(&["completions", "bash", "--install", "--json"]).directory(&main)));
    // Calls the function that the installed file registers, as an interactive shell does.
    let script = format!(
        "set -u; source {}\nCOMP_WORDS=(devrun why fu); COMP_CWORD=2; COMP_TYPE=9; COMP_LINE='devrun why fu'; COMP_POINT=13\n\
         complete -p devrun | grep -o -- '-F [^ ]*' | {{ read -r _ name; $name devrun fu why; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"; }}\n",
        installed["path"]
    );
    let asked = sandbox.program(bash, &["--noprofile", "--norc", "-c", &script]).directory(&main);
    let ended = fine(asked);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("fulfilment\n", ""), "{ended}");
}

#[test]
fn bash_completes_a_typed_line() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let Some(bash) = find("bash") else { return skip_without(&["bash"]) };
    sandbox.write(
        &main.join("rc"),
        "PS1='ready> '\nbind 'set enable-bracketed-paste off'\neval \"$(devrun completions bash)\"\n",
    );
    let rc = main.join("rc");
    let shell =
        sandbox.program(bash, &["--noprofile", "--rcfile", rc.to_str().unwrap(), "-i"]).directory(&main);
    typed(shell, "devrun why ful\t", "devrun why fulfilment ");
}

#[test]
fn zsh_completes_a_typed_line_from_the_installed_file() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let Some(zsh) = find("zsh") else { return skip_without(&["zsh"]) };
    let installed =
        json(&fine(sandbox.devrun(&["completions", "zsh", "--install", "--json"]).directory(&main)));
    let line = installed["line"].as_str().unwrap();
    sandbox.write(
        &sandbox.home().join(".zshrc"),
        &format!("PS1='ready> '\n{}\n", line.replace("compinit;", "compinit -u;")),
    );
    let shell = sandbox.program(zsh, &["-i"]).directory(&main);
    typed(shell, "devrun why ful\t", "filment");
}

#[test]
fn fish_completes_from_the_installed_file() {
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let Some(fish) = find("fish") else { return skip_without(&["fish"]) };
    fine(sandbox.devrun(&["completions", "fish", "--install"]).directory(&main));
    let asked = sandbox.program(fish, &["-c", "complete -C 'devrun why ful'"]).directory(&main);
    let ended = fine(asked);
    assert!(ended.stdout.starts_with("fulfilment\t"), "{ended}");
}

#[test]
fn installing_and_removing_change_one_file_once() {
    let sandbox = Sandbox::new();
    let ask = |args: &[&str]| {
        let args: Vec<&str> =
            ["completions"].into_iter().chain(args.iter().copied()).chain(["--json"]).collect();
        json(&fine(sandbox.devrun(&args).directory(sandbox.path())))
    };
    for shell in SHELLS {
        let first = ask(&[shell, "--install"]);
        let path = std::path::PathBuf::from(first["path"].as_str().unwrap());
        assert!(first["changed"] == true && path.starts_with(sandbox.home()), "{first}");
        let text = std::fs::read(&path).unwrap();
        assert_eq!(ask(&[shell, "--install"])["changed"], false);
        assert_eq!(std::fs::read(&path).unwrap(), text);
        assert_eq!(ask(&[shell, "--uninstall"])["changed"], true);
        assert!(!path.exists(), "{shell}");
        assert_eq!(ask(&[shell, "--uninstall"])["changed"], false);
        sandbox.write(&path, "mine");
        for option in ["--install", "--uninstall"] {
            let args = ["completions", shell, option, "--json"];
            let error = refusal(sandbox.devrun(&args).directory(sandbox.path()), "state-unusable", 74);
            assert!(error["message"].as_str().unwrap().contains("devrun did not write it"), "{error:#}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}

#[test]
fn nushell_completes_names_with_the_installed_script() {
    let Some(nu) = find("nu") else { return skip_without(&["nu"]) };
    let mut sandbox = Sandbox::new();
    let main = repository(&mut sandbox);
    let installed = json(&fine(devrun(&sandbox, &main, &["completions", "nushell", "--install", "--json"])));
    let file = installed["path"].as_str().unwrap();
    let ask = format!(
        "source {file}; do $env.config.completions.external.completer [devrun logs fr] | get value | to json -r"
    );
    let ended = fine(sandbox.program(nu, &["-n", "-c", &ask]).directory(&main));
    assert_eq!(ended.stdout.trim(), r#"["frontend"]"#, "{ended}");
    // Other commands keep the completer that was there before.
    let ask = format!(
        "$env.config.completions.external.completer = {{|spans| [$spans.0]}}; source {file}; \
         do $env.config.completions.external.completer [git st] | to json -r"
    );
    let ended = fine(sandbox.program(find("nu").unwrap(), &["-n", "-c", &ask]).directory(&main));
    assert_eq!(ended.stdout.trim(), r#"["git"]"#, "{ended}");
}

#[test]
fn scripts_of_shells_that_are_not_here_are_balanced() {
    let sandbox = Sandbox::new();
    for shell in ["nushell", "powershell"] {
        let script = fine(sandbox.devrun(&["completions", shell]).directory(sandbox.path())).stdout;
        assert!(script.contains("DEVRUN_COMPLETE") && script.contains("devrun"), "{script}");
        for (open, close) in [('{', '}'), ('(', ')'), ('[', ']')] {
            let count = |wanted: char| script.chars().filter(|c| *c == wanted).count();
            assert_eq!(count(open), count(close), "{shell}: {script}");
        }
        assert_eq!(script.matches('"').count() % 2, 0, "{shell}: {script}");
    }
    let Some(pwsh) = find("pwsh") else { return skip_without(&["pwsh"]) };
    let script = fine(sandbox.devrun(&["completions", "powershell"]).directory(sandbox.path())).stdout;
    let parse = "$e = $null; [void][System.Management.Automation.Language.Parser]::ParseInput([Console]::In.ReadToEnd(), \
                 [ref]$null, [ref]$e); exit $e.Count";
    let asked = sandbox.program(pwsh, &["-NoProfile", "-Command", parse]);
    let ended = asked.with(move |command| command.stdin(text_file(&script))).run();
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// Returns a file with this text, to be read from its start.
fn text_file(text: &str) -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

/// Types `keys` into a shell, and waits until the terminal shows `expected`.
#[track_caller]
fn typed(shell: Invocation, keys: &str, expected: &str) {
    let (running, terminal) = Terminal::start(shell.env("TERM", "dumb"));
    terminal.expect("ready> ");
    terminal.press(keys);
    terminal.expect(expected);
    // Ctrl-U empties the line.
    terminal.press("\u{15}exit\n");
    terminal.end(running);
}
