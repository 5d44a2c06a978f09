"""The scores of RESULTS with their numbers of examples, and what is wrong with them.

Scores come as one frame, or from a large store in groups of whole tasks, of which one is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.cli import console
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.readers.problems import Notes
    from bigbench_meta.store.groups import ObservationGroups

__all__ = ["looked_through"]

_MOST_HINTS: Final = 3


def looked_through(
    observations: pd.DataFrame | ObservationGroups,
    options: dict[str, Any],
    catalog: MetricCatalog | None,
    *,
    is_published: bool,
) -> tuple[pd.DataFrame | Iterable[pd.DataFrame], list[pd.DataFrame]]:
    """Return scores with numbers of examples, and what is wrong with scores, runs and numbers.

    Numbers that files state come first; where none is, or one is wrong, ``--n-examples`` counts.
    Hints are printed.

    Args:
        observations: The scores.
        options: Of the command line.
        catalog: Metric catalog; None for the packaged one.
        is_published: Whether they are an embedded set, whose numbers were checked when they were
            taken over (docs/uncertainty.md).

    Returns:
        The scores, and problems tables; of groups the last one is of conflicts between files.
    """
    import pandas as pd

    from bigbench_meta.core.schema import conform, to_frame
    from bigbench_meta.curves.counts import fitting_counts
    from bigbench_meta.curves.runs import family_hint, run_problems
    from bigbench_meta.curves.survey import Surveyed, places_of, survey_of
    from bigbench_meta.curves.units import note_units
    from bigbench_meta.readers.problems import Notes, ProblemLog

    conflicts, of_counts, of_units = Notes(), Notes(), Notes()
    with_counts = _Counted(observations, options, catalog, is_published=is_published)
    whole: list[pd.DataFrame] = []
    if isinstance(observations, pd.DataFrame):
        survey, models = survey_of([observations]), None
    else:
        survey = survey_of(observations.noting(conflicts))
        models = survey.table

    def noting() -> Iterator[pd.DataFrame]:
        for frame in with_counts.noting(of_counts):
            places = places_of(frame)
            note_units(of_units, conform(frame), places, models=models, catalog=catalog)
            if models is None:
                whole.append(frame)
            yield frame

    if "example_counts" in options:
        hints = fitting_counts(noting(), catalog=catalog)
        with_counts.tell()
        _tell_hints(hints)
    else:
        for _ in noting():
            pass
    log = ProblemLog()
    conflicts.tell(log)
    problems = [
        to_frame(of_units.table()),
        run_problems(survey, checkpoint=options["checkpoint"]),
        to_frame(of_counts.table()),
        to_frame(log.table()),
    ]
    if len(problems[0]):
        console.note(
            "Some scores are outside the range of their metric or may be in two units, or some "
            "sizes are implausible (see below). A curve that mixes units has no emergence score, "
            "and a model without a plausible size is left out. If all scores are in another unit, "
            "say so in a catalog (--catalog)."
        )
    if hint := family_hint(survey):
        console.note(hint)
    return whole[0] if whole else Surveyed(with_counts, survey), problems


@dataclass
class _Counted:
    """Scores with the numbers of examples that options give.

    Attributes:
        n_rows: Rows of the groups that were gone through last.
        n_stated: Of these, rows with a number that files state.
        n_known: Rows with a number.
        without: Their tasks without a number.
    """

    observations: pd.DataFrame | ObservationGroups
    options: dict[str, Any]
    catalog: MetricCatalog | None
    is_published: bool = field(kw_only=True)
    n_rows: int = 0
    n_stated: int = 0
    n_known: int = 0
    without: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        from bigbench_meta.readers.problems import Notes

        return self.noting(Notes())

    @property
    def _given(self) -> tuple[str, ...]:
        given: tuple[str, ...] = self.options.get("example_counts", ())
        return given

    @property
    def _named(self) -> str:
        return f"--n-examples {' '.join(self._given)}"

    def noting(self, notes: Notes) -> Iterator[pd.DataFrame]:
        """Yield groups and note the numbers that scores contradict."""
        import pandas as pd

        from bigbench_meta.curves.counts import note_counts
        from bigbench_meta.curves.survey import places_of

        self.n_rows = self.n_stated = self.n_known = 0
        self.without = set()
        is_whole = isinstance(self.observations, pd.DataFrame)
        groups: Any = [self.observations] if is_whole else self.observations
        for frame in groups:
            places, stated = places_of(frame), frame
            if not self.is_published:
                stated = note_counts(notes, frame, places, catalog=self.catalog)
            if self._given:
                filled = self._filled(stated)
                added = filled["n_examples"].where(stated["n_examples"].isna())
                checked = note_counts(
                    notes, filled.assign(n_examples=added), places, catalog=self.catalog,
                    where=self._named, section=1,
                )  # fmt: skip
                counts = stated["n_examples"].fillna(checked["n_examples"])
                stated = stated.assign(n_examples=counts)
            yield stated

    def _filled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return scores with the numbers of examples that ``--n-examples`` gives."""
        from bigbench_meta.catalog.example_counts import with_example_counts

        filled = frame
        for one in self._given:
            try:
                filled = with_example_counts(filled, _number(one))
            except InputError as error:
                raise InputError(
                    error.message, where=f"--n-examples {error.where}", hint=error.hint
                ) from error
        unknown = filled["n_examples"].isna()
        self.n_rows += len(filled)
        self.n_stated += int(frame["n_examples"].notna().sum())
        self.n_known += int((~unknown).sum())
        self.without |= set(filled.loc[unknown, "task"].astype(str).unique())
        return filled

    def tell(self) -> None:
        """Print how many scores ``--n-examples`` gives a number, if it does not to all."""
        if not self._given:
            return
        total = self.n_rows
        if self.n_stated == self.n_known:
            console.note(
                f"{self._named} has no effect: each of {counted(total, 'score')} already has a "
                "number of examples or is not covered by it."
            )
        elif self.n_known < total:
            console.note(
                f"{self._named} gives the number of examples of "
                f"{counted(self.n_known - self.n_stated, 'score')}. It is still unknown for "
                f"{total - self.n_known} of {counted(total, 'score')}, {min(self.without)} among "
                "their tasks."
            )


def _tell_hints(found: pd.DataFrame) -> None:
    """Print which numbers of examples would fit scores whose number is unknown."""
    found = found.drop_duplicates(["benchmark", "subtask"])
    if found.empty:
        return
    some = found.head(_MOST_HINTS)
    fits = [f"{n:,} ({task})" for task, n in zip(some["subtask"], some["n_examples"], strict=True)]
    more = (
        f", and there is such a number for {rest} more" if (rest := len(found) - len(some)) else ""
    )
    console.note(
        "Where the number of examples is unknown, the smallest that gives all scores of a task is "
        f"{', '.join(fits)}{more}. It is not used; it or a multiple may be right (--n-examples)."
    )


def _number(given: str) -> int | str:
    """Return a number of examples as a number, and a file or name as it is."""
    try:
        value = float(given)
    except ValueError:
        return given
    if not value.is_integer():
        raise InputError(f"{given} is not a whole number", where="n_examples")
    return int(value)
