"""Check one claim: from the points of a figure to a verdict, a paragraph, a table and a figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.model_names import nominal_size
from bigbench_meta.check.paragraph import paragraph_of
from bigbench_meta.check.settle import posterior_laws, what_would_settle
from bigbench_meta.check.verdicts import (
    ANY_SIGMA,
    DECISIVE_ODDS,
    STEP_FACTOR,
    claim_verdicts,
    sigma_of,
    smallest_excluded,
)
from bigbench_meta.core.cards import Card, Carded
from bigbench_meta.core.checks import at_least
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import did_you_mean
from bigbench_meta.curves.build import build_curves
from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.smooth_curves import SmoothLaws
from bigbench_meta.inference.resolution import resolution
from bigbench_meta.inference.score import score_curves
from bigbench_meta.inference.uncertainty import curve_intervals
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.charts.figure import Figure

    Floats = NDArray[np.float64]

__all__ = ["ClaimCheck", "check_claim", "check_curve", "sizes_of"]

_DRAWS = 1999
_ROUNDING = 1e-9
_SMALLEST, _LARGEST = 1e3, 1e17  # sizes; 1.3 is one in billions
_ENDS = (0.025, 0.5, 0.975)
_MANY_EXAMPLES = 1e9  # no sampling error


@dataclass(frozen=True, kw_only=True, repr=False)
class ClaimCheck(Carded):
    """What was found of one claim.

    Attributes:
        curve: Its scores, one curve.
        numbers: What was computed of them, by name: the columns of
            :func:`bigbench_meta.claim_verdicts`, the emergence score with its interval and what it
            would be if improvement were smooth, the resolution of the test set, and the forecast of
            the largest size from the others.
        smooth: Scores that smooth improvement would give: 2.5%, 50% and 97.5% quantiles, shape
            (3, n); NaN where none can be drawn.
        jump: Scores that a loss with a step where it is likeliest would give, without variation
            between models: medians, shape (n,); NaN likewise.
        second: The same of a second metric of the same outputs, if there is one.
        verdict: ``explained``, ``sharper`` or ``undecidable``.
        reason: Why, see :data:`bigbench_meta.check.verdicts.REASONS`; ``disagree`` where one metric
            says ``explained`` and the other ``sharper``.
        factor: By how much the loss of a step falls.
        odds: Likelihood ratio that decides.
        among: Of how many curves the claim is the one that rises most sharply.
        target_length: Tokens of an answer, if known.
        sigma: Prior probability of the variation between models, from the family if it is known.
        catalog: Metric catalog; the packaged one by default.
    """

    curve: Curves
    numbers: dict[str, Any]
    smooth: Floats
    jump: Floats
    second: ClaimCheck | None = None
    verdict: str
    reason: str
    factor: float = STEP_FACTOR
    odds: float = DECISIVE_ODDS
    among: int = 1
    target_length: float | None = None
    sigma: Floats | None = None
    catalog: MetricCatalog | None = None

    @cached_property
    def paragraph(self) -> str:
        """What was claimed, whether it stands and why, in plain sentences."""
        return paragraph_of(self)

    def what_would_settle(self, *, seed: int = 0, progress: Progress = None) -> Table:
        """Return which evaluations would decide the claim.

        Args:
            seed: Seed of the simulation.
            progress: Whether to show a bar, or what to call with (work done, work); by default a
                bar in terminals and notebooks.

        Raises:
            InputError: The scores give nothing to simulate from.
        """
        found = what_would_settle(
            self.curve, factor=self.factor, odds=self.odds, among=self.among,
            target_length=self.target_length,
            sigma=ANY_SIGMA if self.sigma is None else self.sigma, seed=seed, catalog=self.catalog,
            progress=progress,
        )  # fmt: skip
        return Table(
            name="what_would_settle",
            caption="What would settle the claim: probability of the right verdict if improvement "
            f"is smooth, and if the loss falls {self.factor:g}-fold where the scores rise most. "
            "Where a million examples are not enough the number is missing.",
            frame=found,
        )

    def table(self) -> Table:
        """Return the numbers, one row a metric."""
        rows = [one.numbers for one in (self, self.second) if one]
        return Table(
            name="claim",
            caption="The numbers behind the verdict.",
            frame=pd.DataFrame(rows),
            columns=(
                "metric", "verdict", "odds_step", "odds_rise", "p_step", "emergence_score",
                "smooth_median", "smallest_detectable", "n_undetectable",
            ),
        )  # fmt: skip

    def figure(self) -> Figure:
        """Return the scores with their intervals, what smooth improvement gives, and chance."""
        from bigbench_meta.check.chart import plot_claim

        return plot_claim(self)

    def document(self) -> dict[str, Any]:
        """Return what was found as a JSON document."""
        points = self.curve.points(catalog=self.catalog)
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "paragraph": self.paragraph,
            "step_factor": self.factor,
            "odds_needed": self.odds,
            "among": self.among,
            "numbers": self.numbers,
            "points": points[["x", "score", "low", "high", "n_examples"]]
            .astype(float)
            .assign(smooth_low=self.smooth[0], smooth_high=self.smooth[2], jump=self.jump)
            .to_dict("records"),
            "second_metric": None if self.second is None else self.second.document(),
        }

    def _card(self) -> Card:
        return Card(title=f"{self.verdict}: {self.paragraph}")


def check_claim(
    sizes: Sequence[str] | ArrayLike,
    scores: ArrayLike,
    *,
    metric: str,
    n_examples: ArrayLike | None = None,
    stderr: ArrayLike | None = None,
    chance: float | None = None,
    second_metric: str | None = None,
    second_scores: ArrayLike | None = None,
    target_length: float | None = None,
    factor: float = STEP_FACTOR,
    among: int = 1,
    seed: int = 0,
    catalog: MetricCatalog | None = None,
) -> ClaimCheck:
    """Check whether the scores of models of several sizes show a jump.

    The verdict is that of :func:`bigbench_meta.claim_verdicts`: ``explained`` by smooth
    improvement, ``sharper`` than that, or ``undecidable``. Where improvement is smooth, and where
    the loss becomes ``factor`` times smaller at one size, it is wrong at most once in 20 times, on
    average over the laws that are possible.

    Args:
        sizes: Numbers of parameters, such as 1.3e9 or ``"1.3B"``, at least 2, all different.
        scores: Score of each.
        metric: Name of the metric in the catalog, such as ``exact_str_match`` or
            ``multiple_choice_grade``; others are taken for what their range and type in a catalog
            of your own say.
        n_examples: Size of the test set, a number or one a size.
        stderr: Standard errors of the scores, where there are any.
        chance: Guess rate in the unit of the scores; by default 0 for metrics without choices, and
            unknown for others.
        second_metric: A second metric of the same outputs, whose guess rate and standard errors
            are not known.
        second_scores: Its scores.
        target_length: Tokens of an answer that must all be right, if known.
        factor: By how much the loss of a step falls.
        among: Of how many curves this is the one that rises most sharply.
        seed: Seed of all resampling.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        The check.

    Raises:
        InputError: An argument is out of its range, sizes and scores do not fit together, a score
            is outside the range of the metric, or the metric is not known.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004.

    Examples:
        >>> check = check_claim(
        ...     ["0.35B", "1.3B", "6.7B", "175B"], [0.02, 0.03, 0.05, 0.86],
        ...     metric="exact_str_match", n_examples=1000,
        ... )
        >>> check.verdict
        'sharper'
    """
    if (second_metric is None) != (second_scores is None):
        raise InputError("give both second_metric and second_scores", where="second_metric")
    if second_metric == metric:
        raise InputError(f"{metric} is the first metric too", where="second_metric")
    if target_length is not None:
        at_least(target_length, 1, "target_length")
    number = sizes_of(sizes)
    each = {metric: scores} | ({second_metric: second_scores} if second_metric else {})
    known = catalog or metric_catalog()
    best = {name: _highest(name, values, known) for name, values in each.items()}[metric]
    if chance is not None and not -np.inf < chance < best:
        raise InputError(f"{chance:g} is not below the best score of {metric}", where="chance")
    if chance is not None and best == np.inf:
        raise InputError(f"{metric} has no best score, so chance cannot be given", where="chance")
    bounds = None if chance is None else (chance, best)
    frames = [_observations(number, scores, metric, n_examples, stderr, bounds)]
    if second_metric is not None:
        frames.append(_observations(number, second_scores, second_metric, n_examples, None, None))
    curves = build_curves(pd.concat(frames, ignore_index=True), catalog=catalog)
    of_metric = {str(name): row for row, name in enumerate(curves.keys["metric"])}
    return check_curve(
        curves[of_metric[metric]],
        second=curves[of_metric[second_metric]] if second_metric else None,
        target_length=target_length, factor=factor, among=among, seed=seed, catalog=catalog,
    )  # fmt: skip


def check_curve(
    curve: Curves,
    *,
    second: Curves | None = None,
    family: Curves | None = None,
    target_length: float | None = None,
    factor: float = STEP_FACTOR,
    among: int = 1,
    seed: int = 0,
    catalog: MetricCatalog | None = None,
) -> ClaimCheck:
    """Check a curve of results, as :func:`check_claim` checks numbers.

    Args:
        curve: One curve.
        second: One curve of the same outputs under a second metric.
        family: Curves of the same models on other tasks, which say how much these models vary.
        target_length: As for :func:`check_claim`.
        factor: Likewise.
        among: Likewise.
        seed: Likewise.
        catalog: Likewise.

    Raises:
        InputError: Not one curve, or an option is out of its range.
    """
    if len(curve) != 1 or (second is not None and len(second) != 1):
        raise InputError(f"{len(curve)} curves, not one", where="curve")
    odds = DECISIVE_ODDS * (1 if second is None else 2)
    asked = _Asked(
        odds=odds, factor=factor, among=among, target_length=target_length, catalog=catalog,
        sigma=None if family is None else sigma_of(family, catalog=catalog),
    )  # fmt: skip
    found = [_checked(one, asked, seed) for one in (curve, second) if one is not None]
    first, *others = found
    verdicts = {one.verdict: one.reason for one in found if one.verdict != "undecidable"}
    verdict, reason = first.verdict, first.reason
    if len(verdicts) == 1:
        ((verdict, reason),) = verdicts.items()
    elif verdicts:
        verdict, reason = "undecidable", "disagree"
    second_check = others[0] if others else None
    return replace(first, second=second_check, verdict=verdict, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is asked of a claim, see :class:`ClaimCheck`."""

    odds: float
    factor: float
    among: int
    target_length: float | None
    sigma: Floats | None
    catalog: MetricCatalog | None


def _checked(curve: Curves, asked: _Asked, seed: int) -> ClaimCheck:
    """Check the scores of one metric."""
    catalog = asked.catalog
    verdict = claim_verdicts(
        curve, factor=asked.factor, among=asked.among, odds=asked.odds, sigma=asked.sigma,
        seed=seed, catalog=catalog,
    )  # fmt: skip
    scores = score_curves(curve, catalog=catalog)
    interval = curve_intervals(curve, seed=seed, catalog=catalog, progress=False)
    test_set = resolution(curve, catalog=catalog)
    forecast = forecast_curves(curve, k="last", catalog=catalog, progress=False)
    numbers: dict[str, Any] = {str(key): value for key, value in verdict.iloc[0].items()}
    for frame, names in (
        (scores, ("emergence_score", "relative_sharpness", "n_scales", "scale")),
        (interval, ("emergence_low", "emergence_high", "interval_status")),
        (test_set, ("n_examples_min", "chance", "resolution", "smallest_detectable",
                    "n_undetectable", "n_usable")),
        (forecast, ("x", "observed", "forecast", "lower", "upper", "covered", "status")),
    ):  # fmt: skip
        row: Any = frame.iloc[0] if len(frame) else {}
        label = "forecast_" if frame is forecast else ""
        numbers |= {f"{label}{name}": row.get(name, np.nan) for name in names}
    excluded = np.nan
    if numbers["verdict"] == "explained":
        excluded = smallest_excluded(
            curve, factor=asked.factor, odds=asked.odds, sigma=asked.sigma, catalog=catalog
        )
    numbers["smallest_excluded"] = excluded
    smooth, jump, expected = _drawn(curve, asked, numbers["step_from"], seed)
    numbers = {name: _plain(value) for name, value in (numbers | expected).items()}
    return ClaimCheck(
        curve=curve, numbers=numbers, smooth=smooth, jump=jump, verdict=numbers["verdict"],
        reason=numbers["reason"], **vars(asked),
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a cell as a Python object, NaN where it is missing."""
    if pd.isna(value):
        return np.nan
    return value.item() if isinstance(value, np.generic) else value


def _drawn(
    curve: Curves, asked: _Asked, step_from: float, seed: int
) -> tuple[Floats, Floats, dict[str, float]]:
    """Return scores under both explanations, and quantiles of E if improvement were smooth."""
    names = ("smooth_low", "smooth_median", "smooth_high")
    inputs, n = null_inputs(curve, catalog=asked.catalog), len(curve.y)
    laws = SmoothLaws.fit(inputs, alpha_range=ALPHA_RANGE)
    if not len(laws.curves) or np.isnan(step_from):
        return np.full((3, n), np.nan), np.full(n, np.nan), dict.fromkeys(names, np.nan)
    probability, sigma = laws.probabilities("curve"), ANY_SIGMA
    if asked.sigma is not None:
        probability, sigma = laws.given_sigma() * asked.sigma[laws.sigma], asked.sigma
    rng = np.random.default_rng(seed)
    drawn = laws.draw(0, probability / probability.sum(), _DRAWS, rng)
    up = bool(curve.keys["higher_is_better"].iloc[0])
    found = score_ragged((drawn if up else -drawn).ravel(), np.arange(_DRAWS + 1) * n)
    ends = np.nanquantile(found.emergence_score, _ENDS, method="inverted_cdf")
    place = int(np.flatnonzero(curve.x == step_from)[0])
    step = float(np.log(asked.factor))
    stepped = posterior_laws(inputs, curve, step, place, sigma)
    alike = replace(stepped, sigma=np.zeros_like(stepped.sigma))
    fall = np.where(np.arange(n) > place, step / 2, -step / 2)
    jump = np.median(alike.scores(curve.x, _MANY_EXAMPLES, fall, _DRAWS, rng), axis=0)
    quantiles: Floats = np.quantile(drawn, _ENDS, axis=0)
    return quantiles, jump, dict(zip(names, ends.tolist(), strict=True))


def sizes_of(sizes: Sequence[str] | ArrayLike) -> Floats:
    """Return sizes of models as numbers of parameters.

    Args:
        sizes: Numbers, or texts such as ``1.3B``.

    Raises:
        InputError: One is no size, or there twice.

    Examples:
        >>> sizes_of(["350M", "1.3B", 7e9])
        array([3.5e+08, 1.3e+09, 7.0e+09])
    """
    found = []
    for size in np.asarray(sizes, dtype=object).ravel().tolist():
        value = nominal_size(size.strip()) if isinstance(size, str) else size
        try:
            number = float(size if value is None else value)
        except (TypeError, ValueError):
            number = np.nan
        if not _SMALLEST <= number <= _LARGEST:
            raise InputError(
                f"{size!r} is not a model size", where="sizes", hint="such as 1.3e9 or 1.3B"
            )
        found.append(number)
    if len(set(found)) < len(found):
        raise InputError("a size is given twice", where="sizes")
    return np.array(found)


def _highest(metric: str, scores: Any, catalog: MetricCatalog) -> float:
    """Return the highest score of a metric that is known and can have these; infinite if none."""
    entry = catalog.lookup(
        pd.DataFrame({"benchmark": ["claim"], "task": ["claim"], "metric": [metric]})
    ).iloc[0]
    names = catalog.entries["metric"].tolist()
    if entry["metric_type"] == "unknown":
        such = "such as exact_str_match or multiple_choice_grade"
        if metric in names:
            raise InputError(
                f"the name {metric!r} does not say how answers are scored", where="metric",
                hint=such,
            )  # fmt: skip
        raise InputError(
            f"no metric {metric!r} in the catalog", where="metric",
            hint=did_you_mean(metric, names) or such,
        )  # fmt: skip
    low, high = float(entry["low"]), float(entry["high"])
    value = np.asarray(scores, dtype=float)
    if (outside := (value < low - _ROUNDING) | (value > high + _ROUNDING)).any():
        limit = f"below {low:g}" if value[outside][0] < low else f"above {high:g}"
        raise InputError(
            f"{value[outside][0]:g} is {limit}, and no score of {metric}", where="score",
            hint="a proportion, not a percentage" if high == 1 else None,
        )  # fmt: skip
    return np.inf if np.isnan(high) else high


def _observations(
    sizes: Floats,
    scores: Any,
    metric: str,
    n_examples: Any,
    stderr: Any,
    bounds: tuple[float, float] | None,
) -> pd.DataFrame:
    columns = {"score": scores, "n_examples": n_examples, "stderr": stderr}
    arrays = {}
    for name, values in columns.items():
        if values is None:
            continue
        array = np.asarray(values, dtype=float).ravel()
        if array.size not in {1, len(sizes)} or (name == "score" and array.size != len(sizes)):
            raise InputError(f"{array.size} values for {len(sizes)} sizes", where=name)
        arrays[name] = np.broadcast_to(array, len(sizes))
    if not np.isfinite(arrays["score"]).all():
        raise InputError("a score is not a number", where="score")
    if "n_examples" in arrays:
        at_least(arrays["n_examples"], 1, "n_examples")
    frame = pd.DataFrame(
        {"benchmark": "claim", "task": "claim", "metric": metric, "model_family": "models",
         "model_name": [f"{size:g}" for size in sizes], "total_params": np.rint(sizes), **arrays}
    )  # fmt: skip
    return frame if bounds is None else frame.assign(low_score=bounds[0], high_score=bounds[1])
