"""What a test set of n examples can detect: smallest accuracy, examples needed, power.

An accuracy below 1 / n is measured as 0 by most test sets of n examples.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, sec. 3, Fig. 4 and App. A.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import betaincinv, rel_entr

from bigbench_meta.core.binomial import MOST_EXAMPLES, ROUNDING, critical_count, upper_tail
from bigbench_meta.core.checks import within
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "detection_power",
    "exact_match_accuracy",
    "examples_needed",
    "size_from_which",
    "smallest_detectable",
]

# Elements searched at a time, so that memory does not grow with their number.
_BLOCK: Final = 4096
# A search beyond takes minutes: its steps grow with one over the difference to be shown.
_MOST_SEARCHED: Final = 1e9
# Into how many a block of sizes is cut when it holds both enough and too few.
_PARTS: Final = 8


def detection_power(
    accuracy: ArrayLike, n_examples: ArrayLike, *, chance: ArrayLike = 0.0, alpha: ArrayLike = 0.05
) -> Floats:
    r"""Return the probability that n examples show an accuracy to be above chance.

    The test is the exact one-sided binomial test: it rejects at c or more right answers, c being
    the smallest count with P(X >= c | chance) <= alpha. At a chance of 0 one right answer is
    impossible by chance, c = 1, and the power is the probability to see any,
    1 - (1 - accuracy)^n.

    Args:
        accuracy: True probability of a right answer, in [0, 1], any shape.
        n_examples: Size of the test set, whole, of a shape that fits, as are the others.
        chance: Probability of a right answer by chance, in [0, 1].
        alpha: Level of the test, in (0, 1).

    Returns:
        Probabilities; NaN where an argument is.

    Raises:
        InputError: A number is out of its range.

    References:
        The resolution 1 / n: Schaeffer et al. (2023), arXiv 2304.15004, App. A.1.

    Examples:
        >>> detection_power([0.001, 0.01], 200).round(3)
        array([0.181, 0.866])
        >>> detection_power(0.35, [50, 200], chance=0.25).round(3)
        array([0.378, 0.922])
    """
    size, level = _sizes(n_examples), _share(alpha, "alpha", open_=True)
    critical = critical_count(size, _share(chance, "chance"), level)
    return upper_tail(critical, size, _share(accuracy, "accuracy"))


def smallest_detectable(
    n_examples: ArrayLike,
    *,
    chance: ArrayLike = 0.0,
    power: ArrayLike = 0.95,
    alpha: ArrayLike = 0.05,
) -> Floats:
    r"""Return the smallest accuracy that n examples show to be above chance with a given power.

    The accuracy a at which :func:`detection_power` is the power: the quantile of
    Beta(c, n - c + 1) at it, c being the critical count. At a chance of 0 that is
    1 - (1 - power)^(1/n), about 3 / n for a power of 0.95.

    Args:
        n_examples: Size of the test set, whole, any shape.
        chance: Probability of a right answer by chance, in [0, 1], of a shape that fits.
        power: Probability to show it, in (0, 1).
        alpha: Level of the exact test, in (0, 1); it does not matter at a chance of 0.

    Returns:
        Accuracies above chance. NaN where an argument is, or where the test set is so small that
        all right answers would not be rare enough by chance.

    Raises:
        InputError: A number is out of its range.

    Examples:
        >>> smallest_detectable([50, 2000, 10000]).round(5)
        array([0.05816, 0.0015 , 0.0003 ])
        >>> smallest_detectable(2000, chance=0.25).round(4)
        np.float64(0.2827)
    """
    size, level = _sizes(n_examples), _share(alpha, "alpha", open_=True)
    guess, wanted = _share(chance, "chance"), _share(power, "power", open_=True)
    critical = critical_count(size, guess, level)
    # P(X >= c) is a beta distribution's share below the rate, so the rate is a quantile of it.
    rate = betaincinv(np.where(critical <= size, critical, np.nan), size - critical + 1, wanted)
    # A power below the level is had at chance itself.
    return np.asarray(np.maximum(rate, guess))[()]


def examples_needed(
    accuracy: ArrayLike,
    *,
    chance: ArrayLike = 0.0,
    power: ArrayLike = 0.95,
    alpha: ArrayLike = 0.05,
) -> Floats:
    r"""Return how many examples show an accuracy to be above chance with a given power.

    The power of the exact test is a saw-tooth: it falls wherever one more example raises the
    critical count. So this is the smallest n from which on the power suffices at *every* size, not
    the first size at which it happens to. At a chance of 0 there are no teeth and it is
    log(1 - power) / log(1 - accuracy), rounded up.

    Args:
        accuracy: True probability of a right answer, in [0, 1], any shape.
        chance: Probability of a right answer by chance, in [0, 1], of a shape that fits.
        power: Probability to show it, in (0, 1).
        alpha: Level of the exact test, in (0, 1); it does not matter at a chance of 0.

    Returns:
        Whole numbers; infinite where the accuracy is not above chance, and NaN where an argument is
        or where more than some 10^9 examples are needed to distinguish it from a chance above 0.

    Raises:
        InputError: A number is out of its range.

    Examples:
        >>> examples_needed([0.1, 0.001, 0.00001])
        array([2.90000e+01, 2.99500e+03, 2.99572e+05])
        >>> examples_needed(0.3, chance=0.25, power=0.8)
        np.float64(522.0)
    """
    arrays = np.broadcast_arrays(
        _share(accuracy, "accuracy"),
        _share(chance, "chance"),
        _share(power, "power", open_=True),
        _share(alpha, "alpha", open_=True),
    )
    rate, guess, wanted, level = (np.ravel(array) for array in arrays)
    needed = np.where(rate <= guess, np.inf, np.nan)
    at_zero = (guess == 0) & (rate > 0)
    needed[at_zero] = _until_seen(rate[at_zero], wanted[at_zero])
    needed[np.isnan(wanted + level)] = np.nan
    searched = np.flatnonzero((guess > 0) & (rate > guess) & ~np.isnan(wanted + level))
    for start in range(0, len(searched), _BLOCK):
        block = searched[start : start + _BLOCK]
        needed[block] = size_from_which(rate[block], guess[block], wanted[block], level[block])
    return needed.reshape(arrays[0].shape)[()]


def _until_seen(rate: Floats, power: Floats) -> Floats:
    """Return the smallest n with 1 - (1 - rate)^n >= power."""
    with np.errstate(divide="ignore"):
        miss = np.log1p(-rate)
    estimate = np.maximum(np.ceil(np.log1p(-power) / miss), 1.0)
    # The quotient may be rounded across a whole number.
    fewer = np.maximum(estimate - 1, 1.0)
    return np.where(-np.expm1(fewer * miss) >= power / ROUNDING, fewer, estimate)


def size_from_which(rate: Floats, chance: Floats, power: Floats, alpha: Floats) -> Floats:
    """Return the smallest n such that the exact test has the power at this and every larger n.

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
        return upper_tail(count, size, rate[which]) * ROUNDING >= power[which]

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


def exact_match_accuracy(token_error: ArrayLike, n_tokens: ArrayLike) -> Floats:
    """Return the accuracy of answers that count only if all their tokens are right.

    Each token is wrong with the same probability, whatever the others: (1 - error)^L. Its logarithm
    is linear in L, so the examples needed to see it grow exponentially with the answer's length.

    Args:
        token_error: Probability that a token is wrong, in [0, 1], any shape.
        n_tokens: Number of tokens L of the answer, at least 1, of a shape that fits.

    Returns:
        Accuracies in [0, 1].

    Raises:
        InputError: A number is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> accuracy = exact_match_accuracy(0.5, [1, 5, 10])
        >>> accuracy, examples_needed(accuracy)
        (array([0.5       , 0.03125   , 0.00097656]), array([   5.,   95., 3067.]))
    """
    tokens = within(n_tokens, 1, np.inf, "n_tokens")
    return np.asarray((1 - _share(token_error, "token_error")) ** tokens)[()]


def _share(values: ArrayLike, where: str, *, open_: bool = False) -> Floats:
    return within(values, 0.0, 1.0, where, open_=open_)


def _sizes(n_examples: ArrayLike) -> Floats:
    sizes = within(n_examples, 1, MOST_EXAMPLES, "n_examples")
    whole = np.isnan(sizes) | (sizes == np.rint(sizes))
    if not np.all(whole):
        raise InputError(f"{sizes[~whole].flat[0]:g} is not whole", where="n_examples")
    return sizes
