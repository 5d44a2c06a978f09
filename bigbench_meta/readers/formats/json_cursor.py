"""A cursor over a stream of JSON that holds no more of it than a window, or one value.

What the cursor has passed is dropped. Values are passed by a scanner that knows strings and
brackets only, so whether a value is sound in itself is for its decoder to say.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Final

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.streams import read_into

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bigbench_meta.readers.streams import ByteStream

__all__ = ["STRING_BODY", "JsonCursor", "JsonDamageError"]

_MOST_KEY: Final = 1 << 20
_MOST_DEPTH: Final = 10_000

_QUOTE, _BACKSLASH, _COLON, _COMMA = b'"\\:,'
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b"{}[]"
_CLOSER: Final = {_OPEN: _CLOSE, _OPEN_LIST: _CLOSE_LIST}

# Possessive throughout: what matched is never tried again, so no input makes a match slow. A raw
# line end inside a string is refused, as JSON does: it shows at once that a quote is missing.
STRING_BODY: Final = rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+'
_BODY = re.compile(STRING_BODY)
_PLAIN = re.compile(rb'[^"{}\[\]]*+(?:"%b"[^"{}\[\]]*+)*+' % STRING_BODY)
_SCALAR = re.compile(rb"[^ \t\r\n,:{}\[\]\"]*+")
_SPACE = re.compile(rb"[ \t\r\n]*+")


class JsonDamageError(Exception):
    """The document is damaged at the cursor, so that nothing behind it can be placed.

    Args:
        offset: Bytes before the damage.
        reason: What is wrong.
    """

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(f"{reason} at byte {offset}")


class JsonCursor:
    """A cursor over a stream of JSON.

    Every method raises :class:`JsonDamageError` if the document is damaged.

    Args:
        stream: The document.
        window_bytes: How much of it to hold; more is held only while one value does not fit.
        most_recorded: Limit of ``recorded``.

    Attributes:
        recording: Whether what the cursor passes is kept.
        recorded: What was kept.

    Examples:
        >>> from io import BytesIO
        >>> cursor = JsonCursor(BytesIO(b'{"a": [1, {}], "b": "x"}'), window_bytes=4)
        >>> {key: cursor.take(100) for key in cursor.members()}
        {'a': b'[1, {}]', 'b': b'"x"'}
    """

    def __init__(
        self, stream: ByteStream, *, window_bytes: int, most_recorded: int = 1 << 24
    ) -> None:
        self.recording = False
        self.recorded = bytearray()
        self._most_recorded = most_recorded
        # One raw read at a time: of a damaged gzip stream, what was read before is not lost.
        self._read_into = read_into(stream)
        self._window_bytes = window_bytes
        self._buffer = bytearray(max(window_bytes, 2))
        # The cursor and the end of what has been read, in the buffer; bytes before the buffer.
        self._position = self._end = self._offset = 0
        self._ended = False
        self._fault = ""

    @property
    def offset(self) -> int:
        """Bytes before the cursor."""
        return self._offset + self._position

    def peek(self) -> int:
        """Pass white space; return the byte behind it, -1 at the end of the stream."""
        while True:
            at = self._match(_SPACE, self._position)
            self._advance(at)
            if at < self._end:
                return self._buffer[at]
            if not self._more():
                return -1

    def pass_prefix(self, prefix: bytes) -> None:
        """Pass ``prefix`` if it stands at the cursor."""
        size = len(prefix)
        while self._end - self._position < size and self._more():
            pass
        if self._buffer[self._position : min(self._position + size, self._end)] == prefix:
            self._advance(self._position + size)

    def members(self) -> Iterator[str]:
        """Yield the keys of the object at the cursor; the caller passes the value of each."""
        if self._enter(_OPEN, "an object"):
            while True:
                yield self._key()
                if self._leave(_CLOSE):
                    return

    def take(self, most: int) -> bytes | None:
        """Pass the value at the cursor and return it, None if it has more than ``most`` bytes."""
        fits, at = self._scan(most)
        value = bytes(self._buffer[self._position : at]) if fits else None
        self._advance(at)
        return value

    def skip(self) -> None:
        """Pass the value at the cursor, however large."""
        _, at = self._scan(0)
        self._advance(at)

    def damage(self, reason: str) -> JsonDamageError:
        """Return the exception for damage at the cursor."""
        if self.peek() == -1:
            return JsonDamageError(self.offset, self._fault or "truncated JSON")
        return JsonDamageError(self.offset, f"malformed JSON: {reason}")

    def _enter(self, bracket: int, name: str) -> bool:
        """Pass an opening bracket; return whether it holds anything, else pass the closing one."""
        if self.peek() != bracket:
            raise self.damage(f"{name} expected")
        self._advance(self._position + 1)
        if self.peek() != _CLOSER[bracket]:
            return True
        self._advance(self._position + 1)
        return False

    def _leave(self, bracket: int) -> bool:
        """Pass a comma or a closing bracket; return whether it is the bracket."""
        byte = self.peek()
        if byte not in (_COMMA, bracket):
            raise self.damage(f"',' or {chr(bracket)!r} expected")
        self._advance(self._position + 1)
        return byte == bracket

    def _key(self) -> str:
        if self.peek() != _QUOTE:
            raise self.damage("a key in double quotes expected")
        text = self.take(_MOST_KEY)
        try:
            # A longer key is none that anybody asks for.
            key = "" if text is None else str(json.loads(text.decode()))
        except ValueError as error:
            raise self.damage(f"a key that cannot be read: {error}") from None
        if self.peek() != _COLON:
            raise self.damage("':' expected")
        self._advance(self._position + 1)
        return key

    def _match(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Return where the match at ``start`` ends; only for patterns that match anything."""
        match = pattern.match(self._buffer, start, self._end)
        return match.end() if match else start

    def _scan(self, most: int) -> tuple[bool, int]:
        """Find the end of the value at the cursor.

        Returns:
            Whether it has no more than ``most`` bytes (then the window holds all of it from the
            cursor on; of a longer one, the cursor may have passed a part), and where it ends.
        """
        first = self.peek()
        inside = first == _QUOTE
        nested = inside or first in _CLOSER
        closers = bytearray()
        at, fits = self._position + inside, True
        while True:
            if nested:
                at, inside, done = self._scan_nested(at, inside, closers)
            else:
                at = self._match(_SCALAR, at)
                done = at < self._end
            if done:
                break
            if at - self._position > most:
                fits = False
                self._advance(at)
            passed = at - self._position
            more = self._more()
            at = self._position + passed
            if not more:
                if nested:
                    self._advance(self._end)
                    raise self.damage("")
                break
        if fits and at == self._position:
            raise self.damage("a value expected")
        return fits and at - self._position <= most, at

    def _scan_nested(self, at: int, inside: bool, closers: bytearray) -> tuple[int, bool, bool]:
        """Go on from ``at``, inside a string or not, to the end of the value or of the window."""
        buffer, end = self._buffer, self._end
        while at < end:
            if inside:
                at = self._match(_BODY, at)
                if at == end or (buffer[at] == _BACKSLASH and at + 1 == end):
                    break
                if buffer[at] != _QUOTE:
                    reason = "malformed JSON: line end inside a string"
                    raise JsonDamageError(self._offset + at, reason)
                inside = False
            else:
                at = self._match(_PLAIN, at)
                if at == end:
                    break
                if buffer[at] == _QUOTE:
                    inside = True
                    at += 1
                    continue
                self._bracket(at, closers)
            at += 1
            if not closers:
                return at, False, True
        return at, inside, False

    def _bracket(self, at: int, closers: bytearray) -> None:
        byte = self._buffer[at]
        if byte in _CLOSER:
            closers.append(_CLOSER[byte])
            if len(closers) > _MOST_DEPTH:
                self._advance(at)
                raise self.damage("nested too deeply")
        elif closers.pop() != byte:
            self._advance(at)
            raise self.damage(f"{chr(byte)!r} does not close what is open")

    def _advance(self, to: int) -> None:
        if self.recording:
            self.recorded += self._buffer[self._position : to]
            if len(self.recorded) > self._most_recorded:
                reason = f"more than {self._most_recorded} bytes to be kept"
                raise JsonDamageError(self.offset, reason)
        self._position = to

    def _more(self) -> bool:
        """Read on, keeping all from one byte before the cursor; return whether there was more."""
        if self._ended:
            return False
        start = max(self._position - 1, 0)
        kept = self._end - start
        self._buffer[:kept] = self._buffer[start : self._end]
        self._offset += start
        self._position -= start
        self._end = kept
        size = len(self._buffer)
        if size - kept <= size // 4:
            self._buffer.extend(bytes(size))
        with memoryview(self._buffer) as whole:
            while self._end < len(whole) and not self._ended:
                with whole[self._end :] as free:
                    self._end += self._read(free)
        return self._end > kept

    def _read(self, free: memoryview) -> int:
        try:
            count = self._read_into(free) or 0
        except (OSError, EOFError, zlib.error) as error:
            self._fault = f"cannot be read further: {error}"
            count = 0
        except InputError as error:
            self._fault = error.message
            count = 0
        self._ended = not count
        return count
