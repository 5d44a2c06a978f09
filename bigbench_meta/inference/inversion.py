"""Intervals of emergence score and linearity by inverting tests, on plain arrays.

A value of a statistic is in the interval unless the observed value would be unusually large or
small if it were true. That takes a whole curve of expected scores with that value: the least
favourable family has one for each, leaves the rest of the curve as it was observed, and has one
parameter, which makes the denominator larger and so the statistic smaller. Emergence score and
linearity are alike here: the signed range over the root of the median or of the mean squared step.
``docs/uncertainty.md`` says why, and how often the intervals contain the truth.

References:
    Carpenter (1999), "Test inversion bootstrap confidence intervals",
    doi:10.1111/1467-9868.00169. DiCiccio & Romano (1990), "Nonparametric confidence limits by
    resampling methods and least favorable families", doi:10.2307/1403474.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from scipy.special import ndtri

from bigbench_meta.core.checks import whole, within
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.resampling import PointNoise, of_curves, replicated_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from bigbench_meta.inference.resampling import CurveReplicates, Denominator, StepStatistics

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "STATUSES",
    "BendFamily",
    "RaggedIntervals",
    "StepFamily",
    "inverted_intervals",
    "pooled",
]

STATUSES: Final = ("ok", "no_sampling_error", "flat", "too_few_scales")
OK, NO_SAMPLING_ERROR, FLAT, TOO_FEW_SCALES = range(4)

_STATISTICS: Final[tuple[tuple[str, Denominator], ...]] = (
    ("emergence", "median"), ("linearity", "mean"),
)  # fmt: skip

# Smaller errors, in units of the range, are those of floats.
_LEAST_ERROR: Final = 1e-9
# Halvings of the way between a parameter that is kept and one that is not.
_HALVINGS: Final = 7
# Distance from the observed parameter at which the search begins, in standard errors.
_REACH: Final = 6.0
# How often, and by what factor, the search goes further.
_FURTHER: Final = (4.0, 16.0)
# The range is no smaller than any step, so no statistic is between -1 and 1.
_LEAST: Final = 1.0
# Where data vary less than this share of replicates of the smoothest curve, their noise is
# overstated.
_LITTLE: Final = 0.1
# Scores of counts are often equal, but only up to rounding.
_ROUNDING: Final = 1e-9
# Parameters at which the statistic is computed to find the one of a threshold.
_GRID: Final = 24
# How often steps are compared again after others have been set: joining points moves neighbours.
_ROUNDS: Final = 4
_TINY: Final = 1e-300
# Digits of steps that count, in units of the range.
_DIGITS: Final = 9


@dataclass(frozen=True, kw_only=True)
class RaggedIntervals:
    """Intervals of a batch of curves; NaN where the status is not ``ok``.

    Attributes:
        emergence: Interval of E, shape (m, 2), ends may be infinite.
        linearity: Interval of linearity, shape (m, 2).
        p_above: Confidence that E is above the threshold, shape (m,).
        share_above: Share of replicates with an E above the threshold.
        status: Index into :data:`STATUSES`.
    """

    emergence: Floats
    linearity: Floats
    p_above: Floats
    share_above: Floats
    status: NDArray[np.int8]


def inverted_intervals(
    values: Floats,
    offsets: Ints,
    noise: PointNoise,
    *,
    level: float = 0.95,
    threshold: float = 100.0,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
    errors: Mapping[int, Floats] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RaggedIntervals:
    """Return intervals of emergence score and linearity of a ragged batch of curves.

    Args:
        values: Finite scores of all curves, shape (total,), up is better, ascending scale in each.
        offsets: Where each curve begins and the last ends, shape (m + 1,).
        noise: Sampling distribution of each point.
        level: Confidence of the intervals.
        threshold: Of the emergence score.
        n_boot: Number of replicates, at least 19: of the curve, and of each of the some thirty
            curves of a least favourable family that a search visits.
        seed: Seed or generator. A curve's result depends on it and on the curve alone.
        min_scales: Curves with fewer points get NaN and ``too_few_scales``.
        errors: Replicated errors of the scores of some curves, by their number, shape (scales, at
            least n_boot): in place of draws from the noise, which still says how large they are.
        progress: Called with (curves done, curves).

    Returns:
        The intervals, arrays of shape (m,) or (m, 2).

    Raises:
        InputError: The offsets do not fit, or an option is out of range.

    Examples:
        >>> y = np.array([0.02, 0.01, 0.02, 0.015, 0.9])
        >>> n, ones = np.full(5, 2000.0), np.ones(5)
        >>> noise = PointNoise.of(y, n, np.nan * n, 0 * ones, ones)
        >>> found = inverted_intervals(y, np.array([0, 5]), noise)
        >>> found.emergence.round()
        array([[ 56., 401.]])
    """
    within(level, 0, 1, "level", open_=True)
    whole(n_boot, 19, "n_boot")
    whole(min_scales, 0, "min_scales")
    batch = Ragged.of(offsets, values=values)
    status = _statuses(values, batch, noise, max(min_scales, 2))
    curves = np.flatnonzero(status == OK)
    first, second = np.random.default_rng(seed).integers(1 << 62, size=2).tolist()
    above, share, same_direction = (np.full(len(batch), np.nan) for _ in range(3))
    for rows, block in replicated_blocks(
        values, batch, noise, curves, size=n_boot, seed=first, errors=errors
    ):
        found = block.about(block.centre, "median")
        moving = np.maximum(np.count_nonzero(found.ranges, axis=1), 1)
        same_direction[rows] = (found.ranges > 0).sum(axis=1) / moving
        share[rows] = _share_above(found.ratio("median"), threshold, block.sign)
    ends = {name: np.full((len(batch), 2), np.nan) for name, _ in _STATISTICS}
    done = len(batch) - len(curves)
    for rows, block in replicated_blocks(
        values, batch, noise, curves, size=n_boot, seed=second, errors=errors
    ):
        either = 1 - same_direction[rows] > (1 - level) / 2
        for name, denominator in _STATISTICS:
            low, high = invert(block, denominator, level=level, either=either)
            ends[name][rows, 0] = np.where(block.sign > 0, low, -high)
            ends[name][rows, 1] = np.where(block.sign > 0, high, -low)
        above[rows] = share[rows]
        if threshold >= 1:
            sure = confidence_above(block, threshold, level=level) * same_direction[rows]
            above[rows] = np.where(block.sign > 0, sure, share[rows])
        done += len(rows)
        if progress:
            progress(done, len(batch))
    return RaggedIntervals(**ends, p_above=above, share_above=share, status=status)


def _statuses(
    values: Floats, batch: Ragged, noise: PointNoise, min_scales: int
) -> NDArray[np.int8]:
    constant = batch.reduce(np.maximum, values) == batch.reduce(np.minimum, values)
    too_few = batch.lengths < min_scales
    return np.select(
        [too_few, constant, batch.any(np.isnan(noise.error))],
        [TOO_FEW_SCALES, FLAT, NO_SAMPLING_ERROR],
        OK,
    ).astype(np.int8)


def _share_above(replicates: Floats, threshold: float, sign: Floats) -> Floats:
    above = np.where(sign[:, None] > 0, replicates > threshold, replicates < -threshold)
    scored = (~np.isnan(replicates)).sum(axis=1)
    share: Floats = above.sum(axis=1) / np.maximum(scored, 1)
    return share


def invert(
    block: CurveReplicates, denominator: Denominator, *, level: float, either: Bools
) -> tuple[Floats, Floats]:
    """Return both ends of the interval of a statistic, in the observed direction.

    A value is kept where, if it is true, neither a statistic at least as large as the observed one,
    whatever its direction, nor one at most as large is rarer than (1 - level) / 2. Where the data
    vary less than even the smoothest curve with this noise would, the observed statistic is
    replaced by its median there: such data only show that the noise is smaller than stated.

    Args:
        block: The curves.
        denominator: Of the statistic.
        level: Confidence.
        either: Curves whose direction is not certain: the interval contains both.
    """
    tail = (1 - level) / 2
    family = _family(block, denominator, level)
    observed, replaced, at_most = _against_smoothest(block, denominator, family)

    def kept(side: int, own: Floats) -> Callable[[Floats], Bools]:
        return lambda parameter: (
            _tail_shares(block.about(family.at(parameter), denominator), denominator, own)[side]
            >= tail
        )

    def statistic(parameter: Floats) -> Floats:
        return np.abs(of_curves(family.at(parameter)).ratio(denominator))

    low = statistic(_largest_kept(family, kept(0, replaced)))
    # Where no curve of the family is excluded, the limits of the score allow no other.
    low = np.where(low > _LEAST, low, _LEAST)
    # Without an end: the largest value is not excluded.
    open_ = at_most >= tail
    largest = np.inf if denominator == "median" else block.shape[1] - 1.0
    high = np.full(len(observed), largest)
    if not open_.all():
        smallest = _smallest_kept(family, kept(1, observed), ~open_)
        end = np.where(smallest > 0, np.maximum(statistic(smallest), _LEAST), largest)
        high = np.where(open_, high, end)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.where(either, -high, low), high


def confidence_above(block: CurveReplicates, threshold: float, *, level: float) -> Floats:
    """Return the confidence that the emergence score, in the observed direction, is above a value.

    It is one minus the p-value of the hypothesis that the score is at most that value; so it is
    above 1 - (1 - level) / 2 about where the interval at that level lies above the threshold.

    Args:
        block: The curves.
        threshold: At least 1.
        level: Of the step family, see :func:`invert`.
    """
    family = _family(block, "median", level)
    _, replaced, _ = _against_smoothest(block, "median", family)
    found = block.about(family.at(_parameter_of(family, threshold)), "median")
    confidence: Floats = 1 - _tail_shares(found, "median", replaced)[0]
    return confidence


def _against_smoothest(
    block: CurveReplicates, denominator: Denominator, family: _Family
) -> tuple[Floats, Floats, Floats]:
    """Compare the observed curves with the smoothest ones of their family.

    Returns:
        The observed denominator; the same, replaced by its median over replicates of the smoothest
        curve where nine of ten of these vary more; and the share of the replicates whose statistic
        is at most the observed one.
    """
    observed = of_curves(block.scores).denominator(denominator)
    smoothest = block.about(family.at(np.zeros(len(observed))), denominator)
    at_least, at_most = _tail_shares(smoothest, denominator, observed)
    with np.errstate(divide="ignore"):
        usual = np.median(1 / np.abs(smoothest.ratio(denominator)), axis=1)
    return observed, np.where(at_least < _LITTLE, usual, observed), at_most


def _parameter_of(family: _Family, threshold: float) -> Floats:
    """Return the parameter whose curve has an emergence score, or the last one tried."""
    last = np.sqrt(family.observed + _REACH * family.error * _FURTHER[-1])
    before, found = np.zeros_like(last), last**2
    settled = np.zeros(len(last), dtype=bool)
    above = np.full(len(last), np.inf)
    for share in np.linspace(0, 1, _GRID)[1:]:
        here = (last * share) ** 2
        now = np.abs(of_curves(family.at(here)).ratio("median"))
        crossed = ~settled & (now <= threshold)
        # 1 / E is nearly linear in the step.
        way = (1 / threshold - 1 / above) / np.maximum(1 / now - 1 / above, 1e-300)
        found = np.where(crossed, before + np.clip(way, 0, 1) * (here - before), found)
        settled |= crossed
        before, above = here, now
    return found


class _Family(Protocol):
    """Curves indexed by one parameter: the statistic is largest at 0 and decreases from there.

    Attributes:
        observed: Parameter of the observed curve, one a curve.
        error: About how far the noise moves it.
    """

    observed: Floats
    error: Floats

    def at(self, parameter: Floats) -> Floats:
        """Return the curve with a parameter, one a curve, shape (curves, scales)."""
        ...


def _family(block: CurveReplicates, denominator: Denominator, level: float) -> _Family:
    low, high = (side.reshape(block.shape)[:, :1] for side in (block.noise.low, block.noise.high))
    centre, error = block.centre, np.maximum(block.error, _LEAST_ERROR)
    if denominator == "median":
        return StepFamily(centre, error, low, high)
    return BendFamily(pooled(centre, error, (1 - level) / 2), error, low, high)


def _tail_shares(
    found: StepStatistics, denominator: Denominator, observed: Floats
) -> tuple[Floats, Floats]:
    """Return the shares of replicates whose statistic is at least and at most the observed one.

    Constant replicates have no statistic and do not count; where all are constant, nothing is rare.
    """
    own = found.denominator(denominator)
    limit = observed[:, None] * np.abs(found.ranges)
    at_least = own <= limit * (1 + _ROUNDING)
    at_most = own >= limit * (1 - _ROUNDING)
    scored = found.ranges != 0
    number = scored.sum(axis=1)
    shares = [
        np.where(number > 0, (side & scored).sum(axis=1) / np.maximum(number, 1), 1.0)
        for side in (at_least, at_most)
    ]
    return shares[0], shares[1]


def _largest_kept(family: _Family, kept: Callable[[Floats], Bools]) -> Floats:
    """Return the parameter beyond which a statistic as large as observed is too rare."""
    near = np.maximum(family.observed - _REACH * family.error, 0.0)
    inside = np.where(kept(near), near, 0.0) if near.any() else near
    outside = family.observed + _REACH * family.error
    endless = kept(outside)
    for factor in _FURTHER:
        if endless.any():
            inside = np.where(endless, outside, inside)
            further = family.observed + factor * _REACH * family.error
            outside = np.where(endless, further, outside)
            endless = endless & kept(outside)
    return _between(kept, inside, outside)


def _smallest_kept(family: _Family, kept: Callable[[Floats], Bools], wanted: Bools) -> Floats:
    """Return the parameter up to which a statistic as small as observed is too rare, 0 if none.

    Of curves that are not wanted it is 0: their replicates do not move, which takes no time.
    """
    near = np.where(wanted, np.maximum(family.observed - _REACH * family.error, 0.0), 0.0)
    outside = np.where(kept(near), 0.0, near) if near.any() else near
    far = np.where(wanted, family.observed + _REACH * family.error, 0.0)
    return _between(kept, far, outside)


def _between(kept: Callable[[Floats], Bools], inside: Floats, outside: Floats) -> Floats:
    """Bisect between accepted and rejected parameters; return the rejected end."""
    inside, outside = np.sqrt(inside), np.sqrt(outside)  # finer near 0
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        good = kept(middle**2)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return outside**2


class StepFamily:
    """Curves whose median step is given: the least favourable family of the emergence score.

    For a median step below that of the centre, the smaller half of the steps are cut down to it;
    for one above, the larger half are raised to it. Points between such steps move together, to
    where they fit the centre best.

    Attributes:
        observed: Median step of the centre.
        error: Largest standard error of a step.

    Args:
        centre: Scores, shape (curves, scales).
        error: Standard errors of the scores, shape (curves, scales).
        low: Least possible scores, shape (curves, 1).
        high: Largest possible scores.
    """

    def __init__(self, centre: Floats, error: Floats, low: Floats, high: Floats) -> None:
        self._centre, self._weight, self._low, self._high = centre, error**-2, low, high
        self.observed: Floats = of_curves(centre).denominator("median")
        self.error: Floats = np.hypot(error[:, 1:], error[:, :-1]).max(axis=1)
        self._steps = np.diff(centre, axis=1)
        # Steps equal up to rounding are in the order of the scales.
        size = np.abs(self._steps).round(_DIGITS)
        self._rank = size.argsort(axis=1, kind="stable").argsort(axis=1)

    def at(self, step: Floats) -> Floats:
        """Return the curve with a median step, one a curve, shape (curves, scales)."""
        steps, rank, n = self._steps, self._rank, self._steps.shape[1]
        down = (step <= self.observed)[:, None]
        chosen = np.where(down, rank <= n // 2, rank >= (n - 1) // 2)
        target = np.where(steps < 0, -step[:, None], step[:, None])
        fixed, curve = np.zeros_like(chosen), self._centre
        for number in range(_ROUNDS):
            # Along the observed direction of each step; one that has turned is beyond its target.
            now = np.diff(curve, axis=1)
            along = np.where(steps < 0, -now, now)
            beyond = np.where(down, np.abs(now) > step[:, None], along < step[:, None])
            new = fixed | (chosen & beyond)
            if number and np.array_equal(new, fixed):
                break
            fixed = new
            curve = self._joined(fixed, target)
        return curve

    def _joined(self, fixed: Bools, target: Floats) -> Floats:
        """Return the curve nearest to the centre with the fixed steps, within the limits."""
        m, n = self._centre.shape
        group = _groups(fixed)
        climbed = np.zeros((m, n))
        np.cumsum(np.where(fixed, target, 0.0), axis=1, out=climbed[:, 1:])
        # Steps that the limits have no room for are cut, all alike.
        least, most = _group_ends(climbed, group)
        room = (self._high - self._low) / np.maximum(most - least, _TINY)
        climbed *= np.minimum(room.min(axis=1, keepdims=True), 1.0)
        curve = climbed + _group_means(self._centre - climbed, self._weight, group)
        # A group that has left the limits is moved as a whole, so that its steps remain.
        least, most = _group_ends(curve, group)
        curve += np.maximum(self._low - least, 0.0) - np.maximum(most - self._high, 0.0)
        return np.clip(curve, self._low, self._high)


class BendFamily:
    """Curves from the straightest one of the same range on: the family of linearity.

    Attributes:
        observed: Size of the bends of the centre.
        error: Largest standard error of a score, in the same unit.

    Args:
        centre: Scores without their insignificant steps, see :func:`pooled`.
        error: Standard errors, shape (curves, scales).
        low: Least possible scores, shape (curves, 1).
        high: Largest possible scores.
    """

    def __init__(self, centre: Floats, error: Floats, low: Floats, high: Floats) -> None:
        m, n = centre.shape
        rows, scale = np.arange(m), np.arange(n)
        ends = np.sort(np.stack([centre.argmin(axis=1), centre.argmax(axis=1)]), axis=0)
        first, last = centre[rows, ends[0]], centre[rows, ends[1]]
        way = (scale - ends[0][:, None]) / np.maximum(ends[1] - ends[0], 1)[:, None]
        self._line = first[:, None] + (last - first)[:, None] * np.clip(way, 0, 1)
        bends = centre - self._line
        unit = np.sqrt(np.mean(error**2, axis=1))
        size = np.sqrt(np.mean(bends**2, axis=1))
        # A straight centre has no bends to make larger: then alternate ones.
        straight = size < 1e-3 * unit
        zigzag = np.where(scale % 2, 1.0, -1.0)
        shape = np.where(straight[:, None], zigzag, bends / np.where(straight, 1.0, size)[:, None])
        self._bends = shape * unit[:, None]
        self._low, self._high = low, high
        self.observed: Floats = size / unit
        self.error: Floats = error.max(axis=1) / unit

    def at(self, amount: Floats) -> Floats:
        """Return the curve with an amount of bends, in standard errors, one a curve."""
        curve: Floats = np.clip(self._line + amount[:, None] * self._bends, self._low, self._high)
        return curve


def pooled(centre: Floats, error: Floats, level: float) -> Floats:
    """Return curves without steps that the noise explains.

    Neighbours are joined to their mean, the two least different first, until all that remain differ
    significantly, by Bonferroni's correction for the number of steps.

    Args:
        centre: Scores, shape (curves, scales).
        error: Standard error of each.
        level: Level of significance of a curve.

    Examples:
        >>> y = np.array([[0.10, 0.12, 0.11, 0.90, 0.88]])
        >>> pooled(y, np.full((1, 5), 0.02), 0.05).round(2)
        array([[0.11, 0.11, 0.11, 0.89, 0.89]])
    """
    m, n = centre.shape
    limit, weight = -float(ndtri(level / 2 / (n - 1))), error**-2
    joined, rows, curve = np.zeros((m, n - 1), dtype=bool), np.arange(m), centre
    for _ in range(n - 1):
        group = _groups(joined)
        total = np.bincount(group, weight.ravel(), minlength=m * n)[group].reshape(m, n)
        curve = _group_means(centre, weight, group)
        apart = np.abs(np.diff(curve, axis=1)) / np.sqrt(1 / total[:, 1:] + 1 / total[:, :-1])
        apart[joined] = np.inf
        nearest = apart.argmin(axis=1)
        near = apart[rows, nearest] < limit
        if not near.any():
            return curve
        joined[rows[near], nearest[near]] = True
    return _group_means(centre, weight, _groups(joined))


def _groups(joined: Bools) -> Ints:
    """Return the number of the group of each point, flat, from whether neighbours are joined."""
    m, steps = joined.shape
    group = np.zeros((m, steps + 1), dtype=np.int64)
    np.cumsum(~joined, axis=1, out=group[:, 1:])
    group += np.arange(m)[:, None] * (steps + 1)
    return group.ravel()


def _group_ends(values: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Return the least and the largest value in the group of each point."""
    # Groups follow each other.
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    times = np.diff(begins, append=group.size)
    least, most = (
        np.repeat(ends.reduceat(values.ravel(), begins), times).reshape(values.shape)
        for ends in (np.minimum, np.maximum)
    )
    return least, most


def _group_means(values: Floats, weight: Floats, group: Ints) -> Floats:
    total = np.bincount(group, weight.ravel(), minlength=values.size)
    summed = np.bincount(group, (weight * values).ravel(), minlength=values.size)
    means: Floats = (summed[group] / total[group]).reshape(values.shape)
    return means
