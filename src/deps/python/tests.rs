//! Tests of `ensure` with tools that only record their calls, and with real Pythons.

use super::*;
use crate::deps::test_env::TestEnv;
use crate::error::{Code, Explain, Fault};

/// Creates an environment like uv, as far as these tests need it.
const UV: &str = r#"
case "$1 $2" in
"sync --frozen") venv=.venv;;
"venv --no-progress") for venv; do :; done;;
"lock --check") [ -z "$STALE" ] || { echo "The lockfile at uv.lock needs to be updated" >&2; exit 1; }; exit;;
*) echo "Installed 34 packages in 3ms" >&2; exit;;
esac
mkdir -p "$venv/bin" && cd "$venv"
echo "home = /usr/bin" > pyvenv.cfg
echo "VIRTUAL_ENV='$(pwd)'" > bin/activate
ln -sf /bin/sh bin/python
echo "Installed 34 packages in 3ms" >&2"#;

fn stage(files: &[&str]) -> TestEnv {
    let stage = TestEnv::new();
    stage.program("uv", UV);
    for file in files {
        stage.write(&format!("wt/backend/{file}"), "");
    }
    stage
}

fn request(stage: &TestEnv) -> PythonRequest {
    PythonRequest {
        worktree: stage.path("wt"),
        directory: stage.path("wt/backend"),
        state: stage.path("state"),
        env: stage.env.clone(),
        siblings: Vec::new(),
    }
}

async fn run(stage: &TestEnv) -> Result<Done, DepsError> {
    ensure(&stage.ctx, &request(stage)).await
}

#[tokio::test]
async fn a_locked_project_is_synced_once() {
    let mut stage = stage(&["uv.lock", "pyproject.toml"]);
    stage.env.insert("VIRTUAL_ENV".into(), "/somewhere/else/.venv".into());
    stage.program("uv", &format!("[ -z \"$VIRTUAL_ENV\" ] || exit 9\n{UV}"));
    let first = run(&stage).await.unwrap();
    assert_eq!(first, Done { worked: true, outcome: "uv, 34 packages".into(), fetched: None });
    let calls = stage.calls();
    assert_eq!(calls, ["uv [backend] lock --check", "uv [backend] sync --frozen --no-progress"]);
    assert!(!run(&stage).await.unwrap().worked);
    assert_eq!(stage.calls().len(), 2);
    stage.write("wt/backend/uv.lock", "version = 1");
    assert!(run(&stage).await.unwrap().worked);
    std::fs::remove_dir_all(stage.path("wt/backend/.venv")).unwrap();
    assert!(run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn a_stale_lock_is_refused_but_with_another_index_only_reported() {
    let mut stage = stage(&["uv.lock", "pyproject.toml"]);
    stage.env.insert("STALE".into(), "1".into());
    stage.write("wt/backend/pyproject.toml", "[project]\nname = \"b\"\ndependencies = [\"six>=2\"]\n");
    stage.write(
        "wt/backend/uv.lock",
        "[[package]]\nname = \"b\"\nsource = { virtual = \".\" }\n[package.metadata]\nrequires-dist = [{ name = \"six\", \
         specifier = \">=1\" }]\n",
    );
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale);
    assert!(error.fix().unwrap().contains("uv lock"), "{:?}", error.fix());
    assert_eq!(stage.calls(), ["uv [backend] lock --check"], "nothing was installed");
    stage.env.insert("UV_DEFAULT_INDEX".into(), "https://packages.example/simple".into());
    assert!(run(&stage).await.unwrap().worked);
    assert_eq!(stage.count_events("manifests exactly"), 1);
    stage.write("wt/backend/pyproject.toml", "[project]\nname = \"b\"\ndependencies = [\"six\"]\n");
    stage.write("wt/backend/uv.lock", "[[package]]\nname = \"b\"\nsource = { virtual = \".\" }\n");
    let error = run(&stage).await.unwrap_err();
    assert!(error.why().unwrap().contains("six"), "{:?}", error.why());
}

#[tokio::test]
async fn every_file_that_a_list_or_a_manifest_names_is_an_input() {
    let mut stage = stage(&["requirements.txt"]);
    stage.write("wt/backend/requirements.txt", "-r deps/base.lst\n-e ../shared\n");
    stage.write("wt/backend/deps/base.lst", "-c limits\nsix\n");
    run(&stage).await.unwrap();
    for file in ["deps/limits", "deps/base.lst", "../shared/pyproject.toml"] {
        stage.write(&format!("wt/backend/{file}"), "# changed\n");
        assert!(run(&stage).await.unwrap().worked, "{file}");
    }
    assert!(!run(&stage).await.unwrap().worked);
    stage.env.insert("UV_NO_DEV".into(), "1".into());
    assert!(!run(&stage).await.unwrap().worked, "it is not passed to uv");
    stage.env.insert("UV_CONSTRAINT".into(), "/c.txt".into());
    assert!(run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn lists_and_bare_manifests_are_installed_with_uv_if_it_exists() {
    for (file, list) in [("requirements.txt", "requirements.txt"), ("pyproject.toml", "pyproject.toml")] {
        let stage = stage(&[file]);
        run(&stage).await.unwrap();
        let folder = stage.path("wt/backend");
        let venv = folder.join(".venv");
        let calls = stage.calls();
        assert!(calls[0].starts_with("uv [backend] venv --no-progress"), "{calls:?}");
        assert!(calls[0].ends_with(&venv.display().to_string()));
        let list = folder.join(list);
        let wanted = format!(
            "uv [backend] pip install --no-progress --python {}/bin/python -r {}",
            venv.display(),
            list.display()
        );
        assert_eq!(calls[1], wanted);
    }
}

#[tokio::test]
async fn poetry_installs_into_an_environment_that_uv_made() {
    let stage = stage(&["poetry.lock", "pyproject.toml"]);
    stage.write("wt/backend/Dockerfile", "FROM python:3.12\n");
    stage.program("poetry", "echo \"in $VIRTUAL_ENV\" >> \"$CALLS\"");
    run(&stage).await.unwrap();
    let venv = stage.path("wt/backend/.venv").display().to_string();
    assert_eq!(
        stage.calls(),
        [
            format!("uv [backend] venv --no-progress --python 3.12 {venv}"),
            "poetry [backend] install --no-interaction".into(),
            format!("in {venv}"),
        ]
    );
    stage.write("wt/backend/pyproject.toml", "# changed\n");
    stage.program(
        "poetry",
        "echo 'pyproject.toml changed significantly since poetry.lock was last generated.'; exit 1",
    );
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale);
    assert!(error.fix().unwrap().contains("poetry lock"));
}

#[tokio::test]
async fn poetry_installs_only_dependencies_if_the_project_has_no_lock_or_cannot_be_built() {
    let stage = stage(&["poetry.lock", "pyproject.toml"]);
    let refuse = "case \"$*\" in *--no-root*) exit;; esac; echo 'Error: The current project could not be installed: x' >&2; exit 1";
    stage.program("poetry", refuse);
    assert!(run(&stage).await.unwrap().worked);
    assert!(stage.calls().last().unwrap().ends_with("install --no-interaction --no-root"));
    assert_eq!(stage.count_events("only its dependencies"), 1);
    std::fs::remove_file(stage.path("wt/backend/poetry.lock")).unwrap();
    stage.write("wt/backend/pyproject.toml", "[tool.poetry.dependencies]\nsix = \"*\"\n");
    stage.program("poetry", "echo > poetry.lock");
    assert!(run(&stage).await.unwrap().worked);
    assert!(stage.calls().last().unwrap().ends_with("install --no-interaction --no-root"));
    assert!(!run(&stage).await.unwrap().worked, "the lock file that it wrote is one of its inputs");
}

#[tokio::test]
async fn a_python_version_that_only_a_dockerfile_names_is_optional() {
    let stage = stage(&["requirements.txt"]);
    stage.write("wt/backend/Dockerfile", "FROM python:3.9\n");
    stage.program(
        "uv",
        &format!("case \"$*\" in *3.9*) echo 'No interpreter found' >&2; exit 2;; esac\n{UV}"),
    );
    assert!(run(&stage).await.unwrap().worked);
    assert_eq!(stage.count_events("Dockerfile names Python 3.9"), 1);
    assert!(stage.calls()[1].contains("--python >=3.11"), "{:?}", stage.calls());
}

/// With the Python package index: downloads Poetry, lets it write a lock file, and installs from that.
#[tokio::test]
async fn real_poetry_is_fetched_and_follows_its_lock() {
    let stage = with_python(TestEnv::real()).await;
    let manifest = "wt/backend/pyproject.toml";
    let poetry = |needs: &str| {
        format!(
            "[tool.poetry]\nname = \"b\"\nversion = \"1\"\ndescription = \"\"\nauthors = []\n\
             [tool.poetry.dependencies]\npython = \"^3.9\"\n{needs}\
             [[tool.poetry.source]]\nname = \"index\"\nurl = \"https://pypi.org/simple\"\npriority = \"primary\"\n"
        )
    };
    stage.write(manifest, &poetry("six = \"*\"\n"));
    let first = run(&stage).await.unwrap();
    let program = stage.path("cache/checked-tools/poetry-2.5.1/program");
    assert_eq!(first.fetched.as_ref(), Some(&program));
    let packages = |name: &str| {
        let found =
            glob::glob(&format!("{}/lib/*/site-packages/{name}", stage.path("wt/backend/.venv").display()));
        found.unwrap().flatten().count()
    };
    assert_eq!(packages("six.py"), 1);
    assert!(stage.path("wt/backend/poetry.lock").is_file());
    assert!(!run(&stage).await.unwrap().worked);
    remove_packages(&stage, "six.py");
    assert!(run(&stage).await.unwrap().worked);
    assert_eq!(packages("six.py"), 1, "Poetry takes a package with metadata for installed");
    stage.write(manifest, &poetry("six = \"*\"\niniconfig = \"*\"\n"));
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.code(), Code::LockfileStale, "{:?}", error.why());
    let follow = |error: DepsError| {
        let fix = error.fix().unwrap();
        Cmd::shell(fix.split(", commit").next().unwrap()).only_env(&stage.env)
    };
    follow(error).ok().await.unwrap();
    assert!(run(&stage).await.unwrap().worked, "the fix helps; the project itself cannot be installed");
    assert_eq!(packages("iniconfig"), 1);
}

#[tokio::test]
async fn a_linked_environment_and_a_folder_of_the_user_are_refused() {
    let stage = stage(&["uv.lock"]);
    std::fs::create_dir(stage.path("other")).unwrap();
    std::os::unix::fs::symlink(stage.path("other"), stage.path("wt/backend/.venv")).unwrap();
    assert!(matches!(run(&stage).await.unwrap_err(), DepsError::Linked { .. }));
    std::fs::remove_file(stage.path("wt/backend/.venv")).unwrap();
    stage.write("wt/backend/.venv/notes.txt", "mine");
    assert!(matches!(run(&stage).await.unwrap_err(), DepsError::NotAVenv(_)));
    assert!(stage.calls().is_empty());
}

#[tokio::test]
async fn an_environment_copied_from_elsewhere_is_recreated() {
    let stage = stage(&["uv.lock"]);
    run(&stage).await.unwrap();
    std::fs::rename(stage.path("wt"), stage.path("moved")).unwrap();
    let moved = stage.path("moved");
    stage.write("moved/backend/.venv/old", "");
    let request =
        PythonRequest { directory: moved.join("backend"), worktree: moved.clone(), ..request(&stage) };
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
    assert!(!moved.join("backend/.venv/old").exists());
    assert_eq!(stage.count_events("is recreated: it was made for"), 1);
}

#[tokio::test]
async fn a_killed_install_starts_from_nothing_if_devrun_created_the_environment() {
    let stage = stage(&["requirements.txt"]);
    stage.program("uv", &format!("case $1 in pip) echo x > \"$CALLS.began\"; sleep 600;; esac\n{UV}"));
    let began = stage.path("calls.began");
    tokio::select! {
        _ = run(&stage) => panic!("it cannot end"),
        () = TestEnv::appears(&began) => {}
    }
    stage.write("wt/backend/.venv/half", "");
    stage.program("uv", UV);
    assert!(run(&stage).await.unwrap().worked);
    assert!(!stage.path("wt/backend/.venv/half").exists());
    assert!(!run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn the_users_own_environment_is_kept_and_repaired() {
    let stage = stage(&["requirements.txt"]);
    run(&stage).await.unwrap();
    std::fs::remove_dir_all(stage.path("state/deps")).unwrap();
    stage.write("wt/backend/.venv/mine", "");
    stage.program("uv", "exit 3");
    assert_eq!(run(&stage).await.unwrap_err().code(), Code::InstallFailed);
    stage.program("uv", UV);
    assert!(run(&stage).await.unwrap().worked);
    assert!(stage.path("wt/backend/.venv/mine").exists());
    assert!(stage.calls().last().unwrap().contains("--reinstall"), "existing packages may be incomplete");
}

#[tokio::test]
async fn a_missing_python_is_reported() {
    let stage = stage(&["requirements.txt"]);
    std::fs::remove_file(stage.path("bin/uv")).unwrap();
    let error = run(&stage).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::ToolMissing, "python3 is not installed"));
    stage.write("wt/backend/uv.lock", "");
    let error = run(&stage).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::ToolMissing, "uv is not installed"));
    stage.program("python3", "echo 'No module named ensurepip: ensurepip is not available'; exit 1");
    std::fs::remove_file(stage.path("wt/backend/uv.lock")).unwrap();
    assert_eq!(run(&stage).await.unwrap_err().to_string(), "python3 is not installed");
    stage.program(
        "python3",
        "case $1 in --version) echo Python 3.11.2;; *) echo 'ensurepip is not available'; exit 1;; esac",
    );
    assert_eq!(run(&stage).await.unwrap_err().to_string(), "python3-venv is not installed");
}

#[tokio::test]
async fn a_list_is_installed_with_a_downloaded_uv() {
    let stage = stage(&["requirements.txt"]);
    std::fs::rename(stage.path("bin/uv"), stage.path("uv")).unwrap();
    stage.program(
        "python3",
        "while [ $1 != --target ]; do shift; done; mkdir $2/bin; cat \"${CALLS%calls}uv\" > $2/bin/uv; chmod +x $2/bin/uv",
    );
    let first = run(&stage).await.unwrap();
    let bin = first.fetched.clone().expect("commands of the user need uv too");
    assert!(bin.join("uv").is_file());
    assert_eq!((first.worked, first.outcome.as_str()), (true, "uv, 34 packages"));
    assert!(stage.calls()[0].contains("-m pip install"), "{:?}", stage.calls());
    assert!(stage.calls()[0].contains("--require-hashes"), "{:?}", stage.calls());
    assert_eq!(stage.count_events("fetching uv"), 2);
    let again = run(&stage).await.unwrap();
    assert_eq!((again.worked, again.fetched), (false, Some(bin)));
}

#[test]
fn packages_are_counted() {
    assert_eq!(count("Installed 1 package in 1ms"), Some(1));
    assert_eq!(count("Successfully installed six-1.17.0 a-1 b-2"), Some(3));
    assert_eq!(count("Installed build dependencies"), None);
}

/// Puts the machine's own Python first on PATH, in place of a version manager's shims that need the real home.
async fn with_python(mut stage: TestEnv) -> TestEnv {
    let ask = Cmd::new("python3").args(["-c", "import sys; print(sys.executable)"]);
    let python = PathBuf::from(ask.ok().await.unwrap().text());
    let path = std::env::var_os("PATH").unwrap();
    let rest = std::env::split_paths(&path).filter(|folder| !folder.join("uv").exists());
    let all = std::iter::once(python.parent().unwrap().to_path_buf()).chain(rest);
    stage.env.insert("PATH".into(), std::env::join_paths(all).unwrap());
    stage.ctx.env = stage.env.clone();
    stage
}

/// A wheel with one module, built by Python itself without a download.
const WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny.py", "answer = 42\n")
    info = "tiny-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "tiny.py,,\n" + "".join(info + n + ",,\n" for n in ("METADATA", "WHEEL", "RECORD")))
"#;

async fn answer(stage: &TestEnv, venv: &Path) -> String {
    let ask = Cmd::new(venv.join("bin/python")).args(["-c", "import tiny; print(tiny.answer)"]);
    ask.only_env(&stage.env).ok().await.unwrap().text()
}

#[tokio::test]
async fn real_pip_makes_a_real_environment() {
    let mut stage = with_python(TestEnv::real()).await;
    stage.env.insert("PIP_INDEX_URL".into(), "https://packages.example/simple".into());
    let python = Cmd::new("python3").args(["-c", WHEEL]).only_env(&stage.env);
    python.directory(stage.path("wt")).ok().await.unwrap();
    let wheel = stage.path("wt/tiny-1.0-py3-none-any.whl");
    stage.write("wt/backend/requirements.txt", &format!("{}\n", wheel.display()));
    let first = run(&stage).await.unwrap();
    assert_eq!(first.outcome, "pip, 1 package");
    assert_eq!(answer(&stage, &stage.path("wt/backend/.venv")).await, "42");
    assert!(!run(&stage).await.unwrap().worked);
    remove_packages(&stage, "tiny.py");
    assert!(run(&stage).await.unwrap().worked);
    assert_eq!(answer(&stage, &stage.path("wt/backend/.venv")).await, "42");
}

/// With the Python package index: downloads uv, installs, and notices a stale lock file.
#[tokio::test]
async fn real_uv_is_fetched_and_follows_the_lock() {
    let stage = with_python(TestEnv::real()).await;
    stage.write(
        "wt/backend/pyproject.toml",
        "[project]\nname = \"b\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n",
    );
    let first = run(&stage).await.unwrap();
    let bin = stage.path("cache/checked-tools/uv-0.13.8/bin");
    assert_eq!(first.fetched.as_ref(), Some(&bin));
    let lock = Cmd::new(bin.join("uv")).args(["lock", "--offline"]).only_env(&stage.env);
    lock.directory(stage.path("wt/backend")).ok().await.unwrap();
    assert!(run(&stage).await.unwrap().worked);
    assert_eq!(stage.count_events("does not match"), 0);
    let again = run(&stage).await.unwrap();
    assert_eq!((again.worked, again.fetched), (false, Some(bin)));
    stage.write(
        "wt/backend/pyproject.toml",
        "[project]\nname = \"b\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"six\"]\n",
    );
    let error = run(&stage).await.unwrap_err();
    assert_eq!(
        (error.code(), stage.count_events("does not match")),
        (Code::LockfileStale, 0),
        "{:?}",
        error.why()
    );
    let fix = error.fix().unwrap();
    let command = fix.split(", commit").next().unwrap();
    Cmd::shell(command).only_env(&stage.env).ok().await.unwrap();
    assert!(run(&stage).await.unwrap().worked, "the fix helps");

    std::fs::rename(stage.path("wt"), stage.path("moved")).unwrap();
    let moved = stage.path("moved");
    let request =
        PythonRequest { directory: moved.join("backend"), worktree: moved.clone(), ..request(&stage) };
    assert!(ensure(&stage.ctx, &request).await.unwrap().worked);
    let script = std::fs::read_to_string(moved.join("backend/.venv/bin/activate")).unwrap();
    assert!(script.contains(&moved.display().to_string()), "made for the place where it is");
}

/// With the Python package index: mistakes in the files are blamed on the code, with file and line.
#[tokio::test]
async fn failures_of_real_uv_are_blamed_on_their_cause() {
    let stage = with_python(TestEnv::real()).await;
    let list = "wt/backend/requirements.txt";
    stage.write(list, "# none\nsix==99.0\n");
    let error = run(&stage).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::Code), "{:?}", error.why());
    assert!(error.fix().unwrap().contains("six==99.0 in backend/requirements.txt:2"), "{:?}", error.fix());
    stage.write(list, "six\n<<<<<<< HEAD\niniconfig\n=======\npluggy\n>>>>>>> b\n");
    let error = run(&stage).await.unwrap_err();
    assert!(error.fix().unwrap().starts_with("resolve the conflict in backend/requirements.txt:2"));
    stage.write(list, "six\n");
    assert!(run(&stage).await.unwrap().worked, "the fix helps");
}

/// Removes the entries of `site-packages` that match `pattern`.
fn remove_packages(stage: &TestEnv, pattern: &str) {
    let pattern = format!("{}/lib/*/site-packages/{pattern}", stage.path("wt/backend/.venv").display());
    let found: Vec<PathBuf> = glob::glob(&pattern).unwrap().flatten().collect();
    assert!(!found.is_empty(), "{pattern}");
    for path in found {
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
}

/// With the Python package index.
#[tokio::test]
async fn real_uv_installs_packages_again_that_were_removed() {
    let stage = with_python(TestEnv::real()).await;
    stage.write("wt/backend/requirements.txt", "six\niniconfig\n");
    run(&stage).await.unwrap();
    let site = venv::contents(&stage.path("wt/backend/.venv"));
    let site = site.iter().find(|path| path.ends_with("six.py")).and_then(|path| path.parent()).unwrap();
    crate::os::fs::replace(&site.join("by_hand.py"), b"", 0o600).unwrap();
    assert!(!run(&stage).await.unwrap().worked, "additions do not count");
    for pattern in ["six*", "six.py", "iniconfig-*", "iniconfig"] {
        remove_packages(&stage, pattern);
        assert!(run(&stage).await.unwrap().worked, "{pattern}");
        assert!(site.join("six.py").is_file() && site.join("iniconfig").is_dir(), "{pattern}");
        assert!(!run(&stage).await.unwrap().worked, "{pattern}");
    }
    assert!(site.join("by_hand.py").is_file());
    assert_eq!(stage.count_events("so its packages are installed again"), 4);
}

#[tokio::test]
async fn an_install_record_without_packages_stays_valid() {
    let stage = stage(&["uv.lock"]);
    stage.write("wt/backend/pyproject.toml", "");
    run(&stage).await.unwrap();
    stage.write("wt/backend/.venv/lib/python3.12/site-packages/six.py", "");
    assert!(!run(&stage).await.unwrap().worked);
}

#[tokio::test]
async fn one_missing_package_of_many_makes_the_install_stale() {
    let stage = stage(&["uv.lock"]);
    let packages = "mkdir -p lib/python3.12/site-packages; cd lib/python3.12/site-packages; i=0; \
                    while [ $i -lt 200 ]; do mkdir p$i p$i-1.dist-info; i=$((i+1)); done";
    stage.program("uv", &format!("{UV}\n{packages}"));
    assert!(run(&stage).await.unwrap().worked);
    assert!(!run(&stage).await.unwrap().worked);
    let record = RecordFiles::new(&stage.path("state"), Step::Python, Path::new("backend"));
    let record = record.read().unwrap().unwrap();
    assert_eq!(record.missing(), None);
    std::fs::remove_dir(stage.path("wt/backend/.venv/lib/python3.12/site-packages/p7-1.dist-info")).unwrap();
    assert!(record.missing().unwrap().ends_with("/p7-1.dist-info"));
    assert!(run(&stage).await.unwrap().worked);
    assert!(stage.calls().last().unwrap().ends_with("--reinstall"), "{:?}", stage.calls());
}
