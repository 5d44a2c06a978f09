"""Texts for people: foreign ones made safe to print, write and draw, numbers with their nouns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

__all__ = [
    "counted",
    "csv_text",
    "did_you_mean",
    "drawable",
    "format_scale",
    "inert",
    "listed",
    "printable",
    "shown",
]

# What XML cannot hold: control characters except tab and line ends, half surrogate pairs. And
# controls of direction, with which a name can pass for another.
_UNDRAWABLE: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

# What a spreadsheet takes for a formula; of what begins with a sign, not numbers and intervals.
_FORMULA: Final = re.compile(
    r"[\0\ufeff\u200b ]*(?:[=@\uff0b\uff0d\uff1d\uff20\t\r]|[+\-](?!(?:inf|[\d.,%e+\-\[\]\s])*$))",
    re.IGNORECASE | re.ASCII,
)
_MOST_LISTED: Final = 30
_MOST_NEAR: Final = 3
_DIRECTION: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts, or with the verb behind it.

    Examples:
        >>> counted(1, "curve"), counted(2100, "curve"), counted(1, "has", "have")
        ('1 curve', '2,100 curves', '1 has')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def did_you_mean(name: str, known: Iterable[str], what: str = "") -> str:
    """Return a hint with the names that are closest to a wrong one, in whatever case.

    Args:
        name: The wrong name.
        known: The names that there are.
        what: What these are; with it they are listed too.

    Examples:
        >>> did_you_mean("Taks", ["task", "metric"])
        "did you mean 'task'?"
        >>> did_you_mean("taks", ["task", "metric"], "columns found")
        "did you mean 'task'? columns found: task, metric"
        >>> did_you_mean("accuracy", ["loss"])
        ''
    """
    from difflib import get_close_matches

    known = list(known)
    by_lower = {one.lower(): one for one in reversed(known)}
    lower = name.lower()
    near = get_close_matches(lower, by_lower, n=1)
    near += [
        one
        for one in sorted(by_lower, key=len)
        if len(lower) > 2 and lower in one and one not in near
    ]
    alike = " or ".join(repr(by_lower[one]) for one in near[:_MOST_NEAR])
    parts = (f"did you mean {alike}?" if alike else "", listed(known, what) if what else "")
    return " ".join(filter(None, parts))


def listed(known: Sequence[str], what: str) -> str:
    """Return names, or the first of many, behind what they are.

    Examples:
        >>> listed(["task", "metric"], "columns"), listed([], "columns")
        ('columns: task, metric', 'columns: none')
    """
    first = ", ".join(known[:_MOST_LISTED]) or "none"
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    return f"{what}: {first}{more}"


def format_scale(value: float) -> str:
    """Return a number of parameters in the usual short form.

    Examples:
        >>> format_scale(1.32e9), format_scale(125e6), format_scale(3.14e23)
        ('1.32B', '125M', '3.14e+23')
    """
    value = float(f"{value:.3g}")  # so that 999.9 is 1K and not 1e+03
    for limit, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "K"), (1e9, 1e6, "M"), (1e12, 1e9, "B")):
        if value < limit:
            return f"{value / divisor:.3g}{unit}"
    return f"{value:.3g}"


def printable(text: str) -> str:
    r"""Return a text with what has no UTF-8, as file names and JSON escapes can, written out.

    Examples:
        >>> print(printable("a\udcffb"))
        a\udcffb
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str) -> str:
    r"""Return a text without characters that would steer a terminal.

    Examples:
        >>> print(shown("\x1b[31mred"))
        \x1b[31mred
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def drawable(text: str) -> str:
    r"""Return a text with a replacement character for what no SVG, HTML or page should hold.

    Examples:
        >>> drawable("a\x00b") == "a\ufffdb"
        True
    """
    return _UNDRAWABLE.sub("\ufffd", text)


def inert(text: str) -> str:
    r"""Return a text that a spreadsheet shows and does not run, and that reads as it is written.

    Examples:
        >>> inert("=1+2"), inert("arithmetic 2D+"), inert("-1"), inert("a\u202eb")
        ("'=1+2", 'arithmetic 2D+', '-1', 'a\\u202eb')
    """
    text = _DIRECTION.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return f"'{text}" if _FORMULA.match(text) else text


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV: unrounded, missing values empty, no cell that a spreadsheet would run.

    Examples:
        >>> import pandas as pd
        >>> print(csv_text(pd.DataFrame({"task": ["=1+2", None], "score": [0.5, -1.0]})))
        task,score
        '=1+2,0.5
        ,-1.0
        <BLANKLINE>
    """
    safe = frame.copy(deep=False)
    for name, column in frame.items():
        if column.dtype.kind not in "biufcmM":
            changed = {text: inert(text) for text in column.unique() if isinstance(text, str)}
            if any(text != other for text, other in changed.items()):
                safe[name] = [changed.get(value, value) for value in column]
    safe.columns = [inert(str(name)) for name in frame]
    return safe.to_csv(index=False, lineterminator="\n")
