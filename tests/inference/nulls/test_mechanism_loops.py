"""The compiled loops: their exponentials, and arrays of any layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln

from bigbench_meta.inference.nulls import mechanism_loops as loops
from bigbench_meta.inference.nulls.mechanism import Design
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism


def raised(values):
    work = np.array([values, values], dtype=float)
    loops._raise_rows(work, 1, 2)
    assert np.array_equal(work[0], values, equal_nan=True)
    return work[1]


@given(st.lists(st.floats(-700, 700), min_size=1, max_size=30))
def test_exponentials_are_right_to_the_last_digit_but_one(values):
    expected = [math.exp(value) for value in values]
    np.testing.assert_allclose(raised(values), expected, rtol=4e-16)


def test_exponentials_at_the_ends():
    found = raised([-1e300, -np.inf, -709.0, 0.0, np.nan])
    assert np.array_equal(found, [0, 0, 0, 1, np.nan], equal_nan=True)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=30))
def test_logarithms_are_right_to_the_last_digit_but_one(values):
    rows = np.array([values])
    loops._take_logs(rows)
    np.testing.assert_allclose(rows[0], [math.log(value) for value in values], 5e-16, 1e-300)


def test_logarithms_next_to_one():
    values = 1.0 + np.concatenate([-np.geomspace(1e-16, 0.3, 99), np.geomspace(2e-16, 0.42, 99)])
    rows = values[None].copy()
    loops._take_logs(rows)
    np.testing.assert_allclose(rows[0], [math.log(value) for value in values], 5e-16)


def test_arrays_of_any_layout_are_fitted_by_the_same_code():
    rng = np.random.default_rng(0)
    x = np.linspace(-4.0, 4.0, 6)[:, None] + 0.01 * rng.standard_normal((6, 8))
    x -= x.mean(axis=0)
    y = np.exp(-np.exp(0.1 - 0.2 * x + 0.3 * rng.standard_normal((6, 8))))
    design = Design(x=x, trials=np.full((6, 8), 100.0), floor=np.zeros(8))
    plain = fit_mechanism(y, design)
    specialised = len(loops.fit_of.signatures)
    fixed = np.asfortranarray(y)
    fixed.flags.writeable = False
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    trials = np.broadcast_to(100.0, (6, 8))
    other = fit_mechanism(
        fixed, Design(x=wide, trials=trials, floor=np.broadcast_to(0.0, 8)), alpha_range=(0, 0.35)
    )
    assert np.array_equal(plain.level, other.level)
    assert np.array_equal(plain.sigma, other.sigma)
    assert len(loops.fit_of.signatures) == specialised


def test_shapes_that_do_not_fit_are_refused_before_the_loops():
    with pytest.raises(ValueError, match="broadcast"):
        loops.numbers(np.zeros((3, 2)), (4, 2))


@given(st.floats(1e-16, 1 - 1e-16), st.floats(0, 0.25), st.integers(1, 10**6), st.floats(0, 1))
def test_log_chance_is_that_of_the_beta_binomial(mean, between, trials, y):
    """Against scipy's log Gamma function, which loses digits where its arguments are large."""
    y = round(y * trials) / trials
    work = np.zeros((loops._ROWS, 3))
    work[loops._MEAN], work[loops._BETWEEN] = mean, between
    work[loops._Y], work[loops._TRIAL] = y, 1 / trials
    logs = np.empty((6, 3))
    loops._log_chances(work, 0.1, logs)
    found = logs[0, 0]
    assert (logs[0] == found).all()
    held = min(max(mean, 1e-15), 1 - 1e-15)
    right, wrong = y * trials, (1 - y) * trials
    share = min(between / (held * (1 - held)), 0.999)
    if share <= 1e-8:
        expected, terms = right * np.log(held) + wrong * np.log1p(-held), [1.0]
    else:
        total = 1 / share - 1
        a, b = held * total, (1 - held) * total
        terms = [
            gammaln(right + a), -gammaln(a), gammaln(wrong + b), -gammaln(b), gammaln(total),
            -gammaln(total + trials),
        ]  # fmt: skip
        expected = sum(terms)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-13 * np.abs(terms).sum() + 1e-9)
    assert found <= 1e-9
