"""Which curves are flagged, and how much more often under sharp metrics than smooth ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import (
    cluster_counts,
    cluster_share,
    jackknifed,
)
from bigbench_meta.aggregate.attribution.estimates import Estimate, frame_of
from bigbench_meta.aggregate.attribution.odds_ratios import (
    exact_odds_ratio,
    half_added_risk_ratio,
    log_odds_ratio,
    log_risk_ratio,
)
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged, select_level
from bigbench_meta.core.checks import one_of, probability
from bigbench_meta.core.errors import SchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.clusters import Statistic
    from bigbench_meta.aggregate.by_metric import Level

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "CLASSES", "MATCHED_SET", "TASK", "CurveFlags", "Flat", "Unknown", "class_of", "class_shares",
    "flag_curves", "flag_ratios",
]  # fmt: skip

CLASSES: Final = {
    "sharp": "nonlinear or discontinuous",
    "smooth": "linear or continuous",
    "unknown": "of unknown type",
}
"""Classes of metric: what they do to a smooth change of per-token error (Schaeffer et al. 2023)."""

_CLASS_OF_TYPE: Final = {
    "discontinuous": "sharp", "nonlinear": "sharp", "linear": "smooth", "continuous": "smooth",
}  # fmt: skip

TASK: Final = ("benchmark", "task")
"""A cluster: curves of one task share its questions, and so rise and fall together."""

MATCHED_SET: Final = ("benchmark", "task", "subtask", "model_family", "shots", "variant")
"""A matched set: the same models on the same questions, read through several metrics."""

_FEW: Final = 5
_INDEPENDENT: Final = "Curves are taken as independent: the least uncertainty there is."

_NEEDED: Final = (
    *MATCHED_SET, "metric", "metric_type", "n_scales", "n_examples_min", "emergence_score",
    "relative_sharpness", "resolution_limited_score", "status",
)  # fmt: skip

Flat = Literal["left_out", "not_flagged"]
Unknown = Literal["apart", "sharp", "smooth"]


@dataclass(frozen=True, kw_only=True)
class CurveFlags:
    """Curves, each flagged or not.

    Attributes:
        frame: One row per curve: the columns of the curve scores, ``metric_class`` (one of
            :data:`CLASSES`), ``flagged``, and numbers of the curve's ``task_number`` and
            ``set_number``.
        left_out: Curves that are neither, by reason.
        threshold: Of the emergence score.
    """

    frame: pd.DataFrame
    left_out: dict[str, int]
    threshold: float

    @property
    def of_known_type(self) -> pd.DataFrame:
        """The rows of metrics whose class is known."""
        return self.frame[self.frame["metric_class"] != "unknown"]

    def counts(self, exposed: str = "sharp", other: str = "smooth") -> Floats:
        """Return counts of curves by class and flag, a row per task, see :func:`cluster_counts`."""
        frame = self.frame[self.frame["metric_class"].isin([exposed, other])]
        return cluster_counts(
            frame["flagged"].to_numpy(dtype=bool),
            (frame["metric_class"] == exposed).to_numpy(dtype=bool),
            frame["task_number"].to_numpy(dtype=np.int64),
        )


def class_of(metric_type: pd.Series[str]) -> pd.Series[str]:
    """Return the class of metric of each type; a type that is not known is ``unknown``.

    Examples:
        >>> import pandas as pd
        >>> class_of(pd.Series(["nonlinear", "continuous", "odd"])).tolist()
        ['sharp', 'smooth', 'unknown']
    """
    return metric_type.astype(str).map(_CLASS_OF_TYPE).fillna("unknown").astype(str)


def flag_curves(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    level: Level = "task",
    flat: Flat = "left_out",
    unknown: Unknown = "apart",
) -> CurveFlags:
    """Choose the curves that can be flagged, and flag those above the threshold.

    Args:
        scores: Curve scores, from :func:`bigbench_meta.score_curves`.
        threshold: A curve with an emergence score above it is flagged.
        level: Which of a task's rows count, see :func:`bigbench_meta.select_level`.
        flat: A curve whose scores are all equal has no emergence score. It is left out, as in
            :func:`bigbench_meta.metrics_of_emergence`, or counts as not flagged.
        unknown: Curves of a metric of unknown type are a class of their own, or count as one of the
            others (which bounds what knowing their type could change).

    Returns:
        The curves.

    Raises:
        InputError: An unknown level, ``flat`` or ``unknown``, or a threshold that is NaN.
        SchemaError: A column is missing.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> rows = flag_curves(score_curves(build_curves(load_embedded())))
        >>> len(rows.frame), int(rows.frame["flagged"].sum()), rows.left_out
        (188, 21, {'flat': 1})
    """
    if missing := [name for name in _NEEDED if name not in scores]:
        raise SchemaError(f"missing column {', '.join(missing)}", where="scores",
                          hint="pass what score_curves returns")  # fmt: skip
    one_of(flat, get_args(Flat), "flat")
    one_of(unknown, get_args(Unknown), "unknown")
    marked = scores.assign(flagged=flagged(scores, threshold))
    counted = select_level(marked, level)
    scored = counted["emergence_score"].notna()
    if flat == "not_flagged":
        scored |= counted["status"].astype(str) == "flat"
    reasons = counted.loc[~scored, "status"].astype(str).value_counts().sort_index()
    frame = counted[scored].reset_index(drop=True)
    classes = class_of(frame["metric_type"])
    if unknown != "apart":
        classes = classes.replace("unknown", unknown)
    frame = frame.assign(
        metric_class=classes, flagged=frame["flagged"].astype(bool),
        task_number=_numbers(frame, TASK), set_number=_numbers(frame, MATCHED_SET),
    )  # fmt: skip
    left_out = {str(reason).replace("_", " "): int(n) for reason, n in reasons.items()}
    return CurveFlags(frame=frame, left_out=left_out, threshold=threshold)


def _numbers(frame: pd.DataFrame, columns: tuple[str, ...]) -> Ints:
    keys = [frame[name] for name in columns]
    groups = frame.groupby(keys, dropna=False, observed=True, sort=False)
    return np.asarray(groups.ngroup(), dtype=np.int64)


def class_shares(rows: CurveFlags, *, confidence: float = 0.95) -> pd.DataFrame:
    """Tabulate the share of curves that are flagged, by class of metric.

    Args:
        rows: What :func:`flag_curves` returns.
        confidence: Of the interval, whose units are tasks: Clopper and Pearson's with the effective
            number of curves of Korn and Graubard.

    Returns:
        One row per class, ``unknown`` among them, whether it has curves or not: ``metric_class``,
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
    """Tabulate risk and odds ratios of being flagged, sharp over smooth metrics.

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
    probability(confidence, "confidence")
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
    """Return a ratio of non-empty cells, with an interval over tasks."""
    centre = float(statistic(counts.sum(axis=0)))
    if not np.isfinite(centre):
        text = "A cell is empty: see the exact interval of the odds ratio."
        number = 0.0 if centre < 0 else np.inf
        return replace(blank, estimate=number).refused("zero_cell", text)
    tasks = min(int(np.sum(counts[:, :2].any(axis=1))), int(np.sum(counts[:, 2:].any(axis=1))))
    found = jackknifed(blank, counts, statistic, n_clusters=tasks, confidence=confidence)
    result = found.exponential()
    support = int((counts > 0).sum(axis=0)[cells].min())
    if support >= _FEW or result.status != "ok":
        return result
    word = "task" if support == 1 else "tasks"
    return result.refused("sparse", f"A cell of the table has curves of only {support} {word}.")


def _not_comparable(cells: Floats) -> tuple[str, str] | None:
    """Return a status and a sentence if there is no ratio."""
    sharp, smooth = cells[:2].sum(), cells[2:].sum()
    if not sharp + smooth:
        return "no_data", "No curve has a metric of known type."
    if not (sharp and smooth):
        word = CLASSES["smooth" if sharp else "sharp"]
        return "one_class", f"No curve has a metric that is {word}."
    if not cells[0] + cells[2]:
        return "no_variation", "No curve is flagged."
    return None if cells[1] + cells[3] else ("no_variation", "All curves are flagged.")
