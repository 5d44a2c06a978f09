"""Flags regressed on the class of metric: the columns of the models, and what these leave out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.conditional_logit import conditional_logit
from bigbench_meta.aggregate.attribution.estimates import MIN_TASKS
from bigbench_meta.aggregate.attribution.logit import LogitFit, gee_logit, spanned
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["COVARIATES", "MIN_TASKS_MODEL", "FlagModel", "flag_models"]

COVARIATES: Final = ("n_scales", "shots", "log_n_examples", "model_family")

MIN_TASKS_MODEL: Final = 10
"""Below this, sandwich intervals of several coefficients are much too short."""

_SHARP: Final = "sharp metric"
_MOST_MISSING: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class FlagModel:
    """A regression of flags on the class of metric.

    Attributes:
        name: ``gee`` or ``conditional_logit``.
        fit: Odds ratios, or why there are none.
        left_out: Curves left out, by reason.
        dropped: Columns left out of the model, with the reason.
    """

    name: str
    fit: LogitFit
    left_out: dict[str, int]
    dropped: dict[str, str]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a coefficient; one row without numbers where there is no fit.

        Columns ``model, term, odds_ratio, low, high, p_value, n, n_tasks, status, message``.
        """
        of_fit = {"n": self.fit.n, "n_tasks": self.fit.n_clusters, "status": self.fit.status,
                  "message": self.fit.message}  # fmt: skip
        none = dict.fromkeys(("odds_ratio", "low", "high", "p_value"), np.nan)
        terms = [
            {"term": t.name, "odds_ratio": t.odds_ratio, "low": t.low, "high": t.high,
             "p_value": t.p_value}
            for t in self.fit.terms
        ] or [{"term": _SHARP, **none}]  # fmt: skip
        return pd.DataFrame([{"model": self.name, **term, **of_fit} for term in terms])


@dataclass(frozen=True)
class _Design:
    """Rows that a model can use, and its columns."""

    frame: pd.DataFrame
    columns: dict[str, Floats]
    left_out: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def matrix(self) -> Floats:
        return np.column_stack(list(self.columns.values()))


def flag_models(
    rows: CurveFlags,
    *,
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
) -> list[FlagModel]:
    """Regress being flagged on the class of metric and what else could account for it.

    Two models. The *GEE* is a logistic regression for curves that are exchangeable within a task.
    The *conditional* one compares only curves of one matched set: same task, subtask, family, shots
    and prompt variant; what these share, the task's difficulty above all, cancels, and of the
    covariates only those that differ within a set remain.

    Args:
        rows: What :func:`flag_curves` returns; curves of unknown type are left out and counted.
        covariates: Some of ``n_scales``, ``shots``, ``log_n_examples`` (natural logarithm of the
            smallest test set of the curve) and ``model_family``.
        confidence: Of the intervals.

    Returns:
        The GEE and the conditional model, neither of them with fewer than ten tasks. A covariate
        that is not known for half of the curves, is constant, or follows from the others is left
        out; so are curves for which a covariate is not known, and those of a family in which all
        are flagged or none is, since its coefficient foretells them (what remains is not changed
        by that).

    Raises:
        InputError: An unknown covariate, or a confidence outside (0, 1).

    References:
        Liang & Zeger (1986), DOI 10.1093/biomet/73.1.13; Breslow & Day (1980), ch. 7.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> from bigbench_meta.aggregate.attribution.account import flag_curves
        >>> rows = flag_curves(score_curves(build_curves(load_embedded())))
        >>> [(model.name, model.fit.status) for model in flag_models(rows)]
        [('gee', 'too_few_clusters'), ('conditional_logit', 'no_variation')]
    """
    if unknown := [name for name in covariates if name not in COVARIATES]:
        raise InputError(f"{', '.join(map(repr, unknown))}", where="covariates",
                         hint=f"some of {', '.join(COVARIATES)}")  # fmt: skip
    return [
        _gee(rows, tuple(covariates), confidence),
        _conditional(rows, tuple(covariates), confidence),
    ]


def _gee(rows: CurveFlags, covariates: tuple[str, ...], confidence: float) -> FlagModel:
    design = _full_rank(_with_families(_numeric(rows, covariates), covariates))
    reason = _not_comparable(design) or _too_few_of_a_class(design)
    fit = reason or gee_logit(
        design.frame["flagged"].to_numpy(dtype=bool), design.matrix, tuple(design.columns),
        _codes(design.frame["task_number"]), min_clusters=MIN_TASKS_MODEL, confidence=confidence,
    )  # fmt: skip
    return FlagModel(name="gee", fit=_told_sparse(fit, design), left_out=design.left_out,
                     dropped=design.dropped)  # fmt: skip


def _conditional(rows: CurveFlags, covariates: tuple[str, ...], confidence: float) -> FlagModel:
    design = _within_strata(_numeric(rows, covariates))
    reason = _not_comparable(design)
    fit = reason or conditional_logit(
        design.frame["flagged"].to_numpy(dtype=bool), design.matrix, tuple(design.columns),
        _codes(design.frame["set_number"]), _codes(design.frame["task_number"]),
        min_clusters=MIN_TASKS_MODEL, confidence=confidence,
    )  # fmt: skip
    return FlagModel(name="conditional_logit", fit=fit, left_out=design.left_out | fit.left_out,
                     dropped=design.dropped)  # fmt: skip


def _numeric(rows: CurveFlags, covariates: tuple[str, ...]) -> _Design:
    """Return the class of metric and the covariates that are numbers, of curves that have them."""
    frame = rows.frame
    left_out = dict(rows.left_out)
    if n_unknown := len(frame) - len(rows.known):
        left_out["metric of unknown type"] = n_unknown
    frame = rows.known
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
        if known.mean() <= _MOST_MISSING if len(known) else True:
            dropped[name] = f"known for {known.sum()} of {len(known)} curves"
            del values[name]
        elif n_missing := int(np.sum(keep & ~known)):
            left_out[f"without {name}"] = n_missing
            keep &= known
    sharp = (frame["metric_class"] == "sharp").to_numpy(dtype=float)
    columns = {name: column[keep] for name, column in {_SHARP: sharp, **values}.items()}
    return _Design(frame[keep], columns, left_out, dropped)


def _with_families(design: _Design, covariates: tuple[str, ...]) -> _Design:
    """Return the design with an indicator of each family but the largest.

    A family in which all curves are flagged, or none is, would have an infinite coefficient and no
    say in the others: its curves are left out.
    """
    if "model_family" not in covariates:
        return design
    family = design.frame["model_family"].astype(str)
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
        if name != _SHARP and np.ptp(column, axis=0 if len(column) else None) == 0:
            dropped[name] = "the same for all curves"
        elif name != _SHARP and kept and _follows(kept, column):
            dropped[name] = "follows from the other columns"
        else:
            kept[name] = column
    return replace(design, columns=kept, dropped=dropped)


def _follows(kept: dict[str, Floats], column: Floats) -> bool:
    # The class of metric may follow from a covariate; that is for _not_comparable to tell.
    others = [values for name, values in kept.items() if name != _SHARP]
    return bool(others) and spanned(np.column_stack(others), column)


def _within_strata(design: _Design) -> _Design:
    """Return the design without covariates that differ in no stratum."""
    stratum = design.frame["set_number"]
    kept, dropped = {_SHARP: design.columns[_SHARP]}, dict(design.dropped)
    for name, column in design.columns.items():
        if name == _SHARP:
            continue
        values = pd.Series(column, index=stratum.index).groupby(stratum)
        if ((values.max() - values.min()) > 0).any():
            kept[name] = column
        else:
            dropped[name] = "the same within each matched set"
    return replace(design, columns=kept, dropped=dropped)


def _not_comparable(design: _Design) -> LogitFit | None:
    """Return why the classes of metric cannot be compared, if they cannot."""
    n, sharp = len(design.frame), design.columns[_SHARP]
    blank = LogitFit(n=n, n_clusters=int(design.frame["task_number"].nunique()))
    if not n:
        return blank.refused("no_data", "No curve is left.")
    if np.ptp(sharp) == 0:
        word = "nonlinear or discontinuous" if sharp[0] else "linear or continuous"
        text = f"All {n} curves are of {word} metrics."
        return blank.refused("one_class", text)
    others = [column for name, column in design.columns.items() if name != _SHARP]
    if others and spanned(np.column_stack(others), sharp):
        text = (
            "The class of metric follows from the covariates: their effects cannot be told apart."
        )
        return blank.refused("collinear", text)
    return None


def _too_few_of_a_class(design: _Design) -> LogitFit | None:
    tasks = design.frame.groupby(design.columns[_SHARP])["task_number"].nunique()
    if tasks.min() >= MIN_TASKS:
        return None
    text = f"{tasks.get(1.0)} tasks have sharp and {tasks.get(0.0)} smooth metrics: no fit."
    blank = LogitFit(n=len(design.frame), n_clusters=int(design.frame["task_number"].nunique()))
    return blank.refused("too_few_clusters", text)


def _told_sparse(fit: LogitFit, design: _Design) -> LogitFit:
    """Return the fit with a warning if few tasks have the rarer outcome, for its coefficients."""
    if fit.status != "ok":
        return fit
    by_task = design.frame.groupby("task_number")["flagged"].agg(["any", "all"])
    events = int(min(by_task["any"].sum(), (~by_task["all"]).sum()))
    if events >= 5 * len(fit.terms):
        return fit
    text = f"{events} tasks have the rarer outcome, few for {len(fit.terms)} coefficients."
    return fit.refused("sparse", text)


def _codes(numbers: pd.Series[int]) -> Ints:
    return np.unique(numbers.to_numpy(dtype=np.int64), return_inverse=True)[1]
