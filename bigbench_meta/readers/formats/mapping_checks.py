"""Checks of what a mapping file says; each fault is named with its place in the file."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.readers.formats.mapping_rules import ColumnRule, MetricRule, template_parts
from bigbench_meta.readers.formats.mapping_values import FILLABLE, expected, fitting, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bigbench_meta.readers.formats.mapping_values import Value

__all__ = ["check_codes", "column_rule", "constant", "converted", "hint_at", "metric_rules"]

_T = TypeVar("_T", bound=msgspec.Struct)

_NAMED_BY_RULES: Final = ("model_family", "model_name", "total_params", "variant")
_MOST_LISTED: Final = 30
_KINDS: Final = {
    "str": "text", "object": "table", "bool": "true or false", "int": "whole number",
    "float": "number",
}  # fmt: skip


def hint_at(name: str, known: Iterable[str], what: str) -> str:
    """Return a hint with what is closest to a name and all there is.

    Examples:
        >>> hint_at("taks", ["task", "metric"], "columns found")
        "did you mean 'task'? columns found: task, metric"
    """
    known = list(known)
    listed = ", ".join(known[:_MOST_LISTED])
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"{what}: {listed}{more}"


def converted(value: object, kind: type[_T], where: str, key: str) -> _T:
    """Return a TOML value as a struct.

    Args:
        value: The value.
        kind: The struct.
        where: The file.
        key: Where in the file the value is; empty for all of it.

    Raises:
        SchemaError: A key is unknown, or what it holds has the wrong type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        # msgspec writes a path as $.a.b, and [...] for the key of a dictionary.
        place = f"{key}{path.rstrip('`').replace('[...]', '')}".lstrip(".")
        at = f"{where}: {place}" if place else where
        if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
            known = [field.encode_name for field in msgspec.structs.fields(kind)]
            hint = hint_at(unknown[1], known, "known keys")
            raise SchemaError(f"unknown key {unknown[1]!r}", where=at, hint=hint) from error
        for theirs, ours in _KINDS.items():
            message = message.replace(f"`{theirs}`", ours).replace(f"`{theirs} |", f"`{ours} |")
        message = message.replace(" | null`", "").replace("`", "")
        raise SchemaError(f"{message[0].lower()}{message[1:]}", where=at) from error


def check_codes(codes: list[Any] | None, where: str) -> None:
    """Make sure that values that say that there is none are numbers and texts.

    Raises:
        SchemaError: One is neither.
    """
    for code in codes or []:
        # An integer beyond the floats equals no score; an infinity or NaN may.
        if isinstance(code, str | float):
            continue
        if not isinstance(code, int) or isinstance(code, bool) or not is_finite(code):
            raise SchemaError(f"expected numbers and texts, got {_shown(code)}", where=where)


def constant(column: str, value: object, file: str) -> Value:
    """Return what one of our columns holds on every row.

    Args:
        column: The column.
        value: What the file says.
        file: The file's name in messages.

    Raises:
        SchemaError: The column is not to be filled, or not with this.
    """
    _check_fillable(column, f"{file}: constants")
    result = fitting(column, value)
    if result is None:
        raise SchemaError(
            f"expected {expected(column)}, got {_shown(value)}", where=f"{file}: constants.{column}"
        )
    return result


def column_rule(column: str, value: object, file: str) -> ColumnRule:
    """Return the rule that fills one of our columns.

    Args:
        column: The column.
        value: What the file says: the name of a column of theirs, or a table.
        file: The file's name in messages.

    Raises:
        SchemaError: The rule is none, or contradicts itself.
    """
    _check_fillable(column, f"{file}: columns")
    key = f"columns.{column}"
    where = f"{file}: {key}"
    if not isinstance(value, str | dict):
        reason = f"expected a column's name or a table, got {_shown(value)}"
        raise SchemaError(reason, where=where)
    rule = converted({"from": value} if isinstance(value, str) else value, ColumnRule, file, key)
    if (rule.source is None) == (rule.format is None):
        raise SchemaError(
            "expected either `from` or `format`", where=where, hint='{from = "their column"}'
        )
    if rule.format is not None:
        _check_template(rule.format, f"{where}.format")
    check_codes(rule.missing, f"{where}.missing")
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


def metric_rules(metrics: list[str] | dict[str, Any], file: str) -> dict[str, MetricRule]:
    """Return the rule of each of their columns of scores.

    Args:
        metrics: What the file says: names of columns, or rules or names of metrics by column.
        file: The file's name in messages.

    Raises:
        SchemaError: There is no rule, one is none, or two give the same metric.
    """
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
    rule = converted({"name": value} if isinstance(value, str) else value, MetricRule, file, key)
    name = (column if rule.name is None else rule.name).strip()
    if not name:
        raise SchemaError("the metric's name is empty", where=where)
    if not (is_finite(rule.multiply) and rule.multiply > 0):
        reason = f"expected a positive number, got {rule.multiply}"
        raise SchemaError(reason, where=f"{where}.multiply")
    check_codes(rule.missing, f"{where}.missing")
    low, high, up = rule.low_score, rule.high_score, rule.higher_is_better
    for side, number in (("low_score", low), ("high_score", high)):
        if number is not None and not is_finite(number):
            raise SchemaError(f"expected a finite number, got {number}", where=f"{where}.{side}")
    if up is not None and low is not None and high is not None and up is (low > high):
        reason = f"low_score {low} and high_score {high} contradict higher_is_better"
        raise SchemaError(reason, where=where)
    return msgspec.structs.replace(rule, name=name)


def _check_fillable(column: str, where: str) -> None:
    if column not in FILLABLE:
        hint = hint_at(column, FILLABLE, "columns to fill")
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
