"""Intervals of ragged batches: invariants, limits, and oracles of the plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm
from strategies import FEWER

from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.inference.bootstrap import STATUSES, bootstrap_intervals
from bigbench_meta.inference.plain_intervals import bca, percentile
from bigbench_meta.inference.replicates import PointNoise

NAN, INF = np.nan, np.inf
PAIRS = (
    "emergence", "emergence_percentile", "emergence_bca", "linearity", "linearity_percentile",
    "linearity_bca",
)  # fmt: skip


def run(batch, *, n=200, stderr=NAN, low=0.0, high=1.0, **options):
    """Intervals of lists of scores."""
    y = np.array([value for curve in batch for value in curve], dtype=float)
    full = [np.broadcast_to(np.asarray(v, dtype=float), y.shape) for v in (n, stderr, low, high)]
    options.setdefault("n_boot", 99)
    return bootstrap_intervals(
        y, np.cumsum([0, *map(len, batch)]), PointNoise.of(y, *full), **options
    )


counts = st.lists(st.integers(0, 200).map(lambda k: k / 200), min_size=1, max_size=8)
curves = st.one_of(
    counts,
    # Nearly nothing, then something: the published curves.
    st.lists(st.integers(0, 2).map(lambda k: k / 200), min_size=2, max_size=6).map(
        lambda y: [*y, 0.9]
    ),
)


def assert_same(some, other, rows=slice(None), others=slice(None), rtol=1e-6):
    for name in (*PAIRS, "p_above", "share_above", "status"):
        np.testing.assert_allclose(
            getattr(some, name)[rows], getattr(other, name)[others], rtol=rtol, err_msg=name
        )


@FEWER
@given(st.lists(curves, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_curve_depends_on_itself_alone(batch, random):
    order = list(range(len(batch)))
    random.shuffle(order)
    together = run(batch)
    assert_same(together, run([batch[i] for i in order]), rows=order)
    for row, curve in enumerate(batch):
        assert_same(together, run([curve]), rows=[row])


@FEWER
@given(curves, st.sampled_from([0.01, 100.0, 3.7]), st.sampled_from([0.0, -5.0, 12.3]))
def test_unit_and_zero_do_not_matter(curve, unit, zero):
    moved = [unit * value + zero for value in curve]
    assert_same(run([curve]), run([moved], low=zero, high=zero + unit))
    own = run([curve], stderr=0.02, low=-INF, high=INF)
    assert_same(own, run([moved], stderr=0.02 * unit, low=-INF, high=INF))


@FEWER
@given(curves)
def test_upside_down_is_the_negative(curve):
    up, down = run([curve], threshold=5.0), run([[-y for y in curve]], low=-1.0, high=0.0)
    for name in PAIRS:
        np.testing.assert_allclose(getattr(down, name), -getattr(up, name)[:, ::-1], rtol=1e-6)


@FEWER
@given(curves, st.integers(0, 3))
def test_seeds_reproduce(curve, seed):
    assert_same(run([curve], seed=seed), run([curve], seed=seed), rtol=0)
    generators = np.random.default_rng(seed), np.random.default_rng(seed)
    assert_same(run([curve], seed=generators[0]), run([curve], seed=generators[1]), rtol=0)


@FEWER
@given(st.lists(curves, min_size=1, max_size=4))
def test_ends_are_in_order_and_within_what_is_possible(batch):
    found = run(batch)
    lengths = np.array([len(curve) for curve in batch])
    for name in PAIRS:
        low, high = getattr(found, name).T
        known = found.status == 0
        assert np.isnan(low[~known]).all()
        assert np.isnan(high[~known]).all()
        assert (low[known] <= high[known]).all()
        assert ((np.abs(low) >= 1 - 1e-9) & (np.abs(high) >= 1 - 1e-9))[known].all()
        if name.startswith("linearity"):
            assert (np.abs(getattr(found, name)[known]) <= (lengths - 1)[known, None] + 1e-9).all()
    for name in ("p_above", "share_above"):
        shares = getattr(found, name)[known]
        assert ((shares >= 0) & (shares <= 1)).all()


@FEWER
@given(curves)
def test_a_higher_level_is_a_wider_interval(curve):
    narrow, wide = run([curve], level=0.8), run([curve], level=0.95)
    assume(narrow.status[0] == 0)
    for name in ("emergence_percentile", "linearity_percentile", "emergence_bca"):
        inner, outer = getattr(narrow, name)[0], getattr(wide, name)[0]
        assert outer[0] <= inner[0]
        assert inner[1] <= outer[1]
    # The search stops within a hundredth of the way.
    inner, outer = narrow.emergence[0], wide.emergence[0]
    assert outer[0] <= inner[0] * 1.05 or outer[0] < 0
    assert inner[1] <= outer[1] * 1.05 or inner[1] < 0


@pytest.mark.parametrize(
    ("curve", "options", "status"),
    [
        ([0.1, 0.2, 0.9], {}, "ok"),
        ([0.1, 0.9], {}, "too_few_scales"),
        ([0.1, 0.2, 0.9], {"min_scales": 4}, "too_few_scales"),
        ([], {}, "too_few_scales"),
        ([0.5, 0.5, 0.5], {}, "flat"),
        ([0.0, 0.0, 0.9], {}, "ok"),
        ([0.1, 0.2, 0.9], {"n": NAN}, "no_sampling_error"),
        ([0.1, 0.2, 0.9], {"n": [9, NAN, 9]}, "no_sampling_error"),
        ([0.1, 0.2, 0.9], {"n": NAN, "stderr": [0.1, 0.0, 0.1]}, "no_sampling_error"),
        ([0.1, 0.2, 0.9], {"n": [9, NAN, 9], "stderr": 0.1}, "ok"),
        ([0.1, 0.2, 0.9], {"n": NAN, "stderr": 0.1}, "ok"),
    ],
)
def test_status(curve, options, status):
    assert STATUSES[run([curve], **options).status[0]] == status


def test_nothing_right_has_an_interval_with_width():
    low, high = run([[0.0, 0.0, 0.0, 0.0, 0.5]], n=100).emergence[0]
    # One of 100 in each step cannot be excluded: a range of about 50 of them.
    assert 5 < low < 50
    assert high == INF


def test_direction_and_size_are_told_apart():
    # Whether the first or the last score is the least is chance; how large the steps are is not.
    low, high = run([[0.0, 0.5, 1.0, 1.0, 0.0, 0.25]], n=10_000).emergence[0]
    assert high == -low
    assert 1.9 < high < 2.1


@pytest.mark.parametrize("unit", [1.0, 1e-150, 1e150])
@pytest.mark.parametrize("error", [1e-300, 1e-100, 1e-12, 1.0, 1e30, 1e150])
def test_errors_of_any_size(unit, error):
    y = [unit * value for value in (0.0, 0.1, 0.15, 0.5, 0.55, 0.9)]
    for stderr in (error * unit, [error * unit, 0.01 * unit] * 3):
        found = run([y], n=NAN, stderr=stderr, low=-INF, high=INF)
        if found.status[0] == 0:  # else the error is too small for a float
            assert np.isfinite(found.linearity).all()
            assert not np.isnan(found.emergence).any()
    found = run([y], n=NAN, stderr=max(error * unit, 1e-300), low=-INF, high=INF)
    if error < 1e-9:
        np.testing.assert_allclose(found.emergence[0], 0.9 / 0.1, rtol=0.01)


def test_the_larger_the_test_set_the_narrower_the_interval():
    y = [0.1, 0.15, 0.25, 0.5, 0.7]
    widths = [np.diff(1 / run([y], n=n).emergence[0])[0] for n in (100, 1000, 10_000, 100_000)]
    assert (np.diff(np.abs(widths)) < 0).all()


def test_hardly_any_noise_is_the_delta_method():
    y = np.array([0.1, 0.2, 0.35, 0.8])  # steps 0.1, 0.15 and 0.45: E = 0.7 / 0.15
    n = 1_000_000
    found = run([y], n=n, n_boot=999)
    variance = y * (1 - y) / n
    r, m = 0.7, 0.15
    slope = np.array([-1 / m, r / m**2, -r / m**2, 1 / m])
    error = np.sqrt(slope**2 @ variance)
    expected = r / m + error * norm.ppf([0.025, 0.975])
    for name in ("emergence", "emergence_percentile", "emergence_bca"):
        np.testing.assert_allclose(getattr(found, name)[0], expected, atol=0.25 * error)
    steps = np.diff(y)
    q = np.sqrt(np.mean(steps**2))
    # d/dy of (y_4 - y_1) / q, with q^2 the mean of three squares.
    by_step = -r / q**3 * steps / 3
    slope = np.array([-1 / q, 0, 0, 1 / q])
    slope[1:] += by_step
    slope[:-1] -= by_step
    error = np.sqrt(slope**2 @ variance)
    expected = r / q + error * norm.ppf([0.025, 0.975])
    for name in ("linearity", "linearity_percentile", "linearity_bca"):
        np.testing.assert_allclose(getattr(found, name)[0], expected, atol=0.25 * error)


def test_confidence_agrees_with_the_interval():
    rng = np.random.default_rng(0)
    batch = rng.binomial(200, rng.uniform(0, 1, (150, 6))) / 200
    found = run(batch, n_boot=299)
    low = found.emergence[:, 0]
    below, above = [], []
    for curve, end in zip(batch, low, strict=True):
        if 1.5 < end < INF:
            for values, factor in ((below, 0.8), (above, 1.25)):
                values.append(run([curve], threshold=end * factor, n_boot=299).p_above[0])
    assert len(below) > 20
    assert max(above) < 0.985
    # Some intervals end where the limits of the score leave no room for larger steps.
    assert np.mean(np.array(below) > 0.96) > 0.9


def naive_bca(replicates, observed, acceleration, level):
    """Efron 1987 eq. 3.8 with order statistics, a curve at a time."""
    size = len(replicates)
    below = sum(value < observed for value in replicates)
    same = sum(value == observed for value in replicates)
    share = min(max((below + same / 2) / size, 1 / (size + 1)), size / (size + 1))
    bias, ends = norm.ppf(share), []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(tail)
        place = norm.cdf(bias + z / (1 - acceleration * z))
        rank = math.ceil((size + 1) * place - 1e-9)
        ends.append(sorted(replicates)[min(max(rank, 1), size) - 1])
    return ends


@given(
    st.lists(st.sampled_from([-INF, -2.0, 0.0, 1.0, 1.5, 3.0, INF]), min_size=19, max_size=60),
    st.sampled_from([-2.0, 0.0, 1.25, 3.0, INF]),
    st.floats(-0.2, 0.2),
    st.sampled_from([0.5, 0.9, 0.95]),
)
def test_bca_is_the_naive_one(replicates, observed, acceleration, level):
    ascending = np.sort(np.array([replicates]), axis=1)
    low, high = bca(ascending, np.array([observed]), np.array([acceleration]), level)
    assert [low[0], high[0]] == naive_bca(replicates, observed, acceleration, level)


def test_replicates_without_a_value_do_not_count():
    ascending = np.concatenate([np.arange(1.0, 100.0), np.full(900, NAN)])[None]
    assert percentile(ascending, 0.9) == (5.0, 95.0)
    assert bca(ascending, np.array([50.0]), np.zeros(1), 0.9) == (5.0, 95.0)
    found = run([[0.005, 0.0, 0.0]])  # half of the replicates are constant
    assert np.isfinite(found.emergence_percentile).all()
    assert np.isfinite(found.linearity_bca).all()


def test_percentiles_may_be_infinite():
    ascending = np.concatenate([np.arange(970.0), np.full(29, INF)])[None]
    low, high = percentile(ascending, 0.95)
    assert (low[0], high[0]) == (24.0, INF)


@pytest.mark.parametrize(
    ("truth", "n", "options"),
    [
        ([0.1, 0.1, 0.1, 0.1, 0.8, 0.8], 100, {}),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 200, {}),
        ([0.01, 0.02, 0.05, 0.2, 0.5, 0.8, 0.9], 1000, {}),
        ([0.3, 0.35, 0.2, 0.6, 0.55], 2000, {}),
    ],
)
def test_intervals_contain_the_truth(truth, n, options):
    rng = np.random.default_rng(5)
    batch = rng.binomial(n, truth, (300, len(truth))) / n
    found = run(batch, n=n, n_boot=199, **options)
    true = score_ragged(np.array(truth), np.array([0, len(truth)]))
    for name, value in (
        ("emergence", true.emergence_score[0]), ("linearity", true.linearity[0]),
    ):  # fmt: skip
        if value > 1e9:
            value = INF  # equal scores, up to rounding
        low, high = getattr(found, name).T
        inside = (low <= value * (1 + 1e-9)) & (high >= value * (1 - 1e-9))
        # 0.95 of 300 less three standard errors.
        assert inside.mean() > 0.91


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"level": 1.0}, "level"), ({"level": 0.0}, "level"), ({"n_boot": 18}, "n_boot"),
        ({"min_scales": -1}, "min_scales"),
    ],
)  # fmt: skip
def test_options_out_of_range(options, where):
    with pytest.raises(InputError, match=where):
        run([[0.1, 0.2, 0.9]], **options)


def test_progress_and_no_search():
    seen = []
    batch = [[0.1, 0.2, 0.9], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.9]]
    run(batch, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]
    found = run(batch, search=False)
    assert np.isnan(found.emergence).all()
    assert np.isnan(found.p_above).all()
    assert np.isfinite(found.emergence_percentile[0]).all()


def test_no_curves():
    assert run([]).emergence.shape == (0, 2)
