"""Intervals and tests that treat whole clusters, not single curves, as the independent units.

Every statistic here is a function of totals over clusters, so a batch of data comes as
*contributions*: an array of shape (number of clusters, k), a row for what one cluster adds to each
of k totals. Nothing depends on the order of the clusters.

References:
    Efron & Tibshirani (1993), "An Introduction to the Bootstrap", ch. 11. Cameron & Miller (2015),
    "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human Resources 50(2),
    DOI 10.3368/jhr.50.2.317.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from bigbench_meta.aggregate.attribution.estimates import MIN_TASKS, wald
from bigbench_meta.core.binomial import clopper_pearson
from bigbench_meta.core.checks import probability

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.estimates import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Statistic: TypeAlias = Callable[[Floats], Floats]
    """From totals of shape (..., k) to values of shape (...)."""

__all__ = [
    "NO_SPREAD",
    "cluster_counts",
    "cluster_median",
    "cluster_share",
    "cluster_sums",
    "few_clusters",
    "jackknife_error",
    "jackknifed",
    "leave_one_out",
    "median",
    "sign_flip_p",
]

_ROUNDING: Final = 1e-9

NO_SPREAD: Final = "All tasks agree, so the variation between tasks cannot be estimated."

_MOST_STEPS: Final = 1 << 27
"""Additions that the exact distribution of a sum of signs may take: about a second."""


def cluster_counts(flagged: Bools, exposed: Bools, cluster: Ints) -> Floats:
    """Count each cluster's curves by class and flag.

    Args:
        flagged: Shape (n,).
        exposed: Whether a curve is of the class that is compared, shape (n,).
        cluster: Number of each curve's cluster, from 0, shape (n,).

    Returns:
        Shape (clusters that have a curve, 4): exposed and flagged, exposed and not, not exposed
        but flagged, neither.

    Examples:
        >>> import numpy as np
        >>> yes, no = True, False
        >>> cluster_counts(np.array([yes, no, no]), np.array([yes, yes, no]), np.array([0, 0, 1]))
        array([[1., 1., 0., 0.],
               [0., 0., 0., 1.]])
    """
    cell = 2 * (~exposed).astype(np.int64) + ~flagged
    n_clusters = int(cluster.max(initial=-1)) + 1
    counts = np.bincount(cluster * 4 + cell, minlength=n_clusters * 4).reshape(n_clusters, 4)
    return counts[counts.any(axis=1)].astype(np.float64)


def cluster_sums(cluster: Ints, *values: Floats) -> Floats:
    """Return totals of each value over each cluster that has any, shape (clusters, values)."""
    _, code = np.unique(cluster, return_inverse=True)
    return np.stack([np.bincount(code, weights=value) for value in values], axis=1)


def leave_one_out(contributions: Floats, statistic: Statistic) -> Floats:
    """Return the statistic without each cluster in turn, shape (number of clusters,)."""
    return statistic(contributions.sum(axis=0) - contributions)


def jackknife_error(without: Floats) -> float:
    r"""Return the delete-one-cluster jackknife standard error.

    .. math:: v = \frac{C - 1}{C} \sum_j (\theta_{(-j)} - \bar\theta_{(-)})^2

    Args:
        without: What :func:`leave_one_out` returns.

    Returns:
        The standard error; NaN with fewer than two clusters, and where the statistic without one
        of them is not finite: then it rests on that one.

    References:
        Efron & Tibshirani (1993), eq. 11.5.

    Examples:
        >>> import numpy as np
        >>> round(jackknife_error(np.array([1.0, 2.0, 3.0])), 4)
        1.1547
    """
    n_clusters = len(without)
    if n_clusters < 2 or not np.isfinite(without).all():
        return math.nan
    return float(np.sqrt(np.sum((without - without.mean()) ** 2) * (n_clusters - 1) / n_clusters))


def few_clusters(n_clusters: int) -> str:
    """Return why there are too few tasks for an interval; empty if there are enough."""
    if n_clusters >= MIN_TASKS:
        return ""
    return f"{n_clusters} {'task' if n_clusters == 1 else 'tasks'} cannot give an interval."


def jackknifed(
    blank: Estimate,
    contributions: Floats,
    statistic: Statistic,
    *,
    n_clusters: int,
    confidence: float,
) -> Estimate:
    """Return a blank filled with a statistic, its jackknife interval and p-value.

    Args:
        blank: Labels.
        contributions: Shape (clusters, k).
        statistic: From totals of shape (..., k) to values of shape (...), which are about normal.
        n_clusters: Clusters that contribute: Student's t has one degree of freedom less.
        confidence: Of the interval.

    Returns:
        The estimate; ``too_few_clusters`` without an interval if there are fewer than
        :data:`MIN_TASKS`, or if it is not finite without one of them; ``no_spread`` if all
        agree.
    """
    result = replace(blank, estimate=float(statistic(contributions.sum(axis=0)[None])[0]))
    if refusal := few_clusters(n_clusters):
        return result.refused("too_few_clusters", refusal)
    error = jackknife_error(leave_one_out(contributions, statistic))
    if error <= _ROUNDING * max(1.0, abs(result.estimate)):
        return result.refused("no_spread", NO_SPREAD)
    low, high, p_value = wald(result.estimate, error, df=n_clusters - 1, confidence=confidence)
    if math.isnan(low):
        text = "It rests on a single task, without which it is not finite."
        return result.refused("too_few_clusters", text)
    return replace(result, low=low, high=high, p_value=p_value)


def sign_flip_p(differences: Ints) -> float:
    """Return the exact two-sided p-value of a sum whose clusters' signs are exchangeable.

    If within each cluster the two things compared could as well have changed places, all at once,
    then each cluster's difference is as likely to have either sign. With differences of 1 and -1
    this is the sign test, and McNemar's exact test; with sums of signed ranks it is the signed
    rank test for clusters.

    Args:
        differences: A whole number a cluster, shape (clusters,).

    Returns:
        The share of all assignments of signs that give a sum as far from zero, by convolution;
        beyond some 10^8 additions by the normal distribution.

    References:
        Rosner, Glynn & Lee (2006), "The Wilcoxon signed rank test for paired comparisons of
        clustered data", DOI 10.1111/j.1541-0420.2005.00389.x.

    Examples:
        >>> import numpy as np
        >>> sign_flip_p(np.array([1, 1, 1, 1]))
        0.125
    """
    sizes = np.abs(differences[differences != 0])
    if not len(sizes):
        return 1.0
    sizes = np.sort(sizes // np.gcd.reduce(sizes))
    observed = abs(int(differences.sum())) // int(np.gcd.reduce(np.abs(differences)))
    total = int(sizes.sum())
    if len(sizes) * total > _MOST_STEPS:
        from scipy import stats

        return float(2 * stats.norm.sf(observed / np.sqrt(np.sum(sizes.astype(np.float64) ** 2))))
    # Of the sum of the clusters that come out positive; the whole sum is twice that less the total.
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    reached = 0
    for size in sizes:
        reached += int(size)
        chance[: reached + 1] *= 0.5
        chance[size : reached + 1] += chance[: reached + 1 - size].copy()
    return float(min(1.0, 2 * chance[(total + observed) // 2 :].sum()))


def median(values: Floats) -> float:
    """Return the median of numbers of which some may be infinite; NaN of none."""
    if not len(values):
        return math.nan
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    # The middle of minus and plus infinity is zero, by symmetry.
    return float(low if low == high else 0.0 if np.isinf([low, high]).all() else (low + high) / 2)


def cluster_median(
    values: Floats, cluster: Ints, *, confidence: float
) -> tuple[float, float, float, float]:
    """Return a median with the interval and the p-value of the sign test for clusters.

    The interval holds every number that the test (see :func:`sign_flip_p`, with the difference of a
    cluster being how many of its values lie above the number less how many lie below) does not
    refute. A value equal to the number counts for the side that refutes least. Only the order of
    the values counts, so that infinite ones are values like any others.

    Args:
        values: Of which some may be infinite, none NaN, shape (n,), n > 0.
        cluster: Shape (n,).
        confidence: Of the interval, in (0, 1).

    Returns:
        Median; lower and upper limit, infinite where nothing is refuted; p-value of zero.

    References:
        Conover (1999), "Practical Nonparametric Statistics", sec. 3.4, for independent values.

    Examples:
        >>> import numpy as np
        >>> cluster_median(np.arange(1.0, 11.0), np.arange(10), confidence=0.95)
        (5.5, 2.0, 9.0, 0.001953125)
    """
    alpha = 1 - probability(confidence, "confidence")
    levels, level = np.unique(values, return_inverse=True)
    _, code = np.unique(cluster, return_inverse=True)

    def above(gap: int) -> Ints:
        """Count values above less values below the gap under a level, by cluster."""
        signs = np.where(level >= gap, 1.0, -1.0)
        return np.asarray(np.rint(np.bincount(code, weights=signs)), dtype=np.int64)

    def refutes(signs: Ints) -> bool:
        return sign_flip_p(signs) <= alpha

    def not_too_low(gap: int) -> bool:
        return bool((signs := above(gap)).sum() <= 0 or not refutes(signs))

    def too_high(gap: int) -> bool:
        return bool((signs := above(gap)).sum() < 0 and refutes(signs))

    gaps = range(len(levels) + 1)
    lowest = bisect_left(gaps, True, key=not_too_low)
    highest = bisect_right(gaps, False, key=too_high) - 1
    low = float(levels[lowest - 1]) if lowest else -math.inf
    high = float(levels[highest]) if highest < len(levels) else math.inf
    not_positive, negative = np.searchsorted(levels, 0, "right"), np.searchsorted(levels, 0, "left")
    p_value = 1.0
    if (signs := above(int(not_positive))).sum() > 0 or (signs := above(int(negative))).sum() < 0:
        p_value = sign_flip_p(signs)
    return median(values), low, high, p_value


def cluster_share(
    hits: Floats, sizes: Floats, *, confidence: float
) -> tuple[float, float, float, float]:
    """Return a share with an interval that takes clusters as the units, and the design effect.

    The binomial interval of Clopper and Pearson with the effective number of curves in place of
    their number: the number divided by the design effect, which is how much more the share varies
    between clusters than it would if curves were independent, and at least 1. A share that is the
    same in all clusters (0 or 1, say) leaves the design effect unknown: the number of clusters is
    then the effective number, as if all curves of a cluster were one.

    Args:
        hits: Of each cluster, shape (clusters,).
        sizes: Curves of each cluster, at least 1, shape (clusters,).
        confidence: Of the interval, in (0, 1).

    Returns:
        Share, lower limit, upper limit, design effect; NaN without clusters.

    References:
        Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of
        positive counts estimated from survey data", Survey Methodology 24, 193-201.

    Examples:
        >>> import numpy as np
        >>> cluster_share(np.array([0.0, 0.0]), np.array([5.0, 5.0]), confidence=0.95)
        (0.0, 0.0, 0.841886116991581, 5.0)
    """
    from scipy import stats

    tail = (1 - probability(confidence, "confidence")) / 2
    n_clusters, n = len(sizes), float(sizes.sum())
    if not n:
        return (math.nan,) * 4
    share = float(hits.sum()) / n
    effective = float(n_clusters)
    if 0 < share < 1 and n_clusters > 1:
        variance = np.sum((hits - share * sizes) ** 2) / n**2 * n_clusters / (n_clusters - 1)
        # With few clusters the design effect is itself uncertain: Korn & Graubard's t to t ratio.
        widening = (stats.t.ppf(tail, n_clusters - 1) / stats.t.ppf(tail, max(n - 1, 1))) ** 2
        if variance > _ROUNDING / n**2:
            effective = min(n, share * (1 - share) / variance / widening)
    low, high = clopper_pearson(share * effective, effective, confidence=confidence)
    return share, float(low), float(high), n / effective
