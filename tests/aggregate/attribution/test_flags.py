"""Which curves are flagged, shares by class of metric, and the ratios of the classes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from account_scores import CLASS, TYPES, curve_scores, made_of, random_scores, simulated_scores
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

from bigbench_meta import flagged
from bigbench_meta.aggregate.attribution.flags import (
    class_of,
    class_shares,
    flag_curves,
    flag_ratios,
)
from bigbench_meta.aggregate.attribution.regression import flag_model
from bigbench_meta.aggregate.by_metric import metrics_of_emergence
from bigbench_meta.core.errors import InputError, SchemaError


def ratio(rows, statistic, method):
    table = flag_ratios(rows)
    return table[(table["statistic"] == statistic) & (table["method"] == method)].iloc[0]


# --- Which curves ---


@pytest.mark.parametrize("kind", TYPES)
def test_class_of_each_type(kind):
    assert class_of(pd.Series([kind])).tolist() == [CLASS[kind]]


def test_a_type_that_nobody_knows_is_unknown():
    assert class_of(pd.Series(["odd", "", "Linear"])).tolist() == ["unknown"] * 3


@given(random_scores())
def test_every_curve_is_flagged_or_not_or_left_out_with_a_reason(scores):
    rows = flag_curves(scores)
    assert len(rows.frame) + sum(rows.left_out.values()) == len(scores)
    assert rows.left_out == ({"flat": n} if (n := scores["emergence_score"].isna().sum()) else {})
    expected = flagged(scores)[scores["emergence_score"].notna()]
    assert rows.frame["flagged"].tolist() == expected.tolist()
    counted = flag_curves(scores, flat="not_flagged")
    assert len(counted.frame) == len(scores)
    assert counted.frame["flagged"].sum() == rows.frame["flagged"].sum()


@given(random_scores(), st.floats(-300, 500), st.floats(-300, 500))
def test_a_higher_threshold_flags_no_more(scores, one, two):
    low, high = sorted([one, two])
    lower, higher = flag_curves(scores, threshold=low), flag_curves(scores, threshold=high)
    assert (higher.frame["flagged"] <= lower.frame["flagged"]).all()


def test_numbers_of_tasks_and_matched_sets():
    scores = curve_scores(
        [
            {"task": "a", "metric": "x"},
            {"task": "a", "metric": "y"},
            {"task": "a", "metric": "x", "shots": None},
            {"task": "a", "metric": "y", "shots": None},
            {"task": "a", "metric": "x", "variant": "v"},
            {"task": "a", "metric": "x", "benchmark": "c"},
        ]
    )
    frame = flag_curves(scores).frame
    assert frame["task_number"].tolist() == [0, 0, 0, 0, 0, 1]
    assert frame["set_number"].tolist() == [0, 0, 1, 1, 2, 3]


def test_the_level():
    scores = curve_scores(
        [{"task": "a"}, {"task": "a", "subtask": "a:1"}, {"task": "c", "emergence_score": 500.0}]
    )
    assert flag_curves(scores).frame["flagged"].tolist() == [False, True]
    assert len(flag_curves(scores, level="all").frame) == 3
    assert len(flag_curves(scores, level="subtask").frame) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": math.nan}, "threshold: not a number"),
        ({"level": "family"}, "level: 'family'"),
        ({"flat": "dropped"}, "flat: 'dropped'"),
        ({"unknown": "linear"}, "unknown: 'linear'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        flag_curves(curve_scores([{}]), **options)


def test_a_missing_column_is_named():
    with pytest.raises(SchemaError, match="missing column shots"):
        flag_curves(curve_scores([{}]).drop(columns="shots"))


# --- Shares ---


@given(random_scores())
def test_shares_count_as_the_other_table_does(scores):
    table = class_shares(flag_curves(scores)).set_index("metric_class")
    assert list(table.index) == ["sharp", "smooth", "unknown"]
    counts = {name: [0, 0] for name in table.index}
    if len(scores):
        for row in metrics_of_emergence(scores, by="metric_type").to_dict("records"):
            counts[CLASS[row["metric_type"]]][0] += row["n_scored"]
            counts[CLASS[row["metric_type"]]][1] += row["n_flagged"]
    assert table[["n_scored", "n_flagged"]].to_numpy().tolist() == list(counts.values())
    known = table[table["n_scored"] > 0]
    assert (known["share_low"] <= known["share_flagged"]).all()
    assert (known["share_flagged"] <= known["share_high"]).all()
    assert table.loc[table["n_scored"] == 0, "share_flagged"].isna().all()


# --- Ratios ---


def test_ratios_of_independent_curves_are_statsmodels():
    # One curve a task: 90 of 200 sharp ones are flagged, 40 of 240 smooth ones.
    scores = curve_scores(
        [
            {
                "task": f"t{i}", "metric_type": "nonlinear" if i < 200 else "continuous",
                "emergence_score": 200.0 if i < 90 or i >= 400 else 1.0,
            }
            for i in range(440)
        ]
    )  # fmt: skip
    rows = flag_curves(scores)
    reference = Table2x2(np.array([[90, 110], [40, 200]]))
    for statistic, expected, error in (
        ("odds_ratio", reference.oddsratio, reference.log_oddsratio_se),
        ("risk_ratio", reference.riskratio, reference.log_riskratio_se),
    ):
        found = ratio(rows, statistic, "by_task")
        assert (found["estimate"], found["status"]) == (pytest.approx(expected), "ok")
        # The jackknife of independent curves, with Student's t at 199 degrees of freedom.
        half = stats.t.ppf(0.975, 199) * error
        assert math.log(found["high"] / expected) == pytest.approx(half, rel=0.01)
        assert math.log(expected / found["low"]) == pytest.approx(half, rel=0.01)


@given(random_scores())
def test_swapping_the_classes_gives_the_reciprocal(scores):
    swap = {"discontinuous": "linear", "nonlinear": "continuous", "linear": "discontinuous",
            "continuous": "nonlinear", "unknown": "unknown"}  # fmt: skip
    swapped = scores.assign(metric_type=scores["metric_type"].map(swap))
    one, two = flag_ratios(flag_curves(scores)), flag_ratios(flag_curves(swapped))
    with np.errstate(divide="ignore"):
        for name, other in (("estimate", "estimate"), ("low", "high"), ("high", "low")):
            expected = 1 / two[other].to_numpy(dtype=float)
            assert one[name].to_numpy() == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("cells", "status", "message"),
    [
        ({}, "no_data", "No curve has a metric of known type."),
        ({"unknown": (2, 2)}, "no_data", "No curve has a metric of known type."),
        ({"sharp": (2, 2)}, "one_class", "No curve has a metric that is linear or continuous."),
        ({"smooth": (0, 2)}, "one_class", "No curve has a metric that is nonlinear or discont"),
        ({"sharp": (0, 5), "smooth": (0, 5)}, "no_variation", "No curve is flagged."),
        ({"sharp": (5, 0), "smooth": (5, 0)}, "no_variation", "All curves are flagged."),
    ],
)
def test_where_there_is_nothing_to_compare(cells, status, message):
    table = flag_ratios(flag_curves(made_of(cells)))
    assert set(table["status"]) == {status}
    assert table["message"].str.startswith(message).all()
    assert table[["estimate", "low", "high", "p_value"]].isna().all(axis=None)


def test_an_empty_cell():
    table = flag_ratios(flag_curves(made_of({"sharp": (10, 30), "smooth": (0, 20)})))
    over_tasks = table[table["method"] == "by_task"]
    assert set(over_tasks["status"]) == {"zero_cell"}
    assert (over_tasks["estimate"] == math.inf).all()
    assert over_tasks["low"].isna().all()
    exact = table[table["method"] == "exact"].iloc[0]
    assert (exact["estimate"], exact["high"], exact["status"]) == (math.inf, math.inf, "zero_cell")
    assert 1 < exact["low"] < math.inf
    half = table[table["method"] == "half_added"].iloc[0]
    assert 0 < half["low"] < half["estimate"] < half["high"] < math.inf
    assert "half is added to each cell" in half["message"]


def test_all_sharp_curves_flagged_leaves_the_risk_ratio_defined():
    rows = flag_curves(made_of({"sharp": (20, 0), "smooth": (8, 12)}))
    assert ratio(rows, "risk_ratio", "by_task")["status"] == "ok"
    assert ratio(rows, "risk_ratio", "by_task")["estimate"] == pytest.approx(20 / 8)
    assert ratio(rows, "odds_ratio", "by_task")["status"] == "zero_cell"


def test_few_tasks_give_no_interval_over_tasks():
    rows = flag_curves(made_of({"sharp": (10, 30), "smooth": (5, 20)}, n_tasks=4))
    found = ratio(rows, "odds_ratio", "by_task")
    assert found["status"] == "too_few_clusters"
    assert found["message"] == "4 tasks cannot give an interval."
    assert found["estimate"] == pytest.approx(10 * 20 / (30 * 5))
    assert math.isnan(found["low"])
    assert math.isfinite(ratio(rows, "odds_ratio", "exact")["low"])


def test_a_cell_of_few_tasks_gives_a_warning():
    rows = flag_curves(made_of({"sharp": (10, 30), "smooth": (3, 40)}))
    found = ratio(rows, "odds_ratio", "by_task")
    assert (found["status"], found["message"]) == (
        "sparse",
        "A cell of the table has curves of only 3 tasks.",
    )


def test_a_flag_of_one_task_has_no_jackknife():
    rows = flag_curves(made_of({"sharp": (10, 30), "smooth": (1, 40)}))
    found = ratio(rows, "odds_ratio", "by_task")
    assert found["status"] == "too_few_clusters"
    assert "single task" in found["message"]


# --- Simulated curves with a known odds ratio ---


@pytest.mark.full
@pytest.mark.parametrize("within", [True, False])
def test_intervals_over_tasks_cover_a_known_odds_ratio(within):
    n, hits, adjusted = 150, {"by_task": 0, "exact": 0}, []
    for seed in range(n):
        rows = flag_curves(simulated_scores(seed, within=within))
        table = flag_ratios(rows)
        odds = table[table["statistic"] == "odds_ratio"].set_index("method")
        for method in hits:
            hits[method] += odds.loc[method, "low"] <= 3 <= odds.loc[method, "high"]
        if seed < 60:
            term = flag_model(rows, covariates=["log_n_examples"]).fit.terms[0]
            adjusted.append(term.low <= 3 <= term.high)
    # Three standard errors of 0.95 in 150 are 0.053. Curves of a task agree, so that intervals
    # which take them as independent are much too short.
    assert hits["by_task"] / n > 0.9
    assert hits["exact"] / n < 0.9
    assert np.mean(adjusted) > 0.86


def test_intervals_of_few_tasks_cover_it_too():
    found = [
        ratio(flag_curves(simulated_scores(seed, n_tasks=6)), "odds_ratio", "by_task")
        for seed in range(80)
    ]
    given_ones = [one for one in found if not math.isnan(one["low"])]
    assert len(given_ones) > 50
    assert np.mean([one["low"] <= 3 <= one["high"] for one in given_ones]) > 0.9
