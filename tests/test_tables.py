"""The table of results: its numbers, and how they read."""

import numpy as np
import pytest

from pyrosynth.evaluation.tables import HEADERS, REFERENCE, Scores, markdown, table, text_rows


def example():
    def scores(lsd, sc, mse_n, renders):
        ones = np.ones(4)
        return Scores({"lsd": np.array(lsd), "sc": sc * ones, "mse_n": mse_n * ones}, renders)

    return {
        REFERENCE: scores([5.0, 5.0, 6.0, 6.0], 1.0, 0.4, 0),
        "one draw": scores([[4.0] * 4, [8.0] * 4], 1.0, 1.0, 0),
        "best": scores([1.0, 5.0, 5.0, 5.0], 0.5, 0.2, 256),
    }


def test_numbers():
    frame = table(example()).set_index("method")
    assert frame.loc[REFERENCE, "lsd_mean_db"] == 5.5
    assert np.isnan(frame.loc[REFERENCE, "wins"])
    assert frame.loc["one draw", "lsd_mean_db"] == 6.0
    assert frame.loc["one draw", "wins"] == 0.5  # half of the answers, not of the means
    assert frame.loc["best", "wins"] == 0.75  # a tie is no win
    assert frame.loc["best", "lsd_low_db"] < 4.0 < frame.loc["best", "lsd_high_db"]
    assert frame.loc["best", ["sc_median", "mse_n_mean", "renders"]].tolist() == [0.5, 0.2, 256]
    assert (frame["n"] == 4).all()


def test_text():
    frame = table(example())
    cells = text_rows(frame)
    assert cells[2][0] == "best"
    assert cells[2][2].startswith("4.00 [")
    assert cells[2][3:] == ["5.00", "0.50", "0.200", "75 %", "256"]
    lines = markdown(frame).splitlines()
    assert len(lines) == 5
    assert all(line.count("|") == len(HEADERS) + 1 for line in lines)


def test_without_reference():
    scores = example()
    del scores[REFERENCE]
    assert table(scores)["wins"].isna().all()
    assert text_rows(table(scores))[0][-2] == ""


def test_intervals_are_repeatable():
    pytest.importorskip("pandas").testing.assert_frame_equal(table(example()), table(example()))
