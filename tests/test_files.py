"""Files and folders of results: replaced as a whole, only if they are ours, by one at a time."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from obstore.exceptions import GenericError
from rights import python_without_rights

from pyrosynth import files
from pyrosynth.errors import LONGEST, InputError, PyrosynthError, one_line, reason
from pyrosynth.files import read_limited

FOREIGN = b"a recording that exists once"


def tree(folder):
    """Return the bytes of all files below a folder."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_file_is_replaced_at_the_end_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "a.txt"
    files.write_bytes(file, b"1")
    with pytest.raises(ZeroDivisionError), files.atomic(file) as new:
        new.write_bytes(bytes([1 // 0]))
    assert tree(tmp_path) == {"new/a.txt": b"1"}
    with files.atomic(file) as new:
        assert new.name == "a.txt"
        new.write_bytes(b"2")
        assert file.read_bytes() == b"1"
    assert tree(tmp_path) == {"new/a.txt": b"2"}
    assert len(list(file.parent.iterdir())) == 1


def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(InputError, match=f"'{path}' is a device or a pipe"):
            files.write_bytes(path, b"1")
    assert (tmp_path / "pipe").is_fifo()


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a.txt")
    files.write_bytes(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert tree(tmp_path / "there") == {"a.txt": b"1"}


def test_folders_of_others_are_refused_and_stay(tmp_path):
    foreign = tmp_path / "flute"
    foreign.mkdir()
    (foreign / "flute.wav").write_bytes(FOREIGN)
    for way in (files.whole, files.claim):
        for place in (foreign, foreign / "flute.wav", tmp_path):
            with pytest.raises(InputError, match="did not write"), way(place, "test"):
                pytest.fail("the block must not be entered")
    assert tree(tmp_path) == {"flute/flute.wav": FOREIGN}


def test_what_was_put_into_our_folder_is_not_replaced(tmp_path):
    for i in range(2):
        with files.whole(tmp_path / "site", "test") as folder:
            (folder / "sounds").mkdir()
            (folder / "sounds" / "1.wav").write_bytes(bytes([i]))
    assert tree(tmp_path / "site")["sounds/1.wav"] == b"\1"
    (tmp_path / "site" / "sounds" / "mine.wav").write_bytes(FOREIGN)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"mine\.wav"), files.whole(tmp_path / "site", "test"):
        pytest.fail("the block must not be entered")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [".DS_Store", "._a", "Thumbs.db", "desktop.ini"])
def test_what_operating_systems_leave_blocks_nothing(tmp_path, name):
    site, check = tmp_path / "site", tmp_path / "check"
    for folder in (site, check):
        folder.mkdir()
        (folder / name).write_bytes(FOREIGN)  # in a folder that somebody has looked into
    for content in (b"1", b"2"):
        with files.whole(site, "serve") as new:
            (new / "sounds").mkdir()
            (new / "sounds" / "a").write_bytes(content)
        assert (site / "sounds" / "a").read_bytes() == content
        for place in (site, site / "sounds"):
            (place / name).write_bytes(FOREIGN)
        with files.claim(check, "check"):
            pass
    assert (check / name).read_bytes() == FOREIGN
    (site / name).unlink()
    (site / name).mkdir()
    (site / name / "mine").write_bytes(FOREIGN)
    with pytest.raises(InputError, match="mine', which pyrosynth did not write"):
        files.require_ours(site, "serve")


def test_a_link_to_a_folder_that_was_put_into_ours_stays(tmp_path):
    (tmp_path / "album").mkdir()
    with files.whole(tmp_path / "site", "test"):
        pass
    (tmp_path / "site" / "album").symlink_to("../album")
    with pytest.raises(InputError, match="'album'"), files.whole(tmp_path / "site", "test"):
        pytest.fail("the block must not be entered")
    assert (tmp_path / "site" / "album").is_symlink()


def test_what_somebody_changed_is_not_replaced(tmp_path):
    def write():
        with files.whole(tmp_path / "site", "test") as folder:
            (folder / "index.html").write_bytes(b"ours")

    write()
    mark = tmp_path / "site" / files.MARK
    facts = json.loads(mark.read_text())
    (tmp_path / "site" / "index.html").write_bytes(FOREIGN)
    before = tree(tmp_path)
    for maker in ("test", ""):
        with pytest.raises(InputError, match=r"'index.html', which .* somebody changed"):
            files.require_ours(tmp_path / "site", maker=maker)
    with pytest.raises(InputError, match=r"index\.html"):
        write()
    assert tree(tmp_path) == before
    mark.write_text(json.dumps({**facts, "files": ["index.html"]}))  # of an earlier version
    for content in (b"1", b"2"):
        with files.whole(tmp_path / "site", "test", damaged=["data.nc"]) as folder:
            (folder / "data.nc").write_bytes(content)
            (folder / "mapping.csv").write_bytes(content)
        assert tree(tmp_path)["site/data.nc"] == content
        (tmp_path / "site" / "data.nc").write_bytes(b"damaged")
    with (
        pytest.raises(InputError, match=r"'data\.nc', which"),
        files.whole(tmp_path / "site", "test"),
    ):
        pytest.fail("the block must not be entered")
    (tmp_path / "site" / "mapping.csv").write_bytes(FOREIGN)
    with (
        pytest.raises(InputError, match=r"'mapping\.csv', which"),
        files.whole(tmp_path / "site", "test", damaged=["data.nc"]),
    ):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize("closed", ["index.html", files.MARK, "album"])
def test_a_file_of_an_earlier_result_that_may_not_be_read_is_named(tmp_path, closed):
    with files.whole(tmp_path / "site", "test") as folder:
        (folder / "index.html").write_bytes(b"ours")
        (folder / "album").mkdir()
        (folder / "album" / "a.wav").write_bytes(b"ours")
    place = tmp_path / "site" / closed
    mode = place.stat().st_mode
    place.chmod(0)
    again = (
        "from pyrosynth import files\n"
        f"with files.whole({str(tmp_path / 'site')!r}, 'test') as folder:\n    print('entered')"
    )
    done = python_without_rights("-c", again)
    place.chmod(mode)
    told = done.stderr.splitlines()[-1]
    assert f"'{place}' cannot be opened (Permission denied); ask its owner" in told
    assert "write" not in told
    assert not done.stdout


def test_missing_files_of_a_result_are_named(tmp_path):
    with files.whole(tmp_path / "site", "test") as folder:
        for name in ("a.html", "b.wav", "c"):
            (folder / name).write_bytes(b"ours")
    assert files.missing_files(tmp_path / "site") == ""
    (tmp_path / "site" / "b.wav").unlink()
    assert files.missing_files(tmp_path / "site").startswith("no longer there: b.wav; --force")
    for content in ("{", '{"files": 3}', '{"files": [3]}'):
        (tmp_path / "site" / files.MARK).write_text(content)
        assert "b.wav" not in files.missing_files(tmp_path / "site")


def test_what_comes_while_we_work_is_not_replaced_either(tmp_path):
    def work():
        with files.whole(tmp_path / "site", "test") as folder:
            (folder / "a").write_bytes(b"1")
            (tmp_path / "site").mkdir()
            (tmp_path / "site" / "mine.wav").write_bytes(FOREIGN)

    with pytest.raises(InputError, match="did not write"):
        work()
    assert tree(tmp_path) == {"site/mine.wav": FOREIGN}


def test_a_claimed_folder_keeps_its_maker_and_its_settings(tmp_path):
    for _ in range(2):
        with files.claim(tmp_path / "run", "fit") as folder:
            files.require_same(folder, {"seed": 0, "model": {"sha": "a" * 64, "sizes": [1, 2]}})
    (tmp_path / "run" / "notes.txt").write_bytes(FOREIGN)
    with files.claim(tmp_path / "run", "fit") as folder:
        for settings, said in (
            ({"seed": 1}, r"run' was made with seed 0, not 1; give"),
            ({"seed": 0, "model": {"sha": "b" * 64}}, r"another model\.sha"),
            ({"seed": 0, "model": {"sha": "a" * 64, "sizes": [1, 3]}}, r"sizes\.1 2, not 3"),
        ):
            with pytest.raises(InputError, match=said):
                files.require_same(folder, settings)
        files.require_same(folder, {"seed": 1}, force=True)
        files.require_same(folder, {"seed": 1})
    with (
        pytest.raises(InputError, match="`pyrosynth fit`"),
        files.claim(tmp_path / "run", "check"),
    ):
        pytest.fail("the block must not be entered")
    assert (tmp_path / "run" / "notes.txt").read_bytes() == FOREIGN


def test_remarks_in_a_table_or_a_page_are_not_written_over(tmp_path):
    def work(table=b"1", *, dies=False):
        with files.claim(tmp_path / "out", "check") as folder:
            files.write_bytes(folder / "table.md", table)
            files.write_bytes(folder / "check.nc", table)  # to which groups may be added
            with files.claim(folder / "run", "fit") as inner:
                files.write_bytes(inner / "report.html", table)
            if dies:
                raise KeyboardInterrupt

    work()
    work(b"2")
    with pytest.raises(KeyboardInterrupt):
        work(b"3", dies=True)
    work(b"4")  # what an interrupted command wrote is its own
    for name in ("table.md", "check.nc", "run/report.html"):
        file = tmp_path / "out" / name
        (content, remark) = (file.read_bytes(), file.read_bytes() + FOREIGN)
        file.write_bytes(remark)
        with pytest.raises(InputError, match=f"{file.name}' was changed since .* move that file"):
            work(b"5")
        assert file.read_bytes() == remark
        file.write_bytes(content)
    (tmp_path / "out" / "table.md").unlink()
    (tmp_path / "out" / "run" / "report.html").unlink()
    work(b"6")
    assert (tmp_path / "out" / "table.md").read_bytes() == b"6"


def test_what_a_killed_process_wrote_is_not_taken_for_remarks(tmp_path):
    with files.claim(tmp_path / "out", "check") as folder:
        files.write_bytes(folder / "table.md", b"1")
    claim = files.claim(tmp_path / "out", "check")
    folder = claim.__enter__()
    files.write_bytes(folder / "table.md", b"2")
    mark = (folder / files.MARK).read_bytes()
    claim.__exit__(None, None, None)
    (folder / files.MARK).write_bytes(mark)  # as it is found if the process is killed there
    with files.claim(tmp_path / "out", "check") as folder:
        files.write_bytes(folder / "table.md", b"3")
    assert (folder / "table.md").read_bytes() == b"3"


def test_a_folder_that_another_command_made_is_not_replaced(tmp_path):
    with files.claim(tmp_path / "run", "fit") as folder:
        files.write_bytes(folder / "weights", b"1")
    with files.whole(tmp_path / "site", "serve --static") as folder:
        (folder / "a").write_bytes(b"1")
    before = tree(tmp_path)
    for place in ("run", "site"):
        with (
            pytest.raises(InputError, match="was made by `pyrosynth"),
            files.whole(tmp_path / place, "infer"),
        ):
            pytest.fail("the block must not be entered")
    for mark in (b"", b"{}", b'{"files": [{}, null]}', b'{"files": {"weights": 1}}'):
        (tmp_path / "run" / files.MARK).write_bytes(mark)
        with pytest.raises(InputError, match="'weights'"), files.whole(tmp_path / "run", "fit"):
            pytest.fail("the block must not be entered")
        assert (tmp_path / "run" / "weights").read_bytes() == b"1"
    assert tree(tmp_path / "site") == {k[5:]: v for k, v in before.items() if k.startswith("site")}


def test_a_claimed_folder_that_is_replaced_by_another_is_not_written_into(tmp_path):
    with files.claim(tmp_path / "run", "check") as folder:
        files.write_bytes(folder / "cache" / "a", b"1")
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        (folder / "table.csv").write_bytes(FOREIGN)
        with pytest.raises(InputError, match="was moved or removed meanwhile"):
            files.write_bytes(folder / "table.csv", b"1")
    assert (tmp_path / "run" / "table.csv").read_bytes() == FOREIGN
    with files.claim(tmp_path / "moved", "check") as folder:
        files.write_bytes(folder / "cache" / "a", b"2")
    files.write_bytes(tmp_path / "run" / "table.csv", b"1")  # nobody fills it any more


def test_a_damaged_mark_is_still_ours(tmp_path):
    for content in (b"", b"{", b"[" * 100_000, b"\xff", b"[1]"):
        with files.claim(tmp_path / "run", "fit"):
            pass
        (tmp_path / "run" / files.MARK).write_bytes(content)
    with files.claim(tmp_path / "run", "fit") as folder:
        files.require_same(folder, {"seed": 1})


def test_files_are_read_up_to_a_limit(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * (1 << 20))
    assert read_limited(file, 1 << 20) == file.read_bytes()
    with pytest.raises(ValueError, match="it is larger than 0 MiB"):
        read_limited(file, (1 << 20) - 1)
    with pytest.raises(ValueError, match="it is larger than 1 MiB"):
        read_limited("/dev/zero", 1 << 20)
    with pytest.raises(FileNotFoundError):
        read_limited(tmp_path / "none", 10)


def test_a_file_is_never_ours(tmp_path):
    file = tmp_path / "tags.csv"
    files.require_ours(file)
    for content in (FOREIGN, b"", b"preset,name,a: b/c\n"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="is a file, which"):
            files.require_ours(file)


def _work(way, folder, start, over, answers):
    start.wait()
    try:
        with way(folder, "test"):
            over.wait()
            answers.put("won")
    except PyrosynthError as error:
        answers.put(str(error))


@pytest.mark.parametrize("way", [files.claim, files.whole])
def test_one_of_ten_processes_wins(tmp_path, way):
    context = multiprocessing.get_context("fork")
    start, over, answers = context.Event(), context.Event(), context.Queue()
    given = way, tmp_path / "new", start, over, answers
    processes = [context.Process(target=_work, args=given) for _ in range(10)]
    for process in processes:
        process.start()
    start.set()
    try:
        said = [answers.get(timeout=120) for _ in processes[1:]]  # the others, while it writes
    finally:
        over.set()
    assert answers.get(timeout=120) == "won"
    for process in processes:
        process.join()
    assert all("another process is writing" in line for line in said)


def test_what_a_killed_process_of_another_user_left_behind_is_named(tmp_path):
    with files.whole(tmp_path / "new", "test"):
        (room,) = tmp_path.glob(".new.*.part")
    (room / "new").mkdir(parents=True)
    room.chmod(0o555)  # its files cannot be removed without the rights of root
    again = "import sys; from pyrosynth import files\nwith files.whole(sys.argv[1], 'test'): pass"
    told = python_without_rights("-c", again, tmp_path / "new").stderr.splitlines()[-1]
    room.chmod(0o755)
    assert f"'{room}' was left behind, as by another user, and cannot be removed; delete" in told


KILLED = """
import sys, time
from pyrosynth import files
way = files.atomic(sys.argv[1]) if sys.argv[2] == "file" else files.whole(sys.argv[1], "test")
with way as new:
    (new if sys.argv[2] == "file" else new / "a").write_bytes(b"half")
    print("there", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_call_removes_what_a_kill_left(tmp_path, kind):
    target = tmp_path / "x"
    command = [sys.executable, "-c", KILLED, str(target), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        assert len(list(tmp_path.iterdir())) == 1
        with files.atomic(target) as new:  # a living process keeps its part
            new.write_bytes(b"1")
        assert len(list(tmp_path.iterdir())) == 2
        os.kill(process.pid, signal.SIGKILL)
    files.write_bytes(target, b"2")
    assert tree(tmp_path) == {"x": b"2"}
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_quicker_process_wrote_is_not_replaced(tmp_path):
    for content in (b"1", b"2"):
        with files.whole(tmp_path / "x", "test", unless="a") as new:
            (new / "b").write_bytes(content)
    with files.whole(tmp_path / "x", "test") as new:
        (new / "a").write_bytes(b"3")
    with pytest.raises(InputError, match="another process was quicker and has written"):
        files.whole(tmp_path / "x", "test", unless="a").__enter__()
    assert tree(tmp_path)["x/a"] == b"3"


def test_a_kill_between_two_renames_loses_nothing(tmp_path):
    room = tmp_path / ".site.0123456789ab.part"
    (room / "new" / "site").mkdir(parents=True)
    (room / "old" / "site").mkdir(parents=True)
    (room / "old" / "site" / "a").write_bytes(b"old")
    files.write_bytes(tmp_path / "other", b"1")
    assert room.exists()
    with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "site"):
        raise ZeroDivisionError
    assert tree(tmp_path) == {"site/a": b"old", "other": b"1"}


@pytest.mark.parametrize("text", ["", ".", "..", "...", " . "])
def test_texts_that_give_no_name(text):
    with pytest.raises(InputError, match="gives no name"):
        files.safe_name(text)


@pytest.mark.parametrize(
    "text", ["a/b", "/etc/passwd", "../..", "a\nb", "\x1b[2J", "é" * 300, "x\udcff"]
)
def test_names_are_one_harmless_part_of_a_path(text, tmp_path):
    name = files.safe_name(text)
    assert name.isprintable()
    assert "/" not in name
    assert name[0] != "."
    files.write_bytes(tmp_path / name, b"1")


def test_a_machine_without_memory_is_not_taken_for_a_bad_place(tmp_path):
    for number in (errno.EAGAIN, errno.ENOMEM):
        with (
            pytest.raises(
                InputError, match=r"short of memory.*end other programs.*x' is untouched"
            ),
            files.whole(tmp_path / "x", "test"),
        ):
            raise OSError(number, os.strerror(number))


def test_an_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    for work in (
        lambda: files.write_bytes(tmp_path / "file" / "x", b"2"),
        lambda: files.claim(tmp_path / "file" / "x", "test").__enter__(),
        lambda: files.whole(tmp_path / "file" / "x", "test").__enter__(),
    ):
        with pytest.raises(InputError, match="/file' is a file, where a folder is wanted; gi"):
            work()


def test_errors_of_object_stores_lose_what_is_only_for_their_makers():
    told = """Generic S3 error: Error performing HEAD http://host/data in 4.4s, after 10 retries, \
max_retries: 10, retry_timeout: 180s  - HTTP error: error sending request

Debug source:
Generic {
    store: "S3",
}"""
    shown = "Error performing HEAD http://host/data - HTTP error: error sending request"
    assert one_line(reason(GenericError(told))) == f"Generic S3 error: {shown}"
    assert reason(NotImplementedError()) == "NotImplementedError"


def test_an_error_names_the_place_that_was_asked_for(tmp_path):
    """Not the private one in which a folder is written until it is whole."""
    with files.whole(tmp_path / "site", "serve") as new:
        (new / "file").write_bytes(b"")
        with pytest.raises(InputError) as error:
            files.write_bytes(new / "file" / "page", b"page")
    assert str(error.value).startswith(f"'{tmp_path / 'site' / 'file'}' is a file, where a folder")


def test_messages_are_one_printable_line():
    assert one_line("a\n\x1b[31m b\udcff") == "a \\x1b[31m b\\udcff"
    error = InputError("no file '" + "x\n" * 5000 + "'; give another")
    assert len(str(error)) == LONGEST
    assert str(error).endswith("give another")
    assert str(error).isprintable()


def test_a_link_to_nowhere_is_named(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "gone" / "away")
    with pytest.raises(InputError, match=r"cannot write '.*out' \(a link to nowhere\)"):
        files.writable(tmp_path / "out")
