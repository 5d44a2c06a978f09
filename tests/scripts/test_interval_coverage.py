"""Percentile and BCa intervals of scripts/interval_coverage.py, and its example on the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import ROOT
from helpers import loaded_script
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import norm
from strategies import FEWER

from bigbench_meta.core.ragged import Ragged
from bigbench_meta.inference.resampling import PointNoise
from bigbench_meta.inference.uncertainty import SamplingErrors

NAN, INF = np.nan, np.inf
PAIRS = ("emergence_percentile", "emergence_bca", "linearity_percentile", "linearity_bca")


@pytest.fixture(scope="module")
def script():
    with loaded_script("interval_coverage") as loaded:
        yield loaded


def noise_of(y, n=200, low=0.0, high=1.0):
    values = np.asarray(y, dtype=float)
    full = [np.broadcast_to(np.asarray(v, dtype=float), values.shape) for v in (n, NAN, low, high)]
    return PointNoise.of(values, *full)


def run(script, batch, *, level=0.95, n_boot=99, **noise):
    """Intervals of lists of scores, each of shape (curves, 2)."""
    y = np.array([value for curve in batch for value in curve], dtype=float)
    errors = SamplingErrors(values=y, noise=noise_of(y, **noise), source=np.array([]), resampled={})
    ragged = Ragged.of_lengths(np.array([len(curve) for curve in batch], dtype=np.int64))
    ends = script.plain_intervals(errors, ragged, level=level, n_boot=n_boot, seed=0)
    return {
        name: np.stack([ends[f"{name}_{end}"] for end in ("low", "high")], axis=1) for name in PAIRS
    }


counts = st.lists(st.integers(0, 200).map(lambda k: k / 200), min_size=1, max_size=8)
curves = st.one_of(
    counts,
    st.lists(st.integers(0, 2).map(lambda k: k / 200), min_size=2, max_size=6).map(
        lambda y: [*y, 0.9]
    ),
)


@FEWER
@given(st.lists(curves, min_size=1, max_size=4))
def test_a_curve_depends_on_itself_alone_and_upside_down_is_the_negative(script, batch):
    together = run(script, batch)
    for row, curve in enumerate(batch):
        up = run(script, [curve])
        down = run(script, [[-y for y in curve]], low=-1.0, high=0.0)
        for name in PAIRS:
            np.testing.assert_allclose(together[name][row], up[name][0], rtol=1e-6)
            np.testing.assert_allclose(down[name], -up[name][:, ::-1], rtol=1e-6)


@FEWER
@given(curves)
def test_ends_are_in_order_and_a_higher_level_is_a_wider_interval(script, curve):
    narrow, wide = run(script, [curve], level=0.8), run(script, [curve])
    known = len(curve) >= 3 and len(set(curve)) > 1
    for name in PAIRS:
        inner, outer = narrow[name][0], wide[name][0]
        assert np.isnan(outer).all() == (not known)
        if known:
            assert outer[0] <= outer[1]
            assert (np.abs(outer) >= 1 - 1e-9).all()
            if name.startswith("linearity"):
                assert (np.abs(outer) <= len(curve) - 1 + 1e-9).all()
            if name != "linearity_bca":
                assert outer[0] <= inner[0]
                assert inner[1] <= outer[1]


def test_hardly_any_noise_is_the_delta_method(script):
    y = np.array([0.1, 0.2, 0.35, 0.8])  # steps 0.1, 0.15 and 0.45: E = 0.7 / 0.15
    n = 1_000_000
    found = run(script, [y], n=n, n_boot=999)
    variance = y * (1 - y) / n
    r, m = 0.7, 0.15
    steps = np.diff(y)
    q = np.sqrt(np.mean(steps**2))
    by_step = -r / q**3 * steps / 3
    of_linearity = np.array([-1 / q, 0, 0, 1 / q])
    of_linearity[1:] += by_step
    of_linearity[:-1] -= by_step
    for name, value, slope in (
        ("emergence", r / m, np.array([-1 / m, r / m**2, -r / m**2, 1 / m])),
        ("linearity", r / q, of_linearity),
    ):
        error = np.sqrt(slope**2 @ variance)
        expected = value + error * norm.ppf([0.025, 0.975])
        for kind in ("percentile", "bca"):
            np.testing.assert_allclose(found[f"{name}_{kind}"][0], expected, atol=0.25 * error)


def test_third_moment_is_that_of_scipy(script):
    noise = noise_of([10.0, 90.0], 20, low=0.0, high=100.0)
    skew = stats.binom(20, noise.mean / 100).stats("s")
    np.testing.assert_allclose(script.third_moment(noise), skew * noise.error**3)
    unbounded = noise_of([3.0, 4.0], 100, low=-INF, high=INF)
    np.testing.assert_array_equal(script.third_moment(unbounded), [0.0, 0.0])


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
def test_bca_is_the_naive_one(script, replicates, observed, acceleration, level):
    ascending = np.sort(np.array([replicates]), axis=1)
    low, high = script.bca(ascending, np.array([observed]), np.array([acceleration]), level)
    assert [low[0], high[0]] == naive_bca(replicates, observed, acceleration, level)


def test_replicates_without_a_value_do_not_count(script):
    ascending = np.concatenate([np.arange(1.0, 100.0), np.full(900, NAN)])[None]
    assert script.percentile(ascending, 0.9) == (5.0, 95.0)
    assert script.bca(ascending, np.array([50.0]), np.zeros(1), 0.9) == (5.0, 95.0)
    found = run(script, [[0.005, 0.0, 0.0]])  # half of the replicates are constant
    assert np.isfinite(found["emergence_percentile"]).all()
    assert np.isfinite(found["linearity_bca"]).all()


def test_percentiles_may_be_infinite(script):
    ascending = np.concatenate([np.arange(970.0), np.full(29, INF)])[None]
    low, high = script.percentile(ascending, 0.95)
    assert (low[0], high[0]) == (24.0, INF)


def test_example_of_the_page(script, capsys):
    script.example()
    printed = capsys.readouterr().out
    assert printed in (ROOT / "docs" / "uncertainty.md").read_text("utf-8")
