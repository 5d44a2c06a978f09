"""Pair each sharp metric with a smooth metric of the same models, task and shots.

A smooth metric gives the probability p that a unit of the target (a token, a word, the whole
answer) is right; a target of L units is then right with probability p^L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.forecast.forecasts import ForecastStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["LINKS", "Link", "Partners", "smooth_partners"]

# Links ---------------------------------------------------------------------------------------


_BRIER: Final = "the wrong choices sharing the rest equally"
_BRIER_SUM: Final = f"1 - sqrt(v (K - 1)/K), v summed over choices, {_BRIER}"
_BRIER_MEAN: Final = f"1 - sqrt(v (K - 1)), v averaged over choices, {_BRIER}"

_PROBABILITY: Final[dict[str, Callable[[Floats, Floats], Floats]]] = {
    "exp(-v)": lambda v, _: np.exp(-v),
    "2^-v": lambda v, _: np.exp2(-v),
    "exp(v)": lambda v, _: np.exp(v),
    "1/v": lambda v, _: 1 / v,
    "v": lambda v, _: v,
    "v/100": lambda v, _: v / 100,
    "1 - v": lambda v, _: 1 - v,
    "1 - v/100": lambda v, _: 1 - v / 100,
    _BRIER_SUM: lambda v, k: 1 - np.sqrt(v * (k - 1) / k),
    _BRIER_MEAN: lambda v, k: 1 - np.sqrt(v * k * (k - 1) / k),
}
"""The probability by a formula, from scores v and numbers of choices K."""


@dataclass(frozen=True)
class Link:
    """How one metric gives the probability p that a unit of the target is right.

    Attributes:
        formula: Of p, v being the score, L the length and K the number of choices.
        unit: What p is the probability of.
        answers: ``text`` for metrics of written answers, ``choice`` for those of listed ones.
        share: Whether p is a share of units, each of which is right or wrong.
    """

    formula: str
    unit: str
    answers: Literal["text", "choice"] = "text"
    share: bool = False

    @property
    def counts(self) -> bool:
        """Whether the score counts wrong units of a target, so that p depends on the length."""
        return self.formula == "1 - v/L"

    def value(self, score: Floats, choices: Floats) -> Floats:
        """Return p from scores and numbers of choices, or wrong units where it ``counts`` them."""
        return score if self.counts else np.asarray(_PROBABILITY[self.formula](score, choices))

    def slope(self, score: Floats, choices: Floats) -> Floats:
        """Return the derivative of the value by the score."""
        step = 1e-5 * np.maximum(np.abs(score), 1e-3)
        above, below = self.value(score + step, choices), self.value(score - step, choices)
        return np.asarray((above - below) / (2 * step))


LINKS: Final[dict[str, Link]] = {
    "cross_entropy": Link("exp(-v)", "token"),
    "loss": Link("exp(-v)", "token"),
    "token_accuracy": Link("v", "token", share=True),
    "token_edit_distance": Link("1 - v/L", "token", share=True),
    "log_likelihood_per_word": Link("exp(v)", "word"),
    "log_likelihood_per_char": Link("exp(v)", "character"),
    "log_likelihood": Link("exp(v)", "target"),
    "bits_per_byte": Link("2^-v", "byte"),
    "perplexity": Link("1/v", "token"),
    "ppl": Link("1/v", "token"),
    "word_perplexity": Link("1/v", "word"),
    "byte_perplexity": Link("1/v", "byte"),
    "wer": Link("1 - v", "word", share=True),
    "word_error_rate": Link("1 - v", "word", share=True),
    "ter": Link("1 - v/100", "word", share=True),
    "sequence_f1": Link("v/100", "label"),
    "mean_relative_edit_distance": Link("v", "character", share=True),
    "correct_prob_mass": Link("v", "answer", "choice"),
    "mc2": Link("v", "answer", "choice"),
    "log_loss": Link("exp(-v)", "answer", "choice"),
    "brier_score": Link(_BRIER_SUM, "answer", "choice"),
    "calibration_multiple_choice_brier_score": Link(_BRIER_MEAN, "answer", "choice"),
}
"""Smooth metrics by name; where a sharp one has several partners, the first listed is used.

The mean of a metric stands for all examples: p is that of an example of mean difficulty.
"""


# Partners ------------------------------------------------------------------------------------


# What a sharp metric asks for, by its type.
_ANSWERS = {"nonlinear": "text", "discontinuous": "choice"}


@dataclass(frozen=True, kw_only=True)
class Partners:
    """The smooth partner of each curve.

    Attributes:
        smooth: Of each point of the sharp curve, the probability of a unit or the number of wrong
            units that the partner has for the same scale; NaN for none.
        variance: Sampling variance of ``smooth`` by the partner's standard error, of each point;
            NaN where that is not given.
        n_examples: Examples behind the partner's score, of each point; NaN where not given.
        counts: Whether the partner counts wrong units, of each curve.
        share: Whether it is a share, or a number, of units that are right or not.
        metric: Its name, missing for none.
        curve_of_point: Curve of each point.
        status: Index into ``FORECAST_STATUSES``: ``ok``, ``not_a_proportion``, ``no_pair`` or
            ``no_choices``.
    """

    smooth: Floats
    variance: Floats
    n_examples: Floats
    counts: NDArray[np.bool_]
    share: NDArray[np.bool_]
    metric: NDArray[np.object_]
    curve_of_point: Ints
    status: NDArray[np.int8]


def smooth_partners(curves: Curves, data: FitInput, catalog: MetricCatalog | None) -> Partners:
    """Find the smooth partner of each curve."""
    keys = curves.keys
    metric = keys["metric"].astype(object).to_numpy()
    wanted = keys["metric_type"].astype(object).map(_ANSWERS).to_numpy(dtype=object).copy()
    wanted[np.isin(metric, list(LINKS))] = None
    partner = _partner(keys, metric, wanted)
    found = partner >= 0
    chance = proportions(curves, catalog=catalog).chance
    with np.errstate(divide="ignore"):
        choices = np.where(chance > 0, 1 / chance, np.nan)
    smooth, variance = np.full((2, len(curves.x)), np.nan)
    counts, share = np.zeros((2, len(curves)), dtype=bool)
    scores, errors, n_examples = _aligned(curves, partner)
    name_of = np.full(len(keys), None, dtype=object)
    name_of[found] = metric[partner[found]]
    for name, link in LINKS.items():
        rows = name_of == name
        if rows.any():
            chosen = rows[curves.ragged.curve]
            k = choices[curves.ragged.curve][chosen]
            with np.errstate(all="ignore"):
                smooth[chosen] = link.value(scores[chosen], k)
                variance[chosen] = (link.slope(scores[chosen], k) * errors[chosen]) ** 2
            counts[rows], share[rows] = link.counts, link.share
    lost = curves.ragged.any(np.isnan(smooth) & ~np.isnan(scores))
    status = np.select(
        [~data.is_share, ~found, lost & np.isnan(choices)],
        [ForecastStatus.NOT_A_PROPORTION, ForecastStatus.NO_PAIR, ForecastStatus.NO_CHOICES],
        ForecastStatus.OK,
    )
    # A standard error of 0 says that all examples agree, not that nothing is left to chance.
    variance = np.where((variance > 0) & np.isfinite(variance), variance, np.nan)
    return Partners(
        smooth=smooth, variance=variance, n_examples=n_examples, counts=counts, share=share,
        metric=name_of, curve_of_point=curves.ragged.curve, status=status.astype(np.int8),
    )  # fmt: skip


def _partner(keys: pd.DataFrame, metric: NDArray[np.object_], wanted: NDArray[np.object_]) -> Ints:
    """Return the row of each curve's partner, -1 for none."""
    shared = [name for name in CURVE_KEY if name != "metric"]
    group = keys[[*shared, "scale"]].groupby(
        [*shared, "scale"], dropna=False, observed=True, sort=False
    ).ngroup()  # fmt: skip
    rank = {name: place for place, name in enumerate(LINKS)}
    smooth = pd.DataFrame({"group": group, "row": np.arange(len(keys)), "metric": metric})
    smooth = smooth[smooth["metric"].isin(list(LINKS))]
    smooth = smooth.assign(
        answers=smooth["metric"].map({name: link.answers for name, link in LINKS.items()}),
        rank=smooth["metric"].map(rank),
    )
    first = smooth.sort_values("rank", kind="stable").drop_duplicates(["group", "answers"])
    sharp = pd.DataFrame({"group": group, "answers": wanted})
    merged = sharp.merge(first[["group", "answers", "row"]], how="left", on=["group", "answers"])
    return merged["row"].fillna(-1).to_numpy(dtype=np.int64)


def _aligned(curves: Curves, partner: Ints) -> tuple[Floats, Floats, Floats]:
    """Return the partner's score, standard error and examples at each point's scale, or NaN."""
    curve = curves.ragged.curve
    points = pd.DataFrame({"curve": partner[curve], "x": curves.x})
    values = {"score": curves.y, "stderr": curves.stderr, "n_examples": curves.n_examples}
    scores = pd.DataFrame({"curve": curve, "x": curves.x, **values})
    merged = points.merge(scores, how="left", on=["curve", "x"])
    score, stderr, n_examples = merged[[*values]].to_numpy(dtype=np.float64).T
    return score, stderr, n_examples
