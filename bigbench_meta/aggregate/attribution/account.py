"""The whole analysis of whether the choice of metric accounts for the flags.

Metrics are *sharp* (nonlinear or discontinuous in per-token error) or *smooth* (linear or
continuous); those of unknown type stand apart. Curves of one task share its questions, so the units
of every interval named ``by_task`` are tasks.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, sec. 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.estimates import ESTIMATE_COLUMNS
from bigbench_meta.aggregate.attribution.flags import (
    CLASSES,
    CurveFlags,
    class_shares,
    flag_curves,
    flag_ratios,
)
from bigbench_meta.aggregate.attribution.pairs import paired_counts, paired_tests, pairs_by_metric
from bigbench_meta.aggregate.attribution.regression import COVARIATES, FlagModel, flag_model
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.core.cards import Card, Carded
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bigbench_meta.aggregate.by_metric import Level

__all__ = ["Account", "account_for_flags", "flag_estimates"]

_FEW_PAIRS: Final = 6
"""With five discordant pairs, all one way, McNemar's exact test still gives 0.06."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Account(Carded):
    """Everything that :func:`account_for_flags` found.

    Attributes:
        rows: The curves that it rests on.
        shares: What :func:`class_shares` returns.
        ratios: What :func:`flag_ratios` returns.
        model: What :func:`flag_model` returns.
        pair_counts: What :func:`paired_counts` returns.
        paired: What :func:`paired_tests` returns.
        by_metric: What :func:`pairs_by_metric` returns.
        limitations: What cannot be concluded from these curves, a sentence each.
    """

    rows: CurveFlags
    shares: pd.DataFrame
    ratios: pd.DataFrame
    model: FlagModel
    pair_counts: dict[str, int]
    paired: pd.DataFrame
    by_metric: pd.DataFrame
    limitations: list[str]

    def _card(self) -> Card:
        shares = self.shares.to_dict("records")
        n_flagged = sum(row["n_flagged"] for row in shares)
        n_scored = sum(row["n_scored"] for row in shares)
        return Card(
            title=f"Account of {counted(n_flagged, 'flag')} among {counted(n_scored, 'curve')}",
            facts={row["metric_class"]: _shares(row) for row in shares}
            | {"see": ".limitations, .ratios, .paired, .estimates()"},
            notes=self.limitations,
        )

    def estimates(self) -> pd.DataFrame:
        """Return every statistic that compares the classes, with the columns of ``ratios``."""
        return _tidy(self.shares, self.ratios, self.model, self.paired)


def account_for_flags(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    level: Level = "task",
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
) -> Account:
    """Analyse whether the class of metric accounts for the flags.

    Args:
        scores: Curve scores, from :func:`bigbench_meta.score_curves`.
        threshold: A curve with an emergence score above it is flagged.
        level: Which of a task's rows count, see :func:`bigbench_meta.select_level`.
        covariates: Of the regression, see :func:`flag_model`.
        confidence: Of all intervals.

    Returns:
        Shares and ratios over all curves, a regression, and comparisons within matched sets.

    Raises:
        InputError: An option that cannot be.
        SchemaError: A column is missing.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> account = account_for_flags(score_curves(build_curves(load_embedded())))
        >>> account.shares[["metric_class", "n_flagged", "n_scored", "n_tasks"]].values.tolist()
        [['sharp', 21, 176, 49], ['smooth', 0, 9, 3], ['unknown', 0, 3, 1]]
        >>> account.pair_counts["n_pairs"], account.pair_counts["n_sharp_only"]
        (3, 0)
    """
    rows = flag_curves(scores, threshold=threshold, level=level)
    shares = class_shares(rows, confidence=confidence)
    ratios = flag_ratios(rows, confidence=confidence)
    model = flag_model(rows, covariates=covariates, confidence=confidence)
    counts = paired_counts(rows)
    return Account(
        rows=rows,
        shares=shares,
        ratios=ratios,
        model=model,
        pair_counts=counts,
        paired=paired_tests(rows, confidence=confidence),
        by_metric=pairs_by_metric(rows, confidence=confidence),
        limitations=_limitations(rows, shares, ratios, model, counts),
    )


def flag_estimates(
    rows: CurveFlags,
    *,
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return every statistic that compares the classes of metric, as one tidy table.

    Args:
        rows: What :func:`flag_curves` returns.
        covariates: Of the regression, see :func:`flag_model`.
        confidence: Of all intervals.

    Returns:
        Columns ``statistic, method, estimate, low, high, p_value, n, n_tasks, status, message``:
        ``share_flagged_sharp`` and the like from :func:`class_shares`, what :func:`flag_ratios` and
        :func:`paired_tests` return, and from :func:`flag_model` the odds ratio of sharp metrics,
        ``adjusted_odds_ratio`` (GEE).

    Raises:
        InputError: An option that cannot be.
    """
    return _tidy(
        class_shares(rows, confidence=confidence),
        flag_ratios(rows, confidence=confidence),
        flag_model(rows, covariates=covariates, confidence=confidence),
        paired_tests(rows, confidence=confidence),
    )


def _tidy(
    shares: pd.DataFrame, ratios: pd.DataFrame, model: FlagModel, paired: pd.DataFrame
) -> pd.DataFrame:
    fit = model.to_frame().head(1)
    fit = fit.assign(
        statistic="adjusted_odds_ratio", method=fit["model"], estimate=fit["odds_ratio"]
    )
    shares = shares.assign(
        statistic="share_flagged_" + shares["metric_class"],
        method="by_task",
        estimate=shares["share_flagged"],
        low=shares["share_low"],
        high=shares["share_high"],
        p_value=np.nan,
        n=shares["n_scored"],
        status=np.where(shares["n_scored"] > 0, "ok", "no_data"),
        message=np.where(shares["n_scored"] > 0, "", "No curve has a metric of this class."),
    )
    parts = [part[list(ESTIMATE_COLUMNS)] for part in (shares, ratios, fit, paired)]
    return pd.concat(parts, ignore_index=True)


def _limitations(
    rows: CurveFlags,
    shares: pd.DataFrame,
    ratios: pd.DataFrame,
    model: FlagModel,
    pair_counts: dict[str, int],
) -> list[str]:
    """Return one sentence for each conclusion that the data do not support."""
    return [
        *_of_population(shares, ratios),
        *_of_confounding(rows),
        *_of_unknown(shares),
        *_of_model(model),
        *_of_pairs(pair_counts),
        *_of_families(rows.frame),
        *_of_reach(rows),
    ]


def _of_population(shares: pd.DataFrame, ratios: pd.DataFrame) -> Iterator[str]:
    exact = ratios[ratios["method"] == "exact"].to_dict("records")[0]
    rows = shares.set_index("metric_class").to_dict("index")
    for name, other in (("smooth", "sharp"), ("sharp", "smooth")):
        row, its_other = rows[name], rows[other]
        n, tasks = int(row["n_scored"]), int(row["n_tasks"])
        if not n and its_other["n_scored"]:
            yield f"No curve has a metric that is {CLASSES[name]}: the classes are not compared."
        elif n and not row["n_flagged"] and its_other["n_flagged"]:
            yield (
                f"None of the {n} curves ({counted(tasks, 'task')}) of metrics that are "
                f"{CLASSES[name]} is flagged. With each task as one observation, this is "
                f"compatible with any true share up to {row['share_high']:.0%}."
            )
    if exact["status"] in {"no_variation", "no_data"}:
        yield f"The ratios are not defined: {exact['message'][0].lower()}{exact['message'][1:]}"
    elif exact["low"] <= 1 <= exact["high"]:
        yield (
            f"The odds ratio over all curves may be 1: its exact interval is {exact['low']:.2g} to "
            f"{_limit(exact['high'])}, and that treats curves of one task as independent."
        )
    few = min(int(rows[name]["n_tasks"]) for name in ("sharp", "smooth"))
    if (ratios["status"] == "too_few_clusters").any():
        yield f"One class of metric has {counted(few, 'task')}: too few for intervals over tasks."


def _of_confounding(rows: CurveFlags) -> Iterator[str]:
    counts = rows.counts()
    sharp, smooth = counts[:, :2].any(axis=1), counts[:, 2:].any(axis=1)
    n_both = int(np.sum(sharp & smooth))
    if sharp.any() and smooth.any() and 2 * n_both < len(counts):
        yield (
            f"{len(counts) - n_both} of {counted(len(counts), 'task')} have metrics of only one "
            "class: over all curves, the effect of the metric cannot be distinguished from that of "
            "the task."
        )


def _of_unknown(shares: pd.DataFrame) -> Iterator[str]:
    by_class = shares.set_index("metric_class")["n_scored"]
    if unknown := int(by_class["unknown"]):
        has, is_ = ("has", "is") if unknown == 1 else ("have", "are")
        yield (
            f"{counted(unknown, 'curve')} of {int(by_class.sum())} {has} a metric of unknown type "
            f"and {is_} not compared."
        )


def _of_model(model: FlagModel) -> Iterator[str]:
    if model.fit.status not in {"ok", "no_data"}:
        given = "is unreliable" if model.fit.terms else "gives no odds ratio"
        message = model.fit.message
        yield f"The regression (GEE) {given}: {message[:1].lower()}{message[1:]}"


def _of_pairs(counts: dict[str, int]) -> Iterator[str]:
    n_pairs, discordant = counts["n_pairs"], counts["n_sharp_only"] + counts["n_smooth_only"]
    if not n_pairs:
        yield "No matched set has a sharp and a smooth metric: a paired comparison is impossible."
        return
    if unequal := counts["n_unequal"]:
        yield (
            f"{unequal} of {counted(n_pairs, 'matched pair')} have curves of different numbers of "
            "models: relative sharpness corrects for that only in part."
        )
    if discordant < _FEW_PAIRS:
        yield (
            f"Exactly one curve is flagged in {discordant} of "
            f"{counted(n_pairs, 'matched pair')} of a sharp and a smooth metric "
            f"({counted(counts['n_tasks'], 'task')}): too few for a paired comparison."
        )


def _of_families(frame: pd.DataFrame) -> Iterator[str]:
    families = frame["model_family"].unique()
    if len(families) == 1:
        yield f"All curves belong to one model family, {families[0]}: other families may differ."


def _of_reach(rows: CurveFlags) -> Iterator[str]:
    # The median of two squared steps is their mean: E <= 2 with three models.
    short = int(np.sum(rows.frame["n_scales"] <= 3))
    if short and rows.threshold >= 2:
        yield (
            f"{counted(short, 'curve')} of {len(rows.frame)} have three models, with which the "
            "emergence score is at most 2: they cannot be flagged."
        )


def _shares(row: Mapping[Any, Any]) -> str:
    """Return how many curves of a class are flagged, and the share with its interval."""
    if not row["n_scored"]:
        return "no curves"
    return (
        f"{row['n_flagged']:,} of {counted(row['n_scored'], 'curve')} "
        f"({counted(row['n_tasks'], 'task')}) flagged: {row['share_flagged']:.0%}, by task "
        f"{row['share_low']:.0%} to {row['share_high']:.0%}"
    )


def _limit(value: float) -> str:
    return "infinity" if np.isinf(value) else f"{value:.3g}"
