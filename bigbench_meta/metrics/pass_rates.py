"""Scores of problems from all their samples together, for the metrics that need several of them.

The samples of a model on a problem are counted, right ones and all; a score is a mean over the
problems of a task, or of a bucket of problems that are about as difficult.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.keys import group_rows
from bigbench_meta.metrics.repeated import difficulty_buckets, solved_by_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.metrics.definitions import Metric

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["DifficultyBuckets", "PassCounts", "PassScore", "Run"]


class Run(NamedTuple):
    """The key of samples of a model on a task, all replicates together."""

    benchmark: str
    task: str
    subtask: str
    model_family: str
    model_name: str
    shots: int | None
    variant: str | None
    settings: str | None


_TEST: Final = ("benchmark", "task", "subtask", "shots")
"""What reference models and the models of a curve must have in common."""


@dataclass(frozen=True, kw_only=True)
class DifficultyBuckets:
    """Score problems of about the same difficulty together, as the GPT-4 report does.

    Reference models fix the buckets, see
    :func:`bigbench_meta.metrics.repeated.difficulty_buckets`. Every bucket is a subtask; problems
    that no reference model solves are one more. The reference models themselves get no scores.

    Attributes:
        models: Names of the reference models, smaller than those of the curve.
        n_buckets: Number of buckets; 6 in the report.

    Raises:
        InputError: There is no model, or less than one bucket.

    References:
        OpenAI (2023), GPT-4 technical report, arXiv 2303.08774, sec. 3.2.
    """

    models: Sequence[str]
    n_buckets: int = 6

    def __post_init__(self) -> None:
        """Check the options."""
        if isinstance(self.models, str):
            object.__setattr__(self, "models", (self.models,))
        if not self.models:
            raise InputError("names no reference model", where="difficulty")
        if self.n_buckets < 1:
            raise InputError(f"{self.n_buckets} is below 1", where="difficulty: n_buckets")

    def label(self, subtask: str, bucket: int) -> str:
        """Return the name of a bucket as a subtask."""
        if bucket > self.n_buckets:
            return f"{subtask}: solved by no reference model"
        return f"{subtask}: difficulty {bucket} of {self.n_buckets}"


class PassScore(NamedTuple):
    """The score of a model on the problems of a task or bucket.

    Attributes:
        run: The samples.
        label: The subtask, or the bucket of it.
        score: Mean over problems.
        stderr: Its standard error, NaN for one problem.
        n_problems: Number of problems.
    """

    run: Run
    label: str
    score: float
    stderr: float
    n_problems: int


class _Note(NamedTuple):
    """What could not be scored: the run it is about, or one of several, why and how severe."""

    run: Run
    reason: str
    severity: str


class PassCounts:
    """Right samples and all samples of every problem by every model, added up over batches."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []

    def add(self, table: pa.Table, right: Floats) -> None:
        """Count samples.

        Args:
            table: Samples, of which the key columns and ``example_id`` are used.
            right: 1 for a right one, 0 for a wrong one, shape (samples,); NaN is not counted.
        """
        known = ~np.isnan(right)
        if not known.any():
            return
        part = table.select([*Run._fields, "example_id"]).filter(pa.array(known))
        self._parts.append(_summed(part, right[known], np.ones(part.num_rows)))

    def merge(self, other: PassCounts) -> None:
        """Add the counts of other samples."""
        self._parts += other._parts

    def scores(
        self, metric: Metric, difficulty: DifficultyBuckets | None
    ) -> tuple[list[PassScore], list[_Note]]:
        """Return the scores under a metric, and what could not be scored.

        Args:
            metric: A metric that is ``per_problem``.
            difficulty: Buckets of problems; None for all problems of a task together.

        Raises:
            InputError: A reference model has no samples at all.
        """
        scores: list[PassScore] = []
        notes: list[_Note] = []
        if not self._parts:
            return scores, notes
        everything = pa.concat_tables(self._parts, promote_options="default").unify_dictionaries()
        counts = _summed(
            everything.drop_columns(["right", "total"]),
            everything["right"].to_numpy(), everything["total"].to_numpy(),
        )  # fmt: skip
        tests = _tests(counts)
        if difficulty is not None:
            _check_models(difficulty, {run.model_name for test in tests for run in test.runs})
        for test in tests:
            subtask = test.runs[0].subtask
            groups = [(subtask, np.ones(test.right.shape[1], dtype=bool))]
            scored = list(range(len(test.runs)))
            if difficulty is not None:
                scored = [i for i in scored if test.runs[i].model_name not in difficulty.models]
                groups = _buckets(test, difficulty, notes) if scored else []
            for label, problems in groups:
                for curve in _curves(test.runs, scored):
                    scores += _curve_scores(metric, test, curve, label, problems, notes)
        order = {run: place for place, run in enumerate(_runs(counts))}
        return sorted(scores, key=lambda one: order[one.run]), notes


class _Test(NamedTuple):
    """The runs on one test set, and their counts, shape (runs, problems)."""

    runs: list[Run]
    right: Floats
    total: Floats


def _summed(table: pa.Table, right: Floats, total: Floats) -> pa.Table:
    """Return one row per model and problem, with sums of the counts."""
    group, first = group_rows(table, table.column_names)
    found = table.take(pa.array(first))
    for name, counts in (("right", right), ("total", total)):
        sums = np.bincount(group, counts, len(first))
        found = found.append_column(name, pa.array(sums, pa.float64()))
    return found


def _runs(counts: pa.Table) -> list[Run]:
    """Return the runs, in order of appearance."""
    _, first = group_rows(counts, Run._fields)
    return [Run(**row) for row in counts.select(Run._fields).take(pa.array(first)).to_pylist()]


def _tests(counts: pa.Table) -> list[_Test]:
    """Divide the counts into test sets; problems are in the order of their names."""
    test_of, _ = group_rows(counts, _TEST)
    run_of, _ = group_rows(counts, Run._fields)
    runs = _runs(counts)
    names = np.array(counts["example_id"].to_pylist(), dtype=object)
    right, total = counts["right"].to_numpy(), counts["total"].to_numpy()
    tests = []
    order = np.argsort(test_of, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(test_of[order])) + 1):
        own, run = np.unique(run_of[rows], return_inverse=True)
        ids, problem = np.unique(names[rows], return_inverse=True)
        c, n = np.zeros((2, len(own), len(ids)))
        c[run, problem], n[run, problem] = right[rows], total[rows]
        tests.append(_Test([runs[i] for i in own], c, n))
    return tests


def _check_models(difficulty: DifficultyBuckets, known: set[str]) -> None:
    for model in difficulty.models:
        if model not in known:
            raise InputError(
                f"{model!r} has no samples",
                where="difficulty",
                hint=f"models with samples: {', '.join(sorted(known))}",
            )


def _buckets(
    test: _Test, difficulty: DifficultyBuckets, notes: list[_Note]
) -> list[tuple[str, Bools]]:
    """Return the buckets of a test set, each with its name and problems."""
    by_model = np.array(
        [[run.model_name == model for run in test.runs] for model in difficulty.models]
    )
    # A reference model counts with all its variants together.
    right, total = by_model @ test.right, by_model @ test.total
    rate = (right / np.where(total > 0, total, np.nan)).mean(axis=0).round(12)
    bucket = difficulty_buckets(rate, difficulty.n_buckets)
    subtask, n_problems, k = test.runs[0].subtask, len(bucket), difficulty.n_buckets
    about = test.runs[int(np.flatnonzero(by_model.any(axis=0))[0]) if by_model.any() else 0]
    if n_unknown := int((bucket == 0).sum()):
        without = [
            model for model, n in zip(difficulty.models, total, strict=True) if (n == 0).any()
        ]
        notes.append(
            _Note(
                about,
                f"{n_unknown} of {n_problems} problems of {subtask} are in no bucket: no samples "
                f"of {', '.join(without)}",
                "warning" if n_unknown < n_problems else "error",
            )
        )
    solved = (bucket > 0) & (bucket <= k)
    if n_unknown == n_problems:
        return []
    if solved.sum() < k:
        reason = f"the reference models solve {solved.sum()} problems of {subtask}: too few for "
        notes.append(_Note(about, f"{reason}{k} buckets", "error"))
        return []
    ends = [(rate[bucket == b].min(), rate[bucket == b].max()) for b in range(1, k + 1)]
    if n_tied := sum(hardest == easiest for (hardest, _), (_, easiest) in pairwise(ends)):
        reason = (
            f"{n_tied} of the {k - 1} limits between the buckets of {subtask} lie between problems "
            "of equal pass rate, which are divided in the order of example_id"
        )
        notes.append(_Note(about, reason, "warning"))
    return [(difficulty.label(subtask, b), bucket == b) for b in range(1, k + 2) if b in bucket]


def _curves(runs: list[Run], scored: list[int]) -> Iterator[list[int]]:
    """Divide runs into curves: those that differ in the model alone."""
    curves: defaultdict[Run, list[int]] = defaultdict(list)
    for i in scored:
        curves[runs[i]._replace(model_name="")].append(i)
    yield from curves.values()


def _curve_scores(
    metric: Metric, test: _Test, curve: list[int], label: str, problems: Bools, notes: list[_Note]
) -> list[PassScore]:
    """Return the scores of the models of a curve on some problems."""
    right, total = test.right[curve][:, problems], test.total[curve][:, problems]
    if metric.only_solved:
        solved = solved_by_all(right)
        if not solved.all():
            least = int((right > 0).sum(axis=1).argmin())
            weakest = test.runs[curve[least]]
            notes.append(
                _Note(
                    weakest,
                    f"{(~solved).sum()} of {len(solved)} problems of {label} are excluded, which "
                    f"not every model of {weakest.model_family} solves; "
                    f"{weakest.model_name} solves the fewest, {(right[least] > 0).sum()}",
                    "warning" if solved.any() else "error",
                )
            )
        right, total = right[:, solved], total[:, solved]
    scores = []
    for i, c, n in zip(curve, right, total, strict=True):
        values = metric.score(c[n > 0], n[n > 0])
        good = np.isfinite(values)
        run = test.runs[i]
        if not good.all():
            reason = f"{(~good).sum()} of {len(good)} problems have too few samples: "
            reason += f"{run.model_name} on {label}"
            notes.append(_Note(run, reason, "warning" if good.any() else "error"))
        if good.any():
            values = values[good]
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            scores.append(PassScore(run, label, float(values.mean()), float(error), len(values)))
    return scores
