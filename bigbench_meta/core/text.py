"""Make foreign texts safe to print, write and draw: names in results can hold any character."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["drawable", "printable", "shown"]

# What XML cannot hold: control characters except tab and line ends, half surrogate pairs. And
# controls of direction, with which a name can pass for another.
_UNDRAWABLE: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


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
