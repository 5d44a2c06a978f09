"""Tables for people: CSV as computed, Markdown, LaTeX and HTML rounded and labelled."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tabulate import tabulate

from bigbench_meta.core.cards import Card, Carded, briefly
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted, csv_text, drawable, format_scale, inert
from bigbench_meta.report.tables.latex import latex_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Table", "format_value"]

_LABELS: Final = {
    "n_curves": "curves", "n_scored": "scored", "n_finite": "finite", "n_infinite": "infinite (±)",
    "n_flat": "flat", "n_flagged": "flagged", "n_fallen": "fallen", "n_tasks": "tasks",
    "n_families": "families", "n_tasks_flagged": "tasks flagged", "n_claims": "claims",
    "share_flagged": "share flagged", "share_of_curves": "share of curves",
    "share_of_flags": "share of flags", "flag_ratio": "flag ratio",
    "share_of_tasks": "share of tasks",
    "claim_ratio": "claim ratio", "claim_rate": "claim rate", "metric_type": "type",
    "n_metrics": "metrics", "n_metrics_flagged": "metrics flagged",
    "share_metrics_flagged": "share of metrics", "share_top_two": "share of top two",
    "share_top_two_of_curves": "of all curves",
    "top_two_metrics": "top two", "emergence_score": "E", "relative_sharpness": "E/(n-1)",
    "resolution_limited_score": "E, resolution-limited", "n_scales": "scales",
    "model_family": "family", "emergence_low": "E low", "emergence_high": "E high",
    "line_q_bh": "q, line", "mechanism_p": "p, mechanism", "mechanism_q_bh": "q, mechanism",
    "family_q_bh": "q, family", "mechanism_at_bound": "exponent at bound",
    "mechanism_p_fit": "p of fit", "wei_emergent": "Wei", "forecast_surprise": "surprise",
    "n_forecast": "forecasts", "n_skill": "with skill",
    "n_not_predictable": "not predictable", "median_width": "median width",
    "other_emergence_score": "other E", "n_pairs": "pairs", "induced_emergence_score": "induced E",
    "induced_n_scales": "scales kept",
    "odds_step": "jump : smooth", "odds_rise": "jump : smooth, at the rise",
    "smooth_median": "E, if smooth", "p_step": "p of a step",
    "p_explained": "explained, if smooth", "p_sharper": "sharper, if it jumps",
    "meaning": "criterion", "id": "known issue", "n_rows": "rows",
}  # fmt: skip
# Rows that Jupyter shows.
_MOST_SHOWN: Final = 20
_MISSING: Final = "–"
# Estimates with the ends of their intervals, which stand in one cell: 12.3 [8.1, 17.9].
_INTERVALS: Final = {
    "emergence_score": ("emergence_low", "emergence_high"),
    "share_flagged": ("share_low", "share_high"),
    "claim_rate": ("rate_low", "rate_high"),
    "coverage": ("coverage_low", "coverage_high"),
    "forecast": ("forecast_low", "forecast_high"),
    "sharpness": ("sharpness_low", "sharpness_high"),
    "other_sharpness": ("other_sharpness_low", "other_sharpness_high"),
    "log_ratio": ("log_ratio_low", "log_ratio_high"),
    "estimate": ("low", "high"),
    "odds_ratio": ("low", "high"),
}  # fmt: skip


# Where a Parquet file has what is said of the table.
_ABOUT: Final = b"bigbench_meta"


class _About(msgspec.Struct):
    name: str
    caption: str
    columns: tuple[str, ...] | None
    brief: tuple[str, ...] | None
    most_rows: int
    links: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Table(Carded):
    """A table with what a paper prints around it.

    Attributes:
        name: File name without ending, and the LaTeX label.
        caption: One or two sentences.
        frame: The numbers as computed; all of them go into the CSV.
        columns: Columns shown in the rounded forms, in order; all by default.
        brief: Those of them that a terminal or a page has room for; all by default.
        most_rows: Rows shown in the rounded forms.
        links: Columns whose addresses of web pages are links in HTML.
    """

    name: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[str, ...] | None = None
    brief: tuple[str, ...] | None = None
    most_rows: int = 40
    links: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line: tables are often looked at by the dozen."""
        name = f"Table {self.name!r}, {counted(len(self.frame), 'row')}: {self.caption}"
        return briefly(name)

    def _card(self) -> Card:
        """Return the first rows, with the columns that have room."""
        rows = min(self.most_rows, _MOST_SHOWN)
        header, cells, _ = replace(self, columns=self.brief or self.columns, most_rows=rows).text()
        return Card(title=self.caption, header=header, rows=cells, n_rows=len(self.frame))

    def to_csv(self) -> str:
        """Return every row and column, unrounded; infinite is ``inf``, missing is empty.

        Names that a spreadsheet would run as a formula begin with an apostrophe.
        """
        return csv_text(self.frame)

    def to_parquet(self) -> bytes:
        """Return the whole table, with its caption and what the rounded forms show of it."""
        frame = self.frame.set_axis([str(name) for name in self.frame.columns], axis=1)
        content = pa.Table.from_pandas(frame, preserve_index=False)
        about = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "frame"}
        content = content.replace_schema_metadata(
            {**(content.schema.metadata or {}), _ABOUT: json.dumps(about)}
        )
        sink = pa.BufferOutputStream()
        pq.write_table(content, sink, compression="zstd")
        return bytes(sink.getvalue())

    @classmethod
    def read(cls, path: str | Path) -> Table:
        """Read a table from the Parquet file that a study has of it.

        Args:
            path: Such as ``study/tables/by_metric.parquet``.

        Raises:
            InputError: It cannot be read, or is no such table.

        Examples:
            >>> import pathlib, tempfile
            >>> table = Table(name="t", caption="Two.", frame=pd.DataFrame({"a": [1, 2]}))
            >>> with tempfile.NamedTemporaryFile() as file:
            ...     _ = pathlib.Path(file.name).write_bytes(table.to_parquet())
            ...     print(Table.read(file.name))
            Table 't', 2 rows: Two.
        """
        try:
            content = pq.ParquetFile(path).read()
            about = msgspec.json.decode((content.schema.metadata or {})[_ABOUT], type=_About)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"cannot be read: {error}", where=str(path)) from error
        except (KeyError, msgspec.MsgspecError) as error:
            raise InputError("is not a table of a study", where=str(path)) from error
        return cls(frame=content.to_pandas(), **msgspec.structs.asdict(about))

    def to_markdown(self) -> str:
        """Return a GitHub-flavoured Markdown table with the caption below."""
        header, rows, alignment = self.text()
        rows = [[_markdown(cell) for cell in row] for row in rows]
        if rows:
            body = tabulate(rows, header, "github", disable_numparse=True, colalign=alignment)
        else:  # tabulate takes no alignment for a table without rows
            body = tabulate(rows, header, "github")
        return f"{body}\n\n{self.caption}{self._cut()}\n"

    def to_latex(self) -> str:
        r"""Return a ``table`` environment; its preamble needs ``\usepackage{booktabs,siunitx}``.

        Of the columns it has the brief ones.
        """
        header, rows, alignment = replace(self, columns=self.brief or self.columns).text()
        return latex_table(
            header, rows, alignment,
            caption=self.caption + self._cut(), label=self.name.replace("_", "-"),
        )  # fmt: skip

    def to_html(self) -> str:
        """Return a ``<table>`` element with its caption, all text escaped.

        Cells of numbers have the number itself as ``data-order``: as text, 9.0 would be above 10.
        """
        header, rows, alignment = self.text()
        shown = self.shown()[self.names()]
        linked = [name in self.links for name in shown]
        numeric = [align == "right" for align in alignment]

        def cell(text: str, value: Any, is_number: bool, is_link: bool) -> str:
            text = escape(drawable(text))
            if is_number:
                order = "" if pd.isna(value) else str(value).replace("inf", "Infinity")
                return f'<td class="n" data-order="{order}">{text}</td>'
            if is_link and text.startswith("https://"):
                text = f'<a href="{text}">{text}</a>'
            return f'<td class="t">{text}</td>'

        head = "".join(
            f'<th scope="col" class="{"n" if is_number else "t"}">{escape(drawable(name))}</th>'
            for name, is_number in zip(header, numeric, strict=True)
        )
        body = "\n".join(
            f"<tr>{''.join(map(cell, row, values, numeric, linked))}</tr>"
            for row, values in zip(rows, shown.itertuples(index=False), strict=True)
        )
        cut = f'<span class="cut">{escape(self._cut())}</span>' if self._cut() else ""
        return (
            f"<table>\n<caption>{escape(self.caption)}{cut}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )

    def shown(self) -> pd.DataFrame:
        """Return the columns and rows that the rounded forms show, as computed."""
        names = list(self.columns) if self.columns else list(self.frame.columns)
        if absent := [name for name in names if name not in self.frame]:
            raise InputError(f"no column {', '.join(absent)}", where=f"table {self.name}")
        return self.frame[names].head(self.most_rows)

    def text(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Return labels, rounded cells row by row, and ``left`` or ``right`` for each column.

        An estimate whose interval is shown has it in its own cell.
        """
        shown, names = self.shown(), self.names()
        header = [_LABELS.get(name, name.replace("_", " ")) for name in names]
        # kind: integers, unsigned ones and floats; booleans and text stay left.
        kinds = [getattr(shown[name].dtype, "kind", "O") for name in names]
        cells = [
            [format_value(name, value) for value in shown[name]]
            if name not in _INTERVALS or _INTERVALS[name][0] not in shown
            else _with_interval(shown, name)
            for name in names
        ]
        rows = [list(row) for row in zip(*cells, strict=True)] if cells else []
        return header, rows, ["right" if kind in "iuf" else "left" for kind in kinds]

    def names(self) -> list[str]:
        """Return the columns shown, without ends of intervals that stand beside their estimate."""
        names = [str(name) for name in self.shown()]
        ends = {end for name in names for end in _INTERVALS.get(name, ())}
        return [name for name in names if name not in ends]

    def _cut(self) -> str:
        left = len(self.frame) - self.most_rows
        return f" {left} more rows are in {self.name}.csv." if left > 0 else ""


def _with_interval(shown: pd.DataFrame, name: str) -> list[str]:
    """Return the cells of an estimate with its interval, where it has one."""
    found = []
    for value, low, high in shown[[name, *_INTERVALS[name]]].itertuples(index=False):
        text = format_value(name, value)
        if not (pd.isna(low) and pd.isna(high)):
            text += f" [{format_value(name, low)}, {format_value(name, high)}]"
        found.append(text)
    return found


def _percent(value: float) -> str:
    return f"{value:.1%}"


_FORMATS: Final[dict[str, Callable[[float], str]]] = {
    **dict.fromkeys(
        ("share", "share_flagged", "share_low", "share_high", "share_of_curves", "share_of_flags",
         "share_of_tasks", "claim_rate", "rate_low", "rate_high", "share_metrics_flagged",
         "share_top_two", "share_top_two_of_curves", "share_above"),
        _percent,
    ),
    **dict.fromkeys(
        ("p_value", "p_holm", "line_q_bh", "mechanism_p", "mechanism_q_bh", "mechanism_p_fit",
         "family_q_bh", "p, own σ", "p, family's σ", "p, σ = 0"),
        "{:.2g}".format,
    ),
    **dict.fromkeys(("coverage", "coverage_low", "coverage_high", "share_better"), _percent),
    **dict.fromkeys(("median_surprise", "forecast_surprise"), "{:.1f}".format),
    **dict.fromkeys(
        ("median_skill", "estimate", "odds_ratio", "low", "high", "design_effect"), "{:.3g}".format
    ),
    "flag_ratio": "{:.2f}".format,
    "claim_ratio": "{:.2f}".format,
    "emergence_score": "{:.1f}".format,
    "other_emergence_score": "{:.1f}".format,
    **dict.fromkeys(
        ("sharpness", "induced_sharpness", "chosen_sharpness", "held_out_sharpness"),
        "{:,.2f}".format,
    ),
    "induced_emergence_score": "{:,.1f}".format,
    "other_sharpness": "{:.2f}".format,
    "relative_sharpness": "{:.2f}".format,
    "linearity": "{:.2f}".format,
    "resolution_limited_score": "{:.1f}".format,
    "scale_min": format_scale,
    "scale_max": format_scale,
}  # fmt: skip


def format_value(column: str, value: Any) -> str:
    """Return one cell as text: rounded by its column, infinite as ∞, missing as a dash.

    Examples:
        >>> format_value("share", 0.15574), format_value("emergence_score", float("inf"))
        ('15.6%', '∞')
    """
    if pd.isna(value):
        return _MISSING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        if np.isinf(value):
            return "∞" if value > 0 else "−∞"
        return _FORMATS.get(column, "{:.4g}".format)(float(value))
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return inert(str(value)).replace(";", "; ")


def _markdown(text: str) -> str:
    """Return a cell of one line, without control characters, bars and what begins a tag."""
    line = " ".join(drawable(text).split())
    return line.replace("|", "\\|").replace("<", "&lt;")
