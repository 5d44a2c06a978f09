"""Intervals of emergence score and linearity by inversion of tests, a block of curves at a time.

Emergence score and linearity are alike here: the signed range over the root of a median or of a
mean of squared steps. Curves are those of a :class:`Block`, whose observed range is 1, and a family
of worlds has a parameter that makes the denominator larger, and so the statistic smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.inference.least_favourable import BendWorlds, StepWorlds, pooled
from bigbench_meta.inference.replicates import of_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.inference.replicates import Block, Replicates

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = ["Denominator", "confidence_above", "invert", "value"]

Denominator = Literal["middle", "mean"]

# Smaller errors, in units of the range, are those of floats.
_LEAST_ERROR: Final = 1e-9
# Halvings of the way between a parameter that is kept and one that is not.
_HALVINGS: Final = 7
# Ways from the observed parameter at which the search begins, in standard errors.
_REACH: Final = 6.0
# How often, and by what factor, the search goes further.
_FURTHER: Final = (4.0, 16.0)
# The range is no smaller than any step, so no statistic is between -1 and 1.
_LEAST: Final = 1.0
# Rarer than this, less variation than in the smoothest world is taken for an overstated error.
_QUIET: Final = 0.1
# Scores of counts are often equal, but only up to rounding.
_ROUNDING: Final = 1e-9
# Places at which the value of a world is computed to find the one of a threshold.
_PLACES: Final = 24


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Worlds of one parameter each: 0 the largest value of the statistic, more the less."""

    at: Callable[[Floats], Floats]
    observed: Floats
    reach: Floats


def value(found: Replicates, denominator: Denominator) -> Floats:
    """Return the statistic of curves: infinite over a denominator of 0, NaN on a constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = found.ranges / np.sqrt(getattr(found, denominator))
    return ratio


def invert(
    block: Block, denominator: Denominator, *, level: float, flips: Bools
) -> tuple[Floats, Floats]:
    """Return both ends of the interval of a statistic, in the observed direction.

    A value is kept where, in its world, neither a statistic at least as large as the observed one,
    whatever its direction, nor one at most as large is rarer than (1 - level) / 2. Where the data
    vary less than even the smoothest world with this noise would, the observed statistic is
    replaced by its median there: nothing can be told from them but that the noise is smaller than
    it is said to be.

    Args:
        block: The curves.
        denominator: ``middle`` for the emergence score, ``mean`` for linearity.
        level: Confidence.
        flips: Curves whose direction is not certain: the interval contains both.
    """
    tail = (1 - level) / 2
    family = _family(block, denominator, level)
    observed, quiet, at_most = _against_smoothest(block, denominator, family)
    low = _low_end(block, denominator, family, quiet, tail)
    # Without an end: the largest value is not excluded.
    open_ = at_most >= tail
    largest = np.inf if denominator == "middle" else block.shape[1] - 1.0
    high = np.full(len(observed), largest)
    if not open_.all():
        high = np.where(open_, high, _high_end(block, denominator, family, observed, tail, largest))
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.where(flips, -high, low), high


def confidence_above(block: Block, threshold: float, *, level: float) -> Floats:
    """Return the confidence that the emergence score, in the observed direction, is above a value.

    It is one minus the p-value of the hypothesis that the score is at most that value; so it is
    above 1 - (1 - level) / 2 about where the interval at that level lies above the threshold.

    Args:
        block: The curves.
        threshold: At least 1.
        level: Of the step family, see :func:`invert`.
    """
    family = _family(block, "middle", level)
    _, quiet, _ = _against_smoothest(block, "middle", family)
    found = block.replicates(family.at(_place_of(family, threshold)))
    confidence: Floats = 1 - _shares(found, "middle", quiet)[0]
    return confidence


def _against_smoothest(
    block: Block, denominator: Denominator, family: _Family
) -> tuple[Floats, Floats, Floats]:
    """Return the observed denominator, the same of quiet curves replaced, and what is at most it.

    The last is the share of replicates, in the world with the largest value, whose statistic is at
    most the observed one.
    """
    observed = np.sqrt(getattr(of_rows(block.scores), denominator))
    smoothest = block.replicates(family.at(np.zeros(len(observed))))
    at_least, at_most = _shares(smoothest, denominator, observed)
    with np.errstate(divide="ignore"):
        usual = np.median(1 / np.abs(value(smoothest, denominator)), axis=1)
    quiet = np.where(at_least < _QUIET, usual, observed)
    return observed, quiet, at_most


def _place_of(family: _Family, threshold: float) -> Floats:
    """Return the parameter whose world has a value, or the last one tried."""
    last = np.sqrt(family.observed + _REACH * family.reach * _FURTHER[-1])
    before, place = np.zeros_like(last), last**2
    settled = np.zeros(len(last), dtype=bool)
    above = np.full(len(last), np.inf)
    for share in np.linspace(0, 1, _PLACES)[1:]:
        here = (last * share) ** 2
        now = np.abs(value(of_rows(family.at(here)), "middle"))
        crossed = ~settled & (now <= threshold)
        # 1 / E is nearly linear in the step.
        way = (1 / threshold - 1 / above) / np.maximum(1 / now - 1 / above, 1e-300)
        place = np.where(crossed, before + np.clip(way, 0, 1) * (here - before), place)
        settled |= crossed
        before, above = here, now
    return place


def _family(block: Block, denominator: Denominator, level: float) -> _Family:
    m, n = block.shape
    low, high = (side.reshape(m, n)[:, :1] for side in (block.noise.low, block.noise.high))
    centre, error = block.centre, np.maximum(block.error, _LEAST_ERROR)
    if denominator == "middle":
        steps = StepWorlds(centre=centre, weight=error**-2, low=low, high=high)
        return _Family(
            at=steps.at,
            observed=np.sqrt(of_rows(centre).middle),
            reach=np.hypot(error[:, 1:], error[:, :-1]).max(axis=1),
        )
    bends = BendWorlds(pooled(centre, error**-2, (1 - level) / 2), error, low, high)
    return _Family(at=bends.at, observed=bends.observed, reach=bends.reach)


def _shares(found: Replicates, denominator: Denominator, observed: Floats) -> tuple[Floats, Floats]:
    """Return the shares of replicates whose statistic is at least and at most the observed one.

    Constant replicates have no statistic and do not count; where all are constant, nothing is rare.
    """
    own = np.sqrt(getattr(found, denominator))
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


def _low_end(
    block: Block, denominator: Denominator, family: _Family, observed: Floats, tail: float
) -> Floats:
    """Return the value of the world from which on one as large as observed is too rare."""

    def kept(place: Floats) -> Bools:
        return _shares(block.replicates(family.at(place)), denominator, observed)[0] >= tail

    near = np.maximum(family.observed - _REACH * family.reach, 0.0)
    inside = np.where(kept(near), near, 0.0) if near.any() else near
    outside = family.observed + _REACH * family.reach
    endless = kept(outside)
    for factor in _FURTHER:
        if endless.any():
            inside = np.where(endless, outside, inside)
            further = family.observed + factor * _REACH * family.reach
            outside = np.where(endless, further, outside)
            endless = endless & kept(outside)
    outside = _between(kept, inside, outside)
    end = np.abs(value(of_rows(family.at(outside)), denominator))
    # Where no world is left in which it is: the limits of the score allow no other.
    return np.where(end > _LEAST, end, _LEAST)


def _high_end(
    block: Block, denominator: Denominator, family: _Family, observed: Floats, tail: float,
    largest: float,
) -> Floats:  # fmt: skip
    """Return the value of the world up to which one as small as observed is too rare."""

    def kept(place: Floats) -> Bools:
        return _shares(block.replicates(family.at(place)), denominator, observed)[1] >= tail

    near = np.maximum(family.observed - _REACH * family.reach, 0.0)
    outside = np.where(kept(near), 0.0, near) if near.any() else near
    outside = _between(kept, family.observed + _REACH * family.reach, outside)
    end = np.abs(value(of_rows(family.at(outside)), denominator))
    return np.where(outside > 0, np.maximum(end, _LEAST), largest)


def _between(kept: Callable[[Floats], Bools], inside: Floats, outside: Floats) -> Floats:
    """Return the parameter nearest to those that are kept at which the search was outside."""
    inside, outside = np.sqrt(inside), np.sqrt(outside)  # finer near 0
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        good = kept(middle**2)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return outside**2
