"""Fits of several shapes to a ragged batch of curves: the array core of ``shapes``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from bigbench_meta.core.errors import InputError
from bigbench_meta.inference.shapes import information_criteria as criteria
from bigbench_meta.inference.shapes.fits import EXACT, Fit, columns_at, fit_block
from bigbench_meta.inference.shapes.frame import Frame, Ragged, blocks
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
            value = (model.columns(u, fit.theta) * fit.coefficients[:, None, :]).sum(axis=-1)
            slopes = columns_at(model, u, fit)
            products = slopes[..., :, None] * slopes[..., None, :] * fit.covariance[:, None]
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
    dispersion: Literal["free", "fixed"] = "free",
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
    (``shapes/_models.py``), a break within it, a midpoint up to one span beside it. The place of a
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
        dispersion: ``fixed`` keeps :math:`\phi` at 1, for which all variances must be known.
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
        raise InputError(f"{list(shapes)}: none, or one twice", where="shapes")
    data = Ragged.checked(y, x, offsets, variance, low, high)
    frame = Frame.of(data)
    if dispersion not in ("free", "fixed"):
        raise InputError(f"{dispersion!r} is not free or fixed", where="dispersion")
    if dispersion == "fixed" and not frame.variance_known.all():
        raise InputError("needs the variance of every score", where="dispersion='fixed'")
    inner = {name: _empty(name, len(data.lengths)) for name in shapes}
    spare, done = 0 if not criteria_only else 1 if dispersion == "fixed" else 2, 0
    for rows in blocks(data.lengths):
        block = frame.block(data, rows)
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
            progress(done, len(data.lengths))
    return _judged(tuple(shapes), inner, data.lengths, frame, fixed=dispersion == "fixed")


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
    shapes: tuple[str, ...], inner: dict[str, Fit], lengths: Ints, frame: Frame, *, fixed: bool
) -> ShapeFits:
    n, known = lengths[:, None], frame.variance_known[:, None]
    p = np.array([len(SHAPE_PARAMETERS[name]) for name in shapes])
    k = np.broadcast_to(p + (not fixed), (len(lengths), len(shapes)))
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
        likeliest = np.ones_like(rss) if fixed else np.maximum(floor, counted / n)
        dispersion = np.ones_like(rss) if fixed else np.maximum(floor, rss / (n - p))
        logs = np.where(known, frame.log_variances[:, None], 2 * n * np.log(frame.scale[:, None]))
        likelihood = criteria.log_likelihood(counted, likeliest, logs, n)
        status = _status(inner, n, k, flat)
        judged = status <= DEGENERATE
        aicc = np.where(judged, criteria.aicc(likelihood, k, n), np.nan)
        bic = np.where(judged, criteria.bic(likelihood, k, n), np.nan)
        # No scatter at all says nothing of the noise, unless its size is known beforehand.
        unknown = ~known & (flat | (rss <= least))
        rss, dispersion = (np.where(known, part, square * part) for part in (rss, dispersion))
    weight, bic_weight = criteria.akaike_weights(aicc), criteria.akaike_weights(bic)
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
        aicc=aicc,
        bic=bic,
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
