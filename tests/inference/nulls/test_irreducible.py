"""The irreducible part of a loss: by loops, and on curves that have one."""

from __future__ import annotations

import mechanism_oracles as naive
import numpy as np
import pytest
from null_curves import family_arrays

from bigbench_meta.inference.nulls.irreducible import IRREDUCIBLE, least_scatter
from bigbench_meta.inference.nulls.links import SHARE
from bigbench_meta.inference.nulls.mechanism import Design, MechanismCurves
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

LOG = np.linspace(18, 26, 10)
X = LOG - LOG.mean()


def curves_of(y, n=1e6, **options):
    m = len(y)
    return MechanismCurves.checked(
        np.ravel(y), np.tile(np.exp(LOG), m), np.full(10 * m, n), 10 * np.arange(m + 1), **options
    )


@pytest.mark.parametrize("known", [np.nan, 0.15])
def test_it_is_the_value_of_least_weighted_squares(known):
    y, x, trials, offsets = family_arrays(6, 0.15)
    curves = MechanismCurves.checked(y, x, trials, offsets, sigma=known)
    found = least_scatter(curves)
    for curve in range(6):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own]) - np.log(x[own]).mean()
        scores, axis, n = y[own][:, None], log[:, None], trials[own][:, None]
        plain = Design(x=axis, trials=n, floor=np.zeros(1))
        sigma = fit_mechanism(scores, plain, sigma=np.array([known])).sigma
        squares = []
        for value in IRREDUCIBLE:
            fit = fit_mechanism(
                scores,
                Design(x=axis, trials=n, floor=np.zeros(1), irreducible=np.array([value])),
                sigma=sigma,
            )
            residual, _, variance, weight = naive.curve_pieces(
                y[own], log, trials[own], (fit.level[0], fit.alpha[0], sigma[0]), SHARE, 0.0, 1.0,
                irreducible=value,
            )  # fmt: skip
            squares.append((variance * weight * residual**2 * weight).sum())
        assert found[curve] == IRREDUCIBLE[int(np.argmin(squares))]


@pytest.mark.parametrize("value", IRREDUCIBLE)
def test_curves_without_noise_give_it(value):
    log_loss = np.log(value + np.exp(-0.34 * X)) - np.log(1 + value)
    assert least_scatter(curves_of([np.exp(-np.exp(log_loss))])) == [value]


def test_a_jump_has_none_at_the_small_end_only():
    """A fall late on the axis is the opposite of what an irreducible part does."""
    late = np.exp(-np.exp(0.8 - 0.02 * X - 1.5 * (X > 2)))
    assert least_scatter(curves_of([late], 500.0)) == [0.0]


def test_no_curves():
    assert least_scatter(curves_of(np.empty((0, 10)))).shape == (0,)
