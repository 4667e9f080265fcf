"""Compares the version that each built package states with that of Cargo.toml."""

import email
import json
import re
import tarfile
import zipfile

from .release import PackageError, run


def check(expected, out):
    """Raises PackageError if a package in `out` states another version."""
    wrong = []
    for path in sorted(out.iterdir()) if out.exists() else []:
        found = stated(path)
        if found is not None and found != expected:
            wrong.append(f"{path.name} states version {found}")
    if wrong:
        raise PackageError(f"Cargo.toml states version {expected}, but\n  " + "\n  ".join(wrong))


def stated(path):
    """Returns the version inside a package, or None for a file that has none."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return email.message_from_bytes(wheel.read(metadata))["Version"]
    if path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            return json.load(archive.extractfile("package/package.json"))["version"]
    if path.suffix == ".deb":
        return run("dpkg-deb", "--field", str(path), "Version").strip()
    if path.suffix == ".rb":
        return re.search(r'^  version "(.*)"$', path.read_text(), re.MULTILINE)[1]
    if path.name.endswith(".tar.gz"):
        return re.fullmatch(r"devrun-(\d+\.\d+\.\d+\S*?)-(?:x86_64|aarch64)-.*", path.name)[1]
    return None
