"""Mapping files: a small TOML file that says what the columns of a table mean.

``docs/wide_tables.md`` lists the keys. All is checked when the file is read, and each fault is
named with its place in the file, so that a mapping which loads can fail only on a table that lacks
a column.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
import pyarrow as pa

from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.schema import OBSERVATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "REQUIRED",
    "ColumnRule",
    "Mapping",
    "MetricRule",
    "Value",
    "expected",
    "fitting",
    "template_parts",
]

Value = str | int | float

REQUIRED: Final = ("benchmark", "task", "model_family", "model_name")
"""Columns that a mapping must fill, each from a column or a constant."""

# These come from [metrics], and from the file itself.
_NOT_FILLABLE: Final = {
    "metric", "score", "stderr", "is_preferred", "low_score", "high_score", "source",
}  # fmt: skip
# Arrow types of the columns that a mapping may fill, by name.
_FILLABLE: Final = {c.name: c.type for c in OBSERVATIONS.columns if c.name not in _NOT_FILLABLE}

_MOST_SHOTS: Final = 10**9
_MOST_WHOLE: Final = 10**18
_MOST_BYTES: Final = 1 << 22
_T = TypeVar("_T", bound=msgspec.Struct)

_NAMED_BY_RULES: Final = ("model_family", "model_name", "total_params", "variant")
_MOST_LISTED: Final = 30
_KINDS: Final = {
    "str": "text", "object": "table", "bool": "true or false", "int": "whole number",
    "float": "number",
}  # fmt: skip


class ColumnRule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}
):
    """The rule that fills one of our columns from theirs.

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
    """The rule that turns one of their columns into rows of one metric.

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


class _Document(msgspec.Struct, forbid_unknown_fields=True):
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


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """What the columns of a wide table mean.

    Attributes:
        where: The mapping file, for messages.
        columns: A rule for each of our columns that comes from theirs, by our name.
        constants: Those of our columns that are the same on every row.
        metrics: A rule for each of their columns of scores, by their name.
        missing: Values that say that there is none, numbers or texts.
        delimiter: What separates the columns of a CSV file.
    """

    where: str
    columns: dict[str, ColumnRule]
    constants: dict[str, Value]
    metrics: dict[str, MetricRule]
    missing: list[Value]
    delimiter: str

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a mapping file.

        Args:
            path: A TOML file.

        Returns:
            The mapping.

        Raises:
            InputError: The file cannot be read or is not TOML.
            SchemaError: A key is unknown or missing, or its value is not allowed.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:  # a ValueError: a null character in the path
            raise InputError(f"cannot be read: {error}", where=str(path)) from error
        if len(data) > _MOST_BYTES:
            raise InputError(f"holds more than {_MOST_BYTES} bytes", where=str(path))
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            reason = f"byte {error.start} is not UTF-8: {error.reason}"
            raise InputError(reason, where=str(path)) from error
        return cls.parse(text, where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "mapping") -> Self:
        """Read a mapping from the text of a TOML file.

        Args:
            text: The file's content.
            where: Its name in messages.

        Returns:
            The mapping.

        Raises:
            InputError: The text is not TOML.
            SchemaError: A key is unknown or missing, or its value is not allowed.

        Examples:
            >>> mapping = Mapping.parse('''
            ... metrics = ["acc"]
            ... constants = {benchmark = "mine", model_family = "GPT-2"}
            ... columns = {task = "dataset", model_name = {from = "model", strip_suffix = "-hf"}}
            ... ''')
            >>> mapping.source_columns
            ['dataset', 'model', 'acc']
        """
        try:
            items = tomllib.loads(text)
        # A ValueError of its own: an integer of more digits than Python converts.
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"not TOML: {error}", where=where, hint="texts need quotation marks"
            ) from error
        document = _converted(items, _Document, where, "")
        _check_codes(document.missing, f"{where}: missing")
        if len(document.delimiter) != 1 or document.delimiter in '"\r\n':
            raise SchemaError(
                f"expected one character, got {document.delimiter!r}", where=f"{where}: delimiter"
            )
        mapping = cls(
            where=where,
            columns={c: _column_rule(c, value, where) for c, value in document.columns.items()},
            constants={c: _constant(c, value, where) for c, value in document.constants.items()},
            metrics=_metric_rules(document.metrics, where),
            missing=document.missing,
            delimiter=document.delimiter,
        )
        mapping._check_filled()
        return mapping

    @property
    def source_columns(self) -> list[str]:
        """The columns that a table must have, in order of first mention."""
        return list(dict.fromkeys(source for _, source in self._mentions()))

    def check_columns(self, found: Iterable[str]) -> None:
        """Make sure that a table has every column that the mapping names.

        Raises:
            SchemaError: One is not there.
        """
        found = list(found)
        for where, source in self._mentions():
            if source not in found:
                hint = _hint_at(source, found, "columns found")
                raise SchemaError(f"the table has no column {source!r}", where=where, hint=hint)

    def _mentions(self) -> list[tuple[str, str]]:
        mentions = [
            (f"{self.where}: columns.{column}", source)
            for column, rule in self.columns.items()
            for source in rule.sources
        ]
        for column, metric in self.metrics.items():
            mentions.append((f"{self.where}: metrics.{column}", column))
            if metric.stderr is not None:
                mentions.append((f"{self.where}: metrics.{column}.stderr", metric.stderr))
        return mentions

    def _check_filled(self) -> None:
        if both := [column for column in self.columns if column in self.constants]:
            raise SchemaError(f"{both[0]!r} is both a column and a constant", where=self.where)
        for column in REQUIRED:
            if column not in self.columns and column not in self.constants:
                raise SchemaError(
                    f"nothing gives {column!r}",
                    where=self.where,
                    hint=f'[columns] {column} = "their column", or [constants] {column} = "a name"',
                )


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


def fitting(column: str, value: object) -> Value | None:
    """Return a value as one of our columns stores it, None if it does not fit.

    Args:
        column: The column.
        value: Text for a column of names, a number for the others.

    Examples:
        >>> fitting("task", " rhymes "), fitting("shots", 2.0), fitting("shots", -1)
        ('rhymes', 2, None)
    """
    kind = _FILLABLE[column]
    if pa.types.is_dictionary(kind):
        return (value.strip() or None) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    if pa.types.is_floating(kind):
        return float(value) if value > 0 else None
    lowest, highest = (0, _MOST_SHOTS) if column == "shots" else (1, _MOST_WHOLE)
    return int(value) if lowest <= value <= highest and value == int(value) else None


def expected(column: str) -> str:
    """Return what :func:`fitting` takes, in words.

    Examples:
        >>> expected("shots")
        'a whole number from 0'
    """
    kind = _FILLABLE[column]
    if pa.types.is_dictionary(kind):
        return "a text"
    if pa.types.is_floating(kind):
        return "a positive number"
    return f"a whole number from {0 if column == 'shots' else 1}"


def _is_finite(value: float) -> bool:
    """Return whether a number is one of the finite floats, or an integer among them."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def _hint_at(name: str, known: Iterable[str], what: str) -> str:
    """Return a hint with what is closest to a name and all there is.

    Examples:
        >>> _hint_at("taks", ["task", "metric"], "columns found")
        "did you mean 'task'? columns found: task, metric"
    """
    known = list(known)
    listed = ", ".join(known[:_MOST_LISTED])
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"{what}: {listed}{more}"


def _converted(value: object, kind: type[_T], where: str, key: str) -> _T:
    """Return a TOML value as a struct."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        # msgspec writes a path as $.a.b, and [...] for the key of a dictionary.
        place = f"{key}{path.rstrip('`').replace('[...]', '')}".lstrip(".")
        at = f"{where}: {place}" if place else where
        if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
            known = [field.encode_name for field in msgspec.structs.fields(kind)]
            hint = _hint_at(unknown[1], known, "known keys")
            raise SchemaError(f"unknown key {unknown[1]!r}", where=at, hint=hint) from error
        for theirs, ours in _KINDS.items():
            message = message.replace(f"`{theirs}`", ours).replace(f"`{theirs} |", f"`{ours} |")
        message = message.replace(" | null`", "").replace("`", "")
        raise SchemaError(f"{message[0].lower()}{message[1:]}", where=at) from error


def _check_codes(codes: list[Any] | None, where: str) -> None:
    """Check that the codes for missing values are numbers or texts."""
    for code in codes or []:
        # An integer beyond the floats equals no score; an infinity or NaN may.
        if isinstance(code, str | float):
            continue
        if not isinstance(code, int) or isinstance(code, bool) or not _is_finite(code):
            raise SchemaError(f"expected numbers and texts, got {_shown(code)}", where=where)


def _constant(column: str, value: object, file: str) -> Value:
    """Return what one of our columns holds on every row."""
    _check_fillable(column, f"{file}: constants")
    result = fitting(column, value)
    if result is None:
        raise SchemaError(
            f"expected {expected(column)}, got {_shown(value)}", where=f"{file}: constants.{column}"
        )
    return result


def _column_rule(column: str, value: object, file: str) -> ColumnRule:
    """Return the rule that fills one of our columns."""
    _check_fillable(column, f"{file}: columns")
    key = f"columns.{column}"
    where = f"{file}: {key}"
    if not isinstance(value, str | dict):
        reason = f"expected a column's name or a table, got {_shown(value)}"
        raise SchemaError(reason, where=where)
    rule = _converted({"from": value} if isinstance(value, str) else value, ColumnRule, file, key)
    if (rule.source is None) == (rule.format is None):
        raise SchemaError(
            "expected either `from` or `format`", where=where, hint='{from = "their column"}'
        )
    if rule.format is not None:
        _check_template(rule.format, f"{where}.format")
    _check_codes(rule.missing, f"{where}.missing")
    _check_pattern(rule.regex, f"{where}.regex", with_group=True)
    _check_pattern(rule.remove, f"{where}.remove")
    _check_rules(rule, column, where)
    meanings = {f"map.{name}": meaning for name, meaning in (rule.map or {}).items()}
    if rule.default is not None:
        meanings["default"] = rule.default
    for place, meaning in meanings.items():
        if fitting(column, meaning) is None:
            reason = f"expected {expected(column)}, got {_shown(meaning)}"
            raise SchemaError(reason, where=f"{where}.{place}")
    return rule


def _metric_rules(metrics: list[str] | dict[str, Any], file: str) -> dict[str, MetricRule]:
    """Return the rule of each of their columns of scores."""
    if not metrics:
        hint = 'metrics = ["their column"]'
        raise SchemaError("nothing gives a score", where=f"{file}: metrics", hint=hint)
    items = metrics.items() if isinstance(metrics, dict) else [(name, name) for name in metrics]
    rules: dict[str, MetricRule] = {}
    taken: set[str] = set()
    for column, value in items:
        where = f"{file}: metrics.{column}"
        rules[column] = _metric_rule(column, value, file)
        name = rules[column].name or column
        if name in taken:
            raise SchemaError(f"a second column gives the metric {name!r}", where=where)
        taken.add(name)
    return rules


def _metric_rule(column: str, value: object, file: str) -> MetricRule:
    key = f"metrics.{column}"
    where = f"{file}: {key}"
    if not isinstance(value, str | dict):
        raise SchemaError(f"expected a metric's name or a table, got {_shown(value)}", where=where)
    rule = _converted({"name": value} if isinstance(value, str) else value, MetricRule, file, key)
    name = (column if rule.name is None else rule.name).strip()
    if not name:
        raise SchemaError("the metric's name is empty", where=where)
    if not (_is_finite(rule.multiply) and rule.multiply > 0):
        reason = f"expected a positive number, got {rule.multiply}"
        raise SchemaError(reason, where=f"{where}.multiply")
    _check_codes(rule.missing, f"{where}.missing")
    low, high, up = rule.low_score, rule.high_score, rule.higher_is_better
    for side, number in (("low_score", low), ("high_score", high)):
        if number is not None and not _is_finite(number):
            raise SchemaError(f"expected a finite number, got {number}", where=f"{where}.{side}")
    if up is not None and low is not None and high is not None and up is (low > high):
        reason = f"low_score {low} and high_score {high} contradict higher_is_better"
        raise SchemaError(reason, where=where)
    return msgspec.structs.replace(rule, name=name)


def _check_fillable(column: str, where: str) -> None:
    if column not in _FILLABLE:
        hint = _hint_at(column, _FILLABLE, "columns to fill")
        raise SchemaError(f"unknown column {column!r}", where=where, hint=hint)


def _check_rules(rule: ColumnRule, column: str, where: str) -> None:
    if rule.rules and column not in _NAMED_BY_RULES:
        raise SchemaError(
            f"the model-name rules do not give {column!r}",
            where=f"{where}.rules",
            hint=f"they give {', '.join(_NAMED_BY_RULES)}",
        )
    if rule.rules and rule.map is not None:
        raise SchemaError("`map` and `rules` exclude each other", where=where)
    for key in ("unmapped", "default"):
        if rule.map is None and getattr(rule, key) is not None:
            raise SchemaError(f"`{key}` without a `map`", where=where)
    if rule.unmapped is not None and rule.default is not None:
        raise SchemaError("`unmapped` and `default` exclude each other", where=where)
    if rule.unmapped not in {None, "empty", "keep"}:
        reason = f"expected 'empty' or 'keep', got {rule.unmapped!r}"
        raise SchemaError(reason, where=f"{where}.unmapped")
    if "" in rule.replace:
        raise SchemaError("an empty text cannot be replaced", where=f"{where}.replace")


def _check_template(text: str, where: str) -> None:
    try:
        names = [name for _, name in template_parts(text) if name is not None]
    except ValueError as error:
        hint = "a brace that stands for itself is written twice"
        raise SchemaError(f"{text!r}: {error}", where=where, hint=hint) from error
    if not names:
        raise SchemaError(f"{text!r} names no column", where=where, hint='"{prompt}, T={T}"')


def _check_pattern(text: str | None, where: str, *, with_group: bool = False) -> None:
    if text is None:
        return
    try:
        regex = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise SchemaError(f"bad regular expression {_shown(text)}: {error}", where=where) from error
    if with_group and not regex.groups:
        hint = "put what counts in parentheses"
        raise SchemaError(f"{_shown(text)} has no group", where=where, hint=hint)
    if with_group and len(regex.groupindex) > 1:
        names = ", ".join(regex.groupindex)
        raise SchemaError(f"more than one named group: {names}", where=where)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
