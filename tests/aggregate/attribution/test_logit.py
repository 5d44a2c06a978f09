"""Logistic regressions against statsmodels, and what is refused."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.discrete.conditional_models import ConditionalLogit

from bigbench_meta.aggregate.attribution import conditional_logit as _conditional_logit
from bigbench_meta.aggregate.attribution.conditional_logit import MatchedSets, conditional_logit
from bigbench_meta.aggregate.attribution.logit import gee_logit, mancl_derouen, separating, spanned
from bigbench_meta.aggregate.attribution.odds_ratios import exact_odds_ratio

FEWER = settings(max_examples=40)


def clustered(seed=0, n=240, n_clusters=24, effect=1.0):
    """A binary and a real column, and an outcome that clusters share."""
    rng = np.random.default_rng(seed)
    cluster = np.sort(rng.integers(0, n_clusters, n))
    x = np.column_stack([rng.random(n) < 0.5, rng.normal(3, 4, n)]).astype(float)
    logit = -1 + effect * x[:, 0] + 0.1 * (x[:, 1] - 3) + rng.normal(size=n_clusters)[cluster]
    return rng.random(n) < 1 / (1 + np.exp(-logit)), x, cluster


def numbers(fit):
    return np.array([[t.odds_ratio, t.low, t.high, t.p_value] for t in fit.terms])


# --- Columns ---


def test_spanned_columns():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(50, 3)) * [1, 1e6, 1e-6]
    assert spanned(columns, columns @ [2.0, -1e-6, 3e6] + 7)
    assert spanned(columns, np.full(50, 4.0))
    assert not spanned(columns, rng.normal(size=50))
    assert not spanned(columns, columns[:, 0] + 1e-4 * rng.normal(size=50))


@pytest.mark.parametrize(
    ("x", "y", "separated"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], True),
        ([0, 0, 1, 1], [0, 0, 0, 1], True),
        ([0, 0, 1, 1], [0, 1, 0, 1], False),
        ([1, 2, 3, 4], [0, 0, 1, 1], True),
        ([1, 2, 2, 4], [0, 0, 1, 1], True),
        ([1, 3, 2, 4], [0, 0, 1, 1], False),
        ([1e9, 2e9, 3e9, 4e9], [0, 1, 0, 1], False),
    ],
)
def test_separation(x, y, separated):
    design = np.column_stack([np.ones(4), np.array(x, dtype=float)])
    assert (separating(np.array(y, dtype=bool), design) is not None) == separated


@FEWER
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=4, max_size=14))
def test_separation_by_one_column_is_an_overlap_of_values(rows):
    y, x = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    if y.all() or not y.any():
        return
    ordered = x[y].min() >= x[~y].max() or x[y].max() <= x[~y].min()
    distinct = np.ptp(x) > 0
    found = separating(y, np.column_stack([np.ones(len(y)), x]))
    assert (found is not None) == (ordered and distinct)


# --- GEE ---


def statsmodels_gee(y, x, cluster):
    return sm.GEE(
        y.astype(float), sm.add_constant(x), groups=cluster, family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    ).fit(maxiter=300, ctol=1e-10, cov_type="bias_reduced")  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_gee_is_statsmodels_with_mancl_derouen_and_student(seed):
    y, x, cluster = clustered(seed)
    fit = gee_logit(y, x, ("a", "b"), cluster, min_clusters=5, confidence=0.9)
    reference = statsmodels_gee(y, x, cluster)
    error = reference.standard_errors("bias_reduced")
    half = stats.t.ppf(0.95, 24 - 3) * error
    expected = np.exp(
        np.stack([reference.params, reference.params - half, reference.params + half])
    )
    assert fit.status == "ok"
    assert (fit.n, fit.n_clusters, [term.name for term in fit.terms]) == (240, 24, ["a", "b"])
    assert numbers(fit)[:, :3] == pytest.approx(expected.T[1:], rel=1e-4)
    p_values = 2 * stats.t.sf(np.abs(reference.params / error), 21)
    assert numbers(fit)[:, 3] == pytest.approx(p_values[1:], rel=1e-3)


def test_mancl_derouen_is_statsmodels():
    y, x, cluster = clustered(5)
    reference = statsmodels_gee(y, x, cluster)
    found = mancl_derouen(
        y, sm.add_constant(x), cluster, reference.params, reference.cov_struct.dep_params
    )
    assert found == pytest.approx(reference.standard_errors("bias_reduced"), rel=1e-6)


def test_gee_of_single_curves_is_a_logistic_regression():
    y, x, _ = clustered(1)
    fit = gee_logit(y, x, ("a", "b"), np.arange(len(y)), min_clusters=5)
    reference = sm.Logit(y.astype(float), sm.add_constant(x)).fit(disp=False)
    assert numbers(fit)[:, 0] == pytest.approx(np.exp(reference.params[1:]), rel=1e-5)


def test_gee_does_not_know_order_labels_or_units():
    y, x, cluster = clustered(2)
    reference = numbers(gee_logit(y, x, ("a", "b"), cluster, min_clusters=5))
    order = np.random.default_rng(0).permutation(len(y))
    relabelled = (cluster * 7 + 3) % 24
    again = gee_logit(y[order], x[order], ("a", "b"), relabelled[order], min_clusters=5)
    assert numbers(again) == pytest.approx(reference, rel=1e-5)
    scaled = numbers(gee_logit(y, x * [1, 1000] + 5, ("a", "b"), cluster, min_clusters=5))
    assert scaled[0] == pytest.approx(reference[0], rel=1e-5)
    assert np.log(scaled[1, :3]) * 1000 == pytest.approx(np.log(reference[1, :3]), rel=1e-4)


def refused(fit, status, message):
    assert fit.status == status
    assert fit.terms == ()
    assert message in fit.message


def test_gee_refuses():
    y, x, cluster = clustered()
    names = ("sharp", "b")
    few = gee_logit(y, x, names, cluster % 4, min_clusters=5)
    refused(few, "too_few_clusters", "4 tasks for 3 coefficients")
    tight = gee_logit(y, x, names, cluster % 3, min_clusters=1)
    refused(tight, "too_few_clusters", "3 tasks for 3 coefficients")
    refused(gee_logit(y & False, x, names, cluster, min_clusters=5), "no_variation", "No curve")
    refused(gee_logit(y | True, x, names, cluster, min_clusters=5), "no_variation", "All curves")
    # No exposed row is hit: one empty cell, a quasi-separation.
    hits = y & (x[:, 0] == 0)
    fit = gee_logit(hits, x, names, cluster, min_clusters=5)
    refused(fit, "separation", "sharp foretells")


# --- Matched sets ---


def matched(seed=0, n_sets=60, n_tasks=12, size=5):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, size + 1, n_sets)
    stratum = np.repeat(np.arange(n_sets), sizes)
    task = (rng.integers(0, n_tasks, n_sets))[stratum]
    x = np.column_stack([rng.random(len(stratum)) < 0.5, rng.normal(size=len(stratum))])
    logit = rng.normal(size=n_sets)[stratum] + 0.8 * x[:, 0] - 0.3 * x[:, 1]
    return rng.random(len(stratum)) < 1 / (1 + np.exp(-logit)), x.astype(float), stratum, task


def statsmodels_conditional(y, x, stratum):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every set with one outcome
        model = ConditionalLogit(y.astype(float), x, groups=stratum)
        return model, model.fit(method="newton", disp=False, maxiter=200)


@pytest.mark.parametrize("seed", range(3))
def test_conditional_logit_is_statsmodels(seed):
    y, x, stratum, task = matched(seed)
    fit = conditional_logit(y, x, ("a", "b"), stratum, task, min_clusters=5)
    model, reference = statsmodels_conditional(y, x, stratum)
    assert fit.status == "ok"
    assert np.log(numbers(fit)[:, 0]) == pytest.approx(reference.params, abs=1e-5)
    sets = MatchedSets.of(y, x, stratum)
    value, scores, information = sets.likelihood(np.array([0.4, -0.2]))
    assert value == pytest.approx(model.loglike(np.array([0.4, -0.2])))
    assert scores.sum(axis=0) == pytest.approx(model.score(np.array([0.4, -0.2])))
    hessian = np.asarray(model.hessian(np.array([0.4, -0.2])))
    assert -information == pytest.approx(hessian, rel=1e-4, abs=1e-4)


def test_conditional_sandwich_by_looping():
    y, x, stratum, task = matched(4)
    fit = conditional_logit(y, x, ("a", "b"), stratum, task, min_clusters=5, confidence=0.9)
    model, reference = statsmodels_conditional(y, x, stratum)
    kept = [s for s in dict.fromkeys(stratum) if 0 < y[stratum == s].sum() < (stratum == s).sum()]
    by_task = {}
    for number, name in enumerate(kept):
        score = model.score_grp(number, reference.params)
        owner = task[stratum == name][0]
        by_task[owner] = by_task.get(owner, 0) + score
    bread = np.linalg.inv(-np.asarray(model.hessian(reference.params)))
    meat = sum(np.outer(score, score) for score in by_task.values())
    meat = meat * len(by_task) / (len(by_task) - 1)
    error = np.sqrt(np.diag(bread @ meat @ bread))
    half = stats.t.ppf(0.95, len(by_task) - 1) * error
    assert fit.n_clusters == len(by_task)
    expected = np.exp(np.stack([reference.params - half, reference.params + half], axis=1))
    assert numbers(fit)[:, 1:3] == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.floats(-2, 2), st.integers(0, 99))
@FEWER
def test_conditional_likelihood_by_enumeration(outcome, slope, seed):
    y = np.array(outcome)
    if y.all() or not y.any():
        return
    x = np.random.default_rng(seed).normal(size=(len(y), 1))
    beta = np.array([slope])
    weights = [
        np.exp(sum(float(x[i] @ beta) for i in rows))
        for rows in itertools.combinations(range(len(y)), int(y.sum()))
    ]
    expected = float(x[y].sum(axis=0) @ beta) - math.log(sum(weights))
    sets = MatchedSets.of(y, x, np.zeros(len(y), dtype=np.int64))
    assert sets.likelihood(beta)[0] == pytest.approx(expected)


def test_conditional_logit_of_one_indicator_is_the_conditional_odds_ratio():
    y, x, stratum, task = matched(1)
    fit = conditional_logit(y, x[:, :1], ("a",), stratum, task, min_clusters=5)
    tables = np.zeros((stratum.max() + 1, 2, 2))
    np.add.at(tables, (stratum, (x[:, 0] == 0).astype(int), (~y).astype(int)), 1)
    assert fit.terms[0].odds_ratio == pytest.approx(exact_odds_ratio(tables).estimate, rel=1e-6)


def test_conditional_logit_does_not_know_order_labels_blocks_or_what_a_set_shares(monkeypatch):
    y, x, stratum, task = matched(2)
    reference = numbers(conditional_logit(y, x, ("a", "b"), stratum, task, min_clusters=5))
    order = np.random.default_rng(0).permutation(len(y))
    shifted = x + np.column_stack([np.zeros(len(y)), 10.0 * stratum])
    again = conditional_logit(
        y[order], shifted[order], ("a", "b"), (stratum * 7 % 60)[order], task[order],
        min_clusters=5,
    )  # fmt: skip
    assert numbers(again) == pytest.approx(reference, rel=1e-6)
    monkeypatch.setattr(_conditional_logit, "_BLOCK", 1)
    small = numbers(conditional_logit(y, x, ("a", "b"), stratum, task, min_clusters=5))
    assert small == pytest.approx(reference)


def test_conditional_logit_counts_what_says_nothing():
    y = np.array([True, False, True, True, False, True])
    x = np.array([[1.0], [0.0], [1.0], [0.0], [1.0], [1.0]])
    stratum = np.array([0, 0, 1, 1, 2, 2])
    fit = conditional_logit(y, x, ("sharp",), stratum, stratum, min_clusters=2)
    assert fit.left_out == {"in a matched set whose curves do not differ": 4}
    refused(fit, "separation", "sharp foretells")


def test_conditional_logit_refuses(monkeypatch):
    y, x, stratum, task = matched()
    names = ("sharp", "b")
    fit = conditional_logit(y, x, names, stratum, task % 3, min_clusters=5)
    refused(fit, "too_few_clusters", "come from 3 tasks")
    fit = conditional_logit(y & False, x, names, stratum, task, min_clusters=5)
    refused(fit, "no_variation", "In no matched set")
    assert fit.left_out == {"in a matched set whose curves do not differ": len(y)}
    none = np.zeros(0, dtype=np.int64)
    fit = conditional_logit(y[:0], x[:0], names, none, none, min_clusters=5)
    refused(fit, "no_variation", "In no matched set")
    # Of each set the row with the largest value is the one that is flagged.
    best = np.array([x[stratum == s, 1].max() for s in range(60)])[stratum]
    fit = conditional_logit(x[:, 1] == best, x, names, stratum, task, min_clusters=5)
    refused(fit, "separation", "b foretells")
    monkeypatch.setattr(_conditional_logit, "_MOST_ROWS", 4)
    fit = conditional_logit(y, x, names, stratum, task, min_clusters=5)
    refused(fit, "too_large", "more than 4 curves")


def test_large_matched_sets_stay_finite():
    rng = np.random.default_rng(0)
    stratum = np.repeat(np.arange(6), 600)
    x = rng.normal(size=(3600, 1))
    y = rng.random(3600) < 1 / (1 + np.exp(-0.5 * x[:, 0]))
    fit = conditional_logit(y, x, ("a",), stratum, stratum, min_clusters=5)
    reference = sm.Logit(y.astype(float), sm.add_constant(x)).fit(disp=False)
    assert math.log(fit.terms[0].odds_ratio) == pytest.approx(reference.params[1], abs=0.02)
