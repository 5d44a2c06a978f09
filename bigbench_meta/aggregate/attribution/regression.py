"""Regression of flags on the class of metric and on other possible explanations.

A logistic generalised estimating equation whose clusters are tasks. What a fit would answer with a
large number and a larger standard error is found beforehand: columns that separate the flagged
curves from the others, columns that follow from others, too few tasks.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import NO_SPREAD
from bigbench_meta.aggregate.attribution.estimates import (
    MIN_TASKS,
    exponential,
    wald,
)
from bigbench_meta.aggregate.attribution.flags import CLASSES
from bigbench_meta.core.checks import probability
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.flags import CurveFlags

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "COVARIATES", "MIN_TASKS_MODEL", "FlagModel", "LogitFit", "Term", "flag_model", "gee_logit",
    "mancl_derouen", "separating", "spanned",
]  # fmt: skip

COVARIATES: Final = ("n_scales", "shots", "log_n_examples", "model_family")

MIN_TASKS_MODEL: Final = 10
"""Below this, sandwich intervals of several coefficients are much too short."""

_SHARP: Final = "sharp metric"
_MOST_MISSING: Final = 0.5
_TOLERANCE: Final = 1e-7
# With thousands, a coefficient for each takes hours to fit, and rests on few curves.
_MOST_FAMILIES: Final = 100

_ROUNDING: Final = 1e-9
"""Standard errors of standardised columns below this are zero."""


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
    """

    terms: tuple[Term, ...] = ()
    n: int = 0
    n_clusters: int = 0
    status: str = "ok"
    message: str = ""

    def refused(self, status: str, message: str) -> LogitFit:
        """Return it with the status and the sentence that say why there is no fit."""
        return replace(self, status=status, message=message)


@dataclass(frozen=True, kw_only=True)
class FlagModel:
    """A regression of flags on the class of metric.

    Attributes:
        fit: Odds ratios, or why there are none.
        left_out: Curves left out, by reason.
        dropped: Columns left out of the model, with the reason.
    """

    fit: LogitFit
    left_out: dict[str, int]
    dropped: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per coefficient; one row without numbers where there is no fit.

        Columns ``model`` (``gee``), ``term, odds_ratio, low, high, p_value, n, n_tasks, status,
        message``.
        """
        of_fit = {"n": self.fit.n, "n_tasks": self.fit.n_clusters, "status": self.fit.status,
                  "message": self.fit.message}  # fmt: skip
        none = dict.fromkeys(("odds_ratio", "low", "high", "p_value"), np.nan)
        terms = [
            {"term": t.name, "odds_ratio": t.odds_ratio, "low": t.low, "high": t.high,
             "p_value": t.p_value}
            for t in self.fit.terms
        ] or [{"term": _SHARP, **none}]  # fmt: skip
        return pd.DataFrame([{"model": "gee", **term, **of_fit} for term in terms])


@dataclass(frozen=True)
class _Design:
    """The curves and columns that the model uses, and what it leaves out."""

    frame: pd.DataFrame
    columns: dict[str, Floats]
    left_out: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def flag_model(
    rows: CurveFlags,
    *,
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
) -> FlagModel:
    """Regress being flagged on the class of metric and other possible explanations.

    A logistic generalised estimating equation (GEE) for curves that are exchangeable within a task.
    Within matched sets nothing is regressed: there the common odds ratio of
    :func:`bigbench_meta.aggregate.attribution.pairs.paired_tests` is the whole answer.

    Args:
        rows: What :func:`flag_curves` returns; curves of unknown type are left out and counted.
        covariates: Some of ``n_scales``, ``shots``, ``log_n_examples`` (natural logarithm of the
            smallest test set of the curve) and ``model_family``.
        confidence: Of the intervals.

    Returns:
        The model, without a fit where there are fewer than ten tasks. A covariate that is not known
        for half of the curves, is constant, or follows from the others is left out, and so is the
        family where there are more than 100. So are curves for which a covariate is not known, and
        those of a family in which all are flagged or none is: its coefficient would be infinite,
        and the others do not depend on it.

    Raises:
        InputError: An unknown covariate, or a confidence outside (0, 1).

    References:
        Liang & Zeger (1986), DOI 10.1093/biomet/73.1.13.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.flags import flag_curves
        >>> rows = flag_curves(score_curves(build_curves(load_embedded())))
        >>> flag_model(rows).fit.status
        'too_few_clusters'
    """
    if unknown := [name for name in covariates if name not in COVARIATES]:
        raise InputError(f"{', '.join(map(repr, unknown))}", where="covariates",
                         hint=f"some of {', '.join(COVARIATES)}")  # fmt: skip
    design = _full_rank(_with_families(_numeric(rows, covariates), covariates))
    fit = _not_comparable(design)
    if fit is None:
        cluster = np.unique(design.frame["task_number"].to_numpy(), return_inverse=True)[1]
        fit = gee_logit(
            design.frame["flagged"].to_numpy(dtype=bool),
            np.column_stack([*design.columns.values()]), tuple(design.columns), cluster,
            min_clusters=MIN_TASKS_MODEL, confidence=confidence,
        )  # fmt: skip
    return FlagModel(
        fit=_warned(fit, design.frame), left_out=design.left_out, dropped=design.dropped
    )


def _numeric(rows: CurveFlags, covariates: Sequence[str]) -> _Design:
    """Return the class of metric and the covariates that are numbers, of curves that have them."""
    frame = rows.frame
    left_out = dict(rows.left_out)
    if n_unknown := len(frame) - len(rows.of_known_type):
        left_out["metric of unknown type"] = n_unknown
    frame = rows.of_known_type
    examples = frame["n_examples_min"].astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    values = {
        "n_scales": frame["n_scales"].to_numpy(dtype=float),
        "shots": frame["shots"].astype("Float64").to_numpy(dtype=float, na_value=np.nan),
        "log_n_examples": np.log(np.where(examples > 0, examples, np.nan)),
    }
    values = {name: column for name, column in values.items() if name in covariates}
    dropped = {}
    keep = np.ones(len(frame), dtype=bool)
    for name, column in list(values.items()):
        known = ~np.isnan(column)
        if not len(known) or known.mean() <= _MOST_MISSING:
            dropped[name] = f"known for {known.sum()} of {len(known)} curves"
            del values[name]
        elif n_missing := int(np.sum(keep & ~known)):
            left_out[f"without {name}"] = n_missing
            keep &= known
    sharp = (frame["metric_class"] == "sharp").to_numpy(dtype=float)
    columns = {name: column[keep] for name, column in {_SHARP: sharp, **values}.items()}
    return _Design(frame[keep], columns, left_out, dropped)


def _with_families(design: _Design, covariates: Sequence[str]) -> _Design:
    """Return the design with an indicator of each family but the largest.

    A family in which all curves are flagged, or none is, would have an infinite coefficient and no
    say in the others: its curves are left out.
    """
    if "model_family" not in covariates:
        return design
    family = design.frame["model_family"].astype(str)
    if (n_families := family.nunique()) > _MOST_FAMILIES:
        reason = f"{n_families:,} families, more than {_MOST_FAMILIES}"
        return replace(design, dropped=design.dropped | {"model_family": reason})
    share = design.frame["flagged"].groupby(family).transform("mean")
    # With one outcome in all families there is nothing to choose by.
    mixed = ((share > 0) & (share < 1)).to_numpy(dtype=bool)
    if not mixed.any():
        mixed = np.ones(len(family), dtype=bool)
    left_out = dict(design.left_out)
    if one_sided := int(np.sum(~mixed)):
        names = family[~mixed].nunique()
        reason = f"in {names} {'family' if names == 1 else 'families'} with one outcome alone"
        left_out[reason] = one_sided
    frame, family = design.frame[mixed], family[mixed]
    columns = {name: column[mixed] for name, column in design.columns.items()}
    # By size, then by name: the reference does not depend on the order of the rows.
    sizes = family.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    for name in sizes.index[1:]:
        columns[f"family {name}"] = (family == name).to_numpy(dtype=float)
    dropped = dict(design.dropped)
    if len(sizes) == 1:
        dropped["model_family"] = "only one"
    return _Design(frame, columns, left_out, dropped)


def _full_rank(design: _Design) -> _Design:
    """Return the design without covariates that are constant or follow from those before."""
    kept: dict[str, Floats] = {}
    dropped = dict(design.dropped)
    for name, column in design.columns.items():
        if name != _SHARP and np.ptp(column) == 0:
            dropped[name] = "the same for all curves"
        elif name != _SHARP and kept and _follows(kept, column):
            dropped[name] = "follows from the other columns"
        else:
            kept[name] = column
    return replace(design, columns=kept, dropped=dropped)


def _follows(kept: dict[str, Floats], column: Floats) -> bool:
    # The class of metric may follow from a covariate; that is for _not_comparable to say.
    others = [values for name, values in kept.items() if name != _SHARP]
    return bool(others) and spanned(np.column_stack(others), column)


def _not_comparable(design: _Design) -> LogitFit | None:
    """Return why the classes of metric cannot be compared, if they cannot."""
    n, sharp = len(design.frame), design.columns[_SHARP]
    blank = LogitFit(n=n, n_clusters=int(design.frame["task_number"].nunique()))
    if not n:
        return blank.refused("no_data", "No curve is left.")
    if np.ptp(sharp) == 0:
        text = f"All {n} curves are of {CLASSES['sharp' if sharp[0] else 'smooth']} metrics."
        return blank.refused("one_class", text)
    others = [column for name, column in design.columns.items() if name != _SHARP]
    if others and spanned(np.column_stack(others), sharp):
        text = (
            "The class of metric follows from the covariates, so their effects cannot be "
            "distinguished."
        )
        return blank.refused("collinear", text)
    tasks = design.frame.groupby(sharp)["task_number"].nunique()
    if tasks.min() >= MIN_TASKS:
        return None
    text = f"{tasks.get(1.0)} tasks have sharp and {tasks.get(0.0)} smooth metrics: no fit."
    return blank.refused("too_few_clusters", text)


def _warned(fit: LogitFit, frame: pd.DataFrame) -> LogitFit:
    """Return the fit with a warning if few tasks have the rarer outcome, for its coefficients."""
    if fit.status != "ok":
        return fit
    by_task = frame.groupby("task_number")["flagged"].agg(["any", "all"])
    events = int(min(by_task["any"].sum(), (~by_task["all"]).sum()))
    if events >= 5 * len(fit.terms):
        return fit
    text = f"{events} tasks have the rarer outcome, few for {len(fit.terms)} coefficients."
    return fit.refused("sparse", text)


def spanned(columns: Floats, target: Floats) -> bool:
    """Return whether a column is a linear combination of others and a constant.

    Args:
        columns: Shape (n, p).
        target: Shape (n,).
    """
    standard = (columns - columns.mean(axis=0)) / _spread(columns)
    whole = np.column_stack([np.ones(len(target)), standard, target])
    # The triangular factor has the lengths and angles of the columns, in few rows.
    factor = np.asarray(np.linalg.qr(whole, mode="r"))
    base, target = factor[:, :-1], factor[:, -1]
    rest = target - base @ np.linalg.lstsq(base, target, rcond=None)[0]
    return bool(float(np.linalg.norm(rest)) <= _TOLERANCE * max(float(np.linalg.norm(target)), 1.0))


def separating(y: Bools, x: Floats) -> Floats | None:
    """Return rows whose outcome a combination of columns predicts exactly, if there is one.

    Then the likelihood has no maximum: some coefficient grows without end.

    Args:
        y: Shape (n,).
        x: Columns with a constant where the model has one, shape (n, p).

    Returns:
        The distinct rows, signed by their outcome; None if no direction b
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
    return signed if _has_recession(signed) else None


def _has_recession(rows: Floats) -> bool:
    """Return whether some b has rows b >= 0, not all of them 0, by linear programming."""
    from scipy.optimize import linprog

    scale = np.abs(rows).max(axis=0, initial=0.0)
    scaled = rows / np.where(scale > 0, scale, 1.0)
    if not scaled.size:
        return False
    found = linprog(
        -scaled.sum(axis=0), A_ub=-scaled, b_ub=np.zeros(len(scaled)), bounds=(-1, 1),
        method="highs",
    )  # fmt: skip
    return found.status == 0 and found.fun is not None and bool(found.fun < -1e-6)


def _separation(signed: Floats, names: tuple[str, ...]) -> str:
    """Name the columns that cause separation: those whose removal ends it.

    Args:
        signed: What :func:`separating` returns: a constant, and a column for each of ``names``.
        names: Of the columns.
    """
    separate = [
        name
        for number, name in enumerate(names, start=1)
        if not _has_recession(np.delete(signed, number, axis=1))
    ]
    subject = " and ".join(separate) or "Some combination of columns"
    verb = "predict" if len(separate) > 1 else "predicts"
    return (
        f"{subject} {verb} the flags of some curves without exception: no finite odds ratio fits "
        "best."
    )


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
    probability(confidence, "confidence")
    sizes = np.bincount(cluster)
    sizes = sizes[sizes > 0]
    blank = LogitFit(n=len(y), n_clusters=len(sizes))
    df = len(sizes) - columns.shape[1] - 1
    if y.all() or not y.any():
        text = "All curves are flagged." if len(y) and y.all() else "No curve is flagged."
        return blank.refused("no_variation", text)
    if len(sizes) < min_clusters or df < 1:
        text = f"{len(sizes)} tasks for {columns.shape[1] + 1} coefficients"
        return blank.refused("too_few_clusters", f"{text}: no fit.")
    spread = _spread(columns)
    x = np.column_stack([np.ones(len(y)), (columns - columns.mean(axis=0)) / spread])
    if (rows := separating(y, x)) is not None:
        return blank.refused("separation", _separation(rows, names))
    fitted = _gee_fit(y, x, cluster, sizes)
    if fitted is None:
        return blank.refused("not_converged", "The estimating equation did not converge.")
    if not (fitted[1] > _ROUNDING).all():
        return blank.refused("no_spread", NO_SPREAD)
    terms = []
    # Coefficients of standardised columns, as odds ratios for one unit of the columns.
    for name, log_odds, error in zip(
        names, fitted[0][1:] / spread, fitted[1][1:] / spread, strict=True
    ):
        low, high, p_value = wald(float(log_odds), float(error), df=df, confidence=confidence)
        terms.append(
            Term(
                name=name, odds_ratio=exponential(float(log_odds)), low=exponential(low),
                high=exponential(high), p_value=p_value,
            )
        )  # fmt: skip
    return replace(blank, terms=tuple(terms))


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


def _spread(columns: Floats) -> Floats:
    """Return the standard deviation of each column, 1 where it is constant."""
    spread = columns.std(axis=0)
    return np.where(spread > 0, spread, 1.0)
