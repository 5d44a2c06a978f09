"""Exact binomial tails, critical counts and power, vectorised; used by power and by wei."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import betainc, betaincinv, ndtri, rel_entr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "MOST_EXAMPLES",
    "at_least",
    "critical_count",
    "detectable",
    "known_size",
    "near_whole",
    "size_from_which",
]

MOST_EXAMPLES: Final = 1e12
"""No test set is larger; sums of tails lose their digits beyond."""

# A tail that equals the level up to rounding counts as equal: 1 in 16 at 0.0625.
_ROUNDING: Final = 1 + 1e-12
# A search beyond takes minutes: its steps grow with one over the difference to be shown.
_MOST_SEARCHED: Final = 1e9
# Into how many a block of sizes is cut when it holds both enough and too few.
_PARTS: Final = 8
# Results are published with few digits, and a score times n comes out beside a whole number.
_NEAR_WHOLE: Final = 1e-6


def at_least(count: Floats, n: Floats, rate: Floats) -> Floats:
    """Return P(X >= count) of a binomial X: the regularised incomplete beta function.

    Args:
        count: Whole numbers, any shape; at or below 0 the probability is 1, above n it is 0.
        n: Number of trials, of a shape that fits.
        rate: Probability of success, in [0, 1].

    Returns:
        Probabilities; NaN where an argument is.

    Examples:
        >>> at_least(np.array([2.0]), np.array([2.0]), np.array([0.5]))
        array([0.25])
    """
    inside = (count > 0) & (count <= n)
    tail = betainc(np.where(inside, count, 1.0), np.where(inside, n - count + 1, 1.0), rate)
    return np.where(
        np.isnan(count + n + rate), np.nan, np.where(inside, tail, np.where(count > n, 0.0, 1.0))
    )


def critical_count(n: Floats, rate: Floats, alpha: Floats) -> Floats:
    """Return the smallest count c with P(X >= c) <= alpha.

    Args:
        n: Number of trials, whole, at most :data:`MOST_EXAMPLES`, any shape.
        rate: Probability of success under the hypothesis tested, in [0, 1], of a shape that fits.
        alpha: Level of the test, in (0, 1).

    Returns:
        Whole numbers in [1, n + 1], where n + 1 says that no count is so rare. NaN where an
        argument is.

    Examples:
        >>> critical_count(np.array([4.0, 5.0]), np.array(0.5), np.array(0.05))
        array([5., 5.])
    """
    n, rate, alpha = np.broadcast_arrays(n, rate, alpha)
    unknown = np.isnan(n + rate + alpha)
    n, rate, alpha = (
        np.where(unknown, neutral, a) for neutral, a in ((0.0, n), (0.5, rate), (0.5, alpha))
    )
    low, high = np.zeros(n.shape), n + 1.0  # P = 1 is too much, P = 0 is not
    # The normal approximation, to begin the bisection near its end.
    spread = np.sqrt(n * rate * (1 - rate))
    guess = np.floor(n * rate - spread * ndtri(alpha))
    for probe in (guess - 1, guess + 3):
        low, high = _narrowed(np.clip(probe, low, high), low, high, n, rate, alpha)
    while np.any(high - low > 1):
        low, high = _narrowed(np.floor((low + high) / 2), low, high, n, rate, alpha)
    return np.where(unknown, np.nan, high)


def detectable(n: Floats, chance: Floats, power: Floats, alpha: Floats) -> Floats:
    """Return the smallest rate at which the exact test against chance has the power.

    P(X >= c) is a beta distribution's share below the rate, so the rate is a quantile of it.

    Args:
        n: Number of trials, whole, at most :data:`MOST_EXAMPLES`, any shape.
        chance: Probability of success under the hypothesis tested, of a shape that fits.
        power: Probability to reject, in (0, 1).
        alpha: Level of the test, in (0, 1).

    Returns:
        Rates of at least chance; NaN where an argument is, or where no count rejects.

    Examples:
        >>> detectable(np.array([2.0, 200]), np.array(0.0), np.array(0.75), np.array(0.05)).round(4)
        array([0.5   , 0.0069])
    """
    critical = critical_count(n, chance, alpha)
    possible = critical <= n
    rate = betaincinv(np.where(possible, critical, np.nan), n - critical + 1, power)
    # A power below the level is had at chance itself.
    return np.asarray(np.maximum(rate, chance))


def _narrowed(
    probe: Floats, low: Floats, high: Floats, n: Floats, rate: Floats, alpha: Floats
) -> tuple[Floats, Floats]:
    rare = at_least(probe, n, rate) <= alpha * _ROUNDING
    return np.where(rare, low, np.maximum(low, probe)), np.where(rare, probe, high)


def size_from_which(rate: Floats, chance: Floats, power: Floats, alpha: Floats) -> Floats:
    """Return the smallest n from which on the exact test has the power at every size.

    The power rises with n while the critical count stays and falls where that rises: a saw-tooth.
    Beyond a bound of Chernoff's there are no teeth below the power. Up to it, blocks of sizes are
    searched together: fewest trials with the largest critical count bound the power of a block from
    below, so that most are passed as a whole and the rest is cut.

    Args:
        rate: Probability of success, shape (k,), each above its chance.
        chance: Probability under the hypothesis tested, shape (k,), in (0, 1).
        power: Probability to reject, shape (k,), in (0, 1).
        alpha: Level, shape (k,), in (0, 1).

    Returns:
        Whole numbers; NaN where the bound is beyond 10^9.

    Examples:
        >>> one = np.ones(1)
        >>> size_from_which(0.5 * one, 0.25 * one, 0.8 * one, 0.05 * one)
        array([28.])
    """
    bound = _chernoff_size(rate, chance, power, alpha)
    failing = np.zeros(len(rate))  # largest size found that has too little power
    found = np.flatnonzero(bound <= _MOST_SEARCHED)
    which, first, last = found, np.ones(len(found)), bound[found]

    def enough(size: Floats, count: Floats) -> NDArray[np.bool_]:
        return at_least(count, size, rate[which]) * _ROUNDING >= power[which]

    while len(which):
        critical = critical_count(last, chance[which], alpha[which])
        np.maximum.at(failing, which, np.where(enough(last, critical), 0.0, last))
        open_ = ~enough(first, critical) & (first < last) & (last > failing[which])
        which, first, last = _cut(which[open_], first[open_], last[open_])
    return np.where(bound <= _MOST_SEARCHED, failing + 1, np.nan)


def _cut(which: Ints, first: Floats, last: Floats) -> tuple[Ints, Floats, Floats]:
    """Cut each block into up to eight."""
    size = np.ceil((last - first + 1) / _PARTS)
    starts = (first[:, None] + size[:, None] * np.arange(_PARTS)).ravel()
    ends = np.minimum(starts + np.repeat(size, _PARTS) - 1, np.repeat(last, _PARTS))
    some = starts <= ends
    return np.repeat(which, _PARTS)[some], starts[some], ends[some]


def _chernoff_size(rate: Floats, chance: Floats, power: Floats, alpha: Floats) -> Floats:
    """Return a size at which and beyond which the power suffices, by Chernoff's inequality.

    For any q between chance and rate, P(X >= nq) <= exp(-n KL(q, chance)) under chance, and
    P(X <= nq) <= exp(-n KL(q, rate)) under the rate: both small enough, the critical count is at
    most nq rounded up and is missed rarely enough.
    """
    with np.errstate(divide="ignore", over="ignore"):
        between = np.linspace(0.02, 0.98, 49)[:, None]
        q = chance + (rate - chance) * between
        by_level = -np.log(alpha) / _divergence(q, chance)
        by_power = -np.log1p(-power) / _divergence(q, rate)
        # A hundredth more for digits lost where rate and chance are close.
        return np.asarray(np.ceil(1.01 * np.maximum(by_level, by_power).min(axis=0)) + 1)


def _divergence(q: Floats, p: Floats) -> Floats:
    return np.maximum(rel_entr(q, p) + rel_entr(1 - q, 1 - p), 0.0)


def near_whole(count: Floats) -> Floats:
    """Return counts, those beside a whole number moved to it.

    Examples:
        >>> near_whole(np.array([2.9999999, 2.9]))
        array([3. , 2.9])
    """
    nearest = np.rint(count)
    return np.where(np.abs(count - nearest) <= _NEAR_WHOLE, nearest, count)


def known_size(n: Floats) -> Floats:
    """Return sizes of test sets, NaN for what can be none: below 1, not whole, or too large.

    Examples:
        >>> known_size(np.array([100.0, 0.0, -1.0, 1e18]))
        array([100.,  nan,  nan,  nan])
    """
    return np.where((n >= 1) & (n <= MOST_EXAMPLES) & (n == np.rint(n)), n, np.nan)
