r"""Forecasts by the mechanism: a power law in the loss per unit, and all units of a target right.

Where p is the probability that a unit (a token, a word, the whole answer) is right, :math:`-\ln p`
is its loss. If the loss is a power law of scale, :math:`-\ln p = \alpha x^{-k}`, then
:math:`z = \ln(-\ln p)` is a line in ln x, and a target of L units is right with probability
:math:`p^L`, whose z is larger by ln L. So everything is fitted and forecast as a line in z.

References:
    OpenAI (2023), "GPT-4 Technical Report", arXiv 2303.08774, sec. 3.2. Schaeffer, Miranda & Koyejo
    (2023), arXiv 2304.15004, sec. 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.inference.forecast import rows as rows_of
from bigbench_meta.inference.forecast.between_models import between_models
from bigbench_meta.inference.forecast.predictive import Predictive
from bigbench_meta.inference.forecast.rows import Forecasts, Rows
from bigbench_meta.inference.forecast.target_length import Sharp, length_doubt, target_length, unit
from bigbench_meta.inference.shapes.batch import ShapeFits, fit_shapes
from bigbench_meta.inference.shapes.inputs import binomial_variance

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.inference.forecast.smooth_partners import Partners

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Adjust = Literal["none", "jeffreys"]

__all__ = ["LEAST_POINTS", "forecast_log_pass_rate", "forecast_through_link"]

LEAST_POINTS: Final = 3
"""A line has two parameters, and its scatter one more."""

# Change of ln(-ln p) over the fitted scales below which only rounding tells its sign.
_LEAST_CHANGE: Final = 1e-9
# Keeps logarithms of probabilities finite.
_LEAST_P: Final = 1e-12


def forecast_log_pass_rate(
    p: Floats,
    x: Floats,
    rows: Rows,
    *,
    n_examples: Floats,
    level: float,
    adjust: Adjust = "none",
) -> Forecasts:
    r"""Forecast by the rule of the GPT-4 report, -E[log pass rate] = alpha C^-k.

    The report means the logarithm over problems. Of a curve only the mean pass rate is known, and
    :math:`-\ln E[p] \le -E[\ln p]`, with equality where all problems are equally hard: the rule is
    applied to :math:`-\ln` of the score. Where that is undefined, as the score is 0 (or 1, whose
    logarithm of a logarithm is), the forecast has a status and no number; with Jeffreys'
    adjustment every score is (np + 1/2)/(n + 1) in place of p.

    Args:
        p: Scores as proportions, NaN on curves that are none, shape (total,).
        x: Their scales.
        rows: The forecasts to be made.
        n_examples: Examples behind each, NaN where not known of all points of a curve.
        level: Confidence of the intervals.
        adjust: ``jeffreys`` for the adjustment, which needs the number of examples.

    Returns:
        The forecasts, as proportions.

    References:
        OpenAI (2023), arXiv 2303.08774, sec. 3.2.
    """
    if adjust == "jeffreys":
        used = np.where(np.isnan(n_examples), p, (n_examples * p + 0.5) / (n_examples + 1))
    else:
        used = p
    point, offsets = rows.fitted()
    z, variance = _z(used[point], binomial_variance(p, n_examples)[point])
    line = _line(z, variance, x[point], offsets)
    n, dispersion = n_examples[rows.target], line.fits.dispersion[rows.part, 0]

    def noise(z: Floats) -> Floats:
        sampling = _noise_of_z(z, n)
        return np.asarray(dispersion * np.where(np.isnan(sampling), 1.0, sampling))

    return _forecast(line, rows, p, x, n, level, shift=np.zeros(len(rows.curve)), noise=noise)


def forecast_through_link(
    p: Floats,
    x: Floats,
    rows: Rows,
    *,
    pairs: Partners,
    n_examples: Floats,
    length: Floats,
    level: float,
) -> Forecasts:
    """Forecast a sharp metric from a smooth one of the same models.

    The smooth metric at the fitted scales gives the probability that a unit is right; a power law
    in its loss is extended to larger scales, and L units are right together. Where the length L is
    not given, it is the one with which the smooth metric gives the sharp one best, by weighted
    least squares at the fitted scales. A length that those do not bound on both sides (at 95%, by
    the profile of the sum of squares) is not determined, and there is no forecast.

    Points weigh by the sampling variance of their smooth score (by its standard error, or
    binomially for shares of units) and the variance between models, which is estimated; where a
    sampling variance is not known, all weigh the same. Scales at which less than one unit is right,
    or wrong, have no loss that could be told, and are left out. The interval knows of the variance
    between models, of the scatter of the sharp metric about what the smooth one gives, and of the
    doubt about L.

    Args:
        p: Scores of the sharp metric as proportions, shape (total,).
        x: Their scales.
        rows: The forecasts to be made.
        pairs: Smooth scores of the same models.
        n_examples: Examples behind each p, NaN where not known of all points of a curve.
        length: Length of each curve's targets in units, NaN to find it.
        level: Confidence of the intervals.

    Returns:
        The forecasts, as proportions.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2 and App. A.2.
    """
    point, _ = rows.fitted()
    have = ~np.isnan(pairs.smooth[point])
    part = np.repeat(np.arange(len(rows.curve)), rows.k)[have]
    point, counts = point[have], pairs.counts[rows.curve]
    variance = binomial_variance(p, n_examples)
    smooth = pairs.smooth[point]
    sharp = Sharp(p[point], smooth, counts[part], variance[point], part, len(rows.curve))
    found, given = target_length(sharp), length[rows.curve]
    used = np.where(np.isnan(given), found, given)
    scatter, doubt = length_doubt(sharp, used, estimated=np.isnan(given))
    z, sampling = _z_of_units(pairs, point, used[part], pairs.share[rows.curve][part])
    line, between = _line_between(z, sampling, x[point], part, len(rows.curve))
    line.status[np.isnan(used) & (sharp.points >= LEAST_POINTS)] = rows_of.LENGTH_NOT_DETERMINED
    n, at, shift = n_examples[rows.target], rows.part, np.log(used)

    def noise(z: Floats) -> Floats:
        sampling = np.where(np.isnan(n), 1 / _slope_of_z(np.exp(-np.exp(z))) ** 2,
                            _noise_of_z(z, n))  # fmt: skip
        moved = _moved_by_length(np.exp(z - shift[at]), counts[at])
        return between[at] + scatter[at] * sampling + doubt[at] * moved**2

    forecasts = _forecast(line, rows, p, x, n, level, shift=shift, noise=noise)
    there = forecasts.status <= rows_of.NO_INTERVAL
    forecasts.length[there] = used[rows.part][there]
    return forecasts


def _z_of_units(
    pairs: Partners, point: Ints, length: Floats, share: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return ln(-ln p) of a unit and its sampling variance, both NaN where p cannot be told."""
    counts = pairs.counts[pairs.curve_of_point[point]]
    p = unit(pairs.smooth[point], counts, length)
    # Of a target of less than one unit, one is seen.
    units = pairs.n_examples[point] * np.maximum(length, 1.0)
    by_error = pairs.variance[point] / np.where(counts, length, 1.0) ** 2
    by_units = np.where(share, binomial_variance(np.clip(p, 0, 1), units), np.nan)
    z, variance = _z(p, np.where(np.isnan(by_error), by_units, by_error))
    told = np.isfinite(z) & ~(share & (np.minimum(p, 1 - p) * units < 1))
    return np.where(told, z, np.nan), np.where(told, variance, np.nan)


def _line_between(
    z: Floats, sampling: Floats, x: Floats, part: Ints, m: int
) -> tuple[_Line, Floats]:
    """Fit lines to the z that can be told; return the variance between models beside them."""
    told = ~np.isnan(z)
    all_points = np.bincount(part, minlength=m)
    z, sampling, x, part = z[told], sampling[told], x[told], part[told]
    points = np.bincount(part, minlength=m)
    known = np.bincount(part[np.isnan(sampling)], minlength=m) == 0
    between = between_models(z, np.log(x), np.where(known[part], sampling, 0.0), part, m)
    total = between[part] + sampling
    weighted = known[part] & (total > 0)
    line = _line(z, np.where(weighted, total, np.nan), x, np.append(0, np.cumsum(points)))
    line.status[(points < LEAST_POINTS) & (all_points >= LEAST_POINTS)] = rows_of.UNDEFINED_SCORE
    return line, between


@dataclass(frozen=True)
class _Line:
    """A line in z through the fitted points of each part."""

    fits: ShapeFits
    status: NDArray[np.int8]


def _z(p: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return ln(-ln p), and its variance by the delta method."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(-np.log(p)), variance / (p * np.log(p)) ** 2


def _line(z: Floats, variance: Floats, x: Floats, offsets: Ints) -> _Line:
    """Fit lines to z where all of them are finite."""
    m, lengths = len(offsets) - 1, np.diff(offsets)
    part = np.repeat(np.arange(m), lengths)
    undefined = np.bincount(part[~np.isfinite(z)], minlength=m) > 0
    usable = ~undefined & (lengths >= LEAST_POINTS)
    kept = usable[part]
    # Parts that cannot be fitted stay as parts without points.
    kept_offsets = np.concatenate([[0], np.cumsum(np.where(usable, lengths, 0))])
    fits = fit_shapes(
        z[kept], x[kept], kept_offsets, variance=variance[kept], shapes=("log_linear",)
    )
    change = fits.parameters["log_linear"][:, 1] * fits.frame.span
    status = np.select(
        [lengths < LEAST_POINTS, undefined, ~(change < -_LEAST_CHANGE)],
        [rows_of.TOO_FEW_POINTS, rows_of.UNDEFINED_SCORE, rows_of.NOT_IMPROVING],
        rows_of.OK,
    )
    return _Line(fits, status.astype(np.int8))


def _noise_of_z(z: Floats, n: Floats) -> Floats:
    """Return the variance of ln(-ln p) that n examples have at z; NaN where n is not known."""
    p = np.exp(-np.exp(z))
    q = (n * p + 0.5) / (n + 1)
    return np.asarray(q * (1 - q) / n / _slope_of_z(q) ** 2)


def _slope_of_z(p: Floats) -> Floats:
    """Return dp/dz = p ln p."""
    p = np.clip(p, _LEAST_P, 1 - _LEAST_P)
    return np.asarray(p * np.log(p))


def _moved_by_length(loss: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Return dz/d(ln L) of a target at a loss per unit: 1, or less where wrong units are counted.

    Where the number of wrong units is known, a longer target has a smaller loss per unit.
    """
    wrong = np.clip(-np.expm1(-loss), _LEAST_P, 1 - _LEAST_P)
    return np.where(counts, 1 + wrong / ((1 - wrong) * np.log1p(-wrong)), 1.0)


def _forecast(
    line: _Line, rows: Rows, p: Floats, x: Floats, n: Floats, level: float, *, shift: Floats,
    noise: Callable[[Floats], Floats],
) -> Forecasts:  # fmt: skip
    """Forecast z and turn it back; `noise` is the variance of what is observed at a true z."""
    asked, column = rows.padded(x[rows.target])
    mean, spread = (values[rows.part, column] for values in line.fits.predict("log_linear", asked))
    # Where the fitted points lie exactly on the line, it is known as far as they can tell.
    spread = np.where(np.isnan(mean), np.nan, np.nan_to_num(spread))
    z = mean + shift[rows.part]
    one = np.ones((len(z), 1))
    distribution = Predictive(
        mean=z[:, None],
        sd=np.sqrt(spread**2 + noise(z))[:, None],
        df=np.asarray(line.fits.n_points[rows.part], dtype=np.float64)[:, None] - 2,
        weight=np.where(np.isnan(z), np.nan, 1.0)[:, None] * one,
        low=np.full(len(z), -np.inf),
        high=np.full(len(z), np.inf),
    )
    tail = (1 - level) / 2
    status = line.status[rows.part]
    there = status == rows_of.OK
    ends = distribution.quantile(1 - tail), distribution.quantile(tail)
    status[there & np.isnan(ends[0] + ends[1])] = rows_of.NO_INTERVAL
    # No right answer of n, or no wrong one, stands for half a one, which has a logarithm.
    half = 0.5 / (n + 1)
    observed = p[rows.target]
    observed = np.where(observed == 0, half, np.where(observed == 1, 1 - half, observed))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        point, lower, upper = (np.where(there, np.exp(-np.exp(end)), np.nan) for end in (z, *ends))
        z_observed = np.log(-np.log(np.where(np.isnan(n), p[rows.target], observed)))
    return Forecasts(
        point=point,
        lower=np.where(lower < half, 0.0, lower),
        upper=np.where(upper > 1 - half, 1.0, upper),
        p=np.where(there, distribution.two_sided(z_observed), np.nan),
        length=np.full(len(z), np.nan),
        shape=np.full(len(z), -1),
        status=status,
    )
