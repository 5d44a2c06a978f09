"""The test against the mechanism: p-values counted by hand, streams, statuses, size and power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

from bigbench_meta import emergence_score
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.goodness_of_fit import goodness_of_fit, least_deviance
from bigbench_meta.inference.nulls.links import BRIER, SHARE, grade
from bigbench_meta.inference.nulls.mechanism import Design, deviance, draw_scores, step_scores
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.mechanism_null import mechanism_null
from bigbench_meta.inference.nulls.parts import NULL_STATUSES, stream
from bigbench_meta.inference.nulls.sequential import Tally, rounds

FIELDS = (
    "p_step", "p_sharpness", "step_score", "n_before", "step_size", "sharpness", "level", "alpha",
    "sigma", "at_bound", "n_valid", "status",
)  # fmt: skip


def ragged(lengths, *, sigma=0.2, n=200, seed=0, jump=0.0, alpha=0.2):
    """Curves of the mechanism, with a fall of the log loss by ``jump`` in their middle."""
    rng = np.random.default_rng(seed)
    y, x = [], []
    for length in lengths:
        log = np.sort(rng.uniform(18, 24, length))
        rise = np.where(np.arange(length) >= length // 2, -jump / 2, jump / 2)
        log_loss = rise - alpha * (log - log.mean()) + sigma * rng.standard_normal(length)
        y.append(rng.binomial(n, np.exp(-np.exp(log_loss))) / n)
        x.append(np.exp(log))
    offsets = np.cumsum([0, *lengths])
    return np.concatenate(y), np.concatenate(x), np.full(offsets[-1], float(n)), offsets


def same(found, expected, rows=None):
    for name in FIELDS:
        first, second = getattr(found, name), getattr(expected, name)
        second = second if rows is None else second[rows]
        assert np.allclose(first, second, rtol=1e-9, atol=1e-12, equal_nan=True), name


# --- P-values by counting ---


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
def test_tallies_count_one_after_another(curves, stop_after, at_a_time):
    size = max(map(len, curves))
    padded = [curve + [None] * (size - len(curve)) for curve in curves]
    values = np.array(
        [[np.nan if v is None else v for v in curve] for curve in padded], dtype=float
    )
    tally = Tally.start(np.full(len(curves), 3.0), stop_after)
    for start in range(0, size, at_a_time):
        part = values[:, start : start + at_a_time]
        rows = np.flatnonzero(~tally.done) if start % 2 else np.arange(len(curves))
        tally.add(rows, np.nan_to_num(part[rows], nan=9.0), ~np.isnan(part[rows]))
    expected = [naive_p_value(curve, 3, stop_after) for curve in curves]
    assert tally.p_values() == pytest.approx(expected)


@given(st.integers(1, 2000), st.integers(1, 50) | st.none())
def test_rounds_come_to_the_number_of_replicates(n_boot, stop_after):
    assert sum(rounds(n_boot, stop_after)) == n_boot


def test_infinite_statistics_are_ties():
    tally = Tally.start(np.array([np.inf, -np.inf]), None)
    tally.add(np.arange(2), np.array([[np.inf, 5.0, np.inf], [-np.inf, 0.0, np.inf]]))
    assert tally.p_values().tolist() == [3 / 4, 1.0]


@pytest.mark.parametrize("stop_after", [None, 5])
def test_stopped_p_values_are_valid(stop_after):
    """Under the null the observed statistic is one more draw: P(p <= u) <= u."""
    draws = np.random.default_rng(3).standard_normal((20_000, 100))
    tally = Tally.start(draws[:, 0], stop_after)
    tally.add(np.arange(20_000), draws[:, 1:])
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (tally.p_values() <= level).mean() <= level + 4 * np.sqrt(level / 20_000)
        assert (tally.p_values() <= level).mean() > 0.8 * level


# --- The bootstrap by a loop ---


@pytest.mark.parametrize(("link", "known"), [(SHARE, np.nan), (SHARE, 0.2), (BRIER, np.nan)])
def test_the_bootstrap_is_a_loop_over_replicates(link, known):
    y, x, trials, offsets = ragged([6, 6], seed=5)
    tests = mechanism_null(y, x, trials, offsets, link=link, sigma=known, n_boot=25, seed=7)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own])
        shape = Design(
            x=(log - log.mean())[:, None], trials=trials[own][:, None], floor=np.zeros(1),
            span=np.ones(1), link=link,
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


def test_goodness_of_fit_is_a_loop_over_replicates():
    y, x, trials, offsets = ragged([6, 6], seed=2)
    tests = goodness_of_fit(y, x, trials, offsets, n_boot=30, seed=1)
    for curve in range(2):
        own = slice(offsets[curve], offsets[curve + 1])
        log = np.log(x[own])
        shape = Design(
            x=(log - log.mean())[:, None], trials=trials[own][:, None], floor=np.zeros(1),
            span=np.ones(1),
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
    y, x, trials, offsets = ragged([8] * 400, sigma=0.0, n=1000, seed=3)
    tests = goodness_of_fit(y, x, trials, offsets, n_boot=39)
    assert tests.deviance.mean() == pytest.approx(6, rel=0.1)
    assert tests.pearson.mean() == pytest.approx(6, rel=0.1)
    assert 0.02 < (tests.p_value <= 0.05).mean() < 0.08


def test_sister_models_alone_refute_the_bare_mechanism():
    y, x, trials, offsets = ragged([8] * 50, sigma=0.2, n=2000, seed=4)
    assert (goodness_of_fit(y, x, trials, offsets, n_boot=39).p_value < 0.05).mean() > 0.95
    assert (mechanism_null(y, x, trials, offsets, n_boot=39).p_step < 0.05).mean() < 0.2


def test_the_row_with_the_least_deviance_speaks_for_its_group():
    y, x, trials, offsets = ragged([6, 6, 6, 5], seed=6)
    y = np.tile(y[:6], 4)[: offsets[-1]]
    x = np.tile(x[:6], 4)[: offsets[-1]]
    floor = np.array([0.0, 0.2, 0.0, 0.0])
    tests = goodness_of_fit(y, x, trials, offsets, floor=floor, n_boot=19)
    group = np.array([0, 0, 1, 1])
    chosen = least_deviance(y, x, trials, offsets, group, floor=floor)
    assert chosen[0] == tests.deviance[:2].argmin()
    assert chosen[1] == 2 + tests.deviance[2:].argmin()


# --- What a curve's results depend on ---


@pytest.mark.parametrize("stop_after", [None, 3])
def test_curves_do_not_depend_on_each_other(stop_after):
    lengths = [5, 8, 8, 3, 12, 5, 8]
    y, x, trials, offsets = ragged(lengths, seed=8)
    options = {"n_boot": 60, "seed": 3, "stop_after": stop_after}
    together = mechanism_null(y, x, trials, offsets, **options)
    order = np.array([4, 0, 6, 3])
    point = np.concatenate([np.arange(offsets[j], offsets[j + 1]) for j in order])
    some = mechanism_null(
        y[point], x[point], trials[point], np.cumsum([0, *np.diff(offsets)[order]]), **options
    )
    same(some, together, order)


@given(st.floats(1e-6, 1e6), st.integers(0, 50))
@FEWER
def test_the_unit_of_scale_does_not_matter(factor, seed):
    y, x, trials, offsets = ragged([6], seed=seed)
    tests = mechanism_null(y, x, trials, offsets, n_boot=19)
    again = mechanism_null(y, x * factor, trials, offsets, n_boot=19)
    # Streams are of rounded numbers: but for a number at the edge of rounding they are the same.
    assert again.step_score == pytest.approx(tests.step_score, abs=1e-5, nan_ok=True)
    assert again.p_step == pytest.approx(tests.p_step, abs=0.5, nan_ok=True)


def test_seeds_give_other_replicates_of_one_distribution():
    y, x, trials, offsets = ragged([8], seed=1)
    p = [mechanism_null(y, x, trials, offsets, n_boot=199, seed=s).p_step[0] for s in range(6)]
    assert len(set(p)) > 2
    assert np.ptp(p) < 0.2
    again = mechanism_null(y, x, trials, offsets, n_boot=199, seed=3).p_step[0]
    assert again == p[3]
    generator = mechanism_null(y, x, trials, offsets, n_boot=199, seed=np.random.default_rng(3))
    assert 0 < generator.p_step[0] <= 1


def test_stopping_changes_only_p_values():
    y, x, trials, offsets = ragged([8] * 20, seed=9)
    every = mechanism_null(y, x, trials, offsets, n_boot=399)
    stopped = mechanism_null(y, x, trials, offsets, n_boot=399, stop_after=20)
    for name in set(FIELDS) - {"p_step", "p_sharpness", "n_valid"}:
        assert np.array_equal(getattr(stopped, name), getattr(every, name)), name
    assert stopped.p_step == pytest.approx(every.p_step, abs=0.25)
    assert stopped.n_valid.mean() < 200


def test_progress_ends_with_all_curves():
    y, x, trials, offsets = ragged([5, 8, 3, 5])
    told = []
    mechanism_null(y, x, trials, offsets, n_boot=19, progress=lambda *now: told.append(now))
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- The step ---


@pytest.mark.parametrize("link", [SHARE, BRIER, grade(4, 10.0)])
@pytest.mark.parametrize("size", [0.5, 2.0])
def test_the_size_of_a_step_is_what_the_log_loss_falls_by(link, size):
    log = np.linspace(18, 24, 10)
    log_loss = 0.6 * size - 0.1 * (log - 21) - size * (np.arange(10) > 5)
    y = 0.2 + 0.8 * link(log_loss)[0]
    tests = mechanism_null(
        y, np.exp(log), np.full(10, 1e5), np.array([0, 10]), floor=0.2, link=link, n_boot=99
    )
    assert tests.n_before[0] == 6
    assert tests.step_size[0] == pytest.approx(size, rel=0.1)
    assert tests.p_step[0] <= 0.05


def test_a_fall_is_no_step():
    y, x, trials, offsets = ragged([8] * 20, jump=-3.0, alpha=0.0, sigma=0.05)
    assert (mechanism_null(y, x, trials, offsets, n_boot=39).p_step > 0.05).all()


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
    tests = mechanism_null(np.concatenate(curves), x, trials, np.cumsum([0, *lengths]), n_boot=19)
    names = [NULL_STATUSES[code] for code in tests.status]
    assert names[:3] == ["too_few_scales", "flat", "ok"]
    # One right answer of ten: most replicates have none, and are flat.
    assert names[3] in {"no_information", "few_replicates"}
    tested = np.array(names) == "ok"
    assert np.array_equal(np.isfinite(tests.p_step), tested)
    assert np.array_equal(np.isfinite(tests.p_sharpness), tested)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0.1, 0.2, 1.2, 0.4])}, "y: 1.2 is no proportion"),
        ({"y": np.array([0.1, np.nan, 0.2, 0.4])}, "y: nan at position 1 is not finite"),
        ({"x": np.array([1.0, 2, 2, 3])}, "x: must be positive and rise"),
        ({"x": np.array([0.0, 1, 2, 3])}, "x: must be positive and rise"),
        ({"x": np.ones(3)}, "x: 3 scales for 4 scores"),
        ({"trials": np.array([0.5, 1, 1, 1])}, "trials: must be at least 1"),
        ({"offsets": np.array([0, 3])}, "offsets: must rise from 0 to the number of scores, 4"),
        ({"floor": 1.0}, "floor: must be from 0 on and below the ceiling"),
        ({"floor": np.zeros(2)}, r"floor: shape \(2,\), not \(\) or \(1,\)"),
        ({"sigma": -0.1}, "sigma: must not be negative"),
        ({"link": [SHARE, SHARE]}, "link: 2 links for 1 curves"),
        ({"n_boot": 18}, "n_boot: 18 is below 19"),
        ({"stop_after": 0}, "stop_after: 0 is below 1"),
        ({"min_scales": 3}, "min_scales: 3 is below 4"),
        ({"alpha_range": (0.4, 0.1)}, "alpha_range"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(change, message):
    given = {
        "y": np.array([0.1, 0.2, 0.3, 0.4]), "x": np.array([1.0, 2, 3, 4]),
        "trials": np.full(4, 9.0), "offsets": np.array([0, 4]),
    } | change  # fmt: skip
    arrays = [given.pop(name) for name in ("y", "x", "trials", "offsets")]
    with pytest.raises(InputError, match=message):
        mechanism_null(*arrays, **given)


# --- Size and power: docs/nulls.md has 2,000 curves a cell ---


@pytest.mark.parametrize(("n", "sigma", "length"), [(200, 0.2, 8), (1000, 0.0, 12), (100, 0.4, 5)])
def test_size_and_power(n, sigma, length):
    smooth = mechanism_null(
        *ragged([length] * 400, n=n, sigma=sigma, seed=1), n_boot=39, stop_after=5
    )
    jumps = mechanism_null(
        *ragged([length] * 100, n=n, sigma=sigma, seed=2, jump=4.0, alpha=0.1),
        sigma=max(sigma, 0.05), n_boot=39, stop_after=5,
    )  # fmt: skip
    # 400 curves: three standard errors above 0.05 are 0.083.
    assert 0.01 < (smooth.p_step <= 0.05).mean() < 0.083
    assert (jumps.p_step <= 0.05).mean() > 0.7
