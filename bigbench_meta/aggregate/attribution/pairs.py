"""Paired comparison: the same models on the same questions, scored by two metrics.

Tables over all curves compare different tasks; that tasks scored by sharp metrics are flagged more
often may be due to the tasks. Within a *matched set* (benchmark, task, subtask, model family, shots
and prompt variant) only the metric differs.

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 3 and 4. McNemar (1947),
    DOI 10.1007/BF02295996. Mantel & Haenszel (1959), DOI 10.1093/jnci/22.4.719.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import (
    cluster_median,
    cluster_share,
    cluster_sums,
    few_clusters,
    jackknifed,
    median,
    sign_flip_p,
)
from bigbench_meta.aggregate.attribution.estimates import Estimate, frame_of
from bigbench_meta.aggregate.attribution.flags import MATCHED_SET
from bigbench_meta.aggregate.attribution.odds_ratios import (
    exact_odds_ratio,
    mantel_haenszel,
    mantel_haenszel_parts,
    pair_odds_ratio,
)
from bigbench_meta.core.binomial import clopper_pearson
from bigbench_meta.core.checks import probability

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.aggregate.attribution.flags import CurveFlags

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "log_sharpness_difference", "matched_tables", "metric_pairs", "paired_counts", "paired_tests",
    "pairs_by_metric", "sharpness_order",
]  # fmt: skip

_CLASS_ORDER: Final = {"sharp": 0, "unknown": 1, "smooth": 2}
_ROUNDING: Final = 1e-9
"""Relative; the same curve in per cent and as a proportion has sharpnesses that differ by less."""

_INDEPENDENT: Final = "Matched sets of one task are taken as independent."

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
        rows: What :func:`flag_curves` returns.

    Returns:
        One row per pair: the columns of the matched set; ``metric``, ``metric_type``,
        ``metric_class``, ``flagged``, ``n_scales``, ``relative_sharpness`` and
        ``limited_sharpness``, each with the ending ``_first`` and ``_second``; ``log_difference``
        and ``log_difference_limited``, see :func:`log_sharpness_difference`; ``task_number`` and
        ``set_number``. The first metric is the one of the sharper class, or else the first by name.
        The limited sharpness is the resolution-limited score over n - 1, or the plain one where no
        resolution is known; it is NaN where it is infinite all the same.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.flags import flag_curves
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
    """Compare every two metrics on the curves that both scored.

    Each matched set gives one pair of each two metrics, so McNemar's test applies as it is, but for
    sets of one task, which it takes as independent.

    Args:
        rows: What :func:`flag_curves` returns.
        confidence: Of the exact interval.

    Returns:
        One row per pair of metrics, those of different classes first, then by discordant pairs:
        ``metric_first``, ``class_first``, ``metric_second``, ``class_second``, ``n_pairs``,
        ``n_tasks``; ``n_both``, ``n_first_only``, ``n_second_only``, ``n_neither`` flagged;
        ``odds_ratio`` with ``low``, ``high`` and ``p_value``, ``p_holm`` adjusted for the number of
        rows; ``n_sharper``, ``n_equal``, ``n_less_sharp`` (relative sharpness of the first against
        the second) and ``median_log_difference`` over the ``n_log`` pairs in which both rise.

    References:
        McNemar (1947), DOI 10.1007/BF02295996; Holm (1979).

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.flags import flag_curves
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
    counts = _counts(pairs)
    odds = pair_odds_ratio(counts["n_first_only"], counts["n_second_only"], confidence=confidence)
    logs = pairs["log_difference"].dropna().to_numpy(dtype=float)
    return counts | {
        "n_pairs": len(pairs),
        "n_tasks": pairs["task_number"].nunique(),
        "odds_ratio": odds.estimate,
        "low": odds.low,
        "high": odds.high,
        "p_value": odds.p_value,
        "n_log": len(logs),
        "median_log_difference": median(logs),
    }


def _counts(pairs: pd.DataFrame) -> dict[str, int]:
    """Count pairs by which of their curves are flagged, and by which is the sharper."""
    one, two = (pairs[name].to_numpy(dtype=bool) for name in ("flagged_first", "flagged_second"))
    order = sharpness_order(pairs)
    return {
        "n_both": int(np.sum(one & two)),
        "n_first_only": int(np.sum(one & ~two)),
        "n_second_only": int(np.sum(two & ~one)),
        "n_neither": int(np.sum(~one & ~two)),
        "n_sharper": int(np.sum(order > 0)),
        "n_equal": int(np.sum(order == 0)),
        "n_less_sharp": int(np.sum(order < 0)),
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


def matched_tables(rows: CurveFlags) -> tuple[Floats, Ints]:
    """Return the 2 x 2 table of each matched set and its task.

    Args:
        rows: What :func:`flag_curves` returns.

    Returns:
        Tables of shape (sets with curves of both classes, 2, 2): sharp and smooth by flagged and
        not; and each set's task number.
    """
    frame = rows.of_known_type
    stratum = frame["set_number"].to_numpy(dtype=np.int64)
    cell = 2 * (frame["metric_class"] == "smooth").to_numpy(dtype=np.int64)
    cell += ~frame["flagged"].to_numpy(dtype=bool)
    n_strata = int(stratum.max(initial=-1)) + 1
    tables = np.bincount(stratum * 4 + cell, minlength=4 * n_strata).reshape(n_strata, 2, 2)
    task = np.zeros(n_strata, dtype=np.int64)
    task[stratum] = frame["task_number"].to_numpy(dtype=np.int64)
    both = (tables.sum(axis=2) > 0).all(axis=1)
    return tables[both].astype(np.float64), task[both]


def _sharp_smooth_pairs(rows: CurveFlags) -> pd.DataFrame:
    """Return the pairs of a sharp and a smooth metric, see :func:`metric_pairs`."""
    pairs = metric_pairs(rows)
    chosen = (pairs["metric_class_first"] == "sharp") & (pairs["metric_class_second"] == "smooth")
    return pairs[chosen].reset_index(drop=True)


def paired_counts(rows: CurveFlags) -> dict[str, int]:
    """Count pairs of a sharp and a smooth metric of one matched set.

    Args:
        rows: What :func:`flag_curves` returns.

    Returns:
        ``n_pairs``, in ``n_sets`` matched sets of ``n_tasks`` tasks; flagged ``n_both``,
        ``n_sharp_only``, ``n_smooth_only``, ``n_neither``; the sharp metric's curve ``n_sharper``,
        ``n_equal`` or ``n_less_sharp``, by relative sharpness; ``n_falling`` with a falling curve,
        which have no difference of logs; ``n_infinite`` with an infinite score; ``n_unequal`` whose
        two curves have different numbers of scales, and so are not of the same models.
    """
    pairs = _sharp_smooth_pairs(rows)
    counts = _counts(pairs)
    scores = pairs[["relative_sharpness_first", "relative_sharpness_second"]].to_numpy(float)
    return {
        "n_pairs": len(pairs),
        "n_sets": int(pairs["set_number"].nunique()),
        "n_tasks": int(pairs["task_number"].nunique()),
        "n_both": counts["n_both"],
        "n_sharp_only": counts["n_first_only"],
        "n_smooth_only": counts["n_second_only"],
        "n_neither": counts["n_neither"],
        **{name: counts[name] for name in ("n_sharper", "n_equal", "n_less_sharp")},
        "n_falling": int(np.sum((scores <= 0).any(axis=1))),
        "n_infinite": int(np.sum(np.isinf(scores).any(axis=1))),
        "n_unequal": int((pairs["n_scales_first"] != pairs["n_scales_second"]).sum()),
    }


def paired_tests(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Compare sharp with smooth metrics within matched sets.

    Args:
        rows: What :func:`flag_curves` returns.
        confidence: Of the intervals. Those over tasks need five tasks.

    Returns:
        Columns ``statistic, method, estimate, low, high, p_value, n, n_tasks, status, message``.
        The statistics, and their methods:

        - ``paired_odds_ratio``: discordant pairs, only the sharp one flagged over only the smooth
          one, over all pairs of curves; ``mcnemar`` takes pairs as independent, ``by_task`` has a
          jackknife interval over tasks and an exact p-value over the signs of tasks' differences.
        - ``common_odds_ratio``: of the sets' 2 x 2 tables; ``mantel_haenszel`` with the
          Cochran-Mantel-Haenszel test, ``exact`` conditional on the margins, both taking sets as
          independent; ``by_task`` with a jackknife interval over tasks.
        - ``share_sharper``: of pairs that differ, those in which the sharp metric's curve has the
          higher relative sharpness, infinite and falling ones included; ``sign_test`` with pairs as
          independent, ``by_task`` with tasks as the units.
        - ``log_sharpness_difference`` over pairs in which both curves rise: ``median``, infinite
          ones included, with the interval and p-value of the sign test over tasks, see
          :func:`bigbench_meta.aggregate.attribution.clusters.cluster_median`; ``mean_limited`` of
          resolution-limited scores, which are finite, with a jackknife interval over tasks.

    Raises:
        InputError: The confidence is not in (0, 1).

    References:
        McNemar (1947), DOI 10.1007/BF02295996; Robins, Breslow & Greenland (1986),
        DOI 10.2307/2531052; Schaeffer et al. (2023), arXiv 2304.15004, App. A.1 for the resolution.
    """
    probability(confidence, "confidence")
    pairs = _sharp_smooth_pairs(rows)
    found = [
        *_discordance(pairs, confidence),
        *_common_odds(rows, confidence),
        *_share_sharper(pairs, confidence),
        _median_difference(pairs, confidence),
        _limited_difference(pairs, confidence),
    ]
    return frame_of(found)


def _discordance(pairs: pd.DataFrame, confidence: float) -> list[Estimate]:
    one, two = pairs["flagged_first"].to_numpy(bool), pairs["flagged_second"].to_numpy(bool)
    task = pairs["task_number"].to_numpy(np.int64)
    blank = Estimate(
        statistic="paired_odds_ratio", method="mcnemar", n=len(pairs), n_tasks=len(np.unique(task))
    )
    by_task = replace(blank, method="by_task")
    if pairs.empty:
        text = "There is no pair of a sharp and a smooth metric."
        return [one.refused("no_data", text) for one in (blank, by_task)]
    n_one, n_two = int(np.sum(one & ~two)), int(np.sum(two & ~one))
    if not n_one + n_two:
        text = f"In none of {len(pairs)} pairs is only one of the two flagged."
        return [replace(one, p_value=1.0).refused("no_variation", text) for one in (blank, by_task)]
    odds = pair_odds_ratio(n_one, n_two, confidence=confidence)
    counts = cluster_sums(task, 1.0 * (one & ~two), 1.0 * (two & ~one))
    p_value = sign_flip_p((counts[:, 0] - counts[:, 1]).astype(np.int64))
    counted = f"{n_one} pairs with only the sharp one flagged, {n_two} with only the smooth one"
    if odds.status == "ok":
        # Tasks without a discordant pair contribute nothing, and no degree of freedom.
        counts = counts[counts.any(axis=1)]
        clustered = _log_ratio(by_task, counts, confidence)
        clustered = replace(clustered, message=clustered.message or f"{counted}.")
    else:
        clustered = replace(by_task, estimate=odds.estimate).refused(odds.status, f"{counted}.")
    plain = odds.fill(blank, f"{counted}; pairs are taken as independent.")
    return [plain, replace(clustered, p_value=p_value)]


def _common_odds(rows: CurveFlags, confidence: float) -> list[Estimate]:
    tables, task = matched_tables(rows)
    blanks = [
        Estimate(
            statistic="common_odds_ratio",
            method=method,
            n=int(tables.sum()),
            n_tasks=len(np.unique(task)),
        )
        for method in ("mantel_haenszel", "exact", "by_task")
    ]
    pooled = mantel_haenszel(tables, confidence=confidence)
    if pooled.status == "no_variation":
        text = "In no matched set do curves of both classes differ in being flagged."
        if not len(tables):
            text = "No matched set has curves of both classes."
        status = "no_variation" if len(tables) else "no_data"
        return [one.refused(status, text) for one in blanks]
    exact = exact_odds_ratio(tables, confidence=confidence)
    results = [pooled.fill(blanks[0], _INDEPENDENT), exact.fill(blanks[1], _INDEPENDENT)]
    if pooled.status == "zero_cell":
        text = "Only one side has discordant curves: see the exact interval."
        clustered = replace(blanks[2], estimate=pooled.estimate).refused("zero_cell", text)
    else:
        parts = cluster_sums(task, *mantel_haenszel_parts(tables))
        clustered = _log_ratio(blanks[2], parts[parts.any(axis=1)], confidence)
    return [*results, clustered]


def _log_ratio(blank: Estimate, sums: Floats, confidence: float) -> Estimate:
    """Return the ratio of two totals of tasks with its jackknife interval."""

    def statistic(totals: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(totals[..., 0] / totals[..., 1]))

    return jackknifed(
        blank, sums, statistic, n_clusters=len(sums), confidence=confidence
    ).exponential()


def _share_sharper(pairs: pd.DataFrame, confidence: float) -> list[Estimate]:
    order = sharpness_order(pairs)
    differs = np.abs(order) == 1
    task = pairs["task_number"].to_numpy(np.int64)[differs]
    sharper = order[differs] > 0
    n, hits = len(sharper), int(sharper.sum())
    blank = Estimate(
        statistic="share_sharper", method="sign_test", n=n, n_tasks=len(np.unique(task))
    )
    by_task = replace(blank, method="by_task")
    if not n:
        text = "There is no pair whose curves differ in sharpness."
        return [one.refused("no_data", text) for one in (blank, by_task)]
    low, high = map(float, clopper_pearson(hits, n, confidence=confidence))
    p_value = sign_flip_p(np.where(sharper, 1, -1))
    plain = replace(
        blank, estimate=hits / n, low=low, high=high, p_value=p_value,
        message=f"{hits} of {n} pairs that differ; pairs are taken as independent.",
    )  # fmt: skip
    sums = cluster_sums(task, 1.0 * sharper, np.ones(n))
    share, low, high, _ = cluster_share(sums[:, 0], sums[:, 1], confidence=confidence)
    p_value = sign_flip_p((2 * sums[:, 0] - sums[:, 1]).astype(np.int64))
    if refusal := few_clusters(len(sums)):
        low = high = math.nan
        by_task = by_task.refused("too_few_clusters", refusal)
    return [plain, replace(by_task, estimate=share, low=low, high=high, p_value=p_value)]


def _median_difference(pairs: pd.DataFrame, confidence: float) -> Estimate:
    values, task = _known(pairs, "log_difference")
    blank = Estimate(
        statistic="log_sharpness_difference", method="median", n=len(values),
        n_tasks=len(np.unique(task)),
    )  # fmt: skip
    if not len(values):
        return blank.refused("no_data", "There is no pair whose curves both rise.")
    middle, low, high, p_value = cluster_median(values, task, confidence=confidence)
    result = replace(blank, estimate=middle, low=low, high=high, p_value=p_value)
    if np.isinf([low, high]).all() and low < high:
        text = f"{blank.n_tasks} {'task' if blank.n_tasks == 1 else 'tasks'}: too few for a limit."
        result = replace(result, low=math.nan, high=math.nan)
        return result.refused("too_few_clusters", text)
    if n_left_out := len(pairs) - len(values):
        result = replace(result, message=f"{n_left_out} pairs are left out: a curve does not rise.")
    return result


def _limited_difference(pairs: pd.DataFrame, confidence: float) -> Estimate:
    values, task = _known(pairs, "log_difference_limited")
    blank = Estimate(
        statistic="log_sharpness_difference", method="mean_limited", n=len(values),
        n_tasks=len(np.unique(task)),
    )  # fmt: skip
    if not len(values):
        text = "There is no pair whose curves both rise with a finite resolution-limited score."
        return blank.refused("no_data", text)
    sums = cluster_sums(task, values, np.ones(len(values)))
    result = jackknifed(
        blank, sums, lambda totals: totals[..., 0] / totals[..., 1], n_clusters=len(sums),
        confidence=confidence,
    )  # fmt: skip
    if not result.message and (n_left_out := len(pairs) - len(values)):
        text = f"{n_left_out} pairs are left out: a curve does not rise, or no finite score."
        result = replace(result, message=text)
    return result


def _known(pairs: pd.DataFrame, column: str) -> tuple[Floats, Ints]:
    known = pairs[pairs[column].notna()]
    return known[column].to_numpy(float), known["task_number"].to_numpy(np.int64)
