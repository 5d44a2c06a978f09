r"""Forecasts by the paper's mechanism: a power law in the loss per unit, and all units right.

Where p is the probability that a unit (a token, a word, the whole answer) is right, :math:`-\ln p`
is its loss. If the loss is a power law of scale, :math:`-\ln p = \alpha x^{-k}`, then
:math:`z = \ln(-\ln p)` is a line in ln x, and a target of L units is right with probability
:math:`p^L`, whose z is larger by ln L. So everything is fitted and forecast as a line in z.

References:
    OpenAI (2023), "GPT-4 Technical Report", arXiv 2303.08774, sec. 3.2. Schaeffer, Miranda & Koyejo
    (2023), arXiv 2304.15004, sec. 2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.core.ragged import Ragged
from bigbench_meta.inference.forecast.forecasts import (
    Forecasts,
    ForecastStatus,
    Predictive,
    Rows,
    summarised,
)
from bigbench_meta.inference.forecast.mechanism_forecasts import (
    MechanismInput,
    mechanism_predictive,
    power_laws,
)
from bigbench_meta.inference.shapes.inputs import binomial_variance
from bigbench_meta.inference.shapes.shape_fits import ShapeFits, fit_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.inference.forecast.smooth_partners import Partners

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Adjust = Literal["none", "jeffreys"]

__all__ = [
    "LEAST_POINTS",
    "between_models",
    "forecast_log_pass_rate",
    "forecast_through_link",
]

LEAST_POINTS: Final = 3
"""A line has two parameters, and its scatter one more."""

# Change of ln(-ln p) over the fitted scales below which its sign is only rounding error.
_LEAST_CHANGE: Final = 1e-9
# Keeps logarithms of probabilities finite.
_LEAST_P: Final = 1e-12
# Halvings of the interval that holds the variance between models: to 2^-60 of its width.
_HALVINGS: Final = 60
# Lengths that are tried: greedy decoding can be right more often than the probability of its text.
_SHORTEST: Final = 0.02
_LONGEST: Final = 5000.0
_NODES: Final = 121
_ZOOMS: Final = 6
# Drop in -2 ln L at the ends of a 95% profile interval.
_CHI_SQUARED: Final = 3.841458820694124
# Half the step in the logarithm of a length by which misfit is differentiated.
_NUDGE: Final = 1e-4


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
    adjustment every score is (np + 1/2)/(n + 1) in place of p. But half a right answer is no
    measurement of how hard a task is: a curve with a score of 0 or 1 among the fitted ones is then
    forecast from its numbers of right answers, by all exponents from 0 to 1 that fit them
    (:func:`mechanism_predictive` with :func:`power_laws`).

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
    point, fitted = rows.fitted()
    z, variance = _z(used[point], binomial_variance(p, n_examples)[point])
    line = _line(z, variance, x[point], fitted)
    n, dispersion = n_examples[rows.target], line.fits.dispersion[rows.part, 0]

    def noise(z: Floats) -> Floats:
        sampling = _noise_of_z(z, n)
        return np.asarray(dispersion * np.where(np.isnan(sampling), 1.0, sampling))

    found = _forecast(line, rows, p, x, n, level, shift=np.zeros(len(rows.curve)), noise=noise)
    if adjust == "jeffreys":
        whole = fitted.any((p[point] <= 0) | (p[point] >= 1))
        whole &= ~np.isnan(n_examples[rows.offsets[rows.curve]])
        return _from_counts(found, p, x, rows, whole, n_examples=n_examples, level=level)
    return found


def _from_counts(
    found: Forecasts, p: Floats, x: Floats, rows: Rows, chosen: NDArray[np.bool_], *,
    n_examples: Floats, level: float,
) -> Forecasts:  # fmt: skip
    """Replace the forecasts of some parts by those from their numbers of right answers."""
    some, kept = rows.of_parts(chosen), chosen[rows.part]
    m = len(rows.offsets) - 1
    no = np.zeros(m, dtype=bool)
    data = MechanismInput(
        y=p, trials=n_examples, floor=np.zeros(m), picks_choice=no, is_brier=no
    )  # fmt: skip
    status = found.status[kept]
    status[status == ForecastStatus.NO_INTERVAL] = ForecastStatus.OK
    distribution = mechanism_predictive(data, x, some, laws=power_laws())
    counted = summarised(distribution, p[some.target], level, status, gain=np.ones(len(status)))
    result = {field.name: getattr(found, field.name).copy() for field in fields(Forecasts)}
    for name, values in result.items():
        values[kept] = getattr(counted, name)
    return Forecasts(**result)


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
    or wrong, are left out, as their loss cannot be estimated. The interval allows for the variance
    between models, the scatter of the sharp metric about what the smooth one gives, and the
    uncertainty of L.

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
    point, fitted = rows.fitted()
    paired = ~np.isnan(pairs.smooth[point])
    point, part = point[paired], fitted.curve[paired]
    counts = pairs.counts[rows.curve]
    variance = binomial_variance(p, n_examples)
    sharp = _Sharp(
        p[point], pairs.smooth[point], counts[part], variance[point], part, len(rows.curve)
    )
    found, given = _target_length(sharp), length[rows.curve]
    used = np.where(np.isnan(given), found, given)
    scatter, uncertainty = _length_uncertainty(sharp, used, estimated=np.isnan(given))
    z, sampling = _z_of_units(pairs, point, used[part], pairs.share[rows.curve][part])
    line, between = _line_between(z, sampling, x[point], part, len(rows.curve))
    line.status[np.isnan(used) & (sharp.points >= LEAST_POINTS)] = (
        ForecastStatus.LENGTH_NOT_DETERMINED
    )
    n, at, shift = n_examples[rows.target], rows.part, np.log(used)

    def noise(z: Floats) -> Floats:
        sampling = np.where(np.isnan(n), 1 / _slope_of_z(np.exp(-np.exp(z))) ** 2,
                            _noise_of_z(z, n))  # fmt: skip
        moved = _moved_by_length(np.exp(z - shift[at]), counts[at])
        return between[at] + scatter[at] * sampling + uncertainty[at] * moved**2

    forecasts = _forecast(line, rows, p, x, n, level, shift=shift, noise=noise)
    there = forecasts.status <= ForecastStatus.NO_INTERVAL
    forecasts.length[there] = used[rows.part][there]
    return forecasts


def _z_of_units(
    pairs: Partners, point: Ints, length: Floats, share: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return ln(-ln p) of a unit and its sampling variance, both NaN where p is not known."""
    counts = pairs.counts[pairs.curve_of_point[point]]
    p = _unit_probability(pairs.smooth[point], counts, length)
    # Of a target of less than one unit, one is seen.
    units = pairs.n_examples[point] * np.maximum(length, 1.0)
    by_error = pairs.variance[point] / np.where(counts, length, 1.0) ** 2
    by_units = np.where(share, binomial_variance(np.clip(p, 0, 1), units), np.nan)
    z, variance = _z(p, np.where(np.isnan(by_error), by_units, by_error))
    known = np.isfinite(z) & ~(share & (np.minimum(p, 1 - p) * units < 1))
    return np.where(known, z, np.nan), np.where(known, variance, np.nan)


def _line_between(
    z: Floats, sampling: Floats, x: Floats, part: Ints, m: int
) -> tuple[_Line, Floats]:
    """Fit lines to the z that are known; return them and the variance between models."""
    known = ~np.isnan(z)
    all_points = np.bincount(part, minlength=m)
    z, sampling, x, part = z[known], sampling[known], x[known], part[known]
    fitted = Ragged.of_lengths(np.bincount(part, minlength=m))
    measured = ~fitted.any(np.isnan(sampling))
    between = between_models(z, np.log(x), np.where(measured[part], sampling, 0.0), part, m)
    total = between[part] + sampling
    weighted = measured[part] & (total > 0)
    line = _line(z, np.where(weighted, total, np.nan), x, fitted)
    lost = (fitted.lengths < LEAST_POINTS) & (all_points >= LEAST_POINTS)
    line.status[lost] = ForecastStatus.UNDEFINED_SCORE
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


def _line(z: Floats, variance: Floats, x: Floats, fitted: Ragged) -> _Line:
    """Fit lines to z where all of them are finite."""
    undefined, lengths = fitted.any(~np.isfinite(z)), fitted.lengths
    usable = ~undefined & (lengths >= LEAST_POINTS)
    kept = usable[fitted.curve]
    # Parts that cannot be fitted stay as parts without points.
    offsets = Ragged.of_lengths(np.where(usable, lengths, 0)).offsets
    fits = fit_shapes(z[kept], x[kept], offsets, variance=variance[kept], shapes=("log_linear",))
    change = fits.parameters["log_linear"][:, 1] * fits.frame.span
    status = np.select(
        [lengths < LEAST_POINTS, undefined, ~(change < -_LEAST_CHANGE)],
        [
            ForecastStatus.TOO_FEW_POINTS,
            ForecastStatus.UNDEFINED_SCORE,
            ForecastStatus.NOT_IMPROVING,
        ],
        ForecastStatus.OK,
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
    # Where the fitted points lie exactly on the line, nothing says how uncertain it is.
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
    there = status == ForecastStatus.OK
    ends = distribution.quantile(1 - tail), distribution.quantile(tail)
    status[there & np.isnan(ends[0] + ends[1])] = ForecastStatus.NO_INTERVAL
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
        width=upper - lower,
    )


# The length of a target ----------------------------------------------------------------------


def _unit_probability(smooth: Floats, counts: NDArray[np.bool_], length: Floats) -> Floats:
    """Return the probability of a unit, NaN where it is none."""
    p = np.where(counts, 1 - smooth / length, smooth)
    return np.where((p >= 0) & (p <= 1), p, np.nan)


@dataclass(frozen=True)
class _Sharp:
    """Sharp and smooth scores of the same models, point by point, and the part of each point."""

    p: Floats
    smooth: Floats
    counts: NDArray[np.bool_]
    variance: Floats
    part: Ints
    m: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the variances of all points of a part are known."""
        return np.asarray(np.bincount(self.part[np.isnan(self.variance)], minlength=self.m) == 0)

    @property
    def points(self) -> Ints:
        """Points of each part."""
        return np.bincount(self.part, minlength=self.m)

    def residual(self, length: Floats) -> Floats:
        """Return sharp scores less those that smooth ones give, at a length for each point."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return np.asarray(
                self.p - _unit_probability(self.smooth, self.counts, length) ** length
            )

    def sums(self, values: Floats) -> Floats:
        """Return the weighted sum of a value of each point over each part."""
        weight = np.where(self.known[self.part], 1 / self.variance, 1.0)
        return np.bincount(self.part, weight * values, self.m).astype(np.float64)


def _length_uncertainty(
    sharp: _Sharp, length: Floats, *, estimated: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return how sharp scores scatter about what smooth ones give, and the variance of ln L.

    The scatter is a factor of the sampling variance, at least 1, or a variance where that is not
    known. A length that was given has no variance.
    """
    at = length[sharp.part]
    points = np.maximum(sharp.points - estimated, 1)
    scatter = sharp.sums(sharp.residual(at) ** 2) / points
    scatter = np.where(sharp.known, np.fmax(scatter, 1.0), scatter)
    here, longer, shorter = (sharp.residual(at * np.exp(by)) for by in (0, _NUDGE, -_NUDGE))
    # No target is shorter than its wrong units: at that length there is a derivative to one side.
    slope = np.where(np.isnan(shorter), longer - here, (longer - shorter) / 2) / _NUDGE
    with np.errstate(divide="ignore", invalid="ignore"):
        return scatter, np.where(estimated, scatter / sharp.sums(slope**2), 0.0)


def _target_length(sharp: _Sharp) -> Floats:
    """Return the length with which smooth scores give sharp ones best, NaN if undetermined."""
    m = sharp.m
    low, high = np.full(m, np.log(_SHORTEST)), np.full(m, np.log(_LONGEST))
    best = np.full(m, np.nan)
    determined = np.zeros(m, dtype=bool)
    for zoom in range(_ZOOMS):
        nodes = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _NODES)
        rss = _misfit(sharp, np.exp(nodes))
        at = np.where(np.isnan(rss), np.inf, rss).argmin(axis=1)
        least = np.take_along_axis(rss, at[:, None], axis=1)[:, 0]
        if zoom == 0:
            determined = _bounded(rss, least, sharp.points, sharp.known)
        best = np.take_along_axis(nodes, at[:, None], axis=1)[:, 0]
        step = (high - low) / (_NODES - 1)
        low, high = best - step, best + step
    return np.where(determined, np.exp(best), np.nan)


def _misfit(sharp: _Sharp, lengths: Floats) -> Floats:
    """Return the weighted sum of squares of each part at each of its lengths, (m, nodes)."""
    return np.stack(
        [sharp.sums(sharp.residual(length[sharp.part]) ** 2) for length in lengths.T], axis=1
    )


def _bounded(
    rss: Floats, least: Floats, points: Ints, known: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether both ends of the range of lengths are worse than chance would make them."""
    scatter = least / np.maximum(points - 1, 1)
    scatter = np.where(known, np.maximum(scatter, 1.0), scatter)
    limit = least + _CHI_SQUARED * scatter
    # Lengths that the smooth scores exclude (more edits than tokens) are worse than any.
    ends = np.where(np.isnan(rss[:, [0, -1]]), np.inf, rss[:, [0, -1]])
    return np.asarray((points >= 2) & np.isfinite(least) & (ends > limit[:, None]).all(axis=1))


# The variance between models -----------------------------------------------------------------


def between_models(z: Floats, u: Floats, sampling: Floats, part: Ints, m: int) -> Floats:
    r"""Return the variance about a line that sampling error leaves, by Paule & Mandel's equation.

    .. math:: \sum_i \frac{(z_i - \hat a - \hat b u_i)^2}{\tau^2 + s_i^2} = n - 2,

    where the line is fitted with the same weights. It falls with :math:`\tau^2`; where it is below
    n - 2 at 0, sampling error explains all of the scatter. Where all :math:`s_i` are 0, the
    solution is the residual variance of least squares.

    Args:
        z: Values, shape (total,).
        u: Where they are, likewise, not all alike in a part.
        sampling: Their sampling variances :math:`s_i^2`, at least 0.
        part: Part of each value, ascending.
        m: Number of parts, each of at least three values or of none.

    Returns:
        :math:`\tau^2` of each part, shape (m,); NaN for a part without values.

    References:
        Paule & Mandel (1982), "Consensus Values and Weighting Factors",
        doi:10.6028/jres.087.022. Veroniki et al. (2016), doi:10.1002/jrsm.1164.

    Examples:
        >>> import numpy as np
        >>> z, u = np.array([0.0, 1.0, 1.0, 2.0]), np.arange(4.0)
        >>> for s2 in (0.0, 0.02, 1.0):
        ...     print(between_models(z, u, np.full(4, s2), np.zeros(4, int), 1).round(3))
        [0.1]
        [0.08]
        [0.]
    """
    left = np.bincount(part, minlength=m) - 2.0
    equal = np.ones_like(z)
    high = _squares(z, u, equal, part, m) / np.maximum(left, 1)
    low = np.zeros(m)
    for _ in range(_HALVINGS):
        middle = low / 2 + high / 2
        total = middle[part] + sampling
        weight = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        above = _squares(z, u, weight, part, m) > left
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    # With a part of 2^-60 of the bracket left, what is nearer to 0 is 0.
    found = np.where(low == 0, 0.0, low / 2 + high / 2)
    return np.where(left >= 1, found, np.nan)


def _squares(z: Floats, u: Floats, weight: Floats, part: Ints, m: int) -> Floats:
    """Return the weighted sum of squares about the weighted line of each part."""

    def total(values: Floats) -> Floats:
        return np.bincount(part, weight * values, m).astype(np.float64)

    with np.errstate(invalid="ignore", divide="ignore"):
        all_ = total(np.ones_like(z))
        dz = z - (total(z) / all_)[part]
        du = u - (total(u) / all_)[part]
        slope = total(du * dz) / total(du**2)
        return total((dz - slope[part] * du) ** 2)
