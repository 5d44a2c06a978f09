"""Leave-one-scale-out against scoring the rest of each curve by itself."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

import bigbench_meta as bm
from bigbench_meta.aggregate.attribution import scale_deletion
from bigbench_meta.aggregate.attribution.scale_deletion import (
    DELETIONS,
    leave_one_scale_out,
    scale_deletion_shares,
    scores_without_each,
)
from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.emergence import emergence_score

NUMBER = st.sampled_from([0.0, 0.0, 0.001, 0.1, 0.3, 0.9, 1.0])
CURVES = st.lists(st.lists(NUMBER, max_size=7), max_size=6)


def ragged(curves):
    offsets = np.cumsum([0, *map(len, curves)])
    return np.array([y for curve in curves for y in curve], dtype=float), offsets


def curves_of(*series, metric="accuracy"):
    """Curves of tasks t0, t1, ..., the models' sizes being 10, 100, ..."""
    rows = [
        {
            "benchmark": "b", "task": f"t{number}", "metric": metric, "model_family": "f",
            "model_name": f"m{place}", "total_params": 10.0 ** (place + 1), "score": score,
        }
        for number, scores in enumerate(series)
        for place, score in enumerate(scores)
    ]  # fmt: skip
    return bm.build_curves(pd.DataFrame(rows))


STEP = [0.0, 0.0, 0.0, 0.0, 0.9]  # flat without its last scale, a step without any other
STEEP = [0.0, 0.001, 0.002, 0.003, 0.9]  # E = 900, with or without one of the four smaller
LATE = [0.1, 0.1, 0.1, 0.5, 0.9]  # E = 2.83; a step without its last or its last but one
EVEN = [0.1, 0.2, 0.3, 0.4, 0.5]


# --- Arrays ---


@pytest.mark.parametrize("min_scales", [2, 3, 4])
@given(CURVES)
def test_each_deletion_by_itself(min_scales, curves):
    values, offsets = ragged(curves)
    found, enough = scores_without_each(values, offsets, min_scales=min_scales)
    expected, has_enough = [], []
    for curve in curves:
        for place in range(len(curve)):
            rest = np.delete(curve, place)
            has_enough.append(len(rest) >= min_scales)
            score = emergence_score(rest, min_scales=min_scales) if len(rest) else math.nan
            expected.append(score)
    assert found.tolist() == pytest.approx(expected, nan_ok=True)
    assert enough.tolist() == has_enough


@given(CURVES, st.floats(0.1, 50), st.floats(-5, 5))
def test_scale_and_shift_leave_the_scores_and_reversal_changes_their_sign(curves, factor, shift):
    # Powers of two and small whole numbers, so that equal steps stay equal.
    whole = [[round(y * 1000) for y in curve] for curve in curves]
    values, offsets = ragged(whole)
    reference, _ = scores_without_each(values, offsets)
    factor, shift = 2.0 ** round(factor), float(round(shift))
    moved, _ = scores_without_each(factor * values + shift, offsets)
    assert moved.tolist() == pytest.approx(reference.tolist(), nan_ok=True)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    values, offsets = ragged([rng.random(n) for n in (5, 5, 6, 5, 0, 2, 6)])
    reference = scores_without_each(values, offsets)[0].tolist()
    monkeypatch.setattr(scale_deletion, "_BLOCK", 1)
    assert scores_without_each(values, offsets)[0].tolist() == pytest.approx(reference, nan_ok=True)


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 2], [0, 4]])
def test_offsets_are_checked(offsets):
    with pytest.raises(InputError, match="offsets"):
        scores_without_each(np.zeros(3), np.array(offsets, dtype=int))


# --- Curves ---


def test_flags_that_hang_on_a_scale():
    table = leave_one_scale_out(curves_of(STEP, STEEP, LATE, EVEN), threshold=100)
    assert table["flagged"].tolist() == [True, True, False, False]
    # A flat rest is not flagged: the step hangs on its last scale.
    assert table["n_flagged_smallest"].tolist() == [1, 1, 0, 0]
    assert table["n_flagged_inner"].tolist() == [3, 3, 1, 0]
    assert table["n_flagged_largest"].tolist() == [0, 0, 1, 0]
    assert table["n_flagged_any"].tolist() == [4, 4, 2, 0]
    assert table["stays_flagged"].tolist() == [False] * 4
    assert table["becomes_flagged"].tolist() == [False, False, True, False]
    assert table["without_smallest"].tolist() == pytest.approx([math.inf, 899, 2, 3])
    assert table["without_largest"].tolist() == pytest.approx([0, 3, math.inf, 3])
    assert table["lowest"].tolist() == pytest.approx([0, 3, 2, 3])
    assert (table["n_deletions"] == 5).all()


def test_curves_too_short_to_lose_a_scale():
    table = leave_one_scale_out(curves_of([0.0, 0.0, 0.9], STEP))
    assert table["flagged"].tolist() == [False, True]
    assert table["n_deletions"].tolist() == [0, 5]
    assert table.loc[0, ["lowest", "without_smallest", "without_largest"]].isna().all()
    assert table.loc[0, ["stays_flagged", "becomes_flagged"]].isna().all()
    assert leave_one_scale_out(curves_of(STEP), min_scales=5)["n_deletions"].tolist() == [0]


@given(st.lists(st.lists(NUMBER, min_size=1, max_size=6), min_size=1, max_size=4))
def test_columns_by_looping(series):
    curves = curves_of(*series)
    table = leave_one_scale_out(curves, threshold=5)
    scores = bm.score_curves(curves)
    assert table["emergence_score"].tolist() == pytest.approx(
        scores["emergence_score"].tolist(), nan_ok=True
    )
    assert table["flagged"].tolist() == bm.flagged(scores, 5).tolist()
    for row, curve in zip(table.to_dict("records"), series, strict=True):
        rest = [
            float(emergence_score(np.delete(curve, i))) for i in range(len(curve)) if len(curve) > 3
        ]
        rest = [0.0 if math.isnan(score) else score for score in rest]
        assert row["n_deletions"] == len(rest)
        assert row["n_flagged_any"] == sum(score > 5 for score in rest)
        if rest:
            assert row["lowest"] == pytest.approx(min(rest))
            assert row["highest"] == pytest.approx(max(rest))
            assert row["without_smallest"] == pytest.approx(rest[0])
            assert row["without_largest"] == pytest.approx(rest[-1])
            assert row["stays_flagged"] == (row["flagged"] and min(rest) > 5)
            assert row["becomes_flagged"] == (not row["flagged"] and max(rest) > 5)


def test_a_metric_that_falls_is_turned():
    rising = leave_one_scale_out(curves_of(STEEP))
    falling = leave_one_scale_out(curves_of([1 - y for y in STEEP], metric="brier_score"))
    assert falling["metric_class"].tolist() == ["smooth"]
    assert falling["n_flagged_any"].tolist() == rising["n_flagged_any"].tolist()


def test_threshold_is_checked():
    with pytest.raises(InputError, match="threshold"):
        leave_one_scale_out(curves_of(STEP), threshold=math.nan)


# --- Shares ---


def test_shares():
    table = leave_one_scale_out(curves_of(STEP, STEEP, LATE, EVEN, [0.0, 0.5, 1.0]))
    shares = scale_deletion_shares(table, confidence=0.9)
    assert len(shares) == 4 * len(DELETIONS) * 2
    every = shares[shares["metric_class"] == "all"].set_index(["deleted", "statistic"])
    expected = {
        ("any", "stay_flagged"): (0, 2),
        ("smallest", "stay_flagged"): (2, 2),
        ("inner", "stay_flagged"): (2, 2),
        ("largest", "stay_flagged"): (0, 2),
        ("any", "become_flagged"): (1, 2),
        ("smallest", "become_flagged"): (0, 2),
        ("inner", "become_flagged"): (1, 2),
        ("largest", "become_flagged"): (1, 2),
    }
    for key, (hits, n) in expected.items():
        row = every.loc[key]
        assert (row["estimate"], row["n"], row["n_tasks"]) == (hits / n, n, n)
        limits = proportion_confint(hits, n, alpha=0.1, method="beta")
        if hits in {0, n}:
            assert (row["low"], row["high"]) == pytest.approx(limits)
        else:
            assert row["low"] <= limits[0] < limits[1] <= row["high"]
    smooth = shares[shares["metric_class"] == "smooth"]
    assert (smooth["n"] == 0).all()
    assert smooth[["estimate", "low", "high"]].isna().all(axis=None)


def test_shares_of_the_embedded_results():
    # docs/accounts.md: 5 of 21 flags stay whichever model is left out.
    curves = bm.build_curves(bm.load_embedded())
    shares = scale_deletion_shares(leave_one_scale_out(curves))
    every = shares[(shares["metric_class"] == "all") & (shares["statistic"] == "stay_flagged")]
    n_stay = dict(zip(every["deleted"], (every["estimate"] * every["n"]).round(), strict=True))
    assert set(every["n"]) == {21}
    assert n_stay["any"] == 5
    assert n_stay["any"] <= min(n_stay.values())
