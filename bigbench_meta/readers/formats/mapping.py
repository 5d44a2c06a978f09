"""Mapping files: a small TOML file that says what the columns of a table mean.

``docs/wide_tables.md`` lists the keys. All is checked when the file is read, and each fault is
named with its place in the file, so that a mapping which loads can fail only on a table that lacks
a column.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, replace
from string import Formatter
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
import pyarrow as pa

from bigbench_meta.catalog.published import read_bounded
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.patterns import TimedPattern
from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.core.text import did_you_mean
from bigbench_meta.readers.formats.values import MOST_PARAMS, as_number, as_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "EXPECTED",
    "REQUIRED",
    "ColumnRule",
    "Mapping",
    "MetricRule",
    "Value",
    "fitting",
    "shown",
]

Value = str | int | float

REQUIRED: Final = ("benchmark", "task", "model_family", "model_name")
"""Columns that a mapping must fill, each from a column or a constant."""

# These come from [metrics], and from the file itself.
_NOT_FILLABLE: Final = {"score", "stderr", "is_preferred", "low_score", "high_score", "source"}
# Arrow types of the columns that a mapping may fill, by name.
_FILLABLE: Final = {c.name: c.type for c in OBSERVATIONS.columns if c.name not in _NOT_FILLABLE}

EXPECTED: Final = {
    column: "a text" if pa.types.is_dictionary(kind)
    else "a positive number" if pa.types.is_floating(kind)
    else f"a whole number from {0 if column == 'shots' else 1}"
    for column, kind in _FILLABLE.items()
}  # fmt: skip
"""What each column that a mapping may fill takes, in words."""

_NAMED_BY_RULES: Final = ("model_family", "model_name", "total_params", "variant")
_MOST_SHOTS: Final = 10**9
_KINDS: Final = {
    "str": "text", "object": "table", "bool": "true or false", "int": "whole number",
    "float": "number",
}  # fmt: skip
_T = TypeVar("_T", bound=msgspec.Struct)


class ColumnRule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}
):
    """The rule that fills one of our columns: the keys of a table below ``[columns]``."""

    source: str | None = None
    format: str | None = None
    file: bool = False
    missing: list[Any] | None = None
    regex: str | None = None
    remove: str | None = None
    strip_suffix: str = ""
    replace: dict[str, str] = {}
    map: dict[str, Any] | None = None
    unmapped: str | None = None
    default: Value | None = None
    multiply: float = 1.0
    rules: bool = False

    @property
    def parts(self) -> list[tuple[str, str | None]]:
        """What the column is made of: pieces of text, each with the column that comes after it.

        Examples:
            >>> ColumnRule(format="{prompt}, T={T}").parts
            [('', 'prompt'), (', T=', 'T')]
        """
        if self.source is not None:
            return [("", self.source)]
        if self.file:
            return []
        parts = []
        for literal, name, spec, conversion in Formatter().parse(self.format or ""):
            if spec or conversion or name == "":
                raise ValueError("expected a column's name and nothing else in braces")
            parts.append((literal, name))
        return parts

    @property
    def sources(self) -> list[str]:
        """Their columns that this one needs."""
        return [source for _, source in self.parts if source is not None]


class MetricRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule that makes a metric of one of their columns: the keys of a table of ``[metrics]``.

    Where the name is None, our column ``metric`` gives it. ``task`` to ``model`` are what the
    column says of its scores; ``model`` stands for family, name and size by the model-name rules.
    """

    name: str | None = None
    task: str | None = None
    subtask: str | None = None
    variant: str | None = None
    shots: int | None = None
    n_examples: int | None = None
    model: str | None = None
    stderr: str | None = None
    missing: list[Any] | None = None
    multiply: float = 1.0
    unit: str | None = None
    higher_is_better: bool | None = None
    low_score: float | None = None
    high_score: float | None = None
    is_preferred: bool | None = None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping file, its tables not yet looked into."""

    missing: list[Any] = []
    delimiter: str = ","
    last_of: list[str] | None = None
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
        patterns: A rule for the columns of scores whose names are of a form, by the form:
            ``{task}_{shots}shot_{metric}``.
        missing: Values that say that there is none, numbers or texts.
        delimiter: What separates the columns of a CSV file.
        last_of: Their columns of each combination of whose values only the last row counts, all
            rows together if there are none; None if every row counts.
        regexes: The regular expressions of the rules, by their text.
    """

    where: str
    columns: dict[str, ColumnRule]
    constants: dict[str, Value]
    metrics: dict[str, MetricRule]
    patterns: dict[str, MetricRule]
    missing: list[Value]
    delimiter: str
    last_of: list[str] | None
    regexes: dict[str, TimedPattern]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a mapping file; what it raises is as for :meth:`parse`."""
        return cls.parse(read_bounded(path), where=str(path))

    @classmethod
    def parse(cls, text: str, *, where: str = "mapping") -> Self:
        """Read a mapping from the text of a TOML file.

        Args:
            text: The file's content.
            where: Its name in messages.

        Raises:
            InputError: The text is not TOML.
            SchemaError: A key is unknown or missing, or its value is not allowed.

        Examples:
            >>> mapping = Mapping.parse('''
            ... metrics = ["acc"]
            ... constants = {benchmark = "mine", model_family = "GPT-2"}
            ... columns = {task = "dataset", model_name = {from = "model", strip_suffix = "-hf"}}
            ... ''')
            >>> list(mapping.sources)
            ['dataset', 'model', 'acc']
        """
        try:
            items = tomllib.loads(text)
        # A ValueError of its own: an integer of more digits than Python converts.
        except (ValueError, RecursionError) as error:
            hint = "texts need quotation marks"
            raise InputError(f"not TOML: {error}", where=where, hint=hint) from error
        document = _converted(items, _Document, where)
        codes, delimiter = document.missing, document.delimiter
        _check_codes(codes, f"{where}: missing")
        is_one = len(delimiter) == 1 and delimiter not in '"\r\n'
        _require(is_one, f"{where}: delimiter", f"expected one character, got {delimiter!r}")
        for key, given in (("columns", document.columns), ("constants", document.constants)):
            for name in given:
                hint = did_you_mean(name, _FILLABLE, "columns to fill")
                _require(name in _FILLABLE, f"{where}: {key}", f"unknown column {name!r}", hint)
        regexes: dict[str, TimedPattern] = {}
        columns = {
            name: _column_rule(name, value, where, regexes)
            for name, value in document.columns.items()
        }
        constants = {
            name: _value(name, value, f"{where}: constants.{name}")
            for name, value in document.constants.items()
        }
        for name in columns:
            _require(name not in constants, where, f"{name!r} is both a column and a constant")
        every = _metric_rules(document.metrics, where, named="metric" in columns | constants)
        patterns = {key: rule for key, rule in every.items() if _slots(key, where)}
        for name in REQUIRED:
            hint = f'[columns] {name} = "their column", or [constants] {name} = "a name"'
            by_metrics = all(
                name in _given(rule, _slots(key, where)) for key, rule in every.items()
            )
            has_it = name in columns | constants or by_metrics
            _require(has_it, where, f"nothing gives {name!r}", hint)
        return cls(
            where=where, columns=columns, constants=constants, patterns=patterns,
            metrics={key: rule for key, rule in every.items() if key not in patterns},
            missing=codes, delimiter=delimiter, last_of=document.last_of, regexes=regexes,
        )  # fmt: skip

    @property
    def sources(self) -> dict[str, str]:
        """The columns that a table must have, each with the first place that names it."""
        places: dict[str, str] = {}
        for name, rule in self.columns.items():
            for source in rule.sources:
                places.setdefault(source, f"columns.{name}")
        for source, metric in self.metrics.items():
            places.setdefault(source, f"metrics.{source}")
            if metric.stderr is not None:
                places.setdefault(metric.stderr, f"metrics.{source}.stderr")
        for source in self.last_of or ():
            places.setdefault(source, "last_of")
        return places

    def for_table(self, found: list[str]) -> Mapping:
        """Return the mapping for a table, with a rule for each column that is of a form.

        Args:
            found: The names of its columns.

        Raises:
            SchemaError: The table lacks a column that the mapping names, or none is of a form.
            PatternError: A column's name is too long to say whether it is of a form.
        """
        self.check_columns(found)
        metrics = dict(self.metrics)
        for form, rule in self.patterns.items():
            where = f"{self.where}: metrics.{form}"
            pattern = _slot_pattern(form, where)
            fitting = {name: match for name in found if (match := pattern.fullmatch(name))}
            used = self.sources
            for name, match in fitting.items():
                if name not in used and name not in metrics:
                    metrics[name] = _filled(rule, match.groupdict())
            hint = did_you_mean(form, found, "columns found")
            _require(bool(fitting), where, "no column of the table is of this form", hint)
        _check_distinct(metrics, self.where)
        return replace(self, metrics=metrics, patterns={})

    def check_columns(self, found: list[str]) -> None:
        """Make sure that a table has every column that the mapping names.

        Raises:
            SchemaError: One is not there.
        """
        for source, place in self.sources.items():
            if source not in found:
                where, hint = f"{self.where}: {place}", did_you_mean(source, found, "columns found")
                raise SchemaError(f"the table has no column {source!r}", where=where, hint=hint)


# Names in braces in the name of a column of scores.
_SLOTS: Final = {
    "metric": ("name", r".+?"), "task": ("task", r".+?"), "subtask": ("subtask", r".+?"),
    "variant": ("variant", r".+?"), "model": ("model", r".+?"), "shots": ("shots", r"\d{1,9}"),
}  # fmt: skip


def _slots(key: str, where: str) -> list[str]:
    """Return the names in braces of a column's name, empty if it is a plain name."""
    try:
        names = [name for _, name, _, _ in Formatter().parse(key) if name is not None]
    except ValueError:
        return []  # a brace that is one
    if not names or not set(names) & _SLOTS.keys():
        return []
    unknown = next((name for name in names if name not in _SLOTS), None)
    place, hint = f"{where}: metrics.{key}", f"one of {', '.join(_SLOTS)}"
    _require(unknown is None, place, f"unknown name {unknown!r} in braces", hint)
    _require(len(set(names)) == len(names), place, "a name in braces stands twice")
    return names


def _slot_pattern(form: str, where: str) -> TimedPattern:
    parts = []
    for literal, name, _, _ in Formatter().parse(form):
        parts.append(re.escape(literal))
        if name is not None:
            parts.append(f"(?P<{name}>{_SLOTS[name][1]})")
    return TimedPattern("".join(parts), where=where)


def _filled(rule: MetricRule, texts: dict[str, str]) -> MetricRule:
    """Return a rule with what a column's name says, where the rule itself says nothing."""
    said = {_SLOTS[name][0]: int(text) if name == "shots" else text for name, text in texts.items()}
    own = {name: value for name, value in said.items() if getattr(rule, name) is None}
    return msgspec.structs.replace(rule, **own)


def _given(rule: MetricRule, slots: list[str]) -> set[str]:
    """Return which required columns a rule fills."""
    said = {name for name in ("task", "model") if getattr(rule, name) is not None} | set(slots)
    return said | ({"model_family", "model_name"} if "model" in said else set())


def _check_distinct(metrics: dict[str, MetricRule], file: str) -> None:
    """Make sure that no two columns give the same score."""
    taken: dict[tuple[Any, ...], str] = {}
    for column, rule in metrics.items():
        key = (rule.name, rule.task, rule.subtask, rule.variant, rule.shots, rule.model)
        other = taken.setdefault(key, column)
        reason = f"a second column gives the metric {rule.name!r}"
        hint = f"{other!r} gives it too; `task`, `shots` or `variant` tell columns apart"
        _require(other == column, f"{file}: metrics.{column}", reason, hint)


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
    if pa.types.is_floating(kind):
        number = as_number(value)
        return number if number is not None and 0 < number < math.inf else None
    whole = as_whole(value)
    lowest, highest = (0, _MOST_SHOTS) if column == "shots" else (1, MOST_PARAMS)
    return whole if whole is not None and lowest <= whole <= highest else None


def shown(value: object) -> str:
    """Return a value for a message, not more than 40 characters of it."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _require(holds: bool, where: str, reason: str, hint: str | None = None) -> None:
    if not holds:
        raise SchemaError(reason, where=where, hint=hint)


def _converted(value: object, kind: type[_T], file: str, key: str = "") -> _T:
    """Return a TOML value as a struct."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        # msgspec writes a path as $.a.b, and [...] for the key of a dictionary.
        place = f"{key}{path.rstrip('`').replace('[...]', '')}".lstrip(".")
        where = f"{file}: {place}" if place else file
        if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
            known = [field.encode_name for field in msgspec.structs.fields(kind)]
            hint = did_you_mean(unknown[1], known, "known keys")
            raise SchemaError(f"unknown key {unknown[1]!r}", where=where, hint=hint) from error
        # What was expected and found stands in backticks: `int | str | null`.
        message = re.sub(r" \| null\b|`", "", message)
        message = re.sub(r"\b[a-z]+\b", lambda word: _KINDS.get(word[0], word[0]), message)
        raise SchemaError(f"{message[0].lower()}{message[1:]}", where=where) from error


def _entry(value: object, kind: type[_T], file: str, key: str, what: str) -> _T:
    """Return a table as a struct; a text in its place is the first field."""
    reason = f"expected {what} or a table, got {shown(value)}"
    _require(isinstance(value, str | dict), f"{file}: {key}", reason)
    first = msgspec.structs.fields(kind)[0].encode_name
    return _converted(value if isinstance(value, dict) else {first: value}, kind, file, key)


def _value(column: str, value: object, where: str) -> Value:
    """Return a value as one of our columns stores it, or say what the column takes."""
    result = fitting(column, value)
    if result is None:
        raise SchemaError(f"expected {EXPECTED[column]}, got {shown(value)}", where=where)
    return result


def _check_codes(codes: list[Any] | None, where: str) -> None:
    """Check that the codes for missing values are numbers or texts."""
    for code in codes or []:
        # An integer beyond the floats equals no score; an infinity or NaN may.
        number = as_number(code)
        is_code = isinstance(code, str | float) or (number is not None and math.isfinite(number))
        _require(is_code, where, f"expected numbers and texts, got {shown(code)}")


def _column_rule(
    column: str, value: object, file: str, regexes: dict[str, TimedPattern]
) -> ColumnRule:
    """Return the rule that fills one of our columns; put its expressions among the others."""
    where = f"{file}: columns.{column}"
    rule = _entry(value, ColumnRule, file, f"columns.{column}", "a column's name")
    given = [rule.source is not None, rule.format is not None, rule.file]
    reason = "expected either `from` or `format` or `file`"
    _require(sum(given) == 1, where, reason, '{from = "their column"}')
    try:
        sources = rule.sources
    except ValueError as error:
        hint = "a brace that stands for itself is written twice"
        raise SchemaError(
            f"{rule.format!r}: {error}", where=f"{where}.format", hint=hint
        ) from error
    reason = f"{rule.format!r} names no column"
    _require(rule.file or bool(sources), f"{where}.format", reason, '"{prompt}, T={T}"')
    is_number = not pa.types.is_dictionary(_FILLABLE[column])
    reason = f"expected a positive number, got {rule.multiply}"
    _require(0 < rule.multiply < math.inf, f"{where}.multiply", reason)
    reason = f"{column!r} holds texts, which cannot be multiplied"
    _require(is_number or rule.multiply == 1, f"{where}.multiply", reason)
    _check_codes(rule.missing, f"{where}.missing")
    for key, text in (("regex", rule.regex), ("remove", rule.remove)):
        if text is not None and text not in regexes:
            regexes[text] = TimedPattern(text, where=f"{where}.{key}")
    if rule.regex is not None:
        regex = regexes[rule.regex]
        hint, named = "put what counts in parentheses", ", ".join(regex.groupindex)
        _require(regex.groups > 0, f"{where}.regex", f"{shown(rule.regex)} has no group", hint)
        is_one = len(regex.groupindex) < 2
        _require(is_one, f"{where}.regex", f"more than one named group: {named}")
    _require("" not in rule.replace, f"{where}.replace", "an empty text cannot be replaced")
    reason, hint = f"the model-name rules do not give {column!r}", ", ".join(_NAMED_BY_RULES)
    is_ruled = not rule.rules or column in _NAMED_BY_RULES
    _require(is_ruled, f"{where}.rules", reason, f"they give {hint}")
    has_map, unmapped, has_default = rule.map is not None, rule.unmapped, rule.default is not None
    _require(not (rule.rules and has_map), where, "`map` and `rules` exclude each other")
    _require(has_map or unmapped is None, where, "`unmapped` without a `map`")
    _require(has_map or not has_default, where, "`default` without a `map`")
    is_one = unmapped is None or not has_default
    _require(is_one, where, "`unmapped` and `default` exclude each other")
    reason = f"expected 'empty' or 'keep', got {unmapped!r}"
    _require(unmapped in {None, "empty", "keep"}, f"{where}.unmapped", reason)
    for name, meaning in (rule.map or {}).items():
        _value(column, meaning, f"{where}.map.{name}")
    if has_default:
        _value(column, rule.default, f"{where}.default")
    return rule


def _metric_rules(
    metrics: list[str] | dict[str, Any], file: str, *, named: bool
) -> dict[str, MetricRule]:
    """Return the rule of each of their columns of scores.

    Args:
        metrics: What the mapping says of them.
        file: The mapping, for messages.
        named: Whether a column of ours says what the metric is.
    """
    hint = 'metrics = ["their column"]'
    _require(bool(metrics), f"{file}: metrics", "nothing gives a score", hint)
    items = metrics.items() if isinstance(metrics, dict) else [(name, name) for name in metrics]
    rules: dict[str, MetricRule] = {}
    for column, value in items:
        where = f"{file}: metrics.{column}"
        _require(column not in rules, where, f"a second column gives the metric {column!r}")
        rule = _entry(value, MetricRule, file, f"metrics.{column}", "a metric's name")
        slots = _slots(column, file)
        if rule.name is not None or not (named or "metric" in slots):
            name = (column if rule.name is None else rule.name).strip()
            _require(bool(name), where, "the metric's name is empty")
            rule = msgspec.structs.replace(rule, name=name)
        for key in ("task", "subtask", "variant", "shots", "n_examples"):
            if (said := getattr(rule, key)) is not None:
                _value(key, said, f"{where}.{key}")
        rules[column] = rule
        reason = f"expected a positive number, got {rule.multiply}"
        _require(0 < rule.multiply < math.inf, f"{where}.multiply", reason)
        _check_codes(rule.missing, f"{where}.missing")
        low, high, up = rule.low_score, rule.high_score, rule.higher_is_better
        for side, number in (("low_score", low), ("high_score", high)):
            is_finite = number is None or math.isfinite(number)
            _require(is_finite, f"{where}.{side}", f"expected a finite number, got {number}")
        if low is not None and high is not None and up is not None:
            reason = f"low_score {low} and high_score {high} contradict higher_is_better"
            _require(up is not (low > high), where, reason)
    _check_distinct({key: rule for key, rule in rules.items() if not _slots(key, file)}, file)
    return rules
