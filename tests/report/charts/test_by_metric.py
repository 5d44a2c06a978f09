"""Figures by metric: valid Vega-Lite that draws the rows they say, infinite scores at the edge."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd
import pytest
from figures import SHAPES, check_valid, column, observations, rows, scored, scores_of
from helpers import plain
from jsonschema import ValidationError

import bigbench_meta as bm
from bigbench_meta.report.charts.by_metric import plot_claims_by_metric, plot_emergence_by_metric
from bigbench_meta.report.charts.curves import plot_curves
from bigbench_meta.report.charts.figure import WIDTHS

if TYPE_CHECKING:
    from bigbench_meta.curves.build import Curves


@pytest.fixture
def shapes() -> tuple[Curves, pd.DataFrame]:
    return scored(observations(SHAPES))


# Emergence scores by metric -------------------------------------------------------------------


def test_emergence_draws_every_score(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    check_valid(figure)
    assert figure.name == "emergence_by_metric"
    expected = shapes[1].set_index("task")["emergence_score"].drop("flat").to_dict()
    assert dict(zip(figure.data["task"], figure.data["emergence_score"], strict=True)) == expected
    drawn = rows(figure)
    assert column(drawn, "task") == figure.data["task"].tolist()
    finite = {row["task"]: row["emergence_score"] for row in drawn if not row["infinite"]}
    assert finite == {task: e for task, e in expected.items() if math.isfinite(e)}


def test_infinite_scores_stand_at_the_edge(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    x = {row["task"]: row["x"] for row in rows(figure)}
    finite = [abs(x[task]) for task in ("line", "steep")]
    assert x["line"] == pytest.approx(3)
    assert x["steep"] == pytest.approx(800)
    assert x["jump"] == -x["fall"] > max(*finite, 100)
    assert {row["task"] for row in rows(figure) if row["infinite"]} == {"jump", "fall"}
    low, high = figure.to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < x["fall"]
    assert x["jump"] < high


@pytest.mark.parametrize(
    "values", [[math.inf], [-math.inf], [math.inf, -math.inf], [1e9, math.inf], [-3.0]]
)
def test_every_point_is_inside_the_axis(values: list[float]) -> None:
    figure = plot_emergence_by_metric(scores_of(*values))
    check_valid(figure)
    low, high = figure.to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert len(rows(figure)) == len(values)
    assert [x for x in column(rows(figure), "x") if not low < x < high] == []
    assert [math.copysign(1, x) for x in column(rows(figure), "x")] == [
        math.copysign(1, value) for value in figure.data["emergence_score"]
    ]


@pytest.mark.parametrize(("threshold", "flags"), [(100.0, 2), (2.0, 3), (900.0, 1), (-5.0, 3)])
def test_threshold_line(shapes: tuple[Curves, pd.DataFrame], threshold: float, flags: int) -> None:
    figure = plot_emergence_by_metric(shapes[1], threshold=threshold)
    check_valid(figure)
    assert rows(figure, 1) == [{"threshold": threshold}]
    assert f"The dashed line is the threshold, {threshold:g}." in figure.caption
    assert figure.data["flagged"].sum() == flags


def test_no_line_at_an_infinite_threshold(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1], threshold=math.inf)
    check_valid(figure)
    assert len(figure.to_dict()["datasets"]) == 1
    assert "line" not in figure.caption
    assert figure.data.loc[figure.data["flagged"], "task"].tolist() == ["jump"]


def test_beyond_3000_scores_the_highest_are_drawn() -> None:
    values = np.arange(3100.0) * np.where(np.arange(3100) % 2, 1, -1)
    figure = plot_emergence_by_metric(scores_of(*values))
    assert len(figure.data) == len(rows(figure)) == 3000
    assert figure.data["emergence_score"].abs().min() == 100
    assert "Only the 3,000 highest of 3,100 scores are drawn." in figure.caption


def test_beyond_40_metrics_those_with_most_flags_are_drawn() -> None:
    metrics = [f"m{n:02}" for n in range(45)]
    values = [500.0 if n % 45 >= 5 else 5.0 for n in range(90)]
    figure = plot_emergence_by_metric(scores_of(*values, metrics=metrics))
    check_valid(figure)
    assert sorted(set(figure.data["metric"])) == metrics[5:]
    assert "Not drawn: 5 metrics with fewer flagged curves." in figure.caption


def test_few_scores_have_a_short_caption(shapes: tuple[Curves, pd.DataFrame]) -> None:
    caption = plot_emergence_by_metric(shapes[1]).caption
    assert "highest of" not in caption
    assert "Not drawn" not in caption
    assert "  " not in caption


@pytest.mark.parametrize("kept", [[], ["flat"]])
def test_no_scores_to_draw(shapes: tuple[Curves, pd.DataFrame], kept: list[str]) -> None:
    figure = plot_emergence_by_metric(shapes[1][shapes[1]["task"].isin(kept)])
    check_valid(figure)
    assert len(figure.data) == 0
    assert rows(figure) == []


def test_metric_types_keep_their_colours() -> None:
    """A type has one colour, whichever others are drawn."""
    colours: dict[str, set[str]] = {}
    for metrics in (["bleu"], ["bleu", "multiple_choice_grade"], ["own", "multiple_choice_grade"]):
        _, scores = scored(observations({"t": SHAPES["line"]}, metrics, benchmark="BIG-bench"))
        spec = plot_emergence_by_metric(scores).to_dict()
        scale = spec["layer"][0]["encoding"]["color"]["scale"]
        assert sorted(scale["domain"]) == sorted(set(scores["metric_type"].astype(str)))
        for name, colour in zip(scale["domain"], scale["range"], strict=True):
            colours.setdefault(name, set()).add(colour)
    assert sorted(colours) == ["discontinuous", "nonlinear", "unknown"]
    assert [len(found) for found in colours.values()] == [1, 1, 1]


# Claims ---------------------------------------------------------------------------------------


def test_claims_are_those_of_the_table() -> None:
    claims = bm.claims_by_metric()
    figure = plot_claims_by_metric(claims)
    check_valid(figure)
    with_claims = claims[claims["n_claims"] > 0]
    drawn = rows(figure)
    assert column(drawn, "metric") == with_claims["metric"].tolist()
    assert column(drawn, "n_claims") == with_claims["n_claims"].tolist()
    assert figure.data["metric"].tolist() == with_claims["metric"].tolist()
    total = claims["n_claims"].sum()
    # The expectation: all claims, spread over annotated tasks by chance.
    expected = with_claims["n_tasks"] / claims["n_tasks"].sum() * total
    assert figure.data["expected"].tolist() == pytest.approx(expected.tolist())


def test_no_claims() -> None:
    figure = plot_claims_by_metric(bm.claims_by_metric().iloc[:0])
    check_valid(figure)
    assert plain(figure.data) == []


# Figures as such ------------------------------------------------------------------------------


def test_what_is_written_is_read_again(shapes: tuple[Curves, pd.DataFrame]) -> None:
    """The specification itself is valid, not only the chart it was made from."""
    drawn = [plot_emergence_by_metric(shapes[1]), plot_curves(*shapes)]
    for figure in [*drawn, plot_claims_by_metric(bm.claims_by_metric())]:
        assert figure is not None
        spec = figure.to_dict()
        alt.Chart.from_dict(spec)
        with pytest.raises(ValidationError):
            alt.Chart.from_dict(spec | {"config": {"view": 5}})


def test_figure_shows_itself_in_jupyter(shapes: tuple[Curves, pd.DataFrame]) -> None:
    figure = plot_emergence_by_metric(shapes[1])
    drawn = figure._repr_svg_()
    root = ET.fromstring(drawn)
    assert float(root.get("width", "")) == pytest.approx(1.5 * WIDTHS["column"])
    assert root.get("aria-label") == figure.caption
    assert "http" not in drawn.replace("http://www.w3.org/", "")  # nothing to load


def test_making_a_figure_leaves_the_scores_alone(shapes: tuple[Curves, pd.DataFrame]) -> None:
    before = shapes[1].copy(deep=True)
    plot_emergence_by_metric(shapes[1])
    plot_curves(*shapes)
    pd.testing.assert_frame_equal(shapes[1], before)


def test_a_specification_is_the_same_every_time(shapes: tuple[Curves, pd.DataFrame]) -> None:
    first, second = (plot_emergence_by_metric(shapes[1]).to_dict() for _ in range(2))
    assert first == second
