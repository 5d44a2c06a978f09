"""Accuracy of forecasts: by group, one forecaster against another, and the worst ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from bigbench_meta.core.binomial import wilson
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare_forecasters", "forecast_summary", "least_predictable"]

# What identifies a forecast in addition to its forecaster.
_ONE: list[str] = ["curve", "k", "horizon"]


def forecast_summary(
    forecasts: pd.DataFrame, *, by: Sequence[str] = ("forecaster", "horizon")
) -> pd.DataFrame:
    """Summarise the accuracy of forecasts by group.

    Args:
        forecasts: What :func:`forecast_curves` returns.
        by: Columns of it that make up the groups.

    Returns:
        One row per group, in order of first appearance, with the columns of ``by`` and

        - ``n``: forecasts asked for, ``n_forecast``: made, ``n_interval``: made with an interval
          that says something, ``n_not_predictable``: made with one that does not;
        - ``median_width``: of the ``n_interval``, as a share of what can be gained;
        - ``coverage``: share of intervals that hold the observed score, with a Wilson interval
          ``coverage_low``, ``coverage_high`` as if forecasts were independent, which those of one
          curve are not;
        - ``n_skill``: forecasts with a skill, ``median_skill`` and ``share_better``: how many are
          nearer to the observed score than persistence;
        - ``median_surprise``: bits; 1 where the intervals are right.

        NaN where a group has no such forecast.

    Raises:
        InputError: A column is missing.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves[curves.keys.task == "HellaSwag"]
        >>> summary = forecast_summary(forecast_curves(chosen, k="last"))
        >>> summary[["forecaster", "horizon", "n", "n_forecast"]].values.tolist()
        [['mixture', 1, 3, 3]]
    """
    by = list(by)
    _need(forecasts, [*by, "forecast", "covered", "width", "skill", "surprise", "status"])
    covered = forecasts["covered"].astype("Float64")
    better = (forecasts["skill"] > 0).where(forecasts["skill"].notna()).astype("Float64")
    groups = forecasts.assign(
        covered=covered, better=better, width=forecasts["width"].where(covered.notna()),
        empty=forecasts["status"] == "not_predictable",
    ).groupby(
        by, dropna=False, observed=True, sort=False
    )  # fmt: skip
    result = groups.agg(
        n=("status", "size"),
        n_forecast=("forecast", "count"),
        n_interval=("covered", "count"),
        n_not_predictable=("empty", "sum"),
        median_width=("width", "median"),
        n_covered=("covered", "sum"),
        coverage=("covered", "mean"),
        n_skill=("skill", "count"),
        median_skill=("skill", "median"),
        share_better=("better", "mean"),
        median_surprise=("surprise", "median"),
    ).reset_index()
    interval = wilson(result.pop("n_covered").to_numpy(float), result["n_interval"].to_numpy(float))
    place = result.columns.get_loc("coverage")
    floats = dict.fromkeys(("coverage", "share_better"), "float64")
    result = result.astype(floats)
    result.insert(int(str(place)) + 1, "coverage_low", interval.low)
    result.insert(int(str(place)) + 2, "coverage_high", interval.high)
    return result


def least_predictable(forecasts: pd.DataFrame, *, forecaster: str | None = None) -> pd.DataFrame:
    """Return the most surprising forecast of every curve, the most surprising curve first.

    The most surprising of several forecasts is surprising because it was chosen: of six independent
    forecasts with right intervals it has 3 bits, not 1.

    Args:
        forecasts: What :func:`forecast_curves` returns.
        forecaster: Whose forecasts; by default those of the first in the table.

    Returns:
        Rows of ``forecasts``, at most one a curve; of equal ones the first. Curves of which no
        forecast has an interval have none.

    Raises:
        InputError: A column or the forecaster is missing.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves[curves.keys.task == "arithmetic 3D+"]
        >>> rows = least_predictable(forecast_curves(chosen))
        >>> rows[["shots", "k", "model_name"]].values.tolist()
        [[50, 6, '175B'], [0, 6, '175B'], [1, 6, '175B']]
    """
    _need(forecasts, ["curve", "forecaster", "surprise"])
    names = forecasts["forecaster"].unique().tolist()
    if forecaster is not None and forecaster not in names:
        hint = f"one of {', '.join(names)}"
        raise InputError(f"no forecast by {forecaster!r}", where="forecaster", hint=hint)
    own = forecasts[forecasts["forecaster"].isin(names[:1] if forecaster is None else [forecaster])]
    ordered = own[own["surprise"].notna()].sort_values("surprise", ascending=False, kind="stable")
    return ordered.drop_duplicates("curve")


def compare_forecasters(
    forecasts: pd.DataFrame, first: str = "smooth_pair", second: str = "mixture"
) -> pd.DataFrame:
    """Compare how close two forecasters are to the observed scores, where both made a forecast.

    Forecasts of one task share its questions, so the test has tasks as its units: a task counts
    for a forecaster that is nearer in most of its forecasts.

    Args:
        forecasts: What :func:`forecast_curves` returns for both.
        first: One forecaster; by default the one that uses the smooth metric.
        second: Another.

    Returns:
        One row per horizon, and a last one over all with the horizon missing: ``first``,
        ``second``, ``horizon``, ``n`` (forecasts that both made), ``n_curves``, ``n_tasks``;
        ``n_first``, ``n_second`` and ``n_equal`` (nearer, farther, equally near), ``n_tasks_first``
        and ``n_tasks_second``, ``p_value`` of the exact two-sided sign test over tasks (1 where
        none differs, NaN without any), ``median_log_ratio`` of the absolute errors,
        ``ln(|first| / |second|)``, below 0 where the first is nearer, and ``coverage_first``,
        ``coverage_second``.

    Raises:
        InputError: A column or a forecaster is missing, or both are the same.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
        >>> curves = build_curves(load_embedded())
        >>> chosen = curves[curves.keys.task == "LAMBADA"]
        >>> found = forecast_curves(chosen, k="last", forecasters=("mixture", "smooth_pair"))
        >>> compare_forecasters(found)[["horizon", "n", "n_tasks"]].values.tolist()
        [[1, 3, 1], [<NA>, 3, 1]]
    """
    _need(forecasts, [*_ONE, "benchmark", "task", "forecaster", "error", "covered"])
    for name in (first, second):
        if first == second or name not in set(forecasts["forecaster"]):
            hint = f"two of {', '.join(forecasts['forecaster'].unique())}"
            raise InputError(f"{first!r} and {second!r}", where="forecasters", hint=hint)
    made = forecasts[forecasts["error"].notna()]
    both = made[made["forecaster"] == first].merge(
        made.loc[made["forecaster"] == second, [*_ONE, "error", "covered"]],
        on=_ONE, suffixes=("_first", "_second"),
    )  # fmt: skip
    horizons = sorted(forecasts["horizon"].unique())
    rows = [_compared(both[both["horizon"] == horizon]) for horizon in horizons]
    frame = pd.DataFrame([*rows, _compared(both)])
    frame.insert(0, "first", first)
    frame.insert(1, "second", second)
    frame.insert(2, "horizon", pd.Series([*horizons, None], dtype="Int64"))
    return frame


def _compared(both: pd.DataFrame) -> dict[str, float | int]:
    one, other = both["error_first"].abs(), both["error_second"].abs()
    task = both.groupby(["benchmark", "task"], observed=True, dropna=False).ngroup()
    nearer = (one < other).astype(int) - (one > other).astype(int)
    lead = nearer.groupby(task).sum()
    won, lost = int((lead > 0).sum()), int((lead < 0).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two forecasts without any error are alike.
        ratio = np.where(one == other, 0.0, np.log(one) - np.log(other))
        median = float(np.median(ratio)) if len(ratio) else np.nan
    return {
        "n": len(both),
        "n_curves": both["curve"].nunique(),
        "n_tasks": len(lead),
        "n_first": int((one < other).sum()),
        "n_second": int((one > other).sum()),
        "n_equal": int((one == other).sum()),
        "n_tasks_first": won,
        "n_tasks_second": lost,
        "p_value": _sign_test(won, lost) if len(lead) else np.nan,
        "median_log_ratio": median,
        "coverage_first": _share(both["covered_first"]),
        "coverage_second": _share(both["covered_second"]),
    }


def _sign_test(won: int, lost: int) -> float:
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _share(covered: pd.Series[bool]) -> float:
    known = covered.dropna()
    return float(known.astype(float).mean()) if len(known) else np.nan


def _need(forecasts: pd.DataFrame, columns: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in forecasts]:
        raise InputError(f"no column {', '.join(missing)}", where="forecasts")
