r"""Conditional logistic regression of matched sets: arrays in, a fit out.

Within a set of n rows of which m are flagged, the chance that it was these m is

.. math:: \frac{\exp(\sum_{i \in F} x_i \beta)}{\sum_{|G| = m} \exp(\sum_{i \in G} x_i \beta)}

and what the rows of a set have in common cancels. The denominator is an elementary symmetric
function, built up row by row with its derivatives, for all sets of one size and one m at a time:
some forty times as fast as statsmodels' ``ConditionalLogit``, which goes set by set and has no
standard errors that are robust to dependence of sets.

References:
    Breslow & Day (1980), "Statistical Methods in Cancer Research" I, ch. 7. Gail, Lubin &
    Rubinstein (1981), DOI 10.1093/biomet/68.3.703 (the recursion).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.aggregate.attribution.clusters import NO_SPREAD
from bigbench_meta.aggregate.attribution.estimates import check_confidence
from bigbench_meta.aggregate.attribution.logit import (
    LogitFit,
    foretold,
    recession,
    spread_of,
    standardised,
    terms_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["MatchedSets", "conditional_logit"]

_BLOCK: Final = 1 << 20
"""Numbers held at a time."""

_ROUNDING: Final = 1e-9

_MOST_ROWS: Final = 1000
"""Rows of a set beyond which the symmetric functions can overflow."""

_STEEP: Final = 12.0
"""Where log odds differ by more within a set, the fit may be on its way to infinity."""


@dataclass(frozen=True)
class MatchedSets:
    """Matched sets with both outcomes, those of one size and one number of flagged rows together.

    Attributes:
        x: Columns of each kind of set, shape (sets, rows, p).
        y: Outcome, shape (sets, rows).
        number: Number of each set, shape (sets,).
    """

    x: tuple[Floats, ...]
    y: tuple[Bools, ...]
    number: tuple[Ints, ...]

    @classmethod
    def of(cls, y: Bools, columns: Floats, stratum: Ints) -> MatchedSets:
        """Gather rows by stratum, shape (n,), numbered from 0."""
        order = np.argsort(stratum, kind="stable")
        sizes = np.bincount(stratum)
        hits = np.bincount(stratum, weights=y).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        mixed = np.flatnonzero((hits > 0) & (hits < sizes))
        kind = sizes[mixed] * (int(sizes.max(initial=0)) + 1) + hits[mixed]
        xs, ys, numbers = [], [], []
        for value in np.unique(kind):
            sets = mixed[kind == value]
            rows = order[starts[sets][:, None] + np.arange(sizes[sets[0]])]
            xs.append(columns[rows])
            ys.append(y[rows])
            numbers.append(sets)
        return cls(tuple(xs), tuple(ys), tuple(numbers))

    def likelihood(self, beta: Floats) -> tuple[float, Floats, Floats]:
        """Return the log-likelihood, each set's score (sets, p) and the information (p, p).

        Sets are in the order of ``number``.
        """
        total, information, scores = 0.0, np.zeros((len(beta), len(beta))), []
        for x, y in zip(self.x, self.y, strict=True):
            step = max(1, _BLOCK // (x.shape[1] * (x.shape[2] + 1) ** 2))
            for start in range(0, len(x), step):
                part = slice(start, start + step)
                value, score, its_information = _of_one_kind(x[part], y[part], beta)
                total += value
                information += its_information
                scores.append(score)
        return total, np.concatenate(scores), information


def _of_one_kind(x: Floats, y: Bools, beta: Floats) -> tuple[float, Floats, Floats]:
    if 2 * int(y[0].sum()) > y.shape[1]:
        # Which rows are not flagged is the same question, with fewer to choose.
        return _of_one_kind(-x, ~y, beta)
    n_hits = int(y[0].sum())
    eta = x @ beta
    shift = eta.max(axis=1)
    weight = np.exp(eta - shift[:, None])
    zero, one, two = _symmetric(weight, x, n_hits)
    chosen = np.einsum("sn,snp->sp", y.astype(np.float64), x)
    mean = one / zero[:, None]
    value = float(np.sum(chosen @ beta - np.log(zero) - n_hits * shift))
    information = np.sum(two / zero[:, None, None] - mean[:, :, None] * mean[:, None], axis=0)
    return value, chosen - mean, information


def _symmetric(weight: Floats, x: Floats, order: int) -> tuple[Floats, Floats, Floats]:
    """Return the elementary symmetric function of an order of each set, and its derivatives."""
    n_sets, n_rows, p = x.shape
    zero = np.zeros((n_sets, order + 1))
    zero[:, 0] = 1.0
    one, two = np.zeros((n_sets, order + 1, p)), np.zeros((n_sets, order + 1, p, p))
    for row in range(n_rows):
        w, its = weight[:, row, None], x[:, row, None]
        outer = its[..., :, None] * one[:, :-1, None, :]
        square = its[..., :, None] * its[..., None, :] * zero[:, :-1, None, None]
        two[:, 1:] += w[..., None, None] * (
            two[:, :-1] + outer + np.swapaxes(outer, -1, -2) + square
        )
        one[:, 1:] += w[..., None] * (one[:, :-1] + its * zero[:, :-1, None])
        zero[:, 1:] += w * zero[:, :-1]
    return zero[:, order], one[:, order], two[:, order]


def conditional_logit(
    y: Bools,
    columns: Floats,
    names: tuple[str, ...],
    stratum: Ints,
    cluster: Ints,
    *,
    min_clusters: int,
    confidence: float = 0.95,
) -> LogitFit:
    """Fit a conditional logistic regression: what is common to a stratum cancels.

    Args:
        y: Outcome, shape (n,).
        columns: Each varies within some stratum, shape (n, p).
        names: Of the columns.
        stratum: Shape (n,).
        cluster: Of which strata are parts, shape (n,).
        min_clusters: Clusters with an informative stratum needed for an interval.
        confidence: Of the intervals: a sandwich over clusters, with Student's t.

    Returns:
        The fit. Strata with one outcome or with equal rows say nothing, and are counted in
        ``left_out``.

    References:
        Breslow & Day (1980), ch. 7; Liang & Zeger (1986), DOI 10.1093/biomet/73.1.13.

    Examples:
        >>> import numpy as np
        >>> y = np.array([True, False] * 15 + [False, True] * 5)
        >>> sharp, pair = np.array([[1.0], [0.0]] * 20), np.arange(40) // 2
        >>> fit = conditional_logit(y, sharp, ("sharp",), pair, pair, min_clusters=5)
        >>> round(fit.terms[0].odds_ratio, 6)
        3.0
    """
    check_confidence(confidence)
    informative = _informative(y, columns, stratum)
    left_out = {"in a matched set whose curves do not differ": int(np.sum(~informative))}
    left_out = {reason: count for reason, count in left_out.items() if count}
    y, columns = y[informative], columns[informative]
    stratum = np.unique(stratum[informative], return_inverse=True)[1]
    cluster = np.unique(cluster[informative], return_inverse=True)[1]
    n_clusters = int(cluster.max(initial=-1)) + 1
    blank = LogitFit(n=len(y), n_clusters=n_clusters, left_out=left_out)
    if not len(y):
        text = "In no matched set do curves of both classes differ in being flagged."
        return blank.refused("no_variation", text)
    if np.bincount(stratum).max() > _MOST_ROWS:
        return blank.refused("too_large", f"A matched set has more than {_MOST_ROWS} curves.")
    sets = MatchedSets.of(y, standardised(columns), stratum)
    beta = _newton(sets, columns.shape[1])
    if beta is None or _steepness(sets, beta) > _STEEP:
        contrasts = _contrasts(y, columns, stratum)
        if recession(contrasts) is not None:
            return blank.refused("separation", foretold(contrasts, names))
    if beta is None:
        return blank.refused("not_converged", "The conditional likelihood did not converge.")
    if n_clusters < min_clusters:
        text = f"Matched sets that say something come from {n_clusters} tasks: no fit."
        return blank.refused("too_few_clusters", text)
    error = _sandwich(sets, beta, stratum, cluster)
    if not (error > _ROUNDING).all():
        return blank.refused("no_spread", NO_SPREAD)
    terms = terms_of(names, beta, error, spread_of(columns), n_clusters - 1, confidence)
    return replace(blank, terms=terms)


def _newton(sets: MatchedSets, n_columns: int) -> Floats | None:
    """Return where the conditional likelihood, which is concave, is highest; None if nowhere."""
    beta = np.zeros(n_columns)
    value, scores, information = sets.likelihood(beta)
    for _ in range(60):
        try:
            step = np.linalg.solve(information, scores.sum(axis=0))
        except np.linalg.LinAlgError:
            return None
        gain = float(step @ scores.sum(axis=0))
        if gain < 1e-12 * max(1.0, abs(value)):
            return np.asarray(beta + step)
        for _ in range(30):
            tried = sets.likelihood(beta + step)
            if np.isfinite(tried[0]) and tried[0] >= value:
                break
            step = step / 2
        else:
            return None
        beta = beta + step
        value, scores, information = tried
    return None


def _steepness(sets: MatchedSets, beta: Floats) -> float:
    return max(float(np.ptp(x @ beta, axis=1).max()) for x in sets.x)


def _sandwich(sets: MatchedSets, beta: Floats, stratum: Ints, cluster: Ints) -> Floats:
    """Return standard errors that are robust to dependence of the sets of one cluster."""
    _, scores, information = sets.likelihood(beta)
    cluster_of = np.zeros(int(stratum.max()) + 1, dtype=np.int64)
    cluster_of[stratum] = cluster
    n_clusters = int(cluster.max()) + 1
    summed = np.zeros((n_clusters, len(beta)))
    np.add.at(summed, cluster_of[np.concatenate(sets.number)], scores)
    bread = np.linalg.inv(information)
    meat = summed.T @ summed * n_clusters / max(n_clusters - 1, 1)
    return np.asarray(np.sqrt(np.diag(bread @ meat @ bread)))


def _informative(y: Bools, columns: Floats, stratum: Ints) -> Bools:
    """Return the rows of strata with both outcomes and with rows that differ."""
    if not len(y):
        return np.zeros(0, dtype=bool)
    n, hits = np.bincount(stratum), np.bincount(stratum, weights=y)
    order = np.argsort(stratum, kind="stable")
    starts = np.flatnonzero(np.diff(stratum[order], prepend=-1))
    span = np.maximum.reduceat(columns[order], starts) - np.minimum.reduceat(columns[order], starts)
    differ = np.zeros(len(n), dtype=bool)
    differ[stratum[order][starts]] = (span > 0).any(axis=1)
    return ((hits > 0) & (hits < n) & differ)[stratum]


def _contrasts(y: Bools, columns: Floats, stratum: Ints) -> Floats:
    """Return, of each stratum, every flagged row less every other, without repetitions."""
    sets = MatchedSets.of(y, columns, stratum)
    found = []
    for x, is_hit in zip(sets.x, sets.y, strict=True):
        for rows, hit in zip(x, is_hit, strict=True):
            hits, others = np.unique(rows[hit], axis=0), np.unique(rows[~hit], axis=0)
            found.append((hits[:, None] - others).reshape(-1, columns.shape[1]))
    return np.unique(np.concatenate(found), axis=0)
