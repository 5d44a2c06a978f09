"""Fit the mechanism to many curves of one length: bootstraps need millions of fits.

The mean is fitted by Fisher scoring, the variation between models by the secant rule. Each curve is
fitted by itself, in compiled loops (:mod:`inference.nulls.mechanism_loops`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    RESOLUTION,
    Design,
    MechanismFit,
)
from bigbench_meta.inference.nulls.mechanism_loops import fit_of, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["fit_mechanism"]


def fit_mechanism(
    y: Floats,
    design: Design,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    sigma: Floats | None = None,
    resolution: float = RESOLUTION,
    offset: Floats | None = None,
) -> MechanismFit:
    r"""Fit the mechanism to each of m curves of one length.

    Level and alpha solve the quasi-likelihood equations
    :math:`\sum_i (\partial\mu_i/\partial\theta)(y_i - \mu_i)/V_i = 0`, alpha within its range.
    Sigma solves the moment equation :math:`\sum_i w_i (y_i - \mu_i)^2 / V_i = \sum_i w_i^2 (1 -
    h_i)`, sigma at least 0, with leverages h and the share w of a point's variance that is not mere
    resolution: n - 2 on the right where all points are informative. The two are solved together,
    the mean fitted at each trial value of sigma.

    Args:
        y: Scores as proportions, shape (n, m), up is better.
        design: The curves.
        alpha_range: Bounds of alpha; either may be infinite.
        sigma: Variation between models, shape (m,), where it is known; NaN where it is not.
        resolution: In examples, see :data:`RESOLUTION`. With 0, and
            a sigma of 0, this is binomial maximum likelihood.
        offset: Added to the log loss, shape (n, m).

    Returns:
        The fit; ``not_converged`` where the equations were not solved within a number of steps.

    Raises:
        InputError: Shapes do not fit, or the range is empty.

    References:
        Wedderburn (1974), quasi-likelihood, doi:10.1093/biomet/61.3.439. Breslow (1984), variation
        beyond the sampling error by a moment equation, doi:10.2307/2346389.

    Examples:
        >>> x = np.log([[1.0], [10.0], [100.0], [1000.0]])
        >>> design = Design(
        ...     x=x - x.mean(), trials=np.full((4, 1), 1e6), floor=np.zeros(1),
        ... )
        >>> fit = fit_mechanism(np.exp(-np.exp(0.5 - 0.2 * design.x)), design)
        >>> round(float(fit.alpha[0]), 4), float(fit.sigma[0])
        (0.2, 0.0)
    """
    _check(y, design, alpha_range)
    low, high = map(float, alpha_range)
    known = np.full(y.shape[1], np.nan) if sigma is None else sigma
    # Scores are held off their bounds.
    margin = 0.5 / design.trials
    share = np.clip((y - design.floor) / design.span, margin, 1 - margin)
    (level, alpha, sigma), solved = fit_of(
        numbers(y), design.arrays(offset), numbers(design.link.log_loss(share)),
        numbers(known, design.floor.shape), (low, high), float(resolution),
    )  # fmt: skip
    return MechanismFit(
        level=level,
        alpha=alpha,
        sigma=sigma,
        at_bound=(1 * (alpha >= high) - 1 * (alpha <= low)).astype(np.int8),
        status=(~solved).astype(np.int8),
    )


def _check(y: Floats, design: Design, alpha_range: tuple[float, float]) -> None:
    if y.ndim != 2 or y.shape != design.x.shape:
        raise InputError(f"shape {y.shape}, but that of x is {design.x.shape}", where="y")
    if not alpha_range[0] <= alpha_range[1]:
        raise InputError(f"{alpha_range} is not a range", where="alpha_range", hint="(low, high)")
