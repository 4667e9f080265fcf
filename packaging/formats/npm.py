"""Two npm packages: one with the binary of a platform, and one that has those of all platforms as optional dependencies.

npm, pnpm, yarn and bun install only the platform package whose `os`, `cpu` and `libc` fit. No install script runs.
"""

import json
import pathlib
import shutil
import tempfile

from .release import ROOT, TARGETS, run

LAUNCHER = ROOT / "packaging/npm/launcher.cjs"
LICENSE_FILES = ["LICENSE-MIT", "LICENSE-APACHE"]


def platform_package(package, target):
    """Returns the name of the package with the binary of `target`."""
    system, cpu, _ = TARGETS[target]
    return f"{package}-{system}-{cpu}" + ("-musl" if target.endswith("musl") else "")


def build(release, out, tree):
    """Writes the tarball of the platform package and that of the package with the launcher."""
    system, cpu = release.npm_platform
    shared = {"version": release.version, "license": release.license, "description": release.description}
    if release.url:
        shared["homepage"] = release.url
    own = {
        "name": platform_package(release.package, release.target),
        **shared,
        "os": [system],
        "cpu": [cpu],
        "files": ["devrun", *LICENSE_FILES],
        "preferUnplugged": True,
    }
    if system == "linux":
        own["libc"] = ["musl" if release.target.endswith("musl") else "glibc"]
    launcher = {
        "name": release.package,
        **shared,
        "bin": {"devrun": "launcher.cjs"},
        "engines": {"node": ">=18"},
        "files": ["launcher.cjs", "README.md", *LICENSE_FILES],
        "optionalDependencies": {
            platform_package(release.package, target): release.version for target in sorted(TARGETS)
        },
    }
    return [
        pack(own, {"devrun": release.binary}, out),
        pack(launcher, {"launcher.cjs": LAUNCHER, "README.md": ROOT / "README.md"}, out),
    ]


def pack(manifest, files, out):
    """Runs `npm pack` on a folder with `manifest` and `files`, and returns the tarball."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for target, source in {**files, **{name: ROOT / name for name in LICENSE_FILES}}.items():
            shutil.copy(source, folder / target)
            (folder / target).chmod(0o755 if target in ("devrun", "launcher.cjs") else 0o644)
        (folder / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
        printed = run("npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(out), cwd=folder)
    return out / json.loads(printed)[0]["filename"]
