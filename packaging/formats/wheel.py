"""A Python wheel whose only content is the binary, made by maturin, so `uv tool install`, `pipx` and `pip` can install devrun."""

import pathlib
import shutil
import tempfile

from .release import ROOT, Linkage, fetched, run

MATURIN = "maturin==1.16.0"


def build(release, out, tree):
    """Writes the wheel. maturin runs cargo again, which has nothing left to compile, and audits the libraries of the binary."""
    options = ["--release", "--locked", "--target", release.target]
    if release.linkage is Linkage.ZIG:
        options += ["--zig", "--compatibility", "manylinux2014"]
    with tempfile.TemporaryDirectory() as folder:
        maturin = fetched("maturin", MATURIN)
        run(*maturin, "build", *options, "--out", folder, cwd=ROOT / "packaging/python", env=release.environment)
        return [pathlib.Path(shutil.copy(path, out)) for path in pathlib.Path(folder).glob("*.whl")]
