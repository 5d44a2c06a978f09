"""Intervals by inversion: invariants, limits, coverage, and the least favourable families."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm
from strategies import FEWER

from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.inference.inversion import (
    STATUSES,
    BendFamily,
    StepFamily,
    inverted_intervals,
    pooled,
)
from bigbench_meta.inference.resampling import PointNoise, of_curves

NAN, INF = np.nan, np.inf
PAIRS = ("emergence", "linearity")


def run(batch, *, n=200, stderr=NAN, low=0.0, high=1.0, **options):
    """Intervals of lists of scores."""
    y = np.array([value for curve in batch for value in curve], dtype=float)
    full = [np.broadcast_to(np.asarray(v, dtype=float), y.shape) for v in (n, stderr, low, high)]
    options.setdefault("n_boot", 99)
    return inverted_intervals(
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


def test_direction_is_uncertain_where_size_is_not():
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
    np.testing.assert_allclose(found.emergence[0], expected, atol=0.25 * error)
    steps = np.diff(y)
    q = np.sqrt(np.mean(steps**2))
    # d/dy of (y_4 - y_1) / q, with q^2 the mean of three squares.
    by_step = -r / q**3 * steps / 3
    slope = np.array([-1 / q, 0, 0, 1 / q])
    slope[1:] += by_step
    slope[:-1] -= by_step
    error = np.sqrt(slope**2 @ variance)
    expected = r / q + error * norm.ppf([0.025, 0.975])
    np.testing.assert_allclose(found.linearity[0], expected, atol=0.25 * error)


@pytest.mark.full
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


def test_progress():
    seen = []
    batch = [[0.1, 0.2, 0.9], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.9]]
    run(batch, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]


def test_no_curves():
    assert run([]).emergence.shape == (0, 2)


# --- Least favourable families ---


@st.composite
def noisy(draw, *, least=3, most=12):
    """A curve within [0, 1] and its standard errors, shape (1, scales)."""
    n = draw(st.integers(least, most))
    thousandths = st.integers(0, 1000).map(lambda number: number / 1000)
    y = draw(st.lists(thousandths, min_size=n, max_size=n))
    error = draw(st.lists(st.floats(0.001, 0.2), min_size=n, max_size=n))
    return np.array([y]), np.array([error])


def steps_of(centre, error, low=0.0, high=1.0):
    m = len(centre)
    return StepFamily(centre, error, np.full((m, 1), low), np.full((m, 1), high))


def median(curve):
    return of_curves(curve).denominator("median")


@given(noisy())
def test_no_median_step_is_no_step_in_more_than_half(curve):
    member = steps_of(*curve).at(np.zeros(1))
    assert np.count_nonzero(np.abs(np.diff(member[0])) < 1e-12) > (member.shape[1] - 1) / 2 - 0.5
    assert median(member)[0] < 1e-12


@given(noisy(), st.floats(0, 1))
def test_smaller_median_steps_have_the_size_asked_for(curve, share):
    centre, error = curve
    asked = share * median(centre)
    member = steps_of(centre, error).at(asked)
    assert median(member)[0] <= asked[0] + 1e-9
    assert ((member >= 0) & (member <= 1)).all()


@given(noisy(), st.floats(1.001, 50))
def test_larger_median_steps_have_the_size_asked_for_where_there_is_room(curve, factor):
    centre, error = curve
    assume(median(centre)[0] > 0)
    asked = factor * median(centre)
    free = steps_of(centre, error, -INF, INF).at(asked)
    assert median(free)[0] >= asked[0] * (1 - 1e-9)
    within = steps_of(centre, error).at(asked)
    assert ((within >= 0) & (within <= 1)).all()
    # The larger a step is asked for, the less is left of the range in units of it.
    assert median(within)[0] >= median(centre)[0] * (1 - 1e-9) or np.ptp(within) > 0.99


@given(noisy())
def test_an_odd_number_of_steps_at_their_own_median_is_the_curve_itself(curve):
    centre, error = curve
    assume(centre.shape[1] % 2 == 0)
    np.testing.assert_allclose(steps_of(centre, error).at(median(centre)), centre, atol=1e-12)


def test_points_that_move_together_keep_to_the_weighted_mean():
    centre, error = np.array([[0.1, 0.16, 0.9]]), np.array([[0.01, 0.02, 0.01]])
    member = steps_of(centre, error).at(np.array([0.0]))
    # Weights 4 to 1: (4 * 0.1 + 0.16) / 5. Two steps: both of them make the median.
    np.testing.assert_allclose(np.ptp(member), 0, atol=1e-12)
    weights = error[0] ** -2
    np.testing.assert_allclose(member[0, 0], centre[0] @ weights / weights.sum())
    longer = np.array([[0.1, 0.16, 0.9, 0.9]]), np.array([[0.01, 0.02, 0.01, 0.01]])
    np.testing.assert_allclose(
        steps_of(*longer).at(np.array([0.0]))[0], [0.112, 0.112, 0.9, 0.9], atol=1e-12
    )


@given(noisy(), st.floats(0, 3))
def test_curves_do_not_disturb_each_other(curve, step):
    centre, error = curve
    both = np.concatenate([centre, centre[:, ::-1]]), np.concatenate([error, error[:, ::-1]])
    asked = np.array([step, step / 2])
    together = steps_of(*both).at(asked)
    for row in range(2):
        alone = steps_of(both[0][[row]], both[1][[row]]).at(asked[[row]])
        np.testing.assert_allclose(together[[row]], alone, atol=1e-12)
    np.testing.assert_allclose(
        pooled(both[0], both[1], 0.05)[:1], pooled(centre, error, 0.05), atol=1e-12
    )


def naive_pooled(y, error, level):
    """Join the two least different neighbours until all that remain differ significantly."""
    groups = [([value], [1 / e**2]) for value, e in zip(y, error, strict=True)]
    limit = norm.isf(level / 2 / (len(y) - 1))

    def mean(group):
        return np.dot(*group) / sum(group[1])

    while len(groups) > 1:
        z = [
            abs(mean(b) - mean(a)) / np.sqrt(1 / sum(a[1]) + 1 / sum(b[1]))
            for a, b in pairwise(groups)
        ]
        nearest = int(np.argmin(z))
        if z[nearest] >= limit:
            break
        a, b = groups[nearest : nearest + 2]
        groups[nearest : nearest + 2] = [(a[0] + b[0], a[1] + b[1])]
    return [mean(group) for group in groups for _ in group[0]]


@given(noisy(), st.sampled_from([0.01, 0.05, 0.3]))
def test_pooled_is_the_naive_one(curve, level):
    centre, error = curve
    # No two differences equal up to rounding, where the order is anybody's guess.
    centre = centre + np.arange(centre.shape[1]) * np.sqrt(2) * 1e-5
    found = pooled(centre, error, level)
    np.testing.assert_allclose(found[0], naive_pooled(centre[0], error[0], level), atol=1e-9)


def bends_of(centre, error, low=-INF, high=INF):
    return BendFamily(centre, error, np.array([[low]]), np.array([[high]]))


@given(noisy())
def test_bends_as_observed_are_the_curve_and_none_are_a_line(curve):
    centre, error = curve
    assume(np.ptp(centre) > 0)
    family = bends_of(centre, error)
    straight = family.at(np.zeros(1))
    if family.observed[0] >= 1e-3:
        np.testing.assert_allclose(family.at(family.observed), centre, atol=1e-9)
    n = centre.shape[1]
    first, last = sorted((int(centre[0].argmin()), int(centre[0].argmax())))
    assert np.ptp(straight) == np.ptp(centre)
    np.testing.assert_allclose(
        np.abs(of_curves(straight).ratio("mean")), np.sqrt((last - first) * (n - 1))
    )


def test_a_straight_curve_gets_a_zigzag():
    centre = np.linspace(0, 1, 6)[None]
    family = bends_of(centre, np.full((1, 6), 0.05))
    assert family.observed[0] < 1e-9
    some, more = (of_curves(family.at(np.array([k]))).ratio("mean")[0] for k in (1.0, 4.0))
    assert more < some < 5
