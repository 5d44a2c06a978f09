"""The weaker null: a straight line in the logarithm of scale, plus noise of one size.

It asks less than the mechanism: nothing about the metric, the test set or the loss. With normal
noise of one standard deviation, the statistic does not depend on level, slope or noise, so that its
distribution is known up to simulation and the test holds its size exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.checks import reject, seed_number, whole
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.curves.emergence import score_ragged, sharpness_by_scale
from bigbench_meta.inference.nulls.monte_carlo import (
    FEWEST_REPLICATES,
    FLAT,
    MIN_SCALES,
    OK,
    REPLICATES_AT_A_TIME,
    NullResults,
    SequentialPValues,
    is_flat,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["line_null"]

_TINY: Final = 1e-300
# Residuals below this share of the range are rounding.
_ROUNDING: Final = 1e-9
_LARGEST: Final = 1e100
# Curves whose replicates are drawn beside each other.
_BLOCK: Final = 64


def line_null(
    y: Floats,
    x: Floats,
    offsets: Ints,
    *,
    n_boot: int = 999,
    stop_after: int | None = None,
    seed: int | np.random.Generator = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NullResults:
    r"""Test a ragged batch of curves against a straight line in log scale plus noise.

    With residuals r of the least squares line and the part :math:`d_k` of a step after scale k that
    is orthogonal to level and slope, the statistic is the largest of :math:`T_k = r^\top d_k /
    (|d_k| s)`, :math:`s^2 = |r|^2 / (n - 2)`. P-values are as in
    :func:`bigbench_meta.inference.nulls.mechanism_null.mechanism_null`, from normal noise.

    Args:
        y: Scores in any unit, shape (total,), up is better, by ascending scale in each curve.
        x: Scale of each score, positive, any unit.
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        n_boot: Replicates, at least 19.
        stop_after: As for
            :func:`bigbench_meta.inference.nulls.mechanism_null.mechanism_null`.
        seed: Seed, or a generator, of which one number is drawn.
        progress: Called with (curves done, curves).

    Returns:
        The tests, arrays of shape (m,). ``alpha`` is the slope by natural logarithm of scale,
        ``sigma`` and ``step_size`` are in units of the score; there is no goodness of fit. Where
        the curve is a line up to rounding, the p-values are 1.

    Raises:
        InputError: Arrays do not fit together or an option is out of range.

    References:
        Davison & Hinkley (1997), Bootstrap Methods and their Application, sec. 4.2,
        doi:10.1017/CBO9780511802843. Besag & Clifford (1991), doi:10.1093/biomet/78.2.301.

    Examples:
        >>> y = np.array([0.1, 0.22, 0.29, 0.41, 0.5, 0.0, 0.01, 0.0, 0.01, 1.0])
        >>> tests = line_null(y, np.tile(10.0 ** np.arange(5), 2), np.array([0, 5, 10]))
        >>> (tests.p_step < 0.05).tolist()
        [False, True]
    """
    whole(n_boot, FEWEST_REPLICATES, "n_boot")
    if stop_after is not None:
        whole(stop_after, 1, "stop_after")
    ragged, base = Ragged.of(offsets, y=y, x=x), seed_number(seed)
    reject(y, ~np.isfinite(y), "not finite", "y")
    ragged.check_scales(x)
    result = NullResults.of_lengths(ragged.lengths)
    # The largest score of curves whose squares would over- or underflow, else 1.
    largest = ragged.reduce(np.maximum, np.abs(y))
    extreme = (largest > _LARGEST) | ((largest > 0) & (largest < 1 / _LARGEST))
    unit = np.where(extreme, largest, 1.0)
    y = y / unit[ragged.curve]
    result.sharpness[:] = score_ragged(y, ragged.offsets).relative_sharpness
    done = int((ragged.lengths < MIN_SCALES).sum())
    for block in ragged.blocks(_BLOCK, shortest=MIN_SCALES):
        log = np.log(block.by_scale(x))
        _test_block(
            result, block.curves, block.by_scale(y), log - log.mean(axis=0), n_boot, stop_after,
            base,
        )  # fmt: skip
        done += len(block.curves)
        if progress is not None:
            progress(done, len(ragged))
    with np.errstate(over="ignore"):
        for name in ("level", "alpha", "sigma", "step_size"):
            getattr(result, name)[:] *= unit
    return result


def _test_block(
    result: NullResults, rows: Ints, y: Floats, x: Floats, n_boot: int, stop_after: int | None,
    seed: int,
) -> None:  # fmt: skip
    """Fill in the results of curves of one length, given scale first."""
    flat = is_flat(y)
    result.status[rows] = np.where(flat, FLAT, OK)
    rows, y, x = rows[~flat], y[:, ~flat], x[:, ~flat]
    if not len(rows):
        return
    level, slope, residual = _line(y, x)
    noise = np.sqrt((residual**2).sum(axis=0) / (len(y) - 2))
    steps = _steps(x)
    residual_of, score_of = _projections(x, steps)
    scores = (score_of @ residual.T[..., None])[..., 0] / np.maximum(noise, _TINY)[:, None]
    place = scores.argmax(axis=1)
    column = np.arange(len(rows))
    best = steps[place, :, column].T
    result.level[rows], result.alpha[rows], result.sigma[rows] = level, slope, noise
    result.n_before[rows] = place + 1
    result.step_score[rows] = scores[column, place]
    result.step_size[rows] = (residual * best).sum(axis=0) / (best**2).sum(axis=0)
    fitted = y - residual
    unit = np.ptp(y, axis=0)
    streams = [stream(seed, "line", residual[:, j] / unit[j], x[:, j]) for j in column.tolist()]
    step, sharp = (
        SequentialPValues.start(observed[rows], stop_after)
        for observed in (result.step_score, result.sharpness)
    )
    done = 0
    while done < n_boot and len(open_ := np.flatnonzero(~(step.done & sharp.done))):
        size = min(max(1, REPLICATES_AT_A_TIME // len(open_)), n_boot - done)
        if stop_after is not None:
            size = min(size, max(done, 2 * stop_after))
        done += size
        # Each curve goes on in its own stream: its replicates do not depend on where it is cut.
        draws = [streams[j].standard_normal((size, len(y))).T for j in open_.tolist()]
        drawn = np.stack(draws)  # (m, n, size)
        spread = np.sqrt(((residual_of[open_] @ drawn) ** 2).sum(axis=1) / (len(y) - 2))
        step.add(open_, (score_of[open_] @ drawn).max(axis=1) / np.maximum(spread, _TINY))
        around = fitted.T[open_, :, None] + noise[open_, None, None] * drawn
        sharp.add(open_, sharpness_by_scale(around.swapaxes(0, 1)))
    exact = noise <= _ROUNDING * unit
    result.p_step[rows] = np.where(exact, 1.0, step.p_values())
    result.p_sharpness[rows] = np.where(exact, 1.0, sharp.p_values())
    result.n_valid[rows] = step.valid


def _line(y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return level (m,), slope (m,) and residuals (n, m) of scores (n, m) on x (n, m)."""
    level = y.mean(axis=0)
    slope = (x * y).sum(axis=0) / (x**2).sum(axis=0)
    return level, slope, y - level - x * slope


def _steps(x: Floats) -> Floats:
    """Return steps after each scale, less level and slope, shape (n - 1, n, m)."""
    n = len(x)
    step = (np.arange(n) > np.arange(n - 1)[:, None]).astype(float)
    centred = step - step.mean(axis=1, keepdims=True)
    slope = np.einsum("kn,nm->km", centred, x) / (x**2).sum(axis=0)
    return np.asarray(centred[..., None] - slope[:, None, :] * x)


def _projections(x: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Return what takes scores to residuals, (m, n, n), and to T times the noise, (m, n - 1, n)."""
    unit = x / np.sqrt((x**2).sum(axis=0))
    residual_of = np.eye(len(x)) - 1 / len(x) - unit.T[:, :, None] * unit.T[:, None, :]
    score_of = steps / np.sqrt((steps**2).sum(axis=1))[:, None]
    return residual_of, score_of.transpose(2, 0, 1)
