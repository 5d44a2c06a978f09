"""Analyse curves some at a time: in several processes, and kept as they finish.

What an analysis finds of a curve depends on that curve, the seed and the options alone, so curves
can be analysed in chunks. These are the same however many processes there are, and so are the
results.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import available_jobs, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bigbench_meta.curves.build import Curves

__all__ = ["Analysis", "Execution", "analyse"]

# Enough that arrays are long, and few enough that processes end together.
_CURVES: Final = 64
# Curves, times their cost, that are worth the second in which a process starts.
_WORTH_PROCESSES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How work is spread.

    Attributes:
        jobs: Processes; None for as many as there are processors, if there is enough to do. A
            script that uses several must guard its main part with ``if __name__ == "__main__"``.
        keep: Folder for what is finished, so that a run that was stopped does not start anew.
    """

    jobs: int | None = 1
    keep: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """An analysis of each curve by itself.

    Attributes:
        function: Called with curves; returns a frame with one row a curve, in their order.
        options: Its keyword arguments.
        of_curves: Those that have one value a curve.
        samples: Samples table, for a function that takes ``samples``.
        cost: About what a curve costs, compared with other analyses.
    """

    function: Callable[..., pd.DataFrame]
    options: Mapping[str, Any] = field(default_factory=dict)
    of_curves: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    samples: pd.DataFrame | pa.Table | None = None
    cost: int = 1

    def chunk(self, curves: Curves, start: int) -> partial[pd.DataFrame]:
        """Return the analysis of some curves, as a call without arguments."""
        stop = start + _CURVES
        chosen = np.zeros(len(curves), dtype=bool)
        chosen[start:stop] = True
        some = curves.select(chosen)
        options = dict(self.options)
        options |= {name: values[start:stop] for name, values in self.of_curves.items()}
        if self.samples is not None:
            options["samples"] = _of_tasks(self.samples, some)
        return partial(self.function, some, **options)


def analyse(
    analyses: Mapping[str, Analysis],
    curves: Curves,
    execution: Execution | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Run analyses of curves, in chunks.

    Args:
        analyses: By name.
        curves: The curves.
        execution: How the work is spread; by default here, one chunk after another.
        progress: Called with (work done, work).

    Returns:
        For each analysis one row a curve, in the order of the curves.

    Raises:
        InputError: A chunk failed. The others are finished first, and kept if there is a folder.
    """
    execution = execution or Execution()
    starts = range(0, len(curves), _CURVES) or [0]
    tasks = {
        id(call): (call, name, start)
        for name, analysis in sorted(analyses.items(), key=lambda entry: -entry[1].cost)
        for start in starts
        for call in [analysis.chunk(curves, start)]
    }
    cost = {name: analysis.cost for name, analysis in analyses.items()}
    total = sum(cost.values()) * len(curves)
    jobs = execution.jobs
    if jobs is None:
        jobs = available_jobs() if total > _WORTH_PROCESSES else 1
    parts: dict[tuple[str, int], pa.Table] = {}
    failed: list[tuple[str, int, Exception]] = []
    done = 0
    calls = [call for call, _, _ in tasks.values()]
    for outcome in execute(_table, calls, jobs=jobs, keep=execution.keep):
        _, name, start = tasks[id(outcome.task)]
        if outcome.error is None:
            parts[name, start] = outcome.value
        else:
            failed.append((name, start, outcome.error))
        done += cost[name] * len(outcome.task.args[0])
        if progress:
            progress(done, total)
    if failed:
        raise _failure(failed, curves)
    return {
        name: pd.concat([parts[name, start].to_pandas() for start in starts], ignore_index=True)
        for name in analyses
    }


def _table(call: partial[pd.DataFrame]) -> pa.Table:
    """Return what a call finds as an Arrow table, which can be kept."""
    return pa.Table.from_pandas(call(), preserve_index=False)


def _failure(failed: list[tuple[str, int, Exception]], curves: Curves) -> Exception:
    name, start, error = min(failed, key=lambda one: one[:2])
    if isinstance(error, InputError):
        return error
    key = curves.keys.iloc[start]
    n = min(_CURVES, len(curves) - start)
    failure = InputError(
        f"{name} failed in {len(failed)} of its chunks; the first has {n} curves from "
        f"{key['subtask']} under {key['metric']} on: {type(error).__name__}: {error}",
        where=name,
        hint="the other chunks are finished; please report this error",
    )
    failure.__cause__ = error
    return failure


def _of_tasks(samples: pd.DataFrame | pa.Table, curves: Curves) -> pd.DataFrame | pa.Table:
    """Return the samples of the tasks of curves."""
    tasks = sorted(set(curves.keys["task"].astype(str)))
    if isinstance(samples, pd.DataFrame):
        return samples[samples["task"].isin(tasks)]
    wanted = pa.compute.is_in(samples["task"].cast(pa.string()), value_set=pa.array(tasks))
    return samples.filter(wanted)
