"""A Homebrew formula for the tarballs in a folder."""

import hashlib

TEMPLATE = """\
class Devrun < Formula
  desc "{description}"
  homepage "{url}"
  version "{version}"
  license any_of: ["MIT", "Apache-2.0"]

{systems}  def install
    bin.install "devrun"
    man1.install Dir["man/*.1"]
    man5.install Dir["man/*.5"]
    bash_completion.install "completions/devrun"
    zsh_completion.install "completions/_devrun"
    fish_completion.install "completions/devrun.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{{bin}}/devrun --version")
  end
end
"""

# (block of the formula, block of the processor): target
PLACES = {
    ("on_macos", "on_arm"): "aarch64-apple-darwin",
    ("on_macos", "on_intel"): "x86_64-apple-darwin",
    ("on_linux", "on_arm"): "aarch64-unknown-linux-gnu",
    ("on_linux", "on_intel"): "x86_64-unknown-linux-gnu",
}


def build(release, out):
    """Writes devrun.rb for those tarballs that are in `out`. Returns nothing if there are none or no address is known."""
    if not release.url:
        return []
    blocks = {}
    for (system, cpu), target in PLACES.items():
        archive = out / f"devrun-{release.version}-{target}.tar.gz"
        if archive.exists():
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            url = f"{release.url}/releases/download/v{release.version}/{archive.name}"
            block = f'    {cpu} do\n      url "{url}"\n      sha256 "{digest}"\n    end\n'
            blocks.setdefault(system, []).append(block)
    if not blocks:
        return []
    systems = "".join(f"  {system} do\n{''.join(parts)}  end\n\n" for system, parts in blocks.items())
    path = out / "devrun.rb"
    path.write_text(TEMPLATE.format(
        description=release.description, url=release.url, version=release.version, systems=systems,
    ))
    return [path]
