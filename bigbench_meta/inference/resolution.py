"""How much of each curve is below the resolution of its test set, and which curves only look flat.

A curve can be flat because it is flat, or because its test set is too small to show it rise.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, App. A.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.binomial import clopper_pearson, known_size, near_whole, upper_tail
from bigbench_meta.core.checks import within
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import integer_column
from bigbench_meta.curves.emergence import MIN_SCALES
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.power import smallest_detectable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["FLAT_KINDS", "RaggedFlatness", "flatness", "resolution"]

FLAT_KINDS: Final = ("cannot_tell", "not_flat", "flat", "unseen")
CANNOT_TELL, NOT_FLAT, FLAT, UNSEEN = range(4)

# Curves tested at a time.
_BLOCK: Final = 4096
# Beyond, the hypergeometric distribution is slow, and a binomial one, which is wider, stands in.
_MOST_POOLED: Final = 10**6


@dataclass(frozen=True, kw_only=True)
class RaggedFlatness:
    """Flatness of a batch of curves, given their test sets; arrays have one entry a curve.

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


def resolution(
    curves: Curves,
    *,
    catalog: MetricCatalog | None = None,
    chance: ArrayLike | None = None,
    n_choices: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    power: float = 0.95,
    alpha: float = 0.05,
    margin: float = 0.05,
    min_scales: int = 3,
) -> pd.DataFrame:
    """Compute how much of every curve lies below the resolution of its test set.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        catalog: Metric catalog; the packaged one by default.
        chance: Chance level in the unit of the score, a number or one a curve, NaN for not given.
            By default the task's ``low_score``; else 1 / ``n_choices`` on discontinuous metrics;
            else 0 on nonlinear and linear metrics that begin at 0.
        n_choices: Number of choices, a number or one a curve, NaN for not given.
        n_examples: Size of the test set where the observations give none, a number or one a curve.
        power: Probability with which the smallest detectable accuracy would be shown.
        alpha: Level of the tests.
        margin: What counts as no difference between scales, as a proportion.
        min_scales: Fewest scales with a score and a number of examples.

    Returns:
        One row per curve, in the order of the curves: the key columns, ``metric_type``;
        ``n_scales`` and of these ``n_usable`` (with a proportion and a number of examples);
        ``n_examples_min``; ``chance`` and ``chance_source``; ``resolution`` (one example of the
        smallest test set) and ``smallest_detectable`` (score that this test set shows to be above
        chance with the power); ``n_below`` (scales less than one example above chance) and
        ``n_undetectable`` (below the smallest detectable score), as shares of ``n_usable``
        ``share_below_resolution`` and ``share_undetectable``; ``p_flat``, ``span`` and
        ``flat_kind``, as :func:`flatness` defines them;
        ``reason``, why the kind is ``cannot_tell`` (not_a_proportion, score_out_of_range, n_unknown
        or too_few_scales) and empty elsewhere. Scores, differences of scores and chance are in the
        unit of the file.

    Raises:
        InputError: An option out of its range or of another shape.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, App. A.1.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> found = resolution(build_curves(load_embedded()))
        >>> row = found[(found.task == "arithmetic 5D+") & (found.shots == 0)].iloc[0]
        >>> row.resolution, round(float(row.smallest_detectable), 3)
        (np.float64(0.05), 0.15)
        >>> f"{row.share_below_resolution:.0%} of scales below", row.flat_kind
        ('88% of scales below', 'not_flat')
    """
    shares = proportions(
        curves, catalog=catalog, chance=chance, n_choices=n_choices, n_examples=n_examples
    )
    found = flatness(
        shares.proportion,
        curves.offsets,
        n_examples=shares.n_examples,
        chance=shares.chance,
        power=power,
        alpha=alpha,
        margin=margin,
        min_scales=min_scales,
    )
    smallest = curves.ragged.reduce(np.fmin, shares.n_examples)
    undecided = (found.kind == FLAT_KINDS.index("cannot_tell")) & (shares.problem == "")
    reason = np.where(np.isnan(smallest), "n_unknown", "too_few_scales")
    used = np.where(found.n_usable > 0, found.n_usable, np.nan)
    return curves.keys[[*CURVE_KEY, "metric_type"]].assign(
        n_scales=curves.ragged.lengths,
        n_usable=found.n_usable,
        n_examples_min=integer_column(smallest),
        chance=shares.curve_scores(shares.chance),
        chance_source=shares.chance_source,
        resolution=shares.amount(1 / smallest),
        smallest_detectable=shares.curve_scores(found.smallest_detectable),
        n_below=integer_column(found.n_below),
        share_below_resolution=found.n_below / used,
        n_undetectable=integer_column(found.n_undetectable),
        share_undetectable=found.n_undetectable / used,
        p_flat=found.p_flat,
        span=shares.amount(found.span),
        flat_kind=np.array(FLAT_KINDS, dtype=object)[found.kind],
        reason=np.where(undecided, reason, shares.problem),
    )


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
    """Distinguish flat curves from curves whose rise the test set is too small to show.

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
        n_examples: Examples behind each point, shape (total,); a value that is not a
            whole number from 1 to 10^12 is taken as unknown.
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
    # Once for each size and chance.
    pairs, inverse = np.unique(
        np.column_stack([np.where(usable, n_examples, np.nan), chance[curve]]),
        axis=0,
        return_inverse=True,
    )
    smallest = smallest_detectable(pairs[:, 0], chance=pairs[:, 1], power=power, alpha=alpha)
    detectable = smallest[inverse.reshape(-1)]
    above_chance = (proportion - chance[curve]) * n_examples

    def count(points: Bools) -> Floats:
        return np.where(np.isnan(chance), np.nan, batch.count(usable & points))

    # A test set too small for any detection leaves every score undetectable.
    n_undetectable = count(~(proportion >= detectable))
    of_curve = np.full(len(batch), -np.inf)
    with np.errstate(invalid="ignore"):  # NaN is to win
        np.maximum.at(of_curve, curve[usable], detectable[usable])
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
        smallest_detectable=np.where(np.isinf(of_curve), np.nan, of_curve),
        p_flat=p_flat,
        span=span,
        kind=kind.astype(np.int8),
    )


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
    tail = upper_tail(
        np.where(rare, x_in, n - n_in - (x - x_in)),
        np.where(rare, x, n - x),
        np.where(rare, n_in, n - n_in) / n,
    )
    small = n <= _MOST_POOLED
    if np.any(small):
        from scipy.stats import hypergeom  # takes longer to import than the rest of this package

        tail[small] = hypergeom.sf(x_in[small] - 1, n[small], x[small], n_in[small])
    return tail
