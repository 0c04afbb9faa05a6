"""Keep plugins away from the user's files, and end their processes with all that they started."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from pyrosynth.errors import SynthError

FILE_BYTES = 1 << 28  # largest file that a plugin may write: some print without end
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_PERTURB = -1, -3, -6  # options of mallopt
KEPT_BYTES = 1 << 30  # of freed memory that a process keeps to use again
LARGEST_KEPT = 1 << 25  # bytes of one array; glibc takes no more
TICKS = os.sysconf("SC_CLK_TCK")  # a second, in which the system counts what a process works
STRAY_SECONDS = 2.0  # to hunt down what a plugin has started and that starts more meanwhile
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Reads lines of process groups until the pipe is closed, which the kernel does if this process is
# killed; then kills the last groups it was told, and all else whose home is in the folder, and
# removes it.
GUARD = """
while read -r line; do groups=$line; done
[ -z "$groups" ] || kill -s KILL -- $groups
for i in 1 2 3 4 5; do
    strays=$(grep -lsF -- "$1/" /proc/[0-9]*/environ | cut -d / -f 3)
    [ -n "$strays" ] || break
    kill -s KILL $strays
done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""


def python() -> tuple[str, ...]:
    """Return the start of a command of this interpreter, with texts and paths of the same bytes.

    Raises:
        SynthError: It does not say where it is.
    """
    if not sys.executable:
        raise SynthError(
            "Python does not say where it is, as in a program that embeds it; set sys.executable "
            "to a Python that has pyrosynth"
        )
    return sys.executable, "-X", f"utf8={sys.flags.utf8_mode}"


def private_home(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return environment variables that keep a plugin away from the user's own settings."""
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR")
    return {name: os.fspath(folder) for name in names} | {"QT_QPA_PLATFORM": "offscreen"}


def size_below(folder: str | os.PathLike[str]) -> int:
    """Return how many bytes the files below a folder take on the disk."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                size += os.lstat(os.path.join(place, name)).st_blocks * 512
    return size


class Scratch:
    """A temporary folder and processes that are gone when this process ends, however it ends.

    In a ``with`` statement they are gone at the end of its block.

    Attributes:
        path: The folder.

    Raises:
        SynthError: There is no place for temporary files.
    """

    def __init__(self) -> None:
        """Make the folder, and start the shell that guards it."""
        if "\n" in tempfile.gettempdir():  # the guard would look for each line, and kill by it
            raise SynthError(
                f"temporary files are in '{tempfile.gettempdir()}', whose name has a line break; "
                "name another folder by TMPDIR"
            )
        try:
            self.path = Path(tempfile.mkdtemp(prefix="pyrosynth-"))
        except OSError as error:
            raise SynthError(
                f"cannot make a temporary folder: {error.strerror or error}; name a folder that "
                "can be written by TMPDIR"
            ) from error
        self._groups: set[int] = set()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", self.path],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> "Scratch":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def adopt(self, pid: int) -> None:
        """Have a process group killed with this process."""
        self._groups.add(pid)
        self._tell()

    def release(self, pid: int) -> None:
        """Forget a process group that has ended."""
        self._groups.discard(pid)
        self._tell()

    def _tell(self) -> None:
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write((" ".join(f"-{pid}" for pid in self._groups) + "\n").encode())
        except BrokenPipeError:
            pass  # somebody killed the guard; ``die_with_parent`` remains

    def close(self) -> None:
        """Kill what is left of the processes and remove the folder."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
        shutil.rmtree(self.path, ignore_errors=True)  # in case somebody has killed the guard


def has_ended(process: subprocess.Popen[bytes], seconds: float = 0.0) -> bool:
    """Wait for the end of a process, without giving its number away to another one.

    Args:
        process: The process.
        seconds: How long to wait at most.
    """
    deadline = time.monotonic() + seconds
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        while process.returncode is None and os.waitid(os.P_PID, process.pid, how) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
    except ChildProcessError:
        pass  # somebody else has waited for it
    return True


def kill_all(process: subprocess.Popen[bytes], home: str | os.PathLike[str]) -> int:
    """Kill a process that leads its group, and all that it has started; return its exit code.

    That may have left the group for a session of its own. Where there is ``/proc``, it is known
    nevertheless, by its parents or by its home; who has rid himself of both escapes.

    Args:
        process: The process.
        home: What `private_home` made its home and nobody else's.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGSTOP)  # so that it starts nothing more
    deadline = time.monotonic() + STRAY_SECONDS
    while (strays := _strays(process.pid, home)) and time.monotonic() < deadline:
        for pid in strays:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def seconds_of_work(pid: int) -> float:
    """Return how long a process has had a core so far; 0 where there is no ``/proc``."""
    with suppress(OSError):
        return _state(Path(f"/proc/{pid}"))[2]
    return 0.0


def starves(child: int, home: str | os.PathLike[str], worked: float, least: float) -> bool:
    """Whether a process, or one that it has started, wants a core or a disk, and has done little.

    Args:
        child: The process.
        home: What `private_home` made its home and nobody else's.
        worked: Seconds of its work that do not count.
        least: Seconds of work that are enough.
    """
    for pid in {child, *_strays(child, home)}:
        with suppress(OSError):
            state, _, seconds = _state(Path(f"/proc/{pid}"))
            if state in b"RD" and seconds < least + (worked if pid == child else 0.0):
                return True
    return False


def _state(folder: Path) -> tuple[bytes, int, float]:
    """Return the state of a process, its parent, and how long it has had a core."""
    facts = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    return facts[0], int(facts[1]), (int(facts[11]) + int(facts[12])) / TICKS


def _strays(child: int, home: str | os.PathLike[str]) -> set[int]:
    """Return the processes that descend from a child of this one, or have its home."""
    parents, strays = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ends meanwhile, or is another user's
            state, parent, _ = _state(folder)
            if state == b"Z":
                continue
            parents[int(folder.name)] = parent
            if os.fsencode(home) in (folder / "environ").read_bytes():
                strays.add(int(folder.name))
    family = {child} if parents.get(child) == os.getpid() else set()
    while born := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= born
    return (strays | family) - {child}


def adopt_orphans() -> None:
    """Become the parent of what this process has started and whose own parent ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; Linux only.

    Args:
        parent: Number of the process it was started by, which may have ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def zero_new_memory(zeroed: bool = True) -> None:
    """Have memory zeroed when it is allocated in this process, or no longer; glibc only.

    Some synths, such as mda's JX10, play what lies in memory that they have not set.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        # What is allocated is filled with the complement; 0 leaves it as it is.
        libc.mallopt(M_PERTURB, 0xFF if zeroed else 0)


def keep_freed_memory() -> None:
    """Use memory again that this process has freed, instead of giving it back; glibc only.

    Each page of new memory costs a fault, of which many processes at once make the kernel a
    bottleneck, most of all in a virtual machine.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)


def limit_resources(memory: int | None) -> None:
    """Bound what this process may take, so that a plugin gone wild harms nobody but itself.

    Args:
        memory: Bytes of address space beyond what it has now; None for no limit.
    """
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: FILE_BYTES}
    statm = Path("/proc/self/statm")
    if memory is not None and statm.exists():
        pages = int(statm.read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    for kind, wanted in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, hard))
