r"""The smooth mechanism: a power law of the per-token loss, measured by a metric and a test set.

Schaeffer et al. (2023) explain jumps of a score by a per-token loss that falls as a power law of
scale N and a metric that turns it into a score. As a proportion, the score of model i is

.. math:: s_i = g + (1 - g)\, \ell(\lambda_i), \qquad
          \log\lambda_i = a + \log(r + e^{-\alpha x_i}) + \sigma u_i,

with g the guess rate and :math:`x_i = \log N_i` less its mean over the curve, seen through a
finite test set. The loss has an irreducible part, r times the reducible one in the middle of the
axis, as published laws have: :math:`\lambda = E + A N^{-\alpha}`. With r = 0, log loss is
:math:`a - \alpha x_i`. The link :math:`\ell` is the metric's, one of
:mod:`inference.nulls.links`. For exact match it is :math:`\ell = e^{-\lambda}`, and of L tokens
:math:`e^{-L\lambda}`: L only moves the level a, which is :math:`\log L + \alpha(\log c -
\overline{\log N})`, so that L and the constant c cannot be distinguished.

``alpha`` is kept within a range: without one the curve becomes a step and fits anything.
``sigma`` is the variation between models that scale does not explain: sister models differ by more
than the sampling error of a large test set. u has a variance of 1, and its part of the variance is
that of the score over u. Where sigma is not a number but a distribution, estimated from the other
curves of a family (:class:`Variation`), every replicate draws one, and u has the tails of a t.

Curves are ragged (:class:`MechanismCurves`) until they are cut into blocks of one length. Arrays of
a block are *scale first*: shape (n, m) for m curves of n scales, so that sums over scales are sums
of rows.

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 2 and App. A. Krajewski et al. (2025), arXiv
    2512.08894, fit the same curve to downstream accuracies, normalised by the guess rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import polygamma

from bigbench_meta.core.checks import one_a_curve, reject
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.inference.nulls.links import SHARE, Link
from bigbench_meta.inference.nulls.mechanism_loops import (
    SIGMA_MAX,
    CurveArrays,
    Pieces,
    dispersion_of,
    information_of,
    law_of,
    leverage_of,
    numbers,
    pieces_of,
    step_scores_of,
)
from bigbench_meta.inference.nulls.monte_carlo import MIN_SCALES, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "ALPHA_RANGE",
    "FIT_STATUSES",
    "RESOLUTION",
    "SIGMA_GRID",
    "SIGMA_MAX",
    "TAILS",
    "Design",
    "MechanismCurves",
    "MechanismFit",
    "Variation",
    "deviance",
    "dispersion",
    "draw_scores",
    "information_sums",
    "leverage",
    "mechanism_moments",
    "pearson",
    "pieces",
    "replicates",
    "step_scores",
]

ALPHA_RANGE: Final = (0.0, 0.35)
"""From no improvement to the steepest power law published for the loss of a language model.

Exponents in the number of parameters: 0.076 (Kaplan et al. 2020, arXiv 2001.08361, eq. 1.1); 0.070
for language, 0.16 for mathematics and 0.037 to 0.24 over all domains (Henighan et al. 2020, arXiv
2010.14701, Table 1); 0.34 (Hoffmann et al. 2022, arXiv 2203.15556, App. D). In the size of the
training set: 0.07 to 0.35 over four domains (Hestness et al. 2017, arXiv 1712.00409).
"""

FIT_STATUSES: Final = ("ok", "not_converged")

RESOLUTION: Final = 0.5
"""Standard deviation, in examples, that is added to every point's sampling error.

A score is known to half an example at best. It keeps one lucky hit, where the mechanism expects
none at all, from counting as an infinite deviation.
"""

SIGMA_GRID: Final = np.geomspace(0.01, SIGMA_MAX, 24)
"""Values of sigma that a curve may have by a distribution; the smallest of them is next to none."""

TAILS: Final = 5.0
"""Degrees of freedom of u where sigma has a distribution, scaled to a variance of 1.

Four or five models out of a hundred are then outliers, as against one of a thousand by the normal
distribution, and p-values of a ten-thousandth still hold where models are so.
"""

# Curves fitted at a time.
_BLOCK: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Design:
    """The known quantities of m curves of n scales other than their scores.

    Attributes:
        x: Natural logarithm of scale, shape (n, m), centred on each curve.
        trials: Yes-or-no examples that would give the sampling error of each point, shape (n, m).
        floor: Proportion that guessing gives, g, shape (m,), in [0, 1).
        link: The metric's link, one for all of them.
        irreducible: Irreducible loss over the reducible one at the mean log scale, r, shape (m,);
            None where no curve has any.
    """

    x: Floats
    trials: Floats
    floor: Floats
    link: Link = SHARE
    irreducible: Floats | None = None

    @property
    def span(self) -> Floats:
        """What can be gained over guessing, 1 - g."""
        return 1.0 - self.floor

    def take(self, columns: Ints | Bools) -> Design:
        """Return the curves chosen by their numbers or by a mask."""
        return Design(
            x=_columns(self.x, columns),
            trials=_columns(self.trials, columns),
            floor=self.floor[columns],
            link=self.link,
            irreducible=None if self.irreducible is None else self.irreducible[columns],
        )

    def law(self, alpha: Floats) -> tuple[Floats, Floats]:
        """Return the log loss less its level, and how fast it falls with alpha, both (n, m).

        Args:
            alpha: Exponent of each curve, shape (m,).

        Examples:
            >>> axis = np.array([[-1.0], [0.0], [1.0]])
            >>> half = Design(x=axis, trials=axis, floor=np.zeros(1), irreducible=np.ones(1))
            >>> log_loss, lean = half.law(np.array([0.3]))
            >>> log_loss[:, 0].round(3), lean[:, 0].round(3)
            (array([0.854, 0.693, 0.554]), array([-0.574,  0.   ,  0.426]))
        """
        rest = np.zeros(1) if self.irreducible is None else self.irreducible
        x = numbers(self.x, (len(self.x), len(alpha)))
        return law_of(x, numbers(alpha), numbers(rest, alpha.shape))

    def arrays(self, offset: Floats | None = None) -> CurveArrays:
        """Return the curves, and what is added to their log loss, as compiled loops take them."""
        rest = np.zeros(1) if self.irreducible is None else self.irreducible
        shape, curves = self.x.shape, self.floor.shape
        return CurveArrays(
            self.link.arrays, numbers(self.x), numbers(self.trials, shape),
            numbers(self.floor, shape[1:]), numbers(rest, curves),
            np.empty((0, 0)) if offset is None else numbers(offset, shape),
        )  # fmt: skip


def _columns(values: Floats, columns: Ints | Bools) -> Floats:
    """Return some columns, given by number or by a mask."""
    chosen = np.flatnonzero(columns) if columns.dtype == np.bool_ else columns
    return values.take(chosen, axis=1)


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What is known of the variation between models of m curves.

    Attributes:
        sigma: Standard deviation of log loss between models, shape (m,): the number itself, or a
            central value of its distribution; NaN where it is estimated from the curve.
        weight: Probability of each value of :data:`SIGMA_GRID`, shape (m, 24); NaN where sigma is
            a number or estimated from the curve.
        df: Degrees of freedom that the distribution is worth beside a curve's own scatter, shape
            (m,); infinite where there is none.

    Examples:
        >>> known = Variation.of(np.array([0.2, np.nan]), np.full((2, 24), np.nan))
        >>> known.df
        array([inf, inf])
    """

    sigma: Floats
    weight: Floats
    df: Floats

    @classmethod
    def of(cls, sigma: Floats, weight: Floats) -> Variation:
        """Return the variation by numbers, and by distributions where there are weights.

        The central value of a distribution is exp(mean of log sigma). Its degrees of freedom d are
        those of a scaled inverse chi-squared distribution of sigma^2 with the same variance of
        log sigma^2, trigamma(d / 2) (Smyth 2004, sec. 6).
        """
        log = np.log(SIGMA_GRID)
        centre = weight @ log
        spread = np.maximum(weight @ log**2 - centre**2, 0.0)
        drawn = ~np.isnan(centre)
        df = np.where(drawn, _inverse_trigamma(4 * spread) * 2, np.inf)
        return cls(sigma=np.where(drawn, np.exp(centre), sigma), weight=weight, df=df)

    def take(self, curves: Ints | Bools) -> Variation:
        """Return that of some curves."""
        return Variation(sigma=self.sigma[curves], weight=self.weight[curves], df=self.df[curves])


def _inverse_trigamma(values: Floats) -> Floats:
    """Return where the trigamma function has these values, by Newton's method (Smyth 2004)."""
    small = np.maximum(np.where(np.isnan(values), 1.0, values), 1e-6)
    at = 0.5 + 1 / small
    for _ in range(20):
        here = polygamma(1, at)
        at = at + here * (1 - here / small) / polygamma(2, at)
    return np.asarray(at)


@dataclass(frozen=True, kw_only=True)
class MechanismCurves:
    """A ragged batch of curves of proportions, with the known quantities of their test sets.

    Attributes:
        ragged: Where each curve lies in the arrays of points.
        y: Scores as proportions, up is better, by ascending scale in each curve.
        x: Scale of each score, positive, any unit.
        trials: Yes-or-no examples that would give the sampling error of each score, at least 1.
        floor: Proportion that guessing gives, of each curve.
        link: The metric's link, of each curve.
        sigma: Variation between models in log loss, of each curve; NaN where it is estimated from
            the curve itself.
        weight: Its distribution over :data:`SIGMA_GRID`, shape (m, 24); NaN where it has none.
        irreducible: Irreducible loss of each curve over the reducible one at its mean log scale.

    Examples:
        >>> curves = MechanismCurves.checked(
        ...     np.array([0.1, 0.2, 0.4, 0.5]), 10.0 ** np.arange(4), np.full(4, 50.0), [0, 4]
        ... )
        >>> [(rows.tolist(), scores.shape) for rows, scores, _, _ in curves.blocks()]
        [([0], (4, 1))]
    """

    ragged: Ragged
    y: Floats
    x: Floats
    trials: Floats
    floor: Floats
    link: tuple[Link, ...]
    sigma: Floats
    weight: Floats
    irreducible: Floats

    @classmethod
    def checked(
        cls,
        y: Floats,
        x: Floats,
        trials: Floats,
        offsets: Ints | Sequence[int],
        *,
        floor: Floats | float = 0.0,
        link: Link | Sequence[Link] = SHARE,
        sigma: Floats | float = np.nan,
        irreducible: Floats | float = 0.0,
    ) -> MechanismCurves:
        """Check the arrays, and repeat for each curve what is given once.

        Args:
            y: Scores, shape (total,).
            x: Scales.
            trials: Examples.
            offsets: Where each curve begins and the last one ends, shape (m + 1,).
            floor: Guess rate, a number or one a curve.
            link: Link, one for all or one a curve.
            sigma: Variation between models, a number or one a curve.
            irreducible: Irreducible loss over the reducible one, likewise.

        Raises:
            InputError: Arrays do not fit together, or a value is out of range.
        """
        ragged = Ragged.of(offsets, y=y, x=x, trials=trials)
        reject(y, ~np.isfinite(y), "not finite", "y")
        reject(y, (y < 0) | (y > 1), "not a proportion", "y")
        ragged.check_scales(x)
        reject(trials, ~(trials >= 1), "below 1", "trials")
        low = one_a_curve(floor, len(ragged), "floor")
        reject(low, ~((low >= 0) & (low < 1)), "not in [0, 1)", "floor")
        known = one_a_curve(sigma, len(ragged), "sigma")
        reject(known, known < 0, "negative", "sigma")
        rest = one_a_curve(irreducible, len(ragged), "irreducible")
        reject(rest, ~((rest >= 0) & (rest < np.inf)), "not in [0, inf)", "irreducible")
        links = (link,) * len(ragged) if isinstance(link, Link) else tuple(link)
        if len(links) != len(ragged):
            raise InputError(f"{len(links)} links for {len(ragged)} curves", where="link")
        return cls(
            ragged=ragged, y=y, x=x, trials=trials, floor=low, link=links, sigma=known,
            weight=np.full((len(ragged), len(SIGMA_GRID)), np.nan), irreducible=rest,
        )  # fmt: skip

    def take(self, curves: Ints) -> MechanismCurves:
        """Return some curves, in any order, repeated or not."""
        point, ragged = self.ragged.take(curves)
        return MechanismCurves(
            ragged=ragged, y=self.y[point], x=self.x[point], trials=self.trials[point],
            floor=self.floor[curves], link=tuple(self.link[curve] for curve in curves.tolist()),
            sigma=self.sigma[curves], weight=self.weight[curves],
            irreducible=self.irreducible[curves],
        )  # fmt: skip

    def blocks(self) -> Iterator[tuple[Ints, Floats, Design, Variation]]:
        """Yield numbers, scores, design and variation of curves of one length and link.

        Those of a plain power law are apart from those of a loss with an irreducible part.

        Curves of fewer than :data:`MIN_SCALES` points are skipped.
        """
        of_curve = list(zip(self.link, (self.irreducible > 0).tolist(), strict=True))
        number = {one: place for place, one in enumerate(dict.fromkeys(of_curve))}
        kind = np.array([number[one] for one in of_curve], dtype=np.int64)
        variation = Variation.of(self.sigma, self.weight)
        for (link, ends), place in number.items():
            for block in self.ragged.blocks(_BLOCK, shortest=MIN_SCALES, among=kind == place):
                log = np.log(block.by_scale(self.x))
                design = Design(
                    x=log - log.mean(axis=0),
                    trials=block.by_scale(self.trials),
                    floor=self.floor[block.curves],
                    link=link,
                    irreducible=self.irreducible[block.curves] if ends else None,
                )
                yield block.curves, block.by_scale(self.y), design, variation.take(block.curves)


@dataclass(frozen=True, kw_only=True)
class MechanismFit:
    """Parameters of m curves, arrays of shape (m,).

    Attributes:
        level: Log of the reducible loss at the curve's mean log scale, a.
        alpha: Exponent of the power law.
        sigma: Standard deviation of log loss between models.
        at_bound: -1 where alpha is at its lower bound, 1 at its upper one, else 0.
        status: Index into :data:`FIT_STATUSES`.
    """

    level: Floats
    alpha: Floats
    sigma: Floats
    at_bound: NDArray[np.int8]
    status: NDArray[np.int8]

    def log_loss(self, design: Design) -> Floats:
        """Return the log loss of the law without variation, shape (n, m)."""
        return np.asarray(self.level + design.law(self.alpha)[0])

    def take(self, columns: Ints | Bools) -> MechanismFit:
        """Return the curves chosen by their numbers or by a mask."""
        names = ("level", "alpha", "sigma", "at_bound", "status")
        return MechanismFit(**{name: getattr(self, name)[columns] for name in names})


def mechanism_moments(
    log_loss: Floats, sigma: Floats, design: Design
) -> tuple[Floats, Floats, Floats]:
    """Return the mean score, its derivative by log loss, and its variance between models.

    Args:
        log_loss: Log loss on the power law, shape (n, m).
        sigma: Variation between models, shape (m,).
        design: The curves.

    Returns:
        Three arrays (n, m): moments over u, by a Gauss-Hermite rule of three nodes.

    Examples:
        >>> design = Design(
        ...     x=np.zeros((1, 1)), trials=np.ones((1, 1)), floor=np.array([0.5]),
        ... )
        >>> mean, slope, between = mechanism_moments(np.log([[np.log(2)]]), np.zeros(1), design)
        >>> float(mean[0, 0]), float(between[0, 0])
        (0.75, 0.0)
    """
    nothing = np.zeros_like(log_loss)
    mean, slope, between, *_ = _pieces(nothing, log_loss, sigma, design, RESOLUTION)
    return mean, slope, between


def pieces(
    y: Floats, log_loss: Floats, sigma: Floats, design: Design, *, resolution: float = RESOLUTION
) -> Pieces:
    """Return residuals, slopes, variances and weights at given parameters.

    The variance is that of yes-or-no examples within a model and that between models, by the law of
    total variance; the weight is its reciprocal with the resolution added.

    Args:
        y: Scores as proportions, shape (n, m).
        log_loss: Log loss on the power law, shape (n, m).
        sigma: Variation between models, shape (m,).
        design: The curves.
        resolution: In examples; 0 gives the weights of maximum likelihood.
    """
    _, slope, _, residual, variance, weight = _pieces(y, log_loss, sigma, design, resolution)
    return Pieces(residual, slope, variance, weight)


def _pieces(
    y: Floats, log_loss: Floats, sigma: Floats, design: Design, resolution: float
) -> Floats:
    shape = design.x.shape
    return pieces_of(
        numbers(y, shape), numbers(log_loss, shape), numbers(sigma, shape[1:]), design.arrays(),
        float(resolution),
    )  # fmt: skip


def information_sums(mass: Floats, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the sums of mass, mass x and mass x^2 over scales, and the determinant they form."""
    s0, s1, s2, determinant = information_of(numbers(mass), numbers(x))
    return s0, s1, s2, determinant


def dispersion(found: Pieces, lean: Floats, at_bound: Bools) -> tuple[Floats, Floats]:
    """Return the observed and the expected sum of squared standardised residuals, shape (m,).

    A point counts by the share of its variance that is not mere resolution, so that a lucky hit
    where the mechanism expects none counts for nothing. Where all points are informative, n - 2 is
    expected (n - 1 with alpha at a bound): each point expects 1 less its leverage.

    Args:
        found: What :func:`pieces` returned at the fitted parameters.
        lean: How fast the log loss falls with alpha there (:meth:`Design.law`), shape (n, m).
        at_bound: Whether alpha is at a bound, shape (m,).
    """
    observed, expected = dispersion_of(found, numbers(lean, found.slope.shape), at_bound)
    return observed, expected


def leverage(found: Pieces, lean: Floats, at_bound: Bools) -> Floats:
    """Return the share of each point's residual that the fit takes away, shape (n, m).

    Args:
        found: As for :func:`dispersion`.
        lean: Likewise.
        at_bound: Likewise.
    """
    return leverage_of(found, numbers(lean, found.slope.shape), at_bound)


def step_scores(
    y: Floats,
    design: Design,
    fit: MechanismFit,
    *,
    offset: Floats | None = None,
    df: Floats | None = None,
) -> Floats:
    r"""Return the standardised efficient score of a downward step of log loss after each scale.

    .. math:: T_k = \sum_i d_{ki} (y_i - \mu_i) / V_i \Big/ \sqrt{\sum_i d_{ki}^2 / V_i}

    where :math:`d_k` is the slope of the mean against a drop of log loss from scale k + 1 on, less
    its projection, with weights 1 / V, on the directions of level and alpha (of level alone where
    alpha is at a bound). It needs no fit of the alternative.

    Args:
        y: Scores as proportions, shape (n, m).
        design: The curves.
        fit: The null fit of the same curves.
        offset: What was added to the log loss in that fit, shape (n, m).
        df: Residuals that the variance assumed by the fit weighs as much as, shape (m,): T is over
            the scatter that these and the curve's own residuals show together. Infinite, the
            default, for the variance alone.

    Returns:
        T of shape (n - 1, m), -inf where the curve cannot show the step.

    References:
        Rao (1948), doi:10.1017/S0305004100023987. Smyth (2004), sec. 4,
        doi:10.2202/1544-6115.1027.
    """
    fall, lean = design.law(fit.alpha)
    log_loss = fit.level + fall if offset is None else fit.level + fall + offset
    found = pieces(y, log_loss, fit.sigma, design)
    weighed = np.full(len(fit.level), np.inf) if df is None else numbers(df, fit.level.shape)
    return step_scores_of(found, lean, fit.at_bound != 0, weighed)


def deviance(y: Floats, design: Design, fit: MechanismFit) -> Floats:
    """Return the binomial deviance of each curve, shape (m,), from its fitted mean.

    Args:
        y: Scores as proportions, shape (n, m).
        design: The curves.
        fit: A fit of the same curves.
    """
    mean, _, _ = mechanism_moments(fit.log_loss(design), fit.sigma, design)
    mean = np.clip(mean, 1e-300, 1.0)
    miss = np.maximum(1 - mean, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = np.where(y > 0, y * np.log(y / mean), 0.0)
        wrong = np.where(y < 1, (1 - y) * np.log((1 - y) / miss), 0.0)
    return np.asarray(np.maximum(2 * (design.trials * (right + wrong)).sum(axis=0), 0.0))


def pearson(y: Floats, design: Design, fit: MechanismFit) -> Floats:
    """Return Pearson's sum of squares over the fitted variances of each curve, shape (m,).

    Args:
        y: Scores as proportions, shape (n, m).
        design: The curves.
        fit: A fit of the same curves.
    """
    found = pieces(y, fit.log_loss(design), fit.sigma, design, resolution=0.0)
    return np.asarray((found.residual**2 * found.weight).sum(axis=0))


def draw_scores(
    design: Design, fit: MechanismFit, curve: int, size: int, rng: np.random.Generator,
    weight: Floats | None = None,
) -> Floats:  # fmt: skip
    """Draw scores of one curve from its mechanism.

    Args:
        design: The curves.
        fit: Their parameters.
        curve: Which of them.
        size: Number of draws.
        rng: Source of randomness.
        weight: Distribution of sigma over :data:`SIGMA_GRID`, from which every draw has its own,
            and u the tails of a t of :data:`TAILS` degrees of freedom; None for the sigma of the
            fit and a normal u.

    Returns:
        Proportions, shape (size, n): a deviation of log loss for each model, then as many yes-or-no
        examples as the point has, in whole numbers.
    """
    drawn = _drawn(design, fit, np.array([curve]), size, [rng], [weight])
    return np.asarray(drawn[0])


def _drawn(
    design: Design, fit: MechanismFit, part: Ints, size: int, streams: list[np.random.Generator],
    weights: list[Floats | None],
) -> Floats:  # fmt: skip
    """Draw scores of some curves, each from its own stream, shape (len(part), size, n)."""
    away = np.stack(
        [
            _deviations(sigma, weight, (size, len(design.x)), rng)
            for sigma, weight, rng in zip(fit.sigma[part], weights, streams, strict=True)
        ]
    )
    some = design.take(part)
    away += fit.take(part).log_loss(some).T[:, None]
    share, _ = design.link(away)
    share *= some.span[:, None, None]
    share += some.floor[:, None, None]
    chance = np.clip(share, 0.0, 1.0, out=share)
    whole = np.maximum(np.rint(some.trials), 1.0).T
    right = [
        rng.binomial(n, p)
        for rng, n, p in zip(streams, whole.astype(np.int64), chance, strict=True)
    ]
    return np.asarray(np.stack(right) / whole[:, None])


def _deviations(
    sigma: float, weight: Floats | None, shape: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Draw deviations of log loss of each model, with one sigma or one of a distribution a draw."""
    if weight is None:
        return np.asarray(sigma * rng.standard_normal(shape))
    drawn = SIGMA_GRID[np.searchsorted(np.cumsum(weight)[:-1], rng.random(shape[0]))]
    unit = np.sqrt((TAILS - 2) / TAILS)
    return np.asarray(drawn[:, None] * unit * rng.standard_t(TAILS, shape))


def replicates(
    y: Floats, design: Design, fit: MechanismFit, part: Ints, size: int, purpose: str, seed: int,
    weight: Floats | None = None,
) -> tuple[Floats, Design]:  # fmt: skip
    """Draw curves from the fit of some curves, each from a stream of its own.

    Args:
        y: Scores, shape (n, m).
        design: The curves.
        fit: Their fits.
        part: Numbers of the curves to be drawn from.
        size: Replicates of each.
        purpose: Distinguishes streams of one curve.
        seed: Seed.
        weight: Distribution of each curve's sigma, shape (m, 24), NaN for the sigma of the fit;
            None for that of all.

    Returns:
        Scores of shape (n, len(part) * size), those of a curve side by side, and their design.
    """
    own = part.tolist()
    streams = [
        stream(seed, purpose, y[:, j], design.x[:, j], np.log(design.trials[:, j])) for j in own
    ]
    weights = [None if weight is None or np.isnan(weight[j, 0]) else weight[j] for j in own]
    drawn = _drawn(design, fit, part, size, streams, weights)
    again = design.take(np.repeat(part, size))
    return np.ascontiguousarray(drawn.reshape(-1, len(y)).T), again
