"""Risk and odds ratios of 2 x 2 tables, one or many strata: plain, exact, Mantel-Haenszel.

A table is ``[[a, b], [c, d]]``: the first row is the class that is compared (exposed), the first
column the flagged ones.

References:
    Breslow & Day (1980), "Statistical Methods in Cancer Research" I, ch. 4 and 7. Gart (1970),
    DOI 10.1093/biomet/57.3.471. Mehta, Patel & Gray (1985), DOI 10.1080/01621459.1985.10478212.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.aggregate.attribution.estimates import exponential, wald
from bigbench_meta.core.binomial import clopper_pearson
from bigbench_meta.core.checks import probability
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.aggregate.attribution.estimates import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "OddsRatio",
    "exact_odds_ratio",
    "half_added_risk_ratio",
    "log_odds_ratio",
    "log_risk_ratio",
    "mantel_haenszel",
    "mantel_haenszel_parts",
    "pair_odds_ratio",
]

_MOST_SUPPORT: Final = 30_000
"""Convolutions cost its square: beyond this they take minutes."""


@dataclass(frozen=True, kw_only=True)
class OddsRatio:
    """An odds ratio, or a risk ratio, with its interval.

    Attributes:
        estimate: 0, infinite or NaN where cells are empty.
        low: Lower limit.
        high: Upper limit.
        p_value: Two-sided, of a ratio of 1.
        status: One of :data:`bigbench_meta.aggregate.attribution.estimates.STATUSES`.
    """

    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    status: str = "ok"

    def fill(self, blank: Estimate, message: str) -> Estimate:
        """Return a blank filled with it."""
        if self.status == "too_large":
            message = (
                "Too many curves for the exact distribution, from which the others hardly differ."
            )
        return replace(
            blank, estimate=self.estimate, low=self.low, high=self.high, p_value=self.p_value,
            status=self.status, message=message,
        )  # fmt: skip


def log_odds_ratio(cells: Floats) -> Floats:
    """Return log(ad / bc) of cells of shape (..., 4); infinite, or NaN for 0/0."""
    a, b, c, d = np.moveaxis(cells, -1, 0)
    return _log_ratio(a * d, b * c)


def log_risk_ratio(cells: Floats) -> Floats:
    """Return log(a / (a + b) / (c / (c + d))) of cells of shape (..., 4); NaN for 0/0."""
    a, b, c, d = np.moveaxis(cells, -1, 0)
    return _log_ratio(a * (c + d), c * (a + b))


def _log_ratio(top: Floats, bottom: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(top / bottom)


def half_added_risk_ratio(cells: Floats, *, confidence: float = 0.95) -> OddsRatio:
    """Return the risk ratio with a half added to each cell, and its normal interval of the log.

    Always finite, and drawn towards 1. Observations are taken as independent.

    Args:
        cells: a, b, c, d.
        confidence: Of the interval, in (0, 1).

    References:
        Haldane (1956), DOI 10.1111/j.1469-1809.1955.tb01285.x; Anscombe (1956),
        DOI 10.1093/biomet/43.3-4.461.

    Examples:
        >>> import numpy as np
        >>> round(half_added_risk_ratio(np.array([3.0, 7.0, 0.0, 10.0])).estimate, 2)
        7.0
    """
    a, b, c, d = raised = np.asarray(cells, dtype=np.float64) + 0.5
    centre, variance = float(log_risk_ratio(raised)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    low, high, p_value = wald(centre, math.sqrt(variance), df=math.inf, confidence=confidence)
    return OddsRatio(
        estimate=math.exp(centre), low=math.exp(low), high=math.exp(high), p_value=p_value
    )


def pair_odds_ratio(n_first: int, n_second: int, *, confidence: float = 0.95) -> OddsRatio:
    """Return McNemar's odds ratio of matched pairs, exactly.

    Of the discordant pairs, the number in which only the first is flagged is binomial; its
    Clopper-Pearson limits p give those of the odds ratio as p / (1 - p).

    Args:
        n_first: Pairs in which only the first is flagged.
        n_second: Pairs in which only the second is.
        confidence: Of the interval, in (0, 1).

    Returns:
        n_first / n_second with ``zero_cell`` if one of them is 0, and ``no_variation`` if both are.

    References:
        McNemar (1947), DOI 10.1007/BF02295996; Breslow & Day (1980), sec. 5.2.

    Examples:
        >>> result = pair_odds_ratio(9, 1)
        >>> result.estimate, round(result.p_value, 4)
        (9.0, 0.0215)
        >>> pair_odds_ratio(5, 0).estimate
        inf
    """
    from scipy import stats

    probability(confidence, "confidence")
    n = n_first + n_second
    if not n:
        return OddsRatio(p_value=1.0, status="no_variation")
    low, high = map(float, clopper_pearson(n_first, n, confidence=confidence))
    return OddsRatio(
        estimate=n_first / n_second if n_second else math.inf,
        low=low / (1 - low),
        high=high / (1 - high) if high < 1 else math.inf,
        p_value=min(1.0, 2 * float(stats.binom.cdf(min(n_first, n_second), n, 0.5))),
        status="ok" if n_first and n_second else "zero_cell",
    )


def mantel_haenszel_parts(tables: ArrayLike) -> tuple[Floats, Floats]:
    """Return ad / n and bc / n of each stratum, whose sums have Mantel and Haenszel's ratio."""
    cells = _cells(tables)
    a, b, c, d = cells.T
    n = np.maximum(cells.sum(axis=1), 1)
    return a * d / n, b * c / n


def mantel_haenszel(tables: ArrayLike, *, confidence: float = 0.95) -> OddsRatio:
    """Return the Mantel-Haenszel odds ratio and the Cochran-Mantel-Haenszel test.

    Strata are taken as independent, and as having one odds ratio.

    Args:
        tables: Shape (strata, 2, 2).
        confidence: Of the interval of Robins, Breslow & Greenland.

    Returns:
        The odds ratio; the p-value is that of the chi-squared test without continuity correction.
        ``no_variation`` if no stratum has both classes and both outcomes, ``zero_cell`` without an
        interval if the odds ratio is 0 or infinite.

    References:
        Mantel & Haenszel (1959), DOI 10.1093/jnci/22.4.719; Robins, Breslow & Greenland (1986),
        DOI 10.2307/2531052.

    Examples:
        >>> round(mantel_haenszel([[[3, 1], [1, 3]], [[4, 2], [2, 5]]]).estimate, 3)
        6.156
    """
    from statsmodels.stats.contingency_tables import StratifiedTable

    alpha = 1 - probability(confidence, "confidence")
    cells = _cells(tables)
    a, b, c, d = cells.T
    informative = (a + b) * (c + d) * (a + c) * (b + d) > 0
    if not informative.any():
        return OddsRatio(status="no_variation")
    result = StratifiedTable(cells[informative].reshape(-1, 2, 2).transpose(1, 2, 0))
    p_value = float(result.test_null_odds(correction=False).pvalue)
    r, s = (part.sum() for part in mantel_haenszel_parts(tables))
    if not (r and s):
        return OddsRatio(estimate=math.inf if r else 0.0, p_value=p_value, status="zero_cell")
    low, high = map(float, result.oddsratio_pooled_confint(alpha))
    return OddsRatio(estimate=float(r / s), low=low, high=high, p_value=p_value)


def exact_odds_ratio(tables: ArrayLike, *, confidence: float = 0.95) -> OddsRatio:
    r"""Return the common odds ratio of strata from its exact conditional distribution.

    Given the margins, the number of exposed and flagged, T, has

    .. math:: P(T = t; \psi) \propto C_t \psi^t

    where the coefficients are those of the product of the strata's hypergeometric polynomials.
    With one stratum this is Fisher's test and Cornfield's limits, with matched pairs McNemar's.

    Args:
        tables: Whole numbers, shape (strata, 2, 2).
        confidence: Of the interval, whose two tails are equal.

    Returns:
        The conditional maximum-likelihood estimate, which of a single table is not ad / bc but
        nearer to 1; limits; and twice the smaller tail as p-value. ``no_variation`` if no stratum
        has both classes and both outcomes; ``zero_cell`` with a limit on one side if T is the
        least or the greatest possible; ``too_large`` if the convolution would take minutes.

    Raises:
        InputError: The tables are not of this shape, or hold a negative number.

    References:
        Gart (1970), DOI 10.1093/biomet/57.3.471; Mehta, Patel & Gray (1985),
        DOI 10.1080/01621459.1985.10478212; Cornfield (1956).

    Examples:
        >>> result = exact_odds_ratio([[[3, 7], [0, 10]]])
        >>> result.estimate, round(result.low, 3), result.high
        (inf, 0.443, inf)
    """
    tail = (1 - probability(confidence, "confidence")) / 2
    pieces, observed, span = _pieces(_cells(tables))
    if not span:
        return OddsRatio(status="no_variation")
    if len(pieces) + max(power for _, power in pieces) > 2 and span > _MOST_SUPPORT:
        return OddsRatio(status="too_large")
    aim = min(max(observed, 0.5), span - 0.5)
    centre = _root(lambda theta: _mean(pieces, theta) - aim)
    log_chance = _convolved(pieces, centre)
    steps = np.arange(span + 1) * 1.0

    def log_tail(theta: float, *, upper: bool) -> float:
        weights = log_chance + (theta - centre) * steps
        weights = np.exp(weights - weights.max())
        part = weights[observed:] if upper else weights[: observed + 1]
        return math.log(max(part.sum() / weights.sum(), 1e-300))

    target = math.log(tail)
    low = _root(lambda t: log_tail(t, upper=True) - target) if observed else -math.inf
    high = _root(lambda t: target - log_tail(t, upper=False)) if observed < span else math.inf
    smaller = min(log_tail(0.0, upper=True), log_tail(0.0, upper=False))
    at_edge = -math.inf if not observed else math.inf if observed == span else centre
    return OddsRatio(
        estimate=exponential(at_edge),
        low=exponential(low),
        high=exponential(high),
        p_value=min(1.0, 2 * math.exp(smaller)),
        status="ok" if 0 < observed < span else "zero_cell",
    )


def _cells(tables: ArrayLike) -> Floats:
    array = np.asarray(tables, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (2, 2):
        raise InputError(f"shape {array.shape}, not (strata, 2, 2)", where="tables")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise InputError("holds a count that is negative or not a number", where="tables")
    return array.reshape(-1, 4)


def _pieces(cells: Floats) -> tuple[list[tuple[Floats, int]], int, int]:
    """Return log coefficients of each kind of stratum and how many there are; T; its largest value.

    T counts from its smallest value.
    """
    from scipy.special import gammaln

    margins = np.stack(
        [cells[:, :2].sum(axis=1), cells[:, 2:].sum(axis=1), cells[:, 0] + cells[:, 2]], axis=1
    )
    least = np.maximum(0, margins[:, 2] - margins[:, 1])
    most = np.minimum(margins[:, 0], margins[:, 2])
    kinds, counts = np.unique(margins[most > least], axis=0, return_counts=True)
    pieces = []
    for (n_exposed, n_other, n_flagged), power in zip(kinds, counts, strict=True):
        t = np.arange(max(0, n_flagged - n_other), min(n_exposed, n_flagged) + 1)
        log_terms = -(
            gammaln(t + 1)
            + gammaln(n_exposed - t + 1)
            + gammaln(n_flagged - t + 1)
            + gammaln(n_other - n_flagged + t + 1)
        )
        pieces.append((log_terms - log_terms.max(), int(power)))
    return pieces, int(np.sum(cells[:, 0] - least)), int(np.sum(most - least))


def _mean(pieces: list[tuple[Floats, int]], theta: float) -> float:
    """Return the expectation of T at a log odds ratio."""
    total = 0.0
    for log_terms, power in pieces:
        t = np.arange(len(log_terms))
        weights = log_terms + theta * t
        weights = np.exp(weights - weights.max())
        total += power * float(np.sum(t * weights) / weights.sum())
    return total


def _convolved(pieces: list[tuple[Floats, int]], theta: float) -> Floats:
    """Return the log distribution of T at a log odds ratio.

    At the estimate it is centred on the observed T, so what underflows is far from there. Direct
    convolution of positive terms keeps their relative accuracy in the tails; an FFT would lose it.
    """
    result = np.ones(1)
    for log_terms, power in pieces:
        weights = log_terms + theta * np.arange(len(log_terms))
        factor = np.exp(weights - weights.max())
        result = np.convolve(result, _to_power(factor / factor.sum(), power))
    with np.errstate(divide="ignore"):
        return np.log(result)


def _to_power(chance: Floats, power: int) -> Floats:
    result = np.ones(1)
    while power:
        if power % 2:
            result = np.convolve(result, chance)
        power //= 2
        if power:
            chance = np.convolve(chance, chance)
    return result


def _root(function: Callable[[float], float]) -> float:
    """Return where an increasing function of a log odds ratio crosses zero."""
    from scipy.optimize import brentq

    bound = 1.0
    while function(-bound) > 0 or function(bound) < 0:
        bound *= 2
    return float(brentq(function, -bound, bound, xtol=1e-10))
