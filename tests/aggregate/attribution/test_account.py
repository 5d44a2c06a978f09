"""Everything that is asked of the flags, together, and what cannot be concluded."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from account_scores import curve_scores, random_scores, simulated_scores
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta import score_curves
from bigbench_meta.aggregate.attribution.account import account_for_flags, flag_estimates
from bigbench_meta.aggregate.attribution.estimates import STATUSES
from bigbench_meta.aggregate.attribution.flags import flag_curves, flag_ratios


def same(one: pd.DataFrame, two: pd.DataFrame, rel: float = 1e-7) -> None:
    """Compare tables of estimates, leaving the sentences aside."""
    columns = [name for name in one if name != "message"]
    pd.testing.assert_frame_equal(one[columns], two[columns], rtol=rel)


# --- Every statistic ---


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


@given(random_scores())
def test_every_curve_twice_leaves_ratios_and_intervals_over_tasks(scores):
    twice = pd.concat([scores, scores], ignore_index=True)
    one, two = flag_ratios(flag_curves(scores)), flag_ratios(flag_curves(twice))
    over_tasks = one["method"] == "by_task"
    same(one[over_tasks].drop(columns="n"), two[over_tasks].drop(columns="n"))


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
        ("adjusted_odds_ratio", "gee"),
    ):  # fmt: skip
        assert found.loc[key, "status"] == "no_spread", key
        assert math.isnan(found.loc[key, "low"])
    assert found.loc[("odds_ratio", "by_task"), "estimate"] == pytest.approx(4)
    assert math.isfinite(found.loc[("odds_ratio", "exact"), "low"])
    # The share's interval has twelve observations.
    low, high = proportion_confint(8, 12, method="beta")
    share = found.loc[("share_flagged_sharp", "by_task")]
    assert (share["low"], share["high"]) == pytest.approx((low, high))


# --- All together, and what cannot be concluded ---


def test_account_holds_what_its_parts_say():
    scores = simulated_scores(3)
    account = account_for_flags(scores)
    rows = flag_curves(scores)
    same(account.ratios, flag_ratios(rows))
    same(account.estimates(), flag_estimates(rows))
    table = account.estimates().set_index(["statistic", "method"])
    assert table.loc[("adjusted_odds_ratio", "gee"), "estimate"] == pytest.approx(
        account.model.fit.terms[0].odds_ratio
    )
    shares = account.shares.set_index("metric_class")
    assert table.loc[("share_flagged_smooth", "by_task"), "low"] == pytest.approx(
        shares.loc["smooth", "share_low"]
    )


def test_embedded_figures_say_what_they_cannot(embedded_study):
    limitations = account_for_flags(score_curves(embedded_study.curves)).limitations
    text = "\n".join(limitations)
    assert "None of the 9 curves (3 tasks) of metrics that are linear or continuous" in text
    # One-sided 97.5% limit of 0 in 3: 1 - 0.025^(1/3).
    assert f"compatible with any true share up to {1 - 0.025 ** (1 / 3):.0%}." in text
    assert "exact interval is 0.25 to infinity" in text
    assert "3 curves of 188 have a metric of unknown type" in text
    assert "49 tasks have sharp and 3 smooth metrics: no fit" in text
    assert "Exactly one curve is flagged in 0 of 3 matched pairs of a sharp and a smooth" in text
    assert "All curves belong to one model family, GPT-3" in text
    assert "50 of 51 tasks have metrics of only one class" in text
    assert len(limitations) == 7


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
        ([{}], "No curve has a metric that is linear or continuous: the classes are not"),
        ([{"n_scales": 3}], "1 curve of 1 have three models"),
        ([{"metric_type": "linear"}], "No matched set has a sharp and a smooth metric"),
        ([], "The ratios are not defined: no curve has a metric of known type."),
    ],
)
def test_limitations_of_next_to_nothing(rows, sentence):
    account = account_for_flags(curve_scores(rows))
    assert any(line.startswith(sentence) for line in account.limitations), account.limitations


def test_three_models_can_be_flagged_at_a_threshold_below_two():
    account = account_for_flags(curve_scores([{"n_scales": 3}]), threshold=1.5)
    assert not any("three models" in line for line in account.limitations)
