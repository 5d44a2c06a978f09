r"""Are the scores of many seeds at one scale in two modes?

*What is the paper's.* Zhao et al. train many seeds at each scale and find their scores in two
clusters, of seeds that have an ability and seeds that have not. With scale the share of the upper
cluster changes smoothly, while the score of a single seed jumps. They show histograms.

*What is ours.* The dip test of Hartigan & Hartigan for "more than one mode", on scores spread over
the width of one example, see :func:`dip_test`; an exact test of whether seeds differ at all; and a
split into two clusters by maximum likelihood, with an interval for the share of the upper one.

References:
    Zhao et al. (2025), "Distributional Scaling Laws for Emergent Capabilities", arXiv 2502.17356.
    Hartigan & Hartigan (1985), "The Dip Test of Unimodality", doi:10.1214/aos/1176346577.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betaln, expit, log_expit, logit
from scipy.stats import chi2

from bigbench_meta.core.binomial import near_whole
from bigbench_meta.core.checks import at_least, probability, reject, seed_number, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import build_curves
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.multiplicity import adjusted_p_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.proportions import Proportions

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "MIN_SEEDS", "DipTest", "TwoModes", "bimodality", "dip_statistic", "dip_test", "one_rate_p",
    "two_modes",
]  # fmt: skip

MIN_SEEDS: Final = 10
"""With fewer, one or two seeds apart from the others decide."""

NULL_SAMPLES: Final = 1999
"""Uniform samples that give the distribution of the dip: p-values are at least 0.0005."""


def dip_statistic(values: ArrayLike) -> float:
    r"""Return the dip: the least distance of the distribution function from a unimodal one.

    .. math:: D = \min_G \sup_x |F(x) - G(x)|

    over all distribution functions G that are convex up to some mode and concave beyond. It is
    found as in the reference: convex minorant and concave majorant within an interval that shrinks
    to the mode.

    Args:
        values: Finite numbers, at least one, shape (m,), in any order.

    Returns:
        A number from 1 / (2 m), of evenly spread values, to 1/4; 0 where all values are equal.

    Raises:
        InputError: A value is not a finite number.

    References:
        Hartigan & Hartigan (1985), doi:10.1214/aos/1176346577, sec. 4.

    Examples:
        >>> dip_statistic([1, 2, 3, 4, 5]), round(dip_statistic([0, 1, 2, 10, 11, 12]), 3)
        (0.1, 0.2)
    """
    x = np.sort(at_least(values, -np.inf, "values"))
    m = len(x)
    if x[0] == x[-1]:
        return 0.0
    before, after = np.arange(m, dtype=np.float64), np.arange(1, m + 1, dtype=np.float64)
    low, high, dip = 0, m - 1, 1.0
    while True:
        inner = slice(low, high + 1)
        convex = low + _hull(x[inner], before[inner])
        concave = low + _hull(x[inner], -after[inner])
        minorant = np.interp(x[inner], x[convex], before[convex])
        majorant = np.interp(x[inner], x[concave], after[concave])
        apart = majorant - minorant
        at_convex, at_concave = (int(k[apart[k - low].argmax()]) for k in (convex, concave))
        if max(apart[at_convex - low], apart[at_concave - low]) <= dip:
            break
        if apart[at_convex - low] > apart[at_concave - low]:
            left, right = at_convex, int(concave[concave >= at_convex][0])
        else:
            left, right = int(convex[convex <= at_concave][-1]), at_concave
        below = (after[inner] - minorant)[: left - low + 1].max()
        above = (majorant - before[inner])[right - low :].max()
        dip = max(dip, float(below), float(above))
        if (left, right) == (low, high):
            break
        low, high = left, right
    return dip / (2 * m)


def _hull(x: Floats, y: Floats) -> Ints:
    """Return the vertices of the greatest convex minorant of points with x in ascending order."""
    kept: list[int] = []
    at, value = x.tolist(), y.tolist()
    for i in range(len(at)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (value[b] - value[a]) * (at[i] - at[a]) < (value[i] - value[a]) * (at[b] - at[a]):
                break
            kept.pop()
        if kept and at[kept[-1]] == at[i]:
            if value[kept[-1]] <= value[i]:
                continue
            kept.pop()
        kept.append(i)
    return np.array(kept, dtype=np.int64)


class DipTest(NamedTuple):
    """A dip and the probability of one as large in a sample of a uniform distribution."""

    dip: float
    p_value: float


def dip_test(values: ArrayLike, *, resolution: float = 0.0) -> DipTest:
    r"""Test whether a distribution has more than one mode.

    Among unimodal distributions the uniform has the largest dips, at least in large samples, so
    that the test is conservative for the others (Hartigan & Hartigan 1985, sec. 3).

    Scores of n examples are multiples of 1/n: so coarse a distribution has a mode at each of its
    values. Therefore r equal values are spread evenly over a width of ``resolution`` about them. If
    the rates of the seeds have one mode, then so have their counts of n examples, since the
    difference of neighbouring binomial probabilities changes its sign only once; and then so has
    the histogram whose bars are as wide as the resolution. So the sampling error of a score can
    hide two modes, and cannot make them.

    Args:
        values: Scores of seeds, finite, shape (m,).
        resolution: Least difference of two scores that differ: 1 / n of a mean over n right or
            wrong examples, 0 where scores are continuous.

    Returns:
        The dip of the values so spread, and (1 + replicates as large) / (1 + replicates) over
        :data:`NULL_SAMPLES` uniform samples of m, the same ones for every call.

    Raises:
        InputError: A value is not a finite number, or there is none.

    References:
        Hartigan & Hartigan (1985), doi:10.1214/aos/1176346577. Karlin (1968), Total Positivity,
        ch. 5: kernels that keep the number of changes of sign, as the binomial does.

    Examples:
        >>> learnt = np.r_[np.full(12, 0.02), np.full(10, 0.03), np.full(9, 0.6), np.full(9, 0.62)]
        >>> dip_test(learnt, resolution=0.01).p_value <= 0.001
        True
    """
    x = np.sort(at_least(values, -np.inf, "values"))
    at_least(resolution, 0, "resolution")
    if len(x) == 0:
        raise InputError("no value", where="values")
    # Rounding makes equal scores differ in their last digits.
    first = np.diff(x, prepend=-np.inf) > 1e-9 * max(np.abs(x).max(), 1.0)
    group = np.cumsum(first) - 1
    size = np.bincount(group)[group]
    place = np.arange(len(x)) - np.flatnonzero(first)[group]
    dip = dip_statistic(x + resolution * ((place + 0.5) / size - 0.5))
    null = _uniform_dips(len(x))
    return DipTest(dip, (1 + int((null >= dip - 1e-9).sum())) / (1 + len(null)))


@cache
def _uniform_dips(m: int) -> Floats:
    """Return the dips of uniform samples of m."""
    rng = np.random.default_rng([m, NULL_SAMPLES])
    return np.array([dip_statistic(sample) for sample in rng.random((NULL_SAMPLES, m))])


def one_rate_p(
    passes: ArrayLike, examples: ArrayLike, *, n_draws: int = 1999,
    seed: int | np.random.Generator = 0,
) -> float:  # fmt: skip
    r"""Test whether all seeds have one pass rate, so that only sampling error is between them.

    The statistic is the sum of :math:`(k_i - n_i \hat p)^2 / n_i`. Given the number of all passes,
    the counts under one rate are multivariate hypergeometric, whatever the rate: the test is exact.

    Args:
        passes: Whole numbers, shape (m,).
        examples: Examples of each seed, whole, at least 1.
        n_draws: Draws of the counts.
        seed: Seed or generator.

    Returns:
        (1 + draws as large) / (1 + draws).

    Raises:
        InputError: A count is no whole number or above the examples.

    Examples:
        >>> one_rate_p([30, 31, 28, 33], [100] * 4) > 0.5, one_rate_p([1, 60, 2, 55], [100] * 4)
        (True, 0.0005)
    """
    k, n = whole(passes, 0, "passes"), whole(examples, 1, "examples")
    reject(k, k > n, "above the examples", "passes")
    rng = np.random.default_rng(seed_number(seed))
    total = int(k.sum())
    drawn = rng.multivariate_hypergeometric(
        n.astype(np.int64), total, size=n_draws, method="marginals"
    )
    expected = n * total / n.sum()
    observed, null = (((counts - expected) ** 2 / n).sum(axis=-1) for counts in (k, drawn))
    return (1 + int((null >= observed * (1 - 1e-9)).sum())) / (1 + n_draws)


@dataclass(frozen=True, kw_only=True)
class TwoModes:
    """Two clusters of seeds.

    Attributes:
        lower: Mean score of the lower cluster.
        upper: Mean score of the upper one.
        share: Share of the upper cluster among seeds.
        share_low: Lower end of its interval by the profile likelihood.
        share_high: Upper end.
    """

    lower: float
    upper: float
    share: float
    share_low: float
    share_high: float


def two_modes(
    scores: ArrayLike, examples: ArrayLike | None = None, *, confidence: float = 0.95
) -> TwoModes:
    r"""Split seeds into two clusters by maximum likelihood.

    Of means over right or wrong examples, the count of a seed is beta-binomial about the mean of
    its cluster: sampling error, and rates that differ within a cluster, with one precision for
    both. Other scores are normal about it with one standard deviation. It describes two modes only
    where there are two: of a single one it makes two as well. That is asked by :func:`dip_test`.

    Args:
        scores: Proportions where examples are given, else any finite numbers, shape (m,), not all
            equal.
        examples: Examples of each seed.
        confidence: Of the interval, in (0, 1).

    Raises:
        InputError: A value is out of its range, or all scores are equal.

    Examples:
        >>> found = two_modes([0.02, 0.01, 0.03, 0.02, 0.6, 0.7], [100] * 6)
        >>> [round(value, 2) for value in (found.lower, found.upper, found.share)]
        [0.02, 0.65, 0.33]
    """
    probability(confidence, "confidence")
    y = at_least(scores, -np.inf, "scores")
    if len(y) == 0 or np.ptp(y) == 0:
        raise InputError("all scores are equal", where="scores")
    if examples is None:
        middle, unit = float(y.mean()), float(y.std())
        mixture = _of_scores((y - middle) / unit)
    else:
        n = whole(examples, 1, "examples")
        reject(y, (y < 0) | (y > 1), "not a proportion", "scores")
        middle, unit = 0.0, 1.0
        mixture = _of_counts(near_whole(y * n), n)
    best, loss = min((mixture.fit(start) for start in mixture.starts()), key=lambda one: one[1])
    most = loss + float(chi2.ppf(confidence, 1)) / 2

    def end(sign: float) -> float:
        warm = best  # the next share is near the last

        def outside(logit_share: float) -> bool:
            nonlocal warm
            near = (mixture.fit(start, logit_share) for start in (warm, best))
            warm, found = min(near, key=lambda one: one[1])
            return found > most

        inner, stride = float(best[0]), 0.5
        outer = inner
        while not outside(outer):
            if abs(outer) == _LOGIT:
                return float(sign > 0)
            inner, outer = outer, float(np.clip(outer + sign * stride, -_LOGIT, _LOGIT))
            stride *= 2
        while abs(outer - inner) > _END_PRECISION:
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return float(expit(outer))

    lower, upper = mixture.means(best)
    return TwoModes(
        lower=middle + unit * lower,
        upper=middle + unit * upper,
        share=float(expit(best[0])),
        share_low=end(-1.0),
        share_high=end(1.0),
    )


# A share so small, or so near to one, is none or all of any number of seeds.
_LOGIT: Final = 15.0
_END_PRECISION: Final = 0.02  # of the ends of the interval, in logits
_STARTS: Final = (0.15, 0.3, 0.5, 0.7, 0.85)  # shares of the lower cluster


@dataclass(frozen=True)
class _Mixture:
    """A mixture of two clusters of one family of distributions.

    Its parameters are the logit of the share of the upper cluster, the place of the lower one, the
    logarithm of the gap between their places, and the spread within both.

    Attributes:
        places: The scores on the scale of the places, ascending.
        mean: Mean of a cluster by its place.
        log_density: Of all scores, by mean and spread of a cluster.
        bounds: Of the parameters.
        spread: Where the search for the spread begins.
    """

    places: Floats
    mean: Callable[[float], float]
    log_density: Callable[[float, float], Floats]
    bounds: tuple[tuple[float, float], ...]
    spread: float

    def starts(self) -> Iterator[Floats]:
        """Yield where to begin: cuts of the scores in two."""
        for part in _STARTS:
            cut = max(1, min(round(part * len(self.places)), len(self.places) - 1))
            low, high = self.places[:cut].mean(), self.places[cut:].mean()
            yield np.array([logit(1 - part), low, np.log(max(high - low, 0.05)), self.spread])

    def means(self, parameters: Floats) -> tuple[float, float]:
        """Return the means of both clusters."""
        lower = float(parameters[1])
        return self.mean(lower), self.mean(lower + float(np.exp(parameters[2])))

    def loss(self, parameters: Floats) -> float:
        """Return minus the log likelihood, but for a constant."""
        lower, upper = (self.log_density(mean, parameters[3]) for mean in self.means(parameters))
        share = parameters[0]
        return -float(np.logaddexp(log_expit(-share) + lower, log_expit(share) + upper).sum())

    def fit(self, start: Floats, logit_share: float | None = None) -> tuple[Floats, float]:
        """Return the likeliest parameters and their loss, of a given share if there is one."""
        bounds = list(self.bounds)
        if logit_share is not None:
            bounds[0] = (logit_share, logit_share)
        inside = np.clip(start, *np.transpose(bounds))
        found = minimize(
            self.loss,
            inside,
            method="SLSQP",
            bounds=bounds,
            options={"ftol": 1e-11, "maxiter": 300},
        )
        return np.asarray(found.x), float(found.fun)


def _of_counts(count: Floats, n: Floats) -> _Mixture:
    """Return clusters of beta-binomial counts: places are logits, the spread a log precision."""

    def log_density(mean: float, spread: float) -> Floats:
        precision = np.exp(spread)
        a, b = max(mean, 1e-9) * precision, max(1 - mean, 1e-9) * precision
        return np.asarray(betaln(count + a, n - count + b) - betaln(a, b))

    return _Mixture(
        places=np.sort(logit((count + 0.5) / (n + 1))),
        mean=lambda place: float(expit(place)),
        log_density=log_density,
        # With a precision of at least 2 no cluster has two modes itself.
        bounds=((-_LOGIT, _LOGIT), (-15.0, 15.0), (-5.0, 3.5), (np.log(2.0), np.log(1e6))),
        spread=float(np.log(50.0)),
    )


def _of_scores(z: Floats) -> _Mixture:
    """Return clusters of normal scores, given with mean 0 and standard deviation 1."""

    def log_density(mean: float, spread: float) -> Floats:
        return np.asarray(-0.5 * ((z - mean) / np.exp(spread)) ** 2 - spread)

    return _Mixture(
        places=np.sort(z),
        mean=float,
        log_density=log_density,
        bounds=((-_LOGIT, _LOGIT), (-8.0, 8.0), (-5.0, 3.0), (-7.0, 1.0)),
        spread=float(np.log(0.5)),
    )


def bimodality(
    observations: pd.DataFrame | pa.Table,
    *,
    scale: str | None = None,
    alpha: float = 0.05,
    min_seeds: int = MIN_SEEDS,
    n_examples: ArrayLike | None = None,
    seed: int | np.random.Generator = 0,
    catalog: MetricCatalog | None = None,
) -> pd.DataFrame:
    r"""Ask of every curve and scale with several seeds whether their scores have two modes.

    Seeds are the observations of one curve at one scale (``replicate``, or models of one size).
    Scores that are means over right or wrong examples are taken with their sampling error, see
    :func:`dip_test`, :func:`one_rate_p` and :func:`two_modes`; the test sets of one scale should
    then be of one size. Of other scores, losses for example, each is taken as it is.

    Args:
        observations: Observations table.
        scale: Axis, see :func:`bigbench_meta.build_curves`.
        alpha: Level of the dip test for ``bimodal``.
        min_seeds: Fewest seeds of a test, at least 4.
        n_examples: Size of the test set where the observations give none, a number or one a curve.
        seed: Seed of the test of one rate.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row for each curve and scale with at least two observations: the key columns,
        ``metric_type``, ``scale``, ``x``, ``n_seeds``, ``mean`` and ``spread`` (standard deviation)
        of the scores; ``dip``, ``p_dip``, its corrections over all rows (``q_bh``, ``q_by``,
        ``p_holm``, ``n_searched``) and ``bimodal`` (whether ``p_dip`` is at most alpha);
        ``p_one_rate``, and ``spread_of_rates``, what is left of the spread without the sampling
        error; ``lower_mode`` and ``upper_mode``, their ``gap``, ``share_upper`` and its 95%
        interval ``share_low`` to ``share_high``, all in the unit and direction of the file, so that
        the upper mode is the worse one where lower is better; and ``status``: ``ok``,
        ``too_few_seeds``, or ``flat`` where all scores are equal. Where it is not ``ok`` all
        results are missing; ``p_one_rate`` and ``spread_of_rates`` are missing too where scores are
        no means over a known number of right or wrong examples.

    Raises:
        InputError: An option is out of range.
        SchemaError: ``observations`` is no observations table.

    References:
        Zhao et al. (2025), arXiv 2502.17356. Hartigan & Hartigan (1985),
        doi:10.1214/aos/1176346577.

    Examples:
        >>> observations = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "exact_str_match", "model_family": "f",
        ...     "model_name": "m", "replicate": [str(i) for i in range(20)], "total_params": 1000,
        ...     "score": [0.01, 0.0, 0.02, 0.03] * 3 + [0.5, 0.6, 0.55, 0.7] * 2,
        ...     "n_examples": 100,
        ... })
        >>> row = bimodality(observations).iloc[0]
        >>> bool(row.bimodal), float(round(row.share_upper, 2)), row.status
        (True, 0.4, 'ok')
    """
    probability(alpha, "alpha")
    whole(min_seeds, 4, "min_seeds")
    curves = build_curves(observations, scale=scale, average=False, catalog=catalog)
    found = proportions(curves, catalog=catalog, n_examples=n_examples)
    curve = curves.ragged.curve
    starts = np.flatnonzero(
        (np.diff(curve, prepend=-1) != 0) | (np.diff(curves.x, prepend=np.nan) != 0)
    )
    groups = Ragged(np.append(starts, len(curve)))
    counted = np.isin(curves.keys["metric_type"].astype(str), ["discontinuous", "nonlinear"])
    base = seed_number(seed)
    rows: list[dict[str, Any]] = []
    for begin, length in zip(starts.tolist(), groups.lengths.tolist(), strict=True):
        if length < 2:
            continue
        points = slice(begin, begin + length)
        own = int(curve[begin])
        y, rate, n = curves.y[points], found.proportion[points], found.n_examples[points]
        is_count = bool(counted[own]) and not np.isnan(rate + n).any()
        row: dict[str, Any] = {
            "curve": own, "x": curves.x[begin], "n_seeds": length, "mean": y.mean(),
            "spread": y.std(ddof=1), "status": "ok",
        }  # fmt: skip
        if length < min_seeds or np.ptp(y) == 0:
            row["status"] = "too_few_seeds" if length < min_seeds else "flat"
        elif is_count:
            row |= _of_rates(rate, n, found, own, base)
        else:
            row |= _results(dip_test(y), two_modes(y))
        rows.append(row)
    table = pd.DataFrame(rows, columns=["curve", "x", "n_seeds", "mean", "spread", *_RESULTS,
                                        "status"])  # fmt: skip
    table[list(_RESULTS)] = table[list(_RESULTS)].astype("float64")
    keys = curves.keys[[*CURVE_KEY, "metric_type", "scale"]].iloc[table["curve"].to_numpy(int)]
    known = table["p_dip"].notna()
    table = table.assign(bimodal=(table["p_dip"] <= alpha).astype("boolean").where(known))
    return pd.concat(
        [
            keys.reset_index(drop=True),
            table[["x", "n_seeds", "mean", "spread", "dip", "p_dip"]],
            adjusted_p_values(table["p_dip"]),
            table[["bimodal", *_RESULTS[2:], "status"]],
        ],
        axis=1,
    )


_RESULTS: Final = (
    "dip", "p_dip", "p_one_rate", "spread_of_rates", "lower_mode", "upper_mode", "gap",
    "share_upper", "share_low", "share_high",
)  # fmt: skip


def _of_rates(
    rate: Floats, n: Floats, found: Proportions, curve: int, seed: int
) -> dict[str, float]:
    """Return the results for seeds of known test sets, in the unit of the file."""
    worst, best = float(found.worst[curve]), float(found.best[curve])
    score = worst + rate * (best - worst)
    count = near_whole(rate * n)
    row = _results(
        dip_test(score, resolution=abs(best - worst) / float(n.min())),
        two_modes(rate if best > worst else 1 - rate, n),
    )
    if np.all(count == np.rint(count)):
        row["p_one_rate"] = one_rate_p(count, n, seed=seed)
    # Of one example no sampling error can be estimated.
    within = np.mean(rate * (1 - rate) / (n - 1)) if n.min() > 1 else np.nan
    least = min(worst, best)
    for name in ("lower_mode", "upper_mode", "gap"):
        row[name] = row[name] * abs(best - worst) + (0.0 if name == "gap" else least)
    left = np.sqrt(np.maximum(rate.var(ddof=1) - within, 0.0))
    return row | {"spread_of_rates": float(left) * abs(best - worst)}


def _results(dip: DipTest, modes: TwoModes) -> dict[str, float]:
    return {
        "dip": dip.dip, "p_dip": dip.p_value, "lower_mode": modes.lower,
        "upper_mode": modes.upper, "gap": modes.upper - modes.lower, "share_upper": modes.share,
        "share_low": modes.share_low, "share_high": modes.share_high,
    }  # fmt: skip
