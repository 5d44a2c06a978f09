r"""A table as LaTeX that a paper takes as it is: in the size of its text, within its columns.

A narrow table stands in one column of a two-column paper, a wider one across both; titles of
columns and long names are broken into lines instead of shrinking everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pylatexenc.latexencode import UnicodeToLatexEncoder

from bigbench_meta.core.text import drawable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PREAMBLE", "latex_table", "latex_text"]

PREAMBLE: Final = r"\usepackage{booktabs,siunitx}"
"""What the preamble of the document needs."""

# Points: the width of a character of text and the space between columns, and the widths that a
# column and a page of a two-column paper have.
_CHARACTER: Final = 4.9
_GAP: Final = 8.0
_COLUMN: Final = 234.0
_PAGE: Final = 480.0
_NARROWEST: Final = 11  # characters of a column of texts that is broken into lines
_NUMBER: Final = re.compile(r"(-?)(\d+)(?:\.(\d+))?")
# Where a sentence ends: not behind an abbreviation.
_SENTENCE: Final = re.compile(r"(?<=[^.A-Z]\.)(?<!\bal\.)(?<!App\.)(?<!sec\.) (?=[A-Z0-9])")
_latex = UnicodeToLatexEncoder(
    unknown_char_policy="keep", unknown_char_warning=False, replacement_latex_protection="braces"
)


@dataclass(frozen=True)
class _Column:
    """A column: its title in lines, its cells, and how it is set.

    Attributes:
        title: Lines of the title.
        cells: Texts.
        spec: In the argument of ``tabular``.
        is_number: Whether siunitx sets the cells.
    """

    title: list[str]
    cells: list[str]
    spec: str
    is_number: bool


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], alignment: Sequence[str], *, caption: str,
    label: str,
) -> str:  # fmt: skip
    r"""Return a ``table`` environment, ``table*`` where one column of a paper is too narrow.

    The first sentence of the caption is the caption, the others are a note below the table.

    Args:
        header: Titles of the columns.
        rows: Cells.
        alignment: ``left`` or ``right`` of each column.
        caption: Sentences.
        label: For ``\label``.
    """
    cells = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in header]
    titles = [
        _lines(title, max([len(cell) for cell in column] + [8]))
        for title, column in zip(header, cells, strict=True)
    ]
    widths = [
        max(len(part) for part in [*title, *column])
        for title, column in zip(titles, cells, strict=True)
    ]
    wide = _width(widths) > _COLUMN
    room = _PAGE if wide else _COLUMN
    broken = _narrowed(widths, alignment, room)
    columns = [
        _column(title, column, align, width if is_broken else None)
        for title, column, align, (width, is_broken) in zip(
            titles, cells, alignment, broken, strict=True
        )
    ]
    first, *notes = _SENTENCE.split(caption)
    note = " ".join(notes)
    environment = "table*" if wide else "table"
    size = r"\small" if _width([width for width, _ in broken]) > room else ""
    end = r" \\"
    lines = [
        f"% Needs {PREAMBLE} in the preamble.",
        rf"\begin{{{environment}}}",
        rf"  \centering{size}\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
        rf"  \caption{{{latex_text(first)}}}",
        rf"  \label{{tab:{label}}}\vspace{{4pt}}",
        rf"  \begin{{tabular}}{{{''.join(column.spec for column in columns)}}}",
        r"    \toprule",
        "    " + " & ".join(_title(column) for column in columns) + end,
        r"    \midrule",
        *(
            "    " + " & ".join(_cell(column, row) for column in columns) + end
            for row in range(len(rows))
        ),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    if note:
        lines += [
            r"  \par\smallskip",
            rf"  \parbox{{\linewidth}}{{\footnotesize {latex_text(note)}}}",
        ]
    return "\n".join([*lines, rf"\end{{{environment}}}", ""])


def latex_text(text: str) -> str:
    r"""Return plain text as LaTeX.

    Examples:
        >>> print(latex_text("50% of a_b"))
        50\% of a\_b
    """
    line = " ".join(drawable(text).replace("\ufffd", "?").split())
    encoded = str(_latex.unicode_to_latex(line))
    encoded = encoded.replace("∞", r"$\infty$").replace("|", r"\textbar{}")
    # At the beginning of a row these would be arguments of the line break before.
    return f"{{}}{encoded}" if encoded.startswith(("[", "*")) else encoded


def _width(characters: Sequence[int]) -> float:
    return sum(characters) * _CHARACTER + len(characters) * _GAP


def _lines(title: str, most: int) -> list[str]:
    """Break a title at spaces into lines of about so many characters."""
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _narrowed(
    widths: Sequence[int], alignment: Sequence[str], room: float
) -> list[tuple[int, bool]]:
    """Return the characters of each column, texts narrowed until all fit, and which those are."""
    found = list(widths)
    texts = [place for place, align in enumerate(alignment) if align == "left"]
    while _width(found) > room:
        widest = max(texts, key=lambda place: found[place], default=None)
        if widest is None or found[widest] <= _NARROWEST:
            break
        found[widest] -= 1
    return [(width, width < before) for width, before in zip(found, widths, strict=True)]


def _column(title: list[str], cells: list[str], align: str, width: int | None) -> _Column:
    """Return how a column is set; ``width`` in characters where its cells are broken into lines."""
    if width is not None:
        spec = rf">{{\raggedright\arraybackslash}}p{{{width * _CHARACTER:.0f}pt}}"
        return _Column(_lines(" ".join(title), width), cells, spec, is_number=False)
    numbers = [found for found in map(_NUMBER.fullmatch, cells) if found]
    fractions = max((len(found[3] or "") for found in numbers), default=0)
    if align == "left" or not fractions or any("," in cell for cell in cells):
        return _Column(title, cells, align[0], is_number=False)
    whole = max(len(found[1]) + len(found[2]) for found in numbers)
    return _Column(title, cells, f"S[table-format={whole}.{fractions}]", is_number=True)


def _title(column: _Column) -> str:
    lines = [latex_text(line) for line in column.title]
    align = "l" if column.spec.startswith(("l", ">")) else "r"
    text = lines[0]
    if len(lines) > 1:
        stacked = r"\\".join(lines)
        text = rf"\begin{{tabular}}[b]{{@{{}}{align}@{{}}}}{stacked}\end{{tabular}}"
    return f"{{{text}}}" if column.is_number else text


def _cell(column: _Column, row: int) -> str:
    text = column.cells[row]
    if column.is_number and not _NUMBER.fullmatch(text):
        return f"{{{latex_text(text)}}}"
    encoded = latex_text(text)
    # A name may be broken where its words are joined.
    return encoded.replace(r"\_", r"\_\allowbreak{}") if column.spec.startswith(">") else encoded
