"""Curves to draw, and what a figure draws, for the tests of charts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import bigbench_meta as bm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.charts.figure import Figure

SIZES = [10**6, 10**7, 10**8, 10**9]
SHAPES = {
    "line": [0.1, 0.2, 0.3, 0.4],  # E = 3
    "jump": [0.0, 0.0, 0.0, 0.9],  # E = inf
    "fall": [0.9, 0.0, 0.0, 0.0],  # E = -inf
    "steep": [0.1, 0.101, 0.102, 0.9],  # E = 800
    "flat": [0.5, 0.5, 0.5, 0.5],  # no E
}


def observations(
    series: dict[str, list[float]], metrics: Iterable[str] = ("bleu",), **columns: Any
) -> pd.DataFrame:
    """Return observations of one model family: tasks by name with a score for each size."""
    rows = [
        {"task": task, "metric": metric, "model_name": f"{size}", "total_params": size, "score": y}
        for task, scores in series.items()
        for metric in metrics
        for size, y in zip(SIZES, scores, strict=True)
    ]
    return pd.DataFrame(rows).assign(**{"benchmark": "B", "model_family": "F"} | columns)


def scored(frame: pd.DataFrame) -> tuple[Curves, pd.DataFrame]:
    curves = bm.build_curves(frame)
    return curves, bm.score_curves(curves)


def scores_of(*values: float, metrics: Iterable[str] = ("bleu",)) -> pd.DataFrame:
    """Return curve scores with these emergence scores, metrics in turn."""
    _, one = scored(observations({"t": SHAPES["line"]}))
    names = list(metrics)
    frame = one.loc[[0] * len(values)].reset_index(drop=True)
    return frame.assign(
        emergence_score=np.array(values, dtype=float),
        task=[f"t{n}" for n in range(len(values))],
        metric=[names[n % len(names)] for n in range(len(values))],
    )


def rows(figure: Figure, index: int = 0) -> list[dict[str, Any]]:
    """Return the rows of the index-th of the data sets inside a specification."""
    found: list[dict[str, Any]] = list(figure.to_dict()["datasets"].values())[index]
    return found


def check_valid(figure: Figure) -> None:
    spec = figure.to_dict()  # which validates
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    json.dumps(spec, allow_nan=False)


def column(data: Iterable[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in data]
