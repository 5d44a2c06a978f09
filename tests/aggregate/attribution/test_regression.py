"""The regression of flags against statsmodels, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from account_scores import curve_scores, made_of, simulated_scores
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bigbench_meta.aggregate.attribution.flags import flag_curves
from bigbench_meta.aggregate.attribution.regression import (
    flag_model,
    gee_logit,
    mancl_derouen,
    separating,
    spanned,
)
from bigbench_meta.core.errors import InputError


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
    refused(fit, "separation", "sharp predicts")


# --- The model of flags ---


def model_of(scores, **options):
    return flag_model(flag_curves(scores), **options)


def test_covariates_that_say_nothing_are_left_out_with_a_reason():
    scores = simulated_scores(0)
    found = model_of(scores)
    assert found.fit.status == "ok"
    assert [term.name for term in found.fit.terms] == ["sharp metric", "log_n_examples"]
    assert found.dropped == {
        "n_scales": "the same for all curves",
        "shots": "the same for all curves",
        "model_family": "only one",
    }


def test_covariates_that_are_missing():
    scores = simulated_scores(0)
    n = len(scores)
    scores["shots"] = pd.array([i % 4 for i in range(n)], dtype="Int64")
    scores.loc[:9, "shots"] = pd.NA
    scores["n_examples_min"] = pd.array([pd.NA] * (n - 3) + [7, 8, 9], dtype="Int64")
    found = model_of(scores)
    assert found.left_out == {"without shots": 10}
    assert found.fit.n == n - 10
    assert found.dropped["log_n_examples"] == f"known for 3 of {n} curves"
    assert [term.name for term in found.fit.terms] == ["sharp metric", "shots"]


def test_unknown_types_and_flat_curves_are_counted():
    scores = pd.concat(
        [
            simulated_scores(0),
            curve_scores([{"metric_type": "unknown"}, {"metric_type": "unknown", "metric": "n"}]),
            curve_scores([{"task": "flat", "emergence_score": math.nan}]),
        ],
        ignore_index=True,
    )
    assert model_of(scores).left_out == {"flat": 1, "metric of unknown type": 2}


def test_families():
    parts = [simulated_scores(seed).assign(model_family=name) for seed, name in enumerate("ABC")]
    parts[2] = parts[2].assign(emergence_score=1.0)
    scores = pd.concat([*parts, parts[0].iloc[:5]], ignore_index=True)
    found = model_of(scores)
    assert found.left_out == {"in 1 family with one outcome alone": len(parts[2])}
    names = [term.name for term in found.fit.terms]
    largest = "A" if len(parts[0]) + 5 >= len(parts[1]) else "B"
    assert names == ["sharp metric", "log_n_examples", f"family {'B' if largest == 'A' else 'A'}"]


def test_more_than_a_hundred_families_are_left_out():
    scores = simulated_scores(0)
    number = np.arange(len(scores)) % 101
    many = scores.assign(model_family=[f"family {one}" for one in number])
    found = model_of(many)
    assert found.dropped["model_family"] == "101 families, more than 100"
    alone = model_of(scores, covariates=("n_scales", "shots", "log_n_examples"))
    np.testing.assert_array_equal(numbers(found.fit), numbers(alone.fit))
    assert found.left_out == alone.left_out


def test_a_covariate_that_follows_from_others_is_left_out():
    scores = simulated_scores(0)
    scores["shots"] = pd.array([i % 4 for i in range(len(scores))], dtype="Int64")
    scores["n_scales"] = scores["shots"].astype(int) * 2 + 3
    found = model_of(scores)
    assert found.dropped["shots"] == "follows from the other columns"


def test_a_class_that_follows_from_the_covariates_has_no_odds_ratio():
    scores = simulated_scores(0)
    sharp = scores["metric_type"] == "nonlinear"
    found = model_of(scores.assign(n_scales=np.where(sharp, 8, 5)))
    assert found.fit.status == "collinear"
    assert "cannot be distinguished" in found.fit.message
    assert math.isnan(found.to_frame()["odds_ratio"].iloc[0])


@pytest.mark.parametrize(
    ("cells", "n_tasks", "status", "message"),
    [
        ({}, 8, "no_data", "No curve is left."),
        ({"sharp": (20, 20)}, 20, "one_class", "All 40 curves are of nonlinear or discontinuous"),
        ({"smooth": (9, 9)}, 20, "one_class", "All 18 curves are of linear or continuous metrics."),
        ({"sharp": (40, 40), "smooth": (5, 9)}, 4, "too_few_clusters", "4 tasks have sharp and 4"),
        ({"sharp": (9, 40), "smooth": (9, 9)}, 8, "too_few_clusters", "8 tasks for 2 coefficients"),
        ({"sharp": (0, 40), "smooth": (0, 9)}, 20, "no_variation", "No curve is flagged."),
        ({"sharp": (9, 40), "smooth": (0, 40)}, 20, "separation", "sharp metric predicts the fl"),
    ],
)
def test_what_the_regression_refuses(cells, n_tasks, status, message):
    found = model_of(made_of(cells, n_tasks))
    assert found.fit.status == status
    assert found.fit.message.startswith(message)
    frame = found.to_frame()
    assert frame["term"].tolist() == ["sharp metric"]
    assert frame[["odds_ratio", "low", "high", "p_value"]].isna().all(axis=None)


def test_few_flagged_tasks_give_a_warning():
    scores = made_of({"sharp": (4, 60), "smooth": (3, 60)}, 30)
    scores["shots"] = pd.array([i % 5 for i in range(len(scores))], dtype="Int64")
    found = model_of(scores)
    assert found.fit.status == "sparse"
    assert "tasks have the rarer outcome, few for 2 coefficients" in found.fit.message
    assert len(found.fit.terms) == 2


def test_covariates_are_checked():
    with pytest.raises(InputError, match="covariates: 'size'"):
        flag_model(flag_curves(curve_scores([{}])), covariates=["size"])


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_the_classes_inverts_the_regression(seed):
    scores = simulated_scores(seed, n_tasks=60)
    kinds = {"nonlinear": "continuous", "continuous": "nonlinear"}
    swapped = scores.assign(metric_type=scores["metric_type"].map(kinds))
    one, two = model_of(scores), model_of(swapped)
    assert one.fit.status == two.fit.status == "ok"
    first, other = one.fit.terms[0], two.fit.terms[0]
    assert first.odds_ratio == pytest.approx(1 / other.odds_ratio, rel=1e-5)
    assert (first.low, first.high) == pytest.approx((1 / other.high, 1 / other.low), rel=1e-5)
    assert first.p_value == pytest.approx(other.p_value, rel=1e-4)
    # The other coefficients are what they were.
    for term, same_term in zip(one.fit.terms[1:], two.fit.terms[1:], strict=True):
        assert term.odds_ratio == pytest.approx(same_term.odds_ratio, rel=1e-5)
