"""What an object says of itself: some lines in a console, a small table in Jupyter.

To look at an object must be safe and quick: no text of a file becomes HTML, nothing is computed
that takes long, and what cannot be said is left out instead of raised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from bigbench_meta.core.text import drawable, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Card", "Carded", "briefly", "named", "sparkline"]

_LINE: Final = 100
_MOST_LINES: Final = 3
_NUMBER: Final = re.compile(r"[−-]?[\d.,]+%?|∞|–")
_CELL: Final = Markup('style="text-align: {}; vertical-align: top; padding: 0.15em 0.6em"')


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an object says of itself.

    Attributes:
        title: What it is, and how much of it, in a line or a sentence.
        facts: Further lines by their name.
        notes: Sentences; a console shows the first of them.
        header: Titles of the columns of a small table, which only Jupyter shows.
        rows: Its cells.
        n_rows: How many there are, if more than these.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str | Markup]] = ()
    n_rows: int = 0

    def text(self) -> str:
        """Return the title, the facts and the first notes, each on a few lines."""
        width = max(map(len, self.facts), default=0)
        lines = wrap(shown(self.title), _LINE, placeholder=" …", max_lines=_MOST_LINES) or [""]
        for name, value in self.facts.items():
            lines += wrap(
                shown(value), _LINE, initial_indent=f"  {name:{width}}  ", placeholder=" …",
                subsequent_indent=" " * (width + 4), max_lines=_MOST_LINES,
            )  # fmt: skip
        for note in self.notes[:_MOST_LINES]:
            lines += wrap(
                shown(note), _LINE, initial_indent="  - ", subsequent_indent="    ",
                placeholder=" …", max_lines=_MOST_LINES,
            )  # fmt: skip
        if (more := len(self.notes) - _MOST_LINES) > 0:
            lines.append(f"  - and {more} more")
        return "\n".join(lines)

    def html(self, more: Markup | None = None) -> Markup:
        """Return all of it as HTML, every text escaped, and more of the package's own making."""
        facts = [
            [Markup("<b>{}</b>").format(name), text] for name, text in self.facts.items() if text
        ]
        notes = Markup().join(Markup("<li>{}</li>").format(_safe(note)) for note in self.notes)
        notes = Markup("<ul>{}</ul>").format(notes) if notes else notes
        cut = Markup()
        if self.n_rows > len(self.rows):
            cut = Markup("<p>The first {} of {:,}.</p>").format(len(self.rows), self.n_rows)
        return Markup("<div><p><b>{}</b></p>{}{}{}{}{}</div>").format(
            _safe(self.title), notes, _table((), facts), _table(self.header, self.rows), cut,
            more or Markup(),
        )  # fmt: skip


class Carded:
    """An object with a card, which consoles and Jupyter show in place of its arrays."""

    def _card(self) -> Card:
        raise NotImplementedError

    def _more(self) -> Markup:
        """Return what Jupyter shows below the card, such as a figure."""
        return Markup()

    def __repr__(self) -> str:
        try:
            return self._card().text()
        except Exception as error:  # noqa: BLE001 - a debugger shows objects in any state
            return shown(f"<{type(self).__name__}: {type(error).__name__}: {error}>")

    def _repr_html_(self) -> str | None:
        try:
            return str(self._card().html(self._more()))
        except Exception:  # noqa: BLE001 - then Jupyter shows the text
            return None


def briefly(text: str, most: int = _LINE) -> str:
    r"""Return a text on one line, cut, without what would steer a terminal.

    Examples:
        >>> briefly("one\ntwo three", 9)
        'one two …'
    """
    line = shown(" ".join(text.split()) if "\n" in text else text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def named(values: Iterable[Any], most: int = 4) -> str:
    """Return how many different values there are and the first of them.

    Examples:
        >>> named(["a", "b", "a"]), named(range(1000)), named([])
        ('2: a, b', '1,000: 0, 1, 2, 3, ...', 'none')
    """
    found = [str(value) for value in dict.fromkeys(values)]
    if not found:
        return "none"
    listed = [briefly(text, 40) for text in found[:most]] + ["..."] * (len(found) > most)
    return f"{len(found):,}: {', '.join(listed)}"


def sparkline(values: Iterable[float]) -> Markup:
    """Return a line through values at equal distances as a small SVG, empty for less than two.

    Examples:
        >>> sparkline([0.0, 0.5, 1.0])[:21]
        Markup('<svg width="90" heigh')
    """
    points = list(values)
    if len(points) < 2:
        return Markup()
    low, high = min(points), max(points)
    span, step = (high - low) or 1.0, 86 / (len(points) - 1)
    line = " ".join(
        f"{2 + place * step:.1f},{20 - 18 * (value - low) / span:.1f}"
        for place, value in enumerate(points)
    )
    return Markup(
        '<svg width="90" height="22"><polyline points="{}" fill="none" stroke="#0072B2" '
        'stroke-width="1.5"/></svg>'
    ).format(line)


def _safe(text: str | Markup) -> Markup:
    return text if isinstance(text, Markup) else escape(drawable(text))


def _table(header: Sequence[str], rows: Iterable[Sequence[str | Markup]]) -> Markup:
    """Return a table whose cells of numbers stand right under their titles."""
    rows = list(rows)
    side = _side if header else lambda _: "left"
    body = Markup().join(
        Markup("<tr>{}</tr>").format(
            Markup().join(
                Markup("<td {}>{}</td>").format(_CELL.format(side(cell)), _safe(cell))
                for cell in row
            )
        )
        for row in rows
    )
    sides = [side(cell) for cell in rows[0]] if rows else ["left"] * len(header)
    head = Markup().join(
        Markup("<th {}>{}</th>").format(_CELL.format(where), _safe(name))
        for where, name in zip(sides, header, strict=False)
    )
    if head:
        head = Markup("<thead><tr>{}</tr></thead>").format(head)
    return Markup("<table>{}<tbody>{}</tbody></table>").format(head, body) if body else Markup()


def _side(cell: str | Markup) -> str:
    return "right" if _NUMBER.fullmatch(cell) else "left"
