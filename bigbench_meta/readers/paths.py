"""Columns that stand in the path of a file: which model, run or checkpoint it is of.

A pattern such as ``{variant}/{model_name}-{shots}shot*.json`` is compared with the end of a path;
what its names match goes into the columns of all rows of the file, in place of what the file says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import SETTINGS

if TYPE_CHECKING:
    from bigbench_meta.catalog.model_names import ModelNames

__all__ = ["PathPattern", "with_columns"]

_TEXTS: Final = (
    "benchmark", "task", "subtask", "metric", "model_family", "model_name", "variant", "replicate",
)  # fmt: skip
_WHOLE: Final = ("shots",)
# Stands for family, name and size, by the model-name rules.
_MODEL: Final = "model"
_TOKEN: Final = re.compile(r"\{(\w*)\}|(\*\*|\*|\?)|([{}])")

_MOST_TOKENS: Final = 100
# Longer ones, which no file system takes, stand in hostile archives.
_LONGEST: Final = 4096

_Token = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class PathPattern:
    """A pattern over paths, with names in braces.

    Attributes:
        text: As it was given.
        tokens: Its parts: ``text``, a star or question mark, or a ``name``.
    """

    text: str
    tokens: tuple[_Token, ...]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Read a pattern.

        Args:
            text: For example ``{variant}/{model}-{shots}shot*.json``. ``*`` stands for anything
                within a name, ``**`` for any folders. Names in braces are text columns of the
                observations table, ``shots``, settings of a run such as ``checkpoint``, or
                ``model``: family, name and size by the model-name rules.

        Raises:
            InputError: A name is unknown or stands twice, or there is none; or there are more than
                100 names, stars and texts.

        Examples:
            >>> PathPattern.parse("{variant}/{model}-{shots}shot*.json").of("x/v1/70m-5shot_a.json")
            {'variant': 'v1', 'model': '70m', 'shots': '5'}
        """
        tokens: list[_Token] = []
        names: list[str] = []
        end = 0
        for token in _TOKEN.finditer(text):
            tokens.append(("text", text[end : token.start()]))
            end = token.end()
            name, star, brace = token.groups()
            if brace:
                raise InputError(f"a brace without its other half in {text!r}", where="path")
            if star:
                tokens.append((star, ""))
                continue
            known = (*_TEXTS, *_WHOLE, *SETTINGS, _MODEL)
            if name not in known or name in names:
                reason = "stands twice" if name in names else "is not a column"
                raise InputError(
                    f"{{{name}}} {reason}", where="path", hint=f"names are {', '.join(known)}"
                )
            names.append(name)
            tokens.append(("name", name))
        if not names:
            raise InputError(f"{text!r} has no name in braces", where="path", hint="{variant}/*")
        tokens = [token for token in (*tokens, ("text", text[end:])) if token != ("text", "")]
        if len(tokens) > _MOST_TOKENS:
            raise InputError(f"more than {_MOST_TOKENS} names, stars and texts", where="path")
        return cls(text=text, tokens=tuple(tokens))

    def of(self, label: str) -> dict[str, str] | None:
        """Return what the names match in a path, None where it does not fit or is too long."""
        path = label.replace("\\", "/")
        if len(path) > _LONGEST:
            return None
        # The last folders first. Where a token cannot begin to end, it need not be tried again:
        # so each takes a time in proportion to the path, and no pattern can hang.
        failed: dict[tuple[int, int], int] = {}
        for start in (*(found.end() for found in reversed([*re.finditer("/", path)])), 0):
            found: dict[str, str] = {}
            if self._fits(path, start, 0, found, failed):
                return {name: found[name] for kind, name in self.tokens if kind == "name"}
        return None

    def _fits(
        self,
        path: str,
        at: int,
        number: int,
        found: dict[str, str],
        failed: dict[tuple[int, int], int],
    ) -> bool:
        """Return whether the tokens from a number on fit a path from a place on, to its end."""
        if number == len(self.tokens):
            return at == len(path)
        kind, value = self.tokens[number]
        ends = _ends(kind, value, path, at)
        if not ends:
            return False
        last = (number, ends[-1])
        for end in range(ends[0], min(ends[-1] + 1, failed.get(last, len(path) + 1))):
            if self._fits(path, end, number + 1, found, failed):
                if kind == "name":
                    found[value] = path[at:end]
                return True
        failed[last] = min(ends[0], failed.get(last, ends[0]))
        return False

    def columns(self, label: str, names: ModelNames) -> dict[str, Any] | None:
        """Return the columns that a path gives, None where it does not fit.

        Args:
            label: The path.
            names: Rules from model names to families and sizes.
        """
        found = self.of(label)
        if found is None:
            return None
        columns: dict[str, Any] = {name: found[name] for name in _TEXTS if name in found}
        columns |= {name: int(found[name]) for name in _WHOLE if name in found}
        settings = {name: found[name] for name in SETTINGS if name in found}
        if _MODEL in found:
            model = names.lookup(found[_MODEL])
            if not model.is_known and "model_family" in found:
                # A size alone takes the family that the path gives.
                model = names.lookup(f"{found['model_family']}/{found[_MODEL]}")
            size = model.total_params
            columns = {
                "model_family": model.model_family, "model_name": model.model_name,
                # A name that states no size leaves the one in the file.
                **({} if size is None else {"total_params": size}), **columns,
            }  # fmt: skip
            settings = {**model.settings, **settings}
        return columns | ({"settings": settings} if settings else {})


def _ends(kind: str, value: str, path: str, at: int) -> range:
    """Return where a token that begins at a place may end."""
    if kind == "text":
        end = at + len(value)
        return range(end, end + path.startswith(value, at))
    if kind == "?":
        return range(at + 1, at + 1 + (path[at : at + 1] not in {"", "/"}))
    if kind == "**":
        return range(at, len(path) + 1)
    of_name = path.find("/", at)
    most = len(path) if of_name < 0 else of_name
    if kind == "*":
        return range(at, most + 1)
    if value in _WHOLE:
        digits = re.compile(r"[0-9]{1,9}").match(path, at)
        return range(0) if digits is None else range(at + 1, digits.end() + 1)
    return range(at + 1, most + 1)


def with_columns(table: pa.Table, columns: list[dict[str, Any] | None], number: Any) -> pa.Table:
    """Return a table with the columns that paths give.

    Args:
        table: Observations or samples.
        columns: What the path of each file gives.
        number: The file of each row, an array of shape (rows,).
    """
    given = {name for of_file in columns if of_file for name in of_file}
    file = np.asarray(number, dtype=np.int64)
    for name in sorted(given & set(table.column_names)):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        old = table[name].to_pylist()
        of_file = [None if one is None else one.get(name) for one in columns]
        if name == "settings":
            new = [_joined(text, of_file[f]) for text, f in zip(old, file, strict=True)]
        else:
            chosen = np.array([one is not None and name in one for one in columns], dtype=bool)
            new = [
                of_file[f] if is_chosen else value
                for value, f, is_chosen in zip(old, file, chosen[file], strict=True)
            ]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(new, plain)
        if pa.types.is_dictionary(field.type):
            array = array.dictionary_encode().cast(field.type)
        table = table.set_column(place, field, array)
    return table


def _joined(text: str | None, more: dict[str, str] | None) -> str | None:
    """Return settings with those of a path in their place.

    A text that is no JSON object is a setting without a name, as it is when curves are built.
    """
    if not more:
        return text
    try:
        settings = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        settings = {"": text}
    return json.dumps({**settings, **more}, sort_keys=True)
