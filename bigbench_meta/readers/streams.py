"""Read the bytes of a file from disk or a URL: decompressed, limited in size, hashed."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

from xxhash import xxh3_128

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.remote import reaching, url_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bigbench_meta.readers.detect import SourceFile

__all__ = [
    "MAX_BYTES",
    "UNREADABLE",
    "ByteStream",
    "Digesting",
    "Limited",
    "decompressed",
    "digest_of",
    "open_raw",
    "pieces",
    "read_beside",
    "read_bytes",
    "read_into",
    "read_stream",
    "within",
]

MAX_BYTES: Final = 1 << 30
"""A score file has kilobytes; what holds or expands to more than this is refused."""

UNREADABLE: Final = (OSError, EOFError, zlib.error)
"""What reading raises on a file that cannot be read."""

_MOST_EXPANSION: Final = 100

_PIECE: Final = 1 << 20


class ByteStream(Protocol):
    """What can be read: files, what :mod:`gzip` and :mod:`zipfile` open, and the streams here."""

    def read(self, size: int = ..., /) -> bytes | None:
        """Return some bytes, none at the end."""


def pieces(stream: ByteStream) -> Iterator[bytes]:
    """Yield what is left of a stream, some of it at a time."""
    while piece := stream.read(_PIECE):
        yield piece


def read_into(stream: ByteStream) -> Callable[[memoryview], int | None]:
    """Return the method of a stream that fills a buffer, by a single raw read if it has such."""
    name = "readinto1" if hasattr(stream, "readinto1") else "readinto"
    method: Callable[[memoryview], int | None] = getattr(stream, name)
    return method


class Digesting(io.RawIOBase):
    """A stream whose content is digested on the way.

    Args:
        stream: The stream; it is not closed.

    Examples:
        >>> stream = Digesting(io.BytesIO(b"abc"))
        >>> stream.read(1), stream.digest().hex()[:8]
        (b'a', '06b05ab6')
    """

    def __init__(self, stream: ByteStream) -> None:
        self._fill = read_into(stream)
        self._hash = xxh3_128()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer and return how many."""
        with memoryview(buffer) as place:
            count = self._fill(place) or 0
            self._hash.update(place[:count])
        return count

    def digest(self) -> bytes:
        """Read what is left and return the XXH3-128 of all."""
        place = bytearray(_PIECE)
        while self.readinto(place):
            pass
        return self._hash.digest()


class Limited(io.RawIOBase):
    """A stream of which no more than a number of bytes can be read.

    Args:
        stream: The stream; it is not closed.
        most: The number.
        reason: What is said once there is more.

    Attributes:
        left: How many bytes may still come.
    """

    def __init__(self, stream: ByteStream, most: int, reason: str) -> None:
        self._fill = read_into(stream)
        self.left = most
        self._reason = reason

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer and return how many.

        Raises:
            InputError: There is more than may be read.
        """
        # One byte more than may be read: it distinguishes the limit from the end.
        with memoryview(buffer)[: self.left + 1] as place:
            count = self._fill(place) or 0
        self.left -= count
        if self.left < 0:
            raise InputError(self._reason)
        return count


def digest_of(stream: ByteStream, then: bytes = b"") -> bytes:
    """Return the XXH3-128 of what is left of a stream and of the bytes that follow."""
    found = xxh3_128()
    for piece in pieces(stream):
        found.update(piece)
    found.update(then)
    return found.digest()


def read_bytes(file: SourceFile, *, max_bytes: int) -> bytes:
    """Return a file's content, decompressed if its name ends in ``.gz``.

    Raises:
        InputError: The file cannot be read, is not a gzip file, or holds more than ``max_bytes``.
    """
    small = 0 <= file.size <= max_bytes and "://" not in file.path
    if small and not file.path.lower().endswith(".gz"):
        return _slurp(file)
    with _refusing(), open_raw(file) as raw:
        reason = f"holds more than {max_bytes} bytes (--max-bytes)"
        return b"".join(pieces(Limited(decompressed(file.path, raw), max_bytes, reason)))


def read_stream(stream: ByteStream) -> bytes:
    """Return all of a stream.

    Raises:
        InputError: It cannot be read.
    """
    with _refusing():
        return b"".join(pieces(stream))


def read_beside(file: SourceFile, name: str, *, max_bytes: int) -> bytes | None:
    """Return the content of another file in the folder of a file, None if there is none.

    Raises:
        InputError: It cannot be read.
    """
    path = os.path.join(os.path.dirname(file.path), name)
    if "://" in path or not os.path.isfile(path):
        return None
    return read_bytes(file._replace(path=path, size=os.path.getsize(path)), max_bytes=max_bytes)


def within(file: SourceFile, stream: ByteStream, *, max_bytes: int) -> ByteStream:
    """Return the content of a file that is read as a stream, decompressed if it is compressed.

    A file may have the size that it has, and expand to a hundred times of it: no more memory is
    taken, only time.

    Raises:
        InputError: When read: it is larger, and larger than ``max_bytes``.
    """
    content = decompressed(file.path, stream)
    most = max(max_bytes, file.size * (_MOST_EXPANSION if content is not stream else 1))
    if content is stream and "://" not in file.path:
        return stream
    reason = f"holds more than {most} bytes (--max-bytes)"
    return Limited(content, most, reason)


def open_raw(file: SourceFile) -> IO[bytes]:
    """Open a file or URL for reading, as it is.

    Raises:
        OSError: It cannot be read.
        InputError: It cannot be reached, now or when it is read.
    """
    if "://" in file.path:
        return cast("IO[bytes]", _Remote(file.path))
    return cast("IO[bytes]", open(file.path, "rb", buffering=0))


class _Remote(io.RawIOBase):
    """A file at a URL; when its server fails, reading raises an InputError."""

    def __init__(self, url: str) -> None:
        self._url = url
        system, path = url_system(url)
        with reaching(url):
            self._file = system.open(path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with reaching(self._url), memoryview(buffer) as place:
            data: bytes = self._file.read(len(place))
            place[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def decompressed(name: str, stream: ByteStream) -> ByteStream:
    """Return the stream, or what it decompresses to if the name ends in ``.gz``."""
    if not name.lower().endswith(".gz"):
        return stream
    return gzip.GzipFile(fileobj=cast("BinaryIO", stream))


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        # Its text alone: the whole error names a path of this machine.
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _slurp(file: SourceFile) -> bytes:
    # A hundred thousand small files: three calls each, where open() makes seven.
    try:
        handle = os.open(file.path, os.O_RDONLY)
        try:
            data = os.read(handle, file.size + 1)
            while len(data) != file.size and (more := os.read(handle, 1 << 20)):
                data += more  # it has grown since it was found
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    return data
