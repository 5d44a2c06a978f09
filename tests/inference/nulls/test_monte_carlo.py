"""Sequential p-values: counted by hand, and their size under the null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.inference.nulls.monte_carlo import SequentialPValues, rounds


def naive_p_value(replicates, observed, stop_after):
    """One replicate after another; None cannot be tested."""
    large = valid = 0
    for value in replicates:
        if value is None:
            continue
        valid += 1
        large += value >= observed
        if large == stop_after:
            return large / valid
    return (1 + large) / (1 + valid)


few = st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=30)


@given(st.lists(few, min_size=1, max_size=4), st.integers(1, 5) | st.none(), st.integers(1, 7))
def test_replicates_are_counted_one_after_another(curves, stop_after, at_a_time):
    size = max(map(len, curves))
    padded = [curve + [None] * (size - len(curve)) for curve in curves]
    values = np.array(
        [[np.nan if v is None else v for v in curve] for curve in padded], dtype=float
    )
    found = SequentialPValues.start(np.full(len(curves), 3.0), stop_after)
    for start in range(0, size, at_a_time):
        part = values[:, start : start + at_a_time]
        rows = np.flatnonzero(~found.done) if start % 2 else np.arange(len(curves))
        found.add(rows, np.nan_to_num(part[rows], nan=9.0), ~np.isnan(part[rows]))
    expected = [naive_p_value(curve, 3, stop_after) for curve in curves]
    assert found.p_values() == pytest.approx(expected)


@given(st.integers(1, 2000), st.integers(1, 50) | st.none())
def test_rounds_come_to_the_number_of_replicates(n_boot, stop_after):
    assert sum(rounds(n_boot, stop_after)) == n_boot


@given(few, st.integers(1, 5), st.floats(0, 1), st.integers(1, 7))
def test_what_cannot_matter_ends_early_and_changes_no_largest_p_value(
    curve, stop_after, least, at_a_time
):
    """Of two p-values the larger counts: the second matters where it is above the first."""
    values = np.array([[np.nan if v is None else v for v in curve]], dtype=float)
    found = [
        SequentialPValues.start(np.array([3.0]), stop_after, np.array([first]))
        for first in (least, 0.0)
    ]
    for start in range(0, len(curve), at_a_time):
        part = values[:, start : start + at_a_time]
        for one in found:
            one.add(np.array([0]), np.nan_to_num(part, nan=9.0), ~np.isnan(part))
    early, full = (one.p_values()[0] for one in found)
    assert max(early, least) == max(full, least)
    assert found[0].valid[0] <= found[1].valid[0]


def test_infinite_statistics_are_ties():
    found = SequentialPValues.start(np.array([np.inf, -np.inf]), None)
    found.add(np.arange(2), np.array([[np.inf, 5.0, np.inf], [-np.inf, 0.0, np.inf]]))
    assert found.p_values().tolist() == [3 / 4, 1.0]


@pytest.mark.parametrize("stop_after", [None, 5])
def test_stopped_p_values_are_valid(stop_after):
    """Under the null the observed statistic is one more draw: P(p <= u) <= u."""
    draws = np.random.default_rng(3).standard_normal((20_000, 100))
    found = SequentialPValues.start(draws[:, 0], stop_after)
    found.add(np.arange(20_000), draws[:, 1:])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (found.p_values() <= level).mean() <= level + 4 * np.sqrt(level / 20_000)
        assert (found.p_values() <= level).mean() > 0.8 * level
