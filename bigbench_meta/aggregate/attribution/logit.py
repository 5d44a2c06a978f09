"""Logistic regression of flags of clustered curves, with every refusal explained.

What a fit would answer with a large number and a larger standard error is found out beforehand:
columns that foretell the outcome, columns that follow from others, too few clusters.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bigbench_meta.aggregate.attribution.clusters import NO_SPREAD
from bigbench_meta.aggregate.attribution.estimates import check_confidence, exponential, wald

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "LogitFit", "Term", "foretold", "gee_logit", "mancl_derouen", "recession", "separating",
    "spanned", "spread_of", "standardised", "terms_of",
]  # fmt: skip

_TOLERANCE: Final = 1e-7

_ROUNDING: Final = 1e-9
"""Standard errors of standardised columns below this are none."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A coefficient as an odds ratio for one unit more."""

    name: str
    odds_ratio: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class LogitFit:
    """A fit, or why there is none.

    Attributes:
        terms: Coefficients in order of the columns; empty where there is no fit.
        n: Rows used.
        n_clusters: Clusters used.
        status: One of :data:`bigbench_meta.aggregate.attribution.estimates.STATUSES`.
        message: A sentence; empty if all is well.
        left_out: Rows that the fit cannot use, by reason.
    """

    terms: tuple[Term, ...] = ()
    n: int = 0
    n_clusters: int = 0
    status: str = "ok"
    message: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    def refused(self, status: str, message: str) -> LogitFit:
        """Return it with the status and the sentence that say why there is no fit."""
        return replace(self, status=status, message=message)


def spanned(columns: Floats, target: Floats) -> bool:
    """Return whether a column is a linear combination of others and a constant.

    Args:
        columns: Shape (n, p).
        target: Shape (n,).
    """
    whole = np.column_stack([np.ones(len(target)), standardised(columns), target])
    # The triangular factor has the lengths and angles of the columns, in few rows.
    factor = np.asarray(np.linalg.qr(whole, mode="r"))
    base, target = factor[:, :-1], factor[:, -1]
    rest = target - base @ np.linalg.lstsq(base, target, rcond=None)[0]
    return bool(float(np.linalg.norm(rest)) <= _TOLERANCE * max(float(np.linalg.norm(target)), 1.0))


def separating(y: Bools, x: Floats) -> Floats | None:
    """Return rows that a combination of columns separates by outcome, if there is one.

    Then the likelihood has no maximum: some coefficient grows without end.

    Args:
        y: Shape (n,).
        x: Columns with a constant where the model has one, shape (n, p).

    Returns:
        The distinct rows, signed by their outcome, for :func:`foretold`; None if no direction b
        has x_i b >= 0 wherever y_i = 1, x_i b <= 0 wherever y_i = 0, and not all zero.

    References:
        Albert & Anderson (1984), DOI 10.1093/biomet/71.1.1; Konis (2007), "Linear programming
        algorithms for detecting separated data in binary logistic regression models".

    Examples:
        >>> import numpy as np
        >>> x = np.column_stack([np.ones(4), [0.0, 0, 1, 1]])
        >>> separating(np.array([False, False, True, False]), x) is None
        False
        >>> separating(np.array([False, True, True, False]), x) is None
        True
    """
    signed = np.unique(np.where(y[:, None], x, -x), axis=0)
    return None if recession(signed) is None else signed


def recession(rows: Floats) -> Floats | None:
    """Return b within [-1, 1] with rows b >= 0 and not all zero, by linear programming, or None.

    Args:
        rows: Shape (n, p).
    """
    from scipy.optimize import linprog

    scale = np.abs(rows).max(axis=0, initial=0.0)
    scaled = rows / np.where(scale > 0, scale, 1.0)
    if not scaled.size:
        return None
    found = linprog(
        -scaled.sum(axis=0), A_ub=-scaled, b_ub=np.zeros(len(scaled)), bounds=(-1, 1),
        method="highs",
    )  # fmt: skip
    if found.status != 0 or found.fun is None or found.fun >= -1e-6:
        return None
    return np.asarray(found.x, dtype=np.float64)


def gee_logit(
    y: Bools,
    columns: Floats,
    names: tuple[str, ...],
    cluster: Ints,
    *,
    min_clusters: int,
    confidence: float = 0.95,
) -> LogitFit:
    """Fit a logistic generalised estimating equation, exchangeable within clusters.

    Args:
        y: Outcome, shape (n,).
        columns: Without a constant and of full rank, shape (n, p).
        names: Of the columns.
        cluster: Cluster of each row, shape (n,).
        min_clusters: With fewer clusters, or with less than one cluster more than coefficients,
            there is no fit.
        confidence: Of the intervals: the bias-reduced sandwich of Mancl and DeRouen with Student's
            t at as many degrees of freedom as there are clusters more than coefficients.

    Returns:
        The fit.

    References:
        Liang & Zeger (1986), DOI 10.1093/biomet/73.1.13; Mancl & DeRouen (2001),
        DOI 10.1111/j.0006-341X.2001.00126.x.
    """
    check_confidence(confidence)
    sizes = np.bincount(cluster)
    sizes = sizes[sizes > 0]
    blank = LogitFit(n=len(y), n_clusters=len(sizes))
    df = len(sizes) - columns.shape[1] - 1
    if y.all() or not y.any():
        return blank.refused("no_variation", _no_variation(y))
    if len(sizes) < min_clusters or df < 1:
        text = f"{len(sizes)} tasks for {columns.shape[1] + 1} coefficients"
        return blank.refused("too_few_clusters", f"{text}: no fit.")
    standard, spread = standardised(columns), spread_of(columns)
    x = np.column_stack([np.ones(len(y)), standard])
    if (rows := separating(y, x)) is not None:
        return blank.refused("separation", foretold(rows, ("", *names)))
    fitted = _gee_fit(y, x, cluster, sizes)
    if fitted is None:
        return blank.refused("not_converged", "The estimating equation did not converge.")
    if not (fitted[1] > _ROUNDING).all():
        return blank.refused("no_spread", NO_SPREAD)
    terms = terms_of(names, fitted[0][1:], fitted[1][1:], spread, df, confidence)
    return replace(blank, terms=terms)


def _gee_fit(y: Bools, x: Floats, cluster: Ints, sizes: Ints) -> tuple[Floats, Floats] | None:
    """Return coefficients and standard errors."""
    import statsmodels.api as sm

    working = sm.cov_struct.Exchangeable() if sizes.max() > 1 else sm.cov_struct.Independence()
    model = sm.GEE(
        y.astype(np.float64), x, groups=cluster, family=sm.families.Binomial(), cov_struct=working
    )
    # Whatever it warns of is seen below: it did not converge, or a variance is not positive.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = model.fit(maxiter=200, ctol=1e-8, cov_type="robust")
            coefficient = np.asarray(result.params, dtype=np.float64)
            correlation = float(working.dep_params) if sizes.max() > 1 else 0.0
            error = mancl_derouen(y, x, cluster, coefficient, correlation)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError, ZeroDivisionError):
            return None
    good = np.isfinite(coefficient).all() and np.isfinite(error).all()
    return (coefficient, error) if good and result.converged else None


def mancl_derouen(
    y: Bools, x: Floats, cluster: Ints, coefficient: Floats, correlation: float
) -> Floats:
    r"""Return bias-reduced standard errors of a logistic GEE, exchangeable within clusters.

    The residuals of each cluster are multiplied by :math:`(I - H_i)^{-1}` with
    :math:`H_i = D_i B D_i^T V_i^{-1}`; as H has rank p, no matrix of a cluster's size is inverted:
    :math:`(I - D B C)^{-1} = I + D (B^{-1} - C D)^{-1} C`.

    Args:
        y: Outcome, shape (n,).
        x: Columns, a constant among them, shape (n, p).
        cluster: Shape (n,).
        coefficient: Of the fit, shape (p,).
        correlation: Of any two rows of a cluster.

    Returns:
        Shape (p,).

    References:
        Mancl & DeRouen (2001), DOI 10.1111/j.0006-341X.2001.00126.x, eq. 4.
    """
    mean = 1 / (1 + np.exp(-(x @ coefficient)))
    deviation = np.sqrt(mean * (1 - mean))
    order = np.argsort(cluster, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    scaled = x * deviation[:, None]  # D with each row divided by its standard deviation
    residual = (y - mean) / deviation
    pieces = []
    for part in parts:
        d, r = scaled[part], residual[part]
        shrink = correlation / (1 + correlation * (len(part) - 1))
        c = (d - shrink * d.sum(axis=0)).T / (1 - correlation)
        pieces.append((c @ d, c @ r))
    inverse_bread = np.sum([cd for cd, _ in pieces], axis=0)
    bread = np.linalg.inv(inverse_bread)
    # C (I + D (B^-1 - C D)^-1 C) e, of which C e is known.
    corrected = [cr + cd @ np.linalg.solve(inverse_bread - cd, cr) for cd, cr in pieces]
    meat = np.sum([np.outer(one, one) for one in corrected], axis=0)
    return np.asarray(np.sqrt(np.diag(bread @ meat @ bread)))


def terms_of(
    names: tuple[str, ...],
    coefficient: Floats,
    error: Floats,
    spread: Floats,
    df: int,
    confidence: float,
) -> tuple[Term, ...]:
    """Return coefficients of standardised columns as odds ratios for one unit of the columns.

    Args:
        names: Of the columns.
        coefficient: Log odds ratios, shape (p,).
        error: Their standard errors, shape (p,).
        spread: What :func:`spread_of` returns, shape (p,).
        df: Degrees of freedom of Student's t.
        confidence: Of the intervals.
    """
    terms = []
    for name, centre, its_error in zip(names, coefficient / spread, error / spread, strict=True):
        low, high, p_value = wald(float(centre), float(its_error), df=df, confidence=confidence)
        terms.append(
            Term(
                name=name,
                odds_ratio=exponential(float(centre)),
                low=exponential(low),
                high=exponential(high),
                p_value=p_value,
            )
        )
    return tuple(terms)


def spread_of(columns: Floats) -> Floats:
    """Return the standard deviation of each column, 1 where it is constant."""
    spread = columns.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def standardised(columns: Floats) -> Floats:
    """Return columns with mean 0 and standard deviation 1."""
    return np.asarray((columns - columns.mean(axis=0)) / spread_of(columns))


def _no_variation(y: Bools) -> str:
    return "All curves are flagged." if len(y) and y.all() else "No curve is flagged."


def foretold(rows: Floats, names: tuple[str, ...]) -> str:
    """Say which columns separate: those without which there is no separation.

    Args:
        rows: That are separated, signed so that a direction b has rows b >= 0, shape (n, p).
        names: Of the columns, empty for one that is not to be named.
    """
    guilty = [
        name
        for number, name in enumerate(names)
        if name and recession(np.delete(rows, number, axis=1)) is None
    ]
    subject = " and ".join(guilty) or "Each of several columns"
    verb = "foretell" if len(guilty) > 1 else "foretells"
    return (
        f"{subject} {verb} the flags of some curves without exception: no finite odds ratio fits "
        "best."
    )
