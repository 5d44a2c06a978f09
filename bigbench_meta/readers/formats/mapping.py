"""Mapping files: a small TOML file that says what the columns of somebody's table mean.

``docs/wide_tables.md`` lists the keys. All is checked when the file is read, so that a mapping
which loads can fail only on a table that lacks a column.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.readers.formats.mapping_checks import (
    check_codes,
    column_rule,
    constant,
    converted,
    hint_at,
    metric_rules,
)
from bigbench_meta.readers.formats.mapping_rules import Document
from bigbench_meta.readers.formats.mapping_values import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bigbench_meta.readers.formats.mapping_rules import ColumnRule, MetricRule
    from bigbench_meta.readers.formats.mapping_values import Value

__all__ = ["Mapping"]

_MOST_BYTES: Final = 1 << 22


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
                f"not TOML: {error}", where=where, hint="a text needs quotation marks"
            ) from error
        document = converted(items, Document, where, "")
        check_codes(document.missing, f"{where}: missing")
        if len(document.delimiter) != 1 or document.delimiter in '"\r\n':
            raise SchemaError(
                f"expected one character, got {document.delimiter!r}", where=f"{where}: delimiter"
            )
        mapping = cls(
            where=where,
            columns={c: column_rule(c, value, where) for c, value in document.columns.items()},
            constants={c: constant(c, value, where) for c, value in document.constants.items()},
            metrics=metric_rules(document.metrics, where),
            missing=document.missing,
            delimiter=document.delimiter,
        )
        mapping._check_filled()
        return mapping

    @property
    def uses_rules(self) -> bool:
        """Whether any column comes from the model-name rules."""
        return any(rule.rules for rule in self.columns.values())

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
                hint = hint_at(source, found, "columns found")
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
            raise SchemaError(
                f"{both[0]!r} is among the columns and among the constants", where=self.where
            )
        for column in REQUIRED:
            if column not in self.columns and column not in self.constants:
                raise SchemaError(
                    f"nothing gives {column!r}",
                    where=self.where,
                    hint=f'[columns] {column} = "their column", or [constants] {column} = "a name"',
                )
