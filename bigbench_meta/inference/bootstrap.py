"""Bootstrap of a ragged batch of curves: arrays in, intervals out.

``docs/uncertainty.md`` says what is computed, why, and how often the intervals contain the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import whole, within
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.inference.draws import Shuffler
from bigbench_meta.inference.inversion import confidence_above, invert, value
from bigbench_meta.inference.plain_intervals import acceleration, bca, percentile
from bigbench_meta.inference.replicates import Block, PointNoise, curves_a_block, of_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from bigbench_meta.inference.inversion import Denominator

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["STATUSES", "RaggedIntervals", "bootstrap_intervals"]

STATUSES: Final = ("ok", "no_sampling_error", "flat", "too_few_scales")
_OK, _NO_SAMPLING_ERROR, _FLAT, _TOO_FEW_SCALES = range(4)

_KINDS: Final[tuple[tuple[str, Denominator], ...]] = (
    ("emergence", "middle"), ("linearity", "mean"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RaggedIntervals:
    """Intervals of a batch of curves; NaN where the status is not ``ok``.

    Attributes:
        emergence: Interval of E by inversion, shape (m, 2), ends may be infinite.
        emergence_percentile: Percentile interval of E.
        emergence_bca: BCa interval of E.
        linearity: The same three of linearity.
        linearity_percentile: Percentile interval.
        linearity_bca: BCa interval.
        p_above: Confidence that E is above the threshold, shape (m,).
        share_above: Share of replicates with an E above the threshold.
        status: Index into :data:`STATUSES`.
    """

    emergence: Floats
    emergence_percentile: Floats
    emergence_bca: Floats
    linearity: Floats
    linearity_percentile: Floats
    linearity_bca: Floats
    p_above: Floats
    share_above: Floats
    status: NDArray[np.int8]


def bootstrap_intervals(
    values: Floats,
    offsets: Ints,
    noise: PointNoise,
    *,
    level: float = 0.95,
    threshold: float = 100.0,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
    errors: Mapping[int, Floats] | None = None,
    search: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> RaggedIntervals:
    """Return intervals of emergence score and linearity of a ragged batch of curves.

    Args:
        values: Finite scores of all curves, shape (total,), up is better, ascending scale in each.
        offsets: Where each curve begins and the last ends, shape (m + 1,).
        noise: Sampling distribution of each point.
        level: Confidence of the intervals.
        threshold: Of the emergence score.
        n_boot: Number of replicates, at least 19: of the curve, and of each of the some thirty
            worlds that a search visits.
        seed: Seed or generator. A curve's result depends on it and on the curve alone.
        min_scales: Curves with fewer points get NaN and ``too_few_scales``.
        errors: Replicated errors of the scores of some curves, by their row, shape (scales, at
            least n_boot): in place of draws from the noise, which still says how large they are.
        search: Whether intervals by inversion are computed, with ``p_above``; they take most of
            the time.
        progress: Called with (curves done, curves).

    Returns:
        The intervals, arrays of shape (m,) or (m, 2).

    Raises:
        InputError: An option is out of range.

    Examples:
        >>> y = np.array([0.02, 0.01, 0.02, 0.015, 0.9])
        >>> n, ones = np.full(5, 2000.0), np.ones(5)
        >>> noise = PointNoise.of(y, n, np.nan * n, 0 * ones, ones)
        >>> found = bootstrap_intervals(y, np.array([0, 5]), noise)
        >>> found.emergence.round()
        array([[ 56., 401.]])
    """
    within(level, 0, 1, "level", open_=True)
    whole(n_boot, 19, "n_boot")
    whole(min_scales, 0, "min_scales")
    ragged = Ragged.of(offsets, values=values)
    status = _status(values, ragged, noise, max(min_scales, 2))
    batch = _Batch(values, ragged, noise, np.flatnonzero(status == _OK), errors or {})
    first, second = np.random.default_rng(seed).integers(1 << 62, size=2).tolist()
    ends = {
        f"{name}{kind}": np.full((len(status), 2), np.nan)
        for name, _ in _KINDS
        for kind in ("", "_percentile", "_bca")
    }
    above, share, right = (np.full(len(status), np.nan) for _ in range(3))
    for rows, block in batch.blocks(n_boot, first):
        found = block.replicates(block.centre)
        moving = np.maximum(np.count_nonzero(found.ranges, axis=1), 1)
        right[rows] = (found.ranges > 0).sum(axis=1) / moving
        for name, denominator in _KINDS:
            replicates = np.sort(value(found, denominator), axis=1)
            if denominator == "middle":
                share[rows] = _share_above(replicates, threshold, block.sign)
            own = value(of_rows(block.scores), denominator)
            accelerated = bca(replicates, own, acceleration(block, denominator), level)
            _put(ends[f"{name}_percentile"], rows, percentile(replicates, level), block.sign)
            _put(ends[f"{name}_bca"], rows, accelerated, block.sign)
    done = int(np.count_nonzero(status != _OK))
    for rows, block in batch.blocks(n_boot, second) if search else ():
        flips = 1 - right[rows] > (1 - level) / 2
        for name, denominator in _KINDS:
            inverted = invert(block, denominator, level=level, flips=flips)
            _put(ends[name], rows, inverted, block.sign)
        above[rows] = share[rows]
        if threshold >= 1:
            sure = confidence_above(block, threshold, level=level) * right[rows]
            above[rows] = np.where(block.sign > 0, sure, share[rows])
        done += len(rows)
        if progress:
            progress(done, len(status))
    return RaggedIntervals(**ends, p_above=above, share_above=share, status=status)


def _status(values: Floats, ragged: Ragged, noise: PointNoise, min_scales: int) -> NDArray[np.int8]:
    constant = ragged.reduce(np.maximum, values) == ragged.reduce(np.minimum, values)
    too_few = ragged.lengths < min_scales
    return np.select(
        [too_few, constant, ragged.any(np.isnan(noise.error))],
        [_TOO_FEW_SCALES, _FLAT, _NO_SAMPLING_ERROR],
        _OK,
    ).astype(np.int8)


@dataclass(frozen=True)
class _Batch:
    """Curves of a ragged batch that have replicates."""

    values: Floats
    ragged: Ragged
    noise: PointNoise
    rows: Ints
    errors: Mapping[int, Floats]

    def blocks(self, size: int, seed: int) -> Iterator[tuple[Ints, Block]]:
        """Yield rows of curves of one length, and what replicates them."""
        longest = int(self.ragged.lengths[self.rows].max(initial=0))
        shuffler = Shuffler(size, longest, seed)
        resampled = np.isin(self.rows, list(self.errors))
        for some in (self.rows[~resampled], self.rows[resampled]):
            for chosen in self.ragged.blocks(curves_a_block(size), shortest=2, among=some):
                rows, points = chosen.curves, chosen.points
                own = self.values[points], self.noise.take(points.ravel())
                errors = None
                if rows[0] in self.errors:
                    errors = np.stack([self.errors[row][:, :size] for row in rows.tolist()])
                yield rows, Block(*own, size, shuffler, errors)


def _share_above(replicates: Floats, threshold: float, sign: Floats) -> Floats:
    above = np.where(sign[:, None] > 0, replicates > threshold, replicates < -threshold)
    scored = (~np.isnan(replicates)).sum(axis=1)
    share: Floats = above.sum(axis=1) / np.maximum(scored, 1)
    return share


def _put(ends: Floats, rows: Ints, interval: tuple[Floats, Floats], sign: Floats) -> None:
    """Write intervals in the observed direction as those of the scores."""
    low, high = interval
    ends[rows, 0] = np.where(sign > 0, low, -high)
    ends[rows, 1] = np.where(sign > 0, high, -low)
