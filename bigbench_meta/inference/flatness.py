"""Which curves are flat, and which only look so: arrays in, arrays out.

A batch of curves is ragged, as in :mod:`bigbench_meta.curves.emergence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number, within
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.emergence import MIN_SCALES, score_ragged
from bigbench_meta.inference.binomial import (
    at_least,
    detectable,
    known_size,
    near_whole,
)
from bigbench_meta.inference.intervals import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["FLAT_KINDS", "NothingScores", "RaggedFlatness", "emergence_of_nothing", "flatness"]

FLAT_KINDS: Final = ("cannot_tell", "not_flat", "flat", "unseen")
CANNOT_TELL, NOT_FLAT, FLAT, UNSEEN = range(4)

# Curves tested at a time.
_BLOCK: Final = 4096
# Beyond, the hypergeometric distribution is slow, and a binomial one, which is wider, stands in.
_MOST_POOLED: Final = 10**6


@dataclass(frozen=True, kw_only=True)
class RaggedFlatness:
    """What test sets can show of a batch of curves; every array has one entry a curve.

    Attributes:
        n_usable: Points with a proportion and a number of examples.
        n_below: Those less than one example above chance; NaN where chance is not known.
        n_undetectable: Those below the smallest detectable accuracy; NaN where chance is not known.
        smallest_detectable: That of the curve's smallest test set; NaN where chance is not known
            or the test set too small for any.
        p_flat: p-value of the hypothesis that the proportion is the same at all scales.
        span: How far apart two scales could be: largest upper less smallest lower end of the
            points' Clopper-Pearson intervals at 1 - alpha.
        kind: Index into :data:`FLAT_KINDS`.
    """

    n_usable: Ints
    n_below: Floats
    n_undetectable: Floats
    smallest_detectable: Floats
    p_flat: Floats
    span: Floats
    kind: NDArray[np.int8]


def flatness(
    proportion: Floats,
    offsets: Ints,
    *,
    n_examples: Floats,
    chance: Floats,
    power: float = 0.95,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_scales: int = MIN_SCALES,
) -> RaggedFlatness:
    """Tell flat curves from curves that are flat because their rise cannot be seen.

    In this order:

    * ``cannot_tell``: fewer than ``min_scales`` usable points.
    * ``not_flat``: some scales differ. The smaller scales are held against the larger ones at every
      cut, and each scale against all others; of these tables the one with the largest z is tested
      by Fisher's exact test, two-sided, with Bonferroni's correction for all of them.
    * ``unseen``: chance is 0 and every score below the smallest detectable accuracy. At a floor of
      0 no margin is small: accuracies of 10^-3 and 10^-9 are steps of the same smooth decline.
    * ``flat``: all scales are within ``margin`` of one value, by an equivalence test: ``span`` is
      at most twice the margin.
    * ``unseen``: no difference is shown, but the test sets are too small to exclude one.

    Args:
        proportion: Scores in [0, 1], shape (total,), up is better, ascending scale in each curve;
            NaN where there is none.
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        n_examples: Examples behind each point, shape (total,); what is no whole number from 1 to
            10^12 is not known.
        chance: Proportion that chance gives, shape (m,); NaN where not known.
        power: Probability with which the smallest detectable accuracy would be shown.
        alpha: Level of the tests.
        margin: What counts as no difference, a proportion.
        min_scales: Fewest usable points, at least 2.

    Returns:
        The statistics, arrays of shape (m,).

    Raises:
        InputError: Arrays that do not fit, or a number out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, App. A.1 (resolution). Fisher (1935), "The Logic
        of Inductive Inference", doi:10.2307/2342435. Equivalence as an intersection of tests:
        Berger & Hsu (1996), doi:10.1214/ss/1032280304.

    Examples:
        >>> import numpy as np
        >>> y = np.array([0, 0, 0, 0.1, 0.11, 0.1, 0, 0, 0.3])
        >>> found = flatness(
        ...     y, np.array([0, 3, 6, 9]), n_examples=np.full(9, 1000.0), chance=np.zeros(3)
        ... )
        >>> [FLAT_KINDS[code] for code in found.kind], found.n_below
        (['unseen', 'flat', 'not_flat'], array([3., 0., 2.]))
    """
    batch = Ragged.of(offsets, proportion=proportion, n_examples=n_examples)
    batch.check_curves(chance=chance)
    for name, values in (("proportion", proportion), ("chance", chance)):
        within(values, 0, 1, name)
    for name, share in (("margin", margin), ("power", power), ("alpha", alpha)):
        within(share, 0, 1, name, open_=name != "margin")
    curve = batch.curve
    n_examples = known_size(n_examples)
    usable = ~np.isnan(proportion + n_examples)
    n_usable = batch.count(usable)
    detectable = _detectable(np.where(usable, n_examples, np.nan), chance[curve], power, alpha)
    above_chance = (proportion - chance[curve]) * n_examples

    def count(points: Bools) -> Floats:
        return np.where(np.isnan(chance), np.nan, batch.count(usable & points))

    # A test set too small for any detection leaves every score undetectable.
    n_undetectable = count(~(proportion >= detectable))
    smallest = np.full(len(batch), -np.inf)
    with np.errstate(invalid="ignore"):  # NaN is to win
        np.maximum.at(smallest, curve[usable], detectable[usable])
    p_flat, span = _tests(
        proportion[usable], n_examples[usable], Ragged.of_lengths(n_usable), alpha
    )
    kind = np.select(
        [
            n_usable < max(min_scales, 2),
            p_flat <= alpha,
            (chance == 0) & (n_undetectable == n_usable),
            span <= 2 * margin,
        ],
        [CANNOT_TELL, NOT_FLAT, UNSEEN, FLAT],
        UNSEEN,
    )
    return RaggedFlatness(
        n_usable=n_usable,
        n_below=count(near_whole(above_chance) < 1),
        n_undetectable=n_undetectable,
        smallest_detectable=np.where(np.isinf(smallest), np.nan, smallest),
        p_flat=p_flat,
        span=span,
        kind=kind.astype(np.int8),
    )


def _detectable(n: Floats, chance: Floats, power: float, alpha: float) -> Floats:
    """Return the smallest detectable accuracy at each point, once for each size and chance."""
    pairs, inverse = np.unique(np.column_stack([n, chance]), axis=0, return_inverse=True)
    found = detectable(pairs[:, 0], pairs[:, 1], np.asarray(power), np.asarray(alpha))
    return np.asarray(found[inverse.reshape(-1)])


def _tests(
    proportion: Floats, n_examples: Floats, batch: Ragged, alpha: float
) -> tuple[Floats, Floats]:
    """Return the p-value of equality and the span of each curve; NaN without two points.

    Args:
        proportion: Of usable points alone, curve after curve.
        n_examples: Likewise.
        batch: The curves of these points.
        alpha: The span is that of intervals at 1 - alpha.
    """
    p_flat, span = np.full(len(batch), np.nan), np.full(len(batch), np.nan)
    ends = clopper_pearson(proportion * n_examples, n_examples, confidence=1 - alpha)
    for block in batch.blocks(_BLOCK, shortest=2):
        points = block.points
        counts = np.rint(proportion[points] * n_examples[points])
        p_flat[block.curves] = _equality(counts, n_examples[points])
        span[block.curves] = ends.high[points].max(axis=1) - ends.low[points].min(axis=1)
    return p_flat, span


def _equality(x: Floats, n: Floats) -> Floats:
    """Return the p-value of one proportion for each row of x of n, of at least two columns."""
    total_x, total_n = x.sum(axis=1, keepdims=True), n.sum(axis=1, keepdims=True)
    x_in = np.concatenate([np.cumsum(x, axis=1)[:, :-1], x[:, 1:-1]], axis=1)
    n_in = np.concatenate([np.cumsum(n, axis=1)[:, :-1], n[:, 1:-1]], axis=1)
    pooled = total_x / total_n
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n_in + 1 / (total_n - n_in)))
    difference = np.abs(x_in / n_in - (total_x - x_in) / (total_n - n_in))
    z = np.divide(difference, spread, out=np.zeros_like(spread), where=spread > 0)
    # Of equal ones the first, whatever their last digits.
    chosen = z.round(9).argmax(axis=1)[:, None]
    x_in, n_in = (np.take_along_axis(values, chosen, axis=1) for values in (x_in, n_in))
    tail = _fisher(x_in[:, 0], n_in[:, 0], total_x[:, 0], total_n[:, 0])
    return np.asarray(np.minimum(2 * z.shape[1] * tail, 1.0))


def _fisher(x_in: Floats, n_in: Floats, x: Floats, n: Floats) -> Floats:
    """Return the one-sided p-value, on the side of the data, of x_in of n_in given x of n."""
    # Counting wrong answers instead of right ones, or the points outside, turns the side alone.
    fewer = x_in * n < x * n_in
    x_in, n_in = np.where(fewer, x - x_in, x_in), np.where(fewer, n - n_in, n_in)
    rare = 2 * x <= n
    tail = at_least(
        np.where(rare, x_in, n - n_in - (x - x_in)),
        np.where(rare, x, n - x),
        np.where(rare, n_in, n - n_in) / n,
    )
    small = n <= _MOST_POOLED
    if np.any(small):
        from scipy.stats import hypergeom  # takes longer to import than the rest of this package

        tail[small] = hypergeom.sf(x_in[small] - 1, n[small], x[small], n_in[small])
    return tail


@dataclass(frozen=True, kw_only=True)
class NothingScores:
    """Emergence scores of curves on which nothing changes, arrays of one shape.

    Attributes:
        share_scored: Share of curves with a score; the others came out constant.
        share_infinite: Share of all curves with a score of inf or -inf.
        share_above: Share of all curves with a score above the threshold, inf included.
        median: Median size of the scores that there are; NaN if there is none.
        high: Their 95% quantile.
    """

    share_scored: Floats
    share_infinite: Floats
    share_above: Floats
    median: Floats
    high: Floats


def emergence_of_nothing(
    accuracy: ArrayLike,
    n_examples: ArrayLike,
    n_scales: ArrayLike,
    *,
    threshold: float = 100.0,
    n_curves: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> NothingScores:
    """Simulate the emergence score of curves whose true accuracy is the same at every scale.

    What is left is sampling noise of the test set, which where few or no answers are right makes
    most steps zero and one step not: an infinite score. The mean of such scores is infinite, so
    shares and quantiles are given.

    Args:
        accuracy: True accuracy at all scales, in [0, 1], any shape.
        n_examples: Size of the test set, of a shape that fits.
        n_scales: Points of a curve, at least 3, of a shape that fits.
        threshold: A score above it is counted in ``share_above``.
        n_curves: Curves simulated for each element.
        seed: Seed, or a generator, of which one number is drawn. Every element sees the same
            stream, so that its result does not depend on the others.

    Returns:
        Shares and quantiles, arrays of the common shape.

    Raises:
        InputError: A number is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, eq. 1.

    Examples:
        >>> found = emergence_of_nothing([0.5, 0.0001], 2000, 8)
        >>> found.share_above, found.share_infinite
        (array([0.    , 0.4622]), array([0.    , 0.5986]))
    """
    arrays = np.broadcast_arrays(
        within(accuracy, 0, 1, "accuracy"),
        within(n_examples, 1, 2**53, "n_examples"),
        within(n_scales, MIN_SCALES, 2**20, "n_scales"),
    )
    if any(np.isnan(array).any() for array in arrays):
        raise InputError("not a number", where="accuracy, n_examples or n_scales")
    base = seed_number(seed)
    rows = [
        _nothing(rate, int(n), int(k), threshold, n_curves, np.random.default_rng(base))
        for rate, n, k in zip(*(np.ravel(array).tolist() for array in arrays), strict=True)
    ]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    names = ("share_scored", "share_infinite", "share_above", "median", "high")
    return NothingScores(
        **{
            name: column.reshape(arrays[0].shape)
            for name, column in zip(names, columns, strict=True)
        }
    )


def _nothing(
    rate: float, n: int, n_scales: int, threshold: float, n_curves: int, rng: np.random.Generator
) -> tuple[float, ...]:
    y = rng.binomial(n, rate, (n_curves, n_scales)) / n
    score = score_ragged(y.ravel(), np.arange(n_curves + 1) * n_scales).emergence_score
    size = np.abs(score[~np.isnan(score)])
    quantiles = (
        # Of values that are there: between a number and infinity lies none.
        np.quantile(size, [0.5, 0.95], method="inverted_cdf") if len(size) else (np.nan, np.nan)
    )
    return (
        len(size) / n_curves,
        float(np.mean(np.isinf(score))),
        float(np.mean(score > threshold)),
        *quantiles,
    )
