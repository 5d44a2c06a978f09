"""Forecasts as drawn: the points, bands and titles are those of the table."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta import build_curves, load_embedded
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.forecast.summary import forecast_summary, least_predictable
from bigbench_meta.report.charts.forecasts import (
    FITTED,
    FORECAST,
    HELD_OUT,
    plot_forecast_coverage,
    plot_forecasts,
    plot_last_forecasts,
)

CURVES = build_curves(load_embedded())
ADDITION = CURVES[CURVES.keys["task"] == "arithmetic 3D+"]


def specification(figure):
    spec = figure.to_dict()
    alt.Chart.from_dict(spec)  # valid Vega-Lite
    return spec


def test_points_and_band_of_one_curve():
    frame = forecast_curves(ADDITION, k=6)
    figure = plot_forecasts(ADDITION, frame, chosen=frame[frame["curve"] == 2])
    data = figure.data
    points = slice(ADDITION.offsets[2], ADDITION.offsets[3])
    scores = data[data["part"] != FORECAST]
    assert scores["score"].tolist() == ADDITION.y[points].tolist()
    assert scores["x"].tolist() == ADDITION.x[points].tolist()
    assert scores["part"].tolist() == [FITTED] * 6 + [HELD_OUT] * 2
    own = frame[frame["curve"] == 2]
    assert scores["inside"].tolist()[6:] == own["covered"].tolist()
    ahead = data[data["part"] == FORECAST]
    # The band opens at the last fitted score.
    assert ahead["score"].tolist() == [own["last"].iloc[0], *own["forecast"]]
    assert ahead["lower"].tolist() == [own["last"].iloc[0], *own["lower"]]
    assert ahead["upper"].tolist() == [own["last"].iloc[0], *own["upper"]]
    assert set(data["title"]) == {"arithmetic 3D+\nacc, 50 shots, 6 of 8 fitted"}
    specification(figure)


def test_the_least_predictable_come_first():
    frame = forecast_curves(CURVES, k="last")
    figure = plot_forecasts(CURVES, frame, most=4)
    spec = specification(figure)
    least = least_predictable(frame)
    assert figure.data["title"].nunique() == 4
    assert spec["facet"]["sort"] == list(dict.fromkeys(figure.data["title"]))
    assert figure.data.drop_duplicates("title")["task"].tolist() == least["task"].tolist()[:4]
    assert figure.caption.startswith(f"4 of {len(least)} curves with the most surprising scores")


def test_forecasters_and_scales_have_panels_of_their_own():
    frame = forecast_curves(ADDITION, forecasters=("mixture", "log_pass_rate"), adjust="jeffreys")
    chosen = frame[(frame["curve"] == 0) & (frame["horizon"] == 1) & (frame["k"] >= 6)]
    figure = plot_forecasts(ADDITION, frame, chosen=chosen)
    titles = [title.replace(",\n", ", ") for title in dict.fromkeys(figure.data["title"])]
    assert titles == [
        f"arithmetic 3D+\nacc, 0 shots, {name}, {k} of 8 fitted"
        for name in ("mixture", "log pass rate")
        for k in (6, 7)
    ]
    assert "4 of 4 forecasts" in figure.caption


def test_no_two_titles_are_alike():
    twice = build_curves(pd.concat([load_embedded().query("task == 'arithmetic 3D+'").assign(
        benchmark=name, metric="of my own") for name in ("one", "two")]))  # fmt: skip
    figure = plot_forecasts(twice, forecast_curves(twice, k="last"))
    assert figure.data["title"].nunique() == len(twice) == 6


def test_forecasts_without_interval_or_number():
    """A band needs an interval; without a forecast only the scores are drawn."""
    frame = forecast_curves(ADDITION, k="last", forecasters=("log_pass_rate",))
    failed = frame[frame["status"] == "undefined_score"]
    assert len(failed) == 1
    figure = plot_forecasts(ADDITION, frame, chosen=failed)
    specification(figure)
    assert figure.data["part"].value_counts().to_dict() == {FITTED: 7, HELD_OUT: 1, FORECAST: 1}
    bare = frame.assign(lower=np.nan, upper=np.nan)
    specification(plot_forecasts(ADDITION, bare, chosen=bare.head(1)))


def test_names_of_others_are_drawable():
    table = load_embedded().query("task == 'arithmetic 3D+'")
    odd = table.assign(subtask="without a\x00b\n<c> " + "long " * 20)
    curves = build_curves(odd)
    figure = plot_forecasts(curves, forecast_curves(curves, k="last"))
    specification(figure)
    for title in set(figure.data["title"]):
        *lines, last = title.split("\n")
        assert all(line.isprintable() and len(line) <= 55 for line in lines)
        assert "without a\ufffdb <c>" in lines[0]
        assert last.endswith("7 of 8 fitted")


def test_what_cannot_be_drawn():
    frame = forecast_curves(ADDITION, k=6)
    with pytest.raises(InputError, match="forecasts: no forecast can be drawn"):
        plot_forecasts(ADDITION, frame.head(0))
    with pytest.raises(InputError, match="forecasts: belong to other curves"):
        plot_forecasts(ADDITION[np.array([True, False, False])], frame)


# The largest scale, and coverage --------------------------------------------------------------


SURE = bm.score_curves(CURVES[CURVES.keys["task"].isin(["arithmetic 3D+", "LAMBADA"])],
                       inference=True, n_boot=99)  # fmt: skip


def test_forecasts_at_the_largest_scale_are_shares_of_the_range():
    figure = plot_last_forecasts(SURE)
    specification(figure)
    made = SURE[SURE["forecast"].notna() & (SURE["metric"] == "acc")]
    assert figure.data["observed"].tolist() == (made["score_last"] / 100).tolist()
    assert figure.data["forecast"].tolist() == (made["forecast"] / 100).tolist()
    assert figure.data["upper"].tolist() == pytest.approx(
        (made["forecast_high"] / 100).tolist(), nan_ok=True
    )
    flagged = made["emergence_score"] > 100
    assert (figure.data["group"] == "flagged").tolist() == flagged.tolist()
    assert "3 curves of metrics without limits are not drawn." in figure.caption
    assert plot_last_forecasts(SURE[SURE["metric"] == "ppl"]) is None
    with pytest.raises(SchemaError, match="missing column forecast"):
        plot_last_forecasts(SURE.drop(columns="forecast"))


def test_of_many_curves_a_panel_draws_some_of_all_observed_scores():
    row = SURE[SURE["forecast"].notna() & (SURE["metric"] == "acc")].iloc[[0]]
    n = 1000
    observed = np.random.default_rng(0).permutation(np.linspace(0, 100, n))
    scores = np.where(np.arange(n) < 30, 500.0, 1.0)
    many = pd.concat([row] * n, ignore_index=True)
    figure = plot_last_forecasts(many.assign(score_last=observed, emergence_score=scores))
    drawn = figure.data.groupby("group")["observed"]
    assert drawn.size().to_dict() == {"flagged": 30, "not flagged": 400}
    of_others = observed[30:] / 100
    assert drawn.get_group("not flagged").isin(of_others).all()
    gaps = drawn.get_group("not flagged").sort_values().diff().dropna()
    assert drawn.get_group("not flagged").agg(["min", "max"]).tolist() == [
        of_others.min(), of_others.max(),
    ]  # fmt: skip
    assert gaps.max() < 0.01
    assert "430 of 1,000 curves are drawn" in figure.caption
    assert f"of {30} curves that are flagged and" in figure.caption  # counts all of them
    assert "of 970 curves that are not flagged" in figure.caption


def test_coverage_is_that_of_the_summary():
    frame = forecast_curves(ADDITION, forecasters=("mixture", "log_pass_rate"), adjust="jeffreys")
    figure = plot_forecast_coverage(frame)
    spec = specification(figure)
    summary = forecast_summary(frame, by=("forecaster", "k", "horizon"))
    summary = summary[summary["n_interval"] > 0]
    assert figure.data["coverage"].tolist() == summary["coverage"].tolist()
    assert figure.data["n_interval"].sum() == frame["covered"].notna().sum()
    assert spec["facet"]["sort"] == ["mixture", "log pass rate"]
    with pytest.raises(InputError, match="no interval"):
        plot_forecast_coverage(frame.assign(covered=pd.NA))
