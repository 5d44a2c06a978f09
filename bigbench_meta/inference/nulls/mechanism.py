r"""The smooth mechanism: a power law of the per-token loss, measured by a metric and a test set.

Schaeffer et al. (2023) explain jumps of a score by a per-token loss that falls as a power law of
scale N and a metric that turns it into a score. As a proportion, the score of model i is

.. math:: s_i = g + (1 - g)\, \ell(\lambda_i), \qquad
          \log\lambda_i = a - \alpha x_i + \sigma u_i, \qquad u_i \sim N(0, 1),

with g the guess rate and :math:`x_i = \log N_i` less its mean over the curve,
seen through a finite test set. The link :math:`\ell` is the metric's, one of
:mod:`inference.nulls.links`. For exact match it is :math:`\ell = e^{-\lambda}`, and of L tokens
:math:`e^{-L\lambda}`: L only moves the level a, which is :math:`\log L + \alpha(\log c -
\overline{\log N})`, so that L and the constant c cannot be distinguished.

``alpha`` is kept within a range: without one the curve becomes a step and fits anything.
``sigma`` is the variation between models that scale does not explain: sister models differ by more
than the sampling error of a large test set. Its part of the variance is that of the score over u.

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

from bigbench_meta.core.checks import one_a_curve, reject
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.inference.nulls.links import SHARE, Link
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
    "Design",
    "MechanismCurves",
    "MechanismFit",
    "deviance",
    "dispersion",
    "draw_scores",
    "information_sums",
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

# Gauss-Hermite rule of three nodes: exact for polynomials of u up to the fifth degree.
_NODES: Final = ((0.0, 2 / 3), (3**0.5, 1 / 6), (-(3**0.5), 1 / 6))
_TINY: Final = 1e-30
# Curves fitted at a time.
_BLOCK: Final = 1024
# A step whose standard error is above ten units of log loss cannot be seen.
_LEAST_INFORMATION: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Design:
    """The known quantities of m curves of n scales other than their scores.

    Attributes:
        x: Natural logarithm of scale, shape (n, m), centred on each curve.
        trials: Yes-or-no examples that would give the sampling error of each point, shape (n, m).
        floor: Proportion that guessing gives, g, shape (m,), in [0, 1).
        link: The metric's link, one for all of them.
    """

    x: Floats
    trials: Floats
    floor: Floats
    link: Link = SHARE

    @property
    def span(self) -> Floats:
        """What can be gained over guessing, 1 - g."""
        return 1.0 - self.floor

    def take(self, columns: Ints | Bools) -> Design:
        """Return the curves chosen by their numbers or by a mask."""
        return Design(
            x=self.x[:, columns],
            trials=self.trials[:, columns],
            floor=self.floor[columns],
            link=self.link,
        )


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
        links = (link,) * len(ragged) if isinstance(link, Link) else tuple(link)
        if len(links) != len(ragged):
            raise InputError(f"{len(links)} links for {len(ragged)} curves", where="link")
        return cls(ragged=ragged, y=y, x=x, trials=trials, floor=low, link=links, sigma=known)

    def take(self, curves: Ints) -> MechanismCurves:
        """Return some curves, in any order, repeated or not."""
        point, ragged = self.ragged.take(curves)
        return MechanismCurves(
            ragged=ragged, y=self.y[point], x=self.x[point], trials=self.trials[point],
            floor=self.floor[curves], link=tuple(self.link[curve] for curve in curves.tolist()),
            sigma=self.sigma[curves],
        )  # fmt: skip

    def blocks(self) -> Iterator[tuple[Ints, Floats, Design, Floats]]:
        """Yield numbers, scores, design and known sigma of curves of one length and link.

        Curves of fewer than :data:`MIN_SCALES` points are skipped.
        """
        number = {link: place for place, link in enumerate(dict.fromkeys(self.link))}
        kind = np.array([number[link] for link in self.link], dtype=np.int64)
        for link, place in number.items():
            for block in self.ragged.blocks(_BLOCK, shortest=MIN_SCALES, among=kind == place):
                log = np.log(block.by_scale(self.x))
                design = Design(
                    x=log - log.mean(axis=0),
                    trials=block.by_scale(self.trials),
                    floor=self.floor[block.curves],
                    link=link,
                )
                yield block.curves, block.by_scale(self.y), design, self.sigma[block.curves]


@dataclass(frozen=True, kw_only=True)
class MechanismFit:
    """Parameters of m curves, arrays of shape (m,).

    Attributes:
        level: Log loss at the curve's mean log scale, a.
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

    def log_loss(self, x: Floats) -> Floats:
        """Return the log loss on the power law at centred log scales (n, m)."""
        return np.asarray(self.level - self.alpha * x)

    def take(self, columns: Ints | Bools) -> MechanismFit:
        """Return the curves chosen by their numbers or by a mask."""
        names = ("level", "alpha", "sigma", "at_bound", "status")
        return MechanismFit(**{name: getattr(self, name)[columns] for name in names})


@dataclass(frozen=True)
class Pieces:
    """The terms of the estimating equations, arrays (n, m)."""

    residual: Floats
    slope: Floats
    variance: Floats
    weight: Floats


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
    if not sigma.any():
        mean, slope = design.link(log_loss)
        return design.floor + design.span * mean, design.span * slope, np.zeros_like(mean)
    mean, slope, square = (np.zeros_like(log_loss) for _ in range(3))
    for node, weight in _NODES:
        share, change = design.link(log_loss + node * sigma)
        mean += weight * share
        slope += weight * change
        square += weight * share * share
    between = np.maximum(square - mean * mean, 0.0) * design.span**2
    return design.floor + design.span * mean, design.span * slope, between


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
    mean, slope, between = mechanism_moments(log_loss, sigma, design)
    within = np.maximum(mean * (1 - mean) - between, 0.0) / design.trials
    variance = within + between
    total = variance + (resolution / design.trials) ** 2
    # A mean that is 1 to the last digit has a slope only by rounding, which means nothing.
    slope = np.where(total > 0, slope, 0.0)
    # So small a bound that slope times weight stays right where the mean is exp(-600).
    return Pieces(y - mean, slope, variance, 1 / np.maximum(total, 1e-290))


def information_sums(mass: Floats, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the sums of mass, mass x and mass x^2 over scales, and the determinant they form."""
    first = mass * x
    s0, s1, s2 = mass.sum(axis=0), first.sum(axis=0), (first * x).sum(axis=0)
    return s0, s1, s2, np.maximum(s0 * s2 - s1 * s1, 1e-12 * s0 * s2 + _TINY)


def dispersion(found: Pieces, x: Floats, at_bound: Bools) -> tuple[Floats, Floats]:
    """Return the observed and the expected sum of squared standardised residuals, shape (m,).

    A point counts by the share of its variance that is not mere resolution, so that a lucky hit
    where the mechanism expects none counts for nothing. Where all points are informative, n - 2 is
    expected (n - 1 with alpha at a bound): each point expects 1 less its leverage.

    Args:
        found: What :func:`pieces` returned at the fitted parameters.
        x: Centred log scales, shape (n, m).
        at_bound: Whether alpha is at a bound, shape (m,).
    """
    mass = found.slope**2 * found.weight
    s0, s1, s2, determinant = information_sums(mass, x)
    both = mass * (s2 - 2 * s1 * x + s0 * x * x) / determinant
    leverage = np.where(at_bound, mass / np.maximum(s0, _TINY), both)
    share = np.minimum(found.variance * found.weight, 1.0)
    observed = (share * found.residual**2 * found.weight).sum(axis=0)
    expected = (share**2 * (1 - np.minimum(leverage, 1.0))).sum(axis=0)
    return np.maximum(observed, _TINY), np.maximum(expected, 1e-6)


def step_scores(
    y: Floats, design: Design, fit: MechanismFit, *, offset: Floats | None = None
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

    Returns:
        T of shape (n - 1, m), -inf where the curve cannot show the step.

    References:
        Rao (1948), doi:10.1017/S0305004100023987.
    """
    log_loss = fit.log_loss(design.x)
    log_loss = log_loss if offset is None else log_loss + offset
    found = pieces(y, log_loss, fit.sigma, design)
    mass = found.slope**2 * found.weight
    pull = -found.slope * found.weight * found.residual
    s0, s1, s2, determinant = information_sums(mass, design.x)
    t0, t1 = _after(mass), _after(mass * design.x)
    free = fit.at_bound == 0
    on_level = np.where(free, (s2 * t0 - s1 * t1) / determinant, t0 / np.maximum(s0, _TINY))
    on_slope = np.where(free, (s0 * t1 - s1 * t0) / determinant, 0.0)
    information = t0 - on_level * t0 - on_slope * t1
    score = _after(pull) - on_level * pull.sum(axis=0) - on_slope * (pull * design.x).sum(axis=0)
    visible = information > _LEAST_INFORMATION
    return np.where(visible, score / np.sqrt(np.where(visible, information, 1.0)), -np.inf)


def _after(values: Floats) -> Floats:
    """Return the sums over all scales after each but the last."""
    return np.asarray(np.cumsum(values[::-1], axis=0)[::-1][1:])


def deviance(y: Floats, design: Design, fit: MechanismFit) -> Floats:
    """Return the binomial deviance of each curve, shape (m,), from its fitted mean.

    Args:
        y: Scores as proportions, shape (n, m).
        design: The curves.
        fit: A fit of the same curves.
    """
    mean, _, _ = mechanism_moments(fit.log_loss(design.x), fit.sigma, design)
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
    found = pieces(y, fit.log_loss(design.x), fit.sigma, design, resolution=0.0)
    return np.asarray((found.residual**2 * found.weight).sum(axis=0))


def draw_scores(
    design: Design, fit: MechanismFit, curve: int, size: int, rng: np.random.Generator
) -> Floats:
    """Draw scores of one curve from its mechanism.

    Args:
        design: The curves.
        fit: Their parameters.
        curve: Which of them.
        size: Number of draws.
        rng: Source of randomness.

    Returns:
        Proportions, shape (size, n): a normal deviation of log loss for each model, then as many
        yes-or-no examples as the point has, in whole numbers.
    """
    x = design.x[:, curve]
    log_loss = fit.level[curve] - fit.alpha[curve] * x
    log_loss = log_loss + fit.sigma[curve] * rng.standard_normal((size, len(x)))
    share, _ = design.link(log_loss)
    whole = np.maximum(np.rint(design.trials[:, curve]), 1.0)
    chance = np.clip(design.floor[curve] + design.span[curve] * share, 0.0, 1.0)
    return np.asarray(rng.binomial(whole.astype(np.int64), chance) / whole)


def replicates(
    y: Floats, design: Design, fit: MechanismFit, part: Ints, size: int, purpose: str, seed: int
) -> tuple[Floats, Design]:
    """Draw curves from the fit of some curves, each from a stream of its own.

    Args:
        y: Scores, shape (n, m).
        design: The curves.
        fit: Their fits.
        part: Numbers of the curves to be drawn from.
        size: Replicates of each.
        purpose: Distinguishes streams of one curve.
        seed: Seed.

    Returns:
        Scores of shape (n, len(part) * size), those of a curve side by side, and their design.
    """
    drawn = [
        draw_scores(
            design, fit, j, size,
            stream(seed, purpose, y[:, j], design.x[:, j], np.log(design.trials[:, j])),
        )
        for j in part.tolist()
    ]  # fmt: skip
    again = design.take(np.repeat(part, size))
    return np.ascontiguousarray(np.concatenate(drawn).T), again
