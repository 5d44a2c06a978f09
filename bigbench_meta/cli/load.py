"""What several commands do before and after their own work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigbench_meta.cli import console
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.catalog.known_issues import IssueFindings, KnownIssues
    from bigbench_meta.catalog.metrics import MetricCatalog

__all__ = [
    "Loaded", "catalog", "chosen_issues", "finish", "issues_document", "load", "load_kept",
    "prepare", "samples_of", "tell_issues", "with_counts",
]  # fmt: skip

_EMBEDDED = "GPT-3's published results (Brown et al. 2020, Table H.1)"


@dataclass(frozen=True)
class Loaded:
    """What RESULTS held: observations, problems, and where they came from."""

    observations: pd.DataFrame
    problems: pd.DataFrame
    sources: list[str]
    results: tuple[Path, ...] = ()


def load(results: tuple[Path, ...], options: dict[str, Any]) -> Loaded:
    """Read the named results, or the embedded ones, and keep what was asked for."""
    from bigbench_meta.core.schema import PROBLEMS, to_frame
    from bigbench_meta.readers import load_embedded, read_results
    from bigbench_meta.store.store import Store

    wanted = {
        "task": list(options["task"]) or None,
        "metric": list(options["metric"]) or None,
        "model_family": list(options["family"]) or None,
    }
    problems = to_frame(PROBLEMS.empty())
    if not results and (options["mapping"] or options["names"]):
        raise InputError("--mapping and --names are for RESULTS, and none are named")
    if len(results) == 1 and Store.is_store(results[0]):
        store = Store(results[0])
        name = f"store {_name(results[0])}"
        loaded = Loaded(store.observations(**wanted), store.problems(), [name], results)
    elif results:
        if stores := [path for path in results if Store.is_store(path)]:
            raise InputError("a store is analysed by itself", where=str(stores[0]))
        with console.progress("Reading") as progress:
            observations, problems = read_results(
                results,
                max_bytes=options["max_bytes"],
                mapping=options["mapping"],
                names=options["names"],
                progress=progress,
            )
        loaded = Loaded(_keep(observations, wanted), problems, [_name(path) for path in results])
    else:
        loaded = Loaded(_keep(load_embedded(), wanted), problems, [_EMBEDDED])
    if loaded.observations.empty:
        console.print_problems(loaded.problems)
        asked = {name: values for name, values in wanted.items() if values}
        raise InputError(
            f"nothing has {_asked(asked)}" if asked else "no score could be read",
            where=", ".join(map(str, results)) or "embedded data",
            hint="`bigbench-meta score -o scores.csv` lists tasks, metrics and families"
            if asked
            else "a table with one column a metric needs --mapping (docs/wide_tables.md)",
        )
    return loaded


def prepare(out: Path | None) -> None:
    """Make the folder that --out names, if it does, before the work."""
    if out:
        from bigbench_meta.report.outputs import prepare_folder

        prepare_folder(out)


def load_kept(
    results: tuple[Path, ...], options: dict[str, Any]
) -> tuple[Loaded, pd.DataFrame, IssueFindings]:
    """Return what was read, and the observations that are left without known issues."""
    from bigbench_meta.catalog.known_issues import check_known_issues

    issues, exclude, results = chosen_issues(results, options)
    loaded = load(results, options)
    return loaded, *check_known_issues(loaded.observations, issues=issues, exclude=exclude)


def with_counts(observations: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    """Return observations with the numbers of examples that --n-examples tells."""
    given: str | None = options["example_counts"]
    if given is None:
        return observations
    from bigbench_meta.catalog.example_counts import with_example_counts

    try:
        filled = with_example_counts(observations, _number(given))
    except InputError as error:
        raise InputError(error.message, where=f"--n-examples {error.where}", hint=error.hint) \
            from error  # fmt: skip
    before, after = (int(rows["n_examples"].notna().sum()) for rows in (observations, filled))
    if before == after:
        console.note(
            f"--n-examples {given} fits none of {len(filled)} scores, or all of them say it."
        )
    return filled


def _number(given: str) -> int | str:
    """Return a number of examples as one, and anything else as it is: a file, or a name."""
    try:
        value = float(given)
    except ValueError:
        return given
    if not value.is_integer():
        raise InputError(f"{given} is no number of examples", where="n_examples")
    return int(value)


def samples_of(loaded: Loaded, options: dict[str, Any]) -> pd.DataFrame | None:
    """Return the samples of a store, if --with-samples asks for them."""
    if not options["with_samples"]:
        return None
    from bigbench_meta.store.store import Store

    if not loaded.results:
        raise InputError("a store is needed", where="--with-samples",
                         hint="bigbench-meta ingest RESULTS --samples --store DIR")  # fmt: skip
    return Store(loaded.results[0]).samples(
        task=list(options["task"]) or None, model_family=list(options["family"]) or None
    )


def _asked(wanted: dict[str, list[str]]) -> str:
    return ", ".join(f"{name} {' or '.join(values)}" for name, values in wanted.items())


def _name(path: Path) -> str:
    return path.resolve().name


def _keep(observations: pd.DataFrame, wanted: dict[str, list[str] | None]) -> pd.DataFrame:
    for column, values in wanted.items():
        if values:
            observations = observations[observations[column].isin(values)]
    return observations


def catalog(options: dict[str, Any]) -> MetricCatalog | None:
    """Return the catalog that --catalog names, None for the packaged one."""
    if not (path := options["catalog_path"]):
        return None
    from bigbench_meta.catalog.metrics import MetricCatalog, metric_catalog

    return metric_catalog().overridden_by(MetricCatalog.read(path))


def chosen_issues(
    results: tuple[Path, ...], options: dict[str, Any]
) -> tuple[KnownIssues, bool | list[str], tuple[Path, ...]]:
    """Return the registry, what to leave out, and the results.

    ``--exclude-known-issues results`` names results, not an issue: then they are handed back.
    """
    from bigbench_meta.catalog.known_issues import EVERY, KnownIssues

    registry = KnownIssues.read(options["issues_path"])
    given: str | None = options["exclude"]
    if given is None or given == EVERY:
        return registry, given is not None, results
    ids = [name.strip() for name in given.split(",") if name.strip()]
    if not ids:
        raise InputError("no issue is named", where="--exclude-known-issues")
    if not set(ids) <= set(registry.ids) and _exists(given):
        return registry, True, (Path(given), *results)
    return registry, list(registry.select(ids).ids), results


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a name
        return False


def issues_document(findings: IssueFindings) -> dict[str, Any]:
    """Return what --json says of known issues."""
    counts = ("n_rows", "n_curves", "n_rows_excluded", "n_curves_excluded")
    return {
        "excluded": findings.excluded,
        **{name: getattr(findings, name) for name in counts},
        "affected": console.records(findings.affected),
    }


def tell_issues(findings: IssueFindings) -> None:
    """Print what people should know of known issues."""
    if summary := findings.summary:
        more = "; see --exclude-known-issues" if findings.n_curves_left else ""
        console.note(f"{summary}{more}")


def finish(problems: pd.DataFrame, *, strict: bool) -> None:
    """End with exit code 1 if there was any problem and --strict asks for it."""
    if strict and len(problems):
        raise SystemExit(1)
