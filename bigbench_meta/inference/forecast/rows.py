"""Which forecasts are made of a batch of curves, and how they are judged: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Which = Literal["every", "last"] | int

__all__ = [
    "FORECAST_STATUSES",
    "SKILL_STATUSES",
    "Forecasts",
    "Rows",
    "Scores",
    "plan_rows",
    "score_forecasts",
]

FORECAST_STATUSES: Final = (
    "ok", "no_interval", "too_few_points", "not_converged", "not_finite", "flat",
    "not_a_proportion", "undefined_score", "not_improving", "no_pair", "no_choices",
    "length_not_determined",
)  # fmt: skip
(
    OK, NO_INTERVAL, TOO_FEW_POINTS, NOT_CONVERGED, NOT_FINITE, FLAT, NOT_A_PROPORTION,
    UNDEFINED_SCORE, NOT_IMPROVING, NO_PAIR, NO_CHOICES, LENGTH_NOT_DETERMINED,
) = range(12)  # fmt: skip

SKILL_STATUSES: Final = ("ok", "perfect_persistence", "no_forecast")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Forecasts to be made: one row a curve, number of scales fitted, and scale forecast.

    Attributes:
        part: Which of the parts below each row belongs to; rows of a part follow each other.
        target: Point that is forecast, an index into the flat arrays.
        curve: Curve of each part.
        k: Smallest scales of it that are fitted.
        offsets: Of the curves.
    """

    part: Ints
    target: Ints
    curve: Ints
    k: Ints
    offsets: Ints

    @property
    def last(self) -> Ints:
        """Last point fitted, of each row."""
        return np.asarray((self.offsets[self.curve] + self.k - 1)[self.part])

    @property
    def horizon(self) -> Ints:
        """How many scales beyond the fitted ones each row forecasts."""
        return np.asarray(self.target - self.last)

    def fitted(self) -> tuple[Ints, Ints]:
        """Return the points that the parts are fitted to, part after part, and their offsets."""
        offsets = np.concatenate([[0], np.cumsum(self.k)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], self.k)
        return np.repeat(self.offsets[self.curve], self.k) + within, offsets

    def padded(self, values: Floats) -> tuple[Floats, Ints]:
        """Return a value of each row as a matrix with a row for each part, and each row's column.

        What a part does not have is NaN.
        """
        begins = np.searchsorted(self.part, np.arange(len(self.curve)))
        column = np.arange(len(self.part)) - begins[self.part]
        matrix = np.full((len(self.curve), int(column.max(initial=0)) + 1), np.nan)
        matrix[self.part, column] = values
        return matrix, column


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(value >= 1)


def plan_rows(offsets: Ints, which: Which, least: int) -> Rows:
    """Return the forecasts to be made.

    Args:
        offsets: Of the curves.
        which: ``every`` number of scales that can be fitted and leaves one to forecast, the
            ``last`` scale from all others, or a number of scales, from which all larger ones are
            forecast.
        least: Smallest number that can be fitted. A curve with fewer beside the last gets one row,
            the last scale from all others.

    Returns:
        The rows, in the order of the curves; none for a curve of fewer than two points, and for a
        number of scales none for a curve that has no more.

    Raises:
        InputError: ``which`` is something else.

    Examples:
        >>> import numpy as np
        >>> rows = plan_rows(np.array([0, 4, 6]), "every", 2)
        >>> rows.k[rows.part].tolist(), rows.target.tolist()
        ([2, 2, 3, 1], [2, 3, 3, 5])
    """
    if which not in ("every", "last") and not _is_count(which):
        raise InputError(f"{which!r} is not 'every', 'last' or a number of scales", where="k")
    lengths = np.diff(offsets)
    if which == "last":
        first, count = lengths - 1, np.ones_like(lengths)
    elif which == "every":
        first = np.minimum(np.full_like(lengths, least), lengths - 1)
        count = lengths - first
    else:
        first, count = np.full_like(lengths, which), np.ones_like(lengths)
    count = np.where((lengths >= 2) & (first < lengths), count, 0)
    curve = np.repeat(np.arange(len(lengths)), count)
    begins = np.cumsum(count) - count
    k = first[curve] + np.arange(len(curve)) - begins[curve]
    ahead = lengths[curve] - k
    part = np.repeat(np.arange(len(curve)), ahead)
    step = np.arange(len(part)) - np.repeat(np.cumsum(ahead) - ahead, ahead)
    return Rows(
        part=part, target=(offsets[curve] + k)[part] + step, curve=curve, k=k, offsets=offsets
    )


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What is forecast, one entry a row.

    Attributes:
        point: Point forecast.
        lower: Lower end of the forecast interval.
        upper: Upper end.
        p: Two-sided probability of a score as far out as the observed one.
        length: Tokens of a target, where the forecast goes by them; else NaN.
        shape: Index of the shape that the fitted scales like best, -1 for none.
        status: Index into :data:`FORECAST_STATUSES`.
    """

    point: Floats
    lower: Floats
    upper: Floats
    p: Floats
    length: Floats
    shape: Ints
    status: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How forecasts did, one entry a row; NaN where there is no forecast or no interval.

    Attributes:
        error: Forecast less observed.
        persistence_error: Last fitted score less observed.
        skill: 1 - |error| / |persistence error|.
        skill_status: Index into :data:`SKILL_STATUSES`.
        covered: 1 where the interval holds the observed score, else 0.
        interval_score: Width of the interval, and 2 / (1 - level) times the distance of an observed
            score outside.
        surprise: -log2 of p: bits of information against the forecast.
    """

    error: Floats
    persistence_error: Floats
    skill: Floats
    skill_status: NDArray[np.int8]
    covered: Floats
    interval_score: Floats
    surprise: Floats


def score_forecasts(forecasts: Forecasts, observed: Floats, last: Floats, level: float) -> Scores:
    """Judge forecasts by what was observed.

    Args:
        forecasts: The forecasts.
        observed: The score of each row's target.
        last: The score at the largest fitted scale: what persistence forecasts.
        level: Confidence of the intervals.

    References:
        Gneiting & Raftery (2007), doi:10.1198/016214506000001437, eq. 43 (interval score).
        Greenland (2019), doi:10.1080/00031305.2018.1529625 (p-values in bits).
    """
    error, persistence = forecasts.point - observed, last - observed
    missed = np.fmax(forecasts.lower - observed, 0) + np.fmax(observed - forecasts.upper, 0)
    known = ~np.isnan(forecasts.lower + forecasts.upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        skill = 1 - np.abs(error) / np.abs(persistence)
        surprise = -np.log2(forecasts.p)
    status = np.where(np.isnan(error), 2, np.where(persistence == 0, 1, 0)).astype(np.int8)
    return Scores(
        error=error,
        persistence_error=persistence,
        skill=np.where(status == 0, skill, np.nan),
        skill_status=status,
        covered=np.where(known, (missed == 0).astype(float), np.nan),
        interval_score=np.where(
            known, forecasts.upper - forecasts.lower + 2 / (1 - level) * missed, np.nan
        ),
        surprise=np.where(surprise == 0, 0.0, surprise),  # not -0
    )
