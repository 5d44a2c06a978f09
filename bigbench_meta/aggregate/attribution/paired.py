"""The paired question: the same models on the same questions, read through two metrics.

Tables over all curves compare different tasks; that tasks scored by sharp metrics are flagged more
often may be due to the tasks. Within a *matched set* (benchmark, task, subtask, model family, shots
and prompt variant) only the metric differs.

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 3 and 4. McNemar (1947),
    DOI 10.1007/BF02295996. Mantel & Haenszel (1959), DOI 10.1093/jnci/22.4.719.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import median
from bigbench_meta.aggregate.attribution.curve_flags import MATCHED_SET
from bigbench_meta.aggregate.attribution.odds_ratios import pair_odds_ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags

    Floats = NDArray[np.float64]

__all__ = ["log_sharpness_difference", "matched_tables", "metric_pairs", "pairs_by_metric"]

_CLASS_ORDER: Final = {"sharp": 0, "unknown": 1, "smooth": 2}
_ROUNDING: Final = 1e-9
"""Relative; the same curve in per cent and as a proportion has sharpnesses that differ by less."""

_SIDE: Final = (
    "metric", "metric_type", "metric_class", "flagged", "n_scales", "relative_sharpness",
    "limited_sharpness",
)  # fmt: skip


def log_sharpness_difference(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the difference of the logs of two relative sharpnesses.

    Args:
        first: Relative sharpness, any shape; may be infinite (a step).
        second: Likewise.

    Returns:
        log(first) - log(second): infinite where one is, 0 where both are (the data cannot tell
        which step is sharper) and where they differ by rounding alone, NaN where one is not
        positive (a falling curve has no sharpness of its rise) or NaN.

    Examples:
        >>> import numpy as np
        >>> log_sharpness_difference([2.0, np.inf, np.inf, -1.0], [1.0, 1.0, np.inf, 1.0]).round(3)
        array([0.693,   inf, 0.   ,   nan])
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(np.where(one > 0, one, np.nan)) - np.log(np.where(two > 0, two, np.nan))
    same = (np.isposinf(one) & np.isposinf(two)) | (np.abs(difference) < _ROUNDING)
    return np.where(same, 0.0, difference)


def metric_pairs(rows: CurveFlags) -> pd.DataFrame:
    """Return every pair of curves of one matched set.

    Args:
        rows: What :func:`bigbench_meta.flag_curves` returns.

    Returns:
        One row a pair: the columns of the matched set; ``metric``, ``metric_type``,
        ``metric_class``, ``flagged``, ``n_scales``, ``relative_sharpness`` and
        ``limited_sharpness``, each with the ending ``_first`` and ``_second``; ``log_difference``
        and ``log_difference_limited``, see :func:`log_sharpness_difference`; ``task_number`` and
        ``set_number``. The first metric is the one of the sharper class, or else the first by name.
        The limited sharpness is the resolution-limited score over n - 1, or the plain one where no
        resolution is known; it is NaN where it is infinite all the same.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.account import flag_curves
        >>> pairs = metric_pairs(flag_curves(score_curves(build_curves(load_embedded()))))
        >>> pairs[pairs["task"] == "LAMBADA"][
        ...     ["shots", "metric_first", "metric_second", "flagged_first", "flagged_second"]
        ... ].values.tolist()
        [[0, 'acc', 'ppl', False, False], [1, 'acc', 'ppl', False, True],
         [15, 'acc', 'ppl', False, True]]
    """
    frame = rows.frame
    limited = frame["resolution_limited_score"].fillna(frame["emergence_score"])
    limited = (limited / (frame["n_scales"] - 1)).replace([np.inf, -np.inf], np.nan)
    rank = frame["metric_class"].map(_CLASS_ORDER).astype(str) + frame["metric"].astype(str)
    sides = frame.assign(limited_sharpness=limited, metric=frame["metric"].astype(str))[
        ["set_number", *_SIDE]
    ].assign(rank=rank.rank(method="dense").astype(int))
    first = sides.assign(row=np.arange(len(frame)))
    merged = first.merge(sides, on="set_number", suffixes=("_first", "_second"))
    merged = merged[merged["rank_first"] < merged["rank_second"]]
    keys = frame.loc[merged["row"].to_numpy(), [*MATCHED_SET, "task_number"]].reset_index(drop=True)
    merged = merged.drop(columns=["row", "rank_first", "rank_second"]).reset_index(drop=True)
    return pd.concat([keys, merged], axis=1).assign(
        log_difference=_differences(merged, "relative_sharpness"),
        log_difference_limited=_differences(merged, "limited_sharpness"),
    )


def _differences(pairs: pd.DataFrame, name: str) -> Floats:
    return log_sharpness_difference(
        pairs[f"{name}_first"].to_numpy(dtype=float), pairs[f"{name}_second"].to_numpy(dtype=float)
    )


def pairs_by_metric(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Compare metrics two by two on the curves that both scored.

    Each matched set gives one pair of each two metrics, so McNemar's test applies as it is, but for
    sets of one task, which it takes as independent.

    Args:
        rows: What :func:`bigbench_meta.flag_curves` returns.
        confidence: Of the exact interval.

    Returns:
        One row a pair of metrics, those of different classes first, then by discordant pairs:
        ``metric_first``, ``class_first``, ``metric_second``, ``class_second``, ``n_pairs``,
        ``n_tasks``; ``n_both``, ``n_first_only``, ``n_second_only``, ``n_neither`` flagged;
        ``odds_ratio`` with ``low``, ``high`` and ``p_value``, ``p_holm`` adjusted for the number of
        rows; ``n_sharper``, ``n_equal``, ``n_less_sharp`` (relative sharpness of the first against
        the second) and ``median_log_difference`` over the ``n_log`` pairs in which both rise.

    References:
        McNemar (1947), DOI 10.1007/BF02295996; Holm (1979).

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.account import flag_curves
        >>> table = pairs_by_metric(flag_curves(score_curves(build_curves(load_embedded()))))
        >>> table[["metric_first", "metric_second", "n_pairs", "n_first_only", "n_second_only"]][:2]
          metric_first metric_second  n_pairs  n_first_only  n_second_only
        0           em            f1        3             0              0
        1          acc           ppl        3             0              2
    """
    from statsmodels.stats.multitest import multipletests

    names = ["metric_first", "metric_class_first", "metric_second", "metric_class_second"]
    found = [
        dict(zip(names, key, strict=True)) | _comparison(part, confidence)
        for key, part in metric_pairs(rows).groupby(names, sort=True)
    ]
    table = pd.DataFrame(found, columns=[*names, *_COMPARED])
    table = table.rename(columns={name: name.removeprefix("metric_") for name in names[1::2]})
    p_values = table["p_value"].to_numpy(dtype=float)
    adjusted = multipletests(p_values, method="holm")[1] if len(table) else p_values
    table.insert(list(table.columns).index("p_value") + 1, "p_holm", adjusted)
    order = pd.DataFrame(
        {
            "same": table["class_first"] == table["class_second"],
            "discordant": -(table["n_first_only"] + table["n_second_only"]),
            "pairs": -table["n_pairs"],
        }
    )
    return table.loc[
        order.sort_values(["same", "discordant", "pairs"], kind="stable").index
    ].reset_index(drop=True)


_COMPARED: Final = (
    "n_pairs", "n_tasks", "n_both", "n_first_only", "n_second_only", "n_neither", "odds_ratio",
    "low", "high", "p_value", "n_sharper", "n_equal", "n_less_sharp", "n_log",
    "median_log_difference",
)  # fmt: skip


def _comparison(pairs: pd.DataFrame, confidence: float) -> dict[str, Any]:
    one, two = (pairs[name].to_numpy(dtype=bool) for name in ("flagged_first", "flagged_second"))
    first_only, second_only = int(np.sum(one & ~two)), int(np.sum(two & ~one))
    odds = pair_odds_ratio(first_only, second_only, confidence=confidence)
    order = sharpness_order(pairs)
    known = pairs["log_difference"].dropna().to_numpy(dtype=float)
    return {
        "n_pairs": len(pairs),
        "n_tasks": pairs["task_number"].nunique(),
        "n_both": int(np.sum(one & two)),
        "n_first_only": first_only,
        "n_second_only": second_only,
        "n_neither": int(np.sum(~one & ~two)),
        "odds_ratio": odds.estimate,
        "low": odds.low,
        "high": odds.high,
        "p_value": odds.p_value,
        "n_sharper": int(np.sum(order > 0)),
        "n_equal": int(np.sum(order == 0)),
        "n_less_sharp": int(np.sum(order < 0)),
        "n_log": len(known),
        "median_log_difference": median(known),
    }


def sharpness_order(pairs: pd.DataFrame) -> Floats:
    """Return 1 where the first curve of a pair is the sharper, -1 where the second is, 0 or NaN.

    Infinite and falling curves count; of two infinite ones, and of two that differ by rounding
    alone, neither is sharper.
    """
    one = pairs["relative_sharpness_first"].to_numpy(dtype=float)
    two = pairs["relative_sharpness_second"].to_numpy(dtype=float)
    order = np.where(
        np.isclose(one, two, rtol=_ROUNDING, atol=0), 0.0, 1.0 * (one > two) - 1.0 * (one < two)
    )
    return np.where(np.isnan(one) | np.isnan(two), np.nan, order)


def matched_tables(rows: CurveFlags) -> tuple[Floats, NDArray[np.int64]]:
    """Return the 2 x 2 table of each matched set and its task.

    Args:
        rows: What :func:`bigbench_meta.flag_curves` returns.

    Returns:
        Tables of shape (sets with curves of both classes, 2, 2): sharp and smooth by flagged and
        not; and each set's task number.
    """
    frame = rows.known
    stratum = frame["set_number"].to_numpy(dtype=np.int64)
    cell = 2 * (frame["metric_class"] == "smooth").to_numpy(dtype=np.int64)
    cell += ~frame["flagged"].to_numpy(dtype=bool)
    n_strata = int(stratum.max(initial=-1)) + 1
    tables = np.bincount(stratum * 4 + cell, minlength=4 * n_strata).reshape(n_strata, 2, 2)
    task = np.zeros(n_strata, dtype=np.int64)
    task[stratum] = frame["task_number"].to_numpy(dtype=np.int64)
    both = (tables.sum(axis=2) > 0).all(axis=1)
    return tables[both].astype(np.float64), task[both]
