"""Multiple-choice metrics: scores of examples from the log-probabilities of their options.

The options of all examples lie in flat arrays, example after example, and ``options`` says where
each one begins (:class:`bigbench_meta.core.ragged.Ragged`). ``log_probs`` are natural logarithms,
``values`` the worth of each option: 1 for a right one and 0 for a wrong one, or anything between.
``log_p`` are the same after :func:`normalised`: the options of an example have a probability of 1
together. Every function returns one score an example, NaN where it is not defined. Definitions
are those of BIG-bench 1.0.0 (``bigbench/api/task_metrics.py``) where it has one.

References:
    Srivastava et al. (2022), Beyond the Imitation Game, arXiv 2206.04615, sec. 2.1.
    Brier (1950), Verification of forecasts expressed in terms of probability, doi
    10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    Gneiting and Raftery (2007), Strictly proper scoring rules, doi 10.1198/016214506000001437.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "brier_score",
    "brier_score_per_option",
    "chosen_option",
    "chosen_option_brier",
    "log_likelihood",
    "log_likelihood_any",
    "multiple_choice_grade",
    "normalised",
    "probability",
    "weighted_log_likelihood",
    "weighted_probability",
]


def normalised(options: Ragged, log_probs: Floats) -> Floats:
    """Return log-probabilities that sum to 1 over the options of each example.

    Args:
        options: Where the options of each example are.
        log_probs: Of each option, in nats, on any common scale; -inf is allowed.

    Returns:
        Log-probabilities of the same shape; NaN for an example without a finite one.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> np.exp(normalised(Ragged(np.array([0, 2])), np.log([0.1, 0.3]))).round(4)
        array([0.25, 0.75])
    """
    return log_probs - log_likelihood_any(options, log_probs)[options.curve]


def log_likelihood_any(options: Ragged, log_probs: Floats) -> Floats:
    """Return the log of the summed probability of all options, in nats.

    Where the options are several right answers, this is BIG-bench's ``log_likelihood``.

    Args:
        options: Where the options of each example are.
        log_probs: Absolute log-probability of each option.

    Returns:
        One an example, -inf to 0; NaN where none of its log-probabilities is finite.
    """
    top = options.reduce(np.maximum, log_probs)
    top[~np.isfinite(top)] = np.nan
    with np.errstate(invalid="ignore"):
        shares = np.exp(log_probs - top[options.curve])
    return np.asarray(top + np.log(options.reduce(np.add, shares)))


def chosen_option(options: Ragged, log_probs: Floats) -> Ints:
    """Return the position of the most probable option of each example, -1 where there is none.

    Options that tie are chosen from as in BIG-bench, by a hash of the log-probabilities: always the
    same one, but not always the first.

    Args:
        options: Where the options of each example are.
        log_probs: Of each option, any common scale.
    """
    top = options.reduce(np.maximum, log_probs)
    is_top = log_probs == top[options.curve]
    chosen = np.full(len(options), -1, dtype=np.int64)
    places = np.flatnonzero(is_top)
    example = options.curve[places]
    chosen[example[::-1]] = places[::-1]  # the first of each, where several tie for now
    for one in np.flatnonzero(np.bincount(example, minlength=len(options)) > 1):
        begin, end = options.offsets[one : one + 2]
        number = int(sha256(log_probs[begin:end].tobytes()).hexdigest(), 16)
        tied = begin + np.flatnonzero(is_top[begin:end])
        chosen[one] = tied[number % len(tied)]
    return chosen


def multiple_choice_grade(options: Ragged, log_probs: Floats, values: Floats) -> Floats:
    """Return the worth of the most probable option of each example: 0 to 1.

    Args:
        options: Where the options of each example are.
        log_probs: Of each option.
        values: Worth of each option.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> options = Ragged(np.array([0, 2, 4]))
        >>> multiple_choice_grade(options, np.log([0.6, 0.4, 0.2, 0.8]), np.array([1.0, 0, 1, 0]))
        array([1., 0.])
    """
    return _of(chosen_option(options, log_probs), values)


def brier_score(options: Ragged, log_p: Floats, values: Floats) -> Floats:
    r"""Return the multi-class Brier score of each example: 0 to 2, lower is better.

    :math:`\sum_k (p_k - y_k)^2` with the probabilities p normalised over the options and the worths
    y normalised likewise. Strictly proper: no other forecast than the truth has a better expected
    score (Brier 1950; Gneiting & Raftery 2007, sec. 4.1).

    Args:
        options: Where the options of each example are.
        log_p: Log-probability of each option, normalised.
        values: Worth of each option; NaN where those of an example do not sum to more than 0.

    Examples:
        >>> from bigbench_meta.core.ragged import Ragged
        >>> options = Ragged(np.array([0, 2]))
        >>> brier_score(options, np.log([0.75, 0.25]), np.array([1.0, 0.0]))
        array([0.125])
    """
    p, y = np.exp(log_p), _shares(options, values)
    return options.reduce(np.add, (p - y) ** 2)


def brier_score_per_option(options: Ragged, log_p: Floats, values: Floats) -> Floats:
    r"""Return BIG-bench's Brier score of each example, *summed* over its options; lower is better.

    :math:`\sum_k y_k (1 - p_k)^2 + (1 - y_k) p_k^2`. BIG-bench divides the sum over all examples by
    the number of all their options (``calibration_multiple_choice_brier_score``), so an example
    with more options has more weight. With one right option this is the multi-class Brier score.

    Args:
        options: Where the options of each example are.
        log_p: Log-probability of each option, normalised.
        values: Worth of each option, normalised here; all 0 stays all 0, as in BIG-bench.
    """
    p = np.exp(log_p)
    total = options.reduce(np.add, values)
    y = values / np.where(total == 0, 1.0, total)[options.curve]
    return options.reduce(np.add, y * (1 - p) ** 2 + (1 - y) * p**2)


def chosen_option_brier(options: Ragged, log_p: Floats, values: Floats) -> Floats:
    """Return the squared difference of the chosen option's probability and worth: 0 to 1.

    Lower is better. Not proper: only the option with the largest probability counts, so a forecast
    can win by spreading the others. It is what the LASS project publishes for BIG-bench.

    Args:
        options: Where the options of each example are.
        log_p: Log-probability of each option, normalised.
        values: Worth of each option.
    """
    chosen = chosen_option(options, log_p)
    p = _of(chosen, np.exp(log_p))
    return np.asarray((p - _of(chosen, values)) ** 2)


def log_likelihood(options: Ragged, log_p: Floats, values: Floats) -> Floats:
    """Return the log-probability of the right options, normalised over all options: -inf to 0.

    Strictly proper where one option is right. Of several right options the probabilities are added.

    Args:
        options: Where the options of each example are.
        log_p: Log-probability of each option, normalised.
        values: Worth of each option; right are those of the largest worth, if that is above 0.
    """
    right = _right(options, values)
    n_right = options.count(right)
    if np.all(n_right == 1):
        return log_p[right]
    found = log_likelihood_any(options, np.where(right, log_p, -np.inf))
    # All right options may have probability 0: minus infinity, and no missing value.
    known = ~options.any(np.isnan(log_p))
    return np.where(n_right > 0, np.where(np.isnan(found) & known, -np.inf, found), np.nan)


def probability(options: Ragged, log_p: Floats, values: Floats) -> Floats:
    """Return the probability of the right options, normalised over all options: 0 to 1."""
    return np.exp(log_likelihood(options, log_p, values))


def weighted_log_likelihood(options: Ragged, log_probs: Floats, values: Floats) -> Floats:
    """Return the log-probabilities of the options weighted by their worth; BIG-bench's metric.

    BIG-bench calls it ``weighted_log_probabilities``. An option without worth does not count, also
    where its probability is 0.

    Args:
        options: Where the options of each example are.
        log_probs: Absolute log-probability of each option, in nats.
        values: Worth of each option.
    """
    with np.errstate(invalid="ignore"):
        return options.reduce(np.add, np.where(values == 0, 0.0, values * log_probs))


def weighted_probability(options: Ragged, log_probs: Floats, values: Floats) -> Floats:
    """Return the absolute probabilities weighted by worth: ``weighted_probabilities``."""
    return options.reduce(np.add, values * np.exp(log_probs))


def _of(chosen: Ints, values: Floats) -> Floats:
    found = np.full(len(chosen), np.nan)
    found[chosen >= 0] = values[chosen[chosen >= 0]]
    return found


def _shares(options: Ragged, values: Floats) -> Floats:
    """Return worths that sum to 1 over the options of each example, NaN where they cannot."""
    total = options.reduce(np.add, values)
    return np.asarray(values / np.where(total > 0, total, np.nan)[options.curve])


def _right(options: Ragged, values: Floats) -> Bools:
    best = options.reduce(np.maximum, values)[options.curve]
    return np.asarray((values == best) & (values > 0))
