"""Files that are read together: a run's results with what another file in its folder says of it."""

from __future__ import annotations

import posixpath
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bigbench_meta.readers.detect import SourceFile

    Ready = tuple[SourceFile, bytes, bytes | None]

__all__ = ["Pairs", "companion"]

# Formats of which a file may be the companion of another.
_COMPANIONS: Final = {"companion", "lm_eval"}


def companion(file: SourceFile) -> str:
    """Return the name of the file in the same folder that a file is read with, empty if none.

    Examples:
        >>> from bigbench_meta.readers.detect import SourceFile
        >>> companion(SourceFile("/a/samples_x_2024-05-01T10-00-00.json", "a", "lm_eval_samples"))
        'results_2024-05-01T10-00-00.json'
    """
    if file.format == "bigbench":  # most files are
        return ""
    name = posixpath.basename(file.member or file.path)
    if file.format == "lm_eval_samples":
        stem = name.removesuffix(".jsonl").removesuffix(".json")
        return f"results_{stem.rpartition('_')[2]}.json"
    return name.replace("stats", "run_spec") if file.format == "helm" else ""


class Pairs:
    """Brings the members of an archive together, in whatever order they come."""

    def __init__(self) -> None:
        self._companions: dict[str, bytes] = {}
        self._waiting: dict[str, list[tuple[SourceFile, bytes]]] = {}

    def add(self, member: SourceFile, data: bytes) -> Iterator[Ready]:
        """Take the next member; yield members that are complete, with their companions."""
        name = companion(member)
        wanted = name and posixpath.join(posixpath.dirname(member.member), name)
        if wanted and wanted not in self._companions:
            self._waiting.setdefault(wanted, []).append((member, data))
            return
        if member.format in _COMPANIONS:
            self._companions[member.member] = data
        if member.format != "companion":
            yield member, data, self._companions.get(wanted)
        for other, its_data in self._waiting.pop(member.member, ()):
            yield other, its_data, data

    def rest(self) -> Iterator[Ready]:
        """Yield the members whose companion has not come."""
        for member, data in chain.from_iterable(self._waiting.values()):
            yield member, data, None
