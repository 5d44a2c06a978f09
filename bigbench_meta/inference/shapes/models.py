"""The shapes of a curve: their formulas, linear coefficients and parameter bounds.

Every shape is written on u, the logarithm of scale counted from the smallest scale of the curve and
divided by the span of its scales, so that u runs from 0 to 1 and no bound depends on the unit of x.
A shape is linear in one or two coefficients; the rest, *theta*, is searched within a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["MODELS", "Model"]

# Exponents of a power law per span: from a line in log scale, to within a thousandth of its rise,
# to a decay that is over before a fiftieth of the span.
_EXPONENT: Final = (0.01, 50.0)
# Before and after a break: a factor of e^12 over the span, and a bend of twice that.
_BREAK_EXPONENT: Final = 12.0
_BREAK_BEND: Final = 24.0
# Width of a break, in spans.
_BREAK_WIDTH: Final = (0.02, 1.0)
# A middle may lie one span outside the scales that were sampled.
_MIDPOINT: Final = (-1.0, 2.0)
_SLOWEST: Final = 0.5
# 10-90% of a logistic takes 2 ln 9 / steepness; it may not be shorter than half the smallest gap
# between neighbouring scales, where no data could distinguish it from a step.
_STEEPEST_TIMES_GAP: Final = 4 * np.log(9.0)
_STEEPEST: Final = 2000.0


class Columns(Protocol):
    """Gives what multiplies the coefficients, shape (..., n, number of coefficients)."""

    def __call__(self, u: Floats, theta: Floats) -> Floats: ...


class Slopes(Protocol):
    """Gives the derivatives of the shape by theta, shape (..., n, number of thetas)."""

    def __call__(self, u: Floats, theta: Floats, coefficients: Floats) -> Floats: ...


class Box(Protocol):
    """Gives the bounds of theta for curves with points at u, shape (2, m, number of thetas)."""

    def __call__(self, u: Floats) -> Floats: ...


class Grid(Protocol):
    """Gives the thetas that are tried for curves with points at u, shape (m, nodes, thetas)."""

    def __call__(self, u: Floats) -> Floats: ...


@dataclass(frozen=True, kw_only=True)
class Model:
    """One shape.

    Attributes:
        parameters: Names of what is reported, coefficients and theta in the paper's form.
        n_linear: Number of coefficients.
        asymptotes: Which coefficients are scores that the metric's range bounds.
        columns: What multiplies the coefficients.
        slopes: Derivatives by theta, at given coefficients.
        n_theta: Number of thetas.
        box: Bounds of theta.
        grid: The thetas that are tried.
        strata: In how many runs of equal length the grid falls; the best node of each of the best
            ``starts`` of them is refined. 0 where nothing is refined, as every theta is tried.
        starts: Number of nodes that are refined.
        finalists: How many of these are refined to the end, those that lead after some steps.
    """

    parameters: tuple[str, ...]
    n_linear: int
    asymptotes: tuple[bool, ...]
    columns: Columns
    slopes: Slopes
    n_theta: int
    box: Box
    grid: Grid
    strata: int = 0
    starts: int = 1
    finalists: int = 1


def _no_slopes(u: Floats, theta: Floats, coefficients: Floats) -> Floats:
    del coefficients
    return np.empty((*np.broadcast_shapes(u.shape, (*theta.shape[:-1], u.shape[-1])), 0))


def _no_box(u: Floats) -> Floats:
    return np.empty((2, len(u), 0))


def _no_grid(u: Floats) -> Floats:
    return np.empty((len(u), 1, 0))


def _same_box(low: tuple[float, ...], high: tuple[float, ...]) -> Box:
    def box(u: Floats) -> Floats:
        return np.broadcast_to(np.array([low, high])[:, None, :], (2, len(u), len(low))).copy()

    return box


def _grid_in(box: Box, *axes: Floats) -> Grid:
    """Return the grid of all combinations of nodes, given as parts of the box along each theta."""
    parts = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)

    def grid(u: Floats) -> Floats:
        low, high = box(u)[:, :, None, :]
        return np.asarray(low + parts * (high - low))

    return grid


def _middling(count: int) -> Floats:
    """Return nodes from 0 to 1 that lie closer together around the middle."""
    t = np.linspace(-1.0, 1.0, count)
    return 0.5 + 0.5 * np.sign(t) * t**2


# constant: y = level -------------------------------------------------------------------------


def _constant_columns(u: Floats, theta: Floats) -> Floats:
    return _line_columns(u, theta)[..., :1]


# log-linear: y = first + rise u --------------------------------------------------------------


def _line_columns(u: Floats, theta: Floats) -> Floats:
    u = np.broadcast_to(u, np.broadcast_shapes(u.shape, (*theta.shape[:-1], u.shape[-1])))
    return np.stack([np.ones_like(u), u], axis=-1)


# power law: y = first e + limit (1 - e), e = exp(-c u), theta = (log c) ------------------------


def _power_columns(u: Floats, theta: Floats) -> Floats:
    exponent = -np.exp(theta[..., 0, None]) * u
    return np.stack([np.exp(exponent), -np.expm1(exponent)], axis=-1)


def _power_slopes(u: Floats, theta: Floats, coefficients: Floats) -> Floats:
    exponent = -np.exp(theta[..., 0, None]) * u
    amplitude = (coefficients[..., 0] - coefficients[..., 1])[..., None]
    return (amplitude * exponent * np.exp(exponent))[..., None]


# logistic: y = lower (1 - s) + upper s, s = expit(k (u - m)), theta = (m, log k) ---------------


def _logistic_columns(u: Floats, theta: Floats) -> Floats:
    z = np.exp(theta[..., 1, None]) * (u - theta[..., 0, None])
    return np.stack([expit(-z), expit(z)], axis=-1)


def _logistic_slopes(u: Floats, theta: Floats, coefficients: Floats) -> Floats:
    steepness = np.exp(theta[..., 1, None])
    z = steepness * (u - theta[..., 0, None])
    density = (coefficients[..., 1] - coefficients[..., 0])[..., None] * expit(z) * expit(-z)
    return np.stack([-steepness * density, z * density], axis=-1)


def _logistic_box(u: Floats) -> Floats:
    gap = np.diff(u, axis=-1).min(axis=-1, initial=1.0)
    with np.errstate(divide="ignore"):
        steepest = np.minimum(_STEEPEST_TIMES_GAP / gap, _STEEPEST)
    low = np.stack([np.full(len(u), _MIDPOINT[0]), np.full(len(u), np.log(_SLOWEST))], axis=-1)
    high = np.stack([np.full(len(u), _MIDPOINT[1]), np.log(steepest)], axis=-1)
    return np.stack([low, high])


# broken power law: y = a + b exp(h(u) - h(0)), h = -c0 u - c1 f softplus((u - d) / f),
# theta = (d, c0, c1, log f) ------------------------------------------------------------------


def _break_parts(u: Floats, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the width f, z = (u - d) / f, the same at u = 0, and softplus(z) less that at 0."""
    width = np.exp(theta[..., 3, None])
    z, z0 = (u - theta[..., 0, None]) / width, -theta[..., 0, None] / width
    return width, z, z0, np.logaddexp(0.0, z) - np.logaddexp(0.0, z0)


def _broken_columns(u: Floats, theta: Floats) -> Floats:
    width, _, _, soft = _break_parts(u, theta)
    power = np.exp(-theta[..., 1, None] * u - theta[..., 2, None] * width * soft)
    return np.stack([np.ones_like(power), power], axis=-1)


def _broken_slopes(u: Floats, theta: Floats, coefficients: Floats) -> Floats:
    width, z, z0, soft = _break_parts(u, theta)
    above, above0 = expit(z), expit(z0)
    bend = theta[..., 2, None]
    power = np.exp(-theta[..., 1, None] * u - bend * width * soft)
    scaled = coefficients[..., 1, None] * power
    by_width = -bend * width * (soft - (z * above - z0 * above0))
    by_theta = np.stack([bend * (above - above0), -u, -width * soft, by_width], axis=-1)
    return scaled[..., None] * by_theta


# step: y = below where u < d, else above -----------------------------------------------------


def _step_columns(u: Floats, theta: Floats) -> Floats:
    above = (u >= theta[..., 0, None]).astype(np.float64)
    return np.stack([1.0 - above, above], axis=-1)


def _step_grid(u: Floats) -> Floats:
    """Return the middle of every gap: any place within a gap fits alike."""
    return ((u[:, 1:] + u[:, :-1]) / 2)[..., None]


_POWER_BOX: Final = _same_box((np.log(_EXPONENT[0]),), (np.log(_EXPONENT[1]),))
_BROKEN_BOX: Final = _same_box(
    (0.0, -_BREAK_EXPONENT, -_BREAK_BEND, np.log(_BREAK_WIDTH[0])),
    (1.0, _BREAK_EXPONENT, _BREAK_BEND, np.log(_BREAK_WIDTH[1])),
)

MODELS: Final[dict[str, Model]] = {
    "constant": Model(
        parameters=("level",),
        n_linear=1,
        asymptotes=(False,),
        columns=_constant_columns,
        slopes=_no_slopes,
        n_theta=0,
        box=_no_box,
        grid=_no_grid,
    ),
    "log_linear": Model(
        parameters=("first", "slope"),
        n_linear=2,
        asymptotes=(False, False),
        columns=_line_columns,
        slopes=_no_slopes,
        n_theta=0,
        box=_no_box,
        grid=_no_grid,
    ),
    "power_law": Model(
        parameters=("first", "limit", "exponent"),
        n_linear=2,
        asymptotes=(True, True),
        columns=_power_columns,
        slopes=_power_slopes,
        n_theta=1,
        box=_POWER_BOX,
        grid=_grid_in(_POWER_BOX, np.linspace(0, 1, 60)),
        strata=6,
        starts=3,
        finalists=3,
    ),
    "step": Model(
        parameters=("below", "above", "step_scale"),
        n_linear=2,
        asymptotes=(False, False),
        columns=_step_columns,
        slopes=_no_slopes,
        n_theta=1,
        box=_no_box,
        grid=_step_grid,
    ),
    "logistic": Model(
        parameters=("lower", "upper", "midpoint", "steepness"),
        n_linear=2,
        asymptotes=(True, True),
        columns=_logistic_columns,
        slopes=_logistic_slopes,
        n_theta=2,
        box=_logistic_box,
        grid=_grid_in(_logistic_box, np.linspace(0, 1, 48), np.linspace(0, 1, 16)),
        strata=16,
        starts=4,
        finalists=4,
    ),
    "broken_power_law": Model(
        parameters=("limit", "amplitude", "break_scale", "exponent", "bend", "width"),
        n_linear=2,
        asymptotes=(False, False),
        columns=_broken_columns,
        slopes=_broken_slopes,
        n_theta=4,
        box=_BROKEN_BOX,
        grid=_grid_in(
            _BROKEN_BOX,
            np.linspace(0, 1, 17),
            _middling(9),
            _middling(8),
            np.array([0.1, 0.5, 0.9]),
        ),
        strata=153,
        starts=24,
        finalists=4,
    ),
}
"""Every shape by name, the simpler before the more complex."""
