r"""Links from log loss to the share of the attainable gain: the metric's part of the mechanism.

``share`` is :math:`e^{-\lambda}`: exact match, normalised edit distance, perplexity, and multiple
choice of models that know an answer or guess. ``brier`` is :math:`1 - (1 - e^{-\lambda})^2` where
questions are all alike, and between that and ``share`` where they differ.
``grade`` is multiple choice by the largest mass, the metric of section 2 of the paper, with
questions that differ as in :func:`expected_multiple_choice_grade`: the more
alike they are, the nearer it is to a step.

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.multiple_choice import (
    DEFAULT_CONCENTRATION,
    expected_multiple_choice_grade,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["BRIER", "CONCENTRATIONS", "MOST_LOG_LOSS", "SHARE", "Link", "brier", "grade"]

MOST_LOG_LOSS: Final = 30.0
"""A loss of exp(30) is far beyond the floor; one more would overflow."""

CONCENTRATIONS: Final = (10.0, DEFAULT_CONCENTRATION)
"""How similar questions may be: tried in addition to ``share``, the limit at concentration 0.

The upper one is the default of :mod:`generate.multiple_choice`. At infinity the grade is a step
whatever the loss does, and no jump of it could be distinguished from the mechanism.
"""

# Log losses of a table; beyond its ends the grade is what it is there, to 1e-5.
_FIRST: Final = -12.0
_LAST: Final = 4.5
_COARSE: Final = 16  # grades by quadrature per unit of log loss, with a spline between
_FINE: Final = 256  # straight lines per unit
_MOST_CHOICES: Final = 100


@dataclass(frozen=True)
class Link:
    """How a metric turns the loss into a share of the attainable gain.

    Attributes:
        kind: ``share``, ``brier`` or ``grade``.
        n_choices: Choices of a question; of a grade.
        concentration: How alike questions are; of a grade, and of a Brier score, where 0 says that
            they do not differ.
        from_chance: Whether a model that knows nothing guesses, or is misled; of a grade.
    """

    kind: Literal["share", "brier", "grade"]
    n_choices: int = 0
    concentration: float = 0.0
    from_chance: bool = True

    @property
    def likeness(self) -> tuple[float, bool]:
        """The part of a link that does not depend on the number of choices."""
        return self.concentration, self.from_chance

    def __call__(self, log_loss: Floats) -> tuple[Floats, Floats]:
        """Return the share, in [0, 1], and its derivative by log loss, of any shape."""
        if self.kind == "grade":
            return _looked_up(_table(self), log_loss)
        return self.of_loss(np.exp(np.minimum(log_loss, MOST_LOG_LOSS)))

    def of_loss(self, loss: Floats) -> tuple[Floats, Floats]:
        """Return share and derivative by log loss at losses; not of a grade."""
        share = np.exp(-loss)
        slope = -loss * share
        if self.kind == "share":
            return share, slope
        miss, linear = 1 - share, self._linear
        return 1 - miss * (linear + (1 - linear) * miss), (linear + 2 * (1 - linear) * miss) * slope

    @property
    def _linear(self) -> float:
        """Weight of the linear part of a Brier score."""
        return 2 / (self.concentration + 2) if self.concentration else 0.0

    def log_loss(self, share: Floats) -> Floats:
        """Return the log loss of shares strictly between 0 and 1."""
        if self.kind == "grade":
            table = _table(self)
            grid = _FIRST + np.arange(len(table.share)) / _FINE
            return np.interp(share, table.share[::-1], grid[::-1])
        right = share
        if self.kind == "brier":
            linear = self._linear
            root = np.sqrt(linear**2 + 4 * (1 - linear) * (1 - share))
            right = 1 - (root - linear) / (2 * (1 - linear))
        return np.asarray(np.log(-np.log(right)))


SHARE: Final = Link("share")
BRIER: Final = Link("brier")


def brier(concentration: float) -> Link:
    r"""Return the link of a Brier score of questions that differ.

    With masses from a Dirichlet distribution of concentration :math:`\kappa`, as in
    :func:`expected_brier_score`, the score of K choices is :math:`(1 - 1/K)
    (1 + w) (1 - \ell)` with :math:`w = 1 / (\kappa + 1)`, :math:`m = 1 - e^{-\lambda}` and
    :math:`1 - \ell = (2 w m + (1 - w) m^2) / (1 + w)`, whatever K. Its worst value is that of sure
    models that are often wrong, 1 + w times that of guessing.

    Args:
        concentration: How alike questions are, above 0.

    Raises:
        InputError: The concentration is not positive.

    Examples:
        >>> share, _ = brier(2.0)(np.log([np.log(2)]))
        >>> share
        array([0.625])
    """
    if not 0 < concentration < np.inf:
        raise InputError(f"{concentration:g} is not above 0 and finite", where="concentration")
    return Link("brier", concentration=float(concentration))


def grade(n_choices: int, concentration: float, *, from_chance: bool = True) -> Link:
    """Return the link of multiple choice by the largest mass.

    Args:
        n_choices: Choices of a question, at least 2; of more than 100, 100.
        concentration: How alike questions are, in [0.001, 100].
        from_chance: Whether a model that knows nothing guesses. The share is then that of what is
            above chance, else that of all.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> share, slope = grade(2, 100.0)(np.log([2.0, 1.0]))
        >>> share.round(3), slope.round(3)
        (array([0.827, 1.   ]), array([-0.863, -0.003]))
    """
    if n_choices < 2:
        raise InputError(f"{n_choices} is below 2", where="n_choices")
    if not 0.001 <= concentration <= DEFAULT_CONCENTRATION:
        raise InputError(f"{concentration:g} is not between 0.001 and 100", where="concentration")
    return Link("grade", min(n_choices, _MOST_CHOICES), float(concentration), from_chance)


class _Table(NamedTuple):
    """Share and slope at even log losses, and how far it is from each entry to the next."""

    share: Floats
    slope: Floats
    share_step: Floats
    slope_step: Floats


@cache
def _table(link: Link) -> _Table:
    """Tabulate a grade over log loss, falling."""
    coarse = np.linspace(_FIRST, _LAST, int((_LAST - _FIRST) * _COARSE) + 1)
    expected = expected_multiple_choice_grade(
        np.exp(coarse), n_choices=link.n_choices, concentration=link.concentration,
        chance_floor=link.from_chance,
    )  # fmt: skip
    chance = 1 / link.n_choices if link.from_chance else 0.0
    spline = CubicSpline(coarse, np.clip((expected - chance) / (1 - chance), 0.0, 1.0))
    fine = np.linspace(_FIRST, _LAST, int((_LAST - _FIRST) * _FINE) + 1)
    # A spline swings by its error where the grade has come to its ends.
    share = np.minimum.accumulate(np.clip(spline(fine), 0.0, 1.0))
    slope = np.minimum(spline(fine, 1), 0.0)
    return _Table(share, slope, np.diff(share, append=share[-1]), np.diff(slope, append=slope[-1]))


def _looked_up(table: _Table, log_loss: Floats) -> tuple[Floats, Floats]:
    """Return share and slope by straight lines between the entries of a table."""
    place = (log_loss - _FIRST) * _FINE
    np.maximum(place, 0.0, out=place)
    np.minimum(place, len(table.share) - 1.000001, out=place)
    left = place.astype(np.int64)
    part = np.subtract(place, left, out=place)
    # Places are known to be valid; other modes look first.
    share, slope, rise, bend = (
        np.take(values, left, mode="clip")
        for values in (table.share, table.slope, table.share_step, table.slope_step)
    )
    rise *= part
    bend *= part
    share += rise
    slope += bend
    return share, slope
