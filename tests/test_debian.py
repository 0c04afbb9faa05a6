"""Debian packages: fetched with what they need, whole or not at all."""

import json
import shutil
import subprocess

import pytest

from pyrosynth.errors import SynthError
from pyrosynth.synths.apt import VERSIONS, fetch

APT = """#!/bin/sh
# A package tool that has the packages beside it, and none but those.
here={folder}
case "$*" in
*--print-uris*)
  for name in tone libtone; do
    file=$(cd $here && echo ${{name}}_*.deb)
    [ -e $here/$file ] && echo "'http://nowhere/$file' $file 1000 SHA256:0"
  done
  echo "E: Unable to locate package" >&2 ;;
*download*) for name in tone libtone; do cp $here/${{name}}_*.deb . ; done ;;
esac
"""


def package(folder, name, version, files):
    """Build a package with the distribution's own tool."""
    if shutil.which("dpkg-deb") is None:
        pytest.fail("packages are built and unpacked with dpkg-deb; run these tests on Debian")
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: none\n"
    )
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    (tree / "link").symlink_to("usr/lib")
    file = folder / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, file], check=True, stdout=subprocess.DEVNULL)
    return file


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A folder of two packages, with a package tool that finds them first."""
    folder = tmp_path / "packages"
    folder.mkdir()
    package(folder, "tone", "1:2.0-1", {"usr/bin/tone": "a program"})
    package(folder, "libtone", "2.0", {"usr/lib/libtone.so.1": "a library"})
    (folder / "apt-get").write_text(APT.format(folder=folder))
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_packages_come_with_what_they_need_side_by_side(apt, tmp_path):
    tree = tmp_path / "data" / "tone"
    fetch(["tone"], tree)
    assert (tree / "usr/bin/tone").read_text() == "a program"
    assert (tree / "link" / "libtone.so.1").read_text() == "a library"
    assert json.loads((tree / VERSIONS).read_text()) == {"tone": "1:2.0-1", "libtone": "2.0"}
    assert [file.name for file in tree.parent.iterdir()] == ["tone"]


def test_what_cannot_be_had_is_named_and_nothing_is_left(apt, tmp_path, monkeypatch):
    tree = tmp_path / "data" / "tone"
    with pytest.raises(SynthError, match=r"finds no drum \(E: Unable to locate package\)"):
        fetch(["drum"], tree)
    damaged = next(apt.glob("libtone_*.deb"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(SynthError, match=r"cannot unpack 'libtone_2.0_all.deb' into .*make room"):
        fetch(["tone"], tree)
    tool = (apt / "apt-get").read_text()
    (apt / "apt-get").write_text(tool.replace("*download*)", "*never*)"))
    with pytest.raises(SynthError, match="cannot download 'libtone', needed for tone"):
        fetch(["tone"], tree)
    assert not list(tree.parent.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(SynthError, match="cannot unpack tone into .*XDG_DATA_HOME"):
        fetch(["tone"], tmp_path / "file" / "tone")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthError, match="no apt-get with dpkg-deb here.*copy what it makes"):
        fetch(["tone"], tree)
