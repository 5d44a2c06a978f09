"""Emergence score, linearity and relative sharpness of curves: arrays in, arrays out.

A batch of curves is ragged, see :mod:`bigbench_meta.core.ragged`.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, eq. 1 and App. A.1. Srivastava et al. (2022), "Beyond the Imitation Game",
    arXiv 2206.04615 (breakthroughness and linearity).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import reject
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.step_statistics import (
    absolute_steps,
    mean_squared_ratio,
    middle_steps,
    signed_range,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "MIN_SCALES",
    "STATUSES",
    "RaggedScores",
    "emergence_score",
    "linearity",
    "relative_sharpness",
    "score_ragged",
    "sharpness_by_scale",
]

MIN_SCALES: Final = 3
"""Two points always give a score of 1 or -1, whatever they are."""

STATUSES: Final = ("ok", "zero_median", "flat", "too_few_scales")
OK, ZERO_MEDIAN, FLAT, TOO_FEW_SCALES = range(4)

# Curves gathered at a time: a block of a dozen scales stays in the processor's cache.
_BLOCK: Final = 4096
# Longer curves are few of one length: work along them is faster than across so few.
_LONGEST_BY_SCALE: Final = 32


@dataclass(frozen=True, kw_only=True)
class RaggedScores:
    """Statistics of a batch of curves; every array has one entry a curve.

    Attributes:
        n_scales: Number of points.
        signed_range: sign(argmax y - argmin y) * (max y - min y); the numerator of E.
        median_step: Square root of the median squared step; the denominator of E.
        emergence_score: E of eq. 1; infinite where ``status`` is ``zero_median``, NaN where there
            is no score.
        linearity: The same numerator over the root mean squared step, in [-(n - 1), n - 1].
        relative_sharpness: E / (n - 1), which is 1 on a straight line of any length.
        resolution_limited_score: E with a denominator of at least the resolution; NaN where the
            resolution is not known.
        status: Index into :data:`STATUSES`.
    """

    n_scales: Ints
    signed_range: Floats
    median_step: Floats
    emergence_score: Floats
    linearity: Floats
    relative_sharpness: Floats
    resolution_limited_score: Floats
    status: NDArray[np.int8]


def emergence_score(y: ArrayLike, *, min_scales: int = MIN_SCALES) -> float | Floats:
    r"""Return the emergence score of one curve or of many curves of one length.

    .. math:: E = \mathrm{sign}(\arg\max_i y_i - \arg\min_i y_i)\,
              \frac{\max_i y_i - \min_i y_i}{\sqrt{\mathrm{median}_i (y_i - y_{i-1})^2}}

    where the first maximum and the first minimum count on ties. Large and positive: most steps are
    small and one is large, upwards. A straight line over n points gives n - 1, so compare curves of
    different lengths by :func:`relative_sharpness`.

    Args:
        y: Scores by ascending scale, shape (n,) or (m, n), in any unit, up is better.
        min_scales: Curves with fewer points have no score.

    Returns:
        E, a float for shape (n,) and an array of shape (m,) for (m, n), in [-inf, inf]: infinite
        where more than half of the steps are exactly zero, NaN on a constant, on fewer than
        ``min_scales`` points and where any score is not finite.

    Raises:
        InputError: ``y`` has another number of dimensions or is not numeric.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, eq. 1.

    Examples:
        >>> emergence_score([0.0, 0.1, 0.2, 1.0])
        10.0
        >>> emergence_score([[0.0, 0.0, 0.0, 1.0], [3.0, 2.0, 1.0, 0.0]])
        array([inf, -3.])
    """
    return _of_one_or_many(y, "emergence_score", min_scales)


def linearity(y: ArrayLike, *, min_scales: int = MIN_SCALES) -> float | Floats:
    r"""Return the linearity of one curve or of many: E with the mean in place of the median.

    Args:
        y: Scores by ascending scale, shape (n,) or (m, n), in any unit, up is better.
        min_scales: Curves with fewer points have no value.

    Returns:
        Linearity in [-(n - 1), n - 1], n - 1 on a rising straight line; a float for shape (n,), an
        array of shape (m,) for (m, n). NaN under the conditions of :func:`emergence_score`.

    Raises:
        InputError: ``y`` has another number of dimensions or is not numeric.

    References:
        Srivastava et al. (2022), arXiv 2206.04615.

    Examples:
        >>> linearity([0.0, 1.0, 2.0, 3.0])
        3.0
    """
    return _of_one_or_many(y, "linearity", min_scales)


def relative_sharpness(y: ArrayLike, *, min_scales: int = MIN_SCALES) -> float | Floats:
    """Return E / (n - 1) of one curve or of many: how much sharper than a straight line.

    Args:
        y: Scores by ascending scale, shape (n,) or (m, n), in any unit, up is better.
        min_scales: Curves with fewer points have no value.

    Returns:
        Relative sharpness, 1 on a rising straight line of any length; a float for shape (n,), an
        array of shape (m,) for (m, n). NaN and infinite as :func:`emergence_score`.

    Raises:
        InputError: ``y`` has another number of dimensions or is not numeric.

    Examples:
        >>> relative_sharpness([0.0, 1.0, 2.0, 3.0, 4.0])
        1.0
    """
    return _of_one_or_many(y, "relative_sharpness", min_scales)


def sharpness_by_scale(scores: Floats) -> Floats:
    """Return the relative sharpness of many curves given by scale, as replicates are drawn.

    Args:
        scores: Finite, shape (n, ...), by ascending scale, n at least :data:`MIN_SCALES`.

    Returns:
        What :func:`relative_sharpness` returns of each curve, shape (...).

    Examples:
        >>> sharpness_by_scale(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]))
        array([ 1., nan])
    """
    ranges, median_step = _range_and_median_step(list(scores), absolute_steps(list(scores)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(np.where(ranges != 0, ranges / median_step, np.nan) / (len(scores) - 1))


def _of_one_or_many(y: ArrayLike, statistic: str, min_scales: int) -> float | Floats:
    try:
        matrix = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"not an array of numbers: {error}",
            where="y",
            hint="curves of different lengths go through score_ragged or score_curves",
        ) from error
    if matrix.ndim not in {1, 2}:
        raise InputError(f"shape {matrix.shape}, not (n,) or (m, n)", where="y")
    rows = np.atleast_2d(matrix)
    finite = np.isfinite(rows).all(axis=1)
    offsets = np.arange(finite.sum() + 1, dtype=np.int64) * rows.shape[1]
    scores = score_ragged(rows[finite].ravel(), offsets, min_scales=min_scales)
    result = np.full(len(rows), np.nan)
    result[finite] = getattr(scores, statistic)
    return float(result[0]) if matrix.ndim == 1 else result


def score_ragged(
    values: Floats,
    offsets: Ints,
    *,
    resolution: Floats | None = None,
    min_scales: int = MIN_SCALES,
) -> RaggedScores:
    """Score a ragged batch of curves.

    Args:
        values: Finite scores of all curves, shape (total,), up is better, ascending scale in each.
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        resolution: Smallest step that each curve's test set allows, shape (m,), in the unit of the
            scores (1 / number of examples for an accuracy); NaN where it is not known.
        min_scales: Curves with fewer points get NaN and ``too_few_scales``.

    Returns:
        The statistics, arrays of shape (m,).

    Raises:
        InputError: The offsets do not fit the values, or a value is not finite.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, eq. 1; App. A.1 for the resolution.

    Examples:
        >>> import numpy as np
        >>> scores = score_ragged(np.array([0.0, 1, 2, 3, 0, 0, 0, 9]), np.array([0, 4, 8]))
        >>> scores.emergence_score
        array([ 3., inf])
        >>> [STATUSES[code] for code in scores.status]
        ['ok', 'zero_median']
    """
    values = np.asarray(values, dtype=np.float64)
    batch = Ragged.of(offsets, values=values)
    reject(values, ~np.isfinite(values), "not finite", "values")
    lengths = batch.lengths
    ranges, median_step, rms_step = (np.full(len(batch), np.nan) for _ in range(3))
    for block in batch.blocks(_BLOCK, shortest=2):
        if block.length <= _LONGEST_BY_SCALE:
            found = _range_and_steps(list(block.by_scale(values)))
        else:
            found = _long_range_and_steps(values[block.points])
        ranges[block.curves], median_step[block.curves], rms_step[block.curves] = found
    status = _status(lengths, ranges, median_step, min_scales)
    limited = (
        np.full(len(lengths), np.nan) if resolution is None else np.maximum(median_step, resolution)
    )
    scored = status <= ZERO_MEDIAN
    # A ratio beyond the largest float is infinite, as is one over a median step of zero.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score = np.where(scored, ranges / median_step, np.nan)
        return RaggedScores(
            n_scales=lengths,
            signed_range=ranges,
            median_step=median_step,
            emergence_score=score,
            linearity=np.where(scored, ranges / rms_step, np.nan),
            relative_sharpness=score / (lengths - 1),
            resolution_limited_score=np.where(scored, ranges / limited, np.nan),
            status=status,
        )


def _range_and_steps(by_scale: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return signed range, root median and root mean squared step of each curve."""
    steps = absolute_steps(by_scale)
    largest = reduce(np.maximum, steps)
    # Factoring the larger step out keeps squares of very small or large steps from under- or
    # overflowing, and makes equal steps come out exactly.
    rms_step = largest * np.sqrt(mean_squared_ratio(steps, largest))
    ranges, median_step = _range_and_median_step(by_scale, steps)
    return ranges, median_step, rms_step


def _range_and_median_step(by_scale: list[Floats], steps: list[Floats]) -> tuple[Floats, Floats]:
    """Return signed range and root median squared step; the steps are overwritten."""
    lower, upper = middle_steps(steps)
    median_step = upper * np.sqrt((1 + mean_squared_ratio([lower], upper)) / 2)
    return signed_range(by_scale), median_step


def _long_range_and_steps(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the same of each row of (m, n)."""
    sign = np.sign(matrix.argmax(axis=1) - matrix.argmin(axis=1))
    steps = np.abs(np.diff(matrix, axis=1))
    largest = steps.max(axis=1)
    ratio = np.divide(steps, largest[:, None], out=np.zeros_like(steps), where=largest[:, None] > 0)
    middle = steps.shape[1] // 2
    steps.partition([(steps.shape[1] - 1) // 2, middle], axis=1)
    lower, upper = steps[:, (steps.shape[1] - 1) // 2], steps[:, middle]
    median_step = upper * np.sqrt((1 + mean_squared_ratio([lower], upper)) / 2)
    rms_step = largest * np.sqrt(np.mean(ratio**2, axis=1))
    return sign * (matrix.max(axis=1) - matrix.min(axis=1)), median_step, rms_step


def _status(
    lengths: Ints, ranges: Floats, median_step: Floats, min_scales: int
) -> NDArray[np.int8]:
    status = np.full(len(lengths), OK, dtype=np.int8)
    status[median_step == 0] = ZERO_MEDIAN
    status[ranges == 0] = FLAT
    status[lengths < max(min_scales, 2)] = TOO_FEW_SCALES
    return status
