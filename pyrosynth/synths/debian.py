"""Debian packages: fetched with the system's own tool, opened without root."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pyrosynth.errors import SynthError


def download(package: str, folder: Path) -> Path:
    """Download a package with ``apt-get``, which checks its signature; no root needed.

    Where the system has no package lists, as in fresh containers, they are fetched into the
    folder first.

    Args:
        package: Its name.
        folder: Where the file goes.

    Returns:
        The ``.deb`` file.

    Raises:
        SynthError: There is no ``apt-get``, or it finds no such package.
    """
    tool = shutil.which("apt-get")
    if tool is None:
        raise SynthError(
            f"there is no apt-get here to fetch '{package}' with; install the package "
            f"'{package}' with your system's tool, or use the built-in synth 'voice'"
        )
    own = folder / "apt"
    (own / "lists" / "partial").mkdir(parents=True)
    (own / "cache" / "archives" / "partial").mkdir(parents=True)
    lists = ["-o", f"Dir::State::Lists={own / 'lists'}", "-o", f"Dir::Cache={own / 'cache'}"]
    message = _run([tool, "download", package], folder)
    if not _found(folder, package):
        _run([tool, *lists, "update"], folder)
        message = _run([tool, *lists, "download", package], folder)
    file = _found(folder, package)
    if file is None:
        raise SynthError(
            f"apt-get cannot download '{package}' ({message}); check the network, or install the "
            f"package '{package}' with your system's tool"
        )
    return file


def unpack(package: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files of a package.

    A ``.deb`` is an ``ar`` archive: an 8-byte mark, then members behind 60-byte headers. Its
    ``data.tar`` is opened here where Python can, else through ``dpkg-deb``.

    Args:
        package: The ``.deb`` file.

    Yields:
        Path inside the package and content of each regular file.

    Raises:
        SynthError: The package is damaged.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_tar(package))) as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    yield member.name, content.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SynthError(
            f"the package '{package.name}' is damaged ({error}); try again"
        ) from error


def _data_tar(package: Path) -> bytes:
    content = package.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise ValueError("not an ar archive")
    start, members = 8, {}
    while start + 60 <= len(content):
        name = content[start : start + 16].decode("ascii").strip().rstrip("/")
        size = int(content[start + 48 : start + 58])
        members[name] = content[start + 60 : start + 60 + size]
        start += 60 + size + size % 2
    for ending in ("xz", "gz", "bz2"):
        if f"data.tar.{ending}" in members:
            return members[f"data.tar.{ending}"]
    tool = shutil.which("dpkg-deb")
    if tool is None:
        raise ValueError("compressed in a way that needs dpkg-deb, which is not here")
    return subprocess.run(
        [tool, "--fsys-tarfile", str(package)], capture_output=True, check=False
    ).stdout


def _run(command: list[str], folder: Path) -> str:
    """Run a command in a folder and return its last line on standard error."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return errors[0] if errors else "no message"


def _found(folder: Path, package: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{package}_*.deb"))), None)
