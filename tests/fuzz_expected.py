"""What may come of a spoilt file, and whether that is what came.

A file that was not touched has rows known beforehand. Of a spoilt one, what is as it was must give
the same rows again; what is not must give what a naive reader sees there, or be missing with a
problem that says so.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

Row = dict[str, Any]
Problem = tuple[str, ...]
"""Source, field, reason, severity."""

ANY = type("Any", (), {"__repr__": lambda _: "ANY"})()
"""As a value: whatever it may be, it is so by design."""
MALFORMED = object()
MISSING = object()

SURE, REPORTED, FREE = "sure", "reported", "free"
"""Whether a row must be loaded, may be missing with a problem, or may be missing."""


@dataclass(frozen=True)
class OrNull:
    """As a value: it is loaded, or left empty with a problem."""

    value: Any


@dataclass
class Item:
    """A row that may come; columns that are not named are null."""

    values: Row
    presence: str = SURE

    @property
    def is_loose(self) -> bool:
        """Whether the value of a column is not certain."""
        return any(value is ANY or isinstance(value, OrNull) for value in self.values.values())


@dataclass
class Expected:
    """What may come of a file.

    Attributes:
        items: Rows, in order.
        may_refuse: Whether nothing may come, with an error.
        faulty: Whether there must be a problem.
        scattered: Whether rows come in any order, and any of them may be missing.
        doubtful: Whether there may be a problem.
        unknown: Whether no naive reader can say what may come.
    """

    items: list[Item] = field(default_factory=list)
    may_refuse: bool = False
    faulty: bool = False
    scattered: bool = False
    doubtful: bool = False
    unknown: bool = False

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong with the file."""
        if self.may_refuse or self.faulty or self.scattered or self.doubtful or self.unknown:
            return False
        return all(item.presence == SURE and not item.is_loose for item in self.items)

    def loosened(self, presence: str, **columns: Any) -> Expected:
        """Return the same with less certain rows and columns."""
        items = [Item(item.values | columns, presence) for item in self.items]
        return replace(self, items=items, may_refuse=True)


@dataclass
class Sound:
    """A sound file and what the readers make of it.

    Attributes:
        document: What it holds.
        rows: Its observations, without their source.
        samples: Its samples, without their source.
        beside: The sound file that is read with it, None if there is none.
        odd: Field and reason of warnings about it.
        format: What the readers take it for.
    """

    document: Any = None
    rows: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    beside: bytes | None = None
    odd: frozenset[tuple[str, str]] = frozenset()
    format: str = ""

    def new(self, problems: Sequence[Problem]) -> list[Problem]:
        """Return the problems that the sound file does not have."""
        return [problem for problem in problems if (problem[1], problem[2]) not in self.odd]


# --- Comparing ---


def plain_rows(table: pa.Table) -> list[Row]:
    """Return rows that can be compared: NaN is a text, and the metrics of a sample have an order.

    What is null is left out.
    """
    return [
        {name: plain(value) for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]


def plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, list):
        inner = [plain(one) for one in value]
        return sorted(inner, key=str) if value and isinstance(value[0], tuple) else inner
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def fits(item: Item, row: Row, *, reported: bool) -> bool:
    """Return whether a row is the one that was expected; empty cells need a problem."""
    for name in row.keys() | item.values.keys():
        wanted, got = item.values.get(name), row.get(name)
        if isinstance(wanted, OrNull):
            if got is None and reported:
                continue
            wanted = wanted.value
        if wanted is not ANY and plain(wanted) != got:
            return False
    return True


def complaint(rows: Sequence[Row], expected: Expected, problems: Sequence[tuple[str, ...]]) -> str:
    """Return what is wrong with the rows that came of a file, an empty text if nothing is."""
    reported, failed = bool(problems), any(problem[3] == "error" for problem in problems)
    if expected.faulty and not reported:
        return "not a word on what is wrong"
    if expected.unknown or (not rows and expected.may_refuse and failed):
        return ""
    if expected.scattered:
        return next(
            (
                f"not explained: {row}"
                for row in rows
                if not any(fits(item, row, reported=reported) for item in expected.items)
            ),
            "",
        )
    return misfit(rows, expected.items, reported=reported)


def misfit(rows: Sequence[Row], items: Sequence[Item], *, reported: bool) -> str:
    """Return which row is not explained, or which is lost."""
    optional = {FREE, REPORTED} if reported else {FREE}
    # Rows that may have been explained so far, by the items looked at.
    reached = {0}
    for item in items:
        after = {r + 1 for r in reached if r < len(rows) and fits(item, rows[r], reported=reported)}
        if item.presence in optional:
            after |= reached
        if not after:
            r = max(reached)
            got = rows[r] if r < len(rows) else "no more rows"
            return f"lost {'' if reported else 'without a word'}: {item}; got {got}"
        reached = after
    if len(rows) in reached:
        return ""
    return f"not explained: {rows[max(reached)]}"


# --- Values ---


class Object(dict[str, Any]):
    """A JSON object that remembers keys given twice."""

    pairs: tuple[tuple[str, Any], ...] = ()

    def all(self, key: str) -> list[Any]:
        """Return every value of a key."""
        return [value for name, value in self.pairs if name == key]

    @property
    def twice(self) -> bool:
        return len(self.pairs) > len(self)


def to_object(pairs: list[tuple[str, Any]]) -> Object:
    result = Object(pairs)
    result.pairs = tuple(pairs)
    return result


@dataclass(frozen=True)
class Json:
    """A decoded text; ``strict`` is whether a careful reader may refuse it."""

    document: Any
    strict: bool = False


def parse_json(data: bytes) -> Json:
    """Decode JSON, also such that not every decoder takes."""
    strict = False

    def whole(text: str) -> float:
        nonlocal strict
        strict |= len(text) > 4000
        return float(text) if len(text) > 4000 else int(text)

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, strict = data.decode("utf-8-sig", "replace"), True
    try:
        document = json.loads(text.rstrip(), object_pairs_hook=to_object, parse_int=whole)
    except (ValueError, RecursionError):
        return Json(MALFORMED, strict=True)
    return Json(document, strict)


def canonical(value: Any) -> str:
    """Return a text that tells a value from every other one, 1 from 1.0 and from true."""
    return json.dumps(value)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def whole(value: Any, low: int, high: int) -> int | None:
    if number(value) is None or not math.isfinite(number(value) or 0) or value != int(value):
        return None
    return int(value) if low <= value <= high else None


def of(document: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return MISSING
        document = document[key]
    return document
