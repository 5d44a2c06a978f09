"""Write studies to files: tables, figures and self-contained HTML pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import jinja2
import pandas as pd

from bigbench_meta import __version__
from bigbench_meta.core.errors import InputError
from bigbench_meta.report.files import figure_files, table_files, write_files
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from bigbench_meta.report.study import Study

__all__ = ["is_earlier_report", "write_studies", "write_study"]

_EVERY_FIGURE: Final = (
    "emergence_by_metric", "flagged_curves", "flagged_intervals", "metric_change",
    "claims_by_metric",
)  # fmt: skip

# What the head of every report holds; a figure is deleted only beside a page with it.
_OURS: Final = b'<meta name="generator" content="bigbench-meta '


def write_study(
    study: Study,
    folder: Path,
    *,
    sources: list[str],
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write a study's tables, figures and report.

    Args:
        study: The study.
        folder: Where to; made if need be, files of the same names are overwritten.
        sources: What was analysed, for the report's first line.
        progress: Called with (files written, files to write).

    Returns:
        The files written: ``report.html``, ``tables/*.csv|md|tex`` and
        ``figures/*.svg|png|vl.json|csv``.

    Raises:
        InputError: The folder cannot be written to, or holds a ``report.html`` that is not ours.
    """
    contents = _contents(study, sources)
    _clear(folder, keep=set(contents))
    return write_files(folder, contents, progress=progress)


def write_studies(
    studies: Mapping[str, Study],
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the studies of several embedded sets, each into a folder of its own, and an overview.

    Args:
        studies: A study of each set, by its name.
        folder: Where to; made if need be, files of the same names are overwritten.
        progress: Called with (files written, files to write).

    Returns:
        The files written: ``report.html``, which links to the report of each set,
        ``tables/sets.csv|md|tex``, and in a folder of its name what :func:`write_study` writes of
        each set.

    Raises:
        InputError: A folder cannot be written to, or holds a ``report.html`` that is not ours.
    """
    parts = {
        name: _contents(study, [study.embedded.title if study.embedded else name], overview=True)
        for name, study in studies.items()
    }
    sets = _sets_table(studies)
    figure = "figures/emergence_by_metric.svg"
    page = _template("overview.html.j2").render(
        studies=studies,
        svg={name: part[figure] for name, part in parts.items()},
        sets=sets,
        claims=next(iter(studies.values())).tables["claims_by_metric"],
        version=__version__,
    )
    contents: dict[str, str | bytes] = {"report.html": page}
    contents |= table_files(sets)
    for name, part in parts.items():
        contents |= {f"{name}/{path}": content for path, content in part.items()}
        _clear(folder / name, keep=set(part))
        # An earlier study of one set, or of results, lies in the folder itself.
        _clear(folder, keep=set(contents), tables=part)
    return write_files(folder, contents, progress=progress)


def _sets_table(studies: Mapping[str, Study]) -> Table:
    """Return one row for each set of published results, without a total.

    Args:
        studies: A study of each embedded set, by its name.
    """
    rows = []
    for name, study in studies.items():
        role = study.embedded.role if study.embedded else ""
        rows.append(
            {
                "name": name,
                "role": role,
                "title": study.embedded.title if study.embedded else name,
                "level": study.level,
                "n_curves": len(study.counted),
                "n_scored": study.n_scored,
                "n_flagged": study.n_flagged,
                "n_infinite": study.n_infinite,
                # Of curves that were chosen, or made, a share says nothing.
                "share_flagged": study.n_flagged / study.n_scored
                if role == "evidence" and study.n_scored
                else float("nan"),
            }
        )
    return Table(
        name="sets",
        caption=(
            "Curves with an emergence score above the threshold in each set of published results. "
            "The sets are not added up, and a share is given of evidence only: illustrations were "
            "chosen by their authors to show the effect."
        ),
        frame=pd.DataFrame(rows),
        columns=("title", "role", "n_curves", "n_scored", "n_flagged", "n_infinite",
                 "share_flagged"),
    )  # fmt: skip


def _contents(
    study: Study, sources: list[str], *, overview: bool = False
) -> dict[str, str | bytes]:
    """Return the files of a study, its page linked to an overview in the folder above or not."""
    drawn = {name: figure_files(figure) for name, figure in study.figures.items()}
    svg = {name: files[f"figures/{name}.svg"] for name, files in drawn.items()}
    contents: dict[str, str | bytes] = {
        "report.html": _page(study, svg, sources, overview=overview)
    }
    for files in (*map(_forms, study.tables.values()), *drawn.values()):
        contents |= files
    return contents


def _page(
    study: Study, svg: Mapping[str, str | bytes], sources: list[str], *, overview: bool = False
) -> str:
    pairs = study.tables.get("metric_change")
    if pairs:
        shown = tuple(name for name in pairs.brief or () if "sharpness" not in name)
        pairs = replace(pairs, columns=shown)
    return _template("report.html.j2").render(
        study=study,
        pairs=pairs,
        svg=svg,
        sources=sources,
        overview=overview,
        version=__version__,
        counts=study.counted["status"].value_counts(),
        assumed=int((study.counted["direction"] == "assumed").sum()),
    )


def is_earlier_report(folder: Path) -> bool:
    """Return whether a folder holds a report of this program, whose files may be replaced.

    Raises:
        InputError: It holds a ``report.html`` that somebody else wrote.
    """
    report = folder / "report.html"
    if not report.is_file():
        return False
    with report.open("rb") as page:
        if _OURS in page.read(4096):
            return True
    raise InputError(
        "would be overwritten, and this program did not write it",
        where=str(report),
        hint="name another folder",
    )


def _clear(folder: Path, *, keep: Collection[str], tables: Collection[str] = ()) -> None:
    """Delete the figures of an earlier study that this one does not have, and such tables."""
    if not is_earlier_report(folder):
        return
    figures = [
        f"figures/{name}{ending}"
        for name in _EVERY_FIGURE
        for ending in (".svg", ".png", ".vl.json", ".csv")
    ]
    for path in {*figures, *(name for name in tables if name.startswith("tables/"))} - set(keep):
        (folder / path).unlink(missing_ok=True)


def _forms(table: Table) -> dict[str, str | bytes]:
    files = table_files(table)
    # A list of every curve or problem is for machines, not for print.
    if table.name in {"curve_scores", "problems", "flag_models_left_out"}:
        return {path: content for path, content in files.items() if path.endswith(".csv")}
    return files


def _template(name: str) -> jinja2.Template:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bigbench_meta.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
