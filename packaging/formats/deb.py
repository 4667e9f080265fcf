"""A Debian package, made by dpkg-deb. It has no install scripts."""

import gzip
import os
import pathlib
import tempfile

from .release import Linkage, PackageError, run

CONTROL = """\
Package: {package}
Version: {version}
Architecture: {architecture}
Maintainer: the devrun authors <devrun@localhost>
Installed-Size: {kilobytes}
Depends: {depends}
Recommends: git
Section: devel
Priority: optional
Description: {description}
 devrun leases ports, installs packages from a shared store, makes a Postgres
 database for the branch, runs migrations and starts the processes of a git
 worktree. It stops all of them on Ctrl-C.
"""


def build(release, out, tree):
    """Writes devrun_VERSION_ARCH.deb."""
    if release.debian_architecture is None:
        raise PackageError(f"Debian does not run {release.target}")
    share = pathlib.PurePath("usr/share")
    places = {}
    for path, (content, mode) in tree.items():
        parts = pathlib.PurePath(path)
        if path == "devrun":
            places["usr/bin/devrun"] = (content, 0o755)
        elif parts.parts[0] == "man":
            section = parts.suffix[1:]
            places[f"{share}/man/man{section}/{parts.name}.gz"] = (gzip.compress(content, mtime=0), mode)
        elif path == "completions/devrun":
            places[f"{share}/bash-completion/completions/devrun"] = (content, mode)
        elif path == "completions/_devrun":
            places[f"{share}/zsh/vendor-completions/_devrun"] = (content, mode)
        elif path == "completions/devrun.fish":
            places[f"{share}/fish/vendor_completions.d/devrun.fish"] = (content, mode)
        else:
            places[f"{share}/doc/{release.package}/{parts.name}"] = (content, mode)
    licences = tree["LICENSE-MIT"][0] + b"\n" + tree["LICENSE-APACHE"][0]
    places[f"{share}/doc/{release.package}/copyright"] = (licences, 0o644)
    control = CONTROL.format(
        package=release.package,
        version=release.version,
        architecture=release.debian_architecture,
        kilobytes=sum(len(content) for content, _ in places.values()) // 1024 + 1,
        depends=", ".join(depends(release)),
        description=release.description,
    )
    if release.target.endswith("musl") or release.linkage is Linkage.STATIC:
        control = "".join(line for line in control.splitlines(True) if not line.startswith("Depends:"))
    places["DEBIAN/control"] = (control.encode(), 0o644)
    path = out / f"{release.package}_{release.version}_{release.debian_architecture}.deb"
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder, "root")
        for member, (content, mode) in places.items():
            file = root / member
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(mode)
        for found in [root, *root.rglob("*")]:
            if found.is_dir():
                found.chmod(0o755)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)}
        run("dpkg-deb", "--root-owner-group", "--build", "-Zxz", str(root), str(path), env=environment)
    return [path]


def depends(release):
    """Returns the packages with the libraries that the binary is linked to."""
    needed = run("readelf", "--dynamic", "--wide", str(release.binary))
    return [f"libc6 (>= {glibc(release)})", *(["libgcc-s1"] if "[libgcc_s.so.1]" in needed else [])]


def glibc(release):
    """Returns the newest version of glibc whose symbols the binary uses, for example 2.34."""
    text = run("readelf", "--dyn-syms", "--wide", str(release.binary))
    found = [word.partition("@GLIBC_")[2] for word in text.split() if "@GLIBC_2" in word]
    versions = [tuple(map(int, version.split("."))) for version in found]
    return ".".join(map(str, max(versions, default=(2, 17))))
