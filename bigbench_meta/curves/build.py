"""Build curves from observations: the scores of one key, ordered by scale, as ragged arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.cards import Card, Carded, briefly, named, sparkline
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.keys import column_codes, group_rows
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import (
    CURVE_KEY,
    FALLING_AXES,
    OBSERVATIONS,
    SCALE_AXES,
    SIZE_AXES,
    conform,
    to_frame,
)
from bigbench_meta.core.text import counted, did_you_mean, format_scale, listed
from bigbench_meta.curves.runs import ALL, differing_settings, separate_runs, unexplained
from bigbench_meta.curves.survey import Survey, places_of, survey_of
from bigbench_meta.curves.units import asks_unit, check_range, implausible_sizes, models_of_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Names: TypeAlias = "str | Collection[str] | None"
    Which: TypeAlias = "int | slice | Sequence[int | bool] | NDArray[Any] | pd.Series[Any]"

__all__ = ["Curves", "build_curves"]

# Curves that Jupyter shows.
_SHOWN = 5
_POINTS = ("x", "y", "spread", "stderr", "n_examples", "model_name")
# What lm-evaluation-harness calls tasks whose answer counts only if each of its tokens is right.
_WHOLE_ANSWERS = ["generate_until", "greedy_until", "loglikelihood"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Curves(Carded):
    """A batch of curves of different lengths.

    The points of curve ``i`` are ``[offsets[i]:offsets[i + 1]]`` of the arrays, by ascending x, or
    by descending x where the axis is a loss.

    Attributes:
        keys: One row per curve: the key columns, ``scale`` (the axis), ``n_missing`` (models left
            out), ``n_tied`` (observations averaged into another), ``n_replicated`` (points that
            average different scores of one model whose files do not say why), ``n_same_size``
            (points that average models with different names), ``run_differently`` (the settings
            that are not the same for all models, empty if there are none), ``earlier_checkpoint``
            (whether a model is at an earlier checkpoint than its last), ``n_outside`` (scores
            outside the range of the metric), ``mixed_units`` (whether others lie inside: then the
            curve has no points), ``asks_unit`` (whether the scores may be in two units),
            ``is_preferred``, ``low_score``, ``high_score``, ``metric_type``,
            ``step``, ``higher_is_better`` and ``direction`` (where that comes from: ``catalog``,
            ``low_high`` or ``assumed``).
        offsets: Shape (number of curves + 1,).
        x: Scale of each point, in the unit of the axis.
        y: Score of each point, in the unit of the file; the mean where several share an x.
        spread: Sample standard deviation of the scores averaged into a point, NaN if it is one.
        stderr: Standard error of each point's score, NaN where none is given.
        n_examples: Examples behind each point, NaN where not given; the fewest where several
            observations share an x.
        model_name: Model of each point, the first where several share an x.
    """

    keys: pd.DataFrame
    offsets: Ints
    x: Floats
    y: Floats
    spread: Floats
    stderr: Floats
    n_examples: Floats
    model_name: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of curves."""
        return len(self.keys)

    def _card(self) -> Card:
        lengths, first = self.ragged.lengths, self.keys.head(_SHOWN)
        spans = {
            axis: self.x[(self.keys["scale"] == axis).to_numpy(dtype=bool)[self.ragged.curve]]
            for axis in self.keys["scale"].unique()
        }
        columns = {"tasks": "task", "metrics": "metric", "families": "model_family"}
        low, high = (int(lengths.min()), int(lengths.max())) if len(self) else (0, 0)
        return Card(
            title=f"{counted(len(self), 'curve')} of {counted(len(self.x), 'point')}",
            facts={
                **{name: named(self.keys[column].unique()) for name, column in columns.items()},
                "shots": named(sorted(self.keys["shots"].dropna().unique())),
                "models": f"{low} a curve" if low == high else f"{low} to {high} a curve",
                "scale": ", ".join(
                    f"{axis}: {format_scale(x.min())} to {format_scale(x.max())}"
                    for axis, x in spans.items()
                    if len(x)
                ),
                "see": "curves[...], curves.sel(task=...), curves.points()",
            },
            header=["task", "metric", "family", "shots", "models", "first", "last", "scores"],
            rows=[
                [
                    *("–" if pd.isna(value) else briefly(str(value), 40) for value in key),
                    f"{len(y)}", *(f"{y[place]:.4g}" if len(y) else "–" for place in (0, -1)),
                    sparkline(y.tolist()),
                ]
                for number, key in enumerate(
                    first[["subtask", "metric", "model_family", "shots"]].itertuples(index=False)
                )
                for y in [self.y[self.offsets[number] : self.offsets[number + 1]]]
            ],
            n_rows=len(self),
        )  # fmt: skip

    @cached_property
    def ragged(self) -> Ragged:
        """Where the curves lie in the arrays of their points."""
        return Ragged(self.offsets)

    @property
    def rising_x(self) -> Floats:
        """A scale that rises within each curve, x, or 1 / x where the axis is a loss."""
        falls = self.keys["scale"].isin(list(FALLING_AXES)).to_numpy(dtype=bool)
        return np.where(falls[self.ragged.curve], 1 / self.x, self.x)

    @property
    def oriented(self) -> Floats:
        """The scores with their sign turned where lower is better."""
        sign = np.where(self.keys["higher_is_better"].to_numpy(dtype=bool), 1.0, -1.0)
        return self.y * sign[self.ragged.curve]

    def points(
        self, *, confidence: float = 0.95, catalog: MetricCatalog | None = None
    ) -> pd.DataFrame:
        """Return one row a point, curve after curve, each by ascending size (a loss descending).

        Args:
            confidence: Of the intervals, in (0, 1).
            catalog: Metric catalog, for the range of the scores; the packaged one by default.

        Returns:
            The curve's key and ``scale``; ``curve`` (its number), ``model_name``, ``x``, ``score``,
            ``spread``, ``stderr``, ``n_examples``; the interval ``low``, ``high`` of the score in
            its own unit, and ``interval``, where that comes from: ``exact`` (Clopper and Pearson's,
            of a mean of ``n_examples`` scores; too wide where they are graded or several
            evaluations are averaged) or ``normal`` (of the standard error). Where both ends are
            missing there is no standard error either, and it says why: ``not_a_proportion``,
            ``n_unknown`` or ``score_out_of_range``.

        Raises:
            InputError: The confidence is no share.

        Examples:
            >>> from bigbench_meta import load_embedded
            >>> sums = build_curves(load_embedded()).sel(task="arithmetic 3D+", shots=50)
            >>> sums.points()[["model_name", "score", "low", "high", "interval"]].tail(2).round(2)
              model_name  score    low   high interval
            6        13B    8.4   7.22   9.70    exact
            7       175B   80.4  78.59  82.12    exact
        """
        from bigbench_meta.curves.proportions import score_intervals

        curve = self.ragged.curve
        keys = self.keys[[*CURVE_KEY, "scale"]].take(curve).reset_index(drop=True)
        low, high, source = score_intervals(self, confidence=confidence, catalog=catalog)
        return keys.assign(
            curve=curve, model_name=self.model_name, x=self.x, score=self.y, spread=self.spread,
            stderr=self.stderr, n_examples=integer_column(self.n_examples), low=low, high=high,
            interval=source,
        )  # fmt: skip

    def sel(
        self,
        *,
        benchmark: Names = None,
        task: Names = None,
        subtask: Names = None,
        metric: Names = None,
        metric_type: Names = None,
        model_family: Names = None,
        shots: int | Collection[int] | None = None,
        variant: Names = None,
    ) -> Curves:
        """Return the curves of the given names, in their order.

        Args:
            benchmark: A name or several, each exactly as in ``keys``; None takes all. So for the
                others.
            task: Tasks.
            subtask: Subtasks; the aggregate of a task has its name.
            metric: Metrics.
            metric_type: Types of metric.
            model_family: Model families.
            shots: Numbers of shots.
            variant: Variants.

        Raises:
            InputError: No curve has one of the names, or none has all of them together.

        Examples:
            >>> from bigbench_meta import load_embedded
            >>> curves = build_curves(load_embedded())
            >>> len(curves.sel(task="LAMBADA", metric=["ppl", "acc"], shots=0))
            2
            >>> curves.sel(task="lambada")
            Traceback (most recent call last):
            bigbench_meta.core.errors.InputError: task: no curve of 'lambada'
            Hint: did you mean 'LAMBADA'?
        """
        given = {
            "benchmark": benchmark, "task": task, "subtask": subtask, "metric": metric,
            "metric_type": metric_type, "model_family": model_family, "shots": shots,
            "variant": variant,
        }  # fmt: skip
        chosen, before = np.ones(len(self), dtype=bool), ""
        for column, value in given.items():
            if value is None:
                continue
            one = isinstance(value, str) or not isinstance(value, Iterable)
            wanted: list[Any] = [value] if one else list(value)  # type: ignore[arg-type]
            known = self.keys[column]
            for name in wanted:
                if not (known == name).any():
                    there = sorted(map(str, known.dropna().unique()))
                    hint = did_you_mean(str(name), there) or listed(there, "there are")
                    raise InputError(f"no curve of {name!r}", where=column, hint=hint)
            fits = known.isin(wanted).to_numpy(dtype=bool)
            if wanted and not (chosen & fits).any():
                there = sorted(map(str, known[chosen].dropna().unique()))
                raise InputError(
                    f"no curve of {before} has {' or '.join(map(repr, wanted))}", where=column,
                    hint=listed(there, "these have"),
                )  # fmt: skip
            chosen &= fits
            before += f"{' and ' if before else ''}{' or '.join(map(repr, wanted))}"
        return self[chosen]

    def __getitem__(self, which: Which) -> Curves:
        """Return some curves, by a mask, positions, a slice, or one position.

        Args:
            which: A mask of one entry a curve (a Series goes by position, a missing entry is no),
                positions in any order, from the end if negative, or a slice; one position gives
                curves of length one.

        Raises:
            InputError: A mask of another length, or neither a mask nor positions.
            IndexError: No curve has the position.

        Examples:
            >>> from bigbench_meta import load_embedded
            >>> curves = build_curves(load_embedded())
            >>> len(curves[:10]), len(curves[-1]), len(curves[curves.keys["shots"] == 0])
            (10, 1, 63)
        """
        place = self._places(which)
        keep, ragged = self.ragged.take(place)
        return Curves(
            keys=self.keys.iloc[place].reset_index(drop=True),
            offsets=ragged.offsets,
            x=self.x[keep],
            y=self.y[keep],
            spread=self.spread[keep],
            stderr=self.stderr[keep],
            n_examples=self.n_examples[keep],
            model_name=self.model_name[keep],
        )

    select = __getitem__
    """The same, by the name that it had first."""

    def _places(self, which: Which) -> Ints:
        """Return the positions that an index means."""
        n = len(self)
        if isinstance(which, slice):
            return np.arange(n)[which]
        if isinstance(which, pd.Series) and pd.api.types.is_bool_dtype(which):
            which = which.to_numpy(dtype=bool, na_value=False)
        found = np.asarray(which)
        if found.dtype == np.bool_:
            if found.shape != (n,):
                raise InputError(f"shape {found.shape}, not ({n},)", where="mask")
            return np.flatnonzero(found)
        if found.ndim > 1 or (found.size and found.dtype.kind not in "iu"):
            raise InputError(
                f"neither a mask nor positions: {which!r:.60}", where="curves[...]",
                hint=".sel(task=...) takes names",
            )  # fmt: skip
        place = np.atleast_1d(found).astype(np.int64)
        if np.any(wrong := (place < -n) | (place >= n)):
            raise IndexError(f"position {place[wrong][0]} of {n} curves")
        return place % max(n, 1)


def integer_column(values: Floats) -> pd.Series[int]:
    """Return whole numbers with gaps as a nullable integer column, NaN as missing."""
    return pd.Series(values, dtype="Float64").astype("Int64")


def build_curves(
    observations: pd.DataFrame | pa.Table | Iterable[pd.DataFrame],
    *,
    scale: str | None = None,
    average: bool = True,
    checkpoint: str = ALL,
    catalog: MetricCatalog | None = None,
) -> Curves:
    """Order the observations of each key by scale, by ``pretraining_loss`` from high to low.

    A key is (benchmark, task, subtask, metric, model_family, shots, variant). A model without a
    positive scale or without a finite score is left out and counted in ``n_missing``; observations
    at the same scale are averaged and their spread kept. Scores of one model that was run with
    several settings are on curves of their own, whose ``variant`` names the settings, see
    :mod:`bigbench_meta.curves.runs`. A score is taken as better when higher if
    the catalog says so; if the catalog does not say, if the task's low score is not above its
    high score; failing both that is assumed.

    A score outside the range that the catalog gives its metric is in another unit, or a code for
    "not measured" (-1, -100), which counts as missing. A curve with scores in two units has no
    points. A size that contradicts the model's name or another size of the same model is not used.
    :func:`bigbench_meta.unit_problems` names these scores and sizes.

    Args:
        observations: Observations table; or what :meth:`bigbench_meta.Store.observation_groups`
            returns, of which one group after another is in memory. The curves are the same.
        scale: Column to use as x, one of :data:`SCALE_AXES`. By default, for
            each curve, the first of ``flop_matched_non_embedding_params``,
            ``non_embedding_params`` and ``total_params`` that all its models have, or else that
            most have.
        average: Whether observations at the same scale are averaged. If not, each is a point of its
            own, as :func:`bigbench_meta.convexity` can use them; most statistics refuse curves with
            several points at one scale.
        checkpoint: Which checkpoint of a model counts: ``all`` (each that a model was scored at
            several times is a variant), the ``last`` of each model, or one by name.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        The curves, in order of first appearance.

    Raises:
        InputError: ``scale`` is not a scale axis, or no model has the checkpoint.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> observations = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f",
        ...     "model_name": ["L", "S", "M"], "total_params": [300, 100, 200],
        ...     "score": [0.9, 0.1, 0.2],
        ... })
        >>> build_curves(observations).y
        array([0.1, 0.2, 0.9])
    """
    if scale is not None and scale not in SCALE_AXES:
        raise InputError(
            f"{scale!r} is not a scale axis", where="scale", hint=f"one of {', '.join(SCALE_AXES)}"
        )
    options: dict[str, Any] = {
        "scale": scale,
        "average": average,
        "checkpoint": checkpoint,
        "catalog": catalog,
    }
    if isinstance(observations, pd.DataFrame | pa.Table):
        return _of_table(conform(observations), None, **options)[0]
    survey = survey_of(observations)
    joined = _Joined(int(survey.n_rows.sum()))
    for group in observations:
        curves, first = _of_table(conform(group), survey, **options)
        joined.add(curves, places_of(group)[first])
    return joined.curves(has_settings=survey.table["settings"].null_count < len(survey.table))


class _Joined:
    """Curves of groups of tasks, joined one group after another.

    Args:
        most: Points at most. What is not filled takes no memory.
    """

    def __init__(self, most: int) -> None:
        self._points = {
            name: np.empty(most, object if name == "model_name" else float) for name in _POINTS
        }
        self._keys: list[pd.DataFrame] = []
        self._none = _of_table(OBSERVATIONS.empty(), None)[0].keys
        self._lengths = [np.zeros(0, dtype=np.int64)]
        self._places = [np.zeros(0, dtype=np.int64)]
        self._n = 0

    def add(self, curves: Curves, places: Ints) -> None:
        """Add curves with the places of their first rows."""
        end = self._n + len(curves.x)
        for name, values in self._points.items():
            values[self._n : end] = getattr(curves, name)
        self._n = end
        if len(curves):
            self._keys.append(curves.keys)
        else:  # has the names, but no column tells its type
            self._none = curves.keys
        self._lengths.append(curves.ragged.lengths)
        self._places.append(places)

    def curves(self, *, has_settings: bool) -> Curves:
        """Return the curves in the order of their places, once.

        Args:
            has_settings: Whether some observation has settings. Then the variants are named anew,
                in the order in which they appear.
        """
        keys = pd.concat(self._keys or [self._none], ignore_index=True)
        self._keys.clear()
        order = np.argsort(np.concatenate(self._places), kind="stable")
        ragged = Ragged.of_lengths(np.concatenate(self._lengths))
        if not np.array_equal(order, np.arange(len(order))):
            keys = keys.iloc[order].reset_index(drop=True)
            taken, ragged = ragged.take(order)
        else:
            taken = None
        if has_settings:
            names = keys["variant"].astype(object)
            keys["variant"] = pd.Categorical(names, categories=names.dropna().unique())
        points = {}
        for name in _POINTS:  # one at a time, so that none is there twice for long
            values = self._points.pop(name)[: self._n]
            points[name] = values if taken is None else values[taken]
        return Curves(keys=keys, offsets=ragged.offsets, **points)


def _of_table(
    table: pa.Table, survey: Survey | None, *, scale: str | None = None, average: bool = True,
    checkpoint: str = ALL, catalog: MetricCatalog | None = None,
) -> tuple[Curves, Ints]:  # fmt: skip
    """Return the curves of a table, and the first row of each.

    Args:
        table: Observations, of some tasks if there is a survey of all.
        survey: What all of them say of the models.
        scale: See :func:`build_curves`.
        average: See :func:`build_curves`.
        checkpoint: See :func:`build_curves`.
        catalog: See :func:`build_curves`.
    """
    runs = separate_runs(table, checkpoint=checkpoint, survey=survey)
    table = runs.table
    group, first = group_rows(table, CURVE_KEY)
    model = _model_ranks(table)
    axes = (scale,) if scale else SIZE_AXES
    x, axis = _scale_of_rows(table, group, model, len(first), axes, runs.survey)
    metrics = catalog or metric_catalog()
    keys = _keys(table, group, first, metrics)
    if catalog is None:
        keys["metric_type"] = _by_answers(keys["metric_type"], table, first)
    score, stderr = _floats(table, "score"), _floats(table, "stderr")
    low, high = (keys.pop(name).to_numpy(dtype=float)[group] for name in ("low", "high"))
    unit = check_range(
        score,
        stderr,
        low,
        high,
        n_examples=_floats(table, "n_examples"),
        binary=keys.pop("binary").to_numpy(dtype=bool)[group],
    )
    usable = np.isfinite(x) & np.isfinite(score) & ~unit.code
    n_outside, n_inside = (
        np.bincount(group[usable & chosen], minlength=len(first))
        # A score of 0 is one in any unit.
        for chosen in (unit.outside, ~unit.outside & (score != 0))
    )
    mixed = (n_outside > 0) & (n_inside > 0)
    usable &= ~mixed[group]
    rows = np.flatnonzero(usable)
    # Score and model as last keys: what ties give does not depend on the order of the input.
    order = -x if scale in FALLING_AXES else x
    rows = rows[np.lexsort((model[rows], score[rows], order[rows], group[rows]))]
    starts = np.flatnonzero(
        np.diff(group[rows], prepend=-1) | (np.diff(x[rows], prepend=np.nan) != 0) | (not average)
    )
    sizes = np.diff(starts, append=len(rows))
    n_points = np.bincount(group[rows[starts]], minlength=len(first))
    curves = Curves(
        keys=keys.assign(
            scale=axis,
            n_missing=_missing_models(group, model, usable, len(first)),
            n_tied=np.bincount(group[rows], minlength=len(first)) - n_points,
            n_replicated=_points_with(unexplained(table)[rows], group[rows], starts, len(first)),
            n_same_size=_points_with(
                model[rows] != np.repeat(model[rows[starts]], sizes),
                group[rows],
                starts,
                len(first),
            ),
            run_differently=[
                ", ".join(names)
                for names in differing_settings(table, group, len(first), checkpoint=checkpoint)
            ],
            earlier_checkpoint=np.bincount(group[runs.at_earlier], minlength=len(first)) > 0,
            n_outside=n_outside,
            mixed_units=mixed,
            asks_unit=asks_unit(table, metrics, group, len(first)),
        ),
        offsets=Ragged.of_lengths(n_points).offsets,
        x=x[rows[starts]],
        model_name=_names(table, "model_name")[rows[starts]],
        **_points(table, score, np.where(unit.stderr, np.nan, stderr), rows, starts, sizes),
    )
    return curves, np.flatnonzero(runs.kept)[first]


def _names(table: pa.Table, name: str) -> NDArray[np.object_]:
    """Return texts as objects, each text one object."""
    codes, _ = column_codes(table.column(name))
    names, place = np.unique(codes, return_index=True)
    texts = table.column(name).cast("string").take(pa.array(place)).to_pylist()
    return np.array(texts, dtype=object)[np.searchsorted(names, codes)]


def _points_with(chosen: NDArray[np.bool_], group: Ints, starts: Ints, n_groups: int) -> Ints:
    """Count the points of each group that average a chosen row; each begins at one of starts."""
    if not len(starts):
        return np.zeros(n_groups, dtype=np.int64)
    any_of_point = np.logical_or.reduceat(chosen, starts)
    return np.bincount(group[starts[any_of_point]], minlength=n_groups)


def _floats(table: pa.Table, name: str) -> Floats:
    column = table.column(name).cast("float64", safe=False)
    return np.array(pc.fill_null(column, np.nan).to_numpy(), dtype=np.float64)


def _scale_of_rows(
    table: pa.Table, group: Ints, model: Ints, n_groups: int, axes: tuple[str, ...],
    survey: Survey | None,
) -> tuple[Floats, NDArray[np.object_]]:  # fmt: skip
    """Return x of each row, NaN where it has none, and the axis of each group."""
    n, count = table.num_rows, np.ones(table.num_rows)
    if survey is not None:
        # What counts is how often each size stands in all observations.
        table = pa.concat_tables([table, survey.table]).unify_dictionaries()
        count = np.concatenate([np.zeros(n), survey.n_rows])
    implausible = implausible_sizes(table)
    candidates = np.array(
        [np.where(implausible.get(axis, False), np.nan, _floats(table, axis)) for axis in axes]
    )
    candidates[~(np.isfinite(candidates) & (candidates > 0))] = np.nan
    models, _ = models_of_rows(table)
    for axis, values in zip(axes, candidates, strict=True):
        if axis in SIZE_AXES:
            _settle(values, models, count)
    candidates = candidates[:, :n]
    covered = [_n_models(group, model, ~np.isnan(values), n_groups) for values in candidates]
    best = np.argmax(covered, axis=0)  # the first one on ties
    return candidates[best[group], np.arange(len(group))], np.array(axes, dtype=object)[best]


def _settle(size: Floats, model: Ints, count: Floats) -> None:
    """Give each model its commonest size, the smallest on ties: counts differ by rounding."""
    low, high = np.full((2, int(model.max(initial=0)) + 1), np.nan)
    np.fmin.at(low, model, size)
    np.fmax.at(high, model, size)
    rows = np.flatnonzero((low < high)[model] & np.isfinite(size))
    if not len(rows):
        return
    frame = pd.DataFrame({"model": model[rows], "size": size[rows], "count": count[rows]})
    counts = frame.groupby(["model", "size"], as_index=False).sum()
    best = counts.sort_values(["count", "size"], ascending=[False, True]).drop_duplicates("model")
    size[rows] = best.set_index("model")["size"].reindex(model[rows]).to_numpy()


def _points(
    table: pa.Table, score: Floats, stderr: Floats, rows: Ints, starts: Ints, sizes: Ints
) -> dict[str, Floats]:
    """Average the rows that share a curve and an x; each run of them begins at one of starts."""
    y, n_examples = score[rows], _floats(table, "n_examples")[rows]
    error = stderr[rows]
    with np.errstate(over="ignore", invalid="ignore"):
        variance = np.where(error >= 0, error, np.nan) ** 2
    if len(starts) == 0:
        empty = np.empty(0)
        return {"y": empty, "spread": empty, "stderr": empty, "n_examples": empty}
    lowest, highest = y[starts], np.maximum.reduceat(y, starts)
    # Rounding must not move the mean beyond the scores, least of all that of equal ones.
    mean = np.clip(np.add.reduceat(y, starts) / sizes, lowest, highest)
    deviation = y - np.repeat(mean, sizes)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        spread = np.sqrt(np.add.reduceat(deviation**2, starts) / (sizes - 1))
    return {
        "y": mean,
        "spread": spread,
        "stderr": np.sqrt(np.add.reduceat(variance, starts)) / sizes,
        "n_examples": np.fmin.reduceat(n_examples, starts),
    }


def _model_ranks(table: pa.Table) -> Ints:
    """Return the place of each row's model in the alphabetical list of models."""
    names = table.column("model_name").cast("string")
    ordered = names.unique().sort()
    return np.asarray(pc.index_in(names, value_set=ordered).to_numpy(), dtype=np.int64)


def _n_models(group: Ints, model: Ints, chosen: NDArray[np.bool_], n_groups: int) -> Ints:
    """Count the models of each group that have a chosen row."""
    n_models = int(model.max(initial=0)) + 1
    pairs = np.sort(group[chosen] * n_models + model[chosen])  # several times as fast as unique
    return np.bincount(pairs[np.diff(pairs, prepend=-1) > 0] // n_models, minlength=n_groups)


def _missing_models(group: Ints, model: Ints, usable: NDArray[np.bool_], n_groups: int) -> Ints:
    everything = np.ones(len(group), dtype=bool)
    return _n_models(group, model, everything, n_groups) - _n_models(group, model, usable, n_groups)


def _keys(table: pa.Table, group: Ints, first: Ints, catalog: MetricCatalog) -> pd.DataFrame:
    keys = to_frame(table.select(CURVE_KEY).take(first))
    low, high = _bounds(table, group, len(first))
    known = catalog.lookup(keys[["benchmark", "task", "metric"]])
    in_catalog = known["higher_is_better"].notna()
    both = np.isfinite(low) & np.isfinite(high) & (low != high)
    return keys.assign(
        is_preferred=_preferred(table, group, len(first)),
        low_score=low,
        high_score=high,
        metric_type=known["metric_type"],
        step=known["step"],
        low=known["low"],
        high=known["high"],
        binary=known["binary"].fillna(value=False).astype(bool),
        higher_is_better=known["higher_is_better"]
        .fillna(pd.Series(~(both & (low > high))))
        .astype(bool),
        direction=np.where(in_catalog, "catalog", np.where(both, "low_high", "assumed")),
    )


def _by_answers(kinds: pd.Series[str], table: pa.Table, first: Ints) -> pd.Series[str]:
    """Return the types of metrics, of plain accuracies by how the file says that answers are made.

    In one task ``acc`` is the best of listed options, in another a whole answer, token by token.
    """
    chosen = to_frame(table.select(["metric", "settings"]).take(first)).astype("string").fillna("")
    made = chosen["settings"].str.extract(r'"answers": "(\w+)"', expand=False).fillna("")
    plain = chosen["metric"] == "acc"
    whole = plain & made.isin(_WHOLE_ANSWERS) & (kinds == "discontinuous")
    best = plain & (made == "multiple_choice") & (kinds == "nonlinear")
    return kinds.mask(whole, "nonlinear").mask(best, "discontinuous")


def _bounds(table: pa.Table, group: Ints, n_groups: int) -> tuple[Floats, Floats]:
    """Return the low and high score of each group, of one row: the smallest pair that is known."""
    low, high = _floats(table, "low_score"), _floats(table, "high_score")
    rows = np.flatnonzero(~np.isnan(low) & ~np.isnan(high))
    rows = rows[np.lexsort((high[rows], low[rows]))][::-1]  # the smallest is written last
    result = np.full((2, n_groups), np.nan)
    result[:, group[rows]] = low[rows], high[rows]
    return result[0], result[1]


def _preferred(table: pa.Table, group: Ints, n_groups: int) -> pd.Series[bool]:
    column = table.column("is_preferred")
    said = np.bincount(group[pc.is_valid(column).to_numpy()], minlength=n_groups) > 0
    yes = pc.fill_null(column, fill_value=False).to_numpy()
    value = pd.Series(np.bincount(group[yes], minlength=n_groups) > 0, dtype="boolean")
    return value.mask(~said)
