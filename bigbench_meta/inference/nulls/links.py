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
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.interpolate import CubicSpline

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.multiple_choice import (
    DEFAULT_CONCENTRATION,
    expected_multiple_choice_grade,
)
from bigbench_meta.inference.nulls.mechanism_loops import (
    BRIER_KIND,
    FINE,
    FIRST,
    GRADE_KIND,
    SHARE_KIND,
    LinkArrays,
    link_of,
    numbers,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["BRIER", "CONCENTRATIONS", "SHARE", "Link", "brier", "grade"]

CONCENTRATIONS: Final = (10.0, DEFAULT_CONCENTRATION)
"""How similar questions may be: tried in addition to ``share``, the limit at concentration 0.

The upper one is the default of :mod:`generate.multiple_choice`. At infinity the grade is a step
whatever the loss does, and no jump of it could be distinguished from the mechanism.
"""

# Log losses of a table; beyond its ends the grade is what it is there, to 1e-5.
_LAST: Final = 4.5
_COARSE: Final = 16  # grades by quadrature per unit of log loss, with a spline between
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
        share, slope = link_of(numbers(log_loss).ravel(), self.arrays)
        return share.reshape(log_loss.shape), slope.reshape(log_loss.shape)

    @property
    def arrays(self) -> LinkArrays:
        """The link as compiled loops take it."""
        return _arrays(self)

    @property
    def linear(self) -> float:
        """Weight of the linear part of a Brier score."""
        return 2 / (self.concentration + 2) if self.concentration else 0.0

    def log_loss(self, share: Floats) -> Floats:
        """Return the log loss of shares strictly between 0 and 1."""
        if self.kind == "grade":
            tabulated = self.arrays.table[:, 0]
            grid = FIRST + np.arange(len(tabulated)) / FINE
            return np.interp(share, tabulated[::-1], grid[::-1])
        right = share
        if self.kind == "brier":
            linear = self.linear
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


@cache
def _arrays(link: Link) -> LinkArrays:
    """Return a link in numbers; a grade is tabulated over log loss, falling."""
    if link.kind != "grade":
        kind = BRIER_KIND if link.kind == "brier" else SHARE_KIND
        return LinkArrays(kind, link.linear, np.empty((0, 4)))
    coarse = np.linspace(FIRST, _LAST, int((_LAST - FIRST) * _COARSE) + 1)
    expected = expected_multiple_choice_grade(
        np.exp(coarse), n_choices=link.n_choices, concentration=link.concentration,
        chance_floor=link.from_chance,
    )  # fmt: skip
    chance = 1 / link.n_choices if link.from_chance else 0.0
    spline = CubicSpline(coarse, np.clip((expected - chance) / (1 - chance), 0.0, 1.0))
    fine = np.linspace(FIRST, _LAST, int((_LAST - FIRST) * FINE) + 1)
    # A spline swings by its error where the grade has come to its ends.
    share = np.minimum.accumulate(np.clip(spline(fine), 0.0, 1.0))
    slope = np.minimum(spline(fine, 1), 0.0)
    steps = np.diff(share, append=share[-1]), np.diff(slope, append=slope[-1])
    return LinkArrays(GRADE_KIND, 0.0, np.stack([share, slope, *steps], axis=1))
