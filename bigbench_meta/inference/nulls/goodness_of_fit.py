"""Goodness of fit of the mechanism when models differ only by their scale.

The paper's claim taken at its word: a power law of the loss, the metric, and the sampling error of
the test set explain every score. It is separate from the test of a jump, which allows
sister models to differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number, whole
from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    Design,
    MechanismCurves,
    MechanismFit,
    deviance,
    pearson,
    replicates,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.monte_carlo import (
    FEWEST_REPLICATES,
    OK,
    REPLICATES_AT_A_TIME,
    SequentialPValues,
    is_flat,
)

if TYPE_CHECKING:
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
    curves: MechanismCurves,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    n_boot: int = FIT_REPLICATES,
    seed: int | np.random.Generator = 0,
) -> GoodnessOfFit:
    r"""Test the fit of the mechanism without variation between models.

    The statistic is the binomial deviance of the maximum likelihood fit with sigma = 0, its p-value
    :math:`(1 + \#\{D^* \ge D\}) / (1 + B)` over replicates drawn from the fit and fitted again. On
    large test sets the deviance is about chi-squared with n - 2 degrees of freedom.

    Args:
        curves: The curves; what is known of their sigma is ignored.
        alpha_range: Bounds of the exponent.
        n_boot: Replicates, at least 19.
        seed: Seed, or a generator, of which one number is drawn.

    Returns:
        The tests, arrays of shape (m,).

    Raises:
        InputError: An option is out of range.

    References:
        McCullagh & Nelder (1989), Generalized Linear Models, sec. 4.4,
        doi:10.1201/9780203753736.

    Examples:
        >>> scale = 10.0 ** np.arange(6, 12)
        >>> smooth = np.exp(-np.exp(1.0 - 0.3 * np.log(scale / 1e8)))
        >>> sisters = np.clip(smooth + np.array([0.0, 0.1, -0.1, 0.1, -0.1, 0.0]), 0, 1)
        >>> curves = MechanismCurves.checked(
        ...     np.concatenate([smooth, sisters]), np.tile(scale, 2), np.full(12, 500.0),
        ...     [0, 6, 12],
        ... )
        >>> (goodness_of_fit(curves).p_value < 0.05).tolist()
        [False, True]
    """
    whole(n_boot, FEWEST_REPLICATES, "n_boot")
    base = seed_number(seed)
    p_value, of_deviance, of_pearson = np.full((3, len(curves.ragged)), np.nan)
    at_a_time = max(1, REPLICATES_AT_A_TIME // n_boot)
    for rows, scores, design, _ in curves.blocks():
        fit = _fit(scores, design, alpha_range)
        usable = np.flatnonzero(~is_flat(scores) & (fit.status == OK))
        own, part, y = fit.take(usable), design.take(usable), scores[:, usable]
        of_deviance[rows[usable]] = observed = deviance(y, part, own)
        of_pearson[rows[usable]] = pearson(y, part, own)
        found = SequentialPValues.start(observed, None)
        for start in range(0, len(usable), at_a_time):
            some = np.arange(start, min(start + at_a_time, len(usable)))
            drawn, again = replicates(y, part, own, some, n_boot, "fit", base)
            refitted = deviance(drawn, again, _fit(drawn, again, alpha_range))
            found.add(some, refitted.reshape(-1, n_boot))
        p_value[rows[usable]] = found.p_values()
    return GoodnessOfFit(p_value=p_value, deviance=of_deviance, pearson=of_pearson)


def least_deviance(
    curves: MechanismCurves,
    group: Ints,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
) -> Ints:
    """Return which curve of each group the mechanism without variation between models fits best.

    Args:
        curves: The curves.
        group: Number of each curve's group, shape (m,): one curve with several guess rates or
            links.
        alpha_range: Bounds of the exponent.

    Returns:
        Numbers of curves, one of each group, by ascending group. Where none of a group could be
        fitted, its first.
    """
    found = np.full(len(group), np.inf)
    for rows, scores, design, _ in curves.blocks():
        fit = _fit(scores, design, alpha_range)
        usable = ~is_flat(scores) & (fit.status == OK)
        found[rows] = np.where(usable, deviance(scores, design, fit), np.inf)
    order = np.lexsort((found, group))
    return np.asarray(order[np.unique(group[order], return_index=True)[1]])


def _fit(scores: Floats, design: Design, alpha_range: tuple[float, float]) -> MechanismFit:
    """Return the binomial maximum likelihood fit without variation between models."""
    alike = np.zeros(scores.shape[1])
    return fit_mechanism(scores, design, alpha_range=alpha_range, sigma=alike, resolution=0.0)
