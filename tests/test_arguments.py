"""Arguments of the wrong type, masked or out of range: one line that says what to give."""

import sys

import numpy as np
import pytest
import torch

import pyrosynth as ps
from pyrosynth.audio import descriptors, metrics
from pyrosynth.audio.note import Note
from pyrosynth.data.bank import Bank
from pyrosynth.data.gathering import drawn_presets, gather, read_presets
from pyrosynth.data.labeling import descriptor_tags, name_tags
from pyrosynth.data.tags import Tag, TagTable, labelled, read_tags
from pyrosynth.errors import InputError, numbers
from pyrosynth.evaluation import calibration
from pyrosynth.evaluation.disentanglement import measure
from pyrosynth.evaluation.entries import attempt
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.naming import name_axes
from pyrosynth.explore.steering import move
from pyrosynth.inference.answers import Draws, Match
from pyrosynth.live.static_site import write_site
from pyrosynth.modeling import Dims, Term, build, regression_flow, with_recipe
from pyrosynth.statistics import interval
from pyrosynth.synths import from_spec
from pyrosynth.synths.amsynth import read_bank, write_bank
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import preset_array
from pyrosynth.synths.probing import probe_isolation
from pyrosynth.synths.scanning import scan
from pyrosynth.synths.subspace import Subspace
from pyrosynth.training.fit import calibrate

SPACE = ParamSpace((Param("cutoff", maximum=100.0), Param("wave", "toggle", resolution=2)))
SOUND = np.zeros(2000, np.float32)
TONE = Tag("tone", ("dark", "bright"))
VOICE = ps.load_synth("voice")
BANK = {
    "values": np.zeros((3, 2)), "names": ("a", "b", "c"), "rows": np.arange(3),
    "mean": np.zeros((4, 5), np.float32), "axes": np.zeros((2, 20), np.float32),
    "codes": np.zeros((3, 2), np.float32), "missed": np.zeros(3, np.float32),
}  # fmt: skip
MATCH = {
    "values": np.zeros((3, 2)), "x": np.zeros((3, 4, 5), np.float32), "lsd": np.zeros(3),
    "source": np.array(["bank"] * 3), "trace": np.zeros((1, 2)), "target": np.zeros((4, 5)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ParamSpace(("a",)), "one of params is str 'a'; give Param"),
        (lambda: ParamSpace(Param("a")), "params is Param .*; give a sequence"),
        (lambda: ParamSpace(None), "params is None"),
        (lambda: ParamSpace((Param("a"),), {"few": ("b",)}), "unknown parameter 'b'; known: a"),
        (lambda: ParamSpace((Param("a"),), {"few": "a"}), "a selection is str 'a'"),
        (lambda: Param(5), "parameter 5: a name is text"),
        (lambda: Param("a", unit=None), "unit of a parameter is None; give text"),
        (lambda: Param("a", "toggle", resolution=2, labels="ab"), "labels is str 'ab'; give a"),
        (lambda: Param("a", "toggle", resolution=2, labels=(1, 2)), "a label is int 1; give text"),
        (lambda: SPACE.select(5), "a selection of parameters is int 5"),
        (lambda: SPACE.select([5]), "unknown parameter selection '5'"),
        (lambda: SPACE.select([]), "unknown parameter selection ''"),
        (lambda: SPACE.index(None), "names of parameters is None"),
        (lambda: SPACE.index("wave"), "names of parameters is str 'wave'; give a list of names"),
        (lambda: SPACE.encode(SPACE.defaults, 5), "rng is int 5; give numpy.random"),
        (lambda: Subspace(SPACE, "cutoff"), "learnt controls is str 'cutoff'; give a ParamSpace"),
        (lambda: ps.Preset(5), "name of a preset is int 5"),
        (lambda: ps.Preset("a", [1, 2]), r"values of a preset is list \[1, 2\]"),
        (lambda: ps.Preset("a").array(VOICE), "parameters is Voice .*; give a ParamSpace"),
        (lambda: ps.Preset.from_array(VOICE, [1]), "parameters is Voice .*; give a ParamSpace"),
        (lambda: ps.Preset.from_array(SPACE, "ab"), "values that are no numbers"),
        (lambda: ps.Preset.from_array(SPACE, [1j, 0]), "no numbers .complex 1j"),
        (lambda: ps.Preset.from_array(SPACE, [np.nan, 0]), "'cutoff' is not a finite number"),
        (lambda: Tag(5, ("a", "b")), "name of a tag is int 5; give text"),
        (lambda: Tag("tone", "dark"), "classes of tag 'tone' is str 'dark'; give a list"),
        (lambda: Tag("tone", (1, 2)), "a class of tag 'tone' is int 1; give text"),
        (lambda: Tag.parse(5), "a tag is int 5; give text"),
        (lambda: TagTable(("tone",), np.ones((2, 1, 2), bool)), "one of tags is str 'tone'"),
        (lambda: TagTable((TONE,), np.ones((2, 2), bool)), r"shape \(2, 2\); give booleans"),
        (lambda: TagTable((TONE,), np.ones((2, 1, 2))), "label_mask holds float64"),
        (lambda: labelled((TONE,), ["dark"]), "labels that are no numbers"),
        (lambda: labelled((TONE,), [[1]]).hide("half"), "to hide 'half': give a number from 0"),
        (lambda: Dims("many", (8, 11)), "n_params 'many': give an integer"),
        (lambda: Dims(4, 8), "x_shape is int 8"),
        (lambda: Dims(4, (8, 11), (16,)), "sizes that do not fit"),
        (lambda: ps.Posterior("run"), "run is str 'run'; give a run, or take Posterior.load"),
        (lambda: LatentSpace("run"), "posterior is str 'run'; give Posterior.load"),
        (lambda: ps.Renderer("voice", ps.Note(), 22050), "synth is str 'voice'; give a synth"),
        (lambda: ps.Renderer(VOICE, 60, 22050), "note is int 60; give a Note"),
        (lambda: ps.render_dataset("voice", "data"), "synth is str 'voice'; give a synth"),
        (lambda: ps.render_dataset(VOICE, "data", note=60), "note is int 60; give a Note"),
        (lambda: ps.render_dataset(VOICE, "data", presets=["a"]), "one of the presets is str 'a'"),
        (
            lambda: ps.render_dataset(VOICE, "data", presets="bank.json"),
            "^presets is str 'bank.json'; give a list of Preset",
        ),
        (lambda: ps.render_dataset(VOICE, "data", presets=[]), "^0 presets were given; give some"),
        (lambda: [*scan("synth.so")], "^paths is str 'synth.so'; give a list of files"),
        (
            lambda: describe(VOICE, "voice.json", use="wave"),
            "^names of parameters is str 'wave'; give a list of names",
        ),
        (
            lambda: ps.render_dataset(VOICE, "data", presets=np.zeros((4, 32))),
            "presets is ndarray .*; give a list of Preset",
        ),
        (
            lambda: SPACE.select(np.array(["cutoff", "level"])),
            "unknown parameter 'level'; known: cutoff, wave",
        ),
        (lambda: ps.fit("npe", "data", "run"), "dataset is str 'data'; give a dataset"),
        (lambda: ps.infer_sounds("run", ["a.wav"], "out"), "posterior is str 'run'"),
        (lambda: ps.check("run", "data", "out"), "posterior is str 'run'"),
        (lambda: ps.compare("data", "out"), "dataset is str 'data'; give a dataset"),
        (lambda: from_spec(5), "description of a synth is int 5"),
        (lambda: Bank(**{**BANK, "values": "x"}), "values of a bank is str 'x'; give an array"),
        (lambda: Bank(**{**BANK, "missed": np.zeros(2)}), r"missed of a bank have .* shape \(3\)"),
        (lambda: Bank(**{**BANK, "axes": np.zeros((2, 19))}), r"give one of shape \(2, 20\)"),
        (
            lambda: Bank(**{**BANK, "missed": np.full(3, np.nan)}),
            "missed of a bank are not all fin",
        ),
        (lambda: Bank(**{**BANK, "names": ("a",)}), "1 name for a bank of 3 presets; give one"),
        (lambda: Match(**{**MATCH, "lsd": np.zeros(2)}), r"x of a match .* shape \(2, 4, 5\)"),
        (lambda: Match(**{**MATCH, "trace": np.zeros((0, 2))}), "a match of no presets"),
        (lambda: Match(**MATCH, posterior="run"), "posterior of a match is str 'run'; give Post"),
        (lambda: Draws(*[None] * 5), "posterior of draws is None; give Posterior.load"),
        (lambda: ParamSpace.from_json({}), "describes no parameters .it has no 'params'."),
        (lambda: ParamSpace.from_json({"params": [5]}), "description of a parameter is int 5"),
        (lambda: Param.from_json({}), "parameter None: a name is text"),
        (lambda: Param("a", resolution=10**30), "has the resolution 10+"),
        (lambda: Param("a", minimum=-1e308, maximum=1e308), "is empty or infinite"),
        (lambda: Term(5), "name of a term is int 5; give text"),
        (lambda: Term("a", "xv"), "sites of term 'a' is str 'xv'; give a tuple of names"),
        (lambda: Term("a", given="x"), "given of term 'a' is str 'x'; give a tuple of names"),
        (lambda: Term("a", weight=np.nan), "weight of term 'a' nan: give a number"),
        (lambda: Term("a", weight=lambda step: "x").at(3), "at step 3 'x': give a number"),
        (lambda: Term("a", score=5), "score of term 'a' is no function"),
        (lambda: ps.FeatureSpec.from_json({"mels": 3}), "unknown setting of features 'mels'"),
        (lambda: ps.FeatureSpec.from_json(None), "description of features is None"),
        (lambda: ps.FeatureSpec(floor=1e-300), "floor 1e-300: it is a power; give a number from"),
        (lambda: ps.FeatureSpec()(np.zeros(0)), "holds no samples; give a sound"),
        (lambda: ps.load_audio(b"RIFF", 22050), "sound file is bytes b'RIFF'; give the path"),
        (lambda: ps.load_audio(SOUND, 22050), r"sound file is ndarray array\(.*; give the path"),
        (lambda: ps.save_audio(SOUND, "s.wav", 22050), "file is ndarray .*; give the path of"),
        (
            lambda: ps.save_audio("s.mp3", SOUND, 22050),
            "'s.mp3': WAV is .*; give a name that ends",
        ),
        (lambda: ps.save_audio("s", SOUND, 22050), "'s': WAV is what is written; give a name"),
        (lambda: read_tags({"tone": [1]}, None), r"file of tags is dict .*; give the path"),
        (lambda: descriptors.describe(SOUND, 22050), "spec is int 22050; give a FeatureSpec"),
        (lambda: ps.FeatureSpec().shape(-5), "n_samples -5: give an integer of at least 0"),
    ],
)
def test_arguments_of_another_type_are_one_line(make, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        make()
    assert not list(tmp_path.iterdir())


def test_values_far_outside_their_ranges_are_refused():
    """A preset of another synth or in other units is not clamped to one that nobody made."""
    message = "'cutoff' is 5000, outside its range from 0 to 100"
    for take in (
        ps.Preset("a", {"cutoff": 5000.0}).array,
        lambda space: ps.Preset.from_array(space, [5000.0, 1.0]),
        lambda space: space.within([[5.0, 1.0], [5000.0, 1.0]]),
    ):
        with pytest.raises(InputError, match=message):
            take(SPACE)
    rounded = ps.Preset("a", {"cutoff": 100.5})
    assert rounded.array(SPACE)[0] == 100.5
    assert ps.Preset("a", {"cutoff": 5000.0}).array(SPACE, clamp=True)[0] == 100.0
    values = np.tile(VOICE.param_space.defaults, (2, 1))
    values[1, 3] = 1e6
    with (
        ps.Renderer(VOICE, ps.Note(), 22050, workers=1) as renderer,
        pytest.raises(InputError, match="'osc2_waveform' is 1e[+]06, outside its range"),
    ):
        renderer.render(values)


@pytest.mark.parametrize("nested", [False, True])
def test_masked_values_are_refused(nested):
    """NumPy would take what lies under the mask for data."""
    masked = np.ma.masked_invalid([0.5, np.nan] * 1024)
    given = [masked, masked] if nested else masked
    sounds = np.ma.stack([masked, masked]) if nested else masked
    for take in (
        lambda: numbers("numbers", given), lambda: descriptors.describe(sounds, ps.FeatureSpec()),
        lambda: ps.FeatureSpec()(sounds), lambda: metrics.log_distance(sounds, sounds),
        lambda: interval(sounds), lambda: SPACE.to_unit(given),
        lambda: ps.Preset.from_array(SPACE, given), lambda: labelled((TONE,), given),
    ):  # fmt: skip
        with pytest.raises(InputError, match="some are masked, and a mask would be lost; fill"):
            take()
    assert numbers("numbers", np.ma.masked_invalid([0.5, 1.0])).tolist() == [0.5, 1.0]
    assert numbers("numbers", torch.ones(2, requires_grad=True)).tolist() == [1.0, 1.0]


def test_objects_are_asked_for_where_a_path_or_another_object_is_given():
    """Functions that take a dataset, a synth, tags, a latent space or a live run."""
    posterior = ps.Posterior.load("amsynth")
    rng = np.random.default_rng(0)
    for wrong, message in (
        (lambda: descriptor_tags("data"), "dataset is str 'data'; give a dataset, such as open"),
        (lambda: name_tags("data"), "dataset is str 'data'; give a dataset, such as open"),
        (lambda: calibrate(posterior.run, "data"), "dataset is str 'data'; give a dataset"),
        (lambda: measure(posterior.run, "data", None), "dataset is str 'data'; give a dataset"),
        (lambda: ps.check(posterior, "data", "out"), "dataset is str 'data'; give a dataset"),
        (lambda: name_axes(posterior, "data", None), "dataset is str 'data'; give a dataset"),
        (lambda: gather("voice"), "synth is str 'voice'; give a synth, such as load_synth"),
        (lambda: gather(VOICE, "p0.json"), "files is str 'p0.json'; give a list of paths"),
        (lambda: read_presets("voice", "p.json"), "synth is str 'voice'; give a synth"),
        (lambda: drawn_presets("voice", 4), "synth is str 'voice'; give a synth"),
        (
            lambda: probe_isolation("voice", Note(), 22050, []),
            "synth is str 'voice'; give a synth",
        ),
        (
            lambda: move(posterior, None, SOUND),
            r"space is Posterior .*give LatentSpace\(posterior",
        ),
        (
            lambda: write_site(posterior, "amsynth", "site"),
            r"live is Posterior .*give Live\(Posterior.load",
        ),
        (lambda: calibration.ranks(SOUND[None], SOUND, 0), "rng is int 0; give np.random"),
        (lambda: calibration.ranks(np.zeros((3, 9, 2)), np.zeros((9, 3)), rng), "of ranks"),
        (lambda: calibration.expected_range(0.9, 0), "n 0: give an integer from 1 to"),
        (lambda: calibration.central_coverage(np.zeros((4, 2)), 90), "level is a share; 90: give"),
        (lambda: calibration.central_coverage(np.zeros((4, 2)), [0.5, 0.9]), "level is a share;"),
        (
            lambda: measure(posterior, None, None),
            "run is Posterior .*give a run, such as load_run",
        ),
        (lambda: calibrate(posterior, None), "run is Posterior .*give a run, such as load_run"),
        (
            lambda: describe(VOICE, "v.json", notes="C4"),
            "notes is str 'C4'; give a Note, or a list",
        ),
        (lambda: describe(VOICE, None), "out is None; give the path"),
        (lambda: drawn_presets(VOICE, 2**70), "presets to draw 1180591620717411303424: give an"),
        (lambda: write_bank("b", ps.Preset("a", {})), "presets is Preset .*give a list of Preset"),
        (
            lambda: write_bank([ps.Preset("a", {})], "b"),
            "presets is str 'b'; give a list of Preset",
        ),
        (lambda: preset_array([], SPACE), "presets: none; give one or more"),
        (lambda: read_bank(["b"]), r"bank file is list \['b'\]; give the path"),
        (lambda: calibration.coverage_table(np.zeros((4, 2)), "abc"), "ranks of coverage"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()


def test_a_variant_is_built_of_a_class_and_a_dictionary():
    model, dims = ps.load_model("flow_reg"), Dims(4, (8, 8))
    for wrong, message in (
        (lambda: build(None, dims, {}), "variant is None; give a class of variants"),
        (lambda: build(model, dims, None), "options is None; give a dictionary"),
        (lambda: with_recipe(model, "paper"), "options is str 'paper'; give a dictionary"),
        (lambda: regression_flow(4, kind=None), "unknown kind of flow 'None'; known: spline"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()


def test_a_model_that_ends_the_process_is_one_that_fails():
    class Leaves(ps.load_model("mlp")):
        def __init__(self, dims):
            sys.exit(0)

    with pytest.raises(InputError, match=r"Leaves does not start.*\(SystemExit: 0\); correct its"):
        build(Leaves, Dims(4, (8, 8)), {})
    assert attempt(sys.exit).reason == "SystemExit"


def test_arrays_serve_where_tensors_do():
    run = ps.Posterior.load("amsynth").run
    x = np.zeros((2, *run.mean.shape), np.float32)
    assert torch.equal(run.standardise(x), run.standardise(torch.from_numpy(x)))
    assert torch.equal(run.unstandardise(x), run.unstandardise(torch.from_numpy(x)))


def test_presets_may_be_keys():
    preset = ps.Preset("warm", {"cutoff": 0.5})
    assert {preset: 1}[ps.Preset("warm", {"cutoff": 0.5})] == 1
    assert len({preset, ps.Preset("warm", {"cutoff": 0.6})}) == 2


@pytest.mark.parametrize("given", ["mlp ", "\tmlp", "mlp\n", "mlp\u00a0"])
def test_a_name_that_is_known_but_for_blanks_says_so(given):
    with pytest.raises(ps.PyrosynthError, match="unknown model 'mlp' with blanks .*; known: mlp,"):
        ps.load_model(given)


def test_tensors_without_numbers_are_refused_in_a_line():
    inside = torch.func.vmap(lambda row: torch.tensor(numbers("row", row)))
    with pytest.raises(InputError, match="row: a tensor whose numbers cannot .*; give a plain"):
        inside(torch.ones(3, 2))
    with pytest.raises(InputError, match="row: a tensor whose numbers cannot .*; give a plain"):
        numbers("row", torch.ones(3, device="meta"))
