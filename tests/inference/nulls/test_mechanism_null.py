"""The test against the mechanism: p-values counted by hand, streams, statuses, size and power."""

from __future__ import annotations

from dataclasses import replace

import mechanism_oracles as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from null_curves import mechanism_curves, ragged
from strategies import FEWER

from bigbench_meta import emergence_score
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.links import BRIER, SHARE, grade
from bigbench_meta.inference.nulls.mechanism import (
    SIGMA_GRID,
    Design,
    MechanismCurves,
    Variation,
    draw_scores,
    step_scores,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.monte_carlo import NULL_STATUSES, stream

FIELDS = (
    "p_step", "p_sharpness", "step_score", "n_before", "step_size", "sharpness", "level", "alpha",
    "sigma", "at_bound", "n_valid", "status",
)  # fmt: skip


def same(found, expected, rows=None):
    for name in FIELDS:
        first, second = getattr(found, name), getattr(expected, name)
        second = second if rows is None else second[rows]
        assert np.allclose(first, second, rtol=1e-9, atol=1e-12, equal_nan=True), name


# --- The bootstrap by a loop ---


@pytest.mark.parametrize(("link", "known"), [(SHARE, np.nan), (SHARE, 0.2), (BRIER, np.nan)])
def test_the_bootstrap_is_a_loop_over_replicates(link, known):
    y, x, trials, offsets = ragged([6, 6], seed=5)
    curves = MechanismCurves.checked(y, x, trials, offsets, link=link, sigma=known)
    tests = mechanism_null(curves, n_boot=25, seed=7)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own])
        shape = Design(
            x=(log - log.mean())[:, None], trials=trials[own][:, None], floor=np.zeros(1),
            link=link,
        )  # fmt: skip
        fit = fit_mechanism(y[own][:, None], shape, sigma=np.array([known]))
        score = step_scores(y[own][:, None], shape, fit)[:, 0]
        rng = stream(7, "step", y[own], shape.x[:, 0], np.log(trials[own]))
        large, sharp = 0, 0
        for drawn in draw_scores(shape, fit, 0, 25, rng):
            again = fit_mechanism(drawn[:, None], shape, sigma=np.array([known]))
            large += step_scores(drawn[:, None], shape, again).max() >= score.max() - 1e-6
            sharp += emergence_score(drawn) / 5 >= tests.sharpness[curve] * (1 - 1e-9)
        assert tests.p_step[curve] == (1 + large) / 26
        assert tests.p_sharpness[curve] == (1 + sharp) / 26
        assert tests.sharpness[curve] == emergence_score(y[own]) / 5
        assert tests.step_score[curve] == pytest.approx(score.max(), rel=1e-12)
        assert tests.n_before[curve] == score.argmax() + 1
        assert tests.n_valid[curve] == 25


def test_with_a_distribution_of_sigma_replicates_draw_theirs_and_scatter_counts():
    """Scores over the scatter of curve and family, each with its degrees of freedom."""
    y, x, trials, offsets = ragged([7], seed=5, jump=1.0)
    weight = np.exp(-3 * np.log(SIGMA_GRID / 0.2) ** 2)
    weight /= weight.sum()
    curves = MechanismCurves.checked(y, x, trials, offsets, irreducible=0.3)
    tests = mechanism_null(replace(curves, weight=weight[None]), n_boot=25, seed=7)
    log = (np.log(x) - np.log(x).mean())[:, None]
    shape = Design(x=log, trials=trials[:, None], floor=np.zeros(1), irreducible=np.array([0.3]))
    known = Variation.of(np.array([np.nan]), weight[None])

    def statistic(scores):
        fit = fit_mechanism(scores[:, None], shape, sigma=known.sigma)
        residual, slope, variance, mass = naive.curve_pieces(
            scores, log[:, 0], trials, (fit.level[0], fit.alpha[0], fit.sigma[0]), SHARE, 0.0, 1.0,
            irreducible=0.3,
        )  # fmt: skip
        lean = [naive.law(0, fit.alpha[0], one, 0.3)[1] for one in log[:, 0]]
        root, part = np.sqrt(mass), np.minimum(variance * mass, 1)
        columns = [slope * root, slope * lean * root][: 1 if fit.at_bound[0] else 2]
        leverage = (np.linalg.qr(np.stack(columns, axis=1))[0] ** 2).sum(axis=1)
        observed = (part * residual**2 * mass).sum()
        expected = (part**2 * (1 - leverage)).sum()
        scatter = (known.df[0] + observed) / (known.df[0] + expected)
        return step_scores(scores[:, None], shape, fit).max() / np.sqrt(scatter), fit

    score, fit = statistic(y)
    rng = stream(7, "step", y, shape.x[:, 0], np.log(trials))
    drawn = draw_scores(shape, fit, 0, 25, rng, weight)
    large = sum(statistic(one)[0] >= score - 1e-6 for one in drawn)
    assert tests.step_score[0] == pytest.approx(score, rel=1e-6)
    assert tests.p_step[0] == (1 + large) / 26
    assert tests.sigma[0] == known.sigma[0]


# --- What a curve's results depend on ---


@pytest.mark.parametrize("stop_after", [None, 3])
def test_curves_do_not_depend_on_each_other(stop_after):
    lengths = [5, 8, 8, 3, 12, 5, 8]
    curves = mechanism_curves(lengths, seed=8)
    options = {"n_boot": 60, "seed": 3, "stop_after": stop_after}
    together = mechanism_null(curves, **options)
    order = np.array([4, 0, 6, 3])
    same(mechanism_null(curves.take(order), **options), together, order)


@given(st.floats(1e-6, 1e6), st.integers(0, 50))
@FEWER
def test_the_unit_of_scale_does_not_matter(factor, seed):
    y, x, trials, offsets = ragged([6], seed=seed)
    tests, again = (
        mechanism_null(MechanismCurves.checked(y, scale, trials, offsets), n_boot=19)
        for scale in (x, x * factor)
    )
    # Streams are of rounded numbers: but for a number at the edge of rounding they are the same.
    assert again.step_score == pytest.approx(tests.step_score, abs=1e-5, nan_ok=True)
    assert again.p_step == pytest.approx(tests.p_step, abs=0.5, nan_ok=True)


def test_seeds_give_other_replicates_of_one_distribution():
    curves = mechanism_curves([8], seed=1)
    p = [mechanism_null(curves, n_boot=199, seed=s).p_step[0] for s in range(6)]
    assert len(set(p)) > 2
    assert np.ptp(p) < 0.2
    assert mechanism_null(curves, n_boot=199, seed=3).p_step[0] == p[3]
    generator = mechanism_null(curves, n_boot=199, seed=np.random.default_rng(3))
    assert 0 < generator.p_step[0] <= 1


def test_stopping_changes_only_p_values():
    curves = mechanism_curves([8] * 20, seed=9)
    every = mechanism_null(curves, n_boot=399)
    stopped = mechanism_null(curves, n_boot=399, stop_after=20)
    for name in set(FIELDS) - {"p_step", "p_sharpness", "n_valid"}:
        assert np.array_equal(getattr(stopped, name), getattr(every, name)), name
    assert stopped.p_step == pytest.approx(every.p_step, abs=0.25)
    assert stopped.n_valid.mean() < 200


def test_a_bootstrap_ends_where_its_p_value_cannot_matter():
    """The larger of its own and the other p-value is the same."""
    curves = mechanism_curves([8] * 20, seed=9)
    least = np.linspace(0.01, 0.6, 20)
    full = mechanism_null(curves, n_boot=399, stop_after=20)
    early = mechanism_null(curves, n_boot=399, stop_after=20, least=(least, least))
    assert np.array_equal(np.maximum(early.p_step, least), np.maximum(full.p_step, least))
    assert early.n_valid.sum() < full.n_valid.sum()


def test_progress_ends_with_all_curves():
    reports = []
    curves = mechanism_curves([5, 8, 3, 5])
    mechanism_null(curves, n_boot=19, progress=lambda *now: reports.append(now))
    assert reports[-1] == (4, 4)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


# --- The step ---


@pytest.mark.parametrize("link", [SHARE, BRIER, grade(4, 10.0)])
@pytest.mark.parametrize("size", [0.5, 2.0])
def test_the_size_of_a_step_is_what_the_log_loss_falls_by(link, size):
    log = np.linspace(18, 24, 10)
    log_loss = 0.6 * size - 0.1 * (log - 21) - size * (np.arange(10) > 5)
    y = 0.2 + 0.8 * link(log_loss)[0]
    curves = MechanismCurves.checked(
        y, np.exp(log), np.full(10, 1e5), np.array([0, 10]), floor=0.2, link=link
    )
    tests = mechanism_null(curves, n_boot=99)
    assert tests.n_before[0] == 6
    assert tests.step_size[0] == pytest.approx(size, rel=0.1)
    assert tests.p_step[0] <= 0.05


def test_a_fall_is_no_step():
    curves = mechanism_curves([8] * 20, jump=-3.0, alpha=0.0, sigma=0.05)
    assert (mechanism_null(curves, n_boot=39).p_step > 0.05).all()


# --- Statuses ---


def test_what_cannot_be_tested_says_so():
    curves = [
        [0.1, 0.2, 0.3],
        [0.5, 0.5, 0.5, 0.5],
        [0.1, 0.2, 0.3, 0.4],
        [0.0, 0.0, 0.0, 0.0, 0.1],
    ]
    lengths = list(map(len, curves))
    x = np.concatenate([10.0 ** np.arange(length) for length in lengths])
    trials = np.full(len(x), 10.0)
    offsets = np.cumsum([0, *lengths])
    checked = MechanismCurves.checked(np.concatenate(curves), x, trials, offsets)
    tests = mechanism_null(checked, n_boot=19)
    names = [NULL_STATUSES[code] for code in tests.status]
    assert names[:3] == ["too_few_scales", "flat", "ok"]
    # One right answer of ten: most replicates have none, and are flat.
    assert names[3] in {"no_information", "few_replicates"}
    tested = np.array(names) == "ok"
    assert np.array_equal(np.isfinite(tests.p_step), tested)
    assert np.array_equal(np.isfinite(tests.p_sharpness), tested)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_boot": 18}, "n_boot: 18 is not a whole number of at least 19"),
        ({"stop_after": 0}, "stop_after: 0 is not a whole number of at least 1"),
        ({"alpha_range": (0.4, 0.1)}, "alpha_range"),
    ],
)
def test_what_is_wrong_is_said(options, message):
    with pytest.raises(InputError, match=message):
        mechanism_null(mechanism_curves([5]), **options)


# --- Size and power: docs/nulls.md has 2,000 curves a cell ---


@pytest.mark.parametrize(("n", "sigma", "length"), [(200, 0.2, 8), (1000, 0.0, 12), (100, 0.4, 5)])
def test_size_and_power(n, sigma, length):
    smooth = mechanism_curves([length] * 400, n=n, sigma=sigma, seed=1)
    jumps = mechanism_curves(
        [length] * 100, n=n, sigma=sigma, seed=2, jump=4.0, alpha=0.1, known=max(sigma, 0.05)
    )
    smooth, jumps = (mechanism_null(one, n_boot=39, stop_after=5) for one in (smooth, jumps))
    # 400 curves: three standard errors above 0.05 are 0.083.
    assert 0.01 < (smooth.p_step <= 0.05).mean() < 0.083
    assert (jumps.p_step <= 0.05).mean() > 0.7
