"""Reads result files out of ``.tar``, ``.tar.gz`` and ``.zip`` archives, in place.

Nothing is unpacked to disk, so no member can write anywhere; a member whose name points outside
the archive is refused all the same, because its name goes into tables.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from bigbench_meta.errors import InputError
from bigbench_meta.readers._formats import JSON_ENDINGS, SourceFile, by_content, by_name
from bigbench_meta.readers._sources import PEEK, copy_within, decompressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bigbench_meta.readers._formats import Format
    from bigbench_meta.readers._problems import ProblemLog

__all__ = ["members"]

_BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)


def members(
    archive: SourceFile, log: ProblemLog, *, max_bytes: int
) -> Iterator[tuple[SourceFile, bytes]]:
    """Yield the result files in an archive with their content.

    Args:
        archive: The archive.
        log: Where members that cannot be used are noted.
        max_bytes: Refuse a member that expands to more, and stop once all of them together have.

    Yields:
        A member, sized and stamped like the archive so that an unchanged archive is recognised
        without opening it, and its content.
    """
    is_zip = archive.path.lower().endswith(".zip")
    left = max_bytes
    try:
        for name, stream in (_zip if is_zip else _tar)(archive.path):
            label = f"{archive.label}/{name}"
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                log.error(label, "", "refused: the name points outside the archive")
                continue
            content = _content(name, stream, label, log, left)
            if content is None:
                continue
            detected, data = content
            left -= len(data)
            if left < 0:
                log.error(
                    archive.label, "", f"expands to more than {max_bytes} bytes (--max-bytes)"
                )
                return
            yield (
                SourceFile(archive.path, label, detected, archive.size, archive.stamp, name),
                data,
            )
    except _BROKEN as error:
        log.error(archive.label, "", f"cannot be read to its end: {error}")


def _zip(path: str) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as stream:
                    yield info.filename, stream


def _tar(path: str) -> Iterator[tuple[str, IO[bytes]]]:
    # As a stream: members come in their order, and none is kept.
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            if info.isfile() and (stream := archive.extractfile(info)):
                yield info.name, stream


def _content(
    name: str, stream: IO[bytes], label: str, log: ProblemLog, max_bytes: int
) -> tuple[Format, bytes] | None:
    """Return format and content of a member, None if it is no results file or cannot be read."""
    detected = by_name(os.path.basename(name))
    if detected == "archive" or (detected is None and not name.lower().endswith(JSON_ENDINGS)):
        return None
    try:
        data = copy_within(decompressed(name, stream), max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        log.error(label, "", f"cannot be read: {error}")
        return None
    except InputError as error:
        log.error(label, "", error.message)
        return None
    detected = detected or by_content(data[:PEEK])
    return None if detected is None else (detected, data)
