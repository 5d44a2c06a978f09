"""Studies as files: tables, figures and self-contained HTML pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jinja2
import pandas as pd

from bigbench_meta import __version__
from bigbench_meta.report.answer import claims_sentence
from bigbench_meta.report.files import figure_files, table_files
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bigbench_meta.report.study import Study

__all__ = ["studies_files", "study_files"]


def study_files(
    study: Study, sources: list[str], *, overview: bool = False
) -> dict[str, str | bytes]:
    """Return a study's tables, figures and report.

    Args:
        study: The study.
        sources: What was analysed, for the report's first line.
        overview: Whether the page links to an overview in the folder above.

    Returns:
        Contents by path: ``report.html``, ``tables/*.csv|md|tex`` and
        ``figures/*.svg|pdf|png|vl.json|csv``.
    """
    drawn = {name: figure_files(figure) for name, figure in study.figures.items()}
    svg = {name: files[f"figures/{name}.svg"] for name, files in drawn.items()}
    contents: dict[str, str | bytes] = {
        "report.html": _page(study, svg, sources, overview=overview)
    }
    for files in (*map(_forms, study.tables.values()), *drawn.values()):
        contents |= files
    return contents


def studies_files(studies: Mapping[str, Study]) -> dict[str, str | bytes]:
    """Return the studies of several embedded sets, each in a folder of its own, and an overview.

    Args:
        studies: A study of each set, by its name.

    Returns:
        Contents by path: ``report.html``, which links to the report of each set,
        ``tables/sets.csv|md|tex``, and in a folder of its name what :func:`study_files` gives of
        each set.
    """
    parts = {
        name: study_files(study, [study.embedded.title if study.embedded else name], overview=True)
        for name, study in studies.items()
    }
    sets = _sets_table(studies)
    figure = "figures/emergence_by_metric.svg"
    page = _template("overview.html.j2").render(
        studies=studies,
        svg={name: part[figure] for name, part in parts.items()},
        sets=sets,
        claims=next(iter(studies.values())).tables["claims_by_metric"],
        claims_sentence=claims_sentence(),
        version=__version__,
    )
    contents: dict[str, str | bytes] = {"report.html": page}
    contents |= table_files(sets)
    for name, part in parts.items():
        contents |= {f"{name}/{path}": content for path, content in part.items()}
    return contents


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
