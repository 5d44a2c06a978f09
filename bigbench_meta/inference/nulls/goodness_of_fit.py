"""Does the mechanism fit at all, if models differ by their scale alone?

The paper's claim taken at its word: a power law of the loss, the metric, and the sampling error of
the test set explain every score. It is a result of its own, beside the test of a jump, which allows
that sister models differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number
from bigbench_meta.inference.nulls.batch import Batch, is_flat, replicates
from bigbench_meta.inference.nulls.links import SHARE, Link
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE, Design, deviance, pearson
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.parts import COLUMNS, MIN_SCALES, OK, check_ragged
from bigbench_meta.inference.nulls.sequential import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["FIT_REPLICATES", "GoodnessOfFit", "goodness_of_fit", "least_deviance"]

FIT_REPLICATES: Final = 199
"""By default: this p-value is not corrected for the number searched and need not be small."""


@dataclass(frozen=True, kw_only=True)
class GoodnessOfFit:
    """Fits of the mechanism without variation between models; every array has one entry a curve.

    Attributes:
        p_value: Of the deviance; NaN where the curve is flat, too short or could not be fitted.
        deviance: Binomial deviance.
        pearson: Pearson's sum of squares.
    """

    p_value: Floats
    deviance: Floats
    pearson: Floats


def goodness_of_fit(
    y: Floats,
    x: Floats,
    trials: Floats,
    offsets: Ints,
    *,
    floor: Floats | float = 0.0,
    ceiling: Floats | float = 1.0,
    link: Link | Sequence[Link] = SHARE,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    n_boot: int = FIT_REPLICATES,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
    progress: Callable[[int, int], None] | None = None,
) -> GoodnessOfFit:
    r"""Test the fit of the mechanism without variation between models.

    The statistic is the binomial deviance of the maximum likelihood fit with sigma = 0, its p-value
    :math:`(1 + \#\{D^* \ge D\}) / (1 + B)` over replicates drawn from the fit and fitted again. On
    large test sets the deviance is about chi-squared with n - 2 degrees of freedom.

    Args:
        y: Scores; all arguments are those of
            :func:`bigbench_meta.inference.nulls.mechanism_null.mechanism_null`.
        x: Scales.
        trials: Examples.
        offsets: Where curves begin.
        floor: Guess rate.
        ceiling: Best proportion.
        link: The metric's link.
        alpha_range: Bounds of the exponent.
        n_boot: Replicates, at least 19.
        seed: Seed, or a generator.
        min_scales: Curves with fewer points are not tested.
        progress: Called with (curves done, curves).

    Returns:
        The tests, arrays of shape (m,).

    Raises:
        InputError: Arrays do not fit together or an option is out of range.

    References:
        McCullagh & Nelder (1989), Generalized Linear Models, sec. 4.4,
        doi:10.1201/9780203753736.

    Examples:
        >>> scale = 10.0 ** np.arange(6, 12)
        >>> smooth = np.exp(-np.exp(1.0 - 0.3 * np.log(scale / 1e8)))
        >>> sisters = np.clip(smooth + np.array([0.0, 0.1, -0.1, 0.1, -0.1, 0.0]), 0, 1)
        >>> tests = goodness_of_fit(
        ...     np.concatenate([smooth, sisters]), np.tile(scale, 2), np.full(12, 500.0),
        ...     np.array([0, 6, 12]),
        ... )
        >>> (tests.p_value < 0.05).tolist()
        [False, True]
    """
    check_ragged(y, x, offsets, n_boot, min_scales)
    batch = Batch.of(y, x, trials, offsets, floor, ceiling, link, 0.0)
    lengths, base = np.diff(offsets), seed_number(seed)
    p_value, unlikeness, squares = (np.full(len(lengths), np.nan) for _ in range(3))
    done = int((lengths < min_scales).sum())
    for rows, scores, design, _ in batch.blocks(min_scales):
        fit = fit_mechanism(
            scores, design, alpha_range=alpha_range, sigma=np.zeros(len(rows)), resolution=0.0
        )
        usable = np.flatnonzero(~is_flat(scores) & (fit.status == OK))
        own, part, y_own = fit.take(usable), design.take(usable), scores[:, usable]
        unlikeness[rows[usable]] = found = deviance(y_own, part, own)
        squares[rows[usable]] = pearson(y_own, part, own)
        tally = Tally.start(found, None)
        at_a_time = max(1, COLUMNS // n_boot)
        for start in range(0, len(usable), at_a_time):
            some = np.arange(start, min(start + at_a_time, len(usable)))
            drawn, again = replicates(y_own, part, own, some, n_boot, "fit", base)
            tally.add(some, _refitted(drawn, again, alpha_range).reshape(-1, n_boot))
        p_value[rows[usable]] = tally.p_values()
        done += len(rows)
        if progress is not None:
            progress(done, len(lengths))
    return GoodnessOfFit(p_value=p_value, deviance=unlikeness, pearson=squares)


def least_deviance(
    y: Floats,
    x: Floats,
    trials: Floats,
    offsets: Ints,
    group: Ints,
    *,
    floor: Floats | float = 0.0,
    link: Link | Sequence[Link] = SHARE,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    min_scales: int = MIN_SCALES,
) -> Ints:
    """Return which curve of each group the mechanism without variation between models fits best.

    Args:
        y: Scores; all arguments but one are those of :func:`goodness_of_fit`.
        x: Scales.
        trials: Examples.
        offsets: Where curves begin.
        group: Number of each curve's group, shape (m,): one curve with several guess rates or
            links.
        floor: Guess rate.
        link: The metric's link.
        alpha_range: Bounds of the exponent.
        min_scales: Curves with fewer points are not fitted.

    Returns:
        Numbers of curves, one of each group, by ascending group. Where none of a group could be
        fitted, its first.
    """
    batch = Batch.of(y, x, trials, offsets, floor, 1.0, link, 0.0)
    found = np.full(len(group), np.inf)
    for rows, scores, design, _ in batch.blocks(min_scales):
        fit = fit_mechanism(
            scores, design, alpha_range=alpha_range, sigma=np.zeros(len(rows)), resolution=0.0
        )
        usable = ~is_flat(scores) & (fit.status == OK)
        found[rows] = np.where(usable, deviance(scores, design, fit), np.inf)
    order = np.lexsort((found, group))
    return np.asarray(order[np.unique(group[order], return_index=True)[1]])


def _refitted(drawn: Floats, design: Design, alpha_range: tuple[float, float]) -> Floats:
    """Return the deviances of replicates from their own fits."""
    zero = np.zeros(drawn.shape[1])
    fit = fit_mechanism(drawn, design, alpha_range=alpha_range, sigma=zero, resolution=0.0)
    return deviance(drawn, design, fit)
