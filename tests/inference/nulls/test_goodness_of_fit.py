"""The fit of the mechanism without variation between models: by a loop, and its distribution."""

from __future__ import annotations

import numpy as np
import pytest
from null_curves import mechanism_curves, ragged

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.goodness_of_fit import goodness_of_fit, least_deviance
from bigbench_meta.inference.nulls.mechanism import (
    Design,
    MechanismCurves,
    deviance,
    draw_scores,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.monte_carlo import stream


def test_goodness_of_fit_is_a_loop_over_replicates():
    y, x, trials, offsets = ragged([6, 6], seed=2)
    tests = goodness_of_fit(MechanismCurves.checked(y, x, trials, offsets), n_boot=30, seed=1)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own])
        shape = Design(
            x=(log - log.mean())[:, None], trials=trials[own][:, None], floor=np.zeros(1)
        )  # fmt: skip
        zero = np.zeros(1)
        fit = fit_mechanism(y[own][:, None], shape, sigma=zero, resolution=0.0)
        observed = deviance(y[own][:, None], shape, fit)[0]
        rng = stream(1, "fit", y[own], shape.x[:, 0], np.log(trials[own]))
        large = 0
        for drawn in draw_scores(shape, fit, 0, 30, rng):
            again = fit_mechanism(drawn[:, None], shape, sigma=zero, resolution=0.0)
            large += deviance(drawn[:, None], shape, again)[0] >= observed - 1e-6
        assert tests.deviance[curve] == pytest.approx(observed)
        assert tests.p_value[curve] == (1 + large) / 31


def test_deviances_without_variation_are_about_chi_squared():
    curves = mechanism_curves([8] * 400, sigma=0.0, n=1000, seed=3)
    tests = goodness_of_fit(curves, n_boot=39)
    assert tests.deviance.mean() == pytest.approx(6, rel=0.1)
    assert tests.pearson.mean() == pytest.approx(6, rel=0.1)
    assert 0.02 < (tests.p_value <= 0.05).mean() < 0.08


def test_sister_models_alone_refute_the_bare_mechanism():
    curves = mechanism_curves([8] * 50, sigma=0.2, n=2000, seed=4)
    assert (goodness_of_fit(curves, n_boot=39).p_value < 0.05).mean() > 0.95
    assert (mechanism_null(curves, n_boot=39).p_step < 0.05).mean() < 0.2


def test_the_row_with_the_least_deviance_is_chosen_of_each_group():
    y, x, trials, offsets = ragged([6, 6, 6, 5], seed=6)
    y = np.tile(y[:6], 4)[: offsets[-1]]
    x = np.tile(x[:6], 4)[: offsets[-1]]
    floor = np.array([0.0, 0.2, 0.0, 0.0])
    curves = MechanismCurves.checked(y, x, trials, offsets, floor=floor)
    tests = goodness_of_fit(curves, n_boot=19)
    chosen = least_deviance(curves, np.array([0, 0, 1, 1]))
    assert chosen[0] == tests.deviance[:2].argmin()
    assert chosen[1] == 2 + tests.deviance[2:].argmin()


def test_too_few_replicates():
    with pytest.raises(InputError, match="n_boot: 5 is not a whole number of at least 19"):
        goodness_of_fit(mechanism_curves([6]), n_boot=5)
