"""Hu et al.'s convexity classes: against statsmodels, plain numbers, and curves of known class."""

from __future__ import annotations

import mechanism_oracles as oracle
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.convexity import (
    CLASSES,
    FALLS,
    MARGIN,
    STATUSES,
    bend_score,
    bump,
    convexity_ragged,
)
from bigbench_meta.inference.nulls.links import SHARE
from bigbench_meta.inference.nulls.mechanism import Design
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

SUB, LAW, SUPER, CANNOT_TELL = range(4)


def rates(log_loss):
    return np.exp(-np.exp(log_loss))


def classify(passes, samples, x, **options):
    """Classify curves of one length, given as (m, n)."""
    passes = np.atleast_2d(passes)
    m, n = passes.shape
    full = [np.broadcast_to(np.asarray(a, float), (m, n)).ravel() for a in (passes, samples, x)]
    return convexity_ragged(*full, np.arange(m + 1) * n, **{"n_boot": 199, **options})


def test_the_bend_is_that_of_a_regression_with_a_quadratic_term():
    x = np.array([1e6, 5e6, 1e7, 8e7, 3e8, 2e9, 5e9])
    log = np.log(x)
    n = 10.0**6
    for bend in (-0.7, 0.0, 0.4):
        log_loss = 0.2 - 0.3 * (log - log.mean()) + bend * bump(log[:, None])[:, 0]
        passes = np.rint(n * rates(log_loss))
        # P(failure) = 1 - exp(-exp(eta)): the complementary log-log link of failures.
        design = np.column_stack([np.ones(7), log - log.mean(), (log - log.mean()) ** 2])
        family = sm.families.Binomial(link=sm.families.links.CLogLog())
        fit = sm.GLM(np.column_stack([n - passes, passes]), design, family=family).fit()
        expected = -fit.params[2] * np.ptp(log) ** 2 / 4
        found = classify(passes, n, x)
        assert_allclose(found.bend[0], expected, atol=2e-4)
        assert_allclose(expected, bend, atol=0.01)
        assert found.low[0] < expected < found.high[0]
        assert found.verdict[0] == (LAW if bend == 0 else SUPER if bend > 0 else SUB)


def test_the_score_is_that_of_plain_formulas():
    rng = np.random.default_rng(5)
    x = np.log(10) * np.array([0, 0.3, 1.1, 1.9, 2.0, 2.0])
    x = x - x.mean()
    n = np.array([50, 100, 100, 400, 30, 60.0])
    y = rng.binomial(n.astype(int), rates(0.3 - 0.4 * x + 0.5 * bump(x[:, None])[:, 0])) / n
    for sigma in (0.0, 0.3):
        design = Design(x=x[:, None], trials=n[:, None], floor=np.zeros(1))
        fit = fit_mechanism(
            y[:, None], design, alpha_range=(-20, 20), sigma=np.array([sigma]), offset=None
        )
        start = (fit.level[0] + 0.01, fit.alpha[0])
        level, alpha = oracle.fit_mean(y, x, n, sigma, SHARE, 0.0, 1.0, (-20, 20), start)
        residual, slope, _, weight = oracle.curve_pieces(
            y, x, n, (level, alpha, sigma), SHARE, 0.0, 1.0
        )
        h = 1 - ((2 * x - x.max() - x.min()) / (x.max() - x.min())) ** 2
        root = np.sqrt(weight) * slope
        other = root[:, None] * np.column_stack([np.ones(6), x])
        rest = root * h - other @ np.linalg.lstsq(other, root * h)[0]
        expected = (rest * np.sqrt(weight) * residual).sum() / np.sqrt((rest**2).sum())
        assert_allclose(bend_score(y[:, None], design, fit)[0], expected, rtol=1e-4)


def test_curves_of_known_class_are_seldom_classified_wrongly():
    rng = np.random.default_rng(8)
    x = np.log(10) * np.linspace(-1.2, 1.2, 9)
    m, n = 40, 2000
    law = rng.uniform(-0.5, 1, (m, 1)) - rng.uniform(0.2, 0.6, (m, 1)) * x
    flat, steep = law + 0.3 * x, law - 0.6 * x
    truth = {LAW: law, SUB: np.logaddexp(flat, steep), SUPER: np.minimum(flat, steep)}
    for kind, log_loss in truth.items():
        scattered = log_loss + 0.05 * rng.standard_normal(log_loss.shape)
        found = classify(rng.binomial(n, rates(scattered)), n, np.exp(x))
        told = np.bincount(found.verdict, minlength=4)
        assert told[kind] >= 25, (kind, told)
        opposite = {LAW: told[SUB] + told[SUPER], SUB: told[SUPER], SUPER: told[SUB]}[kind]
        assert opposite <= (6 if kind == LAW else 0)


def test_more_seeds_of_a_size_are_points_of_their_own_and_tell_more():
    rng = np.random.default_rng(2)
    x = np.log(10) * np.array([0, 0.5, 1.2, 2.0])
    one = 0.5 - 0.5 * (x - x.mean()) + 0.1 * rng.standard_normal((1, 4))
    many = np.repeat(0.5 - 0.5 * (x - x.mean()), 10) + 0.1 * rng.standard_normal((1, 40))
    few = classify(rng.binomial(500, rates(one)), 500, np.exp(x))
    more = classify(rng.binomial(500, rates(many)), 500, np.exp(np.repeat(x, 10)))
    assert more.n_sizes[0] == few.n_sizes[0] == 4
    assert more.high[0] - more.low[0] < (few.high[0] - few.low[0]) / 2


@pytest.mark.parametrize(
    ("passes", "x", "status"),
    [
        ([0, 0, 0, 0, 0], [1, 2, 4, 8, 16], "flat"),
        ([5, 9, 30], [1, 2, 4], "too_few_scales"),
        ([5, 9, 30, 40, 50], [1, 1, 1, 4, 4], "too_few_scales"),
        ([90, 70, 50, 30, 10], [1, 2, 4, 8, 16], "falls"),
        ([0, 0, 0, 0, 1], [1, 2, 4, 8, 16], None),
    ],
)
def test_what_cannot_be_classified_has_a_reason(passes, x, status):
    found = classify(passes, 100, x)
    assert found.verdict[0] == CANNOT_TELL
    said = STATUSES[found.status[0]]
    assert said == status if status else said != "ok"
    assert np.isnan(found.p_value[0])
    assert np.isnan(found.bend[0])
    assert STATUSES[FALLS] == "falls"


@given(
    st.lists(st.integers(0, 60), min_size=5, max_size=7),
    st.floats(1e-3, 1e9),
    st.integers(0, 10**6),
)
@settings(max_examples=8, deadline=None)
def test_what_a_class_says_agrees_with_its_numbers_in_any_unit(passes, unit, seed):
    x = 2.0 ** np.arange(len(passes))
    found = classify(passes, 60, x, n_boot=99, seed=seed)
    again = classify([passes, passes], 60, x * unit, n_boot=99, seed=seed)
    verdict, p = found.verdict[0], found.p_value[0]
    low, high = found.low[0], found.high[0]
    assert_array_equal(again.verdict, again.verdict[[0, 0]])
    assert_array_equal(again.p_value, again.p_value[[0, 0]])
    # The unit moves log sizes by rounding; the random stream takes nine digits of them. A replicate
    # that just converges in one unit may not in the other.
    one_replicate = 2 / 99
    assert_allclose(again.p_value[0], p, atol=one_replicate)
    if not abs(p - 0.05) <= one_replicate:
        assert again.verdict[0] == verdict
    if found.status[0] == 0:
        assert low <= found.bend[0] <= high
        assert (low <= 0 <= high) or p <= 0.05
        if verdict == SUPER:
            assert p <= 0.05
            assert low >= 0
        elif verdict == SUB:
            assert p <= 0.05
            assert high <= 0
        else:
            assert p > 0.05
            assert (verdict == LAW) == (low >= -MARGIN and high <= MARGIN)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"passes": [1, 2, 101, 4]}, "101.0 at position 2 is above the samples"),
        ({"x": [1, 3, 2, 4]}, "2.0 at position 2 is below the size before"),
        ({"x": [0, 1, 2, 4]}, "x: 0 is not a finite number above 0"),
        ({"samples": [0.5] * 4}, "samples"),
        ({"alpha": 1.5}, "alpha"),
        ({"n_boot": 20}, "n_boot"),
        ({"margin": -1}, "margin"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    given_ = {"passes": [1, 2, 3, 4], "samples": [100] * 4, "x": [1, 2, 3, 4], "offsets": [0, 4]}
    given_ |= changed
    arrays = [given_.pop(name) for name in ("passes", "samples", "x", "offsets")]
    with pytest.raises(InputError, match=message):
        convexity_ragged(*arrays, **given_)


SIZES = 10.0 ** np.arange(6, 12)
SCORE = rates(0.5 - 0.4 * np.log(SIZES / 3e8))
STDERR = np.sqrt(SCORE * (1 - SCORE) / 1000)


def observations(metric="exact_str_match", **columns):
    return pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "metric": metric, "model_family": "f",
            "model_name": [f"m{i}" for i in range(6)], "total_params": SIZES, "score": SCORE,
            "n_examples": 1000, **columns,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "ok"),
        ({"metric": "multiple_choice_grade", "low_score": 0.25}, "guess_rate"),
        ({"metric": "multiple_choice_grade"}, "guess_rate"),
        ({"metric": "bleu"}, "not_a_pass_rate"),
        ({"metric": "made_up"}, "not_a_pass_rate"),
        ({"n_examples": None}, "no_test_set"),
        ({"n_examples": None, "stderr": STDERR}, "ok"),
        ({"score": 50.0}, "score_out_of_range"),
    ],
)
def test_frame_says_why_a_curve_has_no_class(changed, status):
    frame = bm.convexity(bm.build_curves(observations(**changed)), n_boot=199)
    row = frame.iloc[0]
    assert row["status"] == status
    assert (row["convexity"] in CLASSES) == (status == "ok")
    assert np.isnan(row["p"]) == (status != "ok")
    assert row["n_scales"] == row["n_points"] == 6


def test_frame_with_a_falling_axis_and_with_sizes_of_test_sets():
    table = observations(pretraining_loss=[6.0, 5, 4, 3, 2.5, 2], n_examples=None)
    falling = bm.convexity(bm.build_curves(table, scale="pretraining_loss"))
    assert falling["status"].tolist() == ["scale_is_a_loss"]
    curves = bm.build_curves(table)
    assert bm.convexity(curves, n_examples=500, n_boot=199)["status"].tolist() == ["ok"]


def test_frame_of_seeds_and_of_no_curve():
    table = pd.concat([observations(replicate=str(seed)) for seed in range(3)])
    curves = bm.build_curves(table, average=False)
    row = bm.convexity(curves, n_boot=199).iloc[0]
    assert (row["n_scales"], row["n_points"]) == (6, 18)
    empty = bm.convexity(curves[np.array([False])])
    assert len(empty) == 0
    assert list(empty) == list(bm.convexity(curves, n_boot=99))
