"""Test whether a jump exceeds what a smooth loss, metric, test set and model variation give.

The null is the mechanism of :mod:`inference.nulls.mechanism`, fitted to each curve. P-values come
from curves drawn from the fit, each of them fitted again, so that what the fit absorbs counts in
the replicates as in the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import seed_number, whole
from bigbench_meta.curves.emergence import sharpness_by_scale
from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    Design,
    MechanismCurves,
    MechanismFit,
    Variation,
    replicates,
    step_scores,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.monte_carlo import (
    FEW_REPLICATES,
    FEWEST_REPLICATES,
    FLAT,
    MIN_SCALES,
    NO_INFORMATION,
    NOT_CONVERGED,
    OK,
    REPLICATES_AT_A_TIME,
    NullResults,
    SequentialPValues,
    is_flat,
    rounds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["mechanism_null"]

# A step of more than this in log loss counts as infinite.
_LARGEST_STEP: Final = 8.0
_STRIDE: Final = 0.25
_HALVINGS: Final = 8  # down to a thousandth
_PARTS_OF_A_ROUND: Final = 8


@dataclass(frozen=True)
class _Options:
    alpha_range: tuple[float, float]
    n_boot: int
    stop_after: int | None
    seed: int
    least: tuple[Floats, Floats]


def mechanism_null(
    curves: MechanismCurves,
    *,
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    n_boot: int = 999,
    stop_after: int | None = None,
    least: tuple[Floats, Floats] | None = None,
    seed: int | np.random.Generator = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NullResults:
    r"""Test a ragged batch of curves against the smooth mechanism.

    The statistics are the largest efficient score of an upward step over all places (see
    :func:`step_scores`), of a curve whose sigma has a distribution over the scatter that curve and
    family show together, and the relative sharpness E / (n - 1). A p-value is
    :math:`(1 + \#\{S^* \ge S\}) / (1 + B)` over replicates drawn from the fitted mechanism and
    fitted again. A replicate that could not be tested, because it is flat or without information,
    is left out, as such a curve is. With ``stop_after`` a curve's bootstrap ends where so many
    replicates of each statistic were as large, and the p-values are those of
    :class:`bigbench_meta.inference.nulls.monte_carlo.SequentialPValues`: as valid, and most curves
    stop soon.

    Args:
        curves: The curves.
        alpha_range: Bounds of the exponent.
        n_boot: Replicates, at least 19.
        stop_after: Replicates as large after which a curve needs no more, at least 1; None for all
            of ``n_boot``.
        least: P-values of step and sharpness, each of shape (m,), above which a curve's own would
            matter; with ``stop_after`` its bootstrap ends where they cannot be.
        seed: Seed, or a generator, of which one number is drawn. A curve's p-values depend on the
            seed and its own numbers alone.
        progress: Called with (curves done, curves).

    Returns:
        The tests, arrays of shape (m,).

    Raises:
        InputError: An option is out of range.

    References:
        Davison & Hinkley (1997), Bootstrap Methods and their Application, sec. 4.2,
        doi:10.1017/CBO9780511802843. Besag & Clifford (1991), doi:10.1093/biomet/78.2.301.
        Smyth (2004), doi:10.2202/1544-6115.1027. Schaeffer et al. (2023), arXiv 2304.15004.

    Examples:
        >>> scale = 10.0 ** np.arange(6, 12)
        >>> smooth = np.exp(-np.exp(1.0 - 0.3 * np.log(scale / 1e8)))
        >>> jump = np.array([0.02, 0.03, 0.03, 0.04, 0.85, 0.9])
        >>> curves = MechanismCurves.checked(
        ...     np.concatenate([smooth, jump]), np.tile(scale, 2), np.full(12, 500.0), [0, 6, 12],
        ...     sigma=0.1,
        ... )
        >>> tests = mechanism_null(curves, n_boot=199)
        >>> (tests.p_step < 0.05).tolist(), tests.n_before[1].item()
        ([False, True], 4)
    """
    whole(n_boot, FEWEST_REPLICATES, "n_boot")
    if stop_after is not None:
        whole(stop_after, 1, "stop_after")
    lengths = curves.ragged.lengths
    zero = np.zeros(len(lengths))
    options = _Options(alpha_range, n_boot, stop_after, seed_number(seed), least or (zero, zero))
    result = NullResults.of_lengths(lengths)
    done = int((lengths < MIN_SCALES).sum())
    for rows, y, design, variation in curves.blocks():
        _test_block(result, rows, y, design, variation, options)
        done += len(rows)
        if progress is not None:
            progress(done, len(lengths))
    return result


def _test_block(
    result: NullResults, rows: Ints, y: Floats, design: Design, variation: Variation,
    options: _Options,
) -> None:  # fmt: skip
    """Fill in the results of curves of one length."""
    fit = fit_mechanism(y, design, alpha_range=options.alpha_range, sigma=variation.sigma)
    scores = step_scores(y, design, fit, df=variation.df)
    place = scores.argmax(axis=0)
    largest = scores.max(axis=0)
    status = np.select(
        [is_flat(y), fit.status != OK, ~np.isfinite(largest)],
        [FLAT, NOT_CONVERGED, NO_INFORMATION], OK,
    )  # fmt: skip
    result.status[rows] = status
    result.sharpness[rows] = sharpness_by_scale(y)
    fitted, tested = rows[status != FLAT], np.flatnonzero(status == OK)
    for name in ("level", "alpha", "sigma", "at_bound"):
        getattr(result, name)[fitted] = getattr(fit, name)[status != FLAT]
    if len(tested):
        chosen = rows[tested]
        result.step_score[chosen] = largest[tested]
        result.n_before[chosen] = place[tested] + 1
        part, own = design.take(tested), fit.take(tested)
        result.step_size[chosen] = _step_size(
            y[:, tested], part, own.sigma, variation.sigma[tested], place[tested], options
        )
        _bootstrap(result, chosen, y[:, tested], part, own, variation.take(tested), options)


def _bootstrap(
    result: NullResults, rows: Ints, y: Floats, design: Design, fit: MechanismFit,
    variation: Variation, options: _Options,
) -> None:  # fmt: skip
    """Fill in the p-values; sigma is estimated again where it was estimated from the curve."""
    step, sharp = (
        SequentialPValues.start(observed[rows], options.stop_after, least[rows])
        for observed, least in zip(
            (result.step_score, result.sharpness), options.least, strict=True
        )
    )
    for number, size in enumerate(rounds(options.n_boot, options.stop_after)):
        open_ = np.flatnonzero(~(step.done & sharp.done))
        at_a_time = max(1, _PARTS_OF_A_ROUND * REPLICATES_AT_A_TIME // size)
        for start in range(0, len(open_), at_a_time):
            part = open_[start : start + at_a_time]
            purpose = f"step {number}" if number else "step"
            drawn, _ = replicates(
                y, design, fit, part, size, purpose, options.seed, variation.weight
            )
            drawn = drawn.reshape(len(y), len(part), size)
            # A round is drawn whole and fitted in parts, as a curve may stop within it.
            for begin, end in pairwise(np.linspace(0, size, _PARTS_OF_A_ROUND + 1).astype(int)):
                left = ~(step.done & sharp.done)[part]
                _tally(
                    step, sharp, drawn[:, left, begin:end], part[left], design, variation, options
                )
    result.p_step[rows], result.p_sharpness[rows] = step.p_values(), sharp.p_values()
    result.n_valid[rows] = step.valid
    few = rows[~step.done & (step.valid < FEWEST_REPLICATES)]
    result.status[few] = FEW_REPLICATES
    result.p_step[few] = result.p_sharpness[few] = np.nan


def _tally(
    step: SequentialPValues, sharp: SequentialPValues, drawn: Floats, part: Ints, design: Design,
    variation: Variation, options: _Options,
) -> None:  # fmt: skip
    """Fit replicates of some curves, shape (n, curves, size), and count those that are as large."""
    if not drawn.size:
        return
    size = drawn.shape[2]
    y, many = drawn.reshape(len(drawn), -1), np.repeat(part, size)
    again = design.take(many)
    refit = fit_mechanism(y, again, alpha_range=options.alpha_range, sigma=variation.sigma[many])
    score = step_scores(y, again, refit, df=variation.df[many]).max(axis=0).reshape(-1, size)
    valid = ~is_flat(y).reshape(-1, size) & np.isfinite(score)
    step.add(part, score, valid)
    sharp.add(part, sharpness_by_scale(y).reshape(-1, size), valid)


def _step_size(
    y: Floats, design: Design, sigma: Floats, known: Floats, place: Ints, options: _Options
) -> Floats:
    """Return the size of the step, estimated jointly with sigma where sigma is unknown.

    The sigma of the null absorbs part of the step, and a larger sigma makes the step larger.
    """
    size = _root(y, design, sigma, place, options)
    free = np.flatnonzero(np.isnan(known) & np.isfinite(size))
    if not len(free):
        return size
    part = design.take(free)
    after = np.arange(len(y))[:, None] > place[free]
    beside = fit_mechanism(
        y[:, free], part, alpha_range=options.alpha_range, offset=-size[free] * after
    )
    size[free] = _root(y[:, free], part, beside.sigma, place[free], options)
    return size


def _root(y: Floats, design: Design, sigma: Floats, place: Ints, options: _Options) -> Floats:
    """Return the smallest step whose own score is not above 0, refitting the null with it.

    Beyond it lie meaningless roots, at which all other points are at the floor.
    """
    after = np.arange(len(y))[:, None] > place
    low, high = np.zeros(len(place)), np.zeros(len(place))
    open_ = np.arange(len(place))  # curves whose own score is still above 0 at the lower end

    def short(columns: Ints, step: Floats) -> Bools:
        part, offset = design.take(columns), -step * after[:, columns]
        again = fit_mechanism(
            y[:, columns], part,
            alpha_range=options.alpha_range, sigma=sigma[columns], offset=offset,
        )  # fmt: skip
        scores = step_scores(y[:, columns], part, again, offset=offset)
        return np.asarray(scores[place[columns], np.arange(len(columns))] > 0)

    for step in np.arange(0.0, _LARGEST_STEP + _STRIDE, _STRIDE).tolist():
        more = short(open_, np.full(len(open_), step))
        high[open_], low[open_[more]] = step, step
        open_ = open_[more]
        if not len(open_):
            break
    found = np.ones(len(place), dtype=bool)
    found[open_] = False
    every = np.flatnonzero(found & (high > 0))
    for _ in range(_HALVINGS):
        middle = (low[every] + high[every]) / 2
        more = short(every, middle)
        low[every], high[every] = (
            np.where(more, middle, low[every]),
            np.where(more, high[every], middle),
        )
    return np.where(found, high, np.inf)
