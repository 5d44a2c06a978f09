r"""Which threshold, subset size or choice of model sizes makes a curve look emergent.

Section 5 of the paper induces emergence on purpose: it scores reconstructions by whether their
error is below a threshold c, and classifications by whether all of K are right. Here every such
choice is tried on given results: how sharp the sharpest curve is, and how many choices are as good.
A choice is made after the fact, so its sharpness is also given on examples that had no part in it.
``docs/induced_emergence.md`` shows what comes out.

References:
    Schaeffer, Miranda & Koyejo (2023), "Are Emergent Abilities of Large Language Models a Mirage?",
    arXiv 2304.15004, sec. 5, Figs. 7, 8 and 11 (10 in arXiv's second version).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.aggregate.metric_change import samples_of_curves
from bigbench_meta.core.checks import one_of, seed_number, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.curves.emergence import MIN_SCALES, score_ragged
from bigbench_meta.curves.proportions import Proportions, proportions
from bigbench_meta.inference.score import score_curves
from bigbench_meta.inference.uncertainty import CLUSTER, CurveExamples, examples_of_curves
from bigbench_meta.metrics.repeated import subset_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.inference.chunks import Samples
    from bigbench_meta.metrics.texts import Tokenizer

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    _Table = dict[str, Any]
    Bools = NDArray[np.bool_]

__all__ = [
    "CHOICES", "InduceOptions", "Induced", "induced_emergence", "induced_sentences", "kept_sizes",
    "shares_reaching",
]  # fmt: skip

CHOICES: Final = ("threshold", "subset size", "sizes kept")
"""What can be chosen, in the order in which it is shown."""

THRESHOLD, SUBSET_SIZE, SIZES_KEPT = CHOICES

_TRIED: Final = (
    "choice", "value", "quantile", "share", "n_scales", "n_ways", "n_tried", "emergence_score",
    "sharpness", "median_sharpness", "share_flagged", "share_above", "induced_metric", "models",
)  # fmt: skip
_LARGEST: Final = (
    "choice", "basis", "n_examples", "n_left_out", "n_scales", "emergence_score", "sharpness",
    "above", "value", "quantile", "induced_metric", "models", "induced_n_scales",
    "induced_emergence_score", "induced_sharpness", "share_flagged", "share_above", "above_from",
    "above_to", "n_ways", "n_tried", "chosen_sharpness", "held_out_sharpness", "n_halves",
    "reason",
)  # fmt: skip
# Scores are published with three digits or more.
_ROUNDED: Final = 5e-4
_MOST_SHOWN: Final = 10_000
_LEAST_SHOWN: Final = 1e-3
_ALL_OR_NOTHING: Final = ("discontinuous", "nonlinear")


@dataclass(frozen=True, kw_only=True)
class InduceOptions:
    """What is tried.

    Attributes:
        choices: Which of :data:`CHOICES`.
        n_thresholds: Thresholds at most. All distinct scores of examples are tried, or if there are
            more, so many of their quantiles.
        largest_subset: Largest K.
        keep_ends: Whether every choice of sizes keeps the smallest and the largest model, so that
            only the density of the scale axis changes and not its range.
        most_subsets: Choices of m sizes at most. All are tried, or if there are more, so many that
            are drawn at random.
        n_splits: How often the examples are halved at random; each half chooses once for the other.
    """

    choices: tuple[str, ...] = CHOICES
    n_thresholds: int = 500
    largest_subset: int = 32
    keep_ends: bool = True
    most_subsets: int = 25_000
    n_splits: int = 10

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: A field is out of its range.
        """
        for name in self.choices:
            one_of(name, CHOICES, "choices")
        least = {"n_thresholds": 2, "largest_subset": 1, "most_subsets": 1, "n_splits": 0}
        for name, lowest in least.items():
            whole(getattr(self, name), lowest, name)


@dataclass(frozen=True, kw_only=True)
class Induced:
    """What choices lead to.

    Attributes:
        tried: One row per curve, choice and value: ``curve`` (its number) and the key columns;
            ``choice``, one of :data:`CHOICES`; ``value`` (threshold c, subset size K, number m of
            sizes kept);
            ``quantile`` of a threshold, the share of the answers of all models together that miss
            it; ``share`` of the range of choices that the value stands for; ``n_scales``;
            ``n_ways`` (ways to keep m sizes, else 1) and ``n_tried`` of them; of the sharpest way
            ``emergence_score``, ``sharpness`` and ``models``; ``median_sharpness`` over the ways;
            ``share_flagged`` (E above the threshold) and ``share_above`` (sharpness above the cut);
            ``induced_metric``, as :func:`bigbench_meta.rescore` names it.
        largest: One row per curve and choice: ``curve``, the key columns, ``choice``, ``basis``
            (``examples``, ``counts`` of right answers, ``scores`` alone), ``n_examples``,
            ``n_left_out`` (examples
            that not all models answered); ``emergence_score``, ``sharpness`` and ``above`` (the
            cut) of the curve as it is, with ``n_scales``; of the sharpest choice ``value``,
            ``quantile``, ``induced_metric``, ``models``, ``induced_n_scales``,
            ``induced_emergence_score``, ``induced_sharpness``; how wide the choice is:
            ``share_flagged``, ``share_above``, and the lowest and highest value above the cut,
            ``above_from`` and ``above_to``; ``n_ways`` and ``n_tried`` in all;
            ``chosen_sharpness`` and ``held_out_sharpness``, medians over ``n_halves`` halves of the
            examples: on the half that chose, and of its choice on the other half; ``reason`` where
            nothing could be tried.

    Sharpness is E / (n - 1) with a median step of at least the resolution, where that is known: the
    most that one example can change the score.
    """

    tried: pd.DataFrame
    largest: pd.DataFrame


def induced_emergence(
    observations: pd.DataFrame | pa.Table | Curves,
    *,
    samples: Samples | None = None,
    tokens: str | Tokenizer = "characters",
    options: InduceOptions | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    cut: float | None = None,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
    scale: str | None = None,
    catalog: MetricCatalog | None = None,
    progress: Progress = None,
) -> Induced:
    """Try every threshold, subset size and choice of model sizes on curves.

    A **threshold** c turns graded scores of single examples into the share of them that are at
    least as good as c. A **subset size** K turns right and wrong answers into the chance that K
    examples, drawn without replacement, are all right: by the examples of each cluster where
    ``samples`` has such a column, from the count of right answers where only a score and its number
    of examples are known, and p^K where that is no whole number.
    **Sizes kept** leaves out models.

    Args:
        observations: Observations table, or curves.
        samples: Samples table of the same results. Thresholds need it. Scores of single examples
            that it lacks are computed from outputs and targets.
        tokens: How texts are split for these, see :func:`bigbench_meta.rescore`.
        options: What is tried.
        threshold: A curve is flagged above this emergence score.
        cut: Sharpness that counts as emergent; by default threshold / (n - 1).
        seed: Seed or generator, of the halves and of choices drawn at random.
        min_scales: Curves with fewer points have no score.
        scale: Scale axis, see :func:`bigbench_meta.build_curves`; not with curves.
        catalog: Metric catalog; the packaged one by default.
        progress: Whether to show a bar, or what to call with (curves done, curves); by
            default a bar in terminals and notebooks.

    Returns:
        All that was tried, and of each curve and choice the sharpest with its width.

    Raises:
        InputError: An option is out of its range.
        SchemaError: ``observations`` or ``samples`` are no such table.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 5.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> accuracy = [0.19, 0.35, 0.52, 0.78, 0.83, 0.87, 0.9, 0.96]
        >>> found = induced_emergence(pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "model_family": "f", "metric": "exact_str_match",
        ...     "model_name": list("abcdefgh"), "total_params": range(1, 9), "score": accuracy,
        ... }), options=InduceOptions(choices=("subset size",)))
        >>> row = found.largest.iloc[0]
        >>> print(row.induced_metric, row.sharpness.round(2), row.induced_sharpness.round(2))
        subset_accuracy_32 1.83 17.42
    """
    for name, value in (("threshold", threshold), ("cut", cut)):
        if value is not None and not value > 0:
            raise InputError(f"{value!r} is not a positive number", where=name)
    plan = options or InduceOptions()
    curves = observations
    if not isinstance(curves, Curves):
        curves = build_curves(curves, scale=scale, catalog=catalog)
    scores = score_curves(curves, min_scales=min_scales)
    answered = _Answered.of(curves, samples, tokens)
    shares = proportions(curves, catalog=catalog)
    criterion = _Criterion(threshold=threshold, cut=cut, min_scales=min_scales)
    number = seed_number(seed)
    tried: list[_Table] = []
    largest: list[dict[str, Any]] = []
    with progress_bar("Trying", progress) as report:
        for row in range(len(curves)):
            curve = _Curve(
                curves=curves, row=row, as_it_is=scores.iloc[row], shares=shares,
                examples=answered.examples.get(row), groups=answered.groups, plan=plan, seed=number,
            )  # fmt: skip
            for choice in (name for name in CHOICES if name in plan.choices):
                table, found = _of_choice(curve, choice, criterion)
                n = len(table["value"]) if table else 0
                tried.append(
                    table | {"curve": np.full(n, row), "choice": np.full(n, choice, object)}
                )
                largest.append(found | {"curve": row, "choice": choice})
            if report:
                report(row + 1, len(curves))
    columns = ("curve", *_TRIED)
    none = np.empty(0)
    every = pd.DataFrame(
        {name: np.concatenate([none, *(table.get(name, none) for table in tried)])
         for name in columns}
    ).astype({"n_scales": int, "n_tried": int})  # fmt: skip
    return Induced(
        tried=_with_keys(curves, every, _TRIED),
        largest=_with_keys(curves, pd.DataFrame(largest, columns=["curve", *_LARGEST]), _LARGEST),
    )


def _with_keys(curves: Curves, rows: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return rows with the numbers and the keys of their curves in front."""
    of_curve = rows["curve"].to_numpy(dtype=np.int64)
    keys = curves.keys[[*CURVE_KEY, "scale"]].iloc[of_curve].reset_index(drop=True)
    keys.insert(0, "curve", of_curve)
    return keys.join(rows[[*columns]].reset_index(drop=True))


def shares_reaching(
    scores: ArrayLike, thresholds: ArrayLike, *, weights: ArrayLike | None = None
) -> Floats:
    """Return the share of examples that reach each threshold, for each model.

    Args:
        scores: Scores of examples, shape (examples, models), up is better.
        thresholds: Ascending thresholds, shape (v,); reaching one counts.
        weights: How often each example counts, shape (r, examples), in r test sets.

    Returns:
        Shares of shape (v, models), or (r, v, models) with weights.

    Examples:
        >>> shares_reaching([[0.1], [0.4], [0.4]], [0.1, 0.2, 0.4, 0.5])[:, 0].round(2)
        array([1.  , 0.67, 0.67, 0.  ])
    """
    y, at = np.asarray(scores, np.float64), np.asarray(thresholds, np.float64)
    each = np.ones((1, len(y))) if weights is None else np.asarray(weights, np.float64)
    found = np.empty((len(each), len(at), y.shape[1]))
    for model, own in enumerate(y.T):
        reached = np.searchsorted(at, own, side="right")  # thresholds that an example reaches
        for test_set, weight in enumerate(each):
            count = np.bincount(reached, weight, len(at) + 1)[::-1].cumsum()[::-1][1:]
            found[test_set, :, model] = count / weight.sum()
    return found[0] if weights is None else found


def kept_sizes(
    y: ArrayLike,
    *,
    resolution: float = np.nan,
    threshold: float = DEFAULT_THRESHOLD,
    cut: float | None = None,
    options: InduceOptions | None = None,
    seed: int | np.random.Generator = 0,
    min_scales: int = MIN_SCALES,
) -> pd.DataFrame:
    """Return the emergence score of one curve against the number of sizes kept.

    E itself grows with the number of sizes: a straight line over m sizes has m - 1, and no curve
    that never falls has less than about m / 2. Compare by sharpness, E / (m - 1).

    Args:
        y: Scores by ascending scale, shape (n,), up is better.
        resolution: Least step that counts, NaN for none.
        threshold: A curve is flagged above this emergence score.
        cut: Sharpness that counts as emergent; by default threshold / (m - 1).
        options: What is tried.
        seed: Seed or generator of choices drawn at random.
        min_scales: Fewest sizes kept.

    Returns:
        One row for each m, from ``min_scales`` to n: ``value`` (m), ``n_ways`` to keep so many,
        ``n_tried`` of them; of the sharpest ``emergence_score``, ``sharpness`` and ``places`` (a
        tuple of positions); ``median_score``, ``median_sharpness``, ``share_flagged``,
        ``share_above`` over all tried.

    Raises:
        InputError: ``y`` is not a curve of finite numbers.

    Examples:
        >>> table = kept_sizes([0, 0.01, 0.1, 0.4, 0.7, 1.0])
        >>> row = table[table.value == 4].iloc[0]
        >>> print(row.n_ways, row.places, row.emergence_score.round(1), row.median_score.round(1))
        6.0 (0, 1, 2, 5) 11.1 3.3
    """
    values = np.asarray(y, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError("not a curve of finite numbers, shape (n,)", where="y")
    criterion = _Criterion(threshold=threshold, cut=cut, min_scales=min_scales)
    ways = _ways(len(values), options or InduceOptions(), seed_number(seed), min_scales)
    table = pd.DataFrame(_table_of_sizes(values, resolution, ways, criterion))
    return table.astype(dict.fromkeys(("value", "n_tried"), int))


# The sharpness of many curves at once --------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Criterion:
    """What counts as emergent."""

    threshold: float
    cut: float | None
    min_scales: int

    def above(self, sharpness: Floats, n: int) -> Bools:
        """Return which sharpnesses of curves of n points are above the cut."""
        cut = self.threshold / max(n - 1, 1) if self.cut is None else self.cut
        return np.asarray((sharpness > cut) | (sharpness == np.inf))

    def flags(self, score: Floats) -> Bools:
        """Return which emergence scores are flagged."""
        return np.asarray((score > self.threshold) | (score == np.inf))

    def scored(self, y: Floats, resolution: float | Floats) -> tuple[Floats, Floats]:
        """Return E and sharpness of curves of shape (..., n), NaN where they have none."""
        *shape, n = y.shape
        rows = y.reshape(-1, n)
        least = np.broadcast_to(resolution, shape).ravel()
        known = np.isfinite(rows).all(axis=1)
        found = score_ragged(
            rows[known].ravel(), np.arange(known.sum() + 1) * n, resolution=least[known],
            min_scales=self.min_scales,
        )  # fmt: skip
        score, sharpness = (np.full(len(rows), np.nan) for _ in range(2))
        score[known] = found.emergence_score
        limited = np.where(
            np.isnan(least[known]), found.emergence_score, found.resolution_limited_score
        )
        sharpness[known] = limited / max(n - 1, 1)
        return score.reshape(shape), sharpness.reshape(shape)


def _held_out(sharpness: Floats) -> tuple[float, float, int]:
    """Return the median sharpness on halves that chose, and of their choices on the other half.

    Args:
        sharpness: Of every choice on every half, shape (halves, choices); the halves of one split
            are neighbours.
    """
    usable = np.flatnonzero(~np.isnan(sharpness).all(axis=1))
    if not len(usable):
        return np.nan, np.nan, 0
    best = np.nanargmax(sharpness[usable], axis=1)
    other = sharpness[usable ^ 1, best]
    # A curve that is constant on the other half has a range of 0.
    other = np.where(np.isnan(other), 0.0, other)
    return _median(sharpness[usable, best]), _median(other), len(usable)


def _median(values: Floats) -> float:
    """Return the (lower) median, which may be infinite, of what is not NaN."""
    known = np.sort(values[~np.isnan(values)])
    return float(known[(len(known) - 1) // 2]) if len(known) else np.nan


# One curve -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """The examples of curves, and the group of each example where samples state one.

    Groups are keyed by benchmark, subtask and example.
    """

    examples: dict[int, CurveExamples]
    groups: dict[tuple[str, str, str], str]

    @classmethod
    def of(cls, curves: Curves, samples: Samples | None, tokens: str | Tokenizer) -> _Answered:
        if samples is None:
            return cls(examples={}, groups={})
        frame = samples_of_curves(samples, curves, tokens)
        if not isinstance(frame, pd.DataFrame):  # a store knows of no groups
            return cls(examples=examples_of_curves(curves, frame), groups={})
        groups: dict[tuple[str, str, str], str] = {}
        if CLUSTER in frame:
            task = frame["task"].astype(str)
            subtask = frame["subtask"].astype(object).fillna(task) if "subtask" in frame else task
            keys = (frame["benchmark"], subtask, frame["example_id"])
            keys_of = zip(*(key.astype(str) for key in keys), strict=True)
            groups = dict(zip(keys_of, frame[CLUSTER].astype(str), strict=True))
        single = frame.drop(columns=CLUSTER, errors="ignore")
        return cls(examples=examples_of_curves(curves, single), groups=groups)


class _Values(NamedTuple):
    """The curves that the values of one choice lead to, v of them over n models.

    ``halves`` are the same on halves of the examples, shape (halves, v, n), and ``least`` and
    ``least_halves`` the resolutions of both.
    """

    value: Floats
    quantile: Floats
    share: Floats
    y: Floats
    least: Floats
    halves: Floats
    least_halves: Floats
    names: list[str]
    basis: str
    n_examples: float
    n_left_out: int


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One curve, with all that choices need of it."""

    curves: Curves
    row: int
    as_it_is: pd.Series[Any]
    shares: Proportions
    examples: CurveExamples | None
    groups: dict[tuple[str, str, str], str]
    plan: InduceOptions
    seed: int

    @property
    def points(self) -> slice:
        return slice(*self.curves.offsets[self.row : self.row + 2].tolist())

    @property
    def metric(self) -> str:
        return str(self.curves.keys["metric"].iloc[self.row])

    @property
    def rises(self) -> bool:
        return bool(self.curves.keys["higher_is_better"].iloc[self.row])

    def common(self) -> tuple[Floats, Ints, int]:
        """Return the scores of examples that all models answered, their groups, how many others.

        Scores have shape (examples, models) and up is better; an example that a model answered
        several times has its mean score. Without stated groups all have the number 0.
        """
        if self.examples is None:
            return np.empty((0, 0)), np.empty(0, np.int64), 0
        kept = (self.examples.count > 0).all(axis=1)
        scores = self.examples.total[kept] / self.examples.count[kept]
        names = self.examples.names[kept]
        group = np.zeros(len(scores), dtype=np.int64)
        if self.groups:
            key = self.curves.keys.iloc[self.row]
            of = [self.groups[str(key["benchmark"]), str(key["subtask"]), str(n)] for n in names]
            group, _ = pd.factorize(np.array(of, dtype=object))
        return scores if self.rises else -scores, group, int((~kept).sum())

    def halves(self, group: Ints) -> Floats:
        """Return which examples each half has, shape (halves, examples); groups stay together."""
        several = group.max(initial=0) > 0
        unit = group if several else np.arange(len(group))
        n = int(unit.max(initial=-1)) + 1
        rng = np.random.default_rng([self.seed, self.row])
        first = [
            np.isin(unit, rng.permutation(n)[: n // 2])
            for _ in range(self.plan.n_splits if n >= 4 else 0)
        ]
        pairs = [half for chosen in first for half in (chosen, ~chosen)]
        return np.array(pairs, dtype=np.float64).reshape(-1, len(group))


def _of_choice(curve: _Curve, choice: str, criterion: _Criterion) -> tuple[_Table, dict[str, Any]]:
    """Return what was tried, and the one row of the sharpest."""
    one = curve.as_it_is
    n, score = int(one["n_scales"]), float(one["emergence_score"])
    limited = float(one["resolution_limited_score"])
    sharpness = (score if np.isnan(limited) else limited) / max(n - 1, 1)
    base = {
        "n_scales": n, "emergence_score": score, "sharpness": sharpness,
        "above": bool(criterion.above(np.array(sharpness), n)), "n_halves": 0,
    }  # fmt: skip
    if reason := _inapplicable(curve, choice, criterion.min_scales):
        return {}, base | {"reason": reason}
    table, halves, basis = (
        _sizes(curve, criterion) if choice == SIZES_KEPT else _values(curve, choice, criterion)
    )
    chosen, held_out, n_halves = _held_out(halves)
    above = table["value"][table["share_above"] > 0]
    best = int(np.where(np.isnan(table["sharpness"]), -np.inf, table["sharpness"]).argmax())
    same = ("value", "quantile", "induced_metric", "models")
    of_best = ("n_scales", "emergence_score", "sharpness")
    return table, base | basis | {
        **{name: table[name][best] for name in same},
        **{f"induced_{name}": table[name][best] for name in of_best},
        **{
            name: float((table["share"] * table[name]).sum())
            for name in ("share_flagged", "share_above")
        },
        "above_from": above.min() if len(above) else np.nan,
        "above_to": above.max() if len(above) else np.nan,
        "n_ways": float(table["n_ways"].sum()), "n_tried": int(table["n_tried"].sum()),
        "chosen_sharpness": chosen, "held_out_sharpness": held_out, "n_halves": n_halves,
        "reason": "constant under every choice" if np.isnan(table["sharpness"]).all() else "",
    }  # fmt: skip


def _inapplicable(curve: _Curve, choice: str, min_scales: int) -> str:
    """Return why a choice cannot be tried on a curve, empty if it can."""
    n = int(curve.as_it_is["n_scales"])
    if n < min_scales:
        return f"fewer than {min_scales} model sizes"
    if choice == SIZES_KEPT:
        return "" if n > max(min_scales, 3) else "too few model sizes to leave any out"
    if choice == THRESHOLD:
        if curve.examples is None:
            return "needs scores of single examples, which agree with the curve"
        scores, _, _ = curve.common()
        if len(scores) < 2:
            return "no two examples that all models answered"
        return "" if len(np.unique(scores)) > 2 else "scores of examples are not graded"
    if not curve.rises:
        return "lower is better: no score of right answers"
    if curve.examples is not None:
        levels = set(np.unique(curve.common()[0]).tolist())
        right_or_wrong = 0 < len(levels) <= 2 and levels <= {0.0, 1.0, 100.0}
        return "" if right_or_wrong else "scores of examples are graded"
    kind = str(curve.curves.keys["metric_type"].iloc[curve.row])
    if curve.shares.problem[curve.row] or kind not in _ALL_OR_NOTHING:
        return "not a share of right answers"
    return ""


# Thresholds and subset sizes -----------------------------------------------------------------


def _values(
    curve: _Curve, choice: str, criterion: _Criterion
) -> tuple[_Table, Floats, dict[str, Any]]:
    """Return the table of a choice, its sharpness on halves, and what it rests on."""
    made = _thresholds(curve) if choice == THRESHOLD else _subset_sizes(curve)
    score, sharpness = criterion.scored(made.y, made.least)
    _, halves = criterion.scored(made.halves, made.least_halves)
    n = made.y.shape[1]
    ones = np.ones(len(score))
    table = {
        "value": made.value, "quantile": made.quantile, "share": made.share,
        "n_scales": ones * n, "n_ways": ones, "n_tried": ones, "emergence_score": score,
        "sharpness": sharpness, "median_sharpness": sharpness,
        "share_flagged": criterion.flags(score).astype(float),
        "share_above": criterion.above(sharpness, n).astype(float),
        "induced_metric": np.array(made.names, object), "models": np.full(len(score), "", object),
    }  # fmt: skip
    more = {
        "basis": made.basis, "n_examples": made.n_examples, "n_left_out": made.n_left_out,
    }  # fmt: skip
    return table, halves, more


def _thresholds(curve: _Curve) -> _Values:
    """Return the share of examples that reach each threshold."""
    scores, group, n_left_out = curve.common()
    every = np.sort(scores, axis=None)
    levels = np.unique(every)
    if len(levels) > (most := curve.plan.n_thresholds):
        at = np.arange(1, most + 1) / most
        levels = np.unique(np.quantile(every, at, method="inverted_cdf"))
    up_to = np.searchsorted(every, levels, side="right") / len(every)
    halves = curve.halves(group)
    own, relation = (levels, ">=") if curve.rises else (-levels, "<=")
    own = own + 0.0  # no negative zero
    return _Values(
        value=own,
        quantile=np.searchsorted(every, levels, side="left") / len(every),
        share=np.diff(up_to, prepend=0.0),
        y=shares_reaching(scores, levels),
        least=np.full(len(levels), 1 / len(scores)),
        halves=shares_reaching(scores, levels, weights=halves),
        least_halves=np.repeat(1 / halves.sum(axis=1)[:, None], len(levels), axis=1),
        names=[f"{curve.metric}{relation}{c!r}" for c in own.tolist()],
        basis="examples",
        n_examples=len(scores),
        n_left_out=n_left_out,
    )


def _subset_sizes(curve: _Curve) -> _Values:
    """Return the chance that K examples are all right, for each K."""
    if curve.examples is None:
        return _subset_sizes_of_scores(curve)
    scores, group, n_left_out = curve.common()
    answers = (scores > 0).astype(np.float64)
    member = (group[:, None] == np.arange(group.max() + 1)).astype(np.float64)
    sizes = np.arange(1, min(curve.plan.largest_subset, int(member.sum(axis=0).max())) + 1)
    y, least = _all_of(*_in_groups(member, answers), sizes)
    y_halves, least_halves = np.empty((0, *y.shape)), np.empty((0, len(sizes)))
    if len(halves := curve.halves(group)):
        pieces = [_all_of(*_in_groups(member * own[:, None], answers), sizes) for own in halves]
        y_halves, least_halves = (np.stack(part) for part in zip(*pieces, strict=True))
    return _Values(
        **_of_sizes(sizes), y=y, least=least, halves=y_halves, least_halves=least_halves,
        basis="examples", n_examples=len(scores), n_left_out=n_left_out,
    )  # fmt: skip


def _subset_sizes_of_scores(curve: _Curve) -> _Values:
    """Return the same from counts of right answers, or from the scores where these are not."""
    p = curve.shares.proportion[curve.points]
    n = curve.shares.n_examples[curve.points]
    count = np.rint(p * n)
    fewest = float(n.min())  # NaN if any is not known
    sizes = np.arange(1, int(np.fmin(curve.plan.largest_subset, fewest)) + 1)
    with np.errstate(invalid="ignore"):
        counted = bool(np.all(np.abs(count / n - p) <= _ROUNDED))
    if counted:
        y, least = _all_of(count[None], n[None], sizes)
    else:
        y, least = p ** sizes[:, None], sizes / fewest
    return _Values(
        **_of_sizes(sizes), y=y, least=least, halves=np.empty((0, *y.shape)),
        least_halves=np.empty((0, len(sizes))), basis="counts" if counted else "scores",
        n_examples=fewest, n_left_out=0,
    )  # fmt: skip


def _of_sizes(sizes: Ints) -> dict[str, Any]:
    return {
        "value": sizes.astype(np.float64), "quantile": np.full(len(sizes), np.nan),
        "share": np.full(len(sizes), 1 / len(sizes)),
        "names": [f"subset_accuracy_{k}" for k in sizes],
    }  # fmt: skip


def _in_groups(member: Floats, answers: Floats) -> tuple[Floats, Floats]:
    """Return right answers and all answers of each group, shape (groups, models)."""
    return member.T @ answers, member.T @ np.ones_like(answers)


def _all_of(right: Floats, total: Floats, sizes: Ints) -> tuple[Floats, Floats]:
    """Return the chance that all of K are right, shape (K, models), and its resolution, (K,).

    It is the mean over groups that have K examples; one example changes it by at most K / n of its
    group.

    Args:
        right: Right answers of each group, shape (groups, models).
        total: All answers.
        sizes: The K.
    """
    y, least = [], []
    for k in sizes.tolist():
        large = (total >= k).all(axis=1)
        if not large.any():
            y.append(np.full(right.shape[1], np.nan))
            least.append(np.nan)
            continue
        y.append(subset_accuracy(right[large], total[large], k).mean(axis=0))
        least.append(k / total[large].min() / large.sum())
    return np.array(y), np.array(least)


# Sizes kept ----------------------------------------------------------------------------------


def _sizes(curve: _Curve, criterion: _Criterion) -> tuple[_Table, Floats, dict[str, Any]]:
    """Return the table by number of sizes kept, sharpness on halves, and what it rests on."""
    y = curve.curves.oriented[curve.points]
    resolution = float(curve.as_it_is["resolution"])
    ways = _ways(len(y), curve.plan, curve.seed, criterion.min_scales)
    names = np.asarray(curve.curves.model_name[curve.points])
    table = _table_of_sizes(y, resolution, ways, criterion)
    kept = [", ".join(map(str, names[[*places]])) for places in table["places"]]
    m = table["value"]
    table |= {
        "quantile": np.full(len(m), np.nan), "share": table["n_ways"] / table["n_ways"].sum(),
        "n_scales": m, "induced_metric": np.full(len(m), curve.metric, object),
        "models": np.array(kept, object),
    }  # fmt: skip
    scores, group, n_left_out = curve.common()
    n_examples = len(scores) or curve.as_it_is["n_examples_min"]
    more = {
        "basis": "examples" if len(scores) else "scores",
        "n_examples": np.nan if pd.isna(n_examples) else float(n_examples),
        "n_left_out": n_left_out,
    }  # fmt: skip
    if not len(scores):
        return table, np.empty((0, 0)), more
    halves = curve.halves(group)
    size = halves.sum(axis=1, keepdims=True)
    means, least = halves @ scores / size, resolution * len(scores) / size
    found = [
        np.concatenate([criterion.scored(mean[places], limit[0])[1] for places, _ in ways])
        for mean, limit in zip(means, least, strict=True)
    ]
    return table, np.array(found), more


def _table_of_sizes(
    y: Floats, resolution: float, ways: Sequence[_Ways], criterion: _Criterion
) -> _Table:
    """Return one row for each number of sizes kept, see :func:`kept_sizes`."""
    rows = []
    for places, n_ways in ways:
        m = places.shape[1]
        score, sharpness = criterion.scored(y[places], resolution)
        best = int(np.where(np.isnan(sharpness), -np.inf, sharpness).argmax())
        rows.append(
            {
                "value": float(m), "n_ways": n_ways, "n_tried": len(places),
                "emergence_score": score[best], "sharpness": sharpness[best],
                "median_score": _median(score), "median_sharpness": _median(sharpness),
                "share_flagged": float(criterion.flags(score).mean()),
                "share_above": float(criterion.above(sharpness, m).mean()),
                "places": tuple(places[best].tolist()),
            }
        )  # fmt: skip
    places_kept = np.empty(len(rows), dtype=object)
    places_kept[:] = [row.pop("places") for row in rows]
    numbers = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}
    return {**numbers, "places": places_kept}


class _Ways(NamedTuple):
    """Ways to keep m sizes: their positions, shape (tried, m), and how many ways there are."""

    places: Ints
    n_ways: int


def _ways(n: int, plan: InduceOptions, seed: int, min_scales: int) -> list[_Ways]:
    """Return the ways to keep m of n sizes, for each m."""
    return [
        _ways_to_keep(n, m, plan.keep_ends, plan.most_subsets, seed)
        for m in range(min(max(min_scales, 2), n), n + 1)
    ]


@lru_cache(maxsize=256)
def _ways_to_keep(n: int, m: int, keep_ends: bool, most: int, seed: int) -> _Ways:
    free, chosen = (n - 2, m - 2) if keep_ends else (n, m)
    n_ways = comb(free, chosen)
    if n_ways <= most:
        inner = np.array([*combinations(range(free), chosen)], np.int64).reshape(n_ways, chosen)
    else:
        order = np.random.default_rng([seed, n, m]).random((most, free)).argsort(axis=1)
        inner = np.unique(np.sort(order[:, :chosen], axis=1), axis=0)
    if keep_ends:
        ends = np.zeros((len(inner), 1), dtype=np.int64)
        inner = np.hstack([ends, inner + 1, ends + n - 1])
    inner.flags.writeable = False
    return _Ways(inner, n_ways)


# Summary -------------------------------------------------------------------------------------


def induced_sentences(largest: pd.DataFrame) -> list[str]:
    """Return what each kind of choice leads to, a few sentences a kind.

    Args:
        largest: That of :class:`Induced`.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> curves = build_curves(load_embedded("paper"))
        >>> lenet = curves[(curves.keys.task == "MNIST LeNet")
        ...                       & (curves.keys.metric == "accuracy")]
        >>> found = induced_emergence(lenet, options=InduceOptions(choices=("subset size",)))
        >>> print(*induced_sentences(found.largest))
        All of K right: 0 of 1 curve is above the cut at some K, 0 without any such choice. The \
sharpest is MNIST LeNet with K = 1: E/(n-1) = 2.2, against 2.2 for the unchanged curve.
    """
    return [
        _sentence(choice, rows)
        for choice in CHOICES
        if len(rows := largest[largest["choice"] == choice])
    ]


_TITLES: Final = {
    THRESHOLD: ("Threshold on single examples", "at some threshold"),
    SUBSET_SIZE: ("All of K right", "at some K"),
    SIZES_KEPT: ("Model sizes left out", "with some choice of sizes"),
}


def _sentence(choice: str, rows: pd.DataFrame) -> str:
    title, at_some = _TITLES[choice]
    tried = rows[rows["induced_sharpness"].notna()]
    left = len(rows) - len(tried)
    if tried.empty:
        return f"{title}: no curve could be tried ({'; '.join(dict.fromkeys(rows['reason']))})."
    above, already = (int(some.sum()) for some in (tried["share_above"] > 0, tried["above"]))
    # A curve that is above the cut as it is needs no choice.
    smooth = tried if tried["above"].all() else tried[~tried["above"]]
    best = smooth.iloc[int(smooth["induced_sharpness"].to_numpy().argmax())]
    one = len(tried) == 1
    form = "is" if one or above == 1 else "are"
    text = (
        f"{title}: {above} of {len(tried)} curve{'s' * (not one)} {form} above the cut {at_some}, "
        f"{already} without any such choice. The sharpest"
        f"{' of the others' if 0 < already < len(tried) else ''} is {_named(best)} "
        f"{_chosen(choice, best)}: E/(n-1) = {_number(best['induced_sharpness'])}, against "
        f"{_number(best['sharpness'])} for the unchanged curve"
    )
    if best["share_above"] > 0:
        text += f"; {_share(best['share_above'])} of its choices are above the cut"
    if best["n_halves"] > 0:
        text += (
            f". Chosen on one half of the examples it is {_number(best['chosen_sharpness'])} there "
            f"and {_number(best['held_out_sharpness'])} on the other half"
        )
    return f"{text}." + (f" {left} could not be tried." if left else "")


def _named(row: pd.Series[Any]) -> str:
    shots = "" if pd.isna(row["shots"]) else f"{row['shots']}-shot"
    variant = "" if pd.isna(row["variant"]) else str(row["variant"])
    more = ", ".join(filter(None, [shots, variant]))
    return f"{row['subtask']} ({more})" if more else str(row["subtask"])


def _chosen(choice: str, best: pd.Series[Any]) -> str:
    if choice == THRESHOLD:
        return f"under {best['induced_metric']}"
    if choice == SUBSET_SIZE:
        return f"with K = {best['value']:.0f}"
    return (
        f"under {best['metric']} with {best['value']:.0f} of {best['n_scales']} sizes "
        f"({best['models']})"
    )


def _number(value: float) -> str:
    if value > _MOST_SHOWN:
        return "infinite" if value == np.inf else f"above {_MOST_SHOWN:,}"
    return f"{value:,.1f}"


def _share(value: float) -> str:
    return f"{value:.1%}" if value >= _LEAST_SHOWN else f"less than {_LEAST_SHOWN:.1%}"
