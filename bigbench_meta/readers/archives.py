"""Read result files from ``.tar``, ``.tar.gz`` and ``.zip`` archives without extracting them.

Nothing is unpacked to disk, so no member can write anywhere; a member whose name points outside
the archive is refused all the same, because its name goes into tables.
"""

from __future__ import annotations

import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.detect import JSON_ENDINGS, SourceFile, by_content, by_name, by_place
from bigbench_meta.readers.sources import PEEK
from bigbench_meta.readers.streams import UNREADABLE, Limited, decompressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bigbench_meta.readers.problems import ProblemLog
    from bigbench_meta.readers.streams import ByteStream

__all__ = ["members"]

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    struct.error,
    UnicodeDecodeError,  # of a name
    lzma.LZMAError,
)
_BROKEN = (*UNREADABLE, *_DAMAGE)
# Headers and padding of a tar archive, in addition to what its members hold.
_FRAMES: Final = 1 << 20
_LONGEST_HEADER: Final = 1 << 16
_OF_HEADERS: Final = {
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}  # fmt: skip


def members(
    archive: SourceFile, log: ProblemLog, *, max_bytes: int
) -> Iterator[tuple[SourceFile, ByteStream]]:
    """Yield the result files in an archive.

    Args:
        archive: The archive.
        log: Where members that cannot be used are noted.
        max_bytes: How much all members together may expand to. Reading on raises an InputError,
            and no more members come.

    Yields:
        A member, sized and stamped like the archive so that an unchanged archive is recognised
        without opening it, and its content, decompressed, to be read before the next one comes.
        Damage raises an OSError there.
    """
    left = max_bytes
    reason = f"the archive expands to more than {max_bytes} bytes (--max-bytes)"
    is_zip = archive.path.lower().endswith(".zip")
    opened = _zip(archive, log) if is_zip else _tar(archive, log, max_bytes + _FRAMES, reason)
    noted, found = len(log.rows), False
    try:
        for name, stream in opened:
            label = f"{archive.label}/{name}"
            detected = by_name(os.path.basename(name))
            counted = _Member(decompressed(name, stream), left, reason)
            content = io.BufferedReader(counted, PEEK)
            detected = detected or by_content(_begin(content)) or by_place(name)
            if detected is not None:
                found = True
                file = SourceFile(archive.path, label, detected, archive.size, archive.stamp, name)
                yield file, content
            if (left := counted.left) < 0:
                return
    except _BROKEN as error:
        log.error(archive.label, "", f"cannot be read to its end: {error}")
    except InputError as error:
        log.error(archive.label, "", error.message)
    if not found and len(log.rows) == noted:
        log.error(archive.label, "", "no result files in this archive")


class _Member(Limited):
    """A member's content, whose damage is an OSError whatever the kind of archive."""

    _damage: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, unless the content ends, and return how many bytes that took."""
        filled = 0
        with memoryview(buffer) as whole:
            try:
                while not self._damage and filled < len(whole):
                    count = super().readinto(whole[filled:])
                    filled += count
                    if not count:
                        break
            except _BROKEN as error:
                self._damage = error
        if self._damage and not filled:
            raise OSError(str(self._damage)) from self._damage
        return filled


def _begin(content: io.BufferedReader[Any]) -> bytes:
    try:
        return content.peek(PEEK)
    except UNREADABLE:
        # What cannot even be opened is for the reader to report.
        return b'"scores"'


def _is_wanted(name: str, archive: SourceFile, log: ProblemLog) -> bool:
    """Return whether a member may be a results file, by its name."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        log.error(f"{archive.label}/{name}", "", "refused: the name points outside the archive")
        return False
    detected = by_name(os.path.basename(name))
    if detected == "archive":
        log.warning(f"{archive.label}/{name}", "", "an archive within an archive: not read")
    return detected != "archive" and (detected is not None or name.lower().endswith(JSON_ENDINGS))


def _zip(archive: SourceFile, log: ProblemLog) -> Iterator[tuple[str, ByteStream]]:
    with zipfile.ZipFile(archive.path) as opened:
        for info in opened.infolist():
            if not info.filename:  # is_dir would raise
                log.error(archive.label, "", "a member without a name: not read")
                continue
            if info.is_dir() or not _is_wanted(info.filename, archive, log):
                continue
            try:
                stream = opened.open(info)
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
                # Encrypted, compressed in an unknown way, or moved: the others may be sound.
                log.error(f"{archive.label}/{info.filename}", "", f"cannot be read: {error}")
                continue
            with stream:
                yield info.filename, stream


class _Info(tarfile.TarInfo):
    """A header whose own content, a long name or further fields, is not of any length."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        info = super().frombuf(buf, encoding, errors)
        if info.type in _OF_HEADERS and info.size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


def _tar(
    archive: SourceFile, log: ProblemLog, most: int, reason: str
) -> Iterator[tuple[str, ByteStream]]:
    # As a stream: members come in their order, and none is kept. What is skipped is counted too.
    try:
        opened = tarfile.open(archive.path, "r|*", tarinfo=_Info)  # noqa: SIM115 - closed below
    except TypeError as error:  # from tarfile, where a gzip header is cut off
        raise tarfile.ReadError("the file ends in its header") from error
    with opened:
        for info in opened:
            most -= info.size + tarfile.BLOCKSIZE
            if most < 0:
                raise InputError(reason)
            if info.islnk() and by_name(os.path.basename(info.name)):
                log.warning(f"{archive.label}/{info.name}", "", "a hard link: not read")
            if not info.isfile() or info.islnk() or not _is_wanted(info.name, archive, log):
                continue
            if stream := opened.extractfile(info):
                yield info.name, stream
