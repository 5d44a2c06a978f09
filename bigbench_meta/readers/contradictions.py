"""What the name of a file says and its content does not: a problem that quotes both.

Nothing is corrected: the content counts, unless ``--path`` says that the path does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["compare_shots_with_name", "compare_size_with_name", "compare_with_name"]

_SHOTS: Final = re.compile(r"(?<![a-z0-9.])(\d{1,4})[-_ ]?shots?(?![a-z])", re.IGNORECASE)
_EXAMPLES: Final = re.compile(
    r"(?<![a-z0-9.])(?:limit[-_= ]?(\d{1,9})|n=(\d{1,9})|"
    r"(\d{1,9})[-_ ]?(?:examples|instances|questions|samples))(?![a-z0-9])",
    re.IGNORECASE,
)
_SIZE: Final = re.compile(
    r"(?<![a-z0-9.])\d+(?:[._]\d+)?(?:[mt]|b\d?)(?![a-z0-9]|[._]\d)", re.IGNORECASE | re.ASCII
)
# Names round sizes, and families were renamed when embeddings were counted: 125M became 160M.
_ALIKE: Final = 1.3
_MOST_NAMED: Final = 3


def compare_with_name(
    log: FileLog, table: pa.Table, *, names: ModelNames, known: Iterable[str] = ()
) -> None:
    """Note where shots, number of examples or size in a file's name differ from its content.

    The name is the last part of the path; of a file whose own name says nothing, its folder's. A
    name that states two numbers of a kind states none, and what the content does not say is not
    compared.

    Args:
        log: Where problems are noted; its label is the path.
        table: The file's observations.
        names: Rules from model names to families and sizes.
        known: What ``--path`` gives in place of the content.
    """
    known = set(known)
    for column, pattern in (("shots", _SHOTS), ("n_examples", _EXAMPLES)):
        if column not in known and (found := _stated(log.label, pattern)):
            _compare_number(log, column, found, table[column].to_pylist())
    if known.isdisjoint({"model", "model_name"}):
        models = table.select(["model_name", "total_params"])
        of_names = models.group_by(["model_name", "total_params"]).aggregate([])
        columns = (column.to_pylist() for column in of_names.itercolumns())
        compare_size_with_name(log, list(zip(*columns, strict=True)), names=names)


def compare_shots_with_name(log: FileLog, shots: Iterable[int | None]) -> None:
    """Note where the shots in a file's name are none of those in the file.

    Args:
        log: Where problems are noted; its label is the path.
        shots: Shots of each score, None where not stated.
    """
    if found := _stated(log.label, _SHOTS):
        _compare_number(log, "shots", found, shots)


def _compare_number(
    log: FileLog, column: str, found: tuple[str, ...], values: Iterable[int | None]
) -> None:
    named = int(next(filter(None, found)))
    inside = sorted({value for value in values if value is not None})
    if inside and named not in inside:
        told = _listed([f"{number:,}" for number in inside])
        log.warning(column, f"{told}, but the file's name says {named:,}")


def compare_size_with_name(
    log: FileLog, models: Sequence[tuple[str, int | None]], *, names: ModelNames | None = None
) -> None:
    """Note where the size in a file's name is that of none of its models.

    Args:
        log: Where problems are noted; its label is the path.
        models: Name and number of parameters of each model of the file, None where not known.
        names: Rules that may know the file's name as another name of the same model.
    """
    found = _stated(log.label, _SIZE)
    if found is None or not models:
        return
    # 1_6b is 1.6b or, behind a number, 6b.
    tokens = {found[0].lower(), found[0].lower().rpartition("_")[2]}
    stated = [{size[0].lower() for size in _SIZE.finditer(name)} for name, _ in models]
    if any(tokens & sizes for sizes in stated):
        return
    # Imported here: they bring pandas along, which score files do without.
    from bigbench_meta.catalog.model_names import nominal_size
    from bigbench_meta.readers.formats.runs import model_in_path

    named = {size for size in map(nominal_size, tokens) if size}
    for sizes, (_, size) in zip(stated, models, strict=True):
        if size is None and not sizes:
            return
        if named & set(map(nominal_size, sizes)) or not named:
            return
        if size and any(1 / _ALIKE < size / one < _ALIKE for one in named):
            return
    by_rule = model_in_path(log.label, names=names)[0] if names else None
    if by_rule and by_rule.total_params in {size for _, size in models} - {None}:
        return
    text = _listed([f"{name} ({size:,})" if size else name for name, size in models])
    log.warning("model", f"{text}, but the file's name says {found[0]}")


def _stated(label: str, pattern: re.Pattern[str]) -> tuple[str, ...] | None:
    """Return what a pattern finds once in the name of a file, or else in that of its folder."""
    for part in reversed(label.split("/")[-2:]):
        found = {match.groups() or (match[0],) for match in pattern.finditer(part)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
