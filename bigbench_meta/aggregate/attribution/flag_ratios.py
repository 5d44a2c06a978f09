"""Shares of flagged curves by class of metric, and the ratios of the classes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import cluster_share, jackknifed
from bigbench_meta.aggregate.attribution.curve_flags import CLASSES
from bigbench_meta.aggregate.attribution.estimates import Estimate, check_confidence, frame_of
from bigbench_meta.aggregate.attribution.odds_ratios import (
    exact_odds_ratio,
    half_added_risk_ratio,
    log_odds_ratio,
    log_risk_ratio,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.clusters import Statistic
    from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags

    Floats = NDArray[np.float64]

__all__ = ["class_shares", "flag_ratios"]

_FEW: Final = 5
_INDEPENDENT: Final = "Curves are taken as independent: the least uncertainty there is."


def class_shares(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Tabulate the share of curves that are flagged, by class of metric.

    Args:
        rows: What :func:`flag_curves` returns.
        confidence: Of the interval, whose units are tasks: Clopper and Pearson's with the effective
            number of curves of Korn and Graubard.

    Returns:
        One row a class, ``unknown`` among them, whether it has curves or not: ``metric_class``,
        ``n_scored``, ``n_flagged``, ``n_tasks``, ``n_tasks_flagged`` (with a flagged curve),
        ``share_flagged`` with ``share_low`` and ``share_high``, and ``design_effect``: how many
        curves of the sample are worth one. Where none or all are flagged it cannot be estimated,
        and each task counts as one.

    Raises:
        InputError: The confidence is not in (0, 1).

    References:
        Korn & Graubard (1998), Survey Methodology 24, 193-201.
    """
    found = []
    for name in CLASSES:
        counts = rows.counts(name, name)[:, :2]
        share, low, high, effect = cluster_share(
            counts[:, 0], counts.sum(axis=1), confidence=confidence
        )
        found.append(
            {
                "metric_class": name,
                "n_scored": int(counts.sum()),
                "n_flagged": int(counts[:, 0].sum()),
                "n_tasks": len(counts),
                "n_tasks_flagged": int((counts[:, 0] > 0).sum()),
                "share_flagged": share,
                "share_low": low,
                "share_high": high,
                "design_effect": effect,
            }
        )
    return pd.DataFrame(found)


def flag_ratios(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Tabulate how much likelier, and at what odds, curves of sharp metrics are flagged.

    Args:
        rows: What :func:`flag_curves` returns; curves of unknown type are not compared.
        confidence: Of the intervals.

    Returns:
        Rows ``statistic`` (``risk_ratio``, ``odds_ratio``; sharp over smooth) by ``method``:
        ``by_task`` deletes one task at a time (jackknife, with Student's t at one degree of freedom
        less than tasks of the class with fewer); ``half_added``, of the risk ratio, adds a half to
        each cell, and ``exact``, of the odds ratio, is conditional on the margins, both with curves
        as independent. Columns ``estimate, low, high, p_value, n, n_tasks, status, message``.
        Where a cell is empty ``by_task`` has no interval, ``zero_cell``.

    Raises:
        InputError: The confidence is not in (0, 1).

    References:
        Efron & Tibshirani (1993), ch. 11; Haldane (1956), DOI 10.1111/j.1469-1809.1955.tb01285.x;
        Gart (1970), DOI 10.1093/biomet/57.3.471.
    """
    check_confidence(confidence)
    counts = rows.counts()
    cells = counts.sum(axis=0)
    blanks = [
        Estimate(statistic=statistic, method=method, n=int(cells.sum()), n_tasks=len(counts))
        for statistic, method in (
            ("risk_ratio", "by_task"),
            ("risk_ratio", "half_added"),
            ("odds_ratio", "by_task"),
            ("odds_ratio", "exact"),
        )
    ]
    if (reason := _not_comparable(cells)) is not None:
        return frame_of(one.refused(*reason) for one in blanks)
    half = half_added_risk_ratio(cells, confidence=confidence)
    exact = exact_odds_ratio(cells.reshape(1, 2, 2), confidence=confidence)
    found = [
        _by_task(blanks[0], counts, log_risk_ratio, [0, 2], confidence),
        half.fill(blanks[1], f"A half is added to each cell. {_INDEPENDENT}"),
        _by_task(blanks[2], counts, log_odds_ratio, [0, 1, 2, 3], confidence),
        exact.fill(blanks[3], _INDEPENDENT),
    ]
    return frame_of(found)


def _by_task(
    blank: Estimate, counts: Floats, statistic: Statistic, cells: list[int], confidence: float
) -> Estimate:
    """Return a ratio, of which the cells must not be empty, with an interval over tasks."""
    centre = float(statistic(counts.sum(axis=0)))
    if not np.isfinite(centre):
        text = "A cell is empty: see the exact interval of the odds ratio."
        number = 0.0 if centre < 0 else np.inf
        return replace(blank, estimate=number).refused("zero_cell", text)
    tasks = min(int(np.sum(counts[:, :2].any(axis=1))), int(np.sum(counts[:, 2:].any(axis=1))))
    found = jackknifed(blank, counts, statistic, n_clusters=tasks, confidence=confidence)
    return _told(found.exponential(), int((counts > 0).sum(axis=0)[cells].min()))


def _told(result: Estimate, support: int) -> Estimate:
    if support >= _FEW or result.status != "ok":
        return result
    word = "task" if support == 1 else "tasks"
    text = f"A cell of the table has curves of {support} {word} alone."
    return result.refused("sparse", text)


def _not_comparable(cells: Floats) -> tuple[str, str] | None:
    """Return a status and a sentence if there is no ratio."""
    sharp, smooth = cells[:2].sum(), cells[2:].sum()
    if not sharp + smooth:
        return "no_data", "No curve is of a metric of known type."
    if not (sharp and smooth):
        word = CLASSES["smooth" if sharp else "sharp"]
        return "one_class", f"No curve is of a metric that is {word}."
    if not cells[0] + cells[2]:
        return "no_variation", "No curve is flagged."
    return None if cells[1] + cells[3] else ("no_variation", "All curves are flagged.")
