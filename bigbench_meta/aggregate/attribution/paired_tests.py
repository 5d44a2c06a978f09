"""Tests and intervals of matched pairs of curves, all pairs of a sharp and a smooth metric."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.aggregate.attribution.clusters import (
    cluster_median,
    cluster_share,
    cluster_sums,
    few_clusters,
    jackknifed,
    sign_flip_p,
)
from bigbench_meta.aggregate.attribution.estimates import Estimate, check_confidence, frame_of
from bigbench_meta.aggregate.attribution.odds_ratios import (
    exact_odds_ratio,
    mantel_haenszel,
    mantel_haenszel_parts,
    pair_odds_ratio,
)
from bigbench_meta.aggregate.attribution.paired import matched_tables, metric_pairs, sharpness_order
from bigbench_meta.inference.binomial import clopper_pearson

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["paired_counts", "paired_tests"]

_INDEPENDENT: Final = "Matched sets of one task are taken as independent."


def sharp_smooth_pairs(rows: CurveFlags) -> pd.DataFrame:
    """Return the pairs of a sharp and a smooth metric, see :func:`metric_pairs`."""
    pairs = metric_pairs(rows)
    chosen = (pairs["metric_class_first"] == "sharp") & (pairs["metric_class_second"] == "smooth")
    return pairs[chosen].reset_index(drop=True)


def paired_counts(rows: CurveFlags) -> dict[str, int]:
    """Count pairs of a sharp and a smooth metric of one matched set.

    Args:
        rows: What :func:`bigbench_meta.flag_curves` returns.

    Returns:
        ``n_pairs``, in ``n_sets`` matched sets of ``n_tasks`` tasks; flagged ``n_both``,
        ``n_sharp_only``, ``n_smooth_only``, ``n_neither``; the sharp metric's curve ``n_sharper``,
        ``n_equal`` or ``n_less_sharp``, by relative sharpness; ``n_falling`` with a falling curve,
        which have no difference of logs; ``n_infinite`` with an infinite score; ``n_unequal`` whose
        two curves have different numbers of scales, and so are not of the same models.
    """
    pairs = sharp_smooth_pairs(rows)
    one, two = pairs["flagged_first"].to_numpy(bool), pairs["flagged_second"].to_numpy(bool)
    order = sharpness_order(pairs)
    scores = pairs[["relative_sharpness_first", "relative_sharpness_second"]].to_numpy(float)
    return {
        "n_pairs": len(pairs),
        "n_sets": int(pairs["set_number"].nunique()),
        "n_tasks": int(pairs["task_number"].nunique()),
        "n_both": int(np.sum(one & two)),
        "n_sharp_only": int(np.sum(one & ~two)),
        "n_smooth_only": int(np.sum(two & ~one)),
        "n_neither": int(np.sum(~one & ~two)),
        "n_sharper": int(np.sum(order > 0)),
        "n_equal": int(np.sum(order == 0)),
        "n_less_sharp": int(np.sum(order < 0)),
        "n_falling": int(np.sum((scores <= 0).any(axis=1))),
        "n_infinite": int(np.sum(np.isinf(scores).any(axis=1))),
        "n_unequal": int((pairs["n_scales_first"] != pairs["n_scales_second"]).sum()),
    }


def paired_tests(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Compare sharp with smooth metrics within matched sets.

    Args:
        rows: What :func:`bigbench_meta.flag_curves` returns.
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
    check_confidence(confidence)
    pairs = sharp_smooth_pairs(rows)
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
    told = f"{n_one} pairs with only the sharp one flagged, {n_two} with only the smooth one"
    if odds.status == "ok":
        # Tasks without a discordant pair have no say, and so are no degrees of freedom.
        counts = counts[counts.any(axis=1)]
        clustered = _log_ratio(by_task, counts, confidence)
        clustered = replace(clustered, message=clustered.message or f"{told}.")
    else:
        clustered = replace(by_task, estimate=odds.estimate).refused(odds.status, f"{told}.")
    plain = odds.fill(blank, f"{told}; pairs are taken as independent.")
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
        text = f"{blank.n_tasks} {'task' if blank.n_tasks == 1 else 'tasks'} set no limit."
        result = replace(result, low=math.nan, high=math.nan)
        return result.refused("too_few_clusters", text)
    if n_left_out := len(pairs) - len(values):
        result = replace(result, message=f"{n_left_out} pairs with a curve that does not rise.")
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
