"""Load RESULTS as observations, curves and studies, and print what every command reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bigbench_meta.catalog.embedded import STUDIED_SETS, embedded_set
from bigbench_meta.cli import console
from bigbench_meta.cli.examples import looked_through
from bigbench_meta.cli.output import refuse_output
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from bigbench_meta.aggregate.by_metric import Level
    from bigbench_meta.aggregate.options import StudyOptions
    from bigbench_meta.catalog.embedded import EmbeddedSet
    from bigbench_meta.catalog.known_issues import IssueFindings, KnownIssues
    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.study import Study
    from bigbench_meta.store.groups import ObservationGroups
    from bigbench_meta.store.samples import StoredSamples
    from bigbench_meta.store.store import Store

__all__ = [
    "Loaded",
    "NothingSelectedError",
    "catalog",
    "counted_curves",
    "curves_of",
    "finish",
    "inference_settings",
    "level_of",
    "load",
    "of_each_set",
    "samples_of",
    "sets_to_study",
    "study_document",
    "study_of",
    "study_options",
    "tell_doubts",
    "tell_missing_intervals",
]

T = TypeVar("T")

_MOST_NAMED: Final = 10
# Scores of a store that are read at once; of more, some tasks at a time.
_MOST_IN_MEMORY: Final = 1 << 20
# What readers say of a table without the columns of observations.
_OTHER_TABLE: Final = "required column missing|lacks the column"


class NothingSelectedError(InputError):
    """No score has the tasks, metrics and families that the options select."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What RESULTS hold.

    Attributes:
        observations: Their scores, those that the options select, with the numbers of examples
            that ``--n-examples`` gives and without those that the scores contradict; of a large
            store in groups of whole tasks.
        problems: Problems of the scores themselves and of reading.
        sources: Names of the files, folders or store.
        inputs: XXH3-128 digest of each file that was read, by name; of a store, of its manifest,
            which holds the digests of its files. None for a file that could not be read.
        store: The store, if RESULTS are one.
        embedded: The set of published results, if there are no RESULTS.
        issues: Registry of known issues.
        exclude: Whether scores with known issues are excluded, or the IDs of the issues.
    """

    observations: pd.DataFrame | Iterable[pd.DataFrame]
    problems: pd.DataFrame
    sources: list[str]
    inputs: dict[str, str | None]
    store: Store | None = None
    embedded: EmbeddedSet | None = None
    issues: KnownIssues
    exclude: bool | list[str]

    @property
    def title(self) -> str:
        """The names of all sources."""
        return ", ".join(self.sources)

    @property
    def whole(self) -> pd.DataFrame:
        """The scores as one frame, of a large store, too, for what cannot do with some tasks."""
        import pandas as pd

        if isinstance(self.observations, pd.DataFrame):
            return self.observations
        return pd.concat(self.observations).sort_index().reset_index(drop=True)

    def document(
        self, findings: IssueFindings, keys: pd.DataFrame, written: list[Path] | None = None
    ) -> dict[str, Any]:
        """Return the part of every JSON document on doubts, known issues and files written.

        Args:
            findings: What known issues affect.
            keys: Keys of the curves that the document counts.
            written: The files, if any can be.
        """
        from bigbench_meta.curves.runs import doubtful_counts, doubtful_sentences

        counts = ("n_rows", "n_curves", "n_rows_excluded", "n_curves_excluded")
        outputs = {} if written is None else {"outputs": [path.as_posix() for path in written]}
        return {
            **doubtful_counts(keys),
            "warnings": doubtful_sentences(keys),
            "n_problems": len(self.problems),
            "problems": console.records(self.problems),
            "known_issues": {
                "excluded": findings.excluded,
                **{name: getattr(findings, name) for name in counts},
                "affected": console.records(findings.affected),
            },
            **outputs,
        }


def load(results: tuple[str, ...], options: dict[str, Any]) -> Loaded:
    """Read RESULTS, or an embedded set if there are none, and select what options name.

    Raises:
        InputError: Results and embedded sets are named, or several sets; something cannot be read.
        NothingSelectedError: There are scores, but none that the options select.
    """
    import pandas as pd

    from bigbench_meta.catalog.published import data_path
    from bigbench_meta.core.schema import PROBLEMS, to_frame
    from bigbench_meta.readers import load_embedded, read_results
    from bigbench_meta.report.folder import digest_of_file
    from bigbench_meta.store.store import Store

    issues, exclude, results = _known_issues(results, options)
    selected: dict[str, Any] = {
        column: list(options[name])
        for name, column in (("task", "task"), ("metric", "metric"), ("family", "model_family"))
        if options[name]
    }
    problems = to_frame(PROBLEMS.empty())
    store: Store | None = None
    inputs: dict[str, str | None] = {}
    entry = _embedded_set(results, options)
    observations: pd.DataFrame | ObservationGroups
    if len(results) == 1 and Store.is_store(results[0]):
        store = Store(results[0])
        observations, problems = _of_store(store, selected)
        manifest, digest = store.state()
        inputs[manifest] = digest
    elif results:
        if stores := [path for path in results if Store.is_store(path)]:
            raise InputError(
                "a store cannot be combined with other results",
                where=stores[0],
                hint="`bigbench-meta ingest` adds results to a store",
            )
        with console.progress("Reading") as progress:
            observations, problems = read_results(
                results,
                max_bytes=options["max_bytes"],
                mapping=options["mapping"],
                names=options["names"],
                path=options["path_pattern"],
                progress=progress,
                on_file=inputs.__setitem__,
            )
    elif entry:
        observations = load_embedded(entry.name)
        file = data_path(entry.file)
        inputs[file.name] = digest_of_file(file)
    refuse_output(results, inputs)
    there = _names_of(observations, selected)
    if isinstance(observations, pd.DataFrame):
        observations = _those_selected(observations, selected)
    if store and any(set(names) - set(there[column]) for column, names in selected.items()):
        there = _names_of(store.observation_groups(), selected)
    unknown = _unknown_names(selected, there)
    if not len(observations):
        console.print_problems(problems)
        where = f"embedded set {entry.name}" if entry else ", ".join(results)
        raise _nothing(selected, unknown, problems, where, has_mapping=bool(options["mapping"]))
    for sentence in unknown:
        console.note(f"{sentence[0].upper()}{sentence[1:]}")
    scores, (*own, conflicts) = looked_through(
        observations, options, catalog(options), is_published=entry is not None
    )
    found = [some for some in (*own, problems, conflicts) if len(some)]
    folders = [Path(path).resolve().name for path in results]
    if len(folders) > _MOST_NAMED:
        folders[_MOST_NAMED:] = [f"{len(folders) - _MOST_NAMED} more"]
    return Loaded(
        observations=scores,
        problems=pd.concat(found, ignore_index=True) if found else problems,
        inputs=inputs,
        sources=[entry.title] if entry else [f"store {folders[0]}"] if store else folders,
        store=store,
        embedded=entry,
        issues=issues,
        exclude=exclude,
    )


def _of_store(
    store: Store, selected: dict[str, Any]
) -> tuple[pd.DataFrame | ObservationGroups, pd.DataFrame]:
    """Return the scores of a store, in groups if there are many, and its problems."""
    import pandas as pd

    groups = store.observation_groups(**selected)
    if len(groups) > _MOST_IN_MEMORY:
        return groups, store.problems()
    problems = [store.problems(), store.conflicts(**selected)]
    return store.observations(**selected), pd.concat(problems, ignore_index=True)


def _nothing(
    selected: dict[str, list[str]],
    unknown: list[str],
    problems: pd.DataFrame,
    where: str,
    *,
    has_mapping: bool,
) -> InputError:
    """Return what to raise where no score could be read, or none has what is selected."""
    if selected:
        names = ", ".join(f"{name} {' or '.join(values)}" for name, values in selected.items())
        return NothingSelectedError(
            f"no scores of {names}",
            where=where,
            hint="; ".join(unknown) or "each name occurs in the results, but no score has them all",
        )
    other_table = not has_mapping and problems["reason"].str.contains(_OTHER_TABLE).any()
    hint = "a table with one column for each metric needs --mapping (docs/wide_tables.md)"
    return InputError("no score could be read", where=where, hint=hint if other_table else None)


def _those_selected(observations: pd.DataFrame, selected: dict[str, list[str]]) -> pd.DataFrame:
    for column, values in selected.items():
        observations = observations[observations[column].isin(values)]
    return observations


def _names_of(
    observations: pd.DataFrame | ObservationGroups, columns: Iterable[str]
) -> dict[str, list[str]]:
    """Return the names in some columns."""
    from bigbench_meta.store.groups import ObservationGroups

    if isinstance(observations, ObservationGroups):
        return {name: observations.names(name) for name in columns}
    return {name: [str(one) for one in observations[name].dropna().unique()] for name in columns}


def _unknown_names(selected: dict[str, list[str]], there: dict[str, list[str]]) -> list[str]:
    """Return what to say of names that no score has, with names that are alike."""
    found = []
    for column, values in selected.items():
        known = there[column]
        for value in values:
            if value in known:
                continue
            alike = did_you_mean(value, known)
            what = {"model_family": "family"}.get(column, column)
            found.append(
                f"no {what} is called {value!r}"
                + (f": {alike}" if alike else f" ({len(known):,} others are there)")
            )
    return found


def _known_issues(
    results: tuple[str, ...], options: dict[str, Any]
) -> tuple[KnownIssues, bool | list[str], tuple[str, ...]]:
    """Return the registry, what to exclude, and the results.

    In ``--exclude-known-issues results`` the word is a path of results and not an issue, unless
    there is such an issue.
    """
    from bigbench_meta.catalog.known_issues import EVERY, KnownIssues

    registry = KnownIssues.read(options["issues_path"])
    given: str | None = options["exclude"]
    if given is None or given == EVERY:
        return registry, given is not None, results
    ids = [name.strip() for name in given.split(",") if name.strip()]
    if not ids:
        raise InputError("names no issue", where="--exclude-known-issues")
    if not set(ids) <= set(registry.ids) and _exists(given):
        return registry, True, (given, *results)
    return registry, list(registry.select(ids).ids), results


def _embedded_set(results: tuple[str, ...], options: dict[str, Any]) -> EmbeddedSet | None:
    """Return the set that is read in place of RESULTS: GPT-3's results if none is named."""
    named = options["embedded"]
    if results:
        if named:
            raise InputError("cannot be combined with RESULTS", where="--embedded")
        return None
    if len(named) > 1:
        raise InputError(
            "embedded sets are never pooled",
            where="--embedded",
            hint="name one; `bigbench-meta analyze` shows several, each by itself",
        )
    if options["mapping"] or options["names"] or options["path_pattern"]:
        raise InputError("--mapping, --names and --path need RESULTS")
    return embedded_set(named[0] if named else "gpt3")


def sets_to_study(results: tuple[str, ...], options: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the embedded sets that ``analyze`` studies, none if there are RESULTS."""
    if _known_issues(results, options)[2]:
        return ()
    return tuple(dict.fromkeys(options["embedded"])) or STUDIED_SETS


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a name
        return False


def catalog(options: dict[str, Any]) -> MetricCatalog | None:
    """Return the catalog that ``--catalog`` names, None for the packaged one."""
    if not (path := options["catalog_path"]):
        return None
    from bigbench_meta.catalog.metrics import MetricCatalog, metric_catalog

    return metric_catalog().overridden_by(MetricCatalog.read(path))


def study_options(loaded: Loaded, options: dict[str, Any]) -> StudyOptions:
    """Return the options of a study of RESULTS; ``score`` and ``power`` have no ``--level``."""
    from bigbench_meta.aggregate.options import StudyOptions

    return StudyOptions(
        threshold=options["threshold"],
        level=level_of(loaded, options),
        scale=options["scale"],
        checkpoint=options["checkpoint"],
        min_scales=options["min_scales"],
        catalog=catalog(options),
        issues=loaded.issues,
        exclude_known_issues=loaded.exclude,
    )


def level_of(loaded: Loaded, options: dict[str, Any]) -> Level:
    """Return which of a task's rows count: as ``--level`` says, or as is usual for RESULTS."""
    if "level" not in options:
        return "all"
    level: Level = options["level"] or (loaded.embedded.level if loaded.embedded else "task")
    return level


def curves_of(loaded: Loaded, options: dict[str, Any]) -> tuple[Curves, IssueFindings]:
    """Return the curves of RESULTS and what known issues affect."""
    return study_options(loaded, options).curves(loaded.observations)


def of_each_set(
    names: Sequence[str], options: dict[str, Any], run: Callable[[dict[str, Any]], T]
) -> list[T]:
    """Return what a function gives of each embedded set that has any of the scores selected.

    Args:
        names: The sets. Those that have none are skipped with a note.
        options: Of the command.
        run: Called with the options for one set.

    Raises:
        NothingSelectedError: None has any.
    """
    found: list[T] = []
    skipped: list[NothingSelectedError] = []
    for name in names:
        try:
            found.append(run(options | {"embedded": (name,)}))
        except NothingSelectedError as error:
            skipped.append(error)
    if not found:
        raise skipped[0]
    for nothing in skipped:
        console.note(f"{nothing.where} is skipped: {nothing.message}.")
    return found


def counted_curves(
    loaded: Loaded, options: dict[str, Any]
) -> tuple[Curves, pd.DataFrame, IssueFindings]:
    """Return the curves of the level, their scores with flags, and what known issues affect."""
    import numpy as np

    from bigbench_meta.aggregate.by_metric import flagged, select_level

    chosen = study_options(loaded, options)
    curves, findings = chosen.curves(loaded.observations)
    scores = select_level(chosen.scores(curves), chosen.level)
    counted = curves[np.isin(np.arange(len(curves)), scores.index)]
    return counted, scores.assign(flagged=flagged(scores, options["threshold"])), findings


def tell_doubts(keys: pd.DataFrame) -> None:
    """Print first which curves are not of one run, one unit and one model a size."""
    from bigbench_meta.curves.runs import doubtful_sentences

    for sentence in doubtful_sentences(keys):
        click.echo(sentence)


def samples_of(loaded: Loaded, options: dict[str, Any]) -> StoredSamples | None:
    """Return what reads the samples of the selected scores if ``--with-samples`` is given."""
    if not options["with_samples"]:
        return None

    if loaded.store is None:
        raise InputError(
            "needs a store",
            where="--with-samples",
            hint="bigbench-meta ingest RESULTS --samples --store DIR",
        )
    return loaded.store.samples_by_task(model_family=list(options["family"]) or None)


def inference_settings(loaded: Loaded, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of inference as keyword arguments."""
    return {
        "n_boot": options["replicates"],
        "seed": options["seed"],
        "variation": options["variation"],
        "alpha_range": (0.0, options["largest_exponent"]),
        "samples": samples_of(loaded, options),
        "execution": options["execution"],
    }


def study_of(results: tuple[str, ...], options: dict[str, Any]) -> tuple[Loaded, Study]:
    """Run the study of RESULTS."""
    from bigbench_meta.report.study import run_study

    loaded = load(results, options)
    inference = options.get("inference", False)
    settings: dict[str, Any] = {}
    if inference:
        yardstick = options["yardstick"]
        settings = inference_settings(loaded, options)
        settings["yardstick"] = None if yardstick == "none" else yardstick
    with console.progress("Inference") as progress:
        study = run_study(
            loaded.observations,
            loaded.problems,
            study_options(loaded, options),
            embedded=loaded.embedded,
            inference=inference,
            progress=progress if inference else None,
            **settings,
        )
    return loaded, study


def study_document(study: Study) -> dict[str, Any]:
    """Return the part of a JSON document that describes the curves a study counts."""
    return {
        "n_curves": len(study.counted),
        "n_scored": study.n_scored,
        "n_flagged": study.n_flagged,
        "n_infinite": study.n_infinite,
        "threshold": study.threshold,
        "level": study.level,
    }


def tell_missing_intervals(scores: pd.DataFrame, options: dict[str, Any]) -> None:
    """Print for how many curves the sampling error is unknown."""
    if options["with_samples"]:
        n = int((scores["noise"].astype(str) == "samples").sum())
        console.note(
            f"Intervals of {n} of {counted(len(scores), 'curve')} resample single examples. "
            "The other curves have a model without samples, or with samples that disagree with its "
            "score."
        )
    if n := int((scores["interval_status"].astype(str) == "no_sampling_error").sum()):
        console.note(
            f"{n} of {counted(len(scores), 'curve')} {'has' if n == 1 else 'have'} no interval: "
            "the number of examples behind their scores is unknown (see --n-examples), or the "
            "scores are not means over examples."
        )


def finish(loaded: Loaded, findings: IssueFindings, *, strict: bool, as_json: bool) -> None:
    """Print problems and known issues; end with exit code 1 if --strict is given."""
    if not as_json:
        console.print_problems(loaded.problems)
    if summary := findings.summary:
        more = "; see --exclude-known-issues" if findings.n_curves_left else ""
        console.note(f"{summary}{more}")
    if strict and len(loaded.problems):
        raise SystemExit(1)
