"""One yardstick for all criteria: how many curves would meet each if all families were smooth?

Each criterion has a false-positive rate of its own, which depends on the sizes of the models, the
test sets and the metrics. So the whole study is simulated: every curve is drawn anew from the loss
laws that fit it, with its own metric, test set and model sizes, and the curves that meet a
criterion are counted as in the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.aggregate.emergence_criteria import CRITERIA, meets
from bigbench_meta.core.checks import one_of, whole
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.text import counted
from bigbench_meta.curves.emergence import MIN_SCALES, score_ragged
from bigbench_meta.inference.chunks import (
    INFERENCE_COST,
    Chunk,
    Part,
    part_of,
    part_size,
    run_chunks,
)
from bigbench_meta.inference.nulls.inputs import null_inputs
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.monte_carlo import stream
from bigbench_meta.inference.nulls.smooth_curves import (
    VARIATIONS,
    SharedVariation,
    SmoothLaws,
    SmoothVariation,
)
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.curve_evidence import Variation
    from bigbench_meta.inference.nulls.inputs import NullInputs

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["SmoothStudies", "Yardstick", "expected_if_smooth", "yardstick_sentence"]

Yardstick = Literal["quick", "full"]

DEFAULT_STUDIES: Final = 999
"""Simulated studies where only emergence scores are compared."""

FULL_STUDIES: Final = 99
"""Simulated studies where all criteria are compared, which takes minutes."""

# Of drawing a curve in all studies, see inference.chunks.
_DRAW_COST: Final = 6
_PART: Final = 128  # curves of a chunk
_LEVEL: Final = 0.05
_ABOUT_ONE: Final = 0.75
_MOST_DRAWS: Final = 2_000_000  # curves times studies
_FEWEST_STUDIES: Final = 199


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """What the curves of a study are of, in numbers.

    Attributes:
        family: Number of each curve's model family.
        task: Number of each curve's task.
        model: Number of the model of each point.
        task_names: By number, with their benchmarks.
        model_names: By number, with their families.
    """

    family: Ints
    task: Ints
    model: Ints
    task_names: Sequence[str]
    model_names: Sequence[str]

    @classmethod
    def of(cls, curves: Curves) -> _Numbers:
        family = curves.keys["model_family"].astype(str).to_numpy(dtype=object)
        tasks = curves.keys["benchmark"].astype(str) + "\0" + curves.keys["task"].astype(str)
        models = family[curves.ragged.curve] + "\0" + curves.model_name.astype(str)
        task, task_names = pd.factorize(tasks)
        model, model_names = pd.factorize(models)
        return cls(
            family=pd.factorize(family)[0].astype(np.int64),
            task=task.astype(np.int64),
            model=model.astype(np.int64),
            task_names=[str(name) for name in task_names],
            model_names=[str(name) for name in model_names],
        )


@dataclass(frozen=True, kw_only=True)
class ModelVariation:
    """How models vary about their loss laws: what the curves of a study tell together.

    Attributes:
        sigma: Probability of each of :data:`SIGMAS` in each family, shape (families, 6).
        shared: How much of it the curves of a model share, by where it comes from.
    """

    sigma: Floats
    shared: Mapping[SmoothVariation, SharedVariation]

    @classmethod
    def of(cls, peaks: SmoothLaws, curves: Curves, numbers: _Numbers) -> ModelVariation:
        """Estimate it from the most probable laws of all curves, see :meth:`SmoothLaws.peaks`."""
        sigma = peaks.sigma_of_families(numbers.family)
        shared = {
            variation: peaks.shared_variation(
                peaks.probabilities(variation, numbers.family, sigma), curves.ragged,
                numbers.model, numbers.task,
            )
            for variation in VARIATIONS if variation != "zero"
        }  # fmt: skip
        return cls(sigma=sigma, shared=shared | {"zero": SharedVariation()})


@dataclass(frozen=True, kw_only=True)
class SmoothStudies:
    """A study, or some of its curves, and what it would be if all families improved smoothly.

    Attributes:
        curves: The curves.
        laws: Loss laws that fit each of them.
        numbers: What they are of; families are numbered as in the whole study.
        models: How models vary about their laws in the whole study.
        seed: Seed.
    """

    curves: Curves
    laws: SmoothLaws
    numbers: _Numbers
    models: ModelVariation
    seed: int

    @classmethod
    def of(
        cls,
        curves: Curves,
        *,
        alpha_range: tuple[float, float] = ALPHA_RANGE,
        catalog: MetricCatalog | None = None,
        seed: int = 0,
    ) -> SmoothStudies:
        """Fit the loss laws of a whole study.

        Args:
            curves: The curves of the study, of one level.
            alpha_range: Bounds of the exponent.
            catalog: Metric catalog; the packaged one by default.
            seed: Seed.
        """
        numbers = _Numbers.of(curves)
        laws = _fitted(curves, alpha_range=alpha_range, catalog=catalog)
        return cls(
            curves=curves, laws=laws, numbers=numbers,
            models=ModelVariation.of(laws.peaks(), curves, numbers), seed=seed,
        )  # fmt: skip

    def draws(self, variation: SmoothVariation, n_studies: int) -> Iterator[tuple[int, Floats]]:
        """Yield the number of each curve that has laws, and its scores in each simulated study.

        Args:
            variation: Where the variation between models comes from.
            n_studies: Number of studies.

        Yields:
            The number and scores in the unit of the file, shape (n_studies, n).
        """
        numbers = self.numbers
        probability = self.laws.probabilities(variation, numbers.family, self.models.sigma)
        shared = self.models.shared[variation]
        of_models: dict[int, Floats] = {}
        of_task: dict[int, Floats] = {}
        last_task = -1
        rows, inputs = self.laws.inputs.rows, self.laws.inputs
        first_row = np.searchsorted(inputs.curve, self.laws.curves)
        order = np.argsort(numbers.task[self.laws.curves], kind="stable")
        for curve, row in zip(self.laws.curves[order].tolist(), first_row[order], strict=True):
            points = slice(rows.ragged.offsets[row], rows.ragged.offsets[row + 1])
            rng = stream(
                self.seed, f"smooth {variation}", rows.y[points], np.log(rows.x[points]),
                np.log(rows.trials[points]),
            )  # fmt: skip
            deviation = None
            if shared.model or shared.task:
                if numbers.task[curve] != last_task:
                    of_task, last_task = {}, int(numbers.task[curve])
                own = numbers.model[self.curves.offsets[curve] : self.curves.offsets[curve + 1]]
                common = [self._normal(of_models, one, "", n_studies) for one in own.tolist()]
                name = numbers.task_names[last_task]
                in_task = [self._normal(of_task, one, name, n_studies) for one in own.tolist()]
                alone = rng.standard_normal((n_studies, len(own)))
                deviation = (
                    shared.model**0.5 * np.column_stack(common)
                    + shared.task**0.5 * np.column_stack(in_task)
                    + max(1 - shared.model - shared.task, 0.0) ** 0.5 * alone
                )
            yield curve, self.laws.draw(curve, probability, n_studies, rng, deviation)

    def _normal(self, known: dict[int, Floats], model: int, task: str, size: int) -> Floats:
        """Return the deviations of a model that curves, or those of a task, share in each study."""
        if model not in known:
            rng = stream(self.seed, f"model\0{self.numbers.model_names[model]}\0{task}")
            known[model] = rng.standard_normal(size)
        return known[model]

    def studies(self, variation: SmoothVariation, n_studies: int) -> Iterator[Curves]:
        """Yield simulated studies: the curves that have laws, with other scores.

        Args:
            variation: Where the variation between models comes from.
            n_studies: Number of studies.
        """
        chosen = np.isin(np.arange(len(self.curves)), self.laws.curves)
        some = self.curves[chosen]
        place = np.cumsum(chosen) - 1
        scores = np.empty((n_studies, len(some.y)))
        for curve, drawn in self.draws(variation, n_studies):
            begin, end = some.offsets[place[curve]], some.offsets[place[curve] + 1]
            scores[:, begin:end] = drawn
        for y in scores:
            yield replace(some, y=y)


def expected_if_smooth(
    curves: Curves,
    scores: pd.DataFrame,
    *,
    yardstick: Yardstick = "quick",
    threshold: float = DEFAULT_THRESHOLD,
    n_studies: int | None = None,
    n_boot: int | None = None,
    seed: int = 0,
    by: str = "metric_type",
    variation: Variation = "both",
    alpha_range: tuple[float, float] = ALPHA_RANGE,
    min_scales: int = MIN_SCALES,
    catalog: MetricCatalog | None = None,
    execution: Execution | None = None,
    progress: Progress = None,
) -> pd.DataFrame:
    r"""Compare how many curves meet a criterion with how many would if all families were smooth.

    Every curve that can be tested against the smooth mechanism (:func:`bigbench_meta.null_tests`)
    is drawn anew in each simulated study from the loss laws that fit its scores, and the curves
    that meet a criterion are counted as in the data. Variation between models is shared by the
    curves of a model, and further by those of a task, as far as it is in the data.

    The p-value is :math:`(1 + \#\{C^* \ge C\}) / (1 + S)` of the count C over S studies. It is
    conservative: loss laws are as uncertain as the scores leave them, so simulated counts follow
    the observed one to some degree.

    Args:
        curves: The curves of a study, of one level.
        scores: What :func:`bigbench_meta.score_curves` returned for them, in their order, with
            ``inference`` for the ``full`` yardstick.
        yardstick: ``quick``: the criteria that need the scores alone (flags, and flags by
            resolution-limited scores), in seconds. ``full``: all of :data:`CRITERIA`; each study is
            analysed as the data were, which takes as long as the inference on the data, for each.
        threshold: Of the emergence score.
        n_studies: Simulated studies, at least 19. By default 999, and fewer, down to 199, for more
            than 2,000 curves; 99 for the ``full`` yardstick.
        n_boot: Bootstrap replicates of intervals, and the most of a test, as in the data.
        seed: Seed.
        by: Column of ``scores`` by whose values curves are also counted separately.
        variation: As in the inference on the data, for the ``full`` yardstick.
        alpha_range: Bounds of the exponent of the loss.
        min_scales: Curves with fewer points are not scored, as in ``scores``.
        catalog: Metric catalog; the packaged one by default.
        execution: How the work is spread, and where finished chunks are kept.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        One row per criterion, group (``all`` and the values of ``by``) and ``sigma`` (where the
        variation between models comes from: ``curve``, ``family`` or ``zero``): ``n_compared``
        (curves that could be simulated), ``observed`` (those of them that meet the criterion),
        ``expected`` (mean over studies), ``expected_low`` and ``expected_high`` (central 95% of
        studies), ``p_value`` and ``n_studies``.

    Raises:
        InputError: An option is out of its range, or ``scores`` are not of these curves.
        SchemaError: ``scores`` lack a column.

    References:
        Davison & Hinkley (1997), Bootstrap Methods and their Application, sec. 4.2,
        doi:10.1017/CBO9780511802843.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded, score_curves
        >>> curves = build_curves(load_embedded())
        >>> sums = curves[curves.keys["task"].str.startswith("arithmetic")]
        >>> found = expected_if_smooth(sums, score_curves(sums), n_studies=199)
        >>> row = found.set_index(["criterion", "group", "sigma"]).loc["flagged", "all", "family"]
        >>> int(row["observed"]), bool(row["expected"] < 16)
        (19, True)
    """
    one_of(yardstick, get_args(Yardstick), "yardstick")
    if missing := [name for name in (by, "resolution") if name not in scores]:
        raise SchemaError(f"missing column {', '.join(missing)}", where="scores")
    if len(scores) != len(curves):
        reason = f"{counted(len(scores), 'row')} for {counted(len(curves), 'curve')}"
        raise InputError(reason, where="scores")
    if n_studies is None:
        fits = _MOST_DRAWS // max(len(curves), 1)
        n_studies = int(np.clip(fits, _FEWEST_STUDIES, DEFAULT_STUDIES))
        n_studies = n_studies if yardstick == "quick" else FULL_STUDIES
    whole(n_studies, 19, "n_studies")
    if yardstick == "quick":
        fit = partial(_fitted, alpha_range=alpha_range, catalog=catalog)
        numbers = _Numbers.of(curves)
        parts = _parts(curves, numbers.task)
        tables = run_chunks(
            [_chunk(partial(_peaks, fit), part, "laws") for part in parts],
            execution, label="Fitting", progress=progress,
        )  # fmt: skip
        peaks = _together(tables, parts, null_inputs(curves, catalog=catalog))
        count = partial(
            _flag_counts, fit, models=ModelVariation.of(peaks, curves, numbers),
            threshold=threshold, min_scales=min_scales, n_studies=n_studies, seed=seed,
        )  # fmt: skip
        counts = _counts_of_scores(numbers.family, scores, by, count, parts, execution, progress)
        simulated = scores[np.isin(np.arange(len(scores)), peaks.curves)]
    else:
        study = SmoothStudies.of(curves, alpha_range=alpha_range, catalog=catalog, seed=seed)
        simulated = scores[np.isin(np.arange(len(scores)), study.laws.curves)]
        judge = partial(
            _judged, by=by, threshold=threshold, n_boot=n_boot, seed=seed, variation=variation,
            alpha_range=alpha_range, min_scales=min_scales, catalog=catalog,
        )  # fmt: skip
        counts = _counts_of_studies(study, judge, n_studies, execution, progress)
    met = _met(simulated, _asked(simulated, yardstick, threshold), by, threshold)
    rows = [
        {"criterion": name, "group": group, "sigma": variation, "n_compared": n,
         "observed": observed,
         **_against(counts.get((variation, name, group)), observed, n_studies)}
        for name, group, observed, n in met.itertuples(index=False)
        for variation in VARIATIONS
    ]  # fmt: skip
    return pd.DataFrame(rows)


SCORES_ALONE: Final = ("flagged", "resolution_limited")
"""Criteria that need the scores alone."""

ALL: Final = tuple(one.name for one in CRITERIA)


def _asked(scores: pd.DataFrame, yardstick: Yardstick, threshold: float) -> Sequence[str]:
    """Return the criteria to compare: not those of tests that were not made of the data."""
    if yardstick == "quick":
        return SCORES_ALONE
    made = [name for name in ALL if meets(scores, name, threshold=threshold).notna().any()]
    return made or ALL


def _met(scores: pd.DataFrame, names: Sequence[str], by: str, threshold: float) -> pd.DataFrame:
    """Return criterion, group, curves that meet it, and curves, of each criterion and group."""
    groups = _groups(scores, by)
    return pd.DataFrame(
        [
            (name, group, int(met[own].sum()), int(own.sum()))
            for name in names
            for met in [meets(scores, name, threshold=threshold).fillna(value=False)]
            for group, own in groups.items()
        ],
        columns=["criterion", "group", "observed", "n"],
    )


def _fitted(
    curves: Curves, *, alpha_range: tuple[float, float], catalog: MetricCatalog | None
) -> SmoothLaws:
    """Return the loss laws that fit curves."""
    return SmoothLaws.fit(null_inputs(curves, catalog=catalog), alpha_range=alpha_range)


def _parts(curves: Curves, task: Ints) -> list[Part]:
    """Return curves in parts, those of a task side by side.

    There are a thousand laws a curve: those of all curves may be too many for the memory.
    """
    n_parts = max(1, math.ceil(len(task) / part_size(len(task), _PART)))
    places = np.array_split(np.argsort(task, kind="stable"), n_parts)
    return [part_of(curves, place) for place in places]


def _chunk(call: partial[pd.DataFrame], part: Part, name: str) -> Chunk:
    call = partial(call, part.curves)
    return Chunk(call=call, name=name, curves=part.curves, cost=_DRAW_COST)


_PEAK: Final = ("level", "alpha", "irreducible", "sigma", "log_likelihood", "peak")


def _peaks(fit: Callable[[Curves], SmoothLaws], curves: Curves) -> pd.DataFrame:
    """Return the most probable laws of some curves, each with its curve and row of that curve."""
    peaks = fit(curves).peaks()
    row = peaks.row - np.searchsorted(peaks.inputs.curve, peaks.curve)
    columns = {name: getattr(peaks, name) for name in _PEAK}
    return pd.DataFrame({"curve": peaks.curve, "row": row} | columns)


def _together(tables: Sequence[pd.DataFrame], parts: list[Part], inputs: NullInputs) -> SmoothLaws:
    """Return the laws of the curves of all parts in the order of the curves."""
    curve = [
        part.place[table["curve"].to_numpy()] for table, part in zip(tables, parts, strict=True)
    ]
    table = pd.concat(tables).assign(curve=np.concatenate(curve))
    table = table.sort_values(["curve", "sigma"], kind="stable")
    number = table["curve"].to_numpy(dtype=np.int64)
    return SmoothLaws(
        inputs=inputs, curve=number,
        row=table["row"].to_numpy(dtype=np.int64) + np.searchsorted(inputs.curve, number),
        **{name: table[name].to_numpy() for name in _PEAK},
    )  # fmt: skip


def _counts_of_scores(
    family: Ints, scores: pd.DataFrame, by: str, count: partial[pd.DataFrame],
    parts: list[Part], execution: Execution | None, progress: Progress,
) -> dict[tuple[str, str, str], Ints]:  # fmt: skip
    """Return, by variation, criterion and group, the curves that meet it in each study."""
    groups = _groups(scores, by)
    resolution = scores["resolution"].to_numpy(dtype=float)
    chunks = [
        _chunk(
            partial(
                count, family=family[part.place], resolution=resolution[part.place],
                groups=[own[part.place] for own in groups.values()],
            ),
            part, "flags",
        )
        for part in parts
    ]  # fmt: skip
    tables = run_chunks(chunks, execution, label="Simulating", progress=progress)
    counts = np.sum([table.to_numpy() for table in tables], axis=0).T
    return dict(zip(product(VARIATIONS, SCORES_ALONE, groups), counts, strict=True))


def _flag_counts(
    fit: Callable[[Curves], SmoothLaws], curves: Curves, *, models: ModelVariation, family: Ints,
    groups: Sequence[Bools], resolution: Floats, threshold: float, min_scales: int,
    n_studies: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Count the curves that meet a criterion in each study, a row.

    Its columns are those of each variation, in it of each criterion, and in that of each group.
    """
    study = SmoothStudies(
        curves=curves, laws=fit(curves), numbers=replace(_Numbers.of(curves), family=family),
        models=models, seed=seed,
    )  # fmt: skip
    sign = np.where(curves.keys["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
    counts = np.zeros((len(VARIATIONS), len(SCORES_ALONE), len(groups), n_studies), dtype=np.int64)
    for own_counts, variation in zip(counts, VARIATIONS, strict=True):
        drawn = dict(study.draws(variation, n_studies))
        if not drawn:
            continue
        flags = _flags(drawn, sign, resolution, threshold, min_scales)
        for number, own in enumerate(groups):
            own_counts[:, number] = flags[:, own[list(drawn)]].sum(axis=1)
    columns = counts.reshape(-1, n_studies)
    return pd.DataFrame({str(number): column for number, column in enumerate(columns)})


def _flags(
    drawn: Mapping[int, Floats], sign: Floats, resolution: Floats, threshold: float, min_scales: int
) -> Bools:
    """Return which draws, by curve and of shape (studies, n), have each of two scores above it.

    Returns:
        An array of shape (2, curves, studies).
    """
    curves = list(drawn)
    size = len(drawn[curves[0]])
    lengths = np.repeat([drawn[curve].shape[1] for curve in curves], size)
    found = score_ragged(
        np.concatenate([(drawn[curve] * sign[curve]).ravel() for curve in curves]),
        np.concatenate([[0], lengths.cumsum()]),
        resolution=np.repeat(resolution[curves], size), min_scales=min_scales,
    )  # fmt: skip
    limited = found.resolution_limited_score > threshold
    flagged = (found.emergence_score > threshold) | (found.emergence_score == np.inf)
    return np.stack([flagged, limited]).reshape(2, len(curves), size)


def _counts_of_studies(
    study: SmoothStudies, judge: partial[pd.DataFrame], n_studies: int,
    execution: Execution | None, progress: Progress,
) -> dict[tuple[str, str, str], Ints]:  # fmt: skip
    """Likewise, of studies that are analysed as the data were."""
    chunks = [
        Chunk(call=partial(judge, one), name=variation, curves=one, cost=INFERENCE_COST)
        for variation in VARIATIONS
        for one in study.studies(variation, n_studies)
    ]
    found = run_chunks(chunks, execution, label="Simulating", progress=progress)
    long = pd.concat(
        [table.assign(variation=chunk.name) for chunk, table in zip(chunks, found, strict=True)]
    )
    return {
        (str(key[0]), str(key[1]), str(key[2])): of_key["observed"].to_numpy(dtype=np.int64)
        for key, of_key in long.groupby(["variation", "criterion", "group"], sort=False)
    }


def _judged(
    curves: Curves, *, by: str, threshold: float, n_boot: int | None, seed: int,
    variation: Variation, alpha_range: tuple[float, float], min_scales: int,
    catalog: MetricCatalog | None,
) -> pd.DataFrame:  # fmt: skip
    """Analyse a simulated study and count the curves that meet each criterion."""
    scores = score_curves(
        curves, inference=True, threshold=threshold, n_boot=n_boot, seed=seed,
        variation=variation, alpha_range=alpha_range, min_scales=min_scales, catalog=catalog,
    )  # fmt: skip
    return _met(scores, ALL, by, threshold)


def _groups(scores: pd.DataFrame, by: str) -> dict[str, Bools]:
    """Return the groups in which curves are counted, as masks."""
    values = scores[by].astype(str)
    every = np.ones(len(scores), dtype=bool)
    return {"all": every} | {
        value: (values == value).to_numpy() for value in sorted(values.unique())
    }


def _against(count: Ints | None, observed: int, n_studies: int) -> dict[str, float]:
    """Return what simulated counts say of an observed one."""
    count = np.zeros(n_studies, dtype=np.int64) if count is None else count
    low, high = np.quantile(count, [0.025, 0.975], method="inverted_cdf")
    return {
        "expected": float(count.mean()),
        "expected_low": float(low),
        "expected_high": float(high),
        "p_value": float((1 + (count >= observed).sum()) / (1 + n_studies)),
        "n_studies": n_studies,
    }


def yardstick_sentence(
    expected: pd.DataFrame, *, criterion: str = "flagged", threshold: float = DEFAULT_THRESHOLD
) -> str:
    """Return one sentence on how many curves are flagged, and how many if all were smooth.

    Args:
        expected: What :func:`expected_if_smooth` returned.
        criterion: Of which criterion.
        threshold: Of the emergence score.
    """
    rows = expected[(expected["criterion"] == criterion) & (expected["group"] == "all")]
    if rows.empty or not rows["n_compared"].max():
        return (
            "No curve can be simulated: that takes four models, a metric of known range, a scale "
            "that is not a loss, and numbers of examples (--n-examples) or standard errors."
        )
    (row,) = rows[rows["sigma"] == "family"].to_dict("records")
    what = " with steps of at least one example" if criterion == "resolution_limited" else ""
    observed, mean = row["observed"], row["expected"]
    about = f"about {mean:.0f}" if mean >= _ABOUT_ONE else "fewer than one"
    found = (
        f"If all models improved smoothly, {about} (95% range {row['expected_low']:.0f} to "
        f"{row['expected_high']:.0f}) of {counted(row['n_compared'], 'curve')} that can be "
        f"simulated would have E above {threshold:g}{what}"
    )
    if not observed:
        return f"{found}; none does."
    # Models of one size do differ: without variation between them too much looks unexplained.
    p = rows.loc[rows["sigma"] != "zero", "p_value"]
    explained = p > _LEVEL
    verdict = (
        "so smooth improvement may explain them all"
        if explained.all()
        else "and whether smooth improvement explains them depends on how much models vary"
        if explained.any()
        else "so smooth improvement does not explain them all"
    )
    does = "does" if observed == 1 else "do"
    return f"{found}; {observed} {does} ({_p(p)}), {verdict}."


def _p(values: pd.Series[float]) -> str:
    low, high = (f"{value:.2g}" for value in (values.min(), values.max()))
    return f"p = {low}" if low == high else f"p = {low} or {high}, depending on model scatter"
