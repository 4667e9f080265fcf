"""What every format needs to know: the version, the target, the binary and the files beside it."""

import dataclasses
import enum
import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Rust target: (npm's os, npm's cpu, Debian's architecture). None where Debian has no such system.
TARGETS = {
    "x86_64-unknown-linux-gnu": ("linux", "x64", "amd64"),
    "x86_64-unknown-linux-musl": ("linux", "x64", "amd64"),
    "aarch64-unknown-linux-gnu": ("linux", "arm64", "arm64"),
    "aarch64-unknown-linux-musl": ("linux", "arm64", "arm64"),
    "x86_64-apple-darwin": ("darwin", "x64", None),
    "aarch64-apple-darwin": ("darwin", "arm64", None),
}


# The oldest glibc that --zig links against, the one of manylinux2014.
OLD_GLIBC = "2.17"
ZIGBUILD = "cargo-zigbuild==0.24.1"


class Linkage(enum.Enum):
    """How the binary reaches the C library."""

    DEFAULT = "that of this machine"
    ZIG = "an old glibc"
    STATIC = "inside the binary"


class PackageError(Exception):
    """A package that cannot be built, with the reason."""


@dataclasses.dataclass(frozen=True)
class Release:
    """One version of devrun for one target."""

    package: str
    version: str
    description: str
    license: str
    target: str
    linkage: Linkage
    url: str | None
    epoch: int
    commit: str

    @property
    def binary(self):
        metadata = run("cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", cwd=ROOT)
        return pathlib.Path(json.loads(metadata)["target_directory"], self.target, "release/devrun")

    @property
    def environment(self):
        """Returns the environment of cargo. The binary states the commit in `--version`."""
        static = {"RUSTFLAGS": "-C target-feature=+crt-static"} if self.linkage is Linkage.STATIC else {}
        return {**os.environ, **static, "DEVRUN_COMMIT": self.commit}

    def compile(self):
        """Builds the binary."""
        options = ["--release", "--locked", "--bin", "devrun", "--target"]
        if self.linkage is Linkage.ZIG:
            cargo, target = fetched("cargo-zigbuild", ZIGBUILD) + ["zigbuild"], f"{self.target}.{OLD_GLIBC}"
        else:
            cargo, target = ["cargo", "build"], self.target
        run(*cargo, *options, target, cwd=ROOT, env=self.environment)

    @property
    def npm_platform(self):
        return TARGETS[self.target][:2]

    @property
    def debian_architecture(self):
        return TARGETS[self.target][2]

    @property
    def runs_here(self):
        return self.target == host_target()


def run(*command, **options):
    """Runs `command` and returns its standard output. Raises PackageError with both streams if it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3600, **options)
    except FileNotFoundError as error:
        raise PackageError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise PackageError(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def fetched(program, package):
    """Returns the command of a Python program: the installed one, else the one that uv fetches for this run."""
    return [program] if shutil.which(program) else ["uvx", "--from", package, program]


def host_target():
    """Returns the target that rustc builds for by default."""
    lines = run("rustc", "--version", "--verbose").splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


def manifest():
    """Returns the package of Cargo.toml as cargo reads it."""
    text = run("cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", cwd=ROOT)
    return json.loads(text)["packages"][0]


def epoch():
    """Returns the time that all files in the packages get, in seconds: SOURCE_DATE_EPOCH, else that of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct", cwd=ROOT))


def commit():
    """Returns the commit of the sources, in short: DEVRUN_COMMIT, else that of git, with a mark if tracked files differ from it."""
    given = os.environ.get("DEVRUN_COMMIT")
    if given:
        return given
    changed = run("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT).strip()
    return run("git", "rev-parse", "--short=12", "HEAD", cwd=ROOT).strip() + ("-modified" if changed else "")


def documents(release):
    """Returns the files beside the binary, as pairs of a path in the package and its content."""
    for name in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"]:
        yield name, (ROOT / name).read_bytes()


def generated(release, folder):
    """Writes man pages and shell completions to `folder`, which needs a binary that runs here."""
    man = folder / "man"
    run(str(release.binary), "man", "--dir", str(man))
    completions = folder / "completions"
    completions.mkdir(parents=True)
    for shell, name in COMPLETIONS.items():
        (completions / name).write_text(run(str(release.binary), "completions", shell))
    return man, completions


# Shell: the name of the file that the shell looks for.
COMPLETIONS = {"bash": "devrun", "zsh": "_devrun", "fish": "devrun.fish"}
