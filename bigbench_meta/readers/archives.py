"""Read result files from ``.tar``, ``.tar.gz`` and ``.zip`` archives without extracting them.

Nothing is unpacked to disk, so no member can write anywhere; a member whose name points outside
the archive is refused all the same, because its name goes into tables.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted
from bigbench_meta.readers.detect import (
    JSON_ENDINGS,
    UNREAD,
    WITH_OTHER_JSON,
    SourceFile,
    by_content,
    by_name,
    by_place,
)
from bigbench_meta.readers.sources import MOST_LOOKED, PEEK, tell_unread, top_of
from bigbench_meta.readers.streams import UNREADABLE, Limited, decompressed, open_raw

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
# Members of no known format of which the names are kept.
_MOST_OTHERS: Final = 1000
_EMPTY: Final = "the file is empty"
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
    others = _Others()
    opened = (
        _zip(archive, log, others)
        if is_zip
        else _tar(archive, log, others, max_bytes + _FRAMES, reason)
    )
    noted, found = log.n_errors, False
    try:
        for name, stream in opened:
            label = f"{archive.label}/{name}"
            detected = by_name(os.path.basename(name))
            limited = _Member(decompressed(name, stream), left, reason)
            content = io.BufferedReader(limited, PEEK)
            detected = detected or by_content(_begin(content)) or by_place(name)
            if detected is not None:
                found = True
                file = SourceFile(archive.path, label, detected, archive.size, archive.stamp, name)
                yield file, content
            else:
                others.add(name, _top(content))
            if (left := limited.left) < 0:
                return
    except _BROKEN as error:
        log.error(archive.label, "", f"cannot be read to its end: {error}")
    except InputError as error:
        log.error(archive.label, "", error.message)
    others.tell(archive.label, log)
    if not found and log.n_errors == noted:
        log.error(archive.label, "", "no result files in this archive")


class _Others:
    """Members that may hold results and are not read: told once the names of all are known."""

    def __init__(self) -> None:
        self._with_other_json: set[str] = set()
        self._unknown: list[tuple[str, str]] = []
        self._unread: list[str] = []
        self._n_more = 0

    def see(self, name: str) -> None:
        """Take the name of a member."""
        folder, _, base = name.rpartition("/")
        if base in WITH_OTHER_JSON:
            self._with_other_json.add(folder)

    def add(self, name: str, what: str | None = None) -> None:
        """Take a member that is not read, with what a JSON file has at its top."""
        if len(self._unknown) + len(self._unread) >= _MOST_OTHERS:
            self._n_more += 1
        elif what is None:
            self._unread.append(name)
        else:
            self._unknown.append((name, what))

    def tell(self, archive: str, log: ProblemLog) -> None:
        """Note those that do not lie where files without results are expected."""
        for name, what in self._unknown:
            if name.rpartition("/")[0] in self._with_other_json:
                continue
            if what == _EMPTY:
                log.error(f"{archive}/{name}", "", what)
                continue
            has = f" ({what})" if what else ""
            reason = f"ignored: does not look like a results file{has}"
            log.warning(f"{archive}/{name}", "", reason)
        unread = [
            name
            for name in self._unread
            if self._with_other_json.isdisjoint(["", *map(str, PurePosixPath(name).parents)])
        ]
        tell_unread(unread, len(unread), archive, log)
        if self._n_more:
            log.warning(archive, "", f"{counted(self._n_more, 'file')} more that may hold results")


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


def _top(content: io.BufferedReader[Any]) -> str:
    """Return what a JSON file of no known format has at its top."""
    try:
        found = content.read(MOST_LOOKED + 1)
    except UNREADABLE as error:
        return f"cannot be read: {error}"
    return top_of(found)[0] if found else _EMPTY


def _is_wanted(
    name: str, archive: SourceFile, log: ProblemLog, others: _Others, *, link: str = ""
) -> bool:
    """Return whether a member, which may be a link, may be a results file, by its name."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        log.error(f"{archive.label}/{name}", "", "refused: the name points outside the archive")
        return False
    others.see(name)
    detected = by_name(os.path.basename(name))
    is_wanted = detected != "archive" and (
        detected is not None or name.lower().endswith(JSON_ENDINGS)
    )
    if is_wanted and link:
        log.warning(f"{archive.label}/{name}", "", f"{link}: not read")
    elif detected == "archive":
        log.warning(f"{archive.label}/{name}", "", "an archive within an archive: not read")
    elif not is_wanted and UNREAD.fullmatch(os.path.basename(name)):
        others.add(name)
    return is_wanted and not link


def _zip(archive: SourceFile, log: ProblemLog, others: _Others) -> Iterator[tuple[str, ByteStream]]:
    with (
        io.BufferedReader(cast("io.RawIOBase", open_raw(archive))) as content,
        zipfile.ZipFile(content) as opened,
    ):
        for info in opened.infolist():
            if not info.filename:  # is_dir would raise
                log.error(archive.label, "", "a member without a name: not read")
                continue
            link = "a symbolic link" if stat.S_ISLNK(info.external_attr >> 16) else ""
            if info.is_dir() or not _is_wanted(info.filename, archive, log, others, link=link):
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
    archive: SourceFile, log: ProblemLog, others: _Others, most: int, reason: str
) -> Iterator[tuple[str, ByteStream]]:
    # As a stream: members come in their order, and none is kept. What is skipped is counted too.
    with open_raw(archive) as raw, _opened_tar(raw) as opened:
        for info in opened:
            most -= info.size + tarfile.BLOCKSIZE
            if most < 0:
                raise InputError(reason)
            link = "a hard link" if info.islnk() else "a symbolic link" if info.issym() else ""
            if not (info.isfile() or link):
                continue
            if not _is_wanted(info.name, archive, log, others, link=link):
                continue
            if stream := opened.extractfile(info):
                yield info.name, stream


def _opened_tar(raw: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Info)
    except TypeError as error:  # from tarfile, where a gzip header is cut off
        raise tarfile.ReadError("the file ends in its header") from error
