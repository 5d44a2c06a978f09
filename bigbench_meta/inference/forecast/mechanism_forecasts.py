r"""Forecasts by the smooth mechanism, with all that the fitted scales leave open about it.

A score is :math:`s = g + (1 - g)\, \ell(\lambda)`, with a guess rate g and a metric's link as in
:mod:`inference.nulls.mechanism`. Here the loss is a power law of scale N that may have an
irreducible part, and models scatter about it:

.. math:: \log\lambda_i = a + \log\frac{N_i^{-\alpha} + \rho}{1 + \rho} + \sigma u_i,

with log N from the mean of the fitted scales and u from a t distribution of five degrees of
freedom. No single law is fitted, as a few scales cannot tell the exponent from the irreducible part
or from scatter. All laws on a grid are weighed by their likelihood, and the forecast is the mean of
theirs. So intervals are wide where laws that fit alike differ at the target: far ahead, or where
the fitted scores are near guessing. Nothing has to converge, and there is no seed.

References:
    Gelman et al. (2013), "Bayesian Data Analysis", 3rd ed., sec. 3.7 and 10.3 (weights on a grid).
    Hoffmann et al. (2022), arXiv 2203.15556, eq. 2 (a power law with an irreducible part).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import xlog1py, xlogy

from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.forecast.forecasts import (
    Forecasts,
    ForecastStatus,
    Predictive,
    summarised,
)
from bigbench_meta.inference.nulls.inputs import nuisance_grid
from bigbench_meta.inference.nulls.links import SHARE
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.shapes.inputs import binomial_variance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.forecast.forecasts import Rows
    from bigbench_meta.inference.nulls.links import Link
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "LEAST_POINTS",
    "MECHANISM",
    "Laws",
    "MechanismInput",
    "forecast_by_mechanism",
    "mechanism_input",
    "mechanism_predictive",
    "near_guessing",
    "power_laws",
    "smooth_laws",
]

MECHANISM: Final = "mechanism"
LEAST_POINTS: Final = 3
"""From fewer scales the forecast would be little else than the weights that laws begin with."""

UNKNOWN_TRIALS: Final = 1000.0
"""Examples that are assumed where their number is not known: what sampling error is above theirs
counts as scatter between models, which is looked for anyway."""

_EXPONENTS: Final = 13
_RESTS: Final = ((0.0, 0.5), (1.0, 0.5))
"""Irreducible loss in units of the reducible one at the mean log scale, and how much each weighs
before anything is seen. At 1, half of that loss remains whatever the size."""
_SIGMAS: Final = ((0.0, 1.0), (0.1, 1.0), (0.2, 1.0), (0.35, 0.6), (0.6, 0.3))
"""Scatter of models in log loss, and how much each weighs before anything is seen."""
_DF: Final = 5.0

# Log losses from almost none to less than one right answer in ten million.
_STEP: Final = 0.1
_LEVELS: Final = np.arange(-7.0, 2.8 + _STEP / 2, _STEP)
# No score is known better than this in log loss, so that no likelihood is lost between two levels.
_LEAST_SD: Final = 0.04
# Scores at which forecasts are given: dense at both ends of the range, where scores vary least.
_NODES: Final = np.sin(np.linspace(0, np.pi / 2, 129)) ** 2
_BLOCK: Final = 16
_LEAST_LIKELIHOOD: Final = np.float32(1e-37)
_LEAST_P: Final = 1e-12
# Standard errors above guessing from which on a score is no guessing.
_ABOVE_GUESSING: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class MechanismInput:
    """Scores as the mechanism takes them.

    Attributes:
        y: Proportions, NaN on curves that are none, shape (total,).
        trials: Yes-or-no examples that would give the sampling error of each, NaN where not known.
        floor: Proportion that guessing gives, NaN where not known, shape (m,).
        picks_choice: Whether the metric is, or may be, that a choice has the largest mass.
        is_brier: Whether it is a Brier score.
    """

    y: Floats
    trials: Floats
    floor: Floats
    picks_choice: Bools
    is_brier: Bools


def mechanism_input(
    curves: Curves, data: FitInput, *, catalog: MetricCatalog | None = None
) -> MechanismInput:
    """Return the scores of curves as the mechanism takes them.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        data: What :func:`fit_input` returns for them.
        catalog: Metric catalog; the packaged one by default.
    """
    curve = curves.ragged.curve
    kind = curves.keys["metric_type"].astype(str).to_numpy()
    metric = curves.keys["metric"].astype(str)
    chance = proportions(curves, catalog=catalog).chance
    with np.errstate(divide="ignore", invalid="ignore"):
        equal = np.maximum(data.y * (1 - data.y) / data.variance, 1.0)
    return MechanismInput(
        y=np.where(data.is_share[curve], data.y, np.nan),
        trials=np.where(np.isnan(data.n_examples), equal, data.n_examples),
        # The guess rate of a multiple choice whose low score is 0 is not known.
        floor=np.where((kind == "discontinuous") & (chance <= 0), np.nan, chance),
        picks_choice=np.isin(kind, ["discontinuous", "unknown"]),
        is_brier=metric.str.contains("brier", case=False).to_numpy(dtype=bool),
    )


class Laws(NamedTuple):
    """Laws of the loss, arrays of shape (laws,).

    Attributes:
        exponent: Of the power law.
        rest: Irreducible loss in units of the reducible one at the mean log scale.
        weight: Of each before anything is seen; they add up to 1.
    """

    exponent: Floats
    rest: Floats
    weight: Floats

    def log_loss(self, x: Floats) -> Floats:
        """Return log loss less the level, shape (..., laws), at centred log scales (...)."""
        change = np.exp(-self.exponent * x[..., None]) + self.rest
        return np.asarray(np.log(change) - np.log1p(self.rest))


@cache
def smooth_laws() -> Laws:
    """Return laws with published exponents, half of the weight on those without a rest."""
    low, high = ALPHA_RANGE
    # Closer together where they are small: over many decades scores distinguish those, too.
    exponents = low + (high - low) * np.linspace(0, 1, _EXPONENTS) ** 1.5
    found = []
    for rest, weight in _RESTS:
        # With a rest exponents differ less, and without improvement not at all.
        own = exponents[2::2] if rest else exponents
        found += [(a, rest, weight * part) for a, part in zip(own, np.gradient(own), strict=True)]
    exponent, rests, weights = np.array(found).T
    return Laws(exponent, rests, weights / weights.sum())


@cache
def power_laws() -> Laws:
    """Return plain power laws with exponents from 0 to 1, which need not be those of a loss."""
    exponents = np.linspace(0, 1, 21)
    return Laws(exponents, np.zeros(21), np.full(21, 1 / 21))


@cache
def _scatter() -> Singles:
    """Return the probability of each level of a model by that of its law, (sigmas, law, model)."""
    distance = _LEVELS[:, None] - _LEVELS
    kernels = [stats.t.pdf(distance / max(sigma, _LEAST_SD), _DF) for sigma, _ in _SIGMAS]
    kernels = [kernel / kernel.sum(axis=1, keepdims=True) for kernel in kernels]
    return np.stack(kernels).astype(np.float32)


def near_guessing(data: MechanismInput, rows: Rows) -> Bools:
    """Return whether no fitted score is two standard errors above guessing, of each part.

    Then nothing says how fast the loss falls, or whether it does. False where the guess rate is not
    known.
    """
    point, fitted = rows.fitted()
    floor = data.floor[rows.curve][fitted.curve]
    trials = np.where(np.isnan(data.trials[point]), UNKNOWN_TRIALS, data.trials[point])
    limit = floor + _ABOVE_GUESSING * np.sqrt(binomial_variance(floor, trials))
    return ~fitted.any(~(data.y[point] <= limit)) & (fitted.lengths > 0)


def forecast_by_mechanism(
    data: MechanismInput, x: Floats, rows: Rows, *, level: float
) -> Forecasts:
    """Forecast by the smooth mechanism.

    Args:
        data: The scores.
        x: Scales of all points.
        rows: The forecasts to be made.
        level: Confidence of the intervals.

    Returns:
        The forecasts; ``not_predictable`` where the interval covers more than half of what can be
        gained over guessing, or no fitted score is above guessing.
    """
    distribution = mechanism_predictive(data, x, rows)
    status = np.where(
        rows.k[rows.part] < LEAST_POINTS,
        ForecastStatus.TOO_FEW_POINTS,
        np.where(
            np.isnan(distribution.weight).any(axis=1),
            ForecastStatus.NOT_A_PROPORTION,
            ForecastStatus.OK,
        ),
    ).astype(np.int8)
    return summarised(
        distribution, data.y[rows.target], level, status,
        gain=1 - np.nan_to_num(data.floor[rows.curve][rows.part]),
        blind=near_guessing(data, rows)[rows.part],
    )  # fmt: skip


def mechanism_predictive(
    data: MechanismInput, x: Floats, rows: Rows, *, laws: Laws | None = None
) -> Predictive:
    """Return the predictive distribution of each row's score.

    Guess rates and links that are not known are averaged over, as laws are.

    Args:
        data: The scores.
        x: Scales of all points.
        rows: The forecasts to be made.
        laws: Laws of the loss; by default those of :func:`smooth_laws`.

    Returns:
        Distributions of proportions; weights are NaN where the curve is no curve of proportions.

    Examples:
        >>> from bigbench_meta.inference.forecast.forecasts import plan_rows
        >>> y = np.array([0.08, 0.11, 0.15, 0.2, 0.25, 0.3])
        >>> data = MechanismInput(
        ...     y=y, trials=np.full(6, 500.0), floor=np.zeros(1),
        ...     picks_choice=np.zeros(1, bool), is_brier=np.zeros(1, bool),
        ... )
        >>> rows = plan_rows(np.array([0, 6]), "last", LEAST_POINTS)
        >>> found = mechanism_predictive(data, 10.0 ** np.arange(8, 14), rows)
        >>> [round(float(found.quantile(q)[0]), 2) for q in (0.025, 0.5, 0.975)]
        [0.19, 0.28, 0.39]
    """
    laws = smooth_laws() if laws is None else laws
    point, fitted = rows.fitted()
    trials = np.where(np.isnan(data.trials), UNKNOWN_TRIALS, data.trials)
    known = ~fitted.any(np.isnan(data.y[point])) & (fitted.lengths > 0)
    part, floor, links = _settings(data, rows, point, fitted, known)
    log_x = np.log(x)
    asked, column = rows.padded(log_x[rows.target])
    shares = np.zeros((len(part), asked.shape[1], len(_NODES)))
    likelihood = np.full(len(part), -np.inf)
    at, ragged = fitted.take(part)
    number = {link: place for place, link in enumerate(dict.fromkeys(links))}
    kind = np.array([number[link] for link in links], dtype=np.int64)
    for link, place in number.items():
        for block in ragged.blocks(_BLOCK, among=kind == place):
            chosen, own = point[at[block.points]], floor[block.curves]
            middle = log_x[chosen].mean(axis=1)
            weight, likelihood[block.curves] = _weigh(
                laws, data.y[chosen], trials[chosen], log_x[chosen] - middle[:, None], own, link
            )
            score = own[:, None] + (1 - own)[:, None] * link(_LEVELS)[0]
            for ahead in range(asked.shape[1]):
                there = _levels_at(laws, weight, asked[part[block.curves], ahead] - middle)
                shares[block.curves, ahead] = _on_nodes(there, score)
    best = np.full(len(rows.curve), -np.inf)
    np.maximum.at(best, part, likelihood)
    total = np.zeros((len(rows.curve), *shares.shape[1:]))
    np.add.at(total, part, shares * np.exp(likelihood - best[part])[:, None, None])
    mass = total[rows.part, column]
    size = mass.sum(axis=1, keepdims=True)
    node = np.broadcast_to(_NODES, mass.shape)
    return Predictive(
        mean=node,
        sd=np.sqrt(binomial_variance(node, trials[rows.target][:, None])),
        df=np.full(mass.shape, np.inf),
        weight=np.divide(mass, size, out=np.full_like(mass, np.nan), where=size > 0),
        low=np.zeros(len(mass)),
        high=np.ones(len(mass)),
    )


def _settings(
    data: MechanismInput, rows: Rows, point: Ints, fitted: Ragged, known: Bools
) -> tuple[Ints, Floats, Sequence[Link]]:
    """Return parts, each as often as it has guess rates and links, with those."""
    part: list[int] = []
    tried: list[tuple[float, Link]] = []
    for number in np.flatnonzero(known).tolist():
        curve = rows.curve[number]
        floor, picks = float(data.floor[curve]), bool(data.picks_choice[curve])
        found = [(floor, SHARE)]
        if picks or data.is_brier[curve] or floor != 0:  # NaN, too
            own = point[fitted.offsets[number] : fitted.offsets[number + 1]]
            trials = np.where(np.isnan(data.trials[own]), UNKNOWN_TRIALS, data.trials[own])
            found = nuisance_grid(
                data.y[own], trials, floor=floor, picks_choice=picks,
                is_brier=bool(data.is_brier[curve]),
            )  # fmt: skip
        part += [number] * len(found)
        tried += found
    floors = np.array([rate for rate, _ in tried], dtype=np.float64)
    return np.array(part, dtype=np.int64), floors, [link for _, link in tried]


def _weigh(
    laws: Laws, y: Floats, trials: Floats, x: Floats, floor: Floats, link: Link
) -> tuple[Singles, Floats]:
    """Weigh laws, scatters and levels by the scores of m curves of k scales, arrays (m, k).

    Returns:
        Weights that add up to 1, shape (m, laws, sigmas, levels), and the logarithm of each curve's
        mean likelihood, up to what is the same for all guess rates and links.
    """
    (m, k), size = y.shape, len(_LEVELS)
    # Of each score the likelihood of the level of its model, then of that of its law.
    alike, best = _likelihood(y, trials, floor, link)
    # A product for each curve: large ones are divided among threads, which takes longer.
    seen = alike @ _scatter().transpose(0, 2, 1)[:, None]
    table = np.log(np.maximum(seen, _LEAST_LIKELIHOOD)).transpose(1, 2, 0, 3)
    shift = laws.log_loss(x) / _STEP
    begin = np.floor(shift).astype(np.int64)
    part = (shift - begin).astype(np.float32)[:, :, :, None, None]
    # Beyond its ends a likelihood is what it is there.
    reach = int(np.abs(begin).max(initial=0)) + 1
    table = np.pad(table, [(0, 0)] * 3 + [(reach, reach)], mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(table, size + 1, axis=-1)
    log_weight = np.empty((m, len(laws.weight), len(_SIGMAS), size), dtype=np.float32)
    log_weight[:] = np.log(laws.weight)[:, None, None] + np.log([[w] for _, w in _SIGMAS])
    curve = np.arange(m)[:, None]
    for i in range(k):
        own = window[curve, i, :, begin[:, i] + reach]
        log_weight += own[..., :-1]
        log_weight += part[:, i] * np.diff(own, axis=-1)
    highest = log_weight.max(axis=(1, 2, 3), keepdims=True)
    weight = np.exp(log_weight - highest)
    total = weight.sum(axis=(1, 2, 3), keepdims=True)
    return weight / total, np.log(total.ravel()) + highest.ravel() + best.sum(axis=1)


def _likelihood(y: Floats, trials: Floats, floor: Floats, link: Link) -> tuple[Singles, Floats]:
    """Return the binomial likelihood of each level, over its largest, (m, k, levels), and that."""
    share, slope = link(_LEVELS)
    p = np.clip(floor[:, None] + (1 - floor)[:, None] * share, _LEAST_P, 1 - _LEAST_P)[:, None]
    rate = ((trials * y + 0.5) / (trials + 1))[..., None]
    nearest = np.abs(p - rate).argmin(axis=-1)[..., None]
    steep = np.maximum(np.abs(slope[nearest]) * (1 - floor)[:, None, None], _LEAST_P)
    n = np.minimum(trials[..., None], rate * (1 - rate) / (steep * _LEAST_SD) ** 2)
    fit = n * (xlogy(y[..., None], p) + xlog1py(1 - y[..., None], -p))
    best = fit.max(axis=-1, keepdims=True)
    return np.exp(fit - best).astype(np.float32), best[..., 0]


def _levels_at(laws: Laws, weight: Singles, x: Floats) -> Floats:
    """Return the weights of a model's levels at one centred log scale a curve, (m, levels).

    A scale of NaN asks for nothing and gets zeros.
    """
    shift = laws.log_loss(np.nan_to_num(x)) / _STEP
    begin = np.floor(shift).astype(np.int64)
    part = (shift - begin).astype(np.float32)[..., None]
    m, size = len(x), len(_LEVELS)
    reach = int(np.abs(begin).max(initial=0)) + 1
    moved = np.zeros((m, size + 2 * reach, len(_SIGMAS)), dtype=np.float32)
    curve, place = np.arange(m)[:, None], np.arange(size)
    for law in range(len(laws.weight)):
        own = weight[:, law].swapaxes(1, 2)
        to = (reach + begin[:, law])[:, None] + place
        moved[curve, to] += (1 - part[:, law, :, None]) * own
        moved[curve, to + 1] += part[:, law, :, None] * own
    inside = moved[:, reach : reach + size].copy()
    inside[:, 0] += moved[:, :reach].sum(axis=1)
    inside[:, -1] += moved[:, reach + size :].sum(axis=1)
    there = sum(inside[..., s] @ kernel for s, kernel in enumerate(_scatter()))
    return np.where(np.isnan(x)[:, None], 0.0, there)


def _on_nodes(weight: Floats, score: Floats) -> Floats:
    """Divide the weights of scores among the nodes on either side, shape (m, nodes)."""
    right = np.clip(np.searchsorted(_NODES, score), 1, len(_NODES) - 1)
    part = (score - _NODES[right - 1]) / (_NODES[right] - _NODES[right - 1])
    found = np.zeros((len(weight), len(_NODES)))
    curve = np.arange(len(weight))[:, None]
    np.add.at(found, (curve, right - 1), (1 - part) * weight)
    np.add.at(found, (curve, right), part * weight)
    return found
