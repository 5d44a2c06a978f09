"""Finds result files below the paths a user names, and reads their bytes within a limit."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from bigbench_meta.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bigbench_meta.readers._problems import ProblemLog

Format = Literal["bigbench", "table"]

MAX_BYTES: Final = 1 << 30
"""A score file has kilobytes; what expands beyond this is refused."""

_JSON: Final = (".json", ".json.gz")
_TABLE: Final = (".csv", ".csv.gz", ".parquet")
# Enough to see the first keys of a results file; a task.json of gigabytes is not read for it.
_PEEK: Final = 4096


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: Where it is.
        label: How tables and messages name it: the path below the folder that the user named, with
            that folder's own name in front, so that no machine's layout gets into a table.
        format: Which reader takes it.
    """

    path: Path
    label: str
    format: Format


def discover(paths: Iterable[str | Path], log: ProblemLog) -> list[SourceFile]:
    """Return the result files at or below the paths, each once, in a fixed order.

    A file named outright is read whatever its name. Below a folder, a JSON file is taken if it is
    called ``scores_*``, lies in a ``results`` folder or begins like a score file, and a table if
    its header has the columns of an observations table.

    Args:
        paths: Files and folders.
        log: Where oddities below folders are noted.

    Returns:
        The files.

    Raises:
        InputError: A path does not exist, or is neither file nor folder.
    """
    found: dict[Path, SourceFile] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files: Iterable[SourceFile] = _walk(path, log)
        elif path.is_file():
            files = [SourceFile(path, path.as_posix(), _format_of_named(path))]
        else:
            raise InputError(
                "no such file or folder" if not path.exists() else "neither file nor folder",
                where=str(path),
                hint="name result files, or a folder such as bigbench/benchmark_tasks",
            )
        for file in files:
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def _format_of_named(path: Path) -> Format:
    if path.name.lower().endswith(_JSON):
        return "bigbench"
    if path.name.lower().endswith(_TABLE):
        return "table"
    raise InputError(
        "format not recognised from the name",
        where=str(path),
        hint=f"known endings are {', '.join(_JSON + _TABLE)}",
    )


def _walk(root: Path, log: ProblemLog) -> Iterator[SourceFile]:
    name = root.resolve().name
    for folder, folders, files in os.walk(root):
        folders.sort()
        here = Path(folder)
        prefix = Path(name, here.relative_to(root))
        for odd in (f for f in folders if f.lower().endswith(_JSON)):
            log.error((prefix / odd).as_posix(), "", "a folder with the name of a JSON file")
        is_task_folder = "task.json" in files or "task.py" in files
        for file in sorted(files):
            label = (prefix / file).as_posix()
            detected = _detect(here / file, label, log, quiet=is_task_folder)
            if detected:
                yield SourceFile(here / file, label, detected)


def _detect(path: Path, label: str, log: ProblemLog, *, quiet: bool) -> Format | None:
    """Return the format of a file found below a folder, None for a file that is none of ours."""
    lower = path.name.lower()
    if lower.endswith(_JSON):
        expected = lower.startswith("scores_") or (
            path.parent.name == "results" and not lower.startswith("full-log_")
        )
        if expected or _begins_like_scores(path):
            return "bigbench"
        if not quiet and not lower.startswith("full-log_"):
            log.warning(label, "", "ignored: does not look like a BIG-bench score file")
    elif lower.endswith(_TABLE):
        from bigbench_meta.readers._tables import has_observation_columns

        return "table" if has_observation_columns(path) else None
    return None


def _begins_like_scores(path: Path) -> bool:
    try:
        # Any opener: a .json.gz that is no gzip file is judged by the reader, which reports it.
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            head = file.read(_PEEK)
    except (OSError, EOFError, zlib.error):
        return True
    return not head.strip() or b'"scores"' in head or b'"score_dict"' in head


def read_bytes(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a file's content, decompressed if its name ends in ``.gz``.

    Raises:
        InputError: The file cannot be read, is no gzip file, or holds more than ``max_bytes``.
    """
    try:
        if not path.name.lower().endswith(".gz"):
            size = path.stat().st_size
            data = path.read_bytes() if size <= max_bytes else b""
        else:
            with gzip.open(path) as file:
                # By the piece: a single read would reserve max_bytes before it sees the content.
                pieces, size = [], 0
                while size <= max_bytes and (piece := file.read(1 << 20)):
                    pieces.append(piece)
                    size += len(piece)
            data = b"".join(pieces)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}") from error
    if size > max_bytes:
        raise InputError(f"holds more than {max_bytes} bytes")
    return data
