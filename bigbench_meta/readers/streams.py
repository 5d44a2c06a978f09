"""Streams that keep an eye on what passes: a digest of it, and a limit to it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, Protocol

from xxhash import xxh3_128

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ByteStream", "Digesting", "Limited", "digest_of", "pieces", "read_into"]

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
        # One byte more than may be read tells the limit from the end.
        with memoryview(buffer)[: self.left + 1] as place:
            count = self._fill(place) or 0
        self.left -= count
        if self.left < 0:
            raise InputError(self._reason)
        return count


def digest_of(stream: ByteStream) -> bytes:
    """Return the XXH3-128 of what is left of a stream."""
    found = xxh3_128()
    for piece in pieces(stream):
        found.update(piece)
    return found.digest()
