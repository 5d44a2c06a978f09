"""Trends and shapes of curves, as tables for people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.shapes.shape_fits import SHAPES
from bigbench_meta.inference.shapes.trends import TRENDS
from bigbench_meta.report.tables.table import Table

__all__ = ["shape_tables"]

_NO_SHAPE = "none"


def shape_tables(shapes: pd.DataFrame) -> list[Table]:
    """Return the tables of trends and shapes.

    Args:
        shapes: What :func:`curve_shapes` returns, with two more columns:
            ``emergence_score`` and ``flagged``.

    Returns:
        ``trends`` (a row per trend class, with its curves and flags), ``trends_by_shape`` (the same
        curves by the shape that explains them best) and ``curve_shapes`` (a row per curve).

    Raises:
        InputError: A column is missing.
    """
    if missing := [n for n in ("trend", "best_shape", "flagged") if n not in shapes]:
        raise InputError(f"no column {', '.join(missing)}", where="shapes")
    return [_by_trend(shapes), _by_shape(shapes), _curves(shapes)]


def _by_trend(shapes: pd.DataFrame) -> Table:
    names = [name for name in TRENDS if (shapes["trend"] == name).any()]
    groups = [shapes[shapes["trend"] == name] for name in names]
    frame = pd.DataFrame(
        {
            "trend": pd.Series(names, dtype="str"),
            "n_curves": np.array([len(group) for group in groups], np.int64),
            "share": np.array([len(group) / len(shapes) for group in groups], np.float64),
            "n_tasks": np.array([group["task"].nunique() for group in groups], np.int64),
            "n_flagged": np.array([group["flagged"].sum() for group in groups], np.int64),
        }
    )
    return Table(
        name="trends",
        caption=f"{int((shapes['trend'] == 'breakthrough').sum())} of {len(shapes)} curves have "
        "the trend of a breakthrough. The classes are those of Lourie, Hu & Cho (2025), the rules "
        "this package's own (docs/shapes.md).",
        frame=frame,
    )


def _by_shape(shapes: pd.DataFrame) -> Table:
    best = shapes["best_shape"].astype(object).where(shapes["best_shape"].notna(), _NO_SHAPE)
    counts = pd.crosstab(shapes["trend"].astype(str), best.astype(str))
    counts = counts.reindex(
        index=[name for name in TRENDS if name in counts.index],
        columns=[name for name in (*SHAPES, _NO_SHAPE) if name in counts.columns],
    )
    counts.columns.name = None
    return Table(
        name="trends_by_shape",
        caption="Number of curves by trend class (rows) and by the shape with the largest weight "
        "(columns).",
        frame=counts.rename_axis("trend").reset_index(),
    )


def _curves(shapes: pd.DataFrame) -> Table:
    return Table(
        name="curve_shapes",
        caption="Trend and best shape of every curve, with the numbers that decide them.",
        frame=shapes,
        columns=("subtask", "metric", "model_family", "shots", "n_scales", "trend", "best_shape",
                 "best_weight", "tau", "p_trend", "jump_share", "gap_share", "emergence_score"),
        brief=("subtask", "metric", "model_family", "shots", "trend", "best_shape", "best_weight",
               "emergence_score"),
    )  # fmt: skip
