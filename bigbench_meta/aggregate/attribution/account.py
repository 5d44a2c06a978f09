"""What accounts for the flags: is it the metric that makes a curve look emergent?

Metrics are *sharp* (nonlinear or discontinuous in per-token error) or *smooth* (linear or
continuous); those of unknown type stand apart. Curves of one task share its questions, so the units
of every interval named ``by_task`` are tasks.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, sec. 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.curve_flags import CurveFlags, flag_curves
from bigbench_meta.aggregate.attribution.estimates import ESTIMATE_COLUMNS
from bigbench_meta.aggregate.attribution.flag_models import COVARIATES, FlagModel, flag_models
from bigbench_meta.aggregate.attribution.flag_ratios import class_shares, flag_ratios
from bigbench_meta.aggregate.attribution.limitations import limitations
from bigbench_meta.aggregate.attribution.paired import metric_pairs, pairs_by_metric
from bigbench_meta.aggregate.attribution.paired_tests import paired_counts, paired_tests
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bigbench_meta.aggregate.by_metric import Level

__all__ = [
    "Account",
    "CurveFlags",
    "FlagModel",
    "account_for_flags",
    "class_shares",
    "flag_curves",
    "flag_estimates",
    "flag_models",
    "flag_ratios",
    "metric_pairs",
    "paired_counts",
    "paired_tests",
    "pairs_by_metric",
]

_MODEL_STATISTICS: Final = {
    "gee": "adjusted_odds_ratio",
    "conditional_logit": "conditional_odds_ratio",
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """Everything that :func:`account_for_flags` found.

    Attributes:
        rows: The curves that it rests on.
        shares: What :func:`class_shares` returns.
        ratios: What :func:`flag_ratios` returns.
        models: What :func:`bigbench_meta.aggregate.attribution.account.flag_models` returns.
        pair_counts: What :func:`bigbench_meta.aggregate.attribution.account.paired_counts` returns.
        paired: What :func:`bigbench_meta.aggregate.attribution.account.paired_tests` returns.
        by_metric: What :func:`bigbench_meta.aggregate.attribution.account.pairs_by_metric` returns.
        limitations: What cannot be concluded from these curves, a sentence each.
    """

    rows: CurveFlags
    shares: pd.DataFrame
    ratios: pd.DataFrame
    models: list[FlagModel]
    pair_counts: dict[str, int]
    paired: pd.DataFrame
    by_metric: pd.DataFrame
    limitations: list[str]

    def estimates(self) -> pd.DataFrame:
        """Return every statistic that compares the classes, with the columns of ``ratios``."""
        return _tidy(self.shares, self.ratios, self.models, self.paired)


def account_for_flags(
    scores: pd.DataFrame,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    level: Level = "task",
    covariates: Sequence[str] = COVARIATES,
    confidence: float = 0.95,
) -> Account:
    """Ask of curve scores whether the class of metric accounts for the flags.

    Args:
        scores: Curve scores, from :func:`bigbench_meta.score_curves`.
        threshold: A curve with an emergence score above it is flagged.
        level: Which of a task's rows count, see :func:`bigbench_meta.select_level`.
        covariates: Of the models, see :func:`flag_models`.
        confidence: Of all intervals.

    Returns:
        Shares and ratios over all curves, models, and comparisons within matched sets.

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
    models = flag_models(rows, covariates=covariates, confidence=confidence)
    counts = paired_counts(rows)
    return Account(
        rows=rows,
        shares=shares,
        ratios=ratios,
        models=models,
        pair_counts=counts,
        paired=paired_tests(rows, confidence=confidence),
        by_metric=pairs_by_metric(rows, confidence=confidence),
        limitations=limitations(rows, shares, ratios, models, counts),
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
        covariates: Of the models, see :func:`flag_models`.
        confidence: Of all intervals.

    Returns:
        Columns ``statistic, method, estimate, low, high, p_value, n, n_tasks, status, message``:
        ``share_flagged_sharp`` and the like from :func:`class_shares`, what :func:`flag_ratios` and
        :func:`paired_tests` return, and from :func:`flag_models` the odds ratio of sharp metrics,
        ``adjusted_odds_ratio`` (GEE) and ``conditional_odds_ratio``.

    Raises:
        InputError: An option that cannot be.
    """
    return _tidy(
        class_shares(rows, confidence=confidence),
        flag_ratios(rows, confidence=confidence),
        flag_models(rows, covariates=covariates, confidence=confidence),
        paired_tests(rows, confidence=confidence),
    )


def _tidy(
    shares: pd.DataFrame, ratios: pd.DataFrame, models: list[FlagModel], paired: pd.DataFrame
) -> pd.DataFrame:
    fits = pd.concat([model.to_frame().head(1) for model in models])
    fits = fits.assign(
        statistic=fits["model"].map(_MODEL_STATISTICS),
        method=fits["model"],
        estimate=fits["odds_ratio"],
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
        message=np.where(shares["n_scored"] > 0, "", "No curve is of a metric of this class."),
    )
    parts = [part[list(ESTIMATE_COLUMNS)] for part in (shares, ratios, fits, paired)]
    return pd.concat(parts, ignore_index=True)
