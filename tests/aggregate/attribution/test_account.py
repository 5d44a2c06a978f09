"""What accounts for the flags: rows, shares, ratios, regressions, and what cannot be concluded."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from account_scores import CLASS, TYPES, curve_scores, random_scores, simulated_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta import build_curves, flagged, load_embedded, score_curves
from bigbench_meta.aggregate.attribution.account import (
    account_for_flags,
    class_shares,
    flag_curves,
    flag_estimates,
    flag_models,
    flag_ratios,
)
from bigbench_meta.aggregate.attribution.curve_flags import class_of
from bigbench_meta.aggregate.attribution.estimates import STATUSES
from bigbench_meta.aggregate.by_metric import metrics_of_emergence
from bigbench_meta.core.errors import InputError, SchemaError

FEWER = settings(max_examples=30)


def ratio(rows, statistic, method):
    table = flag_ratios(rows)
    return table[(table["statistic"] == statistic) & (table["method"] == method)].iloc[0]


def same(one: pd.DataFrame, two: pd.DataFrame, rel: float = 1e-7) -> None:
    """Compare tables of estimates, leaving the sentences aside."""
    columns = [name for name in one if name != "message"]
    pd.testing.assert_frame_equal(one[columns], two[columns], rtol=rel)


# --- Which curves ---


@pytest.mark.parametrize("kind", TYPES)
def test_class_of_each_type(kind):
    assert class_of(pd.Series([kind])).tolist() == [CLASS[kind]]


def test_a_type_that_nobody_knows_is_unknown():
    assert class_of(pd.Series(["odd", "", "Linear"])).tolist() == ["unknown"] * 3


@FEWER
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


@FEWER
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


def test_flags_by_another_rule_and_the_level():
    scores = curve_scores(
        [{"task": "a"}, {"task": "a", "subtask": "a:1"}, {"task": "c", "emergence_score": 500.0}]
    )
    flags = pd.Series([True, True, False])
    assert flag_curves(scores, flags=flags).frame["flagged"].tolist() == [True, False]
    assert len(flag_curves(scores, flags=flags, level="all").frame) == 3
    assert len(flag_curves(scores, flags=flags, level="subtask").frame) == 2


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


@FEWER
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


@FEWER
@given(random_scores(), st.randoms(use_true_random=False))
def test_nothing_knows_the_order_of_rows_or_the_names_of_tasks(scores, random):
    if scores.empty:
        return
    names = list(scores["task"].cat.categories)
    shuffled = dict(zip(names, random.sample(names, len(names)), strict=True))
    renamed = scores.assign(
        task=scores["task"].astype(str).map(shuffled).astype("category"),
        subtask=scores["subtask"].astype(str).map(shuffled).astype("category"),
    ).sample(frac=1, random_state=random.randrange(1000))
    same(flag_estimates(flag_curves(scores)), flag_estimates(flag_curves(renamed)))


@FEWER
@given(random_scores())
def test_every_curve_twice_leaves_ratios_and_intervals_over_tasks(scores):
    twice = pd.concat([scores, scores], ignore_index=True)
    one, two = flag_ratios(flag_curves(scores)), flag_ratios(flag_curves(twice))
    over_tasks = one["method"] == "by_task"
    same(one[over_tasks].drop(columns="n"), two[over_tasks].drop(columns="n"))


@FEWER
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


@FEWER
@given(random_scores())
def test_statuses_are_known_and_nothing_is_a_silent_number(scores):
    table = flag_estimates(flag_curves(scores))
    assert set(table["status"]) <= set(STATUSES)
    silent = ~table["status"].isin(["ok", "sparse"])
    assert (table.loc[silent, "message"] != "").all()
    interval = table["low"].notna()
    assert (table.loc[interval, "low"] <= table.loc[interval, "high"]).all()
    assert table.loc[interval, "status"].isin(["ok", "sparse", "zero_cell"]).all()
    assert (table.loc[interval, "estimate"] >= table.loc[interval, "low"] - 1e-9).all()
    assert (table.loc[interval, "estimate"] <= table.loc[interval, "high"] + 1e-9).all()


def made_of(cells: dict[str, tuple[int, int]], n_tasks: int = 8):
    """Rows with so many curves of a class (flagged, not), dealt out to tasks in turn."""
    kinds = {"sharp": "nonlinear", "smooth": "linear", "unknown": "unknown"}
    made = [
        {"metric_type": kinds[name], "emergence_score": score}
        for name, (hits, others) in cells.items()
        for score in [300.0] * hits + [3.0] * others
    ]
    return curve_scores(
        [row | {"task": f"t{i % n_tasks}", "metric": f"m{i}"} for i, row in enumerate(made)]
    )


@pytest.mark.parametrize(
    ("cells", "status", "message"),
    [
        ({}, "no_data", "No curve is of a metric of known type."),
        ({"unknown": (2, 2)}, "no_data", "No curve is of a metric of known type."),
        ({"sharp": (2, 2)}, "one_class", "No curve is of a metric that is linear or continuous."),
        ({"smooth": (0, 2)}, "one_class", "No curve is of a metric that is nonlinear or discont"),
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


def test_a_cell_of_few_tasks_is_told():
    rows = flag_curves(made_of({"sharp": (10, 30), "smooth": (3, 40)}))
    found = ratio(rows, "odds_ratio", "by_task")
    assert (found["status"], found["message"]) == (
        "sparse",
        "A cell of the table has curves of 3 tasks alone.",
    )


def test_a_flag_of_one_task_has_no_jackknife():
    rows = flag_curves(made_of({"sharp": (10, 30), "smooth": (1, 40)}))
    found = ratio(rows, "odds_ratio", "by_task")
    assert found["status"] == "too_few_clusters"
    assert "single task" in found["message"]


# --- Simulated curves with a known odds ratio ---


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
            term = flag_models(rows, covariates=["log_n_examples"])[0].fit.terms[0]
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


# --- Regressions ---


def models(scores, **options):
    return {model.name: model for model in flag_models(flag_curves(scores), **options)}


def test_covariates_that_say_nothing_are_left_out_with_a_reason():
    scores = simulated_scores(0)
    found = models(scores)["gee"]
    assert found.fit.status == "ok"
    assert [term.name for term in found.fit.terms] == ["sharp metric", "log_n_examples"]
    assert found.dropped == {
        "n_scales": "the same for all curves",
        "shots": "the same for all curves",
        "model_family": "only one",
    }
    assert models(scores)["conditional_logit"].dropped == {
        "n_scales": "the same within each matched set",
        "shots": "the same within each matched set",
        "log_n_examples": "the same within each matched set",
    }


def test_covariates_that_are_missing():
    scores = simulated_scores(0)
    n = len(scores)
    scores["shots"] = pd.array([i % 4 for i in range(n)], dtype="Int64")
    scores.loc[:9, "shots"] = pd.NA
    scores["n_examples_min"] = pd.array([pd.NA] * (n - 3) + [7, 8, 9], dtype="Int64")
    found = models(scores)["gee"]
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
    found = models(scores)
    for model in found.values():
        assert model.left_out["flat"] == 1
        assert model.left_out["metric of unknown type"] == 2


def test_families():
    parts = [simulated_scores(seed).assign(model_family=name) for seed, name in enumerate("ABC")]
    parts[2] = parts[2].assign(emergence_score=1.0)
    scores = pd.concat([*parts, parts[0].iloc[:5]], ignore_index=True)
    found = models(scores)["gee"]
    assert found.left_out == {"in 1 family with one outcome alone": len(parts[2])}
    names = [term.name for term in found.fit.terms]
    largest = "A" if len(parts[0]) + 5 >= len(parts[1]) else "B"
    assert names == ["sharp metric", "log_n_examples", f"family {'B' if largest == 'A' else 'A'}"]


def test_a_covariate_that_follows_from_others_is_left_out():
    scores = simulated_scores(0)
    scores["shots"] = pd.array([i % 4 for i in range(len(scores))], dtype="Int64")
    scores["n_scales"] = scores["shots"].astype(int) * 2 + 3
    found = models(scores)["gee"]
    assert found.dropped["shots"] == "follows from the other columns"


def test_a_class_that_follows_from_the_covariates_has_no_odds_ratio():
    scores = simulated_scores(0)
    sharp = scores["metric_type"] == "nonlinear"
    found = models(scores.assign(n_scales=np.where(sharp, 8, 5)))["gee"]
    assert found.fit.status == "collinear"
    assert "cannot be told apart" in found.fit.message
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
        ({"sharp": (9, 40), "smooth": (0, 40)}, 20, "separation", "sharp metric foretells the fl"),
    ],
)
def test_what_the_regression_refuses(cells, n_tasks, status, message):
    found = models(made_of(cells, n_tasks))["gee"]
    assert found.fit.status == status
    assert found.fit.message.startswith(message)
    frame = found.to_frame()
    assert frame["term"].tolist() == ["sharp metric"]
    assert frame[["odds_ratio", "low", "high", "p_value"]].isna().all(axis=None)


def test_few_flagged_tasks_are_told():
    scores = made_of({"sharp": (4, 60), "smooth": (3, 60)}, 30)
    scores["shots"] = pd.array([i % 5 for i in range(len(scores))], dtype="Int64")
    found = models(scores)["gee"]
    assert found.fit.status == "sparse"
    assert "tasks have the rarer outcome, few for 2 coefficients" in found.fit.message
    assert len(found.fit.terms) == 2


def test_covariates_are_checked():
    with pytest.raises(InputError, match="covariates: 'size'"):
        flag_models(flag_curves(curve_scores([{}])), covariates=["size"])


# --- All together, and what cannot be concluded ---


def test_account_holds_what_its_parts_say():
    scores = simulated_scores(3)
    account = account_for_flags(scores)
    rows = flag_curves(scores)
    same(account.ratios, flag_ratios(rows))
    same(account.estimates(), flag_estimates(rows))
    table = account.estimates().set_index(["statistic", "method"])
    assert table.loc[("adjusted_odds_ratio", "gee"), "estimate"] == pytest.approx(
        account.models[0].fit.terms[0].odds_ratio
    )
    shares = account.shares.set_index("metric_class")
    assert table.loc[("share_flagged_smooth", "by_task"), "low"] == pytest.approx(
        shares.loc["smooth", "share_low"]
    )


@pytest.fixture(scope="module")
def embedded():
    return account_for_flags(score_curves(build_curves(load_embedded())))


def test_embedded_figures_say_what_they_cannot(embedded):
    text = "\n".join(embedded.limitations)
    assert "None of the 9 curves (3 tasks) of metrics that are linear or continuous" in text
    # One-sided 97.5% limit of 0 in 3: 1 - 0.025^(1/3).
    assert f"any true share up to {1 - 0.025 ** (1 / 3):.0%} fits" in text
    assert "exact interval is 0.25 to infinity" in text
    assert "3 curves of 188 are of a metric of unknown type" in text
    assert "49 tasks have sharp and 3 smooth metrics: no fit" in text
    assert "3 matched pairs of a sharp and a smooth metric (1 task), and in none" in text
    assert "All curves are of one model family, GPT-3" in text
    assert "50 of 51 tasks have metrics of one class alone" in text
    assert len(embedded.limitations) == 8


def test_enough_curves_leave_little_to_be_said():
    parts = [
        simulated_scores(seed, n_tasks=60, odds_ratio=8).assign(model_family=name)
        for seed, name in enumerate("AB")
    ]
    account = account_for_flags(pd.concat(parts, ignore_index=True))
    assert account.limitations == []


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{}], "No curve is of a metric that is linear or continuous: the classes are not"),
        ([{"n_scales": 3}], "1 curve of 1 have three models"),
        ([{"metric_type": "linear"}], "No matched set has a sharp and a smooth metric"),
        ([], "The ratios are not defined: no curve is of a metric of known type."),
    ],
)
def test_limitations_of_next_to_nothing(rows, sentence):
    account = account_for_flags(curve_scores(rows))
    assert any(line.startswith(sentence) for line in account.limitations), account.limitations


def test_three_models_can_be_flagged_at_a_threshold_below_two():
    account = account_for_flags(curve_scores([{"n_scales": 3}]), threshold=1.5)
    assert not any("three models" in line for line in account.limitations)


# --- Exchanging the classes ---


@pytest.mark.parametrize("seed", range(3))
def test_exchanging_the_classes_inverts_the_regressions(seed):
    scores = simulated_scores(seed, n_tasks=60)
    kinds = {"nonlinear": "continuous", "continuous": "nonlinear"}
    swapped = scores.assign(metric_type=scores["metric_type"].map(kinds))
    for name, one in models(scores).items():
        two = models(swapped)[name]
        assert one.fit.status == two.fit.status == "ok"
        first, other = one.fit.terms[0], two.fit.terms[0]
        assert first.odds_ratio == pytest.approx(1 / other.odds_ratio, rel=1e-5)
        assert (first.low, first.high) == pytest.approx((1 / other.high, 1 / other.low), rel=1e-5)
        assert first.p_value == pytest.approx(other.p_value, rel=1e-4)
        # The other coefficients are what they were.
        for term, same_term in zip(one.fit.terms[1:], two.fit.terms[1:], strict=True):
            assert term.odds_ratio == pytest.approx(same_term.odds_ratio, rel=1e-5)


def test_tasks_that_all_say_the_same_give_no_interval():
    # In each of twelve tasks two of three sharp curves are flagged, and one of three smooth ones.
    rows = [
        {
            "task": f"t{task}", "metric": f"{kind} {number}", "metric_type": kind,
            "emergence_score": 300.0 if number < hits else 3.0,
        }
        for task in range(12)
        for kind, hits in (("nonlinear", 2), ("linear", 1))
        for number in range(3)
    ]  # fmt: skip
    table = flag_estimates(flag_curves(curve_scores(rows)))
    found = table.set_index(["statistic", "method"])
    for key in (
        ("odds_ratio", "by_task"), ("risk_ratio", "by_task"), ("common_odds_ratio", "by_task"),
        ("conditional_odds_ratio", "conditional_logit"), ("adjusted_odds_ratio", "gee"),
    ):  # fmt: skip
        assert found.loc[key, "status"] == "no_spread", key
        assert math.isnan(found.loc[key, "low"])
    assert found.loc[("odds_ratio", "by_task"), "estimate"] == pytest.approx(4)
    assert math.isfinite(found.loc[("odds_ratio", "exact"), "low"])
    # The share's interval has twelve observations.
    low, high = proportion_confint(8, 12, method="beta")
    share = found.loc[("share_flagged_sharp", "by_task")]
    assert (share["low"], share["high"]) == pytest.approx((low, high))
