"""The data of the explorer: sampling errors in the unit of the file, and the nearest smooth law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.report.explorer import explorer_data, smooth_scores
from bigbench_meta.report.study import run_study

SIZES = 10.0 ** np.arange(7, 12)
# One token, right with probability exp(-loss), and a loss that is a power law of size.
SMOOTH = 100 * np.exp(-np.exp(1.0 - 0.12 * np.log(SIZES / 1e9)))


def observations(scores: list[float], metric: str = "exact_str_match") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "subtask": "t", "metric": metric, "model_family": "f",
            "model_name": [f"m{n}" for n in range(len(scores))], "shots": 0,
            "total_params": SIZES.astype(np.int64), "score": scores, "n_examples": 1000,
        }
    )  # fmt: skip


def test_smooth_law_is_the_curve_itself_where_that_is_smooth() -> None:
    curves = bm.build_curves(observations((SMOOTH / 100).tolist()))
    assert smooth_scores(curves) == pytest.approx(SMOOTH / 100, abs=2e-3)


def test_smooth_law_of_a_step_rises_smoothly() -> None:
    found = smooth_scores(bm.build_curves(observations([0.0, 0.0, 0.001, 0.002, 0.8])))
    assert (np.diff(found) > 0).all()
    assert found[-1] < 0.8
    other = smooth_scores(bm.build_curves(observations([0.1, 0.2, 0.3, 0.4, 0.5], "no such")))
    assert np.isnan(other).all()


def test_points_have_their_sampling_errors_in_the_unit_of_the_file() -> None:
    rows = observations([0.0, 0.1, 0.2, 0.5, 0.9])
    with_inference = run_study(rows, to_frame(PROBLEMS.empty()), inference=True, n_boot=19)
    points = explorer_data(with_inference)["points"]
    expected = 2 * np.sqrt(0.5 * 0.5 / 1000)
    assert points["half"]["numbers"][3] == pytest.approx(expected, rel=0.02)
    assert len(points["smooth"]["numbers"]) == 5
    plain = explorer_data(run_study(rows, to_frame(PROBLEMS.empty())))["points"]
    assert plain["half"]["numbers"] == [None] * 5
    assert "smooth" not in plain
    given = run_study(rows.assign(stderr=0.01), to_frame(PROBLEMS.empty()))
    assert explorer_data(given)["points"]["half"]["numbers"] == [0.02] * 5
