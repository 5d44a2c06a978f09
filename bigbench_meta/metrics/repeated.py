r"""Metrics over several samples of a problem, or over several examples that must all be right.

References:
    Chen et al. (2021), Evaluating large language models trained on code, arXiv 2107.03374, eq. 1.
    OpenAI (2023), GPT-4 technical report, arXiv 2303.08774, sec. 3.2 (mean log pass rate).
    Schaeffer, Miranda and Koyejo (2023), arXiv 2304.15004, sec. 5 (all of K classified correctly).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from bigbench_meta.core.checks import within
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "above",
    "difficulty_buckets",
    "log_pass_rate",
    "pass_at",
    "solved_by_all",
    "subset_accuracy",
]


def subset_accuracy(right: ArrayLike, total: ArrayLike, k: int) -> Floats:
    r"""Return the chance that K examples drawn without replacement are all right: 0 to 1.

    :math:`\binom{c}{K} / \binom{n}{K}` with c of n right: the unbiased estimate of
    :math:`p^K`, the paper's metric that makes emergence appear (Schaeffer et al. 2023, sec. 5).

    Args:
        right: How many are right.
        total: Of how many.
        k: K, at least 1; NaN where there are fewer examples than that.

    Raises:
        InputError: K is below 1.

    Examples:
        >>> subset_accuracy([4, 2], 4, 2)
        array([1.        , 0.16666667])
    """
    if k < 1:
        raise InputError(f"{k} is below 1", where="k")
    c, n = np.broadcast_arrays(np.asarray(right, np.float64), np.asarray(total, np.float64))
    with np.errstate(invalid="ignore"):
        logs = gammaln(c + 1) - gammaln(c - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
        found = np.where(c >= k, np.exp(np.where(c >= k, logs, 0.0)), 0.0)
    return np.where(n >= k, found, np.nan)


def pass_at(right: ArrayLike, total: ArrayLike, k: int) -> Floats:
    r"""Return pass@k of each problem: the chance that one of k samples is right.

    :math:`1 - \binom{n - c}{k} / \binom{n}{k}`, unbiased (Chen et al. 2021, eq. 1).

    Args:
        right: How many samples of each problem are right, c.
        total: How many there are, n.
        k: k, at least 1; NaN where there are fewer samples than that.

    Raises:
        InputError: k is below 1.

    Examples:
        >>> pass_at([0, 1, 5], 5, 2)
        array([0. , 0.4, 1. ])
    """
    c, n = np.broadcast_arrays(np.asarray(right, np.float64), np.asarray(total, np.float64))
    return 1.0 - subset_accuracy(n - c, n, k)


def log_pass_rate(right: ArrayLike, total: ArrayLike) -> Floats:
    """Return the logarithm of the share of samples that are right, -inf where none is.

    The GPT-4 report averages it over the problems that every model solves at least once
    (:func:`solved_by_all`), since the logarithm of 0 has no mean. That selection favours problems
    on which small models were lucky, so it makes small models look better than they are: the less
    so, the more samples a problem has. The report compares problems of similar difficulty
    (:func:`difficulty_buckets`).

    Args:
        right: How many samples of each problem are right.
        total: How many there are.

    Examples:
        >>> log_pass_rate([1, 4], 4).round(3)
        array([-1.386,  0.   ])
    """
    c, n = np.broadcast_arrays(np.asarray(right, np.float64), np.asarray(total, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(c / np.where(n > 0, n, np.nan))


def solved_by_all(right: ArrayLike) -> Bools:
    """Return which problems every model solves at least once.

    Args:
        right: How many samples are right, shape (models, problems).

    Returns:
        Shape (problems,).

    Examples:
        >>> solved_by_all([[0, 1, 2], [3, 1, 4]])
        array([False,  True,  True])
    """
    return np.asarray(np.all(np.asarray(right) > 0, axis=0))


def difficulty_buckets(pass_rate: ArrayLike, n_buckets: int) -> Ints:
    """Sort problems into buckets of equal size by how often reference models solve them.

    The problems that some reference model solves are ordered by their pass rate, the easiest first
    and equal ones as given, and divided into buckets whose sizes differ by at most 1. Problems that
    none solves cannot be ordered; the GPT-4 report leaves out the hardest ones.

    The reference models must not be scored on the buckets: some problems are in the easiest one, or
    among those never solved, by luck, so the models' own scores are too high there, and too low
    here (regression to the mean). Samples of other models have no part in that luck, but the
    buckets differ less in difficulty than the reference models' pass rates say.

    Args:
        pass_rate: Of each problem, the mean over the reference models of the share of samples that
            are right, 0 to 1; NaN where a reference model has no samples.
        n_buckets: Number of buckets, at least 1.

    Returns:
        Shape (problems,): 1 for the easiest bucket to ``n_buckets`` for the hardest,
        ``n_buckets + 1`` where the rate is 0, and 0 where it is NaN. With fewer solved problems
        than buckets some buckets are empty.

    Raises:
        InputError: A rate is not in 0 to 1, or ``n_buckets`` is below 1.

    References:
        OpenAI (2023), GPT-4 technical report, arXiv 2303.08774, sec. 3.2.

    Examples:
        >>> difficulty_buckets([0.9, 0.1, 0.0, 0.4, 0.5, 0.2], 2)
        array([1, 2, 3, 1, 1, 2])
    """
    rate = within(pass_rate, 0, 1, "pass_rate")
    if n_buckets < 1:
        raise InputError(f"{n_buckets} is below 1", where="n_buckets")
    buckets = np.where(rate == 0, n_buckets + 1, 0)
    solved = np.flatnonzero(rate > 0)
    order = solved[np.argsort(-rate[solved], kind="stable")]
    buckets[order] = 1 + np.arange(len(order)) * n_buckets // max(len(order), 1)
    return buckets


def above(values: ArrayLike, threshold: float, *, higher_is_better: bool = True) -> Floats:
    """Return 1 where a score reaches a threshold, else 0: any smooth metric, cut.

    Args:
        values: Scores of single examples; NaN stays NaN.
        threshold: The threshold; reaching it counts.
        higher_is_better: Whether a score must be as large, or as small, as the threshold.

    Examples:
        >>> above([0.2, 0.5, 0.7], 0.5)
        array([0., 1., 1.])
    """
    array = np.asarray(values, np.float64)
    reached = array >= threshold if higher_is_better else array <= threshold
    return np.where(np.isnan(array), np.nan, reached.astype(np.float64))
