"""Fetch Debian packages with the system's own tool, and unpack them without root."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from pyrosynth.errors import SynthError, unseen

VERSIONS = "versions.json"
GROUP = 8  # packages per call of the tool, so that progress is seen


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
    message = _error(_run([tool, "download", package], folder))
    if not _package_file(folder, package):
        lists = _own_lists(tool, folder)
        message = _error(_run([tool, *lists, "download", package], folder))
    file = _package_file(folder, package)
    if file is None:
        raise SynthError(
            f"apt-get cannot download '{package}' ({message}); check the network, or install the "
            f"package '{package}' with your system's tool"
        )
    return file


def fetch(packages: Sequence[str], folder: Path) -> None:
    """Download packages with the libraries that are missing here, and unpack them; no root.

    Args:
        packages: Their names.
        folder: Where their files go, side by side, and `VERSIONS`, the version of each package;
            made whole or not at all.

    Raises:
        SynthError: There is no ``apt-get``, it cannot get a package, or the folder cannot be
            written.
    """
    tool, unpacker = shutil.which("apt-get"), shutil.which("dpkg-deb")
    wanted = " and ".join(packages)
    if tool is None or unpacker is None:
        raise SynthError(
            f"there is no apt-get with dpkg-deb here to fetch {wanted} with; run the command on "
            "Debian or Ubuntu and copy what it makes"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as name:
            work, tree = Path(name), Path(name) / "tree"
            tree.mkdir()
            command = [tool]
            sizes, message = _needed(command, packages, work)
            if not set(packages) <= set(sizes):
                command += _own_lists(tool, work)
                sizes, message = _needed(command, packages, work)
            if not set(packages) <= set(sizes):
                raise SynthError(
                    f"apt-get finds no {wanted} ({message}); check the network and that your "
                    "system's sources have them"
                )
            versions = {}
            label = f"fetching {packages[0]}"
            from tqdm.auto import tqdm  # workers, which never get here, start faster without it

            total, style = sum(sizes.values()), {"unit": "B", "unit_scale": True}
            with tqdm(total=total, desc=label, disable=unseen(), **style) as bar:
                for start in range(0, len(sizes), GROUP):
                    group = sorted(sizes)[start : start + GROUP]
                    done = _run([*command, "download", *group], work)
                    for package in group:
                        file = _package_file(work, package)
                        if file is None:
                            raise SynthError(
                                f"apt-get cannot download '{package}', needed for {wanted} "
                                f"({_error(done)}); check the network, then try again"
                            )
                        _extract(unpacker, file, tree)
                        versions[package] = unquote(file.name.split("_")[1])
                        file.unlink()
                        bar.update(sizes[package])
            (tree / VERSIONS).write_text(json.dumps(versions, indent=1) + "\n", encoding="utf-8")
            tree.replace(folder)
    except OSError as error:
        raise SynthError(
            f"cannot unpack {wanted} into '{folder}': {error.strerror or error}; make room, or "
            "give another folder by XDG_DATA_HOME"
        ) from error


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


def _own_lists(tool: str, folder: Path) -> list[str]:
    """Fetch package lists into a folder and return the options that make the tool use them."""
    own = folder / "apt"
    (own / "lists" / "partial").mkdir(parents=True)
    (own / "cache" / "archives" / "partial").mkdir(parents=True)
    lists = ["-o", f"Dir::State::Lists={own / 'lists'}", "-o", f"Dir::Cache={own / 'cache'}"]
    _run([tool, *lists, "update"], folder)
    return lists


def _needed(
    command: Sequence[str], packages: Sequence[str], folder: Path
) -> tuple[dict[str, int], str]:
    """Ask which packages an installation would fetch: bytes of each, and the last error.

    Those asked for are among them even if they are installed here.
    """
    empty = folder / "none"
    (empty / "partial").mkdir(parents=True, exist_ok=True)
    kept = ["-o", f"Dir::Cache::archives={empty}"]  # else what lies there already is left out
    plan = ["--print-uris", "--reinstall", "--no-install-recommends", "install"]
    done = _run([*command, *kept, *plan, *packages], folder)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("'")]
    return {line[1].split("_")[0]: int(line[2]) for line in lines}, _error(done)


def _extract(unpacker: str, file: Path, tree: Path) -> None:
    """Unpack a package with all its links.

    Raises:
        SynthError: It is damaged, or there is no room.
    """
    done = _run([unpacker, "-x", str(file), str(tree)], tree)
    if done.returncode:
        raise SynthError(
            f"cannot unpack '{file.name}' into '{tree.parent.parent}' ({_error(done)}); make "
            "room, then try again"
        )


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    )


def _error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of a command's standard error that says what went wrong."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")] or lines[-1:]
    return errors[0][:120] if errors else "no message"


def _package_file(folder: Path, package: str) -> Path | None:
    return next(iter(sorted(folder.glob(f"{package}_*.deb"))), None)
