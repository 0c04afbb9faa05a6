"""Each argument of the public functions, one at a time, of another type: a line, or an answer."""

import inspect
import io
import itertools
from decimal import Decimal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from plain import PLAIN
from small import small_run

import pyrosynth as ps
from pyrosynth import explore, plots, statistics
from pyrosynth.audio import descriptors, metrics
from pyrosynth.data import labeling, tags
from pyrosynth.errors import PyrosynthError
from pyrosynth.evaluation import calibration, figures, targets
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.morphing import PresetPath
from pyrosynth.inference import arviz, hearing
from pyrosynth.synths import amsynth, from_spec
from pyrosynth.synths.probing import probe_isolation
from pyrosynth.training import zoo

# What is given for a flag is true or false in Python whatever it is.
FLAGS = {"half", "augmented", "human_only", "own_level", "keep_audio", "progress"}
VARIADIC = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
RNG = np.random.default_rng(0)


def wrong(held):
    """Return objects of every kind that somebody may have at hand."""
    return [
        None, "text", "", -1, 2**70, float("nan"), [], {}, b"x", object(), [None], ["text"],
        [[1], [1, 2]], np.zeros(3), np.array(["a"]), np.array(5.0), torch.zeros(3), 1j,
        pd.DataFrame({"a": [1]}), "é" * 200, io.BytesIO(b"x"),
        Decimal("1.5"), *held,
    ]  # fmt: skip


def spoilt(array):
    """Return an array of numbers with other shapes, and with what is no number any more."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.ndim:
        return []
    return [
        array[:0], array[None], array[..., :-1], array + 1j, array.astype(object),
        torch.tensor(array, requires_grad=True), array.tolist(), np.full_like(array, np.nan),
    ]  # fmt: skip


def calls(folder, dataset, posterior, renderer):
    """Yield public functions, each with arguments that are right, and what is left at hand."""
    run, synth, space = posterior.run, ps.load_synth(PLAIN), posterior.run.space
    rows = dataset.rows("test")[:6]
    names = list(dataset.names(dataset.rows("train", human_only=True)[:3]))
    x, values, spec = dataset.x(rows), dataset.values(rows), run.features
    draws = posterior.sample(x[0], 8)
    unit, levels = RNG.random((8, 6, 16)), RNG.random((6, 16))
    presets = synth.presets()[:3]
    latent = LatentSpace(posterior)
    places = [latent.place(name) for name in names]
    path = PresetPath.through(latent, places, "latent")
    ranking = explore.rank_axes(posterior, ["pc1"], centers=2)
    audio = np.sin(np.arange(2 * 11025) / 7, dtype=np.float32).reshape(2, -1)
    sound = folder / "a.wav"
    ps.save_audio(sound, audio[0], spec.sample_rate)
    found = calibration.Calibration(levels, {"TARP": levels[:, :2]})
    numbers = descriptors.describe(audio, spec)
    table = labeling.descriptor_tags(dataset, progress=False)
    groups = arviz.label_draws(draws, "a")
    ways = hearing.hear(posterior, sound)
    tags.write_tags(folder / "tags.csv", table, dataset)
    new = (folder / f"new {i}" for i in itertools.count())
    yield [run, posterior, dataset, synth, draws, presets[0], table, renderer, latent]
    yield from [
        (ps.Bank.from_dataset, (dataset,)), (posterior.bank.first, (3, 2)),
        (posterior.bank.nearest, (x, 2)), (posterior.bank.sounds, ([0, 1],)),
        (dataset.x, (rows,)), (dataset.values, (rows,)), (dataset.names, (rows,)),
        (dataset.rows, ("test",)), (draws.region_holds, (draws.values[:2], 0.9)),
        (draws.to_inference_data, ("a", dataset.x(np.repeat(rows[:1], 8)))),
        (ps.Draws, (draws.v, draws.values, draws.log_q, draws.x, posterior)),
        (spec.mel, (audio,)), (spec.shape, (5000,)), (ps.FeatureSpec.from_json, (spec.to_json(),)),
        (ps.Param, ("a", "continuous", 0.0, 1.0)), (ps.ParamSpace, (space.params,)),
        (space.encode, (posterior.learnt(values),)), (space.decode, (draws.v,)),
        (space.index, (space.names[:1],)),
        (space.select, (space.names[:1],)), (ps.Preset.from_array, (space, space.defaults, "a")),
        (ps.Posterior, (run, posterior.bank)), (posterior.listen, (sound,)),
        (posterior.hear, (sound,)), (posterior.features, (audio[0],)),
        (posterior.sample, (x[0], 4, 0)), (posterior.mean, (x[0], 4, 0)),
        (posterior.encode, (x[0],)), (posterior.log_prob, (draws.values, x[0], 0)),
        (posterior.predict, (draws.values,)), (posterior.log_likelihood, (draws.v, x[0])),
        (posterior.refine, (x[0], renderer, 2)),
        (posterior.complete, (posterior.learnt(values),)), (posterior.learnt, (values,)),
        (posterior.predict_unit, (torch.as_tensor(draws.v),)), (renderer.render, (values[:1],)),
        (lambda chunks, finish: list(renderer.stream(chunks, finish)), ([(0, values[:1])], None)),
        (run.standardise, (x,)), (run.unstandardise, (x,)), (run.unit_values, (draws.v,)),
        (lambda z: run.latents(z), (places[0].z,)), (ps.Dims, (16, (10, 8), (), (), ())),
        (ps.Note, (60, 100, 1.0, 2.0)), (ps.load_run, (folder / "run", "cpu")),
        (from_spec, (run.synth_spec, synth.told)), (zoo.describe, ("flow_reg",)),
        (latent.axis, ("pc1",)), (latent.place, (names[0],)), (latent.index, (names[0],)),
        (latent.sample, (2,)), (latent.values, (places[0].z, places[0].u)),
        (latent.axis("pc1").at, (places[0].z, 0.5)), (latent.axis("pc1").position, (places[0].z,)),
        (PresetPath.through, (latent, places, "latent")), (path.values, (0.5,)),
        (path.place, (0.5,)), (path.between, (0.5,)), (ranking.updated, (ranking,)),
        (explore.find_path, (posterior, names, "latent")),
        (explore.nearest_presets, (posterior, names[0], 2)),
        (explore.rank_axes, (posterior, ["pc1"])), (explore.project, (posterior,)),
        (explore.sample_prior, (posterior, 2, None)),
        (explore.sample_around, (posterior, names[0], 2, None)),
        (explore.traverse, (posterior, "pc1", None)),
        (descriptors.describe, (audio, spec)), (descriptors.describe_features, (x, spec)),
        (metrics.log_distance, (x, x)), (metrics.compare_audio, (audio, audio, spec)),
        (statistics.interval, (levels[:, 0],)),
        (statistics.relative_difference, (levels[:, 0], levels[:, 1])),
        (statistics.against_best, ({"a": levels[:, 0], "b": levels[:, 1]}, np.mean)),
        (statistics.auc, (levels[:, 0], levels[:, 1] > 0.5)), (statistics.holm, (levels[:, 0],)),
        (arviz.inference_data, (groups,)), (arviz.label_draws, (draws, "a", None, None)),
        (lambda groups: arviz.save_groups(groups, next(new)), (groups,)),
        (figures.calibration, (found, space.names)),
        (figures.descriptors, (numbers, numbers[None], descriptors.UNITS)),
        (calibration.ranks, (unit, levels, RNG)), (calibration.central_coverage, (levels, 0.9)),
        (calibration.hpd_levels, (unit[..., 0], levels[:, 0], RNG)),
        (calibration.tarp_levels, (unit, levels, levels, RNG)),
        (calibration.region_coverage, (levels, 0.9)), (calibration.expected_range, (0.9, 30)),
        (targets.outside, (dataset, folder, 1)),
        (labeling.descriptor_tags, (dataset,)), (tags.Tag, ("a", ("b", "c"))),
        (lambda table, dataset: tags.write_tags(next(new), table, dataset), (table, dataset)),
        (tags.read_tags, (folder / "tags.csv", dataset)),
        (plots.forest, (space, posterior.learnt(draws.values), space.defaults)),
        (plots.spectrograms, (x[0], x[0], spec)), (plots.trace, ({"a": np.ones((3, 2))},)),
        (hearing.refine, (posterior, ways, renderer, 2)), (hearing.hear, (posterior, sound)),
        (amsynth.write_bank, (folder / "bank", [ps.Preset("a", {})])),
        (lambda synth, note, values: probe_isolation(synth, note, 22050, values),
         (synth, run.note, synth.param_space.defaults[None])),
    ]  # fmt: skip


def answer_of(function, positional, given):
    """Return the line that a call is refused with; more than a line of any other error."""
    try:
        function(*positional, **given)
    except PyrosynthError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}\n{error}"
    return None


def test_a_wrong_argument_is_answered_in_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset, posterior = small_run(tmp_path)
    found = []
    with posterior.renderer(1, keep_audio=True) as renderer:
        held, *functions = calls(tmp_path, dataset, posterior, renderer)
        for function, right in functions:
            signature = inspect.signature(function)
            bound = signature.bind(*right)
            function(*bound.args, **bound.kwargs)
            tried = [
                (name, value)
                for name, parameter in signature.parameters.items()
                if name not in FLAGS and parameter.kind not in VARIADIC
                for value in [*wrong(held), *spoilt(bound.arguments.get(name))]
            ]
            for name, value in tried:
                given = {**bound.arguments, name: value}
                positional = [
                    given.pop(n)
                    for n, p in signature.parameters.items()
                    if p.kind is p.POSITIONAL_ONLY
                ]
                said = answer_of(function, positional, given)
                if said is not None and (len(said) > 300 or "\n" in said):
                    found.append(f"{function.__qualname__}({name}={value!r:.20}): {said:.120}")
            plt.close("all")
    assert not found, "\n".join(found)
