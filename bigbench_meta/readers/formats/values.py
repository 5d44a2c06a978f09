"""Decode JSON and check values, logging each problem with its place in the file."""

from __future__ import annotations

import ast
import codecs
import json
import math
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from bigbench_meta.readers.problems import ProblemLog

__all__ = [
    "MOST_PARAMS",
    "TOO_LONG",
    "FileLog",
    "as_number",
    "as_size",
    "as_whole",
    "clean",
    "kind_of",
    "literal",
    "refuse_other_encodings",
    "show_value",
]

TOO_LONG: Final = "a number of more digits than can be read"
"""What is wrong with a whole number that Python does not convert."""

MOST_PARAMS: Final = 10**18
"""The largest number of parameters that is taken for one."""


_MOST_EXAMPLES: Final = 10**18
_MOST_SHOTS: Final = 10**9
_PIECE: Final = 1 << 20
# Of a key in a message.
_LONGEST: Final = 60
_Document = TypeVar("_Document", dict[str, Any], list[Any])


@dataclass(frozen=True)
class FileLog:
    """The problems of one file, and the checks of values that readers of several formats make.

    A method that checks a value returns it as observations store it, or None after a note.

    Attributes:
        label: The file's name in tables and messages.
        problems: Where problems are noted.
    """

    label: str
    problems: ProblemLog

    def error(self, where: str, reason: str) -> None:
        """Note that something was not loaded, with its place in the file."""
        self.problems.error(self.label, where, reason)

    def warning(self, where: str, reason: str) -> None:
        """Note that something was loaded but looks odd, with its place in the file."""
        self.problems.warning(self.label, where, reason)

    def decode(
        self, data: bytes, expected: type[_Document], *, what: str, where: str = ""
    ) -> _Document | None:
        """Decode a JSON object or list; note what is wrong with it, and keys given twice.

        Args:
            data: The JSON, with or without a byte order mark.
            expected: ``dict`` or ``list``.
            what: What the JSON should be, for a message.
            where: The place in the file that goes in front of messages; empty for all of it.
        """
        if not data.strip(b" \t\r\n\0"):
            self.error(where, "the file is empty")
            return None
        try:
            document, repeated = _load(data)
        except UnicodeDecodeError as error:
            self.error(f"{where} byte {error.start}".lstrip(), f"not UTF-8: {error.reason}")
        except json.JSONDecodeError as error:
            # A text without its end is blamed on its beginning.
            at_end = error.pos >= len(error.doc) or error.msg.startswith("Unterminated")
            line = f"line {error.lineno} " if "\n" in error.doc or not where else ""
            place = f"{where} {line}column {error.colno}".lstrip()
            self.error(place, f"{'truncated' if at_end else 'malformed'} JSON: {error.msg}")
        except RecursionError:
            self.error(where, f"nested too deeply to be {what}")
        except ValueError:
            self.error(where, f"not readable as JSON: {TOO_LONG}")
        else:
            for key in sorted(key[:_LONGEST] for key in repeated):
                self.warning(where or key, f"{key!r} given twice in one object: the last counts")
            if isinstance(document, expected):
                return document
            self.error(where, f"expected {kind_of(expected())}, got {kind_of(document)}")
        return None

    def section(self, holder: dict[str, Any], key: str) -> dict[str, Any]:
        """Return an object in an object, an empty one if it is missing or none."""
        value = holder.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.warning(key, f"expected an object, got {kind_of(value)}: ignored")
        return {}

    def score(self, value: Any, where: str, name: str = "") -> float | None:
        """Return a score, which may be infinite or NaN; ``name`` goes in front of messages."""
        number, prefix = as_number(value), f"{name}: " if name else ""
        if number is None:
            self.error(where, f"{prefix}expected a number, got {show_value(value)}")
        elif not math.isfinite(number):
            self.warning(where, f"{prefix}{number} is kept but never scored")
        return number

    def stderr(self, value: Any, where: str) -> float | None:
        """Return a standard error: finite and not negative."""
        number = as_number(value)
        if number is not None and math.isfinite(number) and number >= 0:
            return number
        self.warning(where, f"expected a standard error, got {show_value(value)}: left empty")
        return None

    def n_examples(self, value: Any, where: str) -> int | None:
        """Return a number of examples: whole and positive."""
        number = as_whole(value)
        if number is not None and 0 < number <= _MOST_EXAMPLES:
            return number
        self.warning(where, f"expected a number of examples, got {show_value(value)}: left empty")
        return None

    def shots(self, value: Any, where: str) -> int | None:
        """Return a number of in-context examples: whole and not negative, or None if not given."""
        number = as_whole(value)
        if value is None or (number is not None and 0 <= number <= _MOST_SHOTS):
            return number
        self.warning(where, f"expected a whole number, got {show_value(value)}: left empty")
        return None

    def agree(self, where: str, value: int | None, other: str, other_value: int | None) -> None:
        """Note that two places of a file say different numbers of one thing; the first counts."""
        if value is not None and other_value is not None and value != other_value:
            self.warning(where, f"{value}, but {other} says {other_value}")


def _load(data: bytes) -> tuple[Any, set[str]]:
    """Return what JSON holds, and the keys that are given twice in one of its objects."""
    repeated: set[str] = set()

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            counts = Counter(key for key, _ in items)
            repeated.update(key for key, count in counts.items() if count > 1)
        return result

    text = data.decode("utf-8-sig").rstrip()
    return json.loads(text, object_pairs_hook=pairs), repeated


def as_number(value: Any) -> float | None:
    """Return a JSON number as a float, None if the value is no number.

    Examples:
        >>> as_number(10**400), as_number(True), as_number("1")
        (inf, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_whole(value: Any) -> int | None:
    """Return a whole JSON number, None if the value is none.

    Examples:
        >>> as_whole(2.0), as_whole(2.5), as_whole("2")
        (2, None, None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def as_size(value: Any) -> int | None:
    """Return a number of parameters, None if the value is none.

    Examples:
        >>> as_size(7e9), as_size(0), as_size(-1)
        (7000000000, None, None)
    """
    number = as_whole(value)
    return number if number is not None and 0 < number <= MOST_PARAMS else None


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words.

    Examples:
        >>> kind_of([1]), kind_of(None), kind_of(1.5)
        ('a list', 'null', 'a number')
    """
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


def show_value(value: Any) -> str:
    """Return a JSON value for a message, not more than 40 characters of it.

    Examples:
        >>> show_value("a"), show_value({"a": 1})
        ('"a"', 'an object')
    """
    if isinstance(value, dict | list):
        return kind_of(value)
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class _Numbers(ast.NodeTransformer):
    """Puts the numbers that have no literal in place of their names."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in {"nan", "inf"} else node


def literal(text: str) -> Any:
    """Return the value that Python's ``str`` made a text of, None if it made it of none.

    Examples:
        >>> literal("[(-1.5, True), (-inf, False)]"), literal("some text")
        ([(-1.5, True), (-inf, False)], None)
    """
    try:
        with warnings.catch_warnings():
            # Text that is no value of ours may hold escapes that Python frowns upon.
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(" \t"), mode="eval")
            try:
                return ast.literal_eval(tree)
            except ValueError:
                return ast.literal_eval(_Numbers().visit(tree))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def clean(text: str) -> str:
    r"""Return text without lone surrogates (``\ud800`` in JSON), which no UTF-8 table can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def refuse_other_encodings(data: bytes) -> None:
    """Check that a text is UTF-8 throughout, a piece at a time.

    Raises:
        UnicodeDecodeError: It is not.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _PIECE):
        decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data))
