"""Curve scores made ready to ask what accounts for the flags: flagged or not, or left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from bigbench_meta.aggregate.attribution.clusters import cluster_counts
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged, select_level
from bigbench_meta.core.errors import InputError, SchemaError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.aggregate.by_metric import Level

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["CLASSES", "MATCHED_SET", "TASK", "CurveFlags", "class_of", "flag_curves"]

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

_NEEDED: Final = (
    *MATCHED_SET, "metric", "metric_type", "n_scales", "n_examples_min", "emergence_score",
    "relative_sharpness", "resolution_limited_score", "status",
)  # fmt: skip

Flat = Literal["left_out", "not_flagged"]
Unknown = Literal["apart", "sharp", "smooth"]


@dataclass(frozen=True, kw_only=True)
class CurveFlags:
    """Curves that are flagged or not.

    Attributes:
        frame: One row a curve: the columns of the curve scores, ``metric_class`` (one of
            :data:`CLASSES`), ``flagged``, and numbers of the curve's ``task_number`` and
            ``set_number``.
        left_out: Curves that are neither, by reason.
        threshold: Of the emergence score.
    """

    frame: pd.DataFrame
    left_out: dict[str, int]
    threshold: float

    @property
    def known(self) -> pd.DataFrame:
        """The rows of metrics whose class is known."""
        return self.frame[self.frame["metric_class"] != "unknown"]

    def counts(self, exposed: str = "sharp", other: str = "smooth") -> Floats:
        """Return counts of curves by class and flag, a row a task, see :func:`cluster_counts`."""
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
    flags: pd.Series[bool] | None = None,
) -> CurveFlags:
    """Choose the curves that can be flagged and say which are.

    Args:
        scores: Curve scores, from :func:`bigbench_meta.score_curves`.
        threshold: A curve with an emergence score above it is flagged.
        level: Which of a task's rows count, see :func:`bigbench_meta.select_level`.
        flat: A curve whose scores are all equal has no emergence score. It is left out, as in
            :func:`bigbench_meta.metrics_of_emergence`, or counts as not flagged.
        unknown: Curves of a metric of unknown type stand apart, or count as one of the classes
            (which bounds what knowing their type could change).
        flags: Flags by another rule, with the index of ``scores``; the threshold is not used then.

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
    _check_choice("flat", flat, get_args(Flat))
    _check_choice("unknown", unknown, get_args(Unknown))
    marked = scores.assign(flagged=flagged(scores, threshold) if flags is None else flags)
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


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{value!r}", where=name, hint=f"one of {', '.join(allowed)}")
