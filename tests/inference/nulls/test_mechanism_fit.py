"""The fit of the mechanism: against statsmodels, root finding and curves without noise."""

from __future__ import annotations

import mechanism_oracles as naive
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.links import BRIER, SHARE, grade
from bigbench_meta.inference.nulls.mechanism import SIGMA_MAX, Design, mechanism_moments
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism

ANY = (-np.inf, np.inf)


def design(x, trials, floor=0.0, link=SHARE, irreducible=0.0):
    x = np.asarray(x, dtype=float)
    m = x.shape[1]
    low = np.broadcast_to(np.asarray(floor, dtype=float), (m,))
    return Design(
        x=x - x.mean(axis=0), trials=np.broadcast_to(np.asarray(trials, dtype=float), x.shape),
        floor=low, link=link, irreducible=np.full(m, irreducible) if irreducible else None,
    )  # fmt: skip


def simulated(shape, level, alpha, sigma, seed):
    """Curves drawn from the mechanism, scale first."""
    rng = np.random.default_rng(seed)
    law, _ = shape.law(np.full(shape.x.shape[1], alpha))
    log_loss = level + law + sigma * rng.standard_normal(shape.x.shape)
    mean = shape.floor + shape.span * shape.link(log_loss)[0]
    return rng.binomial(shape.trials.astype(int), mean) / shape.trials


def axis(n, m, seed=0):
    return np.sort(np.random.default_rng(seed).uniform(18, 26, (n, m)), axis=0)


def test_binomial_maximum_likelihood_is_that_of_statsmodels():
    """Without variation and resolution: P(wrong) has a complementary log-log link."""
    shape = design(axis(8, 30), 200.0)
    y = simulated(shape, 0.2, 0.2, 0.3, 1)
    fit = fit_mechanism(y, shape, alpha_range=ANY, sigma=np.zeros(30), resolution=0.0)
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    for j in range(30):
        regressors = np.stack([np.ones(8), -shape.x[:, j]], axis=1)
        found = sm.GLM(1 - y[:, j], regressors, family=family, var_weights=np.full(8, 200)).fit(
            tol=1e-12
        )
        assert [fit.level[j], fit.alpha[j]] == pytest.approx(found.params, abs=2e-5)
    assert not fit.status.any()


def test_at_its_bound_alpha_maximises_the_likelihood_on_the_bound():
    shape = design(axis(8, 20), 500.0)
    y = simulated(shape, 0.2, 0.6, 0.0, 2)
    fit = fit_mechanism(y, shape, sigma=np.zeros(20), resolution=0.0)
    assert np.all(fit.at_bound == 1)
    assert np.all(fit.alpha == 0.35)
    for j in range(20):

        def loss(level, j=j):
            right = np.exp(-np.exp(level - 0.35 * shape.x[:, j]))
            return -(y[:, j] * np.log(right) + (1 - y[:, j]) * np.log1p(-right)).sum()

        best = optimize.minimize_scalar(loss, bounds=(-6, 3), method="bounded",
                                        options={"xatol": 1e-9})  # fmt: skip
        assert fit.level[j] == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize(("link", "floor"), [(SHARE, 0.0), (SHARE, 0.25), (BRIER, 0.1)])
@pytest.mark.parametrize(("sigma", "irreducible"), [(0.0, 0.0), (0.2, 0.0), (0.2, 0.7)])
def test_the_equations_are_solved(link, floor, sigma, irreducible):
    m = 12
    shape = design(axis(7, m, 3), 300.0, floor, link, irreducible)
    y = simulated(shape, 0.0, 0.15, sigma, 4)
    fit = fit_mechanism(y, shape, sigma=np.full(m, sigma))
    for j in range(m):
        own = (y[:, j], shape.x[:, j], shape.trials[:, j])
        level, alpha = naive.fit_mean(
            *own, sigma, link, floor, 1 - floor, (0.0, 0.35), (fit.level[j] + 0.1, 0.1),
            irreducible=irreducible,
        )  # fmt: skip
        assert [fit.level[j], fit.alpha[j]] == pytest.approx([level, alpha], abs=1e-5)


def test_sigma_solves_the_moment_equation():
    """By bisection of the naive ratio, the mean fitted anew at each trial value."""
    m = 15
    shape = design(axis(8, m, 5), 400.0, 0.2)
    y = simulated(shape, 0.0, 0.15, 0.4, 6)
    fit = fit_mechanism(y, shape)
    assert (fit.sigma > 0).sum() > 10
    for j in range(m):
        own = (y[:, j], shape.x[:, j], shape.trials[:, j])

        def excess(sigma, own=own, j=j):
            start = (fit.level[j], fit.alpha[j])
            theta = naive.fit_mean(*own, sigma, SHARE, 0.2, 0.8, (0.0, 0.35), start)
            return naive.dispersion_ratio(
                *own, (*theta, sigma), SHARE, 0.2, 0.8, at_bound=theta[1] in (0.0, 0.35)
            ) - 1  # fmt: skip

        if fit.sigma[j] == 0:
            assert excess(0.0) <= 1e-3
        elif 0 < fit.alpha[j] < 0.35:
            assert excess(fit.sigma[j]) == pytest.approx(0, abs=2e-3)
        else:  # the ratio can jump where alpha comes to a bound
            assert excess(fit.sigma[j] * 0.97) * excess(fit.sigma[j] * 1.03) < 0.01


@given(st.floats(-2, 1), st.floats(0.01, 0.34), st.sampled_from([SHARE, BRIER, grade(4, 10.0)]),
       st.sampled_from([0.0, 0.25]), st.sampled_from([0.0, 0.5]))  # fmt: skip
def test_curves_without_noise_give_their_parameters(level, alpha, link, floor, irreducible):
    shape = design(np.linspace(19, 24, 6)[:, None], 1e6, floor, link, irreducible)
    y, _, _ = mechanism_moments(level + shape.law(np.array([alpha]))[0], np.zeros(1), shape)
    fit = fit_mechanism(y, shape)
    expected, _, _ = mechanism_moments(fit.log_loss(shape), fit.sigma, shape)
    assert expected == pytest.approx(y, abs=2e-4)
    if link.kind != "grade":
        assert [fit.level[0], fit.alpha[0]] == pytest.approx([level, alpha], abs=1e-3)
        assert fit.sigma[0] == pytest.approx(0, abs=1e-3)


def test_an_offset_takes_the_place_of_the_level():
    shape = design(axis(6, 4), 300.0)
    y = simulated(shape, 0.0, 0.2, 0.0, 8)
    plain = fit_mechanism(y, shape, sigma=np.zeros(4))
    moved = fit_mechanism(y, shape, sigma=np.zeros(4), offset=np.full((6, 4), 0.7))
    assert moved.level == pytest.approx(plain.level - 0.7, abs=1e-5)
    assert moved.alpha == pytest.approx(plain.alpha, abs=1e-6)


def test_a_column_does_not_depend_on_the_others():
    shape = design(axis(7, 40, 1), 100.0)
    y = simulated(shape, 0.3, 0.2, 0.3, 9)
    together = fit_mechanism(y, shape)
    some = np.array([31, 2, 17])
    alone = fit_mechanism(y[:, some], shape.take(some))
    for name in ("level", "alpha", "sigma", "at_bound", "status"):
        assert np.array_equal(getattr(alone, name), getattr(together, name)[some]), name


def test_sigma_has_a_largest_value():
    shape = design(np.linspace(18, 26, 8)[:, None], 1e5)
    y = np.array([0.9, 0.01, 0.95, 0.02, 0.9, 0.01, 0.99, 0.02])[:, None]
    fit = fit_mechanism(y, shape)
    assert 1 < fit.sigma[0] <= SIGMA_MAX


@pytest.mark.parametrize(
    "link", [SHARE, BRIER, grade(2, 100.0), grade(4, 100.0, from_chance=False)]
)
@pytest.mark.parametrize("resolution", [0.0, 0.5])
def test_scores_at_the_ends_of_the_range_are_fitted(link, resolution):
    """Scores of exactly 0 and 1, where weights and slopes vanish or overflow, are no trouble."""
    rng = np.random.default_rng(0)
    m = 300
    shape = design(axis(8, m), rng.choice([20.0, 1000.0, 1e6], size=(8, m)), 0.25, link)
    y = rng.choice([0.0, 0.25, 1.0], size=(8, m))
    y[:, 0], y[:, 1] = 1.0, np.where(np.arange(8) > 3, 1.0, 0.999)
    sigma = np.zeros(m) if resolution == 0 else None
    fit = fit_mechanism(y, shape, sigma=sigma, resolution=resolution)
    assert np.isfinite(fit.level).all()
    assert np.isfinite(fit.alpha).all()
    assert (fit.status == 0).mean() > 0.8


def test_what_does_not_fit_together_is_said():
    shape = design(axis(5, 2), 10.0)
    with pytest.raises(InputError, match=r"y: shape \(4, 2\), but that of x is \(5, 2\)"):
        fit_mechanism(np.zeros((4, 2)), shape)
    with pytest.raises(InputError, match=r"alpha_range: \(0.3, 0.1\) is not a range"):
        fit_mechanism(np.zeros((5, 2)), shape, alpha_range=(0.3, 0.1))
