"""Paired comparison against loops, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from account_scores import CLASS, curve_scores, random_scores, simulated_scores
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable, mcnemar

from bigbench_meta.aggregate.attribution.clusters import cluster_median, median
from bigbench_meta.aggregate.attribution.flags import flag_curves
from bigbench_meta.aggregate.attribution.pairs import (
    log_sharpness_difference,
    matched_tables,
    metric_pairs,
    paired_counts,
    paired_tests,
    pairs_by_metric,
    sharpness_order,
)
from bigbench_meta.core.errors import InputError

INF, NAN = math.inf, math.nan
SET = ("task", "model_family", "shots")
OTHER_CLASS = {
    "discontinuous": "linear", "nonlinear": "continuous", "linear": "discontinuous",
    "continuous": "nonlinear", "unknown": "unknown",
}  # fmt: skip


def scored_records(scores):
    """Curves that have a score, as dicts, with class and flag at a threshold of 100."""
    rows = scores[scores["emergence_score"].notna()].to_dict("records")
    return [
        row | {"class": CLASS[row["metric_type"]], "flagged": row["emergence_score"] > 100}
        for row in rows
    ]


def pairs_by_looping(scores):
    """Every sharp and smooth curve of one task, family and number of shots."""
    rows = scored_records(scores)
    return [
        (one, two)
        for one, two in itertools.product(rows, rows)
        if (one["class"], two["class"]) == ("sharp", "smooth")
        and all(one[name] == two[name] or pd.isna([one[name], two[name]]).all() for name in SET)
    ]


def estimate_of(rows, statistic, method):
    table = paired_tests(rows)
    found = table[(table["statistic"] == statistic) & (table["method"] == method)]
    assert len(found) == 1
    return found.iloc[0]


def pairs_of(*values, threshold=100.0, same_task=False):
    """Curve flags of one matched set for each (sharp score, smooth score)."""
    rows = [
        {
            "task": "t" if same_task else f"t{i}", "shots": i, "metric": kind, "metric_type": kind,
            "emergence_score": score,
        }
        for i, pair in enumerate(values)
        for kind, score in zip(("nonlinear", "continuous"), pair, strict=True)
    ]  # fmt: skip
    return flag_curves(curve_scores(rows), threshold=threshold)


# --- Differences ---


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (2.0, 1.0, math.log(2)),
        (1.0, 2.0, -math.log(2)),
        (INF, 1.0, INF),
        (1.0, INF, -INF),
        (INF, INF, 0.0),
        (0.0, 1.0, NAN),
        (1.0, -2.0, NAN),
        (-INF, INF, NAN),
        (INF, -INF, NAN),
        (NAN, 1.0, NAN),
        (INF, NAN, NAN),
        (3.0, 3.0 * (1 + 1e-14), 0.0),
        (1e-300, 1e300, math.log(1e-300) - math.log(1e300)),
    ],
)
def test_difference_of_logs(first, second, expected):
    found = log_sharpness_difference(first, second)
    assert found.shape == ()
    assert float(found) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.tuples(*[st.sampled_from([-INF, -2, 0, 0.5, 3, INF, NAN])] * 2), max_size=8))
def test_difference_changes_sign_when_the_two_change_places(pairs):
    one, two = np.array(pairs).reshape(-1, 2).T
    found = log_sharpness_difference(one, two)
    assert found == pytest.approx(-log_sharpness_difference(two, one), nan_ok=True)
    assert found == pytest.approx(log_sharpness_difference(7 * one, 7 * two), nan_ok=True)


# --- Pairs ---


@given(random_scores())
def test_pairs_and_counts_by_looping(scores):
    rows = flag_curves(scores)
    expected = pairs_by_looping(scores)
    found = metric_pairs(rows)
    chosen = found[(found["metric_class_first"] == "sharp")
                   & (found["metric_class_second"] == "smooth")]  # fmt: skip
    names = ["task", "model_family", "shots", "metric_first", "metric_second"]

    def plain(key):
        return tuple(None if pd.isna(value) else value for value in key)

    keys = [plain(key) for key in chosen[names].astype(object).itertuples(index=False)]
    looped = [
        plain([*(one[name] for name in SET), one["metric"], two["metric"]]) for one, two in expected
    ]
    assert sorted(keys, key=repr) == sorted(looped, key=repr)
    counts = paired_counts(rows)
    flags = [(one["flagged"], two["flagged"]) for one, two in expected]
    sharpness = [(one["relative_sharpness"], two["relative_sharpness"]) for one, two in expected]
    assert counts == {
        "n_pairs": len(expected),
        "n_sets": len({plain(one[name] for name in SET) for one, _ in expected}),
        "n_tasks": len({one["task"] for one, _ in expected}),
        "n_both": flags.count((True, True)),
        "n_sharp_only": flags.count((True, False)),
        "n_smooth_only": flags.count((False, True)),
        "n_neither": flags.count((False, False)),
        "n_sharper": sum(one > two for one, two in sharpness),
        "n_equal": sum(one == two for one, two in sharpness),
        "n_less_sharp": sum(one < two for one, two in sharpness),
        "n_falling": sum(min(pair) <= 0 for pair in sharpness),
        "n_infinite": sum(INF in np.abs(pair) for pair in sharpness),
        "n_unequal": 0,
    }


def test_each_two_metrics_of_a_set_are_a_pair_once():
    metrics = {"b": "nonlinear", "a": "discontinuous", "c": "linear", "d": "unknown"}
    rows = flag_curves(
        curve_scores([{"metric": name, "metric_type": kind} for name, kind in metrics.items()])
    )
    found = metric_pairs(rows)
    assert list(zip(found["metric_first"], found["metric_second"], strict=True)) == [
        ("b", "c"), ("b", "d"), ("a", "b"), ("a", "c"), ("a", "d"), ("d", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["benchmark", "task", "subtask", "model_family", "shots"])
def test_curves_of_two_sets_are_no_pair(name):
    one = {"metric": "x", "metric_type": "nonlinear"}
    two = {"metric": "y", "metric_type": "linear", name: 7 if name == "shots" else "other"}
    scores = curve_scores([one, two])
    assert metric_pairs(flag_curves(scores, level="all")).empty
    alike = scores.assign(**{name: scores[name].iloc[0]})
    assert len(metric_pairs(flag_curves(alike, level="all"))) == (name != "task")
    assert len(metric_pairs(flag_curves(alike.assign(subtask="t")))) == 1


def test_limited_sharpness_is_the_plain_one_where_no_resolution_is_known():
    rows = flag_curves(
        curve_scores(
            [
                {"metric": "x", "emergence_score": INF, "resolution_limited_score": 14.0},
                {"metric": "y", "metric_type": "linear", "emergence_score": 7.0},
                {"metric": "z", "metric_type": "linear", "emergence_score": INF},
            ]
        )
    )
    found = metric_pairs(rows).set_index(["metric_first", "metric_second"])
    assert found.loc[("x", "y"), "log_difference"] == INF
    assert found.loc[("x", "y"), "log_difference_limited"] == pytest.approx(math.log(2))
    assert found.loc[("x", "z"), "log_difference"] == 0
    assert math.isnan(found.loc[("x", "z"), "log_difference_limited"])


def test_pairs_of_unequal_numbers_of_scales_are_counted():
    scores = curve_scores(
        [{"metric": "x", "n_scales": 8}, {"metric": "y", "metric_type": "linear", "n_scales": 6}]
    )
    assert paired_counts(flag_curves(scores))["n_unequal"] == 1


@given(random_scores())
def test_matched_tables_by_looping(scores):
    expected = {}
    for row in scored_records(scores):
        if row["class"] != "unknown":
            key = tuple(None if pd.isna(row[name]) else row[name] for name in SET)
            table = expected.setdefault(key, [[0, 0], [0, 0]])
            table[row["class"] == "smooth"][not row["flagged"]] += 1
    expected = [table for table in expected.values() if all(map(any, table))]
    tables, task = matched_tables(flag_curves(scores))
    assert sorted(tables.tolist()) == sorted(expected)
    assert len(task) == len(tables)


# --- Two metrics ---


@given(random_scores())
def test_metrics_two_by_two(scores):
    rows = flag_curves(scores)
    table, pairs = pairs_by_metric(rows), metric_pairs(rows)
    assert table["n_pairs"].sum() == len(pairs)
    if table.empty:
        return
    p_values = table["p_value"].tolist()
    # The smallest times the number of rows, the next times one less, never falling, at most 1.
    steps = [p * (len(p_values) - sum(other < p for other in p_values)) for p in p_values]
    expected = [
        min(1, max(step for step, other in zip(steps, p_values, strict=True) if other <= p))
        for p in p_values
    ]
    assert table["p_holm"].tolist() == pytest.approx(expected)
    for row in table.to_dict("records"):
        part = pairs[(pairs["metric_first"] == row["metric_first"])
                     & (pairs["metric_second"] == row["metric_second"])]  # fmt: skip
        cells = [
            [row["n_both"], row["n_first_only"]],
            [row["n_second_only"], row["n_neither"]],
        ]
        assert np.sum(cells) == row["n_pairs"] == len(part)
        assert row["p_value"] == pytest.approx(mcnemar(cells, exact=True).pvalue)
        differences = part["log_difference"].dropna().to_numpy()
        assert row["n_log"] == len(differences)
        assert row["median_log_difference"] == pytest.approx(median(differences), nan_ok=True)
        order = row["n_sharper"] + row["n_equal"] + row["n_less_sharp"]
        assert order == part["relative_sharpness_first"].notna().sum()
    different = (table["class_first"] != table["class_second"]).tolist()
    assert different == sorted(different, reverse=True)


def test_no_pairs_give_an_empty_table_with_its_columns():
    table = pairs_by_metric(flag_curves(curve_scores([{}])))
    assert table.empty
    assert {"metric_first", "p_holm", "median_log_difference"} <= set(table.columns)


# --- Tests ---


@pytest.mark.parametrize("seed", range(4))
def test_tests_of_simulated_pairs(seed):
    rows = flag_curves(simulated_scores(seed))
    counts = paired_counts(rows)
    cells = [
        [counts["n_both"], counts["n_sharp_only"]],
        [counts["n_smooth_only"], counts["n_neither"]],
    ]
    found = estimate_of(rows, "paired_odds_ratio", "mcnemar")
    assert found["p_value"] == pytest.approx(mcnemar(cells, exact=True).pvalue)
    assert found["estimate"] == pytest.approx(counts["n_sharp_only"] / counts["n_smooth_only"])
    tables, _ = matched_tables(rows)
    reference = StratifiedTable(list(tables))
    found = estimate_of(rows, "common_odds_ratio", "mantel_haenszel")
    assert found["estimate"] == pytest.approx(reference.oddsratio_pooled)
    assert found["p_value"] == pytest.approx(reference.test_null_odds(correction=False).pvalue)
    limits = reference.oddsratio_pooled_confint()
    assert (found["low"], found["high"]) == pytest.approx(limits)
    assert (found["n"], found["n_tasks"]) == (tables.sum(), 40)


def naive_jackknife(sums, df):
    """Interval of the log of a ratio of totals, by leaving out rows."""
    sums = np.array(sums, dtype=float)
    logs = [math.log(np.divide(*np.delete(sums, i, axis=0).sum(axis=0))) for i in range(len(sums))]
    variance = (len(sums) - 1) * np.var(logs)
    centre, half = math.log(np.divide(*sums.sum(axis=0))), math.sqrt(variance)
    half *= stats.t.ppf(0.975, df)
    return math.exp(centre - half), math.exp(centre + half)


def test_intervals_over_tasks_by_leaving_tasks_out():
    scores = simulated_scores(1)
    rows = flag_curves(scores)
    by_task = {}
    for one, two in pairs_by_looping(scores):
        sums = by_task.setdefault(one["task"], [0, 0])
        sums[0] += one["flagged"] and not two["flagged"]
        sums[1] += two["flagged"] and not one["flagged"]
    sums = [pair for pair in by_task.values() if any(pair)]
    found = estimate_of(rows, "paired_odds_ratio", "by_task")
    assert (found["low"], found["high"]) == pytest.approx(naive_jackknife(sums, len(sums) - 1))
    # Each task is one matched set here.
    a, b, c, d = matched_tables(rows)[0].reshape(-1, 4).T
    n = a + b + c + d
    sums = np.stack([a * d / n, b * c / n], axis=1)
    sums = sums[sums.any(axis=1)]
    found = estimate_of(rows, "common_odds_ratio", "by_task")
    assert (found["low"], found["high"]) == pytest.approx(naive_jackknife(sums, len(sums) - 1))
    pooled = estimate_of(rows, "common_odds_ratio", "mantel_haenszel")
    assert found["estimate"] == pytest.approx(pooled["estimate"])


def test_one_pair_a_task_makes_the_tests_those_of_independent_pairs():
    rng = np.random.default_rng(2)
    sharp, smooth = np.exp(rng.normal(1, 1, 30)), np.exp(rng.normal(0.6, 1, 30))
    rows = pairs_of(*zip(sharp, smooth, strict=True), threshold=4)
    n_sharper = int(np.sum(sharp > smooth))
    reference = stats.binomtest(n_sharper, 30)
    for method in ("sign_test", "by_task"):
        found = estimate_of(rows, "share_sharper", method)
        assert found["estimate"] == n_sharper / 30
        assert found["p_value"] == pytest.approx(reference.pvalue)
        limits = reference.proportion_ci()
        assert found["low"] == pytest.approx(limits.low, abs=0.02)
        assert found["high"] == pytest.approx(limits.high, abs=0.02)
    first = estimate_of(rows, "paired_odds_ratio", "mcnemar")
    assert estimate_of(rows, "paired_odds_ratio", "by_task")["p_value"] == first["p_value"]
    differences = np.log(sharp) - np.log(smooth)
    found = estimate_of(rows, "log_sharpness_difference", "mean_limited")
    reference = stats.ttest_1samp(differences, 0)
    assert found["estimate"] == pytest.approx(differences.mean())
    assert found["p_value"] == pytest.approx(reference.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(reference.confidence_interval()))
    found = estimate_of(rows, "log_sharpness_difference", "median")
    expected = cluster_median(differences, np.arange(30), confidence=0.95)
    assert tuple(found[["estimate", "low", "high", "p_value"]]) == pytest.approx(expected)


def test_infinite_sharpness_counts_and_falling_curves_do_not():
    rows = pairs_of(
        *[(INF, 7.0)] * 6, *[(14.0, 7.0)] * 2, (INF, INF), (7.0, INF), (-7.0, 7.0), (7.0, -INF)
    )
    found = estimate_of(rows, "log_sharpness_difference", "median")
    assert (found["n"], found["estimate"], found["high"]) == (10, INF, INF)
    assert found["message"] == "2 pairs are left out: a curve does not rise."
    # Infinite ones have no mean, those of the two last do not rise.
    found = estimate_of(rows, "log_sharpness_difference", "mean_limited")
    assert (found["n"], found["estimate"], found["status"]) == (2, math.log(2), "too_few_clusters")
    found = estimate_of(rows, "share_sharper", "sign_test")
    assert (found["n"], found["estimate"]) == (11, 9 / 11)


def test_pairs_of_one_task_are_no_evidence_over_tasks():
    rows = pairs_of(*[(500.0, 7.0)] * 12, same_task=True)
    assert estimate_of(rows, "paired_odds_ratio", "mcnemar")["p_value"] < 0.001
    assert estimate_of(rows, "paired_odds_ratio", "by_task")["p_value"] == 1
    found = estimate_of(rows, "share_sharper", "by_task")
    assert (found["p_value"], found["status"]) == (1, "too_few_clusters")
    assert found[["low", "high"]].isna().all()
    found = estimate_of(rows, "log_sharpness_difference", "median")
    assert (found["status"], found["message"]) == (
        "too_few_clusters",
        "1 task: too few for a limit.",
    )
    assert (found["estimate"], found["p_value"]) == (pytest.approx(math.log(500 / 7)), 1)


@pytest.mark.parametrize(
    ("values", "statistic", "method", "status", "message"),
    [
        ([], "paired_odds_ratio", "mcnemar", "no_data", "There is no pair of a sharp and a smooth"),
        ([], "common_odds_ratio", "exact", "no_data", "No matched set has curves of both classes."),
        ([], "share_sharper", "by_task", "no_data", "There is no pair whose curves differ"),
        ([], "log_sharpness_difference", "median", "no_data", "There is no pair whose curves both"),
        ([(5, 5)] * 6, "paired_odds_ratio", "by_task", "no_variation", "In none of 6 pairs is onl"),
        ([(5, 5)] * 6, "common_odds_ratio", "exact", "no_variation", "In no matched set do curves"),
        ([(5, 5)] * 6, "share_sharper", "sign_test", "no_data", "There is no pair whose curves di"),
        ([(-5, 5)] * 6, "log_sharpness_difference", "median", "no_data", "There is no pair whose"),
        ([(200, 5)] * 6, "paired_odds_ratio", "by_task", "zero_cell", "6 pairs with only"),
        ([(200, 5)] * 6, "common_odds_ratio", "by_task", "zero_cell", "Only one side has discord"),
        ([(200, 5)] * 6, "log_sharpness_difference", "mean_limited", "no_spread", "All tasks"),
        ([(200, 5)] * 3, "share_sharper", "by_task", "too_few_clusters", "3 tasks cannot give an"),
        (
            [(200, 5), (200, 5), (5, 200)], "paired_odds_ratio", "by_task", "too_few_clusters",
            "3 tasks cannot give an interval.",
        ),
        ([(INF, INF)] * 6, "log_sharpness_difference", "mean_limited", "no_data", "There is no pa"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed(values, statistic, method, status, message):
    found = estimate_of(pairs_of(*values), statistic, method)
    assert found["status"] == status
    assert found["message"].startswith(message)
    assert math.isnan(found["low"])


def test_one_sided_pairs_have_an_exact_limit():
    rows = pairs_of(*[(200, 5)] * 6)
    for statistic, method in (("paired_odds_ratio", "mcnemar"), ("common_odds_ratio", "exact")):
        found = estimate_of(rows, statistic, method)
        # All six of six: the odds are at least those of the chance whose sixth power is 0.025.
        least = 0.025 ** (1 / 6)
        assert (found["estimate"], found["high"], found["status"]) == (INF, INF, "zero_cell")
        assert found["low"] == pytest.approx(least / (1 - least))
        assert found["p_value"] == pytest.approx(2 * 0.5**6)


@given(random_scores())
def test_exchanging_the_classes_inverts_every_comparison(scores):
    swapped = scores.assign(metric_type=scores["metric_type"].map(OTHER_CLASS))
    one, two = paired_tests(flag_curves(scores)), paired_tests(flag_curves(swapped))
    turned = two.copy()
    ends = two[["estimate", "high", "low"]].to_numpy(dtype=float)
    odds = two["statistic"].str.endswith("odds_ratio").to_numpy()
    share = (two["statistic"] == "share_sharper").to_numpy()
    with np.errstate(divide="ignore"):
        changed = np.where(odds[:, None], 1 / ends, np.where(share[:, None], 1 - ends, -ends))
    turned[["estimate", "low", "high"]] = changed
    pd.testing.assert_frame_equal(
        one.drop(columns="message"), turned.drop(columns="message"), rtol=1e-6
    )


@pytest.mark.full
@given(random_scores(), st.randoms(use_true_random=False))
def test_pairs_do_not_know_the_order_of_rows_or_names_of_tasks(scores, random):
    names = list("abcd")
    renamed = dict(zip(names, random.sample(names, 4), strict=True))
    other = scores.assign(
        task=scores["task"].astype(str).map(renamed).astype("category"),
        subtask=scores["subtask"].astype(str).map(renamed).astype("category"),
    ).sample(frac=1, random_state=random.randrange(1000))
    one, two = flag_curves(scores), flag_curves(other)
    assert paired_counts(one) == paired_counts(two)
    pd.testing.assert_frame_equal(paired_tests(one), paired_tests(two))
    pd.testing.assert_frame_equal(pairs_by_metric(one), pairs_by_metric(two))


@given(random_scores())
def test_a_curve_without_a_partner_changes_nothing(scores):
    more = pd.concat(
        [scores, curve_scores([{"task": "alone", "emergence_score": 300.0}])], ignore_index=True
    )
    one, two = paired_tests(flag_curves(scores)), paired_tests(flag_curves(more))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize("confidence", [0, 1, 95, NAN])
def test_confidence_is_checked(confidence):
    with pytest.raises(InputError, match="confidence"):
        paired_tests(pairs_of((1, 2)), confidence=confidence)


def test_order_of_sharpness():
    pairs = metric_pairs(
        pairs_of((INF, INF), (INF, 5), (5, INF), (-5, 5), (5, 5), (5, 5 * (1 + 1e-14)), (-INF, INF))
    )
    assert sharpness_order(pairs).tolist() == [0, 1, -1, -1, 0, 0, -1]
