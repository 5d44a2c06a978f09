r"""Does a pass rate grow by the task scaling law, slower or faster? Hu et al.'s convexity classes.

*What is the paper's.* With PU(N) the rate at which models of size N pass, the task scaling law is
:math:`PU = e^{-c N^{-\alpha}}`: :math:`F = \log(-\log PU)` is a straight line in log N. A convex F
is growth below the law (sub-scaling), a concave F growth above it (super-scaling, accelerated
emergence). PU is a rate with a random baseline of zero, estimated by as many samples as it takes
to pass, so that small models are above zero; its maximum likelihood estimate is r passes out of K
samples. The paper judges curves by eye.

*What is ours.* The test: a parabola on top of the line, against passes out of samples at every
size, with variation between models; the size of the parabola with an interval; and the rule by
which a curve follows the law: shown to be near it, not just without proof of the contrary. The
fit, the variation between models and the bootstrap are those of
:mod:`bigbench_meta.inference.nulls.mechanism`, whose mean is the law. A sample until r passes has
the likelihood of r passes out of K samples, so give r / K as the score and K as its examples.

A class is one of the mean over questions. Questions that each follow the law but differ in c have
a concave mean: with c gamma-distributed :math:`-\log PU = k \log(1 + \theta N^{-\alpha})`. A rate
that stays below one in the largest models has a convex one.

References:
    Hu et al. (2024), "Predicting Emergent Abilities with Infinite Resolution Evaluation", ICLR,
    arXiv 2310.03262: sec. 4.1 (PassUntil), eq. 3 (the law), sec. 6, definition 1 (the classes).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import at_least, probability, reject, seed_number, whole
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY, FALLING_AXES
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.multiplicity import adjusted_p_values
from bigbench_meta.inference.nulls.mechanism import (
    Design,
    MechanismFit,
    pieces,
    replicates,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.monte_carlo import (
    FEW_REPLICATES,
    FLAT,
    NO_INFORMATION,
    NOT_CONVERGED,
    NULL_STATUSES,
    OK,
    REPLICATES_AT_A_TIME,
    TOO_FEW_SCALES,
    is_flat,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.curves.proportions import Proportions

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["CLASSES", "STATUSES", "RaggedConvexity", "convexity", "convexity_ragged"]

CLASSES: Final = ("sub_scaling", "scaling_law", "super_scaling", "cannot_tell")
"""Convex, straight and concave log(-log PU), and what the data do not decide."""

SUB, LAW, SUPER, CANNOT_TELL = range(4)

STATUSES: Final = (
    *NULL_STATUSES, "falls", "not_a_pass_rate", "score_out_of_range", "guess_rate", "no_test_set",
    "scale_is_a_loss",
)  # fmt: skip
"""What can keep a curve from being classified; ``ok`` where nothing does."""

FALLS: Final = len(NULL_STATUSES)

MARGIN: Final = 0.5
"""How far log(-log PU) may be from the law at the middle size of a curve that follows it.

-log PU is then within a factor of 1.65 of the law through the ends.
"""

_MIN_POINTS: Final = 4  # three parameters, and one for the variation between models
_MIN_SIZES: Final = 3
_BLOCK: Final = 1024
# So steep in either direction that it is no restriction.
_ALPHAS: Final = (-20.0, 20.0)
# A bend whose standard error is above ten units of log loss cannot be seen.
_LEAST_INFORMATION: Final = 0.01
_FIRST_STRIDE: Final = 0.1
_GROWTH: Final = 1.6
_FARTHEST: Final = 20.0  # a bend beyond is infinite
_HALVINGS: Final = 12


@dataclass(frozen=True, kw_only=True)
class RaggedConvexity:
    """Classes of a batch of curves; every array has one entry a curve.

    Attributes:
        verdict: Index into :data:`CLASSES`; ``CANNOT_TELL`` where ``status`` is not ``ok`` too.
        bend: Log(-log PU) at the middle of the log sizes, above the straight line through its
            values at the smallest and the largest size. Positive is concave, super-scaling.
        low: Lower end of its interval; -inf where no bend is too low.
        high: Upper end.
        p_value: Two-sided p-value of the law, a bend of zero.
        alpha: Exponent of the law, fitted without a bend.
        sigma: Variation of log(-log PU) between models about it.
        n_sizes: Different sizes.
        n_valid: Replicates that could be tested as the curve itself could.
        status: Index into :data:`STATUSES`; ``falls`` where the rate does not rise with size.
    """

    verdict: NDArray[np.int8]
    bend: Floats
    low: Floats
    high: Floats
    p_value: Floats
    alpha: Floats
    sigma: Floats
    n_sizes: Ints
    n_valid: Ints
    status: NDArray[np.int8]


@dataclass(frozen=True)
class _Options:
    level: float
    margin: float
    n_boot: int
    seed: int


def convexity_ragged(
    passes: ArrayLike,
    samples: ArrayLike,
    x: ArrayLike,
    offsets: ArrayLike,
    *,
    alpha: float = 0.05,
    margin: float = MARGIN,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RaggedConvexity:
    r"""Classify curves of pass counts by the curvature of log(-log PU) in log size.

    The model is :math:`\log(-\log p_i) = a - \alpha x_i + b\,h_i + \sigma u_i`, with u normal over
    models and h a parabola in log size that is 1 in the middle and 0 at both ends. The statistic is
    the efficient score of the bend b at zero (Rao 1948), with :math:`\sigma` from the scatter
    about the law, seeds of one size included. Its distribution comes from curves drawn from the
    fitted law, each fitted again: the p-value is twice the smaller tail. The interval of b has all
    bends between which the own score is within the quantiles of that distribution, and contains
    zero where p is above alpha.

    A curve is ``super_scaling`` or ``sub_scaling`` where p is at most alpha, ``scaling_law`` where
    it is not and the interval lies within the margin on both sides of zero, else ``cannot_tell``.

    Args:
        passes: Passes at each point, shape (total,), not necessarily whole.
        samples: Samples at each point, at least 1. A point is one model: several of one size are
            several points.
        x: Size at each point, positive, not falling within a curve.
        offsets: Where each curve begins and the last one ends, shape (m + 1,).
        alpha: Level of the test and of the interval.
        margin: See :data:`MARGIN`.
        n_boot: Replicates, at least 99.
        seed: Seed, or a generator, of which one number is drawn. What a curve gives depends on the
            seed and its own numbers alone.
        progress: Called with (curves done, curves).

    Returns:
        The classes, arrays of shape (m,).

    Raises:
        InputError: Arrays do not fit together, or a value or an option is out of range.

    References:
        Hu et al. (2024), arXiv 2310.03262, sec. 6. Rao (1948), doi:10.1017/S0305004100023987.

    Examples:
        >>> size = 10.0 ** np.arange(6, 14)
        >>> law = 1 - 0.2 * np.log(size / 1e9)
        >>> circuits = np.minimum(law, 1 - 0.8 * np.log(size / 1e11))  # the better of two
        >>> passes = np.rint(5000 * np.exp(-np.exp(np.concatenate([law, circuits]))))
        >>> found = convexity_ragged(passes, np.full(16, 5000), np.tile(size, 2), [0, 8, 16])
        >>> [CLASSES[code] for code in found.verdict], abs(found.bend).round(1)
        (['scaling_law', 'super_scaling'], array([0., 1.]))
    """
    options = _Options(probability(alpha, "alpha"), float(at_least(margin, 0, "margin")),
                       int(whole(n_boot, 99, "n_boot")), seed_number(seed))  # fmt: skip
    size = at_least(x, 0, "x", strict=True)
    trials, count = at_least(samples, 1, "samples"), at_least(passes, 0, "passes")
    ragged = Ragged.of(offsets, passes=count, samples=trials, x=size)
    reject(count, count > trials, "above the samples", "passes")
    later = np.ones(ragged.n_points, dtype=bool)
    later[ragged.offsets[:-1][ragged.lengths > 0]] = False
    step = np.diff(size, prepend=0.0)
    reject(size, later & (step < 0), "below the size before", "x")
    n_sizes = ragged.count(~later | (step > 0))
    m = len(ragged)
    found = RaggedConvexity(
        verdict=np.full(m, CANNOT_TELL, dtype=np.int8),
        **{name: np.full(m, np.nan) for name in ("bend", "low", "high", "p_value", "alpha",
                                                 "sigma")},
        n_sizes=n_sizes,
        n_valid=np.zeros(m, dtype=np.int64),
        status=np.full(m, TOO_FEW_SCALES, dtype=np.int8),
    )  # fmt: skip
    done = 0
    for block in ragged.blocks(_BLOCK, shortest=_MIN_POINTS, among=n_sizes >= _MIN_SIZES):
        log = np.log(block.by_scale(size))
        n = block.by_scale(trials)
        design = Design(x=log - log.mean(axis=0), trials=n, floor=np.zeros(len(block.curves)))
        _classify(found, block.curves, block.by_scale(count) / n, design, options)
        done += len(block.curves)
        if progress is not None:
            progress(done, m)
    return found


def _classify(
    found: RaggedConvexity, curves: Ints, y: Floats, design: Design, options: _Options
) -> None:
    """Fill in the results of curves of one length."""
    fit = fit_mechanism(y, design, alpha_range=_ALPHAS)
    score = bend_score(y, design, fit)
    status = np.select(
        [is_flat(y), fit.status != OK, fit.alpha <= 0, np.isnan(score)],
        [FLAT, NOT_CONVERGED, FALLS, NO_INFORMATION],
        OK,
    )
    found.status[curves] = status
    fitted = status != FLAT
    found.alpha[curves[fitted]], found.sigma[curves[fitted]] = fit.alpha[fitted], fit.sigma[fitted]
    tested = np.flatnonzero(status == OK)
    null = np.empty((len(tested), options.n_boot))
    at_a_time = max(1, REPLICATES_AT_A_TIME // options.n_boot)
    for start in range(0, len(tested), at_a_time):
        part = tested[start : start + at_a_time]
        drawn, again = replicates(y, design, fit, part, options.n_boot, "convexity", options.seed)
        scores = bend_score(drawn, again, fit_mechanism(drawn, again, alpha_range=_ALPHAS))
        scores = np.where(is_flat(drawn), np.nan, scores)
        null[start : start + at_a_time] = scores.reshape(len(part), -1)
    _decide(found, curves[tested], y[:, tested], design.take(tested), score[tested], null, options)


def _decide(
    found: RaggedConvexity, curves: Ints, y: Floats, design: Design, score: Floats, null: Floats,
    options: _Options,
) -> None:  # fmt: skip
    """Fill in p-values, bends and verdicts from scores and those of their replicates."""
    valid = (~np.isnan(null)).sum(axis=1)
    above, below = ((sign * null >= sign * score[:, None] - 1e-9).sum(axis=1) for sign in (1, -1))
    p = np.minimum(2 * (1 + np.minimum(above, below)) / (1 + valid), 1.0)
    # A tail of less than one replicate in two hundred cannot be counted.
    rank = np.floor(options.level / 2 * (1 + valid)).astype(np.int64)
    enough = rank >= 1
    found.n_valid[curves] = valid
    found.status[curves[~enough]] = FEW_REPLICATES
    curves, y, design, p = curves[enough], y[:, enough], design.take(enough), p[enough]
    ordered = np.sort(null[enough], axis=1)  # NaN last
    row, rank, valid = np.arange(len(curves)), rank[enough], valid[enough]
    # Beyond these the p-value is at most the level.
    most, least = ordered[row, valid - rank], ordered[row, rank - 1]
    bend = _crossing(y, design, np.zeros(len(curves)), np.where(score[enough] > 0, 1.0, -1.0), 0.0)
    inside = np.where(np.isfinite(bend), bend, 0.0)
    twice = np.tile(row, 2)  # both ends at once: blocks are short, and refits of many cost little
    low, high = _crossing(
        y[:, twice], design.take(twice), inside[twice], np.repeat([-1.0, 1.0], len(row)),
        np.concatenate([most, least]),
    ).reshape(2, -1)  # fmt: skip
    # A score of one or two right answers does not fall with the bend throughout.
    kept, up = p > options.level, score[enough] > 0
    low = np.where(kept, np.minimum(low, 0.0), np.where(up, np.maximum(low, 0.0), low))
    high = np.where(kept, np.maximum(high, 0.0), np.where(up, high, np.minimum(high, 0.0)))
    within = (low >= -options.margin) & (high <= options.margin)
    bent = np.where(up, SUPER, SUB)
    found.bend[curves], found.low[curves], found.high[curves] = bend, low, high
    found.p_value[curves] = p
    found.verdict[curves] = np.where(p <= options.level, bent, np.where(within, LAW, CANNOT_TELL))


def bump(x: Floats) -> Floats:
    """Return the parabola in centred log sizes (n, m): 1 in the middle and 0 at both ends."""
    low, high = x.min(axis=0), x.max(axis=0)
    return np.asarray(1 - ((2 * x - low - high) / (high - low)) ** 2)


def bend_score(
    y: Floats, design: Design, fit: MechanismFit, *, bend: Floats | None = None
) -> Floats:
    """Return the standardised efficient score of a bend above the one that was fitted.

    Args:
        y: Pass rates, shape (n, m).
        design: The curves.
        fit: Fit of the law, with the bend as its offset.
        bend: That bend, shape (m,); zero by default.

    Returns:
        Shape (m,); NaN where the curve cannot show a bend, or the law could not be fitted.
    """
    h = bump(design.x)
    log_loss = fit.log_loss(design) if bend is None else fit.log_loss(design) + bend * h
    found = pieces(y, log_loss, fit.sigma, design)
    mass = found.slope**2 * found.weight
    # What remains of h beside level and slope; of level alone where the slope is at its bound.
    total = np.maximum(mass.sum(axis=0), 1e-30)
    away = design.x - (mass * design.x).sum(axis=0) / total
    rest = h - (mass * h).sum(axis=0) / total
    spread = np.maximum((mass * away**2).sum(axis=0), 1e-30)
    lean = np.where(fit.at_bound == 0, (mass * away * rest).sum(axis=0) / spread, 0.0)
    rest = rest - lean * away
    information = (mass * rest**2).sum(axis=0)
    score = (found.slope * found.weight * found.residual * rest).sum(axis=0)
    seen = (information > _LEAST_INFORMATION) & (fit.status == OK)
    return np.where(seen, score / np.sqrt(np.where(seen, information, 1.0)), np.nan)


def _crossing(
    y: Floats, design: Design, start: Floats, sign: Floats, target: Floats | float
) -> Floats:
    """Return where a curve's own score, which falls with the bend, comes to its target.

    Looked for from ``start`` on in the direction of ``sign``; infinite where there is no such bend.
    """
    h = bump(design.x)
    goal = np.broadcast_to(np.asarray(target, dtype=np.float64), start.shape)

    def beyond(curves: Ints, bend: Floats) -> Bools:
        part = design.take(curves)
        again = fit_mechanism(y[:, curves], part, alpha_range=_ALPHAS, offset=bend * h[:, curves])
        score = bend_score(y[:, curves], part, again, bend=bend)
        return np.asarray(sign[curves] * (goal[curves] - score) >= 0)  # false for NaN

    near, far = start.copy(), start.copy()
    open_ = np.flatnonzero(~beyond(np.arange(len(start)), start))
    stride = _FIRST_STRIDE
    distance = 0.0
    reached = np.ones(len(start), dtype=bool)
    while len(open_) and distance < _FARTHEST:
        near[open_] = far[open_]
        distance, stride = distance + stride, stride * _GROWTH
        far[open_] = start[open_] + sign[open_] * distance
        open_ = open_[~beyond(open_, far[open_])]
    reached[open_] = False
    between = np.flatnonzero(reached & (far != near))
    for _ in range(_HALVINGS):
        if not len(between):
            break
        middle = (near[between] + far[between]) / 2
        past = beyond(between, middle)
        far[between] = np.where(past, middle, far[between])
        near[between] = np.where(past, near[between], middle)
    return np.where(reached, far, sign * np.inf)


def convexity(
    curves: Curves,
    *,
    alpha: float = 0.05,
    margin: float = MARGIN,
    n_boot: int = 999,
    seed: int | np.random.Generator = 0,
    n_examples: ArrayLike | None = None,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Classify every curve by Hu et al.'s convexity: below, by or above the task scaling law.

    See :func:`convexity_ragged` for the test. A pass rate is a discontinuous or nonlinear score
    that is a mean over right or wrong examples and is 0 by guessing: the paper's law has no other
    place for small models. With several seeds at a size, build the curves with ``average=False``:
    then seeds of one size show the variation between models, which the few sizes of a curve hardly
    do.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        alpha: Level of the test and of the interval.
        margin: See :data:`MARGIN`.
        n_boot: Replicates, at least 99.
        seed: Seed or generator.
        n_examples: Samples behind each score where the observations give none, a number or one a
            curve.
        catalog: Metric catalog; the packaged one by default.
        progress: Whether to show a bar, or what to call with (curves done, curves); by
            default a bar in terminals and notebooks.

    Returns:
        One row per curve, in the order of the curves: the key columns, ``metric_type``, ``scale``,
        ``n_scales`` (different ones) and ``n_points``; ``convexity``, one of :data:`CLASSES`,
        missing where ``status`` is not ``ok``; ``bend`` with ``bend_low`` and ``bend_high``: how
        far log(-log PU) is, at the middle of the log sizes, above the line through its ends,
        positive for super-scaling; ``p``, its corrections ``q_bh``, ``q_by``, ``p_holm`` and
        ``n_searched``; ``alpha_hat`` and ``sigma_hat`` of the law; ``n_valid`` replicates; and
        ``status``, one of :data:`STATUSES`.

    Raises:
        InputError: An option is out of range.

    References:
        Hu et al. (2024), arXiv 2310.03262, sec. 6, definition 1.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded())
        >>> some = curves[(curves.keys["task"] == "arithmetic 2D+").to_numpy()]
        >>> found = convexity(some, n_boot=199)
        >>> found["status"].tolist(), found["n_scales"].tolist()
        (['ok', 'ok', 'ok'], [8, 8, 8])
    """
    rate, samples, status = _pass_rates(
        curves, proportions(curves, catalog=catalog, n_examples=n_examples)
    )
    chosen = np.flatnonzero(status == "ok")
    points, part = curves.ragged.take(chosen)
    with progress_bar("Testing", progress) as report:
        result = convexity_ragged(
            rate[points] * samples[points], samples[points], curves.x[points], part.offsets,
            alpha=alpha, margin=margin, n_boot=n_boot, seed=seed, progress=report,
        )  # fmt: skip
    status[chosen] = np.array(STATUSES, dtype=object)[result.status]
    table = pd.DataFrame({one.name: getattr(result, one.name) for one in fields(result)})
    table = table.set_axis(chosen).reindex(pd.RangeIndex(len(curves)))
    name = np.array(CLASSES, dtype=object)[table["verdict"].fillna(CANNOT_TELL).astype(int)]
    name[status != "ok"] = None
    size = curves.rising_x
    same = np.diff(size, prepend=np.nan) == 0
    same[curves.offsets[:-1][curves.ragged.lengths > 0]] = False
    return pd.concat(
        [
            curves.keys[[*CURVE_KEY, "metric_type", "scale"]].reset_index(drop=True),
            pd.DataFrame(
                {
                    "n_scales": curves.ragged.count(~same),
                    "n_points": curves.ragged.lengths,
                    "convexity": pd.Series(name, dtype="str"),
                    "bend": table["bend"],
                    "bend_low": table["low"],
                    "bend_high": table["high"],
                    "p": table["p_value"],
                }
            ),
            adjusted_p_values(table["p_value"]),
            pd.DataFrame(
                {
                    "alpha_hat": table["alpha"],
                    "sigma_hat": table["sigma"],
                    "n_valid": table["n_valid"].fillna(0).astype("int64"),
                    "status": status,
                }
            ),
        ],
        axis=1,
    )


def _pass_rates(curves: Curves, found: Proportions) -> tuple[Floats, Floats, NDArray[np.object_]]:
    """Return the rate and the samples of each point, and ``ok`` or the problem of each curve."""
    rate, samples = found.proportion, found.n_examples
    with np.errstate(invalid="ignore", divide="ignore"):
        # As many as give the standard error: of a mean over instances that differ, fewer.
        equal = rate * (1 - rate) / found.stderr**2
    samples = np.where(np.isnan(samples) & (equal >= 1) & np.isfinite(equal), equal, samples)
    kind = curves.keys["metric_type"].astype(str)
    status = np.select(
        [
            curves.keys["scale"].isin(list(FALLING_AXES)).to_numpy(dtype=bool),
            found.problem == "score_out_of_range",
            (found.problem != "") | ~np.isin(kind, ["discontinuous", "nonlinear"]),
            found.chance != 0,
            curves.ragged.any(np.isnan(samples)),
        ],
        ["scale_is_a_loss", "score_out_of_range", "not_a_pass_rate", "guess_rate", "no_test_set"],
        "ok",
    )
    return rate, samples, status.astype(object)
