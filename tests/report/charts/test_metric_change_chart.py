"""The chart of pairs of metrics: which pairs, on which scale, with which errors."""

from __future__ import annotations

import numpy as np
import pytest

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.charts.metric_change import plot_metric_change


@pytest.fixture(scope="module")
def paper():
    curves = bm.build_curves(bm.load_embedded("paper"))
    return curves, bm.metric_change(curves, n_boot=99)


def test_flagged_pairs_are_drawn_first_then_decided_ones(paper) -> None:
    curves, pairs = paper
    n_flagged = int((pairs["flagged"] | pairs["other_flagged"]).sum())
    figure = plot_metric_change(curves, pairs, most=n_flagged + 1)
    assert figure is not None
    drawn = pairs.loc[figure.data["pair"].unique()]
    open_ = ["point values only"] * (n_flagged - 6)
    assert drawn["verdict"].tolist() == ["evaporates"] * 6 + open_ + ["weaker"]
    assert figure.caption.startswith(f"{n_flagged + 1} of 39 pairs")
    assert "Bars are two standard errors" in figure.caption
    spec = figure.to_dict()
    assert spec["spec"]["layer"][1]["encoding"]["x"]["scale"]["type"] == "log"
    name, *rest = spec["facet"]["sort"][0].split("\n")
    assert name == "4-digit addition: length 5"
    assert " ".join(rest) == "GPT-3, 2 shots, temperature 0.0, E 7984.2 → 3.7, evaporates"


def test_every_metric_is_drawn_on_its_own_range(paper) -> None:
    curves, pairs = paper
    figure = plot_metric_change(curves, pairs[pairs["other_metric"] == "brier_score"], most=20)
    assert figure is not None
    ends = figure.data.groupby(["pair", "metric"])["height"].agg(["min", "max", "size"])
    assert ends.to_numpy().tolist() == [[0.0, 1.0, 6.0]] * 16
    assert np.isnan(figure.data["low"]).all()
    assert "Bars" not in figure.caption


def test_nothing_to_draw(paper) -> None:
    curves, pairs = paper
    assert plot_metric_change(curves, pairs[pairs["verdict"] == "same metric"]) is None
    with pytest.raises(InputError, match="other curves"):
        plot_metric_change(curves, bm.metric_change(bm.load_embedded("gpt3"), n_boot=19))
