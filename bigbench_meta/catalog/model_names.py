"""Model names: the family, number of parameters and checkpoint that a name stands for.

The rules are a small table, ``model_names.csv``, that a user can edit or put an own one before.
What the rules do not know stays empty, with a reason; nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from bigbench_meta.catalog.published import data_path, read_text
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.patterns import TimedPattern
from bigbench_meta.core.schema import SIZE_BY_RULE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "ModelIdentity",
    "ModelNames",
    "ModelRule",
    "checkpoint_name",
    "model_names",
    "nominal_size",
]

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
# How weights are stored: -hf, -fp16, -GPTQ-Int4, :8b-instruct-q4_K_M, -Q4_K_M.gguf, :latest.
_PACKING: Final = re.compile(
    r"(?<=[a-z0-9])(?:[-_.:](?:(?P<quantisation>i?q\d(?:_[0-9a-z]{1,3}){1,3}|gptq|awq|gguf|exl2"
    r"|bnb|[48]-?bit|int[48]|fp8|nf4|w\d{1,2}a\d{1,2})|fp(?P<bits>16|32))|[-_]hf|:latest)$",
    re.IGNORECASE | re.ASCII,
)
# An organisation, a folder, the two underscores that lm-evaluation-harness writes for a slash, and
# the two hyphens of the cache of Hugging Face.
_PART: Final = re.compile(r"[/\\]+|__|(?<=[a-z0-9])--(?=[a-z0-9])", re.IGNORECASE | re.ASCII)
# What is stored, not of which model.
_CONTENT: Final = {
    "checkpoint", "checkpoints", "ckpt", "ckpts", "final", "gguf", "hf", "huggingface", "main",
    "model", "models", "pytorch", "safetensors", "snapshots", "transformers", "weights",
}  # fmt: skip
# Folders that are named after no model.
_PLACES: Final = {
    "cache", "data", "eval", "evals", "exp", "experiments", "home", "hub", "logs", "mnt", "opt",
    "out", "output", "outputs", "results", "root", "run", "runs", "scratch", "tmp", "train",
    "users", "work", "workspace",
}  # fmt: skip
_SIZE_FIRST: Final = re.compile(
    r"(?:(?:0|[1-9]\d{0,2})(?:\.\d{1,3}|_\d{1,2})|[1-9]\d{0,3})(?:m|b\d?)(?:[-_.].*)?",
    re.IGNORECASE | re.ASCII,
)
_DATE: Final = re.compile(r"20\d\d(?:-\d\d(?:-\d\d)?|\d\d(?:\d\d)?)$", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
# Dates, versions, numbers, commits, sizes: they come after the name of a model.
_AFTER: Final = re.compile(r"v?\d[\d.-]*|[0-9a-f]{40}|[a-z]:|\.+|~", re.ASCII)
# The tag of Ollama that begins with a size and goes on.
_TAG: Final = re.compile(r":(?=(?:\d+x)?\d+(?:\.\d+)?[mb][-_.])", re.IGNORECASE | re.ASCII)
# A path on a machine: absolute, relative, or of more parts than an organisation and a name.
_LOCAL: Final = re.compile(r"[/\\~.]|[a-z]:[/\\]|[^/\\]+[/\\][^/\\]+[/\\]", re.IGNORECASE)
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
        quantisation: How the name says that the weights are packed (``4bit``, ``q4_k_m``, ``gptq``,
            in lower case), None if it does not.
        precision: The number format of the weights that the name ends with.
        reason: Where the number comes from, or why there is none.
        is_known: Whether a rule matched the name.
        size_by_rule: Whether the number comes from a rule of the user.
    """

    model_family: str
    model_name: str
    total_params: int | None
    checkpoint: str | None = None
    variant: str | None = None
    quantisation: str | None = None
    precision: str | None = None
    reason: str
    is_known: bool = True
    size_by_rule: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """What the name says of a run, by the names of :data:`bigbench_meta.core.schema.SETTINGS`.

        Examples:
            >>> model_names().lookup("llama3.1:8b-instruct-q4_K_M").settings
            {'quantisation': 'q4_k_m'}
        """
        said = {name: getattr(self, name) for name in ("checkpoint", "precision", "quantisation")}
        said[SIZE_BY_RULE] = "yes" if self.size_by_rule else None
        return {name: value for name, value in said.items() if value}

    @property
    def is_vague(self) -> bool:
        """Whether the name is of a place where a model is stored, and does not say which.

        Examples:
            >>> [model_names().lookup(name).is_vague for name in ("/scratch/x", "7b", "org/owl")]
            [True, True, False]
        """
        last = _parts(self.model_name)[-1]
        is_place = _is_no_name(last) or _SIZE_FIRST.fullmatch(last) or _LOCAL.match(self.model_name)
        return not self.is_known and bool(is_place)


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
        is_own: Whether the rule is a user's: it is tried on the name with its packing, too.
    """

    pattern: re.Pattern[str] | TimedPattern
    family: str
    name: str
    total_params: int | None
    source: str
    remark: str
    is_own: bool = True

    def identify(self, match: re.Match[str], unknown: ModelIdentity) -> ModelIdentity:
        """Return the model that the rule gives for a name that matched.

        Args:
            match: The match.
            unknown: What is known of the model without a rule.
        """
        groups = match.groupdict()
        total, reason = self._count(groups.get("size"))
        return replace(
            unknown,
            model_family=_fill(self.family, groups) or match[0],
            model_name=_fill(self.name, groups) or match[0],
            total_params=total,
            variant=groups.get("variant") or None,
            reason=reason,
            is_known=True,
            size_by_rule=self.is_own and total is not None,
        )

    def _count(self, size: str | None) -> tuple[int | None, str]:
        if self.total_params is not None:
            return self.total_params, self.source or "given in the rule"
        if size is None:
            return None, self.remark or "the name states no size"
        number = nominal_size(size)
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

        A pattern that takes too long raises PatternError when a name is looked up.

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
        return cls._read(path, is_own=True)

    @classmethod
    def packaged(cls) -> ModelNames:
        """Read the packaged rules; :func:`model_names` keeps them."""
        return cls._read(data_path("model_names.csv"), is_own=False)

    @classmethod
    def _read(cls, path: str | Path, *, is_own: bool) -> ModelNames:
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
            tuple(
                _rule(*map(str, row), where=f"{path}, line {n}", is_own=is_own)
                for n, row in enumerate(rows, 2)
            )
        )

    def overridden_by(self, other: ModelNames) -> ModelNames:
        """Return these rules with the other's tried first."""
        return ModelNames(other.rules + self.rules)

    def lookup(self, name: str) -> ModelIdentity:
        """Return the model that a name stands for.

        An organisation or folder in front, and checkpoint, quantisation and number format at the
        end, are taken off first. A size or date that is the last part of a path takes the part
        before it: ``owl/7b`` is ``owl-7b``.

        Args:
            name: For example ``"EleutherAI/pythia-1.4b-deduped"``, ``"pythia-70m-step3000"``,
                ``"ollama/qwen2.5:0.5b"`` or ``"/models/owl/7b/step1000"``.

        Returns:
            Family, name, size, checkpoint and where the size comes from.

        Raises:
            InputError: The name is empty.
            PatternError: A user's pattern takes too long; it is named with file and line.

        Examples:
            >>> known = model_names().lookup("EleutherAI/pythia-70m-step3000")
            >>> known.model_family, known.model_name, known.total_params, known.checkpoint
            ('pythia', 'pythia-70m', 70426624, 'step3000')
            >>> model_names().lookup("gpt-4").reason
            'OpenAI does not say how large the model behind this name is'
        """
        given = name.strip().rstrip("/\\")
        whole, packing = _without_packing(given)
        whole, checkpoint = _without_checkpoint(whole)
        if not packing:  # it stood before the checkpoint
            whole, packing = _without_packing(whole)
        if not _parts(whole):
            raise InputError(f"no model name: {name[:40]!r}", where="name")
        bare = _TAG.sub("-", _naming(whole))
        unknown = ModelIdentity(
            model_family=whole,
            model_name=whole,
            total_params=None,
            checkpoint=checkpoint,
            quantisation=packing.get("quantisation"),
            precision=packing.get("precision"),
            reason="a size alone names no model, and nothing before it does"
            if _SIZE_FIRST.fullmatch(bare)
            else "no rule matches this name, and it states no size or several",
            is_known=False,
        )
        # A user may have a rule for just the name that was given.
        given = _without_checkpoint(given)[0]
        own = dict.fromkeys((_parts(given)[-1], _naming(given), bare))
        for rule in self.rules:
            for text in own if rule.is_own else (bare,):
                if len(text) <= _LONGEST and (match := rule.pattern.fullmatch(text)):
                    return rule.identify(match, unknown)
        return unknown


def _parts(name: str) -> list[str]:
    """Return the organisation, folders and name that a name consists of."""
    return [part.strip() for part in _PART.split(name) if part.strip()]


def _is_no_name(part: str) -> bool:
    plain = part.lower()
    return bool(plain in _CONTENT or plain in _PLACES or _AFTER.fullmatch(plain))


def _naming(name: str) -> str:
    """Return the part of a path that names the model, with a size or date that comes after it."""
    parts = _parts(name)
    while len(parts) > 1 and (parts[-1].lower() in _CONTENT or _COMMIT.fullmatch(parts[-1])):
        parts.pop()
    named = parts.pop()
    while parts and (_SIZE_FIRST.fullmatch(named) or _DATE.match(named)):
        if _is_no_name(parts[-1]) and not _SIZE_FIRST.fullmatch(parts[-1]):
            break
        named = f"{parts.pop()}-{named}"
    return named


def _without_packing(name: str) -> tuple[str, dict[str, str | None]]:
    """Return a name without what it says of the storage of the weights, and that as settings."""
    words: list[str] = []
    precision, is_packed = None, False
    while found := _PACKING.search(name, max(len(name) - _LONGEST, 0)):
        name, is_packed = name[: found.start()], True
        if found["bits"]:
            precision = f"float{found['bits']}"
        elif found["quantisation"]:
            words.insert(0, found["quantisation"].lower())
    if not is_packed:
        return name, {}
    # A file of llama.cpp says how it is packed; bitsandbytes is what transformers packs with.
    told = [word for word in words if word not in {"gguf", "bnb"}] or words
    quantisation = "-".join(told).replace("-bit", "bit") or None
    return name, {"quantisation": quantisation, "precision": precision}


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


def nominal_size(text: str) -> int | None:
    """Return the number of parameters that a size in a name stands for, None if it is none.

    Examples:
        >>> nominal_size("410m"), nominal_size("1_6b"), nominal_size("7b1"), nominal_size("7bn")
        (410000000, 1600000000, 7100000000, None)
    """
    found = _SIZE.fullmatch(text)
    if found is None or (found[2] and found[4]):
        return None
    number = Decimal(f"{found[1]}.{found[2] or found[4] or 0}") * _UNITS[found[3].lower()]
    return int(number) if 0 < number <= _MOST_PARAMS else None


def _rule(
    pattern: str,
    family: str,
    name: str,
    total_params: str,
    source: str,
    remark: str,
    *,
    where: str,
    is_own: bool,
) -> ModelRule:
    if not pattern.strip() or not family.strip():
        raise SchemaError("pattern and family must not be empty", where=where)
    compiled = (
        TimedPattern(pattern.strip(), where=f"{where}: pattern", ignore_case=True)
        if is_own
        else re.compile(pattern.strip(), re.IGNORECASE)
    )
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
        is_own=is_own,
    )


@cache
def model_names() -> ModelNames:
    """Return the packaged rules.

    Examples:
        >>> model_names().lookup("bigscience/bloom-7b1").total_params
        7069016064
    """
    return ModelNames.packaged()
