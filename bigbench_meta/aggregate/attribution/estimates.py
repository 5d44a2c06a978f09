"""A statistic with its interval, its method, and the reason if it is missing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ESTIMATE_COLUMNS", "MIN_TASKS", "STATUSES", "Estimate", "exponential",
    "frame_of", "wald",
]  # fmt: skip

STATUSES: Final = {
    "ok": "computed",
    "sparse": "computed, but it rests on very few tasks",
    "zero_cell": "a cell of the table is empty: the ratio is 0 or infinite",
    "too_few_clusters": "too few tasks for an interval that takes tasks as the units",
    "no_spread": "all tasks agree, so that their variation cannot be estimated",
    "no_data": "no curve, or no pair of curves, to compute it from",
    "one_class": "all curves are of one class of metric",
    "no_variation": "all curves are flagged, or none is",
    "separation": "the columns predict the flags exactly, so that no finite odds ratio fits best",
    "collinear": "the class of metric follows from the other columns",
    "not_converged": "the fit did not converge",
    "too_large": "too much data for the exact computation",
}
"""What each status means. ``ok`` and ``sparse`` have an interval, ``zero_cell`` may have one."""

MIN_TASKS: Final = 5
"""Tasks of each class that an interval over tasks needs; simulated coverage is kept from there."""


_MOST_EXPONENT: Final = 709.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic.

    Attributes:
        statistic: What is estimated.
        method: How its interval was got.
        estimate: The number; it may be 0 or infinite, NaN where there is none.
        low: Lower limit, NaN where there is none.
        high: Upper limit, likewise.
        p_value: Two-sided, of no difference; NaN where the method gives none.
        n: Curves (or pairs of curves, where pairs are compared) that it rests on.
        n_tasks: Tasks that these belong to.
        status: One of :data:`STATUSES`.
        message: A sentence on the status or on how to read the number; may be empty.
    """

    statistic: str
    method: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    n: int = 0
    n_tasks: int = 0
    status: str = "ok"
    message: str = ""

    def refused(self, status: str, message: str) -> Estimate:
        """Return it with the status and the sentence that say what is missing and why."""
        return replace(self, status=status, message=message)

    def exponential(self) -> Estimate:
        """Return an estimate of a log ratio as one of the ratio."""
        number, low, high = map(exponential, (self.estimate, self.low, self.high))
        return replace(self, estimate=number, low=low, high=high)


def exponential(value: float) -> float:
    """Return exp, infinite where it overflows."""
    return math.inf if value > _MOST_EXPONENT else math.exp(value)


ESTIMATE_COLUMNS: Final = tuple(field.name for field in fields(Estimate))
"""Columns of a table of estimates."""


def frame_of(estimates: Iterable[Estimate]) -> pd.DataFrame:
    """Return estimates as a frame, one row each, with the columns of :data:`ESTIMATE_COLUMNS`."""
    return pd.DataFrame([asdict(one) for one in estimates], columns=list(ESTIMATE_COLUMNS))


def wald(
    centre: float, standard_error: float, *, df: float, confidence: float
) -> tuple[float, float, float]:
    """Return lower limit, upper limit and two-sided p-value of a number on a line.

    Args:
        centre: The number, on the scale on which it is about normal (the log of a ratio).
        standard_error: Its standard error. NaN gives NaN, and so does 0: an interval without
            width would claim too much.
        df: Degrees of freedom of Student's t; infinite for the normal distribution.
        confidence: Of the interval, in (0, 1).

    Examples:
        >>> [round(value, 3) for value in wald(1.0, 0.5, df=math.inf, confidence=0.95)]
        [0.02, 1.98, 0.046]
    """
    from scipy import stats

    if not (math.isfinite(centre) and 0 < standard_error < math.inf and df > 0):
        return math.nan, math.nan, math.nan
    half = float(stats.t.ppf((1 + confidence) / 2, df)) * standard_error
    p_value = 2 * float(stats.t.sf(abs(centre) / standard_error, df))
    return centre - half, centre + half, p_value
