"""Labelled data: dimensions, names, and the file."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pyrosynth.errors import InputError
from pyrosynth.inference.arviz import arviz, inference_data, label_groups, save_groups

PRESETS = ("bass", "lead", "bass")
PARAMS = ("cutoff", "attack")


def example():
    rng = np.random.default_rng(0)
    return label_groups(
        presets=PRESETS,
        params=PARAMS,
        posterior={"v": rng.random((5, 3, 2)), "z": rng.random((5, 3, 4))},
        posterior_predictive={"descriptors": rng.random((5, 3, 2)), "x": rng.random((5, 3, 6, 7))},
        prior={"v": rng.random((7, 2))},
        constant_data={"contraction": rng.random((3, 2)), "correlation": rng.random((3, 2, 2))},
        prior_predictive={"descriptors": rng.random((9, 2))},
        observed_data={"x": rng.random((3, 6, 7)), "v": rng.random((3, 2))},
        log_likelihood={"x": rng.random((5, 3))},
        sample_stats={"lsd": rng.random((5, 3)), "failed": rng.random((5, 3)) > 0.5},
        coords={"descriptor": ["loudness", "centroid"], "mel": np.arange(6) * 100.0},
        attrs={"seed": 3, "run": "toy"},
    )


def test_dimensions_and_names():
    data = inference_data(example())
    assert set(data.groups()) == {
        "posterior", "posterior_predictive", "prior_predictive", "observed_data",
        "log_likelihood", "sample_stats", "prior", "constant_data",
    }  # fmt: skip
    assert data.prior["v"].dims == ("chain", "draw", "param")
    assert data.constant_data["contraction"].dims == ("preset", "param")
    pair = data.constant_data["correlation"].sel(preset="lead", param="attack")
    assert pair["other_param"].values.tolist() == list(PARAMS)
    assert data.posterior["v"].dims == ("chain", "draw", "preset", "param")
    assert data.posterior["z"].dims == ("chain", "draw", "preset", "latent")
    assert data.posterior_predictive["x"].dims == ("chain", "draw", "preset", "mel", "frame")
    assert data.prior_predictive["descriptors"].dims == ("chain", "draw", "descriptor")
    assert data.observed_data["x"].dims == ("preset", "mel", "frame")
    assert data.log_likelihood["x"].dims == ("chain", "draw", "preset")
    assert data.sample_stats["lsd"].dims == ("chain", "draw", "preset")
    assert data.posterior["preset"].values.tolist() == ["bass", "lead", "bass (2)"]
    assert data.posterior["param"].values.tolist() == list(PARAMS)
    assert data.posterior.attrs["seed"] == 3
    one = data.posterior["v"].sel(preset="lead", param="attack")
    assert one.shape == (1, 5)


def test_file_opens_with_arviz(tmp_path):
    data = inference_data(example())
    save_groups(example(), tmp_path / "new" / "check.nc")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["check.nc"]
    again = arviz().from_netcdf(tmp_path / "new" / "check.nc")
    assert set(again.groups()) == set(data.groups())
    for group in data.groups():
        for name, array in data[group].data_vars.items():
            assert again[group][name].equals(array), (group, name)
    assert again.posterior.attrs["run"] == "toy"
    summary = arviz().summary(again, var_names=["v"], kind="stats")
    assert "v[bass (2), attack]" in summary.index


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        save_groups(example(), tmp_path / "file" / "check.nc")


def test_imports_without_a_cache_folder(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = (
        "import os; from pyrosynth.inference.arviz import arviz; print(arviz().__version__);"
        "assert os.environ['XDG_CACHE_HOME'].endswith('file')"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(blocked), "MPLCONFIGDIR": str(tmp_path)}
    environment["NUMBA_OPT"] = "0"  # how well it compiles does not matter
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.23")
