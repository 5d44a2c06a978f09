"""Analyse curves in chunks: in several processes, and kept as they finish.

What an analysis finds of a curve depends on that curve, the seed and the options alone, so curves
can be analysed in chunks. These are the same however many processes there are, and so are the
results.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.errors import BigbenchMetaError, InputError
from bigbench_meta.core.execute import Execution, execute
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

    from bigbench_meta.core.progress import Progress
    from bigbench_meta.curves.build import Curves

__all__ = [
    "CHUNK",
    "INFERENCE_COST",
    "Analysis",
    "Chunk",
    "Part",
    "Samples",
    "SamplesByTask",
    "analyse",
    "of_tasks",
    "part_of",
    "part_size",
    "parts_of",
    "restored",
    "run_chunks",
]

CHUNK: Final = 512
"""Curves of a chunk: enough that arrays are long, few enough that processes end together.

Fits take as many steps for few curves as for many, so that those of 64 cost twice as much a curve.
Only curves of one length and kind of metric are fitted together: to part those costs nothing.
"""
# Parts that a small study has, unless they would have fewer curves.
_PARTS: Final = 4
_FEWEST: Final = 16
INFERENCE_COST: Final = 40
"""Of the whole inference on a curve, compared with that of its cheapest part."""


class SamplesByTask(Protocol):
    """What reads the samples of one task, as :meth:`bigbench_meta.Store.samples_by_task` gives."""

    def of_task(self, task: str, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the samples of a task, or some of their columns."""
        ...


Samples: TypeAlias = "pd.DataFrame | pa.Table | SamplesByTask"
"""Samples of the results of curves."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some curves and what is done with them.

    Attributes:
        call: Returns a frame.
        name: What it does.
        curves: The curves.
        cost: About what a curve costs, compared with other work.
    """

    call: partial[pd.DataFrame]
    name: str
    curves: Curves
    cost: int


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An analysis of each curve by itself.

    Attributes:
        function: Called with curves; returns a frame in the order of the curves, with a row for
            each or with a column ``curve``, their number.
        options: Its keyword arguments.
        of_curves: Those that have one value a curve.
        samples: Samples table, or what reads those of a task, for a function that takes
            ``samples``.
        cost: About what a curve costs, compared with other analyses.
    """

    function: Callable[..., pd.DataFrame]
    options: Mapping[str, Any] = field(default_factory=dict)
    of_curves: Mapping[str, Sequence[Any] | NDArray[Any]] = field(default_factory=dict)
    samples: Samples | None = None
    cost: int = 1

    def chunk(self, name: str, part: Part) -> Chunk:
        """Return the analysis of some curves."""
        options = dict(self.options)
        for option, values in self.of_curves.items():
            options[option] = [values[one] for one in part.place]
        if self.samples is not None:
            options["samples"] = of_tasks(self.samples, part.curves)
        call = partial(self.function, part.curves, **options)
        return Chunk(call=call, name=name, curves=part.curves, cost=self.cost)


class Part(NamedTuple):
    """Some curves of a study.

    Attributes:
        curves: The curves, without the names of all others.
        place: Their numbers among all.
    """

    curves: Curves
    place: Ints


def part_size(n: int, most: int) -> int:
    """Return how many of n curves go into a part: a quarter, at least 16 and not above ``most``.

    Examples:
        >>> [part_size(n, CHUNK) for n in (5, 200, 100_000)]
        [16, 50, 512]
    """
    return min(most, max(math.ceil(n / _PARTS), _FEWEST))


def parts_of(curves: Curves) -> list[Part]:
    """Return curves in parts, of one length and metric if they can: one, maybe empty."""
    lengths, metric = curves.ragged.lengths, curves.keys["metric"].cat.codes.to_numpy()
    order = np.lexsort((metric, lengths))
    changes = np.diff(lengths[order]).astype(bool) | np.diff(metric[order]).astype(bool)
    least = part_size(len(order), CHUNK)
    places, place = [], order[:0]
    for group in np.split(order, np.flatnonzero(changes) + 1):
        place = np.concatenate([place, group])
        if len(place) >= least:
            places += np.array_split(place, math.ceil(len(place) / CHUNK))
            place = order[:0]
    if len(place) or not places:
        places.append(place)
    return [part_of(curves, np.sort(one)) for one in places]


def analyse(
    analyses: Mapping[str, Analysis],
    curves: Curves,
    execution: Execution | None = None,
    *,
    label: str = "Inference",
    progress: Progress = None,
) -> dict[str, pd.DataFrame]:
    """Run analyses of curves, in chunks.

    Args:
        analyses: By name.
        curves: The curves.
        execution: How the work is spread; by default here, one chunk after another.
        label: What the bar calls the work.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        What each analysis returns, in the order of the curves.

    Raises:
        InputError: See :func:`run_chunks`.
    """
    # The longest first, so that processes end together.
    ordered = sorted(analyses.items(), key=lambda entry: -entry[1].cost)
    parts = parts_of(curves)
    work = [(name, part) for name, _ in ordered for part in parts]
    chunks = [analyses[name].chunk(name, part) for name, part in work]
    tables = run_chunks(chunks, execution, label=label, progress=progress)
    found = defaultdict(list)
    for (name, part), table in zip(work, tables, strict=True):
        number = table["curve"].to_numpy() if "curve" in table else np.arange(len(table))
        found[name].append(restored(table, curves).set_axis(part.place[number]))
    return {name: _in_order(found[name]) for name in analyses}


def part_of(curves: Curves, place: Ints) -> Part:
    """Return some curves as another process gets them: without the names of all others.

    A chunk that carried them would be as large as the study.

    Args:
        curves: The curves.
        place: Numbers of those.
    """
    some = curves[place]
    named = {
        str(name): column.cat.remove_unused_categories()
        for name, column in some.keys.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    return Part(replace(some, keys=some.keys.assign(**named)), place)


def restored(table: pd.DataFrame, curves: Curves) -> pd.DataFrame:
    """Return what was found of some curves with the categories that names have among all.

    Args:
        table: What a chunk of :func:`part_of` found.
        curves: All curves.
    """
    named = {
        name: table[name].astype(curves.keys[key].dtype)
        for name in map(str, table)
        if isinstance(table[name].dtype, pd.CategoricalDtype)
        and (key := name.removeprefix("other_")) in curves.keys
        and len(curves.keys[key].cat.categories)  # else they have no type
    }
    return table.assign(**named)


def _in_order(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return tables, whose index is the number of the curve, as one in the order of the curves."""
    table = pd.concat(tables).sort_index(kind="stable")
    if "curve" in table:
        table = table.assign(curve=table.index.to_numpy())
    return table.reset_index(drop=True)


def run_chunks(
    chunks: Sequence[Chunk],
    execution: Execution | None = None,
    *,
    label: str = "Inference",
    progress: Progress = None,
) -> list[pd.DataFrame]:
    """Run chunks of work.

    Args:
        chunks: The chunks, in the order in which they are started.
        execution: How they are spread; by default here, one after another.
        label: What the bar calls the work.
        progress: Whether to show a bar, or what to call with (work done, work); by
            default a bar in terminals and notebooks.

    Returns:
        What each chunk found.

    Raises:
        InputError: A chunk failed. The others are finished first, and kept if there is a folder.
    """
    cost = [chunk.cost * len(chunk.curves) for chunk in chunks]
    execution = (execution or Execution()).sized(sum(cost))
    place = {id(chunk.call): number for number, chunk in enumerate(chunks)}
    found: dict[int, pd.DataFrame] = {}
    failed: dict[int, Exception] = {}
    done = 0
    calls = [chunk.call for chunk in chunks]
    with progress_bar(label, progress) as report:
        for outcome in execute(_table, calls, execution, keep=execution.keep):
            number = place[id(outcome.task)]
            if outcome.error is None:
                found[number] = _frame(outcome.value)
            else:
                failed[number] = outcome.error
            done += cost[number]
            if report:
                report(done, sum(cost))
    if failed:
        raise _failure(failed, chunks)
    return [found[number] for number in range(len(chunks))]


def _table(call: partial[pd.DataFrame]) -> pa.Table:
    """Return what a call finds as an Arrow table, which can be kept."""
    return pa.Table.from_pandas(call(), preserve_index=False)


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as it was before it came from another process or a file."""
    frame: pd.DataFrame = table.to_pandas()
    if table.num_rows:
        return frame
    # It came without dictionaries, whose type is then lost.
    texts = {
        field.name: pd.CategoricalDtype(pd.Index([], dtype="str"))
        for field in table.schema
        if pa.types.is_dictionary(field.type) and not pa.types.is_integer(field.type.value_type)
    }
    return frame.astype(texts)


def _failure(failed: dict[int, Exception], chunks: Sequence[Chunk]) -> Exception:
    number, error = min(failed.items())
    if isinstance(error, BigbenchMetaError):
        return error
    first = chunks[number]
    n = sum(chunks[other].name == first.name for other in failed)
    named = first.curves.keys[["subtask", "metric"]].head(1)
    begin = "".join(f" from {task} under {metric} on" for task, metric in named.to_numpy())
    failure = InputError(
        f"{first.name} failed in {n} of its chunks; the first has "
        f"{counted(len(first.curves), 'curve')}{begin}: {type(error).__name__}: {error}",
        where=first.name,
        hint="the other chunks are finished; please report this error",
    )
    failure.__cause__ = error
    return failure


def of_tasks(samples: Samples, curves: Curves) -> Samples:
    """Return the samples of the tasks of curves; they are not read if they can be when needed."""
    tasks = sorted(set(curves.keys["task"].astype(str)))
    if isinstance(samples, pd.DataFrame):
        return samples[samples["task"].isin(tasks)]
    if isinstance(samples, pa.Table):
        wanted = pa.compute.is_in(samples["task"].cast(pa.string()), value_set=pa.array(tasks))
        return samples.filter(wanted)
    return samples
