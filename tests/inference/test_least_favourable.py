"""Families of curves behind a noisy one: their parameter, their limits, the curve itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from bigbench_meta.inference.inversion import value
from bigbench_meta.inference.least_favourable import BendWorlds, StepWorlds, pooled
from bigbench_meta.inference.replicates import of_rows

INF = np.inf


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
    ends = np.full((m, 1), low), np.full((m, 1), high)
    return StepWorlds(centre=centre, weight=error**-2, low=ends[0], high=ends[1])


def middle(curve):
    return np.sqrt(of_rows(curve).middle)


@given(noisy())
def test_no_middle_step_is_no_step_in_more_than_half(curve):
    world = steps_of(*curve).at(np.zeros(1))
    assert np.count_nonzero(np.abs(np.diff(world[0])) < 1e-12) > (world.shape[1] - 1) / 2 - 0.5
    assert middle(world)[0] < 1e-12


@given(noisy(), st.floats(0, 1))
def test_smaller_middle_steps_have_the_size_asked_for(curve, share):
    centre, error = curve
    asked = share * middle(centre)
    world = steps_of(centre, error).at(asked)
    assert middle(world)[0] <= asked[0] + 1e-9
    assert ((world >= 0) & (world <= 1)).all()


@given(noisy(), st.floats(1.001, 50))
def test_larger_middle_steps_have_the_size_asked_for_where_there_is_room(curve, factor):
    centre, error = curve
    assume(middle(centre)[0] > 0)
    asked = factor * middle(centre)
    free = steps_of(centre, error, -INF, INF).at(asked)
    assert middle(free)[0] >= asked[0] * (1 - 1e-9)
    within = steps_of(centre, error).at(asked)
    assert ((within >= 0) & (within <= 1)).all()
    # The larger a step is asked for, the less is left of the range in units of it.
    assert middle(within)[0] >= middle(centre)[0] * (1 - 1e-9) or np.ptp(within) > 0.99


@given(noisy())
def test_an_odd_number_of_steps_at_their_own_middle_is_the_curve_itself(curve):
    centre, error = curve
    assume(centre.shape[1] % 2 == 0)
    np.testing.assert_allclose(steps_of(centre, error).at(middle(centre)), centre, atol=1e-12)


def test_points_that_move_together_keep_to_the_weighted_mean():
    centre, error = np.array([[0.1, 0.16, 0.9]]), np.array([[0.01, 0.02, 0.01]])
    world = steps_of(centre, error).at(np.array([0.0]))
    # Weights 4 to 1: (4 * 0.1 + 0.16) / 5. Two steps: both of them make the middle.
    np.testing.assert_allclose(np.ptp(world), 0, atol=1e-12)
    weights = error[0] ** -2
    np.testing.assert_allclose(world[0, 0], centre[0] @ weights / weights.sum())
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
        pooled(both[0], both[1] ** -2, 0.05)[:1], pooled(centre, error**-2, 0.05), atol=1e-12
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
    found = pooled(centre, error**-2, level)
    np.testing.assert_allclose(found[0], naive_pooled(centre[0], error[0], level), atol=1e-9)


def bends_of(centre, error, low=-INF, high=INF):
    return BendWorlds(centre, error, np.array([[low]]), np.array([[high]]))


@given(noisy())
def test_bends_as_observed_are_the_curve_and_none_are_a_line(curve):
    centre, error = curve
    assume(np.ptp(centre) > 0)
    worlds = bends_of(centre, error)
    straight = worlds.at(np.zeros(1))
    if worlds.observed[0] >= 1e-3:
        np.testing.assert_allclose(worlds.at(worlds.observed), centre, atol=1e-9)
    n = centre.shape[1]
    first, last = sorted((int(centre[0].argmin()), int(centre[0].argmax())))
    assert np.ptp(straight) == np.ptp(centre)
    np.testing.assert_allclose(
        np.abs(value(of_rows(straight), "mean")), np.sqrt((last - first) * (n - 1))
    )


def test_a_straight_curve_gets_a_zigzag():
    centre = np.linspace(0, 1, 6)[None]
    worlds = bends_of(centre, np.full((1, 6), 0.05))
    assert worlds.observed[0] < 1e-9
    some, more = (value(of_rows(worlds.at(np.array([k]))), "mean")[0] for k in (1.0, 4.0))
    assert more < some < 5
