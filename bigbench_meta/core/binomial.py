"""Binomial proportions: exact tails, critical counts, and intervals that never have zero width.

All is vectorised over arrays of any shape that fit each other. Intervals take success counts that
are not whole: the mean of graded scores between 0 and 1 times their number. The variance of such a
score is at most that of a yes-or-no score with the same mean, so the intervals are then too wide
rather than too narrow.

References:
    Brown, Cai & DasGupta (2001), "Interval Estimation for a Binomial Proportion", Statistical
    Science 16, doi:10.1214/ss/1009213286. Wilson (1927), doi:10.1080/01621459.1927.10502953.
    Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import numpy as np
from scipy.special import betainc, betainccinv, betaincinv, ndtri

from bigbench_meta.core.checks import one_of, probability, within
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "MOST_EXAMPLES",
    "ROUNDING",
    "Interval",
    "Method",
    "clopper_pearson",
    "critical_count",
    "jeffreys",
    "known_size",
    "near_whole",
    "proportion_interval",
    "score_interval",
    "upper_tail",
    "wilson",
]

Method = Literal["wilson", "jeffreys", "clopper_pearson"]

MOST_EXAMPLES: Final = 1e12
"""No test set is larger; sums of tails lose their digits beyond."""

ROUNDING: Final = 1 + 1e-12
"""A tail that equals the level up to rounding counts as equal: 1 in 16 at 0.0625."""

# Results are published with few digits, so that a score times n is only nearly a whole number.
_NEAR_WHOLE: Final = 1e-6
# A mean times its n differs in its last digits from the whole number that was divided.
_LAST_DIGITS: Final = 1e-9


def upper_tail(count: Floats, n: Floats, rate: Floats) -> Floats:
    """Return P(X >= count) of a binomial X: the regularised incomplete beta function.

    Args:
        count: Whole numbers, any shape; at or below 0 the probability is 1, above n it is 0.
        n: Number of trials, of a shape that fits.
        rate: Probability of success, in [0, 1].

    Returns:
        Probabilities; NaN where an argument is.

    Examples:
        >>> upper_tail(np.array([2.0]), np.array([2.0]), np.array([0.5]))
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
    from scipy.stats import binom  # takes longer to import than the rest of this package

    largest = binom.isf(np.minimum(alpha * ROUNDING, 1.0), n, rate)
    return np.asarray(np.maximum(largest, 0.0) + 1, dtype=np.float64)


def near_whole(count: Floats) -> Floats:
    """Return counts, those that are nearly whole rounded.

    Examples:
        >>> near_whole(np.array([2.9999999, 2.9]))
        array([3. , 2.9])
    """
    nearest = np.rint(count)
    return np.where(np.abs(count - nearest) <= _NEAR_WHOLE, nearest, count)


def known_size(n: Floats) -> Floats:
    """Return sizes of test sets, NaN where they are below 1, not whole, or too large.

    Examples:
        >>> known_size(np.array([100.0, 0.0, -1.0, 1e18]))
        array([100.,  nan,  nan,  nan])
    """
    return np.where((n >= 1) & (n <= MOST_EXAMPLES) & (n == np.rint(n)), n, np.nan)


class Interval(NamedTuple):
    """Lower and upper ends, arrays of one shape."""

    low: Floats
    high: Floats


def wilson(successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""Return Wilson's score interval: the proportions that a two-sided z test does not reject.

    .. math:: \frac{x + z^2/2 \mp z \sqrt{x (n - x)/n + z^2/4}}{n + z^2}

    Its coverage is near the confidence on average and below it for some proportions.

    Args:
        successes: Number of successes x in [0, n], whole or not, any shape.
        n: Number of trials, a shape that fits.
        confidence: In (0, 1).

    Returns:
        Ends in [0, 1] that contain x / n; exactly 0 at x = 0 and 1 at x = n, but never both. NaN
        where either argument is NaN or n is 0.

    Raises:
        InputError: x is not in [0, n], n is negative or infinite, or the confidence is no share.

    References:
        Wilson (1927), doi:10.1080/01621459.1927.10502953.

    Examples:
        >>> low, high = wilson([0, 3], 10)
        >>> low.round(3), high.round(3)
        (array([0.   , 0.108]), array([0.278, 0.603]))
    """
    return proportion_interval(successes, n, confidence=confidence, method="wilson")


def jeffreys(successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""Return Jeffreys' equal-tailed interval, the posterior under a Beta(1/2, 1/2) prior.

    Its ends are the quantiles of Beta(x + 1/2, n - x + 1/2) at (1 ∓ confidence) / 2, moved
    outwards to x / n where they would leave it out, so that the lower is 0 at x = 0 and the upper 1
    at x = n.

    Args:
        successes: Number of successes x in [0, n], whole or not, any shape.
        n: Number of trials, a shape that fits.
        confidence: In (0, 1).

    Returns:
        As :func:`wilson`.

    Raises:
        InputError: As :func:`wilson`.

    References:
        Brown, Cai & DasGupta (2001), doi:10.1214/ss/1009213286, sec. 3 (the
        interval) and 4 (its ends at 0 and n).

    Examples:
        >>> low, high = jeffreys([0, 3], 10)
        >>> low.round(3), high.round(3)
        (array([0.   , 0.093]), array([0.217, 0.606]))
    """
    return proportion_interval(successes, n, confidence=confidence, method="jeffreys")


def clopper_pearson(successes: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> Interval:
    r"""Return Clopper and Pearson's interval: the proportions that no exact test rejects.

    Its ends are quantiles of Beta(x, n - x + 1) and of Beta(x + 1, n - x), 0 at x = 0 and 1 at
    x = n. Its coverage is at least the confidence, whatever the proportion.

    Args:
        successes: Number of successes x in [0, n], whole or not, any shape.
        n: Number of trials, a shape that fits.
        confidence: In (0, 1).

    Returns:
        As :func:`wilson`.

    Raises:
        InputError: As :func:`wilson`.

    References:
        Clopper & Pearson (1934), doi:10.1093/biomet/26.4.404.

    Examples:
        >>> low, high = clopper_pearson([0, 3], 10)
        >>> low.round(3), high.round(3)
        (array([0.   , 0.067]), array([0.308, 0.652]))
    """
    return proportion_interval(successes, n, confidence=confidence, method="clopper_pearson")


def proportion_interval(
    successes: ArrayLike,
    n: ArrayLike,
    *,
    confidence: float = 0.95,
    method: Method = "wilson",
) -> Interval:
    """Return an interval by a named method; see the functions of the same names.

    Args:
        successes: Number of successes x in [0, n], whole or not, any shape.
        n: Number of trials, a shape that fits.
        confidence: In (0, 1).
        method: ``wilson``, ``jeffreys`` or ``clopper_pearson``.

    Returns:
        As :func:`wilson`.

    Raises:
        InputError: As :func:`wilson`, or another method.

    Examples:
        >>> low, high = proportion_interval(0.5, 10, method="clopper_pearson")
        >>> round(float(low), 5), round(float(high), 3)
        (5e-05, 0.381)
    """
    one_of(method, get_args(Method), "method")
    x, size = _counts(successes, n)
    tail = (1 - probability(confidence, "confidence")) / 2
    ends = {"wilson": _wilson, "jeffreys": _jeffreys, "clopper_pearson": _clopper_pearson}[method]
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = ends(x, size, tail)
        share = x / size
    known = np.isfinite(share)
    return Interval(
        np.where(known, np.where(x > 0, np.minimum(low, share), 0.0), np.nan),
        np.where(known, np.where(x < size, np.maximum(high, share), 1.0), np.nan),
    )


def score_interval(
    score: ArrayLike,
    n: ArrayLike,
    *,
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    confidence: float = 0.95,
    method: Method = "wilson",
) -> Interval:
    """Return the interval of a mean of n scores, each between low and high.

    The score is taken as a proportion, (score - low) / (high - low), and its interval brought back.

    Args:
        score: Mean scores, any shape, in the unit of low and high.
        n: Number of scores in each mean.
        low: Smallest score that one example can have.
        high: Largest score that one example can have.
        confidence: In (0, 1).
        method: As :func:`proportion_interval`.

    Returns:
        Ends in [low, high] that contain the score. NaN where an argument is NaN or n is 0.

    Raises:
        InputError: A score is beyond low or high, low is not below high, or as :func:`wilson`.

    Examples:
        >>> score_interval(0.0, 2000, high=100.0).high.round(2)  # percent
        np.float64(0.19)
    """
    value, least, most, size = (
        within(a, -np.inf, np.inf, name)
        for name, a in (("score", score), ("low", low), ("high", high), ("n", n))
    )
    if np.any(least >= most):
        raise InputError(f"{low!r} is not below high {high!r}", where="low")
    share = (value - least) / (most - least)
    outside = (share < -_LAST_DIGITS) | (share > 1 + _LAST_DIGITS)
    if np.any(outside):
        wrong = np.broadcast_to(value, outside.shape)[outside][0]
        raise InputError(f"{wrong:g}, not from low {low!r} to high {high!r}", where="score")
    ends = proportion_interval(
        np.clip(share, 0, 1) * size, size, confidence=confidence, method=method
    )
    # Rounding must not move the ends to the wrong side of the score or beyond the range.
    return Interval(
        np.maximum(np.minimum(least + ends.low * (most - least), value), least),
        np.minimum(np.maximum(least + ends.high * (most - least), value), most),
    )


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    try:
        x, size = np.broadcast_arrays(
            np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"not numbers whose shapes match: {error}", where="successes or n"
        ) from error
    if np.any((size < 0) | np.isinf(size)):
        raise InputError(f"{size[(size < 0) | np.isinf(size)][0]}, not a count", where="n")
    allowed = _LAST_DIGITS * np.maximum(size, 1)
    wrong = (x < -allowed) | (x > size + allowed)
    if np.any(wrong):
        raise InputError(f"{x[wrong][0]} of n = {size[wrong][0]}", where="successes")
    return np.clip(x, 0, size), size


def _wilson(x: Floats, n: Floats, tail: float) -> tuple[Floats, Floats]:
    z = -float(ndtri(tail))
    high = (x + z**2 / 2 + z * np.sqrt(x * (1 - x / n) + z**2 / 4)) / (n + z**2)
    # The ends are the roots of a quadratic: their product loses no digits where x is small.
    return x / n * x / (n + z**2) / high, high


def _jeffreys(x: Floats, n: Floats, tail: float) -> tuple[Floats, Floats]:
    return _quantiles((x + 0.5, n - x + 0.5), (x + 0.5, n - x + 0.5), tail)


def _clopper_pearson(x: Floats, n: Floats, tail: float) -> tuple[Floats, Floats]:
    return _quantiles((x, n - x + 1), (x + 1, n - x), tail)


def _quantiles(
    low: tuple[Floats, Floats], high: tuple[Floats, Floats], tail: float
) -> tuple[Floats, Floats]:
    """Return the lower tail's end of one beta distribution and the upper tail's of another."""
    return (
        np.asarray(betaincinv(*low, tail), dtype=np.float64),
        np.asarray(betainccinv(*high, tail), dtype=np.float64),
    )
