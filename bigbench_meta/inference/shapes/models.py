"""The shapes of a curve: their formulas, linear coefficients and parameter bounds.

Every shape is written on u, the logarithm of scale counted from the smallest scale of the curve and
divided by the span of its scales, so that u runs from 0 to 1 and no bound depends on the unit of x.
A shape is linear in one or two coefficients; the rest, *theta*, is searched within a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from bigbench_meta.inference.shapes.loops import (
    BROKEN_POWER_LAW,
    CONSTANT,
    LOG_LINEAR,
    LOGISTIC,
    POWER_LAW,
    STEP,
    tabulate,
)

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
        kind: Which of the formulas in :mod:`inference.shapes.loops`.
        parameters: Names of what is reported, coefficients and theta in the paper's form.
        n_linear: Number of coefficients.
        asymptotes: Whether the coefficients are scores that the metric's range bounds, those
            between which the curve runs; else theta changes the second column alone.
        n_theta: Number of thetas.
        box: Bounds of theta.
        grid: The thetas that are tried.
        strata: In how many runs of equal length the grid falls; the best node of each of the best
            ``starts`` of them is refined. 0 where nothing is refined, as every theta is tried.
        starts: Number of nodes that are refined.
        finalists: How many of these are refined to the end, those that lead after some steps.
    """

    kind: int
    parameters: tuple[str, ...]
    n_linear: int = 2
    asymptotes: bool = False
    n_theta: int = 0
    box: Box
    grid: Grid
    strata: int = 0
    starts: int = 1
    finalists: int = 1

    def jacobian(self, u: Floats, theta: Floats, coefficients: Floats) -> Floats:
        """Return the columns, which multiply the coefficients, and the derivatives by theta.

        Args:
            u: Log scales, shape (m, n).
            theta: Shape (m, thetas).
            coefficients: Shape (m, coefficients).

        Returns:
            Shape (m, n, coefficients + thetas). The place of a step has a derivative of 0.
        """
        parts = tabulate(self.kind, u, theta)
        parts[..., 2:] *= (coefficients[:, -1] - self.asymptotes * coefficients[:, 0])[
            :, None, None
        ]
        columns, slopes = parts[..., : self.n_linear], parts[..., 2 : 2 + self.n_theta]
        return np.concatenate([columns, slopes], axis=-1)


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


def _logistic_box(u: Floats) -> Floats:
    gap = np.diff(u, axis=-1).min(axis=-1, initial=1.0)
    with np.errstate(divide="ignore"):
        steepest = np.minimum(_STEEPEST_TIMES_GAP / gap, _STEEPEST)
    low = np.stack([np.full(len(u), _MIDPOINT[0]), np.full(len(u), np.log(_SLOWEST))], axis=-1)
    high = np.stack([np.full(len(u), _MIDPOINT[1]), np.log(steepest)], axis=-1)
    return np.stack([low, high])


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
        kind=CONSTANT,
        parameters=("level",),
        n_linear=1,
        box=_no_box,
        grid=_no_grid,
    ),
    "log_linear": Model(
        kind=LOG_LINEAR,
        parameters=("first", "slope"),
        box=_no_box,
        grid=_no_grid,
    ),
    "power_law": Model(
        kind=POWER_LAW,
        parameters=("first", "limit", "exponent"),
        asymptotes=True,
        n_theta=1,
        box=_POWER_BOX,
        grid=_grid_in(_POWER_BOX, np.linspace(0, 1, 60)),
        strata=6,
        starts=3,
        finalists=3,
    ),
    "step": Model(
        kind=STEP,
        parameters=("below", "above", "step_scale"),
        n_theta=1,
        box=_same_box((0.0,), (1.0,)),
        grid=_step_grid,
    ),
    "logistic": Model(
        kind=LOGISTIC,
        parameters=("lower", "upper", "midpoint", "steepness"),
        asymptotes=True,
        n_theta=2,
        box=_logistic_box,
        grid=_grid_in(_logistic_box, np.linspace(0, 1, 48), np.linspace(0, 1, 16)),
        strata=16,
        starts=4,
        finalists=4,
    ),
    "broken_power_law": Model(
        kind=BROKEN_POWER_LAW,
        parameters=("limit", "amplitude", "break_scale", "exponent", "bend", "width"),
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
