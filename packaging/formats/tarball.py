"""A plain .tar.gz with the binary, man pages, completions and licences. Two builds of one commit are the same bytes."""

import gzip
import io
import tarfile


def name(release):
    return f"devrun-{release.version}-{release.target}.tar.gz"


def build(release, out, tree):
    """Writes the archive of `tree`, a dictionary from paths to (content, mode)."""
    folder = name(release).removesuffix(".tar.gz")
    path = out / name(release)
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=release.epoch) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member, (content, mode) in sorted(tree.items()):
                entry = tarfile.TarInfo(f"{folder}/{member}")
                entry.size, entry.mode, entry.mtime = len(content), mode, release.epoch
                archive.addfile(entry, io.BytesIO(content))
    return [path]
