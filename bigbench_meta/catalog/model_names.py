"""Model names: the family, number of parameters and checkpoint that a name stands for.

The rules are a small table, ``model_names.csv``, that a user can edit or put an own one before.
What the rules do not know stays empty, with a reason; nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from bigbench_meta.catalog.published import data_path, read_text
from bigbench_meta.core.errors import InputError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ModelIdentity", "ModelNames", "ModelRule", "checkpoint_name", "model_names"]

_COLUMNS: Final = ("pattern", "family", "name", "total_params", "source", "remark")
_NEEDED: Final = ("pattern", "family")
_MOST_PARAMS: Final = 10**18
# Names are short; a pattern of a user's need not meet a megabyte.
_LONGEST: Final = 200
_UNITS: Final = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
# 1.4b, 1_6b (StableLM), and BLOOM's 7b1, which is 7.1b.
_SIZE: Final = re.compile(r"(\d+)(?:[._](\d+))?([kmbt])(\d+)?", re.IGNORECASE | re.ASCII)
# step143000, global_step1000, checkpoint-500, step1000-tokens4B (OLMo), step-50k-105b (TinyLlama).
_CHECKPOINT: Final = re.compile(
    r"[-_.@:/\\]+(?:global[-_]?)?((?:step|checkpoint|ckpt|iter)[-_]?\d+k?(?:[-_][a-z0-9.]+)*)$",
    re.IGNORECASE | re.ASCII,
)
# An organisation, a folder, or the two underscores that lm-evaluation-harness writes for a slash.
_PART: Final = re.compile(r"[/\\]+|__")
_SLOT: Final = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """The model that a name stands for.

    Attributes:
        model_family: Models trained alike at several sizes; the name itself where no rule fits.
        model_name: The model without organisation and checkpoint, as its makers spell it; as given
            where no rule fits.
        total_params: All parameters, None where the name does not say.
        checkpoint: The training step that the name ends with, None for the final model.
        variant: What else a rule takes for a variant of the model.
        reason: Where the number comes from, or why there is none.
    """

    model_family: str
    model_name: str
    total_params: int | None
    checkpoint: str | None
    variant: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ModelRule:
    """One row of the table.

    Attributes:
        pattern: Regular expression that the whole name must match, upper or lower case. Named
            groups: ``size`` is a number with unit (``410m``, ``1.4b``, ``7b1``), ``variant`` a part
            that distinguishes variants of a model.
        family: Name of the family. ``{group}`` stands for what a named group matched, and
            ``{group:text}`` for the text if the group matched at all.
        name: Name of the model, written like ``family``; empty for the name that matched.
        total_params: All parameters, None to take them from ``size``.
        source: Where ``total_params`` was published.
        remark: For people; the reason of a rule without a number.
    """

    pattern: re.Pattern[str]
    family: str
    name: str
    total_params: int | None
    source: str
    remark: str

    def identify(self, match: re.Match[str], checkpoint: str | None) -> ModelIdentity:
        """Return the model that the rule gives for a name that matched."""
        groups = match.groupdict()
        total, reason = self._count(groups.get("size"))
        return ModelIdentity(
            model_family=_fill(self.family, groups) or match[0],
            model_name=_fill(self.name, groups) or match[0],
            total_params=total,
            checkpoint=checkpoint,
            variant=groups.get("variant") or None,
            reason=reason,
        )

    def _count(self, size: str | None) -> tuple[int | None, str]:
        if self.total_params is not None:
            return self.total_params, self.source or "given in the rule"
        if size is None:
            return None, self.remark or "the name states no size"
        number = _parse_size(size)
        if number is None:
            return None, f"{size!r} is not a size"
        return number, f"nominal size {size} in the name"


@dataclass(frozen=True)
class ModelNames:
    """The table of rules; the first that matches a name applies.

    Attributes:
        rules: The rules in order.
    """

    rules: tuple[ModelRule, ...]

    @classmethod
    def read(cls, path: str | Path) -> ModelNames:
        r"""Read a table of rules from a CSV file.

        Args:
            path: A file with at least the columns ``pattern`` and ``family``; ``name``,
                ``total_params``, ``source`` and ``remark`` may be missing. :class:`ModelRule`
                says what they hold.

        Returns:
            The rules.

        Raises:
            InputError: The file cannot be read.
            SchemaError: A column is missing, or a value does not fit.

        Examples:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     path = Path(folder, "mine.csv")
            ...     _ = path.write_text("pattern,family,total_params\nowl-(?P<size>\\d+m),owl,\n")
            ...     mine = ModelNames.read(path)
            >>> model_names().overridden_by(mine).lookup("me/owl-30m").total_params
            30000000
        """
        frame = read_text(path)
        if missing := [name for name in _NEEDED if name not in frame]:
            raise SchemaError(
                f"missing column {', '.join(missing)}",
                where=str(path),
                hint=f"the columns are {', '.join(_COLUMNS)}",
            )
        rows = frame.reindex(columns=list(_COLUMNS), fill_value="").itertuples(index=False)
        return cls(
            # The header is line 1.
            tuple(_rule(*map(str, row), where=f"{path}, line {n}") for n, row in enumerate(rows, 2))
        )

    def overridden_by(self, other: ModelNames) -> ModelNames:
        """Return these rules with the other's tried first."""
        return ModelNames(other.rules + self.rules)

    def lookup(self, name: str) -> ModelIdentity:
        """Return the model that a name stands for.

        An organisation or folder in front and a checkpoint at the end are taken off first.

        Args:
            name: For example ``"EleutherAI/pythia-1.4b-deduped"`` or ``"pythia-70m-step3000"``.

        Returns:
            Family, name, size, checkpoint and where the size comes from.

        Raises:
            InputError: The name is empty.

        Examples:
            >>> known = model_names().lookup("EleutherAI/pythia-70m-step3000")
            >>> known.model_family, known.model_name, known.total_params, known.checkpoint
            ('pythia', 'pythia-70m', 70426624, 'step3000')
            >>> model_names().lookup("gpt-4").reason
            'OpenAI does not say how large the model behind this name is'
        """
        whole, checkpoint = _without_checkpoint(name.strip().rstrip("/\\"))
        bare = next((part.strip() for part in reversed(_PART.split(whole)) if part.strip()), "")
        if not bare:
            raise InputError(f"no model name: {name[:40]!r}", where="name")
        if len(bare) <= _LONGEST:
            for rule in self.rules:
                if match := rule.pattern.fullmatch(bare):
                    return rule.identify(match, checkpoint)
        return ModelIdentity(
            model_family=whole,
            model_name=whole,
            total_params=None,
            checkpoint=checkpoint,
            variant=None,
            reason="no rule matches this name, and it states no size or several",
        )


def _without_checkpoint(name: str) -> tuple[str, str | None]:
    tail = max(len(name) - _LONGEST, 0)
    found = _CHECKPOINT.search(name, tail)
    if found is None or found.start() == 0:
        return name, None
    return name[: found.start()], checkpoint_name(found[1])


def checkpoint_name(text: str) -> str:
    """Return a checkpoint as it is named everywhere: without the format that it is stored in.

    Examples:
        >>> checkpoint_name("global_step10000_hf")
        'step10000'
    """
    return re.sub(r"^global[-_]?|[-_]hf$", "", text.strip(), flags=re.IGNORECASE)


def _fill(template: str, groups: Mapping[str, str | None]) -> str:
    def text(slot: re.Match[str]) -> str:
        found = groups.get(slot[1])
        return "" if found is None else found if slot[2] is None else slot[2]

    return _SLOT.sub(text, template)


def _parse_size(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    if found is None or (found[2] and found[4]):
        return None
    number = Decimal(f"{found[1]}.{found[2] or found[4] or 0}") * _UNITS[found[3].lower()]
    return int(number) if 0 < number <= _MOST_PARAMS else None


def _rule(
    pattern: str, family: str, name: str, total_params: str, source: str, remark: str, *, where: str
) -> ModelRule:
    try:
        compiled = re.compile(pattern.strip(), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise SchemaError(f"{pattern!r}: {error}", where=f"{where}: pattern") from None
    if not compiled.pattern or not family.strip():
        raise SchemaError("pattern and family must not be empty", where=where)
    for column, template in (("family", family), ("name", name)):
        if unknown := [s[1] for s in _SLOT.finditer(template) if s[1] not in compiled.groupindex]:
            raise SchemaError(
                f"{{{unknown[0]}}} is not a group of the pattern",
                where=f"{where}: {column}",
                hint=f"name a group with (?P<{unknown[0]}>...)",
            )
    digits = total_params.strip()
    if digits and not (digits.isdecimal() and len(digits) < 20 and 0 < int(digits) <= _MOST_PARAMS):
        raise SchemaError(
            f"{total_params!r} is not a number of parameters",
            where=f"{where}: total_params",
            hint="write digits alone, such as 70426624, or leave it empty",
        )
    return ModelRule(
        pattern=compiled,
        family=family.strip(),
        name=name.strip(),
        total_params=int(digits) if digits else None,
        source=source.strip(),
        remark=remark.strip(),
    )


@cache
def model_names() -> ModelNames:
    """Return the packaged rules.

    Examples:
        >>> model_names().lookup("bigscience/bloom-7b1").total_params
        7069016064
    """
    return ModelNames.read(data_path("model_names.csv"))
