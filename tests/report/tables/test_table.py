"""Tables for people: unrounded CSV, and names that no markup bends in Markdown, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import inert
from bigbench_meta.report.tables.latex import PREAMBLE
from bigbench_meta.report.tables.table import Table, format_value

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "plain", "[bold]x[/bold]", "[2cm] x", "*starred", "a|b", "R&D_50%", "exact_str_match",
    "α → β ⇒ γ", "$x$ #1 ~^\\{}", "<script>alert(1)</script>", "– — “é” ü", "≥ ≤ ± × ∞", "1e5",
    "001", "nan", "-", "it's \"quoted\"",
]  # fmt: skip


def table(frame: pd.DataFrame, **options: Any) -> Table:
    return Table(
        **{"name": "some_table", "caption": "Curves & 50% of_all.", "frame": frame} | options
    )


def named(names: list[str], **options: Any) -> Table:
    return table(pd.DataFrame({"task": names, "n_curves": range(len(names))}), **options)


# CSV ------------------------------------------------------------------------------------------


@given(
    rows=st.lists(
        st.tuples(
            st.floats(),
            st.one_of(st.none(), st.integers(-(2**62), 2**62)),
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
@example(rows=[(0.0, None, "=1+1", False)])
def test_csv_loses_nothing(rows: list[tuple[Any, ...]]) -> None:
    scores, shots, tasks, preferred = zip(*rows, strict=True)
    frame = pd.DataFrame(
        {
            "score": scores,
            "shots": pd.array(shots, dtype="Int64"),
            "task": tasks,
            "is_preferred": preferred,
        }
    )
    text = table(frame, columns=("task",), most_rows=1).to_csv()
    header, *lines = csv.reader(io.StringIO(text))
    assert header == list(frame)
    assert [(*map(repr, row[:2]), repr(inert(row[2])), repr(row[3])) for row in rows] == [
        (
            repr(float(score or "nan")),
            repr(int(n_shots) if n_shots else None),
            repr(task),
            repr({"True": True, "False": False}[is_preferred]),
        )
        for score, n_shots, task, is_preferred in lines
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, ""),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_csv_numbers(value: float, text: str) -> None:
    assert table(pd.DataFrame({"a": ["x"], "b": [value]})).to_csv() == f"a,b\nx,{text}\n"


# Cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("emergence_score", 320.95, "320.9"),
        ("emergence_score", math.inf, "∞"),
        ("emergence_score", -math.inf, "−∞"),
        ("emergence_score", math.nan, "–"),
        ("share", 0.15574, "15.6%"),
        ("share_flagged", 0.0, "0.0%"),
        ("share_top_two", 1.0, "100.0%"),
        ("relative_sharpness", np.float64(2.0), "2.00"),
        ("scale_max", 1.75e11, "175B"),
        ("other", 0.123456, "0.1235"),
        ("other", 1e-9, "1e-09"),
        ("n_curves", 1234567, "1,234,567"),
        ("n_curves", np.int64(1000), "1,000"),
        ("shots", pd.NA, "–"),
        ("variant", None, "–"),
        ("is_preferred", True, "yes"),
        ("is_preferred", np.bool_(False), "no"),
        ("task", "a_b", "a_b"),
        ("task", "", ""),
        ("top_two_metrics", "acc;ppl", "acc; ppl"),
    ],
)
def test_format_value(column: str, value: Any, text: str) -> None:
    assert format_value(column, value) == text


def test_text_labels_and_alignment() -> None:
    frame = pd.DataFrame(
        {
            "metric": ["m"],
            "n_curves": [1],
            "share": [0.5],
            "is_preferred": [True],
            "own_name": ["x"],
        }
    )
    header, rows, alignment = table(frame).text()
    assert header == ["metric", "curves", "share", "is preferred", "own name"]
    assert rows == [["m", "1", "50.0%", "yes", "x"]]
    assert alignment == ["left", "right", "right", "left", "left"]


def test_an_estimate_has_its_interval_in_its_own_cell() -> None:
    frame = pd.DataFrame(
        {
            "emergence_score": [12.34, math.inf, 5.0],
            "emergence_low": [8.1, 20.0, math.nan],
            "emergence_high": [17.9, math.inf, math.nan],
            "status": "ok",
        }
    )
    header, rows, alignment = table(frame).text()
    assert header == ["E", "status"]
    assert [row[0] for row in rows] == ["12.3 [8.1, 17.9]", "∞ [20.0, ∞]", "5.0"]
    assert alignment == ["right", "left"]
    assert "emergence_low" in table(frame).to_csv()
    alone, _, _ = table(frame, columns=("emergence_score", "status")).text()
    assert alone == ["E", "status"]
    ends, _, _ = table(frame, columns=("emergence_low", "emergence_high")).text()
    assert ends == ["E low", "E high"]


def test_columns_and_most_rows() -> None:
    shown = named(NAMES, columns=("n_curves", "task"), most_rows=2)
    header, rows, _ = shown.text()
    assert header == ["curves", "task"]
    assert rows == [["0", NAMES[0]], ["1", NAMES[1]]]
    left = f"{len(NAMES) - 2} more rows are in some_table.csv."
    tex = shown.to_latex().replace(r"\_", "_").replace("{}", "")
    assert all(left in text for text in (shown.to_markdown(), shown.to_html(), tex))
    assert shown.to_csv().count("\n") == len(NAMES) + 1


def test_no_rows_are_left_out_no_such_sentence() -> None:
    shown = named(NAMES[:2], most_rows=2)
    assert "more rows" not in shown.to_markdown() + shown.to_html() + shown.to_latex()


def test_unknown_column() -> None:
    shown = named(NAMES, columns=("task", "nonsense", "other"))
    for form in (shown.to_markdown, shown.to_latex, shown.to_html, shown.text):
        with pytest.raises(InputError, match="table some_table: no column nonsense, other"):
            form()


@pytest.mark.parametrize("form", ["to_markdown", "to_latex", "to_html"])
def test_table_without_rows(form: str) -> None:
    text = getattr(named([]), form)()
    assert "task" in text
    assert "curves" in text
    assert named([]).to_csv() == "task,n_curves\n"


# Markdown -------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """Collects the text of each cell, and every tag, of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def rendered(markdown: str) -> list[str]:
    """Return the cells of a Markdown table as a reader sees them."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": False})
    return Cells(parser.enable("table").render(markdown)).cells


# Emphasis and code in a name are Markdown's own; what would break the table is not.
@pytest.mark.parametrize("name", [name for name in NAMES if not set(name) & set("*\\")])
def test_name_in_markdown(name: str) -> None:
    cells = rendered(named([name, "other"]).to_markdown())
    assert cells == ["task", "curves", name, "0", "other", "1"]


@pytest.mark.parametrize("name", ["two\nlines", "two\r\nlines", "a paragraph\n\nand one more"])
def test_name_of_several_lines_in_markdown(name: str) -> None:
    cells = rendered(named([name, "other"]).to_markdown())
    assert len(cells) == 6
    assert cells[2].split() == name.split()
    assert cells[3:] == ["0", "other", "1"]


def test_markdown_numbers_are_left_as_they_are() -> None:
    frame = pd.DataFrame({"metric": ["m"], "emergence_score": [1.0], "n_curves": [12345]})
    assert "| m        | 1.0 |   12,345 |" in table(frame).to_markdown()


def test_markdown_caption() -> None:
    assert named(["x"]).to_markdown().endswith("\n\nCurves & 50% of_all.\n")


# LaTeX ----------------------------------------------------------------------------------------


def body(tex: str) -> str:
    return tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]


@pytest.mark.parametrize(
    ("name", "tex"),
    [
        ("R&D_50%", r"R\&D\_50\%"),
        ("$x$ #1", r"\$x\$ \#1"),
        ("{}", r"\{\}"),
        ("exact_str_match", r"exact\_str\_match"),
        ("plain (1,2)", "plain (1,2)"),
    ],
)
def test_name_in_latex(name: str, tex: str) -> None:
    assert tex in body(named([name]).to_latex())


@pytest.mark.parametrize("character", ["~", "^", "\\", "→", "∞", "−", "–", "<", "|"])
def test_character_that_latex_would_not_print_as_it_is(character: str) -> None:
    assert f"a{character}b" not in body(named([f"a{character}b"]).to_latex())


@pytest.mark.parametrize("name", ["[bold] x", "[2cm] x", "*starred", "[", "*"])
def test_a_row_is_not_the_argument_of_the_line_before(name: str) -> None:
    r"""After ``\\`` and ``\midrule``, a bracket or a star is an argument, even on the next line."""
    text = body(named([name, name]).to_latex())
    assert not re.search(r"(\\\\|\\midrule)\s*[\[*]", text)


def test_latex_has_as_many_cells_as_columns() -> None:
    tex = named(NAMES).to_latex()
    assert r"\begin{tabular}{lr}" in tex
    rows = re.findall(r".* \\\\$", body(tex), flags=re.MULTILINE)
    assert len(rows) == len(NAMES)
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1] * len(NAMES)


def test_latex_label_and_caption() -> None:
    tex = named(["x"]).to_latex()
    assert r"\label{tab:some-table}" in tex
    assert r"\caption{Curves \& 50\% of\_all.}" in tex


@pytest.fixture(scope="module")
def pdflatex() -> str:
    found = shutil.which("pdflatex")
    if not found:
        pytest.skip("pdflatex is not on PATH")
    return found


COMPILED = {
    "names": named(NAMES),
    "bracket first": named(["[bold] x", "[2cm] x"]),
    "several lines": named(["two\nlines", "a paragraph\n\nand one more"]),
    "no rows": named([]),
    "numbers": table(
        pd.DataFrame(
            {"emergence_score": [math.inf, -math.inf, math.nan], "share": [0.1, None, 1.0]}
        )
    ),
    "wide": table(
        pd.DataFrame(
            {
                "task": ["a_long_name_of_a_task_that_goes_on_and_on"] * 3,
                "metric": ["multiple_choice_grade", "a text of many words and one more", "x"],
                "emergence_score": [12.5, math.inf, 3.0],
                "share_flagged": [0.1, 0.22, math.nan],
                **{f"another_column_{i}": [1.5, -2.25, math.nan] for i in range(5)},
            }
        )
    ),
    "hostile": named([r"\input{other}", r"\end{tabular}", "%", "^^5cend", "\\\\"]),
}


@pytest.mark.full
@pytest.mark.parametrize("shown", COMPILED.values(), ids=COMPILED)
def test_latex_compiles(shown: Table, pdflatex: str, tmp_path: Path) -> None:
    preamble = rf"\documentclass[twocolumn]{{article}}{PREAMBLE}"
    text = f"{preamble}\n\\begin{{document}}\n{shown.to_latex()}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    log = done.stdout.decode("utf-8", "replace")
    errors = [line for line in log.splitlines() if line.startswith(("!", "l."))]
    assert errors == []
    assert done.returncode == 0
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")


# HTML -----------------------------------------------------------------------------------------


def test_html_escapes() -> None:
    names = [*NAMES, '"><img src=x onerror=alert(1)>', "</td></table>", "&lt", "two\nlines"]
    found = Cells(named(names).to_html())
    assert found.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert found.cells == [
        "task",
        "curves",
        *(c for n, name in enumerate(names) for c in (name, str(n))),
    ]


def test_html_caption_and_header_are_escaped() -> None:
    frame = pd.DataFrame({"<b>": [1]})
    text = table(frame, caption="a < b & c").to_html()
    assert "<caption>a &lt; b &amp; c</caption>" in text
    assert "<b>" not in text


def test_html_marks_numbers() -> None:
    text = named(["x"]).to_html()
    assert '<th scope="col" class="t">task</th><th scope="col" class="n">curves</th>' in text
    assert '<td class="t">x</td><td class="n" data-order="0">0</td>' in text


def test_html_says_by_what_cells_are_sorted() -> None:
    """As texts, 9.0 would be above 10 and 1.32B below 125M."""
    values = [9.04, 1e10, float("inf"), float("-inf"), float("nan")]
    frame = pd.DataFrame({"emergence_score": values, "scale_max": [1.32e9, 1.25e8, 3, 2, 1]})
    text = table(frame).to_html()
    found = re.findall(r'data-order="(.*?)">(.*?)<', text)
    assert found[::2] == [
        ("9.04", "9.0"), ("10000000000.0", "10000000000.0"), ("Infinity", "∞"),
        ("-Infinity", "−∞"), ("", "–"),
    ]  # fmt: skip
    assert found[1::2][:2] == [("1320000000.0", "1.32B"), ("125000000.0", "125M")]


def test_markdown_and_latex_hold_no_control_characters_and_no_tags():
    frame = pd.DataFrame({"task": ["\x1b[31m<script>a|b"], "n_curves": [1]})
    table = Table(name="t", caption="c", frame=frame)
    assert "&lt;script>a\\|b" in table.to_markdown()
    for text in (table.to_markdown(), table.to_latex()):
        assert "\x1b" not in text
        assert "\ufffd" not in table.to_latex()
