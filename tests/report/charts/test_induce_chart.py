"""The charts of induced emergence: what is drawn, in which order, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from figures import check_valid

import bigbench_meta as bm
from bigbench_meta.aggregate.induce import CHOICES, induced_emergence
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.induce import plot_induced


@pytest.fixture(scope="module")
def paper():
    return induced_emergence(bm.load_embedded("paper"))


def test_sizes_kept_are_drawn_with_the_median_and_a_straight_line(paper) -> None:
    figure = plot_induced(paper, "sizes kept", most=3)
    assert figure is not None
    check_valid(figure)
    assert figure.caption.startswith("3 of 76 curves")
    first = figure.data[(figure.data["subtask"] == "MNIST LeNet")]
    line = first[first["series"] == "straight line"].set_index("value")["score"]
    assert line[14] == 13
    ends = first[first["value"] == 14].set_index("series")["score"]
    assert ends["sharpest choice"] == ends["median choice"] == pytest.approx(28.5, abs=0.1)
    title = figure.to_dict()["facet"]["sort"][0]
    assert title == "MNIST LeNet\naccuracy, LeNet, E 28.5 → 642"


def test_what_a_logarithmic_axis_cannot_show_is_counted(paper) -> None:
    figure = plot_induced(paper, "subset size", most=9)
    assert figure is not None
    assert figure.data["score"].between(1, 100_000).all()
    tried = paper.tried[paper.tried["choice"] == "subset size"]
    drawn = figure.data[figure.data["series"] == "with this choice"]
    left = 9 * 32 - len(drawn)
    assert f"{left} choices without a score or with one below 1 or above 100,000" in figure.caption
    assert np.isinf(tried["sharpness"]).any() or (tried["sharpness"] > 100_000).any()
    assert {"curve as it is", "straight line"} < set(figure.data["series"])


def test_nothing_to_draw(paper) -> None:
    assert plot_induced(paper, "threshold") is None
    with pytest.raises(InputError, match="choice"):
        plot_induced(paper, "colour")
    assert {plot_induced(paper, name) is None for name in CHOICES} == {True, False}
