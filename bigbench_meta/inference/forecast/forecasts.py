"""Shared by all forecasters: forecasts to make, predictive distributions, and their scores.

Arrays in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Which = Literal["every", "last"] | int

__all__ = [
    "FORECAST_STATUSES",
    "SKILL_STATUSES",
    "ForecastStatus",
    "Forecasts",
    "Predictive",
    "Rows",
    "Scores",
    "plan_rows",
    "pooled",
    "score_forecasts",
    "summarised",
]


class ForecastStatus(IntEnum):
    """Why there is no forecast, none with an interval, or none that says anything."""

    OK = 0
    NO_INTERVAL = 1
    TOO_FEW_POINTS = 2
    NOT_CONVERGED = 3
    NOT_FINITE = 4
    FLAT = 5
    NOT_A_PROPORTION = 6
    UNDEFINED_SCORE = 7
    NOT_IMPROVING = 8
    NO_PAIR = 9
    NO_CHOICES = 10
    LENGTH_NOT_DETERMINED = 11
    NOT_PREDICTABLE = 12


FORECAST_STATUSES: Final = tuple(status.name.lower() for status in ForecastStatus)
SKILL_STATUSES: Final = ("ok", "perfect_persistence", "no_forecast")

# An interval of more than this share of what can be gained predicts nothing.
_WIDEST: Final = 0.5
# Most evaluations of a distribution to find a quantile; halving alone would take as many.
_MOST: Final = 60
# A probability of this much less or more is the same.
_ROUNDING: Final = 1e-16
_LARGEST: Final = 1e150
_SMALLEST: Final = 1e-300


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Forecasts to be made: one row per curve, number of scales fitted, and scale forecast.

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

    def fitted(self) -> tuple[Ints, Ragged]:
        """Return the points that the parts are fitted to, part after part, as a batch."""
        return Ragged(self.offsets).take(self.curve, self.k)

    def of_parts(self, chosen: Bools) -> Rows:
        """Return the rows of some parts."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.part]
        return Rows(
            part=number[self.part[kept]], target=self.target[kept], curve=self.curve[chosen],
            k=self.k[chosen], offsets=self.offsets,
        )  # fmt: skip

    def padded(self, values: Floats) -> tuple[Floats, Ints]:
        """Return a value of each row as a matrix with a row for each part, and each row's column.

        What a part does not have is NaN.
        """
        begins = np.searchsorted(self.part, np.arange(len(self.curve)))
        column = np.arange(len(self.part)) - begins[self.part]
        matrix = np.full((len(self.curve), int(column.max(initial=0)) + 1), np.nan)
        matrix[self.part, column] = values
        return matrix, column


def plan_rows(offsets: Ints, which: Which, least: int) -> Rows:
    """Return the forecasts to be made.

    Args:
        offsets: Of the curves.
        which: ``every`` number of scales that can be fitted and leaves one to forecast, the
            ``last`` scale from all others, or a number of scales, from which all larger ones are
            forecast.
        least: Smallest number that can be fitted. A curve with fewer, not counting the last, gets
            one row: the last scale from all others.

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
    if which not in ("every", "last") and (
        isinstance(which, bool) or not isinstance(which, int | np.integer) or which < 1
    ):
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
class Predictive:
    """Distributions of r scores, each a mixture of s components.

    A score beyond a bound is put on the bound, which so holds a probability of its own.

    Attributes:
        mean: Centre of each component, shape (r, s).
        sd: Its scale, likewise; NaN where the noise is not known.
        df: Degrees of freedom, likewise; inf for normal ones.
        weight: Of each component; rows add up to 1, or are NaN.
        low: Least possible score, shape (r,), -inf for none.
        high: Largest possible score, inf for none.
    """

    mean: Floats
    sd: Floats
    df: Floats
    weight: Floats
    low: Floats
    high: Floats

    @property
    def point(self) -> Floats:
        """Median, shape (r,); without noise the weighted mean of the centres, within the bounds.

        The median has the least expected absolute error, by which forecasts are judged, and lies
        within every central interval; the mean of a mixture need not.

        References:
            Gneiting (2011), "Making and Evaluating Point Forecasts",
            doi:10.1198/jasa.2011.r10138, sec. 3.
        """
        inside = np.clip(self.mean, self.low[:, None], self.high[:, None])
        # 0 x NaN: a component without weight may have no centre.
        mean = np.where(self.weight > 0, self.weight * inside, self._without_weights).sum(axis=1)
        median = self.quantile(0.5)
        return np.asarray(np.where(np.isnan(median), mean, median))

    def quantile(self, level: float) -> Floats:
        """Return a quantile of each distribution, shape (r,), NaN without noise."""
        with np.errstate(invalid="ignore", over="ignore"):
            ends = self.mean + self._sd * stdtrit(self.df, level)
            ends = np.where(self.weight > 0, np.clip(ends, -_LARGEST, _LARGEST), np.nan)
            # Each component has its own quantile, and the mixture's lies between the outermost.
            below = np.fmin.reduce(ends, axis=1, initial=np.inf)
            above = np.fmax.reduce(ends, axis=1, initial=-np.inf)
            known = np.isfinite(below + above + self._without_noise)
        # One that knows next to nothing may reach so far that no score is found in between.
        below, above = (np.clip(end, self.low, self.high) for end in (below, above))
        found = _root(lambda y: self._tail(y, 1.0) - level, below, above)
        return np.where(known, found, np.nan)

    def two_sided(self, y: Floats) -> Floats:
        """Return the smaller tail that begins at y, doubled and at most 1, shape (r,)."""
        below = np.where(y >= self.high, 1.0, self._tail(y, 1.0))
        above = np.where(y <= self.low, 1.0, self._tail(y, -1.0))
        return np.asarray(np.minimum(2 * np.minimum(below, above), 1.0))

    @property
    def _without_weights(self) -> Floats:
        """NaN where a row has no weights, else 0."""
        return np.where(np.isnan(self.weight).any(axis=1), np.nan, 0.0)[:, None]

    @property
    def _without_noise(self) -> Floats:
        """NaN where a component that counts has no known noise, else 0."""
        counts = self.weight > 0
        unknown = (counts & np.isnan(self.mean + self.sd)).any(axis=1) | ~counts.any(axis=1)
        return np.where(unknown, np.nan, 0.0)

    @property
    def _sd(self) -> Floats:
        return np.clip(self.sd, _SMALLEST, _LARGEST)

    def _tail(self, y: Floats, sign: float) -> Floats:
        """Return the probability of a score below y, or of one above it where the sign is -1.

        One less the other would lose all probabilities below 1e-16.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            z = sign * (y[:, None] - self.mean) / self._sd
            # Five times as quick as t distributions of infinite degrees of freedom.
            normal = np.asarray(np.isinf(self.df).all(axis=0))
            share = np.empty_like(z)
            share[:, normal] = ndtr(z[:, normal])
            share[:, ~normal] = stdtr(self.df[:, ~normal], z[:, ~normal])
        return np.asarray(np.where(self.weight > 0, self.weight * share, 0.0).sum(axis=1)) + (
            self._without_noise
        )


def _root(f: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Return where increasing functions are 0, from low to high or the nearer of both, shape (r,).

    By inverse quadratic interpolation where three points promise that it helps, else by halving.

    References:
        Chandrupatla (1997), doi:10.1016/S0965-9978(96)00051-8.
    """
    (a, b), part = (low, high), np.full(low.shape, 0.5)
    found, sought = low, np.ones(low.shape, dtype=bool)
    with np.errstate(all="ignore"):
        f_a, f_b = f(a), f(b)
        a, b = np.where(f_b <= 0, b, a), np.where(f_a >= 0, a, b)
        for _ in range(_MOST):
            new = a + part * (b - a)
            f_new = f(new)
            # The newest point is a, that of the other sign b, and c the one before.
            same = np.sign(f_new) == np.sign(f_a)
            c, f_c = np.where(same, a, b), np.where(same, f_a, f_b)
            b, f_b = np.where(same, b, a), np.where(same, f_b, f_a)
            a, f_a = new, f_new
            best = np.where(np.abs(f_a) < np.abs(f_b), a, b)
            least = (2 * np.spacing(np.abs(best)) + _SMALLEST) / np.abs(b - a)
            least = np.fmin(least, 0.5)
            # What is found stays, however long others take.
            found = np.where(sought, best, found)
            sought &= (least < 0.5) & (np.abs(f_a) > _ROUNDING)
            if not sought.any():
                break
            place, height = (a - b) / (c - b), (f_a - f_b) / (f_c - f_b)
            helps = (height**2 < place) & ((1 - height) ** 2 < 1 - place)
            part = f_a / (f_b - f_a) * f_c / (f_b - f_c)
            part += (c - a) / (b - a) * f_a / (f_c - f_a) * f_b / (f_c - f_b)
            part = np.clip(np.where(helps, part, 0.5), least, 1 - least)
    return found


def pooled(one: Predictive, other: Predictive, share: float) -> Predictive:
    """Return the linear pool of two distributions of each score; of one alone where it is alone.

    Where the first is right the pool's intervals hold almost as often as its own, whatever the
    other says: a tail of 2.5% of a pool of which it is nine tenths is at most 2.8% of it.

    Args:
        one: Distributions, of which a row may have none (weights of NaN).
        other: Likewise, with the same bounds.
        share: Of the other where both are there, in [0, 1].

    References:
        Stone (1961), "The Opinion Pool", doi:10.1214/aoms/1177704873.
    """
    has_one, has_other = (~np.isnan(d.weight).any(axis=1, keepdims=True) for d in (one, other))
    part = np.where(has_one & has_other, share, np.where(has_other, 1.0, 0.0))
    weights = (
        np.where(has_one, one.weight, 0.0) * (1 - part),
        np.where(has_other, other.weight, 0.0) * part,
    )
    weight = np.concatenate(weights, axis=1)
    return Predictive(
        mean=np.concatenate([one.mean, other.mean], axis=1),
        sd=np.concatenate([one.sd, other.sd], axis=1),
        df=np.concatenate([one.df, other.df], axis=1),
        weight=np.where(has_one | has_other, weight, np.nan),
        low=one.low,
        high=one.high,
    )


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What is forecast, one entry a row.

    Attributes:
        point: Point forecast.
        lower: Lower end of the forecast interval.
        upper: Upper end.
        p: Two-sided probability of a score as far out as the observed one.
        length: Units of a target, where the forecast uses them; else NaN.
        shape: Index of the shape with the largest weight at the fitted scales, -1 for none.
        status: Index into :data:`FORECAST_STATUSES`.
        width: Width of the interval as a share of what can be gained; NaN where not known.
    """

    point: Floats
    lower: Floats
    upper: Floats
    p: Floats
    length: Floats
    shape: Ints
    status: NDArray[np.int8]
    width: Floats


def summarised(
    distribution: Predictive,
    observed: Floats,
    level: float,
    status: NDArray[np.int8],
    *,
    gain: Floats,
    blind: Bools | None = None,
    shape: Ints | None = None,
) -> Forecasts:
    """Return point, interval and surprise of each distribution.

    Args:
        distribution: Predictive distributions of r scores.
        observed: What was observed, shape (r,).
        level: Confidence of the intervals.
        status: Index into :data:`FORECAST_STATUSES`, ``ok`` where nothing is known against the
            forecast.
        gain: Best score less that of guessing, or the range of the metric; NaN for none.
        blind: Where the fitted scores say nothing of what comes. Given, those forecasts, and
            intervals of more than half of ``gain``, have the status ``not_predictable``: their
            numbers stand, and are not judged.
        shape: Index of the best shape, -1 for none.

    Returns:
        The forecasts, without a length.
    """
    tail = (1 - level) / 2
    point, lower, upper = (
        distribution.point, distribution.quantile(tail), distribution.quantile(1 - tail),
    )  # fmt: skip
    width = (upper - lower) / gain
    status = status.copy()
    status[(status == ForecastStatus.OK) & ~np.isfinite(point)] = ForecastStatus.NOT_FINITE
    status[(status == ForecastStatus.OK) & np.isnan(lower + upper)] = ForecastStatus.NO_INTERVAL
    if blind is not None:
        empty = (status == ForecastStatus.OK) & (blind | (width > _WIDEST))
        status[empty] = ForecastStatus.NOT_PREDICTABLE
    known = status == ForecastStatus.OK
    stands = known | (status == ForecastStatus.NOT_PREDICTABLE)
    return Forecasts(
        point=np.where(stands | (status == ForecastStatus.NO_INTERVAL), point, np.nan),
        lower=np.where(stands, lower, np.nan),
        upper=np.where(stands, upper, np.nan),
        p=np.where(known, distribution.two_sided(observed), np.nan),
        length=np.full(len(point), np.nan),
        shape=np.full(len(point), -1) if shape is None else shape,
        status=status,
        width=np.where(stands, width, np.nan),
    )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracy of forecasts, one entry a row; NaN where there is no forecast or no interval.

    Attributes:
        error: Forecast less observed.
        persistence_error: Last fitted score less observed.
        skill: 1 - |error| / |persistence error|.
        skill_status: Index into :data:`SKILL_STATUSES`.
        covered: 1 where the interval holds the observed score, else 0; NaN too where it is too wide
            to predict anything.
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
    judged = forecasts.status != ForecastStatus.NOT_PREDICTABLE
    with np.errstate(divide="ignore", invalid="ignore"):
        skill = 1 - np.abs(error) / np.abs(persistence)
        surprise = -np.log2(forecasts.p)
    status = np.where(np.isnan(error), 2, np.where(persistence == 0, 1, 0)).astype(np.int8)
    return Scores(
        error=error,
        persistence_error=persistence,
        skill=np.where(status == 0, skill, np.nan),
        skill_status=status,
        covered=np.where(known & judged, (missed == 0).astype(float), np.nan),
        interval_score=np.where(
            known, forecasts.upper - forecasts.lower + 2 / (1 - level) * missed, np.nan
        ),
        surprise=np.where(surprise == 0, 0.0, surprise),  # not -0
    )
