"""Criteria for a departure from a smooth, predictable rise, and how many curves meet each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.checks import one_of, probability
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.inference.sharpness import score_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# The median of two squared steps is their mean: E = (a + b) / sqrt((a^2 + b^2) / 2) <= 2.
_FEW_SCALES: Final = 3
_MOST_OF_THREE: Final = 2.0

__all__ = ["CRITERIA", "Criterion", "could_meet", "evidence_summary", "meets"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A criterion of a departure from a smooth, predictable rise.

    Attributes:
        name: Its name.
        meaning: When it holds; ``{threshold}`` and ``{alpha}`` are filled in.
        holds: Curves, threshold and level of the tests to whether it holds: true, false, or
            missing where it cannot be decided.
        in_reach: Curves and threshold to whether it could hold at all, with these models, test sets
            and ranges of scores; by default wherever it can be decided.
    """

    name: str
    meaning: str
    holds: Callable[[pd.DataFrame, float, float], pd.Series]
    in_reach: Callable[[pd.DataFrame, float], NDArray[np.bool_]] | None = None


def _at_most(column: str) -> Callable[[pd.DataFrame, float, float], pd.Series]:
    return lambda frame, _, alpha: (
        (frame[column] <= alpha).astype("boolean").mask(frame[column].isna())
    )


def _flagged(frame: pd.DataFrame, threshold: float, _: float) -> pd.Series:
    return flagged(frame, threshold).astype("boolean").mask(frame["emergence_score"].isna())


def _four_models(frame: pd.DataFrame, threshold: float) -> NDArray[np.bool_]:
    """With three models E is at most 2."""
    return np.asarray((frame["n_scales"] > _FEW_SCALES) | (threshold < _MOST_OF_THREE))


def _enough_steps(frame: pd.DataFrame, threshold: float) -> NDArray[np.bool_]:
    """The range of the scores is more than so many examples."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(score_range(frame) / frame["resolution"] > threshold)


def _resolution_limited(frame: pd.DataFrame, threshold: float, _: float) -> pd.Series:
    score = frame["resolution_limited_score"]
    return (score > threshold).astype("boolean").mask(score.isna())


def _interval_above(frame: pd.DataFrame, threshold: float, _: float) -> pd.Series:
    low = frame["emergence_low"]
    above = (low > threshold) | (low == np.inf)
    return above.astype("boolean").mask(low.isna())


def _wei(frame: pd.DataFrame, _: float, __: float) -> pd.Series:
    emergent = frame["wei_emergent"].astype(str)
    return (emergent == "yes").astype("boolean").mask(~emergent.isin(["yes", "no"]))


def _breakthrough(frame: pd.DataFrame, _: float, __: float) -> pd.Series:
    trend = frame["trend"].astype(str)
    return (trend == "breakthrough").astype("boolean").mask(trend == "too_few_points")


def _beaten(frame: pd.DataFrame, _: float, __: float) -> pd.Series:
    rises = frame["orientation"].astype(str) == "up"
    end = frame["forecast_high"].where(rises, frame["forecast_low"])
    better = np.where(rises, frame["score_last"] > end, frame["score_last"] < end)
    return pd.Series(better, index=frame.index, dtype="boolean").mask(end.isna())


_LINE: Final = "a straight line"
_MECHANISM: Final = "the smooth mechanism"
_P: Final = "p at most {alpha:g}"
_FDR: Final = "FDR {alpha:g}"


def _step_exceeds(model: str, error: str, column: str) -> Criterion:
    return Criterion(
        name=column,
        meaning=f"A step exceeds {model} ({error})",
        holds=_at_most(column),
    )


CRITERIA: Final = (
    Criterion(
        name="flagged", meaning="E is above {threshold:g}", holds=_flagged, in_reach=_four_models
    ),
    Criterion(
        name="resolution_limited",
        meaning="E is above {threshold:g} with steps of at least one example",
        holds=_resolution_limited,
        in_reach=_enough_steps,
    ),
    Criterion(
        name="interval_above",
        meaning="The 95% interval of E lies above {threshold:g}",
        holds=_interval_above,
    ),
    _step_exceeds(_LINE, _FDR, "line_q_bh"),
    _step_exceeds(_MECHANISM, _P, "mechanism_p"),
    _step_exceeds(_MECHANISM, _FDR, "mechanism_q_bh"),
    _step_exceeds("the smooth mechanism with its model family's variation", _FDR, "family_q_bh"),
    Criterion(
        name="wei",
        meaning="Random at small scales, clearly better at large ones (Wei et al. 2022)",
        holds=_wei,
    ),
    Criterion(
        name="breakthrough",
        meaning="The trend is a breakthrough (Lourie et al. 2025)",
        holds=_breakthrough,
    ),
    Criterion(
        name="forecast_beaten",
        meaning="The largest scale is better than the forecast interval from the smaller ones",
        holds=_beaten,
    ),
    Criterion(
        name="mechanism_misfit",
        meaning="The mechanism without variation between models does not fit (p at most {alpha:g})",
        holds=_at_most("mechanism_p_fit"),
    ),
)
"""The criteria, in the order of :func:`evidence_summary`."""


def meets(
    scores: pd.DataFrame, name: str, *, threshold: float = DEFAULT_THRESHOLD, alpha: float = 0.05
) -> pd.Series:
    """Return which curves meet a criterion.

    Args:
        scores: What :func:`bigbench_meta.score_curves` returns with ``inference``.
        name: Name of one of :data:`CRITERIA`.
        threshold: Of the emergence score.
        alpha: Level of the tests, in (0, 1).

    Returns:
        A nullable boolean series with the index of ``scores``, missing where it cannot be decided.

    Raises:
        InputError: No such criterion, or ``alpha`` out of its range.
        SchemaError: A column is missing.
    """
    probability(alpha, "alpha")
    try:
        return _criterion(name).holds(scores, threshold, alpha)
    except KeyError as error:
        raise SchemaError(
            f"missing column {error}", where="scores", hint="score_curves(..., inference=True)"
        ) from error


def could_meet(
    scores: pd.DataFrame, name: str, *, threshold: float = DEFAULT_THRESHOLD
) -> pd.Series[bool]:
    """Return which curves could meet a criterion, with their models, test sets and range of scores.

    Args:
        scores: As for :func:`meets`.
        name: Name of one of :data:`CRITERIA`.
        threshold: Of the emergence score.

    Raises:
        InputError: No such criterion.
        SchemaError: A column is missing.
    """
    could = meets(scores, name, threshold=threshold).notna()
    in_reach = _criterion(name).in_reach
    return could if in_reach is None else could & in_reach(scores, threshold)


def _criterion(name: str) -> Criterion:
    known = {one.name: one for one in CRITERIA}
    one_of(name, known, "criterion")
    return known[name]


def evidence_summary(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    alpha: float = 0.05,
    by: str = "metric_type",
) -> pd.DataFrame:
    """Count the curves that meet each criterion, and the flagged ones among them.

    None of them is emergence. A misfit of the mechanism says nothing of a jump, a step beyond it
    may be a smooth curve of another form, and flags are what the paper counts. How many curves of
    smooth families would meet a criterion, :func:`bigbench_meta.expected_if_smooth` says.

    Args:
        scores: What :func:`bigbench_meta.score_curves` returns with ``inference``, one level of
            them (see :func:`bigbench_meta.select_level`).
        threshold: Of the emergence score.
        alpha: Level of the tests, in (0, 1).
        by: Column by whose values curves are also counted separately.

    Returns:
        One row per criterion and group: ``criterion``, ``meaning``, ``group`` (``all``, ``flagged``
        and the values of ``by``), ``observed`` (curves that meet it), ``decidable`` (curves that
        could have met it, given their models, test sets and the range of their scores) and
        ``n_curves``.

    Raises:
        InputError: ``alpha`` is out of its range.
        SchemaError: A column is missing.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> curves = build_curves(load_embedded())
        >>> some = curves[curves.keys["task"] == "arithmetic 3D+"]
        >>> found = evidence_summary(score_curves(some, inference=True, n_boot=199))
        >>> found[found["group"] == "flagged"].set_index("criterion").loc["wei", "observed"].item()
        3
    """
    if by not in scores:
        raise SchemaError(f"missing column {by}", where="scores")
    flags = flagged(scores, threshold)
    values = scores[by].astype(str)
    groups = {"all": pd.Series(data=True, index=scores.index), "flagged": flags} | {
        value: values == value for value in dict.fromkeys(values.sort_values())
    }
    rows = []
    for one in CRITERIA:
        met = meets(scores, one.name, threshold=threshold, alpha=alpha)
        could = could_meet(scores, one.name, threshold=threshold)
        meaning = one.meaning.format(threshold=threshold, alpha=alpha)
        rows += [
            {
                "criterion": one.name,
                "meaning": meaning,
                "group": group,
                "observed": int(met[chosen].sum()),
                "decidable": int((could & chosen).sum()),
                "n_curves": int(chosen.sum()),
            }
            for group, chosen in groups.items()
        ]
    return pd.DataFrame(rows)
