"""Every reader, fed with seeded mutants of small real files: one short line, or a right answer."""

import asyncio
import hashlib
import io
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
import torch
from aiohttp.test_utils import TestClient, TestServer
from mutants import json_mutants, mutants
from small import small_run

from pyrosynth.audio.io import load_audio
from pyrosynth.cli.app import main
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.gathering import gather
from pyrosynth.data.labeling import default_tags
from pyrosynth.data.tags import read_tags, write_tags
from pyrosynth.errors import LONGEST, PyrosynthError
from pyrosynth.evaluation.cache import read_arrays, write_arrays
from pyrosynth.files import MARK, claim, require_same, whole
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live import osc_packets
from pyrosynth.live.engine import Live
from pyrosynth.live.messages import MESSAGES
from pyrosynth.live.protocol import Session
from pyrosynth.live.web import Site
from pyrosynth.synths.amsynth import read_bank, write_bank
from pyrosynth.synths.amsynth_params import SPACE
from pyrosynth.synths.catalog import load_synth
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.presets import Preset
from pyrosynth.training.state import TrainingState
from pyrosynth.training.zoo import load_model, source

RATE = 22050
MOST_SECONDS = 10.0  # of work for one mutant
MOST_BYTES = 2**30  # of address space beyond what the tests had before
MORE = int(os.environ.get("PYROSYNTH_FUZZ", "1"))  # times as many mutants


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    small_run(folder)
    return folder


def allow(seconds):
    """Allow so many seconds of work from now on, or a hundred times that of waiting; 0 for any."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 100 * seconds)


@pytest.fixture(autouse=True)
def limits():
    """Let a reader that wants too much memory or time fail."""

    def hang(*_):
        raise AssertionError(f"more than {MOST_SECONDS} s for one mutant")

    handlers = {number: signal.signal(number, hang) for number in (signal.SIGPROF, signal.SIGALRM)}
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    used = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (used, before[1]))
    try:
        yield
    finally:
        allow(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def is_short_line(text):
    return 0 < len(text) <= LONGEST and text.isprintable()


class Tried:
    """Runs a reader on mutants, counts what came of them, and keeps what must not come."""

    def __init__(self):
        self.read, self.refused, self.faults = 0, 0, []

    def __call__(self, read, right, what):
        allow(MOST_SECONDS)
        try:
            answer = read()
        except PyrosynthError as error:
            self.refused += 1
            if not is_short_line(str(error)):
                self.faults.append(f"{what}: no short line: {error!r}")
        except BaseException as error:
            self.faults.append(f"{what}: {error!r}"[:500])
        else:
            self.read += 1
            try:
                right(answer)
            except BaseException as error:
                self.faults.append(f"{what}: read, but not right: {error!r}"[:500])
        finally:
            allow(0)


@pytest.fixture
def tried():
    tried = Tried()
    yield tried
    assert not tried.faults, "\n".join([f"{len(tried.faults)} faults", *tried.faults[:40]])


def both(content, n, seed=0):
    """Mutants of the bytes of a JSON file, and of its values."""
    yield from mutants(content, n // 2, seed)
    yield from json_mutants(content, n - n // 2, seed)


# Sounds


def tone():
    time = np.arange(RATE // 2) / RATE
    return (0.5 * np.sin(2 * np.pi * 262 * time) * np.exp(-3 * time)).astype(np.float32)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_24"), ("CAF", "ALAC_16"),
        ("W64", "PCM_16"), ("RF64", "PCM_16"),
    ],
)  # fmt: skip
def test_sounds(tmp_path, tried, format, subtype):
    content = io.BytesIO()
    soundfile.write(content, np.stack([tone(), tone()], 1), RATE, subtype, format=format)
    file = tmp_path / f"sound.{format.lower()}"

    def right(audio):
        assert audio.dtype == np.float32
        assert audio.ndim == 1
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() > 0

    for i, mutant in enumerate(mutants(content.getvalue(), 30 * MORE)):
        file.write_bytes(mutant)
        tried(lambda: load_audio(file, RATE), right, f"{format} {i}")
    assert tried.refused


# Presets, banks and tags


def test_presets(tmp_path, tried):
    file, again = tmp_path / "preset.json", tmp_path / "again.json"
    Preset("warm pad", {p.name: p.default for p in SPACE.params}, "mine").save(file, "amsynth")

    def right(preset):
        assert np.isfinite(preset.array(SPACE)).all()
        preset.save(again, "amsynth")
        assert Preset.load(again) == preset

    def read():
        preset = Preset.load(file)
        preset.array(SPACE)
        return preset

    for i, mutant in enumerate(both(file.read_bytes(), 100 * MORE)):
        file.write_bytes(mutant)
        tried(read, right, f"preset {i}")
    assert tried.refused
    assert tried.read


@pytest.mark.parametrize("kind", ["bank", "preset"])
def test_banks_of_amsynth(tmp_path, tried, kind):
    file, again = tmp_path / "mine.bank", tmp_path / "again.bank"
    presets = [Preset(name, {p.name: p.default for p in SPACE.params}) for name in "abc"]
    write_bank(file, presets[: 3 if kind == "bank" else 1])
    content = file.read_bytes()
    if kind == "preset":
        content = content.replace(b"amSynth\n", b"amSynth1.0preset\n")

    def right(presets):
        values = [preset.array(SPACE, clamp=True) for preset in presets]  # as amsynth takes them
        write_bank(again, [Preset.from_array(SPACE, row, "same") for row in values])
        for row, same in zip(values, read_bank(again), strict=True):
            assert (row == same.array(SPACE)).all()

    for i, mutant in enumerate(mutants(content, 60 * MORE)):
        file.write_bytes(mutant)
        tried(lambda: read_bank(file), right, f"bank {i}")
    assert tried.refused
    assert tried.read


def test_tags(here, tmp_path, tried):
    dataset = open_dataset(here / "data")
    file, again = tmp_path / "tags.csv", tmp_path / "again.csv"
    write_tags(file, default_tags(dataset, progress=False), dataset)
    human = dataset.rows("all", human_only=True)

    def right(table):
        assert len(table) == len(dataset)
        write_tags(again, table, dataset)
        assert read_tags(again, dataset).tags == table.tags
        same = read_tags(again, dataset).label_mask[human]
        assert (same == table.label_mask[human]).all()

    for i, mutant in enumerate(mutants(file.read_bytes(), 100 * MORE)):
        file.write_bytes(mutant)
        tried(lambda: read_tags(file, dataset), right, f"tags {i}")
    assert tried.refused
    assert tried.read


# Runs


def signed(folder):
    """Write the hashes of a run anew, as somebody would who wants a mutant to be taken."""
    try:
        facts = json.loads((folder / "run.json").read_text())
        facts.pop("sha256")
        for name in facts["files"]:
            facts["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        text = json.dumps(facts, sort_keys=True)
        facts["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "run.json").write_text(json.dumps(facts, indent=1))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, OSError):
        pass


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize(
    ("name", "n"),
    [("run.json", 80), ("weights.safetensors", 30), ("variant.py", 20), ("bank.safetensors", 20)],
)
def test_runs(here, tmp_path, tried, name, n, sign):
    folder = shutil.copytree(here / "run", tmp_path / "run")
    content = (folder / name).read_bytes()
    posterior = Posterior.load(folder)
    x = posterior.bank.sounds([0])[0]
    held = {"draws": posterior.sample(x, 2).values, "near": posterior.bank.nearest(x[None])[0]}

    def read():
        posterior = Posterior.load(folder)
        repr(posterior)
        posterior.synth  # noqa: B018
        if name == "variant.py" and sign:  # what somebody else's code computes is theirs
            return posterior, {}
        shape = posterior.run.features.shape(
            posterior.run.note.n_samples(posterior.run.features.sample_rate)
        )
        sound = x if x.shape == shape else np.zeros(shape, np.float32)
        found = {"draws": posterior.sample(sound, 2).values}
        if posterior.bank:
            found["near"] = posterior.bank.nearest(sound[None])[0]
        return posterior, found

    def right(answer):
        posterior, found = answer
        assert posterior.bank is not None
        for key, value in found.items():
            assert np.isfinite(value).all()
            if not sign:
                assert (value == held[key]).all()

    make = both if name == "run.json" else mutants
    for i, mutant in enumerate(make(content, n * MORE)):
        (folder / name).write_bytes(mutant)
        if sign:
            signed(folder)
        tried(read, right, f"{name} {i}")
        shutil.copy(here / "run" / "run.json", folder / "run.json")
    assert tried.refused


def test_checkpoints(tmp_path, tried):
    file = tmp_path / "checkpoint.safetensors"

    def state():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return TrainingState(model, torch.optim.Adam(model.parameters()), {"seed": 0}, file)

    first = state()
    first.variant(torch.ones(3)).sum().backward()
    first.optimiser.step()
    first.step = 7
    first.save()
    held = first.variant.state_dict()

    def read():
        again = state()
        again.restore(True, torch.device("cpu"))
        return again

    def right(again):
        assert again.step == 7
        assert all((again.variant.state_dict()[key] == held[key]).all() for key in held)

    content = file.read_bytes()
    for i, mutant in enumerate(mutants(content, 60 * MORE)):
        file.write_bytes(mutant)
        tried(read, right, f"checkpoint {i}")
    assert tried.refused


def test_files_of_models(tmp_path, tried):
    for i, mutant in enumerate(mutants(source("mlp").encode(), 30 * MORE)):
        file = tmp_path / f"model{i}.py"
        file.write_bytes(mutant)
        tried(lambda file=file: load_model(file), lambda model: model.__name__, f"model {i}")
    assert tried.refused


def test_banks(here, tmp_path, tried):
    file = tmp_path / "bank.safetensors"
    content = (here / "run" / "bank.safetensors").read_bytes()
    x = Bank.load(here / "run" / "bank.safetensors").sounds([0])

    def right(bank):
        found, lsd = bank.nearest(x)
        assert np.isfinite(lsd).all()
        assert len(bank.names) == len(bank.values) == len(bank)
        repr(bank)

    header = 8 + int.from_bytes(content[:8], "little")
    for i, mutant in enumerate(mutants(content, 40 * MORE)):
        file.write_bytes(mutant)
        tried(lambda: Bank.load(file), right, f"bank {i}")
    for i, mutant in enumerate(both(content[8:header], 40 * MORE)):
        file.write_bytes(len(mutant).to_bytes(8, "little") + mutant + content[header:])
        tried(lambda: Bank.load(file), right, f"bank header {i}")
    assert tried.refused


# Datasets


def test_datasets(here, tmp_path, tried):
    folder = shutil.copytree(here / "data", tmp_path / "data")

    def read():
        data = open_dataset(folder)
        rows = data.rows("all")
        repr(data)
        return [
            data.x(rows), data.values(rows), data.levels(rows), data.mean, data.std,
            data.names(rows), data.banks(rows), data.cluster, data.split,
            data.audio(data.rows("all", human_only=True)),
        ]  # fmt: skip

    held = read()

    def same(answer):
        for one, other in zip(answer, held, strict=True):
            np.testing.assert_array_equal(one, other)

    def alike(answer):
        assert len(answer[0]) == len(answer[1])
        assert np.isfinite(answer[0]).all()

    for file in sorted(folder.rglob("zarr.json")):
        content = file.read_bytes()
        for i, mutant in enumerate(both(content, (60 if file.parent == folder else 6) * MORE)):
            file.write_bytes(mutant)
            tried(read, alike, f"{file.relative_to(folder)} {i}")
        file.write_bytes(content)
    for name in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        file = next(f for f in sorted((folder / name / "c").rglob("*")) if f.is_file())
        content = file.read_bytes()
        for i, mutant in enumerate(mutants(content, 6 * MORE)):
            file.write_bytes(mutant)
            tried(read, same, f"{file.relative_to(folder)} {i}")
        file.write_bytes(content)
    assert tried.refused


# Cached scores


def test_cached_scores(tmp_path, tried):
    file = tmp_path / "000001.npz"
    arrays = {"lsd": np.arange(40.0), "source": np.array("cma"), "failed": np.zeros(4, bool)}
    write_arrays(file, arrays)
    content = file.read_bytes()

    def right(answer):
        assert answer is None or all((answer[key] == arrays[key]).all() for key in arrays)

    for i, mutant in enumerate(mutants(content, 60 * MORE)):
        file.write_bytes(mutant)
        tried(lambda: read_arrays(file), right, f"scores {i}")


# Marks of folders of results


@pytest.mark.parametrize("way", [claim, whole])
def test_marks(tmp_path, tried, way):
    folder = tmp_path / "out"
    with whole(folder, "test") as new:
        (new / "table.csv").write_bytes(b"1")
    content = (folder / MARK).read_bytes()

    def read():
        with way(folder, "test") as place:
            if way is claim:
                require_same(place, {"seed": 0})

    for i, mutant in enumerate(both(content, 60 * MORE)):
        folder.mkdir(exist_ok=True)
        (folder / "mine.wav").write_bytes(b"2")
        (folder / MARK).write_bytes(mutant)
        tried(read, lambda _: None, f"mark {i}")
        assert (folder / "mine.wav").read_bytes() == b"2"


# The network


@pytest.fixture(scope="module")
def live(here):
    with Live(Posterior.load(here / "run")) as live:
        live.render(live.known(0))
        yield live


def test_osc(live, tmp_path, tried):
    sent = [
        osc_packets.write(*message)
        for message in (
            ("/load", [live.space.names[0]]), ("/decode", ["brightness", 1.0, "pc1", -1]),
            ("/z", live.space.z[0].tolist()), ("/presets", [0, 10]), ("/near", [3]),
            ("/path/play", [0.5]), ("/random", [7]), ("/param", ["cutoff"]),
        )
    ]  # fmt: skip
    bundle = b"#bundle\0" + bytes(7) + b"\1"
    sent.append(bundle + b"".join(len(part).to_bytes(4, "big") + part for part in sent[:3]))
    session = Session(live, str(tmp_path))

    def read(data):
        parts = osc_packets.read(data)[1]
        good = [part for part in parts if isinstance(part, tuple)]
        if parts and not good:
            raise PyrosynthError(str(parts[0]))
        return good

    def right(parts):
        for address, arguments in parts:
            if address in MESSAGES and MESSAGES[address].slow:
                continue
            try:
                replies = session.answer(address, arguments)
            except PyrosynthError as error:
                replies = [("/error", [address, str(error)])]
            for reply in replies:
                osc_packets.write(*reply)
            assert np.isfinite(session.place.z).all()

    for j, content in enumerate(sent):
        for i, mutant in enumerate(mutants(content, 20 * MORE, seed=j)):
            tried(lambda mutant=mutant: read(mutant), right, f"OSC {j} {i}")
    assert tried.refused
    assert tried.read


def test_files_without_an_end(here, tried):
    dataset = open_dataset(here / "data")
    for read in (
        read_bank, Preset.load, lambda file: read_tags(file, dataset), load_model, Bank.load,
        open_dataset, Posterior.load, lambda file: load_audio(file, RATE),
    ):  # fmt: skip
        tried(lambda read=read: read(Path("/dev/zero")), lambda found: 1 / (found is None), "zero")
    assert tried.refused >= 8


def test_pipes_that_nobody_writes_to_are_not_awaited(here, tried, tmp_path):
    dataset, voice = open_dataset(here / "data"), load_synth("voice")
    shutil.copytree(here / "run", tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    inside = ("zarr.json", "x/zarr.json", "x/c/0/0/0", "status/c/0")
    for i, name in enumerate(inside):
        folder = shutil.copytree(here / "data", tmp_path / f"data{i}")
        (folder / name).unlink()
        os.mkfifo(folder / name)
    names = ("pipe", "pipe.json", "pipe.csv", "pipe.py", "run/run.json")
    for name in names:
        os.mkfifo(tmp_path / name)
    pipe, json_pipe, csv_pipe, code, facts = (tmp_path / name for name in names)
    for call in (
        lambda: read_bank(pipe), lambda: Preset.load(pipe), lambda: read_tags(pipe, dataset),
        lambda: load_model(code), lambda: Bank.load(pipe), lambda: open_dataset(pipe),
        lambda: load_audio(pipe, RATE), lambda: Posterior.load(facts.parent),
        lambda: load_synth(json_pipe), lambda: gather(voice, [csv_pipe], progress=False),
        lambda: gather(voice, [json_pipe], progress=False),
        lambda: load_synth(f"{pipe}#x"),
        lambda: open_dataset(tmp_path / "data0"),
        lambda: open_dataset(tmp_path / "data1"),
        lambda: open_dataset(tmp_path / "data2").x([0]),
        lambda: open_dataset(tmp_path / "data3"),
        lambda: describe(voice, json_pipe, force=True, progress=False),
    ):  # fmt: skip
        tried(call, lambda found: 1 / (found is None), "pipe")
    allow(0.05)
    assert read_arrays(pipe) is None
    assert tried.refused >= 17


def test_http(live, tmp_path):
    z, values = live.space.z[0].tolist(), live.known(0).tolist()
    sound = io.BytesIO()
    soundfile.write(sound, tone(), RATE, format="FLAC")
    questions = [
        ("/api/point", json.dumps({"preset": 1}).encode()),
        ("/api/point", json.dumps({"z": z, "to": {"brightness": 1.0}}).encode()),
        ("/api/point", json.dumps({"path": [[0.1, 0.2], [0.9, 0.5]]}).encode()),
        ("/api/file", json.dumps({"values": values, "name": "mine", "format": "json"}).encode()),
        ("/api/sound", json.dumps({"values": values}).encode()),
    ]

    faults = []
    few = urlencode({"asked": json.dumps({"name": "x", "budget": 1})})

    async def run():
        server = TestServer(Site(live, "small").app())
        await server.start_server(auto_decompress=False)  # as `serve` starts it
        async with TestClient(server) as client:

            async def ask(what, path, content):
                async with client.post(path, data=content) as response:
                    body = await response.read()
                    line = json.loads(body)["error"] if response.status == 400 else "x"
                    if response.status not in (200, 400) or not is_short_line(line):
                        faults.append(f"{what}: {response.status} {body[:300]!r}")
                return response.status

            said = []
            for j, (path, content) in enumerate(questions):
                n = (10 if path == "/api/sound" else 30) * MORE
                for i, mutant in enumerate(both(content, n, seed=j)):
                    said.append(await ask(f"{path} {j} {i}", path, mutant))
            for i, mutant in enumerate(mutants(sound.getvalue(), 20 * MORE)):
                said.append(await ask(f"search {i}", f"/api/search?{few}", mutant))
            packed = {"Content-Encoding": "gzip"}
            async with client.post("/api/point", data=b"no gzip", headers=packed) as response:
                assert response.status == 400
                assert is_short_line((await response.json())["error"])
            assert await ask("still there", "/api/point", b'{"preset": 1}') == 200
            return said

    said = asyncio.run(run())
    assert not faults, "\n".join(faults[:40])
    assert 200 in said
    assert 400 in said


# The command line


def test_the_command_line(here, tmp_path, capsys):
    file = tmp_path / "sound.flac"
    content = io.BytesIO()
    soundfile.write(content, tone(), RATE, format="FLAC")
    file.write_bytes(content.getvalue()[:100])
    folder = shutil.copytree(here / "data", tmp_path / "data")
    (folder / "zarr.json").write_bytes(next(json_mutants((folder / "zarr.json").read_bytes(), 1)))
    run = shutil.copytree(here / "run", tmp_path / "run")
    (run / "run.json").write_bytes(next(mutants((run / "run.json").read_bytes(), 1)))
    for command in (
        ["infer", here / "run", file],
        ["infer", run, file],
        ["fit", "mlp", folder],
        ["fit", "mlp", here / "data", "--set", "hidden=" + "[" * 100_000],
        ["fit", "mlp", here / "data", "--set", "hidden=" + "9" * 5000],
        ["check", run],
    ):
        capsys.readouterr()
        assert main([*map(str, command), "--out", str(tmp_path / "out")]) == 2
        out, error = capsys.readouterr()
        line = error.strip().splitlines()[-1].removeprefix("pyrosynth: ")
        assert is_short_line(line)
