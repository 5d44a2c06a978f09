"""Fit several shapes to a ragged batch of curves, and compare them by information criteria.

Arrays in, arrays out.

References:
    Burnham & Anderson (2002), "Model Selection and Multimodel Inference", 2nd ed., sec. 2.4 (AICc)
    and 2.9 (Akaike weights), doi:10.1007/b97636. Hurvich & Tsai (1989), "Regression and time series
    model selection in small samples", doi:10.1093/biomet/76.2.297. Schwarz (1978),
    doi:10.1214/aos/1176344136.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.shapes.fits import Fit, fit_block
from bigbench_meta.inference.shapes.inputs import Frame, Points
from bigbench_meta.inference.shapes.loops import EXACT
from bigbench_meta.inference.shapes.models import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["FIT_STATUSES", "SHAPES", "SHAPE_PARAMETERS", "ShapeFits", "fit_shapes", "heaviest"]

SHAPES: Final[tuple[str, ...]] = tuple(MODELS)
"""The shapes, the simpler before the more complex."""

SHAPE_PARAMETERS: Final = {name: model.parameters for name, model in MODELS.items()}
"""Names of the parameters of each shape; scales in the unit of x, exponents per unit of ln x."""

FIT_STATUSES: Final = ("ok", "degenerate", "flat", "too_few_points", "not_converged")
OK, DEGENERATE, FLAT, TOO_FEW_POINTS, NOT_CONVERGED = range(5)


@dataclass(frozen=True, kw_only=True)
class ShapeFits:
    """Fits of s shapes to a batch of m curves; arrays have shape (m, s) unless said otherwise.

    Attributes:
        shapes: Names of the shapes fitted.
        parameters: By shape, (m, p), named in :data:`SHAPE_PARAMETERS`; NaN where there is no fit.
        n_points: Points of each curve, shape (m,).
        n_parameters: Number k of parameters, that of the noise among them if it is estimated.
        rss: Sum of squared residuals, each over its variance where variances are known.
        dispersion: rss / (n - p), with p parameters without the noise. Where variances are known
            it is at least 1, the factor by which points scatter beyond them; else it is the
            noise variance, NaN where the shape fits exactly, which says nothing of the noise.
        log_likelihood: Gaussian, at its maximum.
        aicc: Akaike's criterion for few points; NaN unless ``status`` is ok or degenerate.
        bic: Schwarz's criterion; NaN where AICc is.
        weight: Akaike weight among the shapes; NaN where no shape has an AICc.
        bic_weight: The same of BIC: with equal prior probabilities, about the posterior one.
        status: Index into :data:`FIT_STATUSES`. ``degenerate``: on a bound of its parameters, or
            the points do not determine them all; a simpler shape may say the same. ``flat``: all
            scores are equal, and the constant has all the weight. ``too_few_points``:
            n - k - 1 <= 0, so no AICc, and below p + 1 scales no fit. ``not_converged``: the best
            parameters found, without AICc.
    """

    shapes: tuple[str, ...]
    parameters: dict[str, Floats]
    n_points: Ints
    n_parameters: Ints
    rss: Floats
    dispersion: Floats
    log_likelihood: Floats
    aicc: Floats
    bic: Floats
    weight: Floats
    bic_weight: Floats
    status: NDArray[np.int8]
    inner: dict[str, Fit]
    frame: Frame

    @property
    def best(self) -> Ints:
        """Index into ``shapes`` of the largest weight of each curve, -1 where it has none."""
        return heaviest(self.weight)

    def weights(self, criterion: str) -> Floats:
        """Return ``weight`` for ``aicc`` and ``bic_weight`` for ``bic``.

        Raises:
            InputError: The criterion is neither.
        """
        if criterion not in ("aicc", "bic"):
            raise InputError(f"{criterion!r} is not aicc or bic", where="criterion")
        return self.weight if criterion == "aicc" else self.bic_weight

    def predict(self, shape: str, x: Floats) -> tuple[Floats, Floats]:
        """Return what one shape says at other scales.

        Args:
            shape: One of the shapes fitted.
            x: Scales for each curve, shape (m, h); NaN where nothing is asked.

        Returns:
            The value and its standard error by the delta method, each (m, h); NaN where there is no
            fit. The error is enormous where the points do not determine the value, and does not
            know of other places of a step.

        Raises:
            InputError: The shape was not fitted.
        """
        if shape not in self.shapes:
            raise InputError(f"{shape!r} was not fitted", where="shape")
        model, fit, frame = MODELS[shape], self.inner[shape], self.frame
        # Exponents far beyond the sampled scales may overflow: the value is infinite then.
        with np.errstate(all="ignore"):
            u = (np.log(x) - np.log(frame.x_first)[:, None]) / frame.span[:, None]
            jacobian = model.jacobian(u, fit.theta, fit.coefficients)
            value = (jacobian[..., : model.n_linear] * fit.coefficients[:, None, :]).sum(axis=-1)
            products = jacobian[..., :, None] * jacobian[..., None, :] * fit.covariance[:, None]
            spread = products.sum(axis=(-1, -2)) * frame.unit_variance[:, None]
            spread = spread * self.dispersion[:, self.shapes.index(shape), None]
            return (
                frame.shift[:, None] + frame.scale[:, None] * value,
                np.sqrt(np.maximum(spread, 0.0)),
            )


def fit_shapes(
    y: Floats,
    x: Floats,
    offsets: Ints,
    *,
    variance: Floats | None = None,
    low: Floats | None = None,
    high: Floats | None = None,
    shapes: Sequence[str] = SHAPES,
    criteria_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ShapeFits:
    r"""Fit shapes to a ragged batch of curves by weighted least squares.

    The likelihood is Gaussian with variances :math:`\phi v_i`. Where all variances :math:`v_i` of a
    curve are known, :math:`\phi \ge 1` is estimated: sister models differ by more than sampling
    error, never by less. Where they are not, all :math:`v_i` are 1 and :math:`\phi > 0` is their
    variance. With n points and k parameters, :math:`\phi` among them,

    .. math:: \mathrm{AICc} = -2 \ln L + 2k + \frac{2k(k+1)}{n-k-1}, \quad
              \mathrm{BIC} = -2 \ln L + k \ln n.

    Exponents and steepness are sought in ranges that are relative to the span of the curve's scales
    (``shapes/models.py``), a break within it, a midpoint up to one span outside it. The place of a
    step is tried in every gap and counts as one parameter. A mean residual below 1e-8 of a curve's
    range counts as that, so that shapes which fit exactly differ by their number of parameters.

    Args:
        y: Scores of all curves, shape (total,), in any unit.
        x: Their scales, positive and strictly ascending in each curve, shape (total,).
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        variance: Of each score, (total,), in the squared unit of y; NaN where not known. A curve
            for which any is missing is fitted with equal weights.
        low: Least possible score of each curve, (m,), NaN for none: power law and logistic keep
            their asymptotes above it.
        high: Largest possible score, likewise.
        shapes: Some of :data:`SHAPES`, at least one.
        criteria_only: Leave out fits of too few points for an AICc, which have parameters alone.
        progress: Called with (curves done, curves to do).

    Returns:
        The fits.

    Raises:
        InputError: Shapes do not fit, a value is not finite, x does not ascend, a variance is not
            positive, a score lies outside its bounds, or a shape is not known.

    References:
        Caballero et al. (2023), arXiv 2210.14891, eq. 1. Burnham & Anderson (2002), eq. 2.4.

    Examples:
        >>> import numpy as np
        >>> x = 10.0 ** np.arange(8)
        >>> fits = fit_shapes(0.1 + 0.05 * np.arange(8), x, np.array([0, 8]))
        >>> fits.shapes[fits.best[0]]
        'log_linear'
        >>> fits.parameters["log_linear"].round(4).tolist()  # 0.05 for each factor of ten
        [[0.1, 0.0217]]
    """
    if wrong := [name for name in shapes if name not in MODELS]:
        hint = f"one of {', '.join(SHAPES)}"
        raise InputError(f"no shape {wrong[0]!r}", where="shapes", hint=hint)
    if not shapes or len(set(shapes)) < len(shapes):
        raise InputError(f"{list(shapes)}: empty, or one is given twice", where="shapes")
    points = Points.checked(y, x, offsets, variance=variance, low=low, high=high)
    frame, lengths = Frame.of(points), points.ragged.lengths
    inner = {name: _empty(name, len(lengths)) for name in shapes}
    spare, done = 2 if criteria_only else 0, 0
    for rows, block in frame.blocks(points):
        scales = 1 + (np.diff(block.u, axis=1) > 0).sum(axis=1)
        for name in shapes:
            least = len(SHAPE_PARAMETERS[name]) + 1 + spare
            enough = (frame.scale[rows] > 0) & (scales >= least)
            if enough.any():
                chosen = np.flatnonzero(enough)
                _put(inner[name], rows[chosen], fit_block(MODELS[name], block.take(chosen)))
            if name == "constant":
                flat = np.flatnonzero(frame.scale[rows] == 0)
                _put(inner[name], rows[flat], _flat(block.w[flat]))
        done += len(rows)
        if progress:
            progress(done, len(lengths))
    return _judged(tuple(shapes), inner, lengths, frame)


def heaviest(weight: Floats) -> Ints:
    """Return the place of each row's largest weight, the first on ties, -1 where all are NaN."""
    known = np.where(np.isnan(weight), -1.0, weight)
    return np.where(known.max(axis=1) >= 0, known.argmax(axis=1), -1)


def _empty(name: str, m: int) -> Fit:
    model = MODELS[name]
    size = model.n_linear + model.n_theta
    return Fit(
        coefficients=np.full((m, model.n_linear), np.nan),
        theta=np.full((m, model.n_theta), np.nan),
        rss=np.full(m, np.nan),
        covariance=np.full((m, size, size), np.nan),
        converged=np.ones(m, dtype=bool),
        degenerate=np.zeros(m, dtype=bool),
    )


def _put(whole: Fit, rows: Ints, part: Fit) -> None:
    for field in fields(Fit):
        getattr(whole, field.name)[rows] = getattr(part, field.name)


def _flat(w: Floats) -> Fit:
    """Return the constant of flat curves, whose level is the middle of their range."""
    m = len(w)
    return Fit(
        coefficients=np.zeros((m, 1)),
        theta=np.empty((m, 0)),
        rss=np.zeros(m),
        covariance=(1 / (w**2).sum(axis=1))[:, None, None],
        converged=np.ones(m, dtype=bool),
        degenerate=np.zeros(m, dtype=bool),
    )


def _judged(
    shapes: tuple[str, ...], inner: dict[str, Fit], lengths: Ints, frame: Frame
) -> ShapeFits:
    """Return fits with their criteria, in the unit of the scores."""
    n, known = lengths[:, None], frame.variance_known[:, None]
    p = np.array([len(SHAPE_PARAMETERS[name]) for name in shapes])
    k = np.broadcast_to(p + 1, (len(lengths), len(shapes)))  # the noise is estimated
    floor = np.where(known, 1.0, 0.0)
    flat = frame.scale[:, None] == 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Without variances all is counted at a range of 1, whose square neither overflows nor
        # vanishes, and brought to the unit of the scores in the end.
        square = frame.scale[:, None] ** 2
        unit = np.where(known, square / frame.unit_variance[:, None], 1.0)
        rss = unit * np.stack([inner[name].rss for name in shapes], axis=1)
        least = unit * EXACT * n
        counted = np.maximum(rss, least)
        likeliest = np.maximum(floor, counted / n)
        dispersion = np.maximum(floor, rss / (n - p))
        logs = np.where(known, frame.log_variances[:, None], 2 * n * np.log(frame.scale[:, None]))
        likelihood = log_likelihood(counted, likeliest, logs, n)
        status = _status(inner, n, k, flat)
        judged = status <= DEGENERATE
        of_aicc = np.where(judged, aicc(likelihood, k, n), np.nan)
        of_bic = np.where(judged, bic(likelihood, k, n), np.nan)
        # No scatter at all says nothing of the noise, unless its size is known beforehand.
        unknown = ~known & (flat | (rss <= least))
        rss, dispersion = (np.where(known, part, square * part) for part in (rss, dispersion))
    weight, bic_weight = akaike_weights(of_aicc), akaike_weights(of_bic)
    if "constant" in shapes:
        for weights in (weight, bic_weight):
            weights[flat[:, 0]] = np.arange(len(shapes)) == shapes.index("constant")
    nothing = np.isnan(rss)
    return ShapeFits(
        shapes=shapes,
        parameters={name: _reported(name, inner[name], frame) for name in shapes},
        n_points=lengths,
        n_parameters=k,
        rss=rss,
        dispersion=np.where(nothing | unknown, np.nan, dispersion),
        log_likelihood=np.where(nothing | flat, np.nan, likelihood),
        aicc=of_aicc,
        bic=of_bic,
        weight=weight,
        bic_weight=bic_weight,
        status=status,
        inner=inner,
        frame=frame,
    )


def _status(inner: dict[str, Fit], n: Ints, k: Ints, flat: NDArray[np.bool_]) -> NDArray[np.int8]:
    fits = list(inner.values())
    status = np.full(k.shape, OK, dtype=np.int8)
    status[np.stack([fit.degenerate for fit in fits], axis=1)] = DEGENERATE
    status[np.stack([~fit.converged for fit in fits], axis=1)] = NOT_CONVERGED
    missing = np.stack([np.isnan(fit.rss) for fit in fits], axis=1)
    status[missing | (n - k - 1 <= 0)] = TOO_FEW_POINTS
    status[np.broadcast_to(flat, k.shape) & (n > 0)] = FLAT
    return status


def _reported(name: str, fit: Fit, frame: Frame) -> Floats:
    """Return the parameters in the unit of the scores and of x."""
    span, scale = frame.span, frame.scale
    first, *others = fit.coefficients.T
    levels = [frame.shift + scale * first]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if name == "log_linear":
            return np.stack([*levels, scale * others[0] / span], axis=1)
        if name == "broken_power_law":
            middle, exponent, bend, width = fit.theta.T
            scales = [frame.x_first * np.exp(middle * span), exponent / span, bend / span]
            return np.stack([*levels, scale * others[0], *scales, np.exp(width) * span], axis=1)
        levels += [frame.shift + scale * other for other in others]
        if name == "power_law":
            return np.stack([*levels, np.exp(fit.theta[:, 0]) / span], axis=1)
        if fit.theta.shape[1]:
            levels.append(frame.x_first * np.exp(fit.theta[:, 0] * span))
        if name == "logistic":
            levels.append(np.exp(fit.theta[:, 1]) / span)
        return np.stack(levels, axis=1)


# Criteria ----------------------------------------------------------------------------------


def log_likelihood(rss: Floats, dispersion: Floats, log_variances: Floats, n: Ints) -> Floats:
    r"""Return the Gaussian log-likelihood of residuals with variances :math:`\phi v_i`.

    .. math:: -\tfrac12 \left(n \ln 2\pi\phi + \sum_i \ln v_i + \mathrm{rss}/\phi\right)

    Args:
        rss: Sum of squared residuals, each divided by its v_i.
        dispersion: The factor phi.
        log_variances: Sum of ln v_i; 0 where all are 1.
        n: Number of points.

    Returns:
        The log-likelihood, of the arguments' common shape.

    Examples:
        >>> import numpy as np
        >>> log_likelihood(np.array(2.0), np.array(1.0), np.array(0.0), np.array(2)).round(4)
        np.float64(-2.8379)
    """
    return np.asarray(
        -0.5 * (n * np.log(2 * np.pi * dispersion) + log_variances + rss / dispersion)
    )[()]


def aicc(log_likelihood: Floats, k: Ints, n: Ints) -> Floats:
    """Return -2 ln L + 2k + 2k(k + 1) / (n - k - 1), NaN where n - k - 1 is not positive.

    Args:
        log_likelihood: At its maximum.
        k: Number of parameters, the noise variance among them if it was estimated.
        n: Number of points.

    Returns:
        The criterion, of the arguments' common shape.

    References:
        Hurvich & Tsai (1989), doi:10.1093/biomet/76.2.297; Burnham & Anderson (2002), eq. 2.4.

    Examples:
        >>> import numpy as np
        >>> aicc(np.array([-10.0, -10.0]), np.array([3, 3]), np.array([8, 4]))
        array([32., nan])
    """
    left = np.asarray(n - k - 1, dtype=np.float64)
    correction = 2.0 * k * (k + 1) / np.where(left > 0, left, np.nan)
    return np.asarray(-2 * log_likelihood + 2 * k + correction)


def bic(log_likelihood: Floats, k: Ints, n: Ints) -> Floats:
    """Return -2 ln L + k ln n.

    Args:
        log_likelihood: At its maximum.
        k: Number of parameters, the noise variance among them if it was estimated.
        n: Number of points, positive.

    Returns:
        The criterion, of the arguments' common shape.

    References:
        Schwarz (1978), doi:10.1214/aos/1176344136.

    Examples:
        >>> import numpy as np
        >>> bic(np.array(-10.0), np.array(2), np.array(np.e**2)).round(6)
        np.float64(24.0)
    """
    return np.asarray(-2 * log_likelihood + k * np.log(n))[()]


def akaike_weights(criterion: Floats) -> Floats:
    r"""Return :math:`e^{-\Delta_i/2} / \sum_j e^{-\Delta_j/2}` along the last axis.

    Args:
        criterion: AICc (or BIC) of each model, shape (..., models); NaN where a model has none.

    Returns:
        Weights that add up to 1; 0 for a model without a criterion, NaN where no model has one.

    References:
        Burnham & Anderson (2002), sec. 2.9.

    Examples:
        >>> import numpy as np
        >>> akaike_weights(np.array([[10.0, 10.0, np.nan], [np.nan] * 3]))
        array([[0.5, 0.5, 0. ],
               [nan, nan, nan]])
    """
    some = ~np.isnan(criterion).all(axis=-1, keepdims=True)
    least = np.min(np.where(np.isnan(criterion), np.inf, criterion), axis=-1, keepdims=True)
    likelihood = np.exp(-(criterion - np.where(some, least, 0.0)) / 2)
    likelihood = np.where(np.isnan(likelihood), 0.0, likelihood)
    total = likelihood.sum(axis=-1, keepdims=True)
    return np.where(some, likelihood / np.where(some, total, 1.0), np.nan)
