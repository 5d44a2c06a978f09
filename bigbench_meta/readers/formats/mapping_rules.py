"""The tables of a mapping file as types: what each key is called and what it may hold."""

from __future__ import annotations

from string import Formatter
from typing import Any

import msgspec

__all__ = ["ColumnRule", "Document", "MetricRule", "template_parts"]


class ColumnRule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}
):
    """How one of our columns comes from theirs.

    A cell that is empty or holds a missing code gives nothing. The text of another goes through
    ``regex``, ``remove``, ``strip_suffix``, ``replace`` and then ``map`` or ``rules``, in this
    order.

    Attributes:
        source: Their column; ``from`` in the file.
        format: In its place, a text with several of theirs in braces.
        missing: Values that say that there is none, in place of the mapping's own.
        regex: Its named or first group is what counts.
        remove: A regular expression; what matches is cut out.
        strip_suffix: Cut off at the end.
        replace: Pieces of text and what to put in their place.
        map: Whole values and what they stand for.
        unmapped: What becomes of a value that is not in the map: ``empty`` (also without the key),
            or ``keep``.
        default: What such a value stands for.
        rules: Whether the package's model-name rules give the value.
    """

    source: str | None = None
    format: str | None = None
    missing: list[Any] | None = None
    regex: str | None = None
    remove: str | None = None
    strip_suffix: str = ""
    replace: dict[str, str] = {}
    map: dict[str, Any] | None = None
    unmapped: str | None = None
    default: str | int | float | None = None
    rules: bool = False

    @property
    def sources(self) -> list[str]:
        """Their columns that this one needs."""
        if self.source is not None:
            return [self.source]
        return list(dict.fromkeys(name for _, name in template_parts(self.format or "") if name))


class MetricRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one of their columns becomes rows of one metric.

    Attributes:
        name: The metric's name; in the file, that of the column if there is none.
        stderr: Their column of its standard error.
        missing: Values that say that there is none, in place of the mapping's own.
        multiply: Positive factor for scores and standard errors.
        unit: Unit, as a note; compared with the metric catalog.
        higher_is_better: Direction; compared with the metric catalog.
        low_score: Poor or chance performance, after ``multiply``.
        high_score: Very good performance, after ``multiply``.
        is_preferred: Whether the task's authors prefer this metric.
    """

    name: str | None = None
    stderr: str | None = None
    missing: list[Any] | None = None
    multiply: float = 1.0
    unit: str | None = None
    higher_is_better: bool | None = None
    low_score: float | None = None
    high_score: float | None = None
    is_preferred: bool | None = None


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping file, its tables not yet looked into.

    Attributes:
        missing: Values that say that there is none, numbers or texts.
        delimiter: What separates the columns of a CSV file.
        constants: Those of our columns that are the same on every row.
        columns: Column rules or names of their columns, by our name.
        metrics: Their columns of scores; or metric rules or names of metrics, by their name.
    """

    missing: list[Any] = []
    delimiter: str = ","
    constants: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    metrics: list[str] | dict[str, Any] = []


def template_parts(text: str) -> list[tuple[str, str | None]]:
    """Return a format as pieces of text, each with the column that comes after it.

    Raises:
        ValueError: The braces do not match, or hold more than a column's name.

    Examples:
        >>> template_parts("{prompt}, T={T}")
        [('', 'prompt'), (', T=', 'T')]
    """
    parts = []
    for literal, name, spec, conversion in Formatter().parse(text):
        if spec or conversion or name == "":
            raise ValueError("expected a column's name and nothing else in braces")
        parts.append((literal, name))
    return parts
