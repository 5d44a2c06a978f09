"""What is made of forecasts: comparisons, the least predictable, tables, progress."""

from __future__ import annotations

import math
import statistics

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bigbench_meta import build_curves, load_embedded
from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.forecast.summary import (
    compare_forecasters,
    forecast_summary,
    least_predictable,
)
from bigbench_meta.report.tables.forecast import forecast_tables

NAN = math.nan


@pytest.fixture(scope="module")
def two_of_embedded(embedded_study):
    """Forecasts of the embedded results by two forecasters, with what the tables ask for."""
    rule = forecast_curves(embedded_study.curves, forecasters=("log_pass_rate",))
    frame = pd.concat([embedded_study.forecasts, rule], ignore_index=True)
    return frame.assign(emergence_score=1.5, flagged=frame["curve"] % 2 == 0)


def made(*rows):
    """Forecasts: (forecaster, task, curve, horizon, error, covered)."""
    columns = ["forecaster", "task", "curve", "horizon", "error", "covered"]
    frame = pd.DataFrame(rows, columns=columns).assign(benchmark="b", k=5)
    return frame.astype({"covered": "boolean", "error": float})


@st.composite
def two_forecasters(draw):
    errors = st.sampled_from([NAN, 0.0, 0.1, -0.1, 0.2, -0.4, 1.0])
    rows = []
    for curve in range(draw(st.integers(1, 8))):
        task = draw(st.sampled_from(["s", "t", "u"]))
        for horizon in (1, 2):
            for name in ("a", "b"):
                error = draw(errors)
                covered = None if math.isnan(error) else draw(st.booleans())
                rows.append((name, task, curve, horizon, error, covered))
    return made(*rows)


# --- Two forecasters ---


def log(value):
    return math.log(value) if value else -math.inf


def counted(rows):
    """Count by hand: pairs of absolute errors by task."""
    pairs = {}
    for (task, _, _), group in rows.groupby(["task", "curve", "horizon"]):
        error = group.set_index("forecaster")["error"]
        if error.notna().all():
            pairs.setdefault(task, []).append((abs(error["a"]), abs(error["b"])))
    flat = [pair for found in pairs.values() for pair in found]
    leads = [
        sum(a < b for a, b in found) - sum(a > b for a, b in found) for found in pairs.values()
    ]
    return flat, leads


@given(two_forecasters())
def test_comparison_against_a_loop(rows):
    table = compare_forecasters(rows, "a", "b")
    assert table["horizon"].tolist()[:-1] == [1, 2]
    assert table["horizon"].isna().tolist() == [False, False, True]
    for _, row in table.iterrows():
        part = rows if pd.isna(row["horizon"]) else rows[rows["horizon"] == row["horizon"]]
        flat, leads = counted(part)
        won, lost = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
        assert row[["n", "n_first", "n_second", "n_equal"]].tolist() == [
            len(flat), sum(a < b for a, b in flat), sum(a > b for a, b in flat),
            sum(a == b for a, b in flat),
        ]  # fmt: skip
        assert row[["n_tasks", "n_tasks_first", "n_tasks_second"]].tolist() == [
            len(leads), won, lost,
        ]  # fmt: skip
        if not leads:
            expected = NAN
        else:
            # Twice the smaller tail of a fair coin.
            tail = stats.binom.cdf(min(won, lost), won + lost, 0.5)
            expected = min(1.0, 2 * tail)
        assert row["p_value"] == pytest.approx(expected, nan_ok=True)
        ratios = [0.0 if a == b else log(a) - log(b) for a, b in flat]
        # Half-way between -inf and inf is nowhere.
        median = statistics.median(ratios) if ratios else NAN
        assert row["median_log_ratio"] == pytest.approx(median, nan_ok=True)


@given(two_forecasters(), st.floats(0.01, 100), st.randoms())
def test_comparison_does_not_change(rows, factor, random):
    """With the unit of the scores or the order of rows; it turns round with the forecasters."""
    table = compare_forecasters(rows, "a", "b")
    order = random.sample(range(len(rows)), len(rows))
    moved = rows.assign(error=-factor * rows["error"]).iloc[order]
    again = compare_forecasters(moved, "a", "b")
    pd.testing.assert_frame_equal(table, again, check_exact=False, atol=1e-9)
    turned = compare_forecasters(rows, "b", "a")
    assert turned["n_first"].tolist() == table["n_second"].tolist()
    assert turned["p_value"].to_numpy() == pytest.approx(table["p_value"].to_numpy(), nan_ok=True)
    assert turned["median_log_ratio"].to_numpy() == pytest.approx(
        -table["median_log_ratio"].to_numpy(), nan_ok=True
    )


def test_coverage_of_both():
    rows = made(
        ("a", "s", 0, 1, 0.1, True), ("b", "s", 0, 1, 0.2, None), ("a", "s", 1, 1, 0.1, False),
        ("b", "s", 1, 1, 0.2, True),
    )  # fmt: skip
    found = compare_forecasters(rows, "a", "b").iloc[-1]
    assert (found["coverage_first"], found["coverage_second"]) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a"), "forecasters: 'a' and 'a'"),
        (("a", "c"), "(?s)forecasters: 'a' and 'c'.*two of a, b"),
    ],
)
def test_who_can_be_compared(names, message):
    rows = made(("a", "s", 0, 1, 0.1, True), ("b", "s", 0, 1, 0.2, True))
    with pytest.raises(InputError, match=message):
        compare_forecasters(rows, *names)
    with pytest.raises(InputError, match="forecasts: no column error"):
        compare_forecasters(rows.drop(columns="error"), "a", "b")


@pytest.mark.full
def test_published_results(embedded_study):
    """docs/forecast.md: the rule is nearer than the mixture; the smooth metric is of one task."""
    by_links = forecast_curves(embedded_study.curves, forecasters=("log_pass_rate", "smooth_pair"))
    frame = pd.concat([embedded_study.forecasts, by_links], ignore_index=True)
    rule = compare_forecasters(frame, "log_pass_rate").iloc[-1]
    assert (rule["n"], rule["n_first"]) == (661, 394)
    pair = compare_forecasters(frame).iloc[-1]
    assert (pair["n_tasks"], pair["p_value"]) == (1, 1.0)


# --- The summary ---


def test_summary_against_a_loop(two_of_embedded):
    frame = two_of_embedded[two_of_embedded["curve"] % 12 == 0]
    summary = forecast_summary(frame, by=("forecaster", "k"))
    assert len(summary) == frame[["forecaster", "k"]].drop_duplicates().shape[0]
    for _, row in summary.iterrows():
        group = frame[(frame["forecaster"] == row["forecaster"]) & (frame["k"] == row["k"])]
        covered = group["covered"].dropna().astype(bool)
        assert row["n"] == len(group)
        assert row["n_forecast"] == group["forecast"].notna().sum()
        assert row["n_interval"] == len(covered)
        if len(covered):
            low, high = proportion_confint(covered.sum(), len(covered), method="wilson")
            assert row["coverage"] == pytest.approx(covered.mean())
            assert row["coverage_low"] == pytest.approx(low)
            assert row["coverage_high"] == pytest.approx(high)
        skill = group["skill"].dropna()
        assert row["n_skill"] == len(skill)
        assert row["median_skill"] == pytest.approx(skill.median(), nan_ok=True)
        better = (skill > 0).mean() if len(skill) else NAN
        assert row["share_better"] == pytest.approx(better, nan_ok=True)
        assert row["median_surprise"] == pytest.approx(group["surprise"].median(), nan_ok=True)


def test_summary_needs_its_columns():
    with pytest.raises(InputError, match="forecasts: no column horizon"):
        forecast_summary(pd.DataFrame({"forecaster": [], "covered": [], "skill": [], "status": []}))


# --- The least predictable ---


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([NAN, 0.0, 1.0, 5.0, math.inf])),
                max_size=20))  # fmt: skip
def test_least_predictable_against_a_loop(pairs):
    frame = pd.DataFrame(pairs, columns=["curve", "surprise"]).assign(
        forecaster="a", place=range(len(pairs))
    )
    expected = {}
    for place, (curve, surprise) in enumerate(pairs):
        if not math.isnan(surprise) and surprise > expected.get(curve, (-1,))[0]:
            expected[curve] = (surprise, place)
    wanted = [place for _, place in sorted(expected.values(), key=lambda v: (-v[0], v[1]))]
    assert least_predictable(frame)["place"].tolist() == wanted


def test_whose_forecasts():
    frame = pd.DataFrame({"curve": [0, 0], "surprise": [1.0, 9.0], "forecaster": ["a", "b"]})
    assert least_predictable(frame)["forecaster"].tolist() == ["a"]
    assert least_predictable(frame, forecaster="b")["surprise"].tolist() == [9.0]
    with pytest.raises(InputError, match=r"(?s)forecaster: no forecast by 'c'.*one of a, b"):
        least_predictable(frame, forecaster="c")


# --- Tables and progress ---


def test_tables(two_of_embedded):
    frame = two_of_embedded[two_of_embedded["curve"] % 9 == 0]
    tables = {table.name: table for table in forecast_tables(frame)}
    assert list(tables) == [
        "forecast_summary", "forecast_by_flag", "forecast_comparison", "least_predictable",
        "forecasts",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(tables["forecast_summary"].frame, forecast_summary(frame))
    ahead = frame[(frame["horizon"] == 1) & frame["flagged"] & (frame["forecaster"] == "mixture")]
    row = tables["forecast_by_flag"].frame.set_index(["forecaster", "flagged"]).loc[
        ("mixture", True)
    ]  # fmt: skip
    assert row["n"] == len(ahead)
    assert row["coverage"] == pytest.approx(ahead["covered"].astype(float).mean())
    compared = tables["forecast_comparison"].frame
    assert set(compared["first"]) == {"log_pass_rate"}
    assert (compared["n"] > 0).all()
    for table in tables.values():
        assert table.to_markdown()
        assert table.to_latex()
        assert table.to_csv().count("\n") >= len(table.frame)


def test_tables_of_one_forecaster_or_none(two_of_embedded):
    mixture = two_of_embedded[two_of_embedded["forecaster"] == "mixture"]
    assert "forecast_comparison" not in [table.name for table in forecast_tables(mixture)]
    nothing = mixture.head(0)
    assert all(len(table.frame) == 0 for table in forecast_tables(nothing))
    with pytest.raises(InputError, match="forecasts: no column emergence_score, flagged"):
        forecast_tables(nothing.drop(columns=["emergence_score", "flagged"]))


def test_progress_goes_up_to_all():
    reports = []
    curves = build_curves(load_embedded().head(60))
    forecast_curves(
        curves, forecasters=("log_linear", "log_pass_rate", "constant"),
        progress=lambda done, total: reports.append((done, total)),
    )  # fmt: skip
    (total,) = {total for _, total in reports}
    done = [done for done, _ in reports]
    assert done == sorted(set(done))
    assert {total // 2, total} <= set(done)
