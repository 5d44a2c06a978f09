"""The smooth mechanism: moments by quadrature, scores by hand, draws by the paper's formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate import mirage, multiple_choice
from bigbench_meta.inference.nulls.links import BRIER, SHARE, brier, grade
from bigbench_meta.inference.nulls.mechanism import (
    RESOLUTION,
    SIGMA_GRID,
    TAILS,
    Design,
    MechanismCurves,
    MechanismFit,
    Variation,
    deviance,
    dispersion,
    draw_scores,
    mechanism_moments,
    pearson,
    pieces,
    step_scores,
)

LINKS = [
    SHARE,
    BRIER,
    brier(2.0),
    grade(2, 100.0),
    grade(4, 10.0),
    grade(3, 100.0, from_chance=False),
]


def design(n, m=1, *, trials=100.0, floor=0.0, link=SHARE, seed=0):
    log = np.sort(np.random.default_rng(seed).uniform(18, 26, (n, m)), axis=0)
    return Design(
        x=log - log.mean(axis=0), trials=np.full((n, m), trials), floor=np.full(m, floor), link=link
    )


def fit_of(level, alpha, sigma=0.0, at_bound=0):
    level = np.atleast_1d(np.asarray(level, dtype=float))
    same = np.broadcast_to
    return MechanismFit(
        level=level, alpha=same(float(alpha), level.shape), sigma=same(float(sigma), level.shape),
        at_bound=same(np.int8(at_bound), level.shape), status=same(np.int8(0), level.shape),
    )  # fmt: skip


# --- Links ---


@given(st.floats(-12, 4), st.sampled_from([2, 3, 4, 7]), st.sampled_from([0.01, 1, 10, 100]),
       st.booleans())  # fmt: skip
def test_grades_are_those_of_the_papers_model(log_loss, n_choices, concentration, from_chance):
    link = grade(n_choices, concentration, from_chance=from_chance)
    share, _ = link(np.array([log_loss]))
    expected = multiple_choice.expected_multiple_choice_grade(
        np.exp([log_loss]), n_choices=n_choices, concentration=concentration,
        chance_floor=from_chance,
    )  # fmt: skip
    chance = 1 / n_choices if from_chance else 0.0
    assert chance + (1 - chance) * share == pytest.approx(expected, abs=2e-4)


@given(st.floats(-10, 4), st.sampled_from([1, 3, 10]))
def test_share_and_brier_are_those_of_the_papers_model(log_loss, length):
    loss = np.exp([log_loss])
    exact, _ = SHARE(np.log(length * loss))
    assert exact == pytest.approx(mirage.expected_accuracy(loss, target_length=length), abs=1e-12)
    smooth, _ = BRIER(np.log(loss))
    brier = multiple_choice.expected_brier_score(
        loss, n_choices=4, concentration=np.inf, chance_floor=True
    )  # from 3/4 down to 0
    assert 0.75 * (1 - smooth) == pytest.approx(brier, abs=1e-12)


@given(st.floats(-10, 4), st.sampled_from([2, 4]), st.sampled_from([0.5, 3.0, 100.0]))
def test_brier_scores_of_questions_that_differ_are_those_of_the_papers_model(
    log_loss, n_choices, concentration
):
    share, _ = brier(concentration)(np.array([log_loss]))
    worst = (1 - 1 / n_choices) * (1 + 1 / (concentration + 1))
    expected = multiple_choice.expected_brier_score(
        np.exp([log_loss]), n_choices=n_choices, concentration=concentration, chance_floor=True
    )
    assert worst * (1 - share) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_slopes_are_derivatives_and_inverses_invert(link):
    at = np.linspace(-6, 2.5, 80)
    _, slope = link(at)
    # Over a whole stretch of the straight lines of a table.
    wide = 1 / 128 if link.kind == "grade" else 1e-5
    differences = (link(at + wide)[0] - link(at - wide)[0]) / (2 * wide)
    assert slope == pytest.approx(differences, abs=0.02 if link.kind == "grade" else 1e-8)
    share = np.array([0.01, 0.3, 0.5, 0.9, 0.99])
    assert link(link.log_loss(share))[0] == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("link", LINKS)
def test_links_fall_from_one_to_zero(link):
    share, slope = link(np.linspace(-40, 40, 500))
    assert np.all(np.diff(share) <= 0)
    assert np.all(slope <= 0)
    assert share[0] == pytest.approx(1, abs=1e-4)
    assert share[-1] == pytest.approx(0, abs=1e-4)


def test_a_brier_score_says_what_is_out_of_range():
    with pytest.raises(InputError, match="concentration: 0 is not above 0"):
        brier(0.0)


@pytest.mark.parametrize(
    ("choices", "concentration", "message"),
    [(1, 10.0, "n_choices: 1 is below 2"), (2, 0.0, "concentration: 0 is not"),
     (2, 101.0, "101 is not between"), (2, float("nan"), "nan is not between")],
)  # fmt: skip
def test_a_grade_says_what_is_out_of_range(choices, concentration, message):
    with pytest.raises(InputError, match=message):
        grade(choices, concentration)


# --- The law ---


@given(st.floats(0, 2), st.floats(0, 5), st.integers(0, 20))
def test_the_law_is_that_of_a_loss_with_an_irreducible_part(alpha, irreducible, seed):
    """E + A / N^alpha, whatever the unit of N; and its derivative by differences."""
    shape = replace(design(6, seed=seed), irreducible=np.array([irreducible]))
    size = np.exp(shape.x[:, 0] + 20)
    reducible = 7 * (size / np.exp(20)) ** -alpha  # 7 in the middle of the axis
    log_loss, lean = shape.law(np.array([alpha]))
    assert np.log(7) + log_loss[:, 0] == pytest.approx(np.log(7 * irreducible + reducible))
    up, down = (shape.law(np.array([alpha + change]))[0] for change in (1e-6, -1e-6))
    assert lean == pytest.approx((down - up) / 2e-6, abs=1e-6)


def test_a_distribution_of_sigma_is_worth_as_many_degrees_of_freedom_as_it_is_narrow():
    """Those of a scaled inverse chi-squared of sigma^2, whose log has a variance of trigamma."""
    weight = np.full((3, len(SIGMA_GRID)), np.nan)
    weight[0], weight[1] = 0.0, 0.0
    weight[0, 10], weight[1, [8, 12]] = 1.0, 0.5
    found = Variation.of(np.array([9.0, 9.0, 0.3]), weight)
    log = np.log(SIGMA_GRID)
    assert found.sigma == pytest.approx([SIGMA_GRID[10], SIGMA_GRID[10], 0.3])
    assert special.polygamma(1, found.df[1] / 2) == pytest.approx((log[12] - log[8]) ** 2)
    assert found.df[0] > 1e5
    assert found.df[2] == np.inf
    assert found.take(np.array([1])).df == found.df[1]


# --- Moments ---


@pytest.mark.parametrize("link", LINKS[:2])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("log_loss", [-2.0, 0.0, 1.0])
def test_moments_are_integrals_over_models(link, sigma, log_loss):
    """By adaptive quadrature; three nodes are near it where models do not differ wildly."""
    shape = design(1, floor=0.25, link=link)

    def mean_of(power):
        def part(u):
            value = 0.25 + 0.75 * float(link(np.array(log_loss + sigma * u))[0])
            return value**power * stats.norm.pdf(u)

        return integrate.quad(part, -9, 9)[0]

    mean, _, between = mechanism_moments(np.full((1, 1), log_loss), np.array([sigma]), shape)
    assert mean.item() == pytest.approx(mean_of(1), abs=0.003)
    assert between.item() == pytest.approx(mean_of(2) - mean_of(1) ** 2, abs=0.003, rel=0.1)


def test_the_variance_between_models_takes_from_that_within():
    """The variance of right or wrong over all models is mean (1 - mean), however they differ."""
    shape = design(3, trials=1.0)
    log_loss = np.array([[0.5], [0.0], [-0.5]])
    mean, _, between = mechanism_moments(log_loss, np.array([0.5]), shape)
    found = pieces(np.zeros((3, 1)), log_loss, np.array([0.5]), shape)
    assert found.variance == pytest.approx(mean * (1 - mean))
    assert np.all(between > 0.01)
    assert found.weight == pytest.approx(1 / (found.variance + RESOLUTION**2))


# --- The statistic ---


@pytest.mark.parametrize("at_bound", [0, 1])
@pytest.mark.parametrize("link", LINKS[:3])
def test_step_scores_are_partial_regressions(link, at_bound):
    """Weighted least squares of the residual on the step, level and slope projected out."""
    rng = np.random.default_rng(4)
    shape, fit = design(7, link=link), fit_of(0.3, 0.2, 0.1, at_bound)
    y = rng.uniform(size=(7, 1))
    found = pieces(y, fit.log_loss(shape), fit.sigma, shape)
    root = np.sqrt(found.weight[:, 0])
    slope = found.slope[:, 0]
    nuisance = [slope * root] if at_bound else [slope * root, -slope * shape.x[:, 0] * root]
    scores = step_scores(y, shape, fit)[:, 0]
    for k, score in enumerate(scores):
        step = -slope * (np.arange(7) > k) * root
        step -= sm.OLS(step, np.stack(nuisance, axis=1)).fit().fittedvalues
        information = step @ step
        # The score of the residuals as they are, not of what level and alpha leave of them.
        expected = step @ (found.residual[:, 0] * root) / np.sqrt(information)
        assert score == pytest.approx(expected if information > 0.01 else -np.inf, rel=1e-6)


def test_a_jump_scores_where_it_is_and_a_fall_does_not():
    shape = design(8, trials=1000.0)
    fit = fit_of(0.0, 0.1)
    smooth = mechanism_moments(fit.log_loss(shape), fit.sigma, shape)[0]
    jump = np.where(np.arange(8)[:, None] > 4, smooth + 0.2, smooth)
    assert step_scores(jump, shape, fit)[:, 0].argmax() == 4
    fall = np.where(np.arange(8)[:, None] > 4, smooth - 0.2, smooth)
    assert step_scores(fall, shape, fit)[4, 0] < -5


def test_dispersion_of_what_fits_is_near_its_expectation():
    """Means over simulated curves at known parameters: n points, two parameters not fitted."""
    shape, fit = design(8, 1, trials=400.0), fit_of(0.0, 0.2, 0.3)
    y = draw_scores(shape, fit, 0, 4000, np.random.default_rng(2)).T
    many = shape.take(np.zeros(4000, dtype=np.int64))
    found = pieces(y, np.repeat(fit.log_loss(shape), 4000, axis=1), np.full(4000, 0.3), many)
    observed, expected = dispersion(found, many.x, np.zeros(4000, dtype=bool))
    assert observed.mean() == pytest.approx(8, rel=0.06)
    assert expected[0] == pytest.approx(6, rel=0.02)
    bound = dispersion(found, many.x, np.ones(4000, dtype=bool))[1]
    assert bound[0] == pytest.approx(7, rel=0.02)


# --- Goodness of fit ---


def test_deviance_and_pearson_are_those_of_statsmodels():
    """P(wrong) = 1 - exp(-exp(eta)): the complementary log-log link of failures."""
    rng = np.random.default_rng(1)
    shape, fit = design(8, trials=300.0), fit_of(0.2, 0.25)
    right = rng.binomial(300, 0.5, 8)
    right[0], right[-1] = 0, 300
    eta = fit.log_loss(shape)[:, 0]
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    miss = family.link.inverse(eta)
    y = right / 300
    assert deviance(y[:, None], shape, fit).item() == pytest.approx(
        family.deviance(1 - y, miss, var_weights=300), rel=1e-6
    )
    chi2 = 300 * (y - (1 - miss)) ** 2 / (miss * (1 - miss))
    assert pearson(y[:, None], shape, fit).item() == pytest.approx(chi2.sum(), rel=1e-6)


def test_deviance_stays_finite_at_the_ends():
    shape, fit = design(4, trials=10.0), fit_of(-60.0, 0.1)
    assert np.isfinite(deviance(np.zeros((4, 1)), shape, fit)).all()
    assert deviance(np.ones((4, 1)), shape, fit).item() == pytest.approx(0)
    hopeless = fit_of(60.0, 0.1)
    assert np.isfinite(deviance(np.ones((4, 1)), shape, hopeless)).all()
    assert deviance(np.zeros((4, 1)), shape, hopeless).item() == pytest.approx(0)


# --- Draws ---


@pytest.mark.parametrize("link", LINKS)
def test_draws_have_the_moments(link):
    # Three nodes see no more of a steep grade than this variation.
    sigma = 0.1 if link.kind == "grade" else 0.3
    shape, fit = design(5, trials=50.0, floor=0.2, link=link), fit_of(0.0, 0.2, sigma)
    drawn = draw_scores(shape, fit, 0, 40_000, np.random.default_rng(0))
    found = pieces(np.zeros((5, 1)), fit.log_loss(shape), fit.sigma, shape)
    assert drawn.shape == (40_000, 5)
    assert drawn.mean(axis=0) == pytest.approx(-found.residual[:, 0], abs=0.01)
    assert drawn.var(axis=0) == pytest.approx(found.variance[:, 0], abs=0.002, rel=0.1)
    assert np.array_equal(np.rint(drawn * 50) / 50, drawn)


def test_draws_by_a_distribution_have_heavy_tails_and_a_sigma_each():
    """A link that shows the log loss itself would show t of five degrees of freedom, scaled."""
    weight = np.zeros(len(SIGMA_GRID))
    weight[[2, 14]] = 0.25, 0.75
    shape, fit = design(3, trials=1e9), fit_of(0.0, 0.0)
    drawn = draw_scores(shape, fit, 0, 30_000, np.random.default_rng(1), weight)
    deviation = np.log(-np.log(drawn))
    scale = np.sqrt((TAILS - 2) / TAILS) * SIGMA_GRID[[2, 14]]
    for quantile in (0.001, 0.1, 0.7, 0.995):
        at = np.quantile(deviation, quantile)
        expected = 0.25 * stats.t.cdf(at / scale[0], TAILS) + 0.75 * stats.t.cdf(
            at / scale[1], TAILS
        )
        assert quantile == pytest.approx(expected, abs=4 * np.sqrt(quantile / 9e4))
    # Models of one draw share their sigma: small deviations keep company.
    size = np.log(np.abs(deviation))
    assert np.corrcoef(size[:, 0], size[:, 1])[0, 1] > 0.3


def test_draws_without_variation_are_the_papers_outputs():
    """Exact match of five tokens, each right by itself; the level holds the length."""
    sizes = np.geomspace(1e9, 1e11, 6)
    loss = mirage.per_token_loss(sizes, alpha=-0.3, c=1e9)
    log = np.log(sizes)[:, None]
    shape = Design(x=log - log.mean(), trials=np.full((6, 1), 400.0), floor=np.zeros(1))
    fit = fit_of(np.log(5) + 0.3 * (np.log(1e9) - log.mean()), 0.3)
    drawn = draw_scores(shape, fit, 0, 2000, np.random.default_rng(0))
    outputs = [
        mirage.sample_right_tokens(float(one), target_length=5, n_examples=20_000, seed=3)
        for one in loss
    ]
    expected = [right.all(axis=1).mean() for right in outputs]
    assert drawn.mean(axis=0) == pytest.approx(expected, abs=0.015)


# --- Curves ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0.1, 0.2, 1.2, 0.4])}, "y: 1.2 at position 2 is not a proportion"),
        ({"y": np.array([0.1, np.nan, 0.2, 0.4])}, "y: nan at position 1 is not finite"),
        ({"x": np.array([1.0, 2, 2, 3])}, "x: 2.0 at position 2 is not above the scale before"),
        ({"x": np.array([0.0, 1, 2, 3])}, "x: 0.0 at position 0 is not a positive number"),
        ({"x": np.ones(3)}, r"x: shape \(3,\), not \(4,\)"),
        ({"trials": np.array([0.5, 1, 1, 1])}, "trials: 0.5 at position 0 is below 1"),
        ({"offsets": np.array([0, 3])}, "offsets: must run from 0 to the number of points, 4"),
        ({"floor": 1.0}, r"floor: 1.0 at position 0 is not in \[0, 1\)"),
        ({"floor": np.zeros(2)}, r"floor: shape \(2,\), not \(\) or \(1,\)"),
        ({"sigma": -0.1}, "sigma: -0.1 at position 0 is negative"),
        ({"irreducible": -1.0}, r"irreducible: -1.0 at position 0 is not in \[0, inf\)"),
        ({"link": [SHARE, SHARE]}, "link: 2 links for 1 curves"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_curves_is_said(change, message):
    given = {
        "y": np.array([0.1, 0.2, 0.3, 0.4]), "x": np.array([1.0, 2, 3, 4]),
        "trials": np.full(4, 9.0), "offsets": np.array([0, 4]),
    } | change  # fmt: skip
    with pytest.raises(InputError, match=message):
        MechanismCurves.checked(**given)
