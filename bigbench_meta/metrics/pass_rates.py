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


# Counts that are not added up yet, at least; then as many as there are.
_PENDING: Final = 1 << 20


class PassCounts:
    """Right samples and all samples of every problem by every model, added up over batches.

    Models and problems are numbered, so that a problem of a model takes 24 bytes.
    """

    def __init__(self) -> None:
        self._runs: dict[Run, int] = {}
        self._names: dict[str, int] = {}
        self._counts = _Counts.empty()
        self._pending: list[_Counts] = []

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
        run, first = group_rows(part, Run._fields)
        runs = part.select(Run._fields).take(pa.array(first)).to_pylist()
        name, first_name = group_rows(part, ["example_id"])
        names = part["example_id"].take(pa.array(first_name)).to_pylist()
        self._add(
            [Run(**row) for row in runs], names,
            _Counts(_keys(run, name), right[known], np.ones(part.num_rows)).summed(),
        )  # fmt: skip

    def merge(self, other: PassCounts) -> None:
        """Add the counts of other samples."""
        for counts in (other._counts, *other._pending):
            self._add(list(other._runs), list(other._names), counts)

    def _add(self, runs: list[Run], names: list[str], counts: _Counts) -> None:
        """Add counts that are numbered by some runs and names."""
        of_runs = [self._runs.setdefault(one, len(self._runs)) for one in runs]
        of_names = [self._names.setdefault(one, len(self._names)) for one in names]
        if not len(counts.key):
            return
        run, name = counts.places
        key = _keys(np.array(of_runs)[run], np.array(of_names)[name])
        self._pending.append(_Counts(key, counts.right, counts.total))
        if sum(len(one.key) for one in self._pending) > max(_PENDING, len(self._counts.key)):
            self._add_up()

    def _add_up(self) -> None:
        parts = [self._counts, *self._pending]
        self._pending = []
        key, right, total = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("key", "right", "total")
        )
        self._counts = _Counts(key, right, total).summed()

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
        if not self._runs:
            return scores, notes
        if difficulty is not None:
            _check_models(difficulty, {run.model_name for run in self._runs})
        for test in self._tests():
            subtask = test.runs[0].subtask
            groups = [(subtask, np.ones(test.right.shape[1], dtype=bool))]
            scored = list(range(len(test.runs)))
            if difficulty is not None:
                scored = [i for i in scored if test.runs[i].model_name not in difficulty.models]
                groups = _buckets(test, difficulty, notes) if scored else []
            for label, problems in groups:
                for curve in _curves(test.runs, scored):
                    scores += _curve_scores(metric, test, curve, label, problems, notes)
        return sorted(scores, key=lambda one: self._runs[one.run]), notes

    def _tests(self) -> Iterator[_Test]:
        """Yield the counts by test set; problems are in the order of their names."""
        self._add_up()
        counts = self._counts
        run, name = counts.places
        ends = np.searchsorted(run, np.arange(len(self._runs) + 1))
        names = np.array(list(self._names), dtype=object)
        tests: defaultdict[tuple[object, ...], list[Run]] = defaultdict(list)
        for one in self._runs:
            tests[tuple(getattr(one, field) for field in _TEST)].append(one)
        for runs in tests.values():
            rows = [slice(*ends[self._runs[one] : self._runs[one] + 2].tolist()) for one in runs]
            own = np.unique(np.concatenate([name[some] for some in rows]))
            own = own[np.argsort(names[own], kind="stable")]
            problem = np.empty(len(names), dtype=np.int64)
            problem[own] = np.arange(len(own))
            c, n = np.zeros((2, len(runs), len(own)))
            for place, some in enumerate(rows):
                c[place, problem[name[some]]] = counts.right[some]
                n[place, problem[name[some]]] = counts.total[some]
            yield _Test(runs, c, n)


class _Test(NamedTuple):
    """The runs on one test set, and their counts, shape (runs, problems)."""

    runs: list[Run]
    right: Floats
    total: Floats


class _Counts(NamedTuple):
    """Right samples and all samples by run and problem, whose numbers are joined into a key."""

    key: Ints
    right: Floats
    total: Floats

    @classmethod
    def empty(cls) -> _Counts:
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))

    @property
    def places(self) -> tuple[Ints, Ints]:
        """The numbers of run and problem of each."""
        return self.key >> 32, self.key & 0xFFFFFFFF

    def summed(self) -> _Counts:
        """Return one entry a key, in the order of the keys."""
        if not len(self.key):
            return self
        order = np.argsort(self.key, kind="stable")
        key = self.key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        right, total = (
            np.add.reduceat(values[order], starts) for values in (self.right, self.total)
        )
        return _Counts(key[starts], right, total)


def _keys(run: Ints, name: Ints) -> Ints:
    return (run << 32) | name


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
