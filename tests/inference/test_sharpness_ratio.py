"""The interval of the ratio of two sharpnesses by joint replicates, against loops."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

from bigbench_meta.inference.inversion import StepFamily
from bigbench_meta.inference.sharpness_ratio import JointCurve, log_ratio_interval

LEVEL, GRID = 0.9, 33


def curve(seed, n=5, size=39, scale=0.05, resolution=0.0, low=-9.0, high=9.0):
    rng = np.random.default_rng(seed)
    y = np.cumsum(rng.uniform(-0.2, 1, n))
    errors = scale * np.random.default_rng(seed // 2).standard_normal((n, size))
    return JointCurve(y=y, errors=errors, low=low, high=high, resolution=resolution)


def log_sharpness(y, resolution):
    """Of one curve, in plain Python."""
    steps = [(b - a) ** 2 for a, b in pairwise(y)]
    return math.log(max(y) - min(y)) - math.log(
        max(math.sqrt(statistics.median(steps)), resolution)
    )


def replicated(one, seen, roots):
    """True curves whose median steps are squares of the roots, with what is seen of them."""
    unit = np.ptp(one.y) * np.sign(one.y.argmax() - one.y.argmin())
    family = StepFamily(
        ((one.y - one.y[0]) / unit)[None], (one.errors.std(axis=1) / abs(unit))[None],
        np.array([[-np.inf]]), np.array([[np.inf]]),
    )  # fmt: skip
    if roots is None:
        last = math.sqrt(family.observed[0] + 6 * family.error[0])
        roots = [last * place / (GRID - 1) for place in range(GRID)]
    curves = [one.y[0] + unit * family.at(np.array([root**2]))[0] for root in roots]
    replicates = [
        [log_sharpness((mean + error).tolist(), one.resolution) for error in one.errors.T]
        for mean in curves
    ]
    plausible = [
        min(statistics.fmean(t >= seen - 1e-9 for t in row),
            statistics.fmean(t <= seen + 1e-9 for t in row)) >= 0.4 * (1 - LEVEL) / 2
        for row in replicates
    ]  # fmt: skip
    true = [log_sharpness(mean.tolist(), one.resolution) for mean in curves]
    return roots, true, replicates, plausible


def naive(first, second):
    tail = (1 - LEVEL) / 2
    observed = [log_sharpness(one.y.tolist(), one.resolution) for one in (first, second)]
    sides = []
    for one, seen in zip((first, second), observed, strict=True):
        roots, *_, plausible = replicated(one, seen, None)
        places = [place for place, likely in enumerate(plausible) if likely]
        low, high = roots[max(places[0] - 1, 0)], roots[min(places[-1] + 1, GRID - 1)]
        finer = [low + (high - low) * place / (GRID - 1) for place in range(GRID)]
        sides.append(replicated(one, seen, finer)[1:])
    (true, own, likely), (other_true, other, other_likely) = sides
    kept = set()
    for g, h in np.ndindex(GRID, GRID):
        ratios = [b - a for a, b in zip(own[g], other[h], strict=True)]
        large = statistics.fmean(r >= observed[1] - observed[0] - 1e-9 for r in ratios)
        small = statistics.fmean(r <= observed[1] - observed[0] + 1e-9 for r in ratios)
        if min(large, small) >= 0.2 * tail and likely[g] and other_likely[h]:
            kept.add((g, h))
    near = [
        other_true[h] - true[g]
        for g, h in np.ndindex(GRID, GRID)
        if any((g + i, h + j) in kept for i in (-1, 0, 1) for j in (-1, 0, 1))
    ]
    return (min(near), max(near)) if near else (math.nan, math.nan)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_interval_is_that_of_loops(seed):
    first, second = curve(seed, resolution=0.02), curve(seed + 1, scale=0.1, resolution=0.05)
    wide = [JointCurve(**{**vars(one), "low": -np.inf, "high": np.inf}) for one in (first, second)]
    expected = naive(*wide)
    assert np.isfinite(expected).all()
    assert log_ratio_interval(*wide, level=LEVEL) == pytest.approx(expected)


@FEWER
@given(seed=st.integers(0, 10**6), unit=st.sampled_from([-2.0, 0.01, 300.0]))
def test_swapped_curves_turn_the_sign_and_units_do_not_matter(seed, unit):
    first, second = curve(seed, resolution=0.1), curve(seed + 1, resolution=0.1)
    low, high = log_ratio_interval(first, second, level=LEVEL)
    if math.isnan(low):
        return
    assert low <= high
    assert log_ratio_interval(second, first, level=LEVEL) == pytest.approx((-high, -low))
    ends = sorted([unit * first.low, unit * first.high])
    scaled = JointCurve(
        y=unit * first.y, errors=unit * first.errors, low=ends[0], high=ends[1],
        resolution=abs(unit) * first.resolution,
    )  # fmt: skip
    assert log_ratio_interval(scaled, second, level=LEVEL) == pytest.approx((low, high))


def test_the_same_curve_twice_has_a_ratio_of_one():
    one = curve(8, n=8, size=199, resolution=0.02)
    low, high = log_ratio_interval(one, one, level=LEVEL)
    assert low < 0 < high
    assert high == pytest.approx(-low)


def test_a_step_without_resolution_has_no_end():
    errors = 0.05 * np.random.default_rng(0).standard_normal((8, 199))
    step, line = np.repeat([0.0, 1.0], 4), np.linspace(0, 1, 8)
    curves = [JointCurve(y=y, errors=errors, low=-9, high=9, resolution=0) for y in (line, step)]
    low, high = log_ratio_interval(*curves, level=LEVEL)
    assert high == np.inf or math.isnan(high)
    assert not low > np.log(1e3)
