"""Studies as files: tables, figures and self-contained HTML pages."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import jinja2
import pandas as pd
from markupsafe import Markup

from bigbench_meta import __version__
from bigbench_meta.core.execute import execute
from bigbench_meta.core.text import csv_text
from bigbench_meta.report.answer import claims_sentence
from bigbench_meta.report.citation import bibtex
from bigbench_meta.report.explorer import explorer_data
from bigbench_meta.report.files import figure_files, table_files
from bigbench_meta.report.parts import datatables, numbers, packed, vega
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bigbench_meta.core.execute import Execution
    from bigbench_meta.report.charts.figure import Figure
    from bigbench_meta.report.explorer import Explored
    from bigbench_meta.report.study import Study

__all__ = ["explorer_page", "studies_files", "study_files"]

# Rows of a table that a page carries; its file has them all.
_MOST_ROWS: Final = 5000


def study_files(
    study: Study,
    sources: list[str],
    *,
    overview: bool = False,
    execution: Execution | None = None,
) -> dict[str, str | bytes]:
    """Return a study's tables, figures and report.

    Args:
        study: The study.
        sources: What was analysed, for the report's first line.
        overview: Whether the page links to an overview in the folder above.
        execution: Where figures and tables are written; by default here, one after another.

    Returns:
        Contents by path: ``report.html``, ``citations.bib``, ``tables/*.csv|md|tex|parquet`` and
        ``figures/*.svg|pdf|png|vl.json|csv``.
    """
    figures, tables = study.figures.values(), study.tables.values()
    # The longest first, so that processes end together.
    ordered: list[Figure | Table] = [
        *sorted(figures, key=lambda figure: -len(figure.data)),
        *sorted(tables, key=lambda table: -len(table.frame)),
    ]
    found: dict[int, dict[str, str | bytes]] = {}
    for made in execute(_forms, ordered, execution):
        if made.error is not None:
            raise made.error
        found[id(made.task)] = made.value
    contents = {
        path: content for part in (*figures, *tables) for path, content in found[id(part)].items()
    }
    page = _page(study, contents, sources, overview=overview)
    return {"report.html": page, "citations.bib": bibtex(study), **contents}


def studies_files(
    studies: Mapping[str, Study], *, execution: Execution | None = None
) -> dict[str, str | bytes]:
    """Return the studies of several embedded sets, each in a folder of its own, and an overview.

    Args:
        studies: A study of each set, by its name.
        execution: Where figures and tables are written; by default here, one after another.

    Returns:
        Contents by path: ``report.html``, which links to the report of each set,
        ``tables/sets.csv|md|tex|parquet``, and in a folder of its name what :func:`study_files`
        gives of each set.
    """
    parts = {
        name: study_files(
            study, [study.embedded.title if study.embedded else name], overview=True,
            execution=execution,
        )
        for name, study in studies.items()
    }  # fmt: skip
    sets = _sets_table(studies)
    sections = {name: study.embedded.title if study.embedded else name
                for name, study in studies.items()}  # fmt: skip
    page = _rendered(
        "overview.html.j2",
        _Inside(parts),
        sections={"sets": "All sets", **sections, "claims": "Hand-annotated claims on BIG-bench"},
        studies=studies,
        sets=sets,
        claims=next(iter(studies.values())).tables["claims_by_metric"],
        claims_sentence=claims_sentence(),
    )
    contents: dict[str, str | bytes] = {
        "report.html": page, "citations.bib": bibtex(*studies.values()),
    }  # fmt: skip
    contents |= table_files(sets)
    for name, part in parts.items():
        contents |= {f"{name}/{path}": content for path, content in part.items()}
    return contents


def explorer_page(study: Study | Explored) -> str:
    """Return a page with the explorer alone, for a frame in a notebook.

    Args:
        study: The study, or curves without one.
    """
    return _rendered(
        "explorer.html.j2", _Inside({}), in_frame=True, curves=packed(explorer_data(study))
    )


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
    study: Study,
    drawn: Mapping[str, str | bytes],
    sources: list[str],
    *,
    overview: bool = False,
) -> str:
    pairs = study.tables.get("metric_change")
    if pairs:
        shown = tuple(name for name in pairs.brief or () if "sharpness" not in name)
        pairs = replace(pairs, columns=shown)
    return _rendered(
        "report.html.j2",
        _Inside({"": drawn}),
        curves=packed(explorer_data(study)),
        sections=_sections(study),
        study=study,
        pairs=pairs,
        sources=sources,
        overview=overview,
        assumed=int((study.counted["direction"] == "assumed").sum()),
    )


def _sections(study: Study) -> dict[str, str]:
    """Return the headings of a report by their anchors, only of what the study has."""
    evidence = "evidence_summary" in study.tables
    found = {
        "metrics": "Which metrics do the flagged curves belong to?",
        "flagged": "What the flagged curves look like",
        "explorer": "Every curve, to search and to look at",
        "evidence": "How sure are they?" if evidence else "",
        "predicted": "Could they have been predicted?" if evidence else "",
        "other-metric": "Does a jump stay when the same outputs are scored under another metric?"
        if study.pairs is not None
        else "",
        "account": "Does the metric account for the flags?" if study.account else "",
        "threshold": "Does it depend on the threshold?",
        "claims": "Hand-annotated claims on BIG-bench",
        "issues": "Known issues of the data" if len(study.known_issues.affected) else "",
        "caution": "Before you quote these numbers",
        "problems": "Problems in the input" if len(study.problems) else "",
    }
    return {anchor: title for anchor, title in found.items() if title}


@dataclass(frozen=True)
class _Inside:
    """Tables and figures as a page shows them, and what its script needs to make more of them.

    Attributes:
        files: Files of the figures, by the name of the set (empty for a single study) and path.
        tables: What was shown: CSV and, of long tables, more rows, by name.
        figures: What was shown: specification and CSV, by name.
    """

    files: Mapping[str, Mapping[str, str | bytes]]
    tables: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def table(self, table: Table, of: str = "") -> Markup:
        """Return a table in a box that scrolls."""
        key = f"{of}-{table.name}" if of else table.name
        more = replace(table, most_rows=_MOST_ROWS)
        self.tables[key] = {"csv": csv_text(more.shown())}
        if len(table.frame) > table.most_rows:
            self.tables[key]["columns"] = _columns(more)
        return Markup(
            '<div class="table" data-table="{}"><div class="wide" role="region" tabindex="0" '
            'aria-label="Table: {}">{}</div></div>'
        ).format(key, key.replace("_", " "), Markup(table.to_html()))  # noqa: S704

    def figure(self, study: Study, name: str, of: str = "") -> Markup:
        """Return a figure with its caption; nothing if the study has none of the name."""
        if name not in study.figures:
            return Markup()
        key = f"{of}-{name}" if of else name
        files = {end: self.files[of][f"figures/{name}.{end}"] for end in ("svg", "vl.json", "csv")}
        self.figures[key] = {"spec": files["vl.json"], "csv": files["csv"]}
        return Markup(
            '<figure data-figure="{0}" class="{3}"><div class="plot" role="img" tabindex="0" '
            'aria-labelledby="caption-{0}">{1}</div>'
            '<figcaption id="caption-{0}">{2}</figcaption></figure>'
        ).format(
            key,
            Markup(files["svg"]),  # noqa: S704
            study.figures[name].caption,
            study.figures[name].width,
        )

    def data(self) -> dict[str, str]:
        """Return the page's packed parts by the ids that its script knows."""
        return {
            "datatables": datatables(),
            "vega": vega(),
            "tables": packed(self.tables),
            "figures": packed(self.figures),
        }


def _columns(table: Table) -> list[dict[str, Any]]:
    """Return all rows of a table for the page's script, column by column."""
    _, rows, alignment = table.text()
    shown = table.shown()[table.names()]
    return [
        {"cells": list(cells), **(numbers(shown.iloc[:, place]) if align == "right" else {})}
        for place, (cells, align) in enumerate(zip(zip(*rows, strict=True), alignment, strict=True))
    ]


def _forms(part: Figure | Table) -> dict[str, str | bytes]:
    """Return the files of a figure or of a table; the work of one process."""
    if not isinstance(part, Table):
        return figure_files(part)
    files = table_files(part)
    # A list of every curve or problem is for machines, not for print.
    if part.name in {"curve_scores", "problems", "flag_models_left_out"}:
        return {
            path: content for path, content in files.items() if path.endswith((".csv", ".parquet"))
        }
    return files


def _rendered(template: str, inside: _Inside, *, in_frame: bool = False, **values: Any) -> str:
    """Return a page. It may run its own script and what that unpacks, and load nothing.

    In a frame of a notebook it may run what it unpacks as scripts of the page too: programs that
    show notebooks differ in what they let run.
    """
    loader = jinja2.PackageLoader("bigbench_meta.report")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, *_ = loader.get_source(environment, "page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = "'unsafe-inline'" if in_frame else f"'sha256-{digest}'"
    policy = (
        f"default-src 'none'; script-src {runs} blob:; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    own = Markup(script)  # noqa: S704
    return environment.get_template(template).render(
        inside=inside, script=own, policy=policy, version=__version__, **values
    )
