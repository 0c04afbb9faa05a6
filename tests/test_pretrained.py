"""The run that comes with the package."""

import numpy as np
import pytest

from pyrosynth.audio.metrics import log_distance
from pyrosynth.cli.app import main
from pyrosynth.explore.result import controls
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import preset_array
from pyrosynth.training import zoo
from pyrosynth.training.run import PRETRAINED, pretrained

MEGABYTE = 1_000_000


def test_it_is_small_and_says_how_it_was_made():
    assert pretrained() == ("amsynth",)
    folder = PRETRAINED / "amsynth"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 20 * MEGABYTE
    run = Posterior.load("amsynth").run
    assert type(run.variant).__name__ == zoo.load_model("flow_audio").__name__
    assert len(run.space) == 41
    assert "pyrosynth fit flow_audio" in " ".join(run.dataset["recipe"])
    assert run.training.best_step <= run.settings["steps"]
    assert "path" not in run.synth_spec
    assert "path" not in run.dataset


def test_it_finds_a_preset_it_has_not_learnt(amsynth):
    """Human presets that are not in its bank: those its split held out, or did not train on."""
    posterior = Posterior.load("amsynth")
    learnt = {tuple(row) for row in posterior.bank.values}
    values = preset_array(amsynth.presets(), amsynth.param_space)
    space = posterior.run.space
    values = posterior.complete(space.from_unit(space.to_unit(posterior.learnt(values))))
    unseen = values[[tuple(row) not in learnt for row in values]]
    assert len(unseen) > 500
    chosen = unseen[:: len(unseen) // 3][:3]
    with posterior.renderer(workers=2) as renderer:
        targets = renderer.render(chosen).features
        found = [posterior.refine(x, renderer, budget=48) for x in targets]
        guessed = renderer.render(np.stack([posterior.guess(x) for x in targets])).features
    known = posterior.bank.nearest(targets)[1][:, 0]
    distances = np.array([match.lsd[0] for match in found])
    assert distances.mean() < 4.5
    assert distances.mean() < known.mean()
    assert log_distance(guessed, targets).mean() < known.mean() + 0.3
    silence = np.full_like(targets, np.log(posterior.run.features.floor))
    assert (log_distance(silence, targets) > 2 * distances).all()


def test_what_is_explored_is_read_as_the_synth_shows_it():
    posterior = Posterior.load("amsynth")
    found = controls(posterior, posterior.bank.values[:3])
    settings = dict(zip(posterior.run.space.names, np.transpose(found["setting"][1]), strict=True))
    assert all(text.split()[-1] in {"s", "ms"} for text in settings["amp_decay"])
    assert all(text.endswith(" octaves") for text in settings["filter_cutoff"])


@pytest.mark.parametrize("command", ["check", "axes"])
def test_that_it_lacks_its_dataset_is_told(command, tmp_path, capsys):
    assert main([command, "amsynth", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the run does not say where its dataset is" in line
    assert not (tmp_path / "out").exists()
