from __future__ import annotations

import csv
import math
from collections import Counter

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint
from strategies import FEWER, THRESHOLD, score_rows, to_scores

from bigbench_meta.aggregate.by_metric import (
    claims_by_metric,
    claims_summary,
    flagged,
    metrics_of_emergence,
    select_level,
    threshold_sweep,
)
from bigbench_meta.catalog.published import data_path, scaling_annotation
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.score import score_curves
from bigbench_meta.readers import load_embedded

INF, NAN = math.inf, math.nan
LEVELS = ("task", "subtask", "all")


def scores(*rows, **columns):
    """Curve scores of the given (metric, emergence score), a task of its own each."""
    frame = pd.DataFrame(rows, columns=["metric", "emergence_score"])
    tasks = [f"t{number}" for number in range(len(rows))]
    status = ["too_few_scales" if math.isnan(e) else "ok" for _, e in rows]
    return frame.assign(
        **{"task": tasks, "subtask": tasks, "metric_type": "unknown", "model_family": "f"}
        | {"status": status}
        | columns
    )


def by_name(table, by="metric"):
    return table.set_index(by).to_dict("index")


def assert_rows(found, expected):
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        got = {column: found[name][column] for column in want}
        assert got == pytest.approx(want, rel=1e-12, abs=1e-15, nan_ok=True), name


@pytest.fixture(scope="module")
def embedded():
    return score_curves(build_curves(load_embedded()))


# --- Against the naive version ---


@FEWER
@given(
    score_rows(),
    st.sampled_from([THRESHOLD, 0.0, -50.0, INF]),
    st.sampled_from(LEVELS),
    st.sampled_from(["metric", "metric_type"]),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_metrics_of_emergence_equals_oracle(rows, threshold, level, by, confidence):
    table = metrics_of_emergence(
        to_scores(rows), threshold=threshold, level=level, by=by, confidence=confidence
    )
    kept = oracles.kept(rows, level)
    expected = oracles.metrics_of_emergence(kept, threshold, by, confidence)
    types = {name: row.pop("metric_type") for name, row in expected.items()}
    if by == "metric":
        assert table.set_index("metric")["metric_type"].to_dict() == types
    assert_rows(by_name(table, by), expected)


@FEWER
@given(score_rows(), st.sampled_from(LEVELS))
def test_select_level_equals_oracle(rows, level):
    found = select_level(to_scores(rows).reset_index(names="row"), level)["row"].tolist()
    kept = oracles.kept([row | {"row": number} for number, row in enumerate(rows)], level)
    assert found == [row["row"] for row in kept]


@FEWER
@given(score_rows(), st.sampled_from(LEVELS))
def test_sweep_equals_repeated_tables(rows, level):
    thresholds = [INF, THRESHOLD, 0.0]
    frame = to_scores(rows)
    sweep = threshold_sweep(frame, thresholds=thresholds, level=level)
    assert sweep["threshold"].tolist() == sorted(thresholds)
    for row in sweep.to_dict("records"):
        table = metrics_of_emergence(frame, threshold=row["threshold"], level=level)
        table = table[table["n_scored"] > 0]
        flags = table["n_flagged"]
        assert row["n_scored"] == table["n_scored"].sum()
        assert row["n_flagged"] == flags.sum()
        assert row["n_metrics"] == len(table)
        assert row["n_metrics_flagged"] == (flags > 0).sum()
        # The table is sorted by flags, so its first two rows are the top two.
        top = oracles.share(flags[:2].sum(), flags.sum())
        assert row["share_top_two"] == pytest.approx(top, nan_ok=True)
        share = oracles.share(row["n_metrics_flagged"], row["n_metrics"])
        assert row["share_metrics_flagged"] == pytest.approx(share, nan_ok=True)
        interval = oracles.wilson(row["n_metrics_flagged"], row["n_metrics"], 0.95)
        assert (row["share_low"], row["share_high"]) == pytest.approx(
            interval, abs=1e-15, nan_ok=True
        )
        names = [name for name in row["top_two_metrics"].split(";") if name]
        assert flags[table["metric"].isin(names)].sum() == flags[:2].sum()
        assert len(names) == min(2, (flags > 0).sum())
        base = table.loc[table["metric"].isin(names), "n_scored"].sum()
        base = oracles.share(base, row["n_scored"]) if names else math.nan
        assert row["share_top_two_of_curves"] == pytest.approx(base, nan_ok=True)


# --- Invariants of the table ---


@FEWER
@given(score_rows(), st.sampled_from(LEVELS))
def test_counts_and_shares_add_up(rows, level):
    table = metrics_of_emergence(to_scores(rows), level=level)
    assert (table["n_scored"] == table["n_finite"] + table["n_infinite"]).all()
    whole = table["n_scored"] + table["n_flat"] + table["n_too_few_scales"]
    assert (whole == table["n_curves"]).all()
    assert (table["n_tasks_flagged"] <= table[["n_tasks", "n_flagged"]].min(axis=1)).all()
    for share, count in (("share_of_curves", "n_scored"), ("share_of_flags", "n_flagged")):
        if table[count].sum():
            assert table[share].sum() == pytest.approx(1)
        else:
            assert table[share].isna().all()
    known = table[table["n_scored"] > 0]
    assert (known["share_low"] <= known["share_flagged"]).all()
    assert (known["share_flagged"] <= known["share_high"]).all()
    assert known["share_low"].between(0, 1).all()
    assert known["share_high"].between(0, 1).all()
    unknown = table[table["n_scored"] == 0]
    shares = ["share_flagged", "share_low", "share_high", "flag_ratio"]
    assert unknown[shares].isna().all(axis=None)


@FEWER
@given(st.data())
def test_order_of_rows_does_not_matter(data):
    rows = data.draw(score_rows())
    level = data.draw(st.sampled_from(LEVELS))
    shuffled = data.draw(st.permutations(rows))
    pd.testing.assert_frame_equal(
        metrics_of_emergence(to_scores(shuffled), level=level),
        metrics_of_emergence(to_scores(rows), level=level),
    )


@FEWER
@given(score_rows(), st.sampled_from(LEVELS))
def test_index_and_category_do_not_matter(rows, level):
    frame = to_scores(rows)
    odd = frame.set_axis([7] * len(frame)).astype(
        dict.fromkeys(("task", "subtask", "metric", "model_family", "status"), "category")
    )
    pd.testing.assert_frame_equal(
        metrics_of_emergence(odd, level=level), metrics_of_emergence(frame, level=level)
    )


@FEWER
@given(score_rows(), st.floats(-200, 400), st.floats(0, 200))
def test_a_higher_threshold_flags_no_more(rows, threshold, more):
    frame = to_scores(rows)
    assert not (flagged(frame, threshold + more) & ~flagged(frame, threshold)).any()


# --- Flags ---


@pytest.mark.parametrize(
    ("score", "threshold", "expected"),
    [
        (100.0, 100, False),  # above, not at
        (np.nextafter(100, 101), 100, True),
        (INF, 100, True),
        (INF, INF, True),
        (1e308, INF, False),
        (-INF, 100, False),
        (-INF, -INF, False),
        (-500.0, 100, False),
        (NAN, 100, False),
        (NAN, -INF, False),
        (0.0, -1, True),
    ],
)
def test_flagged(score, threshold, expected):
    frame = pd.DataFrame({"emergence_score": [score]}, index=["row"])
    result = flagged(frame, threshold)
    assert result.to_dict() == {"row": expected}
    assert result.dtype == bool


def test_threshold_must_be_a_number():
    with pytest.raises(InputError, match="threshold: not a number"):
        flagged(scores(("acc", 1.0)), NAN)
    with pytest.raises(InputError, match="threshold: not a number"):
        threshold_sweep(scores(("acc", 1.0)), thresholds=[1.0, NAN])


def test_fallen_curves_are_counted_apart():
    table = metrics_of_emergence(scores(("acc", -INF), ("acc", -101.0), ("acc", -100.0)))
    assert table[["n_flagged", "n_fallen", "n_infinite"]].to_numpy().tolist() == [[0, 2, 1]]


# --- Sorting ---


def test_most_flagged_first_then_most_scored_then_by_name():
    table = metrics_of_emergence(
        scores(("b", 1.0), ("a", 1.0), ("many", 1.0), ("many", 1.0), ("top", 200.0), ("none", NAN))
    )
    assert table["metric"].tolist() == ["top", "many", "a", "b", "none"]
    assert table.index.tolist() == [0, 1, 2, 3, 4]


def test_top_two_metrics_on_ties_are_the_first_by_name():
    frame = scores(("c", 200.0), ("b", 200.0), ("d", 200.0), ("d", 200.0), ("a", 1.0))
    row = threshold_sweep(frame, thresholds=[100]).iloc[0]
    assert row["top_two_metrics"] == "d;b"
    assert (row["share_top_two"], row["share_top_two_of_curves"]) == (0.75, 0.6)


def test_nothing_flagged_has_no_share():
    row = threshold_sweep(scores(("a", 1.0)), thresholds=[100]).iloc[0]
    assert row["top_two_metrics"] == ""
    assert math.isnan(row["share_top_two"])
    assert math.isnan(row["share_top_two_of_curves"])
    assert (row["n_metrics_flagged"], row["share_metrics_flagged"], row["share_low"]) == (0, 0, 0)


def test_sweep_sorts_and_takes_any_iterable():
    sweep = threshold_sweep(scores(("a", 7.0)), thresholds=(t for t in (9.0, 5.0)))
    assert sweep[["threshold", "n_flagged"]].to_numpy().tolist() == [[5, 1], [9, 0]]


def test_sweep_over_no_threshold():
    with pytest.raises(InputError, match="thresholds: none given"):
        threshold_sweep(scores(("a", 7.0)), thresholds=[])


# --- Levels ---

WITH_SUBTASKS = [("t", "t"), ("t", "t:a"), ("t", "t:b")]
WITHOUT = [("u", "u")]
SUBTASK_ONLY = [("v", "v:a")]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("task", [("t", "t"), ("u", "u")]),
        ("subtask", [("t", "t:a"), ("t", "t:b"), ("u", "u"), ("v", "v:a")]),
        ("all", WITH_SUBTASKS + WITHOUT + SUBTASK_ONLY),
    ],
)
def test_level(level, expected):
    tasks, subtasks = zip(*(WITH_SUBTASKS + WITHOUT + SUBTASK_ONLY), strict=True)
    frame = scores(*[("acc", 1.0)] * 5, task=tasks, subtask=subtasks)
    kept = select_level(frame, level)
    assert list(zip(kept["task"], kept["subtask"], strict=True)) == expected
    assert metrics_of_emergence(frame, level=level)["n_curves"].tolist() == [len(expected)]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("benchmark", ["b", "c"]),
        ("metric", ["acc", "em"]),
        ("model_family", ["f", "g"]),
        ("shots", [0, 3]),
        ("shots", [None, 0]),
        ("variant", [None, "cot"]),
    ],
)
def test_an_aggregate_row_gives_way_to_its_own_subtasks_alone(column, values):
    frame = scores(("acc", 1.0), ("acc", 1.0), task="t", subtask=["t", "t:a"])
    assert select_level(frame, "subtask")["subtask"].tolist() == ["t:a"]
    frame = frame.assign(**{column: values})
    assert select_level(frame, "subtask")["subtask"].tolist() == ["t", "t:a"]


@pytest.mark.parametrize("nothing", ["shots", "variant"])
def test_what_is_not_stated_is_the_same_for_task_and_subtask(nothing):
    frame = scores(("acc", 1.0), ("acc", 1.0), task="t", subtask=["t", "t:a"])
    frame = frame.assign(**{nothing: [None, None]})
    assert select_level(frame, "subtask")["subtask"].tolist() == ["t:a"]


def test_tasks_of_two_benchmarks_are_two():
    frame = scores(("acc", 1.0), ("acc", 200.0), task="t", subtask="t", benchmark=["b", "c"])
    row = metrics_of_emergence(frame).iloc[0]
    assert (row["n_tasks"], row["n_tasks_flagged"]) == (2, 1)


# --- Types ---


def test_types_of_a_metric_are_joined():
    frame = scores(("acc", 1.0), ("acc", 1.0), ("em", 1.0))
    frame["metric_type"] = ["nonlinear", "discontinuous", "nonlinear"]
    assert by_name(metrics_of_emergence(frame))["acc"]["metric_type"] == "discontinuous;nonlinear"
    table = metrics_of_emergence(frame, by="metric_type")
    assert table[["metric_type", "n_curves"]].to_numpy().tolist() == [
        ["nonlinear", 2], ["discontinuous", 1],
    ]  # fmt: skip


# --- Intervals ---


@pytest.mark.parametrize("total", [1, 2, 7, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_wilson_interval(total, confidence):
    # A metric for each number of flagged curves from none to all.
    rows = [(f"{n}", 200.0 if i < n else 1.0) for n in range(total + 1) for i in range(total)]
    table = by_name(metrics_of_emergence(scores(*rows), confidence=confidence))
    assert len(table) == total + 1
    for name, row in table.items():
        count, found = int(name), (row["share_low"], row["share_high"])
        assert found == pytest.approx(oracles.wilson(count, total, confidence), abs=1e-15)
        theirs = proportion_confint(count, total, alpha=1 - confidence, method="wilson")
        assert found == pytest.approx(theirs, abs=1e-15)
        # Exact at the ends.
        assert (found[0] == 0) == (count == 0)
        assert (found[1] == 1) == (count == total)


def test_wilson_by_hand():
    # 1 of 4 at 95 %, z = 1.959964, z^2 = 3.841459. Centre (.25 + .480182) / 1.960365 = .372472;
    # half width 1.959964 * sqrt(.046875 + .060023) / 1.960365 = .326885.
    row = metrics_of_emergence(scores(("a", 200.0), ("a", 1.0), ("a", 1.0), ("a", 1.0))).iloc[0]
    assert row["share_low"] == pytest.approx(0.372472 - 0.326885, abs=2e-6)
    assert row["share_high"] == pytest.approx(0.372472 + 0.326885, abs=2e-6)


# --- Errors and nothing ---


@pytest.mark.parametrize("function", [metrics_of_emergence, threshold_sweep, claims_by_metric])
@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, NAN])
def test_confidence(function, confidence):
    data = () if function is claims_by_metric else (scores(("a", 1.0)),)
    with pytest.raises(InputError, match=rf"confidence: {confidence} is not between 0 and 1"):
        function(*data, confidence=confidence)


@pytest.mark.parametrize("function", [select_level, metrics_of_emergence, threshold_sweep])
def test_unknown_level(function):
    with pytest.raises(InputError, match=r"level: 'family'.*\n.*task, subtask, all"):
        function(scores(("a", 1.0)), level="family")


def test_unknown_by():
    with pytest.raises(InputError, match=r"by: 'task'.*\n.*metric, metric_type"):
        metrics_of_emergence(scores(("a", 1.0)), by="task")


@pytest.mark.parametrize("function", [select_level, metrics_of_emergence, threshold_sweep])
@pytest.mark.parametrize(
    "column",
    ["task", "subtask", "metric", "metric_type", "model_family", "emergence_score", "status"],
)
def test_missing_column(function, column):
    with pytest.raises(SchemaError, match=rf"scores: missing column {column}\n.*score_curves"):
        function(scores(("a", 1.0)).drop(columns=column))


@pytest.mark.parametrize("level", LEVELS)
def test_no_scores(level):
    empty = scores(("a", 1.0)).iloc[:0]
    full = metrics_of_emergence(scores(("a", 1.0)), level=level)
    table = metrics_of_emergence(empty, level=level)
    assert len(table) == 0
    assert table.columns.equals(full.columns)
    sweep = threshold_sweep(empty, level=level)
    assert (sweep["n_flagged"] == 0).all()
    assert sweep[["share_metrics_flagged", "share_low", "share_top_two"]].isna().all(axis=None)


def test_scores_are_left_alone():
    frame = scores(("a", 1.0), ("b", 200.0))
    before = frame.copy()
    metrics_of_emergence(frame)
    threshold_sweep(frame)
    pd.testing.assert_frame_equal(frame, before)


# --- Reference numbers: GPT-3, derived in test_analysis.py ---


def test_embedded_metrics(embedded):
    table = by_name(metrics_of_emergence(embedded))
    assert sum(row["n_curves"] for row in table.values()) == 189
    assert sum(row["n_flagged"] for row in table.values()) == 21
    # acc: 123 curves, one flat (Reversed Words zero-shot, 0 throughout), 19 above 100, of which 8
    # infinite, on all eight arithmetic tasks of two numbers and two operations.
    counts = ("n_curves", "n_scored", "n_flat", "n_flagged", "n_infinite", "n_tasks_flagged")
    assert [table["acc"][name] for name in counts] == [123, 122, 1, 19, 8, 8]
    assert [table["ppl"][name] for name in counts] == [3, 3, 0, 2, 0, 1]
    assert {name for name, row in table.items() if row["n_flagged"]} == {"acc", "ppl"}
    assert table["acc"]["share_of_flags"] == pytest.approx(19 / 21)
    # 19 of 21 flags on 122 of the 188 scored curves.
    assert table["acc"]["flag_ratio"] == pytest.approx((19 / 21) / (122 / 188))


def test_embedded_sweep(embedded):
    sweep = threshold_sweep(embedded, thresholds=[100, INF]).set_index("threshold")
    assert sweep.loc[100, ["n_scored", "n_flagged", "n_metrics", "n_metrics_flagged"]].tolist() == [
        188, 21, 8, 2,
    ]  # fmt: skip
    assert sweep.loc[100, "top_two_metrics"] == "acc;ppl"
    assert sweep.loc[INF, ["n_flagged", "n_metrics_flagged"]].tolist() == [8, 1]


# --- Claims: hand annotation (Wei et al. 2022) x preferred metric (BIG-bench 1.0.0) ---


@pytest.fixture(scope="module")
def claims():
    return claims_by_metric()


def read_csv(name):
    with data_path(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain_preferred():
    """Preferred metrics of each task, its own or else those of its subtasks, without pandas."""
    own, below = {}, {}
    for row in read_csv("bigbench_tasks.csv"):
        if row["preferred_metric"]:
            found = own if row["subtask"] == row["task"] else below
            found.setdefault(row["task"], {})[row["preferred_metric"]] = None
    return {task: ";".join(metrics) for task, metrics in (below | own).items()}


def test_claims_equal_a_plain_join(claims):
    preferred = plain_preferred()
    annotation = read_csv("wei2022_bigbench_scaling_classes.csv")
    emergent = [row for row in annotation if row["scaling_class"].startswith("emergent")]
    n_claims = Counter(preferred[row["task"]] for row in emergent)
    n_tasks = Counter(preferred[row["task"]] for row in annotation)
    rows = by_name(claims)
    assert {name: row["n_claims"] for name, row in rows.items()} == {
        name: n_claims[name] for name in n_tasks
    }
    assert {name: row["n_tasks"] for name, row in rows.items()} == n_tasks
    for name, row in rows.items():
        total = n_tasks[name]
        assert row["claim_rate"] == n_claims[name] / total
        assert row["share"] == n_claims[name] / 67
        assert row["share_of_tasks"] == total / 197
        assert row["claim_ratio"] == pytest.approx((n_claims[name] / 67) / (total / 197))
        interval = oracles.wilson(n_claims[name], total, 0.95)
        assert (row["rate_low"], row["rate_high"]) == pytest.approx(interval, abs=1e-15)


def test_claims(claims):
    # 25 tasks emerge with GPT-3 or LaMDA and 42 with PaLM: 67 claims. Joined with the tasks'
    # preferred metrics: 51 + 12 + 2 + 1 + 1 = 67; the rest of the 31 metrics have none.
    found = claims.loc[claims["n_claims"] > 0, ["metric", "n_claims", "on_paper_axis"]]
    assert found.to_numpy().tolist() == [
        ["multiple_choice_grade", 51, True],
        ["exact_str_match", 12, True],
        ["bleu", 2, True],
        ["creativity_and_consistency_score", 1, False],  # not among the 39 of Fig. 5A
        ["overall", 1, True],
    ]
    assert claims["share"].sum() == pytest.approx(1)
    assert claims["share_of_tasks"].sum() == pytest.approx(1)
    assert claims["n_tasks"].sum() == len(scaling_annotation()) == 197
    assert claims["metric_type"].tolist()[:3] == ["discontinuous", "nonlinear", "nonlinear"]


def test_claims_summary(claims):
    # The paper: "> 92 %" under two metrics, and claims on 4 of 39. Here (51 + 12) / 67 = 94.0 %,
    # or 63 of the 66 claims under one of the 39 = 95.5 %; 67 - 1 = 66 leaves out
    # creativity_and_consistency_score, and 5 - 1 = 4 metrics of the 39 have a claim. Of the 197
    # annotated tasks 112 + 38 prefer one of the same two metrics, and 2 prefer both; so do
    # 152 - 63 = 89 of the 197 - 67 = 130 without a claim.
    assert claims_summary(claims) == {
        "n_claims": 67,
        "n_metrics_with_claims": 5,
        "n_claims_top_two": 63,
        "share_top_two": 63 / 67,
        "n_tasks": 197,
        "n_tasks_top_two": 152,
        "share_of_tasks_top_two": 152 / 197,
        "n_other_tasks": 130,
        "n_other_tasks_top_two": 89,
        "share_of_other_tasks_top_two": 89 / 130,
        "n_paper_metrics": 39,
        "n_paper_metrics_with_claims": 4,
        "n_claims_on_paper_metrics": 66,
        "share_top_two_on_paper_metrics": 63 / 66,
    }


@pytest.mark.parametrize(
    ("scaling_class", "n"),
    [
        ("smoothly_increasing", 58),
        ("emergent_gpt3_or_lamda", 25),
        ("emergent_palm", 42),
        ("flat", 45),
        ("other", 27),
    ],
)
def test_one_class_as_claim(scaling_class, n):
    table = claims_by_metric(scaling_classes=[scaling_class])
    assert claims_summary(table)["n_claims"] == n
    assert table["n_tasks"].sum() == 197
    assert table["n_claims"].is_monotonic_decreasing


def test_no_class_as_claim():
    table = claims_by_metric(scaling_classes=[])
    assert table["share"].isna().all()
    assert (table["claim_rate"] == 0).all()
    assert math.isnan(claims_summary(table)["share_top_two"])


def test_unknown_class():
    with pytest.raises(InputError, match=r"scaling_classes: no class bumpy\n.*emergent_palm"):
        claims_by_metric(scaling_classes=["flat", "bumpy"])


@FEWER
@given(st.lists(st.integers(0, 60), max_size=6), st.data())
def test_summary_of_any_table(counts, data):
    axis = data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts)))
    table = pd.DataFrame({"n_claims": counts, "n_tasks": counts, "on_paper_axis": axis}).astype(
        {"n_claims": "int64", "n_tasks": "int64", "on_paper_axis": bool}
    )
    table.insert(0, "metric", pd.Series([f"m{row}" for row in range(len(counts))], dtype=str))
    summary = claims_summary(table)
    # Every annotated task is a claim here, so the base rate is the share itself.
    assert summary["n_tasks_top_two"] == summary["n_claims_top_two"] == sum(sorted(counts)[-2:])
    on_axis = [n for n, on in zip(counts, axis, strict=True) if on]
    assert summary["n_claims"] == sum(counts)
    assert summary["n_claims_on_paper_metrics"] == sum(on_axis)
    assert summary["n_paper_metrics_with_claims"] == sum(n > 0 for n in on_axis)
    top = oracles.share(sum(sorted(counts)[-2:]), sum(counts))
    assert summary["share_top_two"] == pytest.approx(top, nan_ok=True)


def test_wilson_of_claims_is_at_the_confidence_asked_for(claims):
    narrow = claims_by_metric(confidence=0.5)
    assert (narrow["rate_low"] >= claims["rate_low"]).all()
    assert (narrow["rate_high"] <= claims["rate_high"]).all()
    row = by_name(narrow)["exact_str_match"]
    assert row["rate_low"] == pytest.approx(oracles.wilson(12, 38, 0.5)[0])
