"""The specification curve draws the rows it says, infinite ones at the edge."""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import pandas as pd
import pytest

from bigbench_meta.aggregate.attribution.sensitivity import NO_DIFFERENCE
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.specifications import plot_specifications

INF, NAN = math.inf, math.nan


def table_of(*rows, statistic="odds_ratio", method="by_task"):
    """A sensitivity table: (setting, estimate, low, high), of which the first is the base."""
    return pd.DataFrame(
        [
            {
                "analysis": "threshold" if number else "base", "setting": setting,
                "statistic": statistic, "method": method, "estimate": estimate, "low": low,
                "high": high, "p_value": NAN, "n": 9, "n_tasks": 3, "status": "ok", "message": "",
            }
            for number, (setting, estimate, low, high) in enumerate(rows)
        ]
    )  # fmt: skip


ROWS = [("", 2.0, 0.5, 8.0), ("5", 0.0, 0.0, 3.0), ("6", INF, 1.5, INF), ("7", 1.0, NAN, NAN)]


def drawn(figure):
    """Return the points that the chart is given, in order, and the specification."""
    spec = figure.to_dict()
    alt.Chart.from_dict(spec)  # valid Vega-Lite
    points = spec["layer"][2]
    return pd.DataFrame(spec["datasets"][points["data"]["name"]]), spec


def test_rows_from_the_lowest_to_the_highest():
    figure = plot_specifications(table_of(*ROWS))
    points, spec = drawn(figure)
    assert points["label"].tolist() == ["threshold: 5", "threshold: 7", "base", "threshold: 6"]
    assert points["kind"].tolist() == ["one choice changed"] * 2 + ["base", "one choice changed"]
    assert spec["layer"][2]["encoding"]["y"]["sort"] == points["label"].tolist()
    assert figure.name == "specifications_odds_ratio"
    # The data keep what was computed.
    assert figure.data["estimate"].tolist() == [0, 1, 2, INF]
    assert figure.data["low"].tolist() == pytest.approx([0, NAN, 0.5, 1.5], nan_ok=True)


def test_what_is_zero_or_infinite_stands_at_the_edge():
    points, spec = drawn(plot_specifications(table_of(*ROWS)))
    low, high = spec["layer"][2]["encoding"]["x"]["scale"]["domain"]
    # A third below and three times above all that is finite, and the value of no difference.
    assert (low, high) == pytest.approx((0.5 / 3, 24.0))
    assert points["x"].tolist() == pytest.approx([low, 1, 2, high])
    assert points["shape"].tolist() == ["triangle-left", "circle", "circle", "triangle-right"]
    lines = pd.DataFrame(spec["datasets"][spec["layer"][1]["data"]["name"]])
    assert lines["x_low"].tolist() == pytest.approx([low, 0.5, 1.5])
    assert lines["x_high"].tolist() == pytest.approx([3.0, 8.0, high])
    assert points["has_interval"].tolist() == [True, False, True, True]


@pytest.mark.parametrize("statistic", NO_DIFFERENCE)
def test_rule_is_where_there_is_no_difference(statistic):
    table = table_of(("", 0.6, 0.2, 0.9), statistic=statistic)
    figure = plot_specifications(table, statistic=statistic)
    _, spec = drawn(figure)
    rule = spec["datasets"][spec["layer"][0]["data"]["name"]]
    assert rule == [{"x": NO_DIFFERENCE[statistic]}]
    kind = spec["layer"][2]["encoding"]["x"]["scale"]["type"]
    assert kind == ("linear" if statistic in {"share_sharper", "log_sharpness_difference"}
                    else "log")  # fmt: skip
    low, high = spec["layer"][2]["encoding"]["x"]["scale"]["domain"]
    assert low < NO_DIFFERENCE[statistic] < high
    assert np.isfinite([low, high]).all()


def test_an_infinite_difference_stands_at_the_edge():
    name = "log_sharpness_difference"
    table = table_of(("", INF, -1.0, INF), ("5", -INF, -INF, 2.0), statistic=name)
    points, spec = drawn(plot_specifications(table, statistic=name))
    low, high = spec["layer"][2]["encoding"]["x"]["scale"]["domain"]
    assert points["x"].tolist() == pytest.approx([low, high])
    assert low < -1 < 2 < high


def test_method_with_intervals_for_half_of_what_it_estimates():
    over_tasks = table_of(("", 2.0, 1.0, 4.0), ("5", 3.0, NAN, NAN), ("6", NAN, NAN, NAN))
    exact = table_of(("", 2.1, 1.1, 4.1), method="exact")
    table = pd.concat([over_tasks, exact], ignore_index=True)
    assert "interval: by task." in plot_specifications(table).caption
    assert plot_specifications(table, method="exact").data["estimate"].tolist() == [2.1]
    none = pd.concat([over_tasks.assign(low=NAN), exact], ignore_index=True)
    assert "interval: exact." in plot_specifications(none).caption


def test_what_is_not_drawn_is_counted():
    caption = plot_specifications(table_of(*ROWS, ("8", NAN, NAN, NAN))).caption
    assert "1 of 5 variants have no estimate and are not drawn." in caption
    rows = [("", 500.0, 1.0, 900.0), *((f"{i}", float(i + 1), 0.5, 2e3) for i in range(200))]
    figure = plot_specifications(table_of(*rows))
    # 201 rows, of which the base is the last.
    assert "51 variants in the middle are not drawn." in figure.caption
    assert len(drawn(figure)[0]) == len(figure.data) == 150
    assert (figure.data["label"] == "base").sum() == 1
    assert "not drawn" not in plot_specifications(table_of(*ROWS)).caption


def test_the_base_in_the_middle_is_drawn():
    rows = [("", 100.5, 1.0, 900.0), *((f"{i}", float(i + 1), 0.5, 2e3) for i in range(200))]
    figure = plot_specifications(table_of(*rows))
    assert len(figure.data) == 151
    assert (figure.data["label"] == "base").sum() == 1


def test_nothing_to_draw():
    figure = plot_specifications(table_of(("", NAN, NAN, NAN)))
    assert figure.data.empty
    alt.Chart.from_dict(figure.to_dict())
    assert "1 of 1 variants have no estimate" in figure.caption


def test_names_of_others_are_drawable():
    figure = plot_specifications(
        table_of(("", 1.0, 0.5, 2.0), ("without a\x00b\n<c>", 2.0, 1.0, 3.0))
    )
    figure.to_dict()
    label = figure.data["label"].iloc[1]
    assert label.startswith("threshold: without a")
    assert label.isprintable()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "share_flagged_sharp"}, "statistic: 'share_flagged_sharp'"),
        ({"statistic": "risk_ratio"}, "statistic: 'risk_ratio'"),
        ({"method": "bootstrap"}, "(?s)method: 'bootstrap'.*by_task"),
    ],
)
def test_what_cannot_be_drawn(options, message):
    with pytest.raises(InputError, match=message):
        plot_specifications(table_of(*ROWS), **options)
