"""Scores outside the range that the metric catalog gives their metric: another unit, or a code.

A score of 64.18 among fractions is a percentage, and makes the curve look emergent. Nothing is
rescaled by guess: such values are reported, and a curve that mixes them with others has no points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import PROBLEMS, conform, to_frame

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["CODES", "Checked", "check_range", "unit_problems"]

CODES: Final = (-1.0, -100.0)
"""What evaluation harnesses write for a score that was not measured."""

# A score of 100.00000000000001 percent is 100 percent.
_ROUNDING: Final = 1e-9
_METRIC: Final = ("benchmark", "task", "metric")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Which values cannot be scores of their metric, one entry a row.

    Attributes:
        code: A score is a code for "not measured".
        outside: A score is outside the range, and no such code.
        stderr: A standard error is larger than the range, that of a score within it.
    """

    code: Bools
    outside: Bools
    stderr: Bools


def check_range(score: Floats, stderr: Floats, low: Floats, high: Floats) -> Checked:
    """Compare scores with the range of their metric.

    Args:
        score: Scores, shape (n,), NaN for none.
        stderr: Their standard errors, NaN for none.
        low: Least possible score of each row, NaN where not known.
        high: Largest possible score.

    Examples:
        >>> score = np.array([0.6, 64.18, -1.0])
        >>> found = check_range(score, np.full(3, np.nan), np.zeros(3), np.ones(3))
        >>> found.outside.tolist(), found.code.tolist()
        ([False, True, False], [False, False, True])
    """
    with np.errstate(invalid="ignore"):
        extent = high - low
        slack = _ROUNDING * np.where(np.isfinite(extent), extent, np.abs(score))
        outside = (score < low - slack) | (score > high + slack)
        code = outside & np.isin(score, CODES)
        too_large = (stderr > extent + slack) & ~outside
        return Checked(code=code, outside=outside & ~code, stderr=too_large)


def unit_problems(
    observations: pd.DataFrame | pa.Table, *, catalog: MetricCatalog | None = None
) -> pd.DataFrame:
    """Return the scores and standard errors that lie outside the range of their metric.

    Args:
        observations: Observations table.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        Problems table, a row for each file, metric and model with such values.

    Raises:
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({
        ...     "benchmark": "lm-eval", "task": "arc_easy", "metric": "acc", "model_family": "f",
        ...     "model_name": ["1b", "12b"], "score": [0.57, 64.18],
        ... })
        >>> unit_problems(rows)["reason"].tolist()
        ['64.18, but acc goes from 0 to 1: in percent?']
    """
    table = conform(observations)
    group, first = group_rows(table, _METRIC)
    keys = to_frame(table.select(_METRIC).take(first))
    known = (catalog or metric_catalog()).lookup(keys)
    low, high = (known[name].to_numpy(dtype=float)[group] for name in ("low", "high"))
    score, stderr = (table[name].to_pandas().to_numpy(dtype=float) for name in ("score", "stderr"))
    found = check_range(score, stderr, low, high)
    rows = []
    for mask, values, text in (
        (found.outside, score, "{value:g}{more}, but {metric} goes from {low:g} to {high:g}{hint}"),
        (found.code, score, "{value:g}{more}, a code for a score that was not measured"),
        (
            found.stderr, stderr,
            "a standard error of {value:g}{more}, but {metric} goes from {low:g} to {high:g}{hint}",
        ),
    ):  # fmt: skip
        rows += _told(table, mask, values, low, high, text)
    return to_frame(conform(pd.DataFrame(rows, columns=PROBLEMS.names), PROBLEMS))


def _told(
    table: pa.Table, mask: Bools, values: Floats, low: Floats, high: Floats, text: str
) -> list[tuple[str, str, str, str]]:
    """Return a problem for each file, subtask, metric and model that a mask chooses."""
    names = ["source", "task", "subtask", "metric", "model_name"]
    frame = to_frame(table.select(names).filter(mask)).astype("string").fillna("")
    frame = frame.assign(value=values[mask], low=low[mask], high=high[mask])
    rows = []
    for key, some in frame.groupby(names, sort=False):
        source, task, subtask, metric, model = map(str, key)
        one = some.iloc[0]
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        percent = one["low"] == 0 and one["high"] == 1 and 1 < one["value"] <= 100
        reason = text.format(
            value=one["value"], more=more, metric=metric, low=one["low"], high=one["high"],
            hint=": in percent?" if percent else "",
        )  # fmt: skip
        rows.append((source, f"{subtask or task}, {metric}, {model}", reason, "warning"))
    return rows
