"""Classify the trend of a curve by rules on a few summary numbers.

Lourie, Hu & Cho (2025) sort downstream scaling into predictable (close to a line after a monotone
transformation), inverse, nonmonotonic, noisy, trendless and breakthrough scaling, by eye and
without thresholds, and against the validation loss. The rules here are this package's own, named
after their classes; ``TREND_RULES`` states them in the order in which they are tried.

References:
    Lourie, Hu & Cho (2025), "Scaling Laws Are Unreliable for Downstream Tasks: A Reality Check",
    arXiv 2507.00885.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import chdtrc, ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.inference.shapes.inputs import Frame, Points

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["TRENDS", "TREND_RULES", "TrendNumbers", "TrendRules", "trend_numbers", "trends"]

TREND_RULES: Final = {
    "trendless": "all scores are equal, or all their differences are within sampling error: where "
    "variances are known, a chi-squared test of one common value has p above `alpha`",
    "breakthrough": "between two scales it rises by at least `min_jump` more of its range than "
    "what lies between them of log scale; at least two points up to there lie within `max_before` "
    "of the range, and nothing after falls back below the middle of the jump",
    "nonmonotonic": "both rises and falls by at least `min_turn` of its range, and a parabola in "
    "log scale that turns within the scales has an adjusted R2 of at least `min_r2_turn`",
    "trendless, too": "a Mann-Kendall test of no trend has p above `alpha`",
    "inverse": "falls: Kendall's tau is negative",
    "increasing": "rises, and a parabola in log scale or a saturating power law has an adjusted R2 "
    "of at least `min_r2`",
    "noisy": "rises otherwise",
}
"""The rules, in the order in which they are tried; the first that holds names the curve."""

TRENDS: Final = (
    "increasing", "inverse", "nonmonotonic", "noisy", "trendless", "breakthrough", "too_few_points",
)  # fmt: skip
_INCREASING, _INVERSE, _NONMONOTONIC, _NOISY, _TRENDLESS, _BREAKTHROUGH, _TOO_FEW = range(7)

# Up to here the null distribution of Kendall's statistic is counted, beyond it is nearly normal.
_MOST_COUNTED: Final = 60


@dataclass(frozen=True, kw_only=True)
class TrendRules:
    """Thresholds of the rules.

    Attributes:
        min_points: Curves with fewer have no trend class.
        alpha: Level of the two tests of no trend.
        min_jump: How much more of its range a breakthrough takes than of log scale.
        max_before: Share of the range within which the points up to its beginning lie.
        min_turn: Share of the range by which a nonmonotonic curve rises, and falls.
        min_r2_turn: Adjusted R2 of its parabola.
        min_r2: Adjusted R2 of the parabola or power law through an increasing curve.
    """

    min_points: int = 5
    alpha: float = 0.1
    min_jump: float = 0.4
    max_before: float = 0.25
    min_turn: float = 0.4
    min_r2_turn: float = 0.7
    min_r2: float = 0.9


@dataclass(frozen=True, kw_only=True)
class TrendNumbers:
    """What the rules use, one entry a curve; NaN on a flat curve or one of a single point.

    Attributes:
        tau: Kendall's tau-b between scale and score.
        p_trend: Two-sided p-value of the Mann-Kendall test of no trend.
        p_equal: p-value of the chi-squared test that all scores are one value with sampling error;
            NaN where variances are not known.
        jump_share: Rise over the range of the scores, between the two scales where it exceeds
            their distance most.
        gap_share: That distance, in log scale from 0 to 1: what a line would rise there.
        before_share: Range of the points up to the first of the two scales, over that of all.
        n_before: Number of these points.
        after_share: How far the lowest point from the second scale on stands above that at the
            first, over the jump.
        run_up: Largest rise from any point to a later one, over the range.
        drawdown: Largest fall likewise.
        r2_line: Share of the variance that a line in log scale explains, unweighted.
        r2_parabola: Share that a parabola in log scale explains.
        turn: Where that parabola turns, in log scale from 0 to 1.
    """

    tau: Floats
    p_trend: Floats
    p_equal: Floats
    jump_share: Floats
    gap_share: Floats
    before_share: Floats
    n_before: Floats
    after_share: Floats
    run_up: Floats
    drawdown: Floats
    r2_line: Floats
    r2_parabola: Floats
    turn: Floats


def trend_numbers(points: Points, frame: Frame) -> TrendNumbers:
    """Return what the rules use; up is better in the scores."""
    found = {field.name: np.full(len(points.ragged), np.nan) for field in fields(TrendNumbers)}
    for rows, whole in frame.blocks(points):
        varied = np.flatnonzero((frame.scale[rows] > 0) & (frame.span[rows] > 0))
        if varied.size:
            usable, block = rows[varied], whole.take(varied)
            numbers = _mann_kendall(block.y) | _jump(block.u, block.y) | _swings(block.y)
            numbers |= _parabola(block.u, block.y)
            numbers["p_equal"] = _equal(block.y, block.w, frame, usable)
            for name, values in numbers.items():
                found[name][usable] = values
    return TrendNumbers(**found)


def trends(
    numbers: TrendNumbers, n_points: Ints, flat: Bools, r2_power: Floats, rules: TrendRules
) -> NDArray[np.int8]:
    """Return the index into :data:`TRENDS` of each curve.

    Args:
        numbers: What :func:`trend_numbers` found.
        n_points: Points of each curve.
        flat: Whether all scores of a curve are equal.
        r2_power: Share of the variance that a saturating power law explains; NaN for none.
        rules: The thresholds.
    """
    breakthrough = (
        (numbers.jump_share - numbers.gap_share >= rules.min_jump)
        & (numbers.before_share <= rules.max_before)
        & (numbers.n_before >= 2)
        & (numbers.after_share >= 0.5)
    )
    turned = (
        (np.minimum(numbers.run_up, numbers.drawdown) >= rules.min_turn)
        & (_adjusted(numbers.r2_parabola, n_points) >= rules.min_r2_turn)
        & (numbers.turn > 0)
        & (numbers.turn < 1)
    )
    smooth = _adjusted(np.fmax(numbers.r2_parabola, r2_power), n_points) >= rules.min_r2
    conditions = [
        n_points < rules.min_points,
        flat | (numbers.p_equal > rules.alpha),
        breakthrough,
        turned,
        ~(numbers.p_trend <= rules.alpha),
        numbers.tau < 0,
        smooth,
    ]
    names = [
        _TOO_FEW, _TRENDLESS, _BREAKTHROUGH, _NONMONOTONIC, _TRENDLESS, _INVERSE, _INCREASING,
    ]  # fmt: skip
    return np.select(conditions, names, _NOISY).astype(np.int8)


def _adjusted(r2: Floats, n_points: Ints) -> Floats:
    """Return R2 adjusted for the two parameters of a shape other than its level."""
    return np.asarray(1 - (1 - r2) * (n_points - 1) / np.maximum(n_points - 3, 1))


def _equal(y: Floats, w: Floats, frame: Frame, rows: Ints) -> Floats:
    weights = w**2
    mean = (weights * y).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):  # scores near the largest float
        unit = frame.scale[rows] ** 2 / frame.unit_variance[rows]
        chi_squared = unit * (weights * (y - mean) ** 2).sum(axis=1)
    p = chdtrc(max(y.shape[1] - 1, 1), chi_squared)
    return np.where(frame.variance_known[rows], p, np.nan)


def _mann_kendall(y: Floats) -> dict[str, Floats]:
    """Return Kendall's tau-b and the p-value of no trend; ties make the counted one conservative.

    References:
        Mann (1945), doi:10.2307/1907187; Kendall (1975), "Rank Correlation Methods", ch. 4 and 5.
    """
    n = y.shape[1]
    signs = np.sign(y[:, None, :] - y[:, :, None])[:, *np.triu_indices(n, 1)]
    concordance, untied = signs.sum(axis=1), np.abs(signs).sum(axis=1)
    pairs = n * (n - 1) / 2
    if n <= _MOST_COUNTED:
        p = _at_least_so_far(n)[np.abs(concordance).astype(np.int64)]
    else:
        deviation = np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
        p = 2 * ndtr(-np.maximum(np.abs(concordance) - 1, 0) / deviation)
    return {"tau": concordance / np.sqrt(pairs * untied), "p_trend": np.minimum(p, 1.0)}


def _at_least_so_far(n: int) -> Floats:
    """Return P(|S| >= s) for s from 0 to n(n - 1)/2 in random orders, by counting inversions."""
    share = np.ones(1)
    for size in range(2, n + 1):
        share = np.convolve(share, np.full(size, 1 / size))
    most = len(share) - 1
    distance = np.abs(most - 2 * np.arange(most + 1))
    at = np.bincount(distance, share, most + 1)
    return np.asarray(at[::-1].cumsum()[::-1])


def _jump(u: Floats, y: Floats) -> dict[str, Floats]:
    ahead = y - u
    lowest = np.minimum.accumulate(ahead, axis=1)
    end = (ahead - lowest).argmax(axis=1)[:, None]
    begin = (ahead <= np.take_along_axis(lowest, end, axis=1)).argmax(axis=1)[:, None]

    def take(values: Floats, place: Ints) -> Floats:
        return np.asarray(np.take_along_axis(values, place, axis=1)[:, 0])

    before = np.maximum.accumulate(y, axis=1) - np.minimum.accumulate(y, axis=1)
    lowest_after = np.minimum.accumulate(y[:, ::-1], axis=1)[:, ::-1]
    jump = take(y, end) - take(y, begin)
    with np.errstate(divide="ignore", invalid="ignore"):
        after = (take(lowest_after, end) - take(y, begin)) / jump
    return {
        "jump_share": jump,
        "gap_share": take(u, end) - take(u, begin),
        "before_share": take(before, begin),
        "n_before": begin[:, 0] + 1.0,
        "after_share": np.where(jump > 0, after, np.nan),
    }


def _swings(y: Floats) -> dict[str, Floats]:
    return {
        "run_up": (y - np.minimum.accumulate(y, axis=1)).max(axis=1),
        "drawdown": (np.maximum.accumulate(y, axis=1) - y).max(axis=1),
    }


def _parabola(u: Floats, y: Floats) -> dict[str, Floats]:
    """Return R2 of a line and of a parabola, by polynomials made orthogonal on the points."""
    centred = y - y.mean(axis=1, keepdims=True)
    line = u - u.mean(axis=1, keepdims=True)
    square = line**2
    square = square - square.mean(axis=1, keepdims=True)
    lean = (square * line).sum(axis=1) / (line**2).sum(axis=1)
    square = square - lean[:, None] * line
    total = (centred**2).sum(axis=1)
    by_line, by_square = (line * centred).sum(axis=1), (square * centred).sum(axis=1)
    length = (square**2).sum(axis=1)
    curved = length > 1e-12
    slope = by_line / (line**2).sum(axis=1)
    bend = np.divide(by_square, length, out=np.zeros_like(length), where=curved)
    r2_line = slope * by_line / total
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = u.mean(axis=1) + (lean * bend - slope) / (2 * bend)
    return {
        "r2_line": r2_line,
        "r2_parabola": r2_line + bend * by_square / total,
        "turn": np.where(curved, turn, np.nan),
    }
