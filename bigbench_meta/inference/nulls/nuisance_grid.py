"""Which guess rates and links a curve may have: each is tried, and the largest p-value counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.inference.nulls.links import BRIER, CONCENTRATIONS, SHARE, Link, brier, grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["GUESS_RATES", "candidates"]

GUESS_RATES: Final = (0.0, 1 / 5, 1 / 4, 1 / 3, 1 / 2)
"""Tried where nobody states the guess rate, and with them the lowest score of the curve."""

# A score so many standard errors below the guess rate that is stated contradicts it.
_BELOW: Final = 3.0

# A Brier score, whose sampling error is small, shows where between differing questions and those
# that are alike to a degree of 10 the truth is.
_UNLIKE: Final = 3.0


def candidates(
    y: Floats,
    trials: Floats,
    *,
    floor: float,
    picks_choice: bool,
    is_brier: bool,
    concentrations: Sequence[float] = CONCENTRATIONS,
) -> list[tuple[float, Link]]:
    """Return pairs of guess rate and link for one curve.

    Where a choice is picked, questions may be more or less alike, so that besides ``share`` the
    grades of ``concentrations`` are tried, with as many choices as the guess rate says, and for
    Brier scores the links of such questions. Scores clearly below the guess rate come from models
    that are misled: then guess rates of zero and of the lowest score are tried as well.

    Args:
        y: Scores as proportions, up is better, at least one.
        trials: Examples behind each.
        floor: Guess rate as a proportion; NaN where nobody states it.
        picks_choice: Whether the metric is, or may be, that a choice has the largest mass.
        is_brier: Whether the metric is a Brier score.
        concentrations: How alike questions may be.

    Examples:
        >>> y, trials = np.array([0.24, 0.3, 0.5]), np.full(3, 200.0)
        >>> len(candidates(y, trials, floor=0.25, picks_choice=True, is_brier=False))
        3
        >>> [rate for rate, _ in candidates(y, trials, floor=0, picks_choice=False, is_brier=False)]
        [0]
    """
    lowest, top = float(y.min()), float(y.max())
    if np.isnan(floor):
        floors, misled = {*GUESS_RATES, lowest}, False
    else:
        error = np.sqrt(np.maximum(floor * (1 - floor), 0.0) / trials)
        misled = bool(np.any(y < floor - _BELOW * error))
        floors = {floor, 0.0, lowest} if misled else {floor}
        if misled and is_brier and floor > 0.5:
            # All mass on the others of K choices: 1 - K / (2 (K - 1)), with K from the floor.
            floors.add(max(1 - 0.5 / (2 - 2 * floor), 0.0))
    found = [(rate, SHARE) for rate in sorted(floors)]
    if is_brier:
        found = [(rate, link) for rate in sorted(floors) for link in (BRIER, SHARE)]
        if not np.isnan(floor) and len(concentrations):
            # Sure models that know nothing are worse than guessing.
            found += [
                (max(1 - (1 - floor) * (1 + 1 / (one + 1)), 0.0), brier(one))
                for one in (_UNLIKE, *concentrations)
            ]
    elif picks_choice:
        chances = [
            rate for rate in (GUESS_RATES if np.isnan(floor) else (floor,)) if 0 < rate < 0.6
        ]
        found += [
            (rate, grade(round(1 / rate), concentration))
            for rate in chances
            for concentration in concentrations
        ]
        found += [
            (0.0, grade(round(1 / rate), concentration, from_chance=False))
            for rate in (chances if misled else [])
            for concentration in concentrations
        ]
    return [(rate, link) for rate, link in found if rate < top] or [(0.0, SHARE)]
