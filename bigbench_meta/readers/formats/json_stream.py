"""Read JSON documents larger than memory with a cursor that holds only a window of the document.

What the cursor has passed is dropped. A scanner that knows only strings and brackets finds where a
value ends, so whether the value itself is sound is for its decoder to say.

The elements of a long list are decoded many at once. Where to cut the list is guessed from the
bytes that stand between two elements (:class:`Seam`), and a wrong guess does no harm: the elements
from the cursor to the cut are decoded as a list of their own, which succeeds only if the cut lies
between two elements of this very list. Where it fails, elements are passed one by one.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.streams import read_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bigbench_meta.readers.streams import ByteStream

__all__ = [
    "REFUSED",
    "WINDOW_BYTES",
    "JsonDamageError",
    "JsonStream",
    "Seam",
    "decode",
    "decode_quoting",
]

# What is decoded at once should stay in the processor's cache until it is used.
WINDOW_BYTES: Final = 1 << 20
"""Default size of a window."""

T = TypeVar("T")

REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises on content that it does not take."""

# Below this, a refused batch is not tried in smaller pieces.
_LEAST_SPAN: Final = 1 << 15
_MOST_KEY: Final = 1 << 20
_MOST_DEPTH: Final = 10_000

_QUOTE, _BACKSLASH, _COLON, _COMMA = b'"\\:,'
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b"{}[]"
_CLOSER: Final = {_OPEN: _CLOSE, _OPEN_LIST: _CLOSE_LIST}

# Possessive throughout: what matched is never tried again, so no input makes a match slow. A raw
# line end inside a string is refused, as JSON does: it shows at once that a quote is missing.
_STRING_BODY: Final = rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+'
_BODY = re.compile(_STRING_BODY)
_PLAIN = re.compile(rb'[^"{}\[\]]*+(?:"%b"[^"{}\[\]]*+)*+' % _STRING_BODY)
_SCALAR = re.compile(rb"[^ \t\r\n,:{}\[\]\"]*+")
_SPACE = re.compile(rb"[ \t\r\n]*+")
_KEY = b'"%b"' % _STRING_BODY
_BETWEEN = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+\{[ \t\r\n]*+%b" % _KEY)
_LAST = re.compile(rb"[ \t\r\n]*+\][ \t\r\n]*+(?:,[ \t\r\n]*+%b|\})" % _KEY)
_SPECIAL = re.compile(rb'((?:[^"IN-]++|%b|-(?!I))*+)(-?Infinity|NaN)' % _KEY)


class JsonDamageError(Exception):
    """The document is damaged at the cursor, so that nothing after it can be placed.

    Args:
        offset: Bytes before the damage.
        reason: What is wrong.
    """

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(f"{reason} at byte {offset}")


@dataclass
class Seam:
    """The known or guessed layout of the lists of one kind in a document.

    Attributes:
        between: From the end of one element, ``}``, to the first key of the next.
        last: From the end of the last element to the next key of the object around the list.
        span: How many bytes to decode at once; less where decoding was refused.
        single_until: Offset up to which elements are to be passed one by one.
        element_bytes: Size of the last element that was passed as one.
        list_bytes: Size of the last list.
        goes_on_until: Offset up to which the list at hand hardly ends.
    """

    between: bytes = b""
    last: bytes = b""
    span: int = WINDOW_BYTES
    single_until: int = 0
    element_bytes: int = 0
    list_bytes: int = 0
    goes_on_until: int = 0


class JsonStream:
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
        >>> cursor = JsonStream(BytesIO(b'{"a": [1, {}], "b": "x"}'), window_bytes=4)
        >>> {key: cursor.take(100) for key in cursor.members()}
        {'a': b'[1, {}]', 'b': b'"x"'}
        >>> stream = JsonStream(BytesIO(b'[{"a": 1}, {"a": 2}, {"a": 3}]'), window_bytes=1000)
        >>> decoder, seam = msgspec.json.Decoder(list[dict[str, int]]), Seam()
        >>> [batch or stream.take(99) for batch in stream.elements(decoder, seam)]
        [b'{"a": 1}', [{'a': 2}], b'{"a": 3}']
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
        """Pass white space; return the byte after it, -1 at the end of the stream."""
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

    def elements(
        self,
        decoder: msgspec.json.Decoder[list[Any]],
        seam: Seam,
        *,
        doubtful: Callable[[list[Any]], bool] = lambda _: False,
    ) -> Iterator[Any]:
        """Yield the elements of the list at the cursor, many at once where that is possible.

        Args:
            decoder: Decoder of a list of elements.
            seam: What is known of such lists; kept up to date.
            doubtful: Whether elements decoded with literals in quotes may hold one for a text.

        Yields:
            A list of decoded elements; or None: then the caller passes the one element that stands
            at the cursor.

        Raises:
            JsonDamageError: The document is damaged.
        """
        begin = self.offset
        # The queries of a log are of similar length; BIG-bench's grow with the number of shots.
        seam.goes_on_until = begin + seam.list_bytes * 7 // 8
        more = self._enter(_OPEN_LIST, "a list")
        while more:
            self.peek()
            start = self.offset
            batch = self._batch(decoder, seam, doubtful)
            yield batch
            if batch is None:
                seam.element_bytes = self.offset - start
                self._learn(seam)
            more = not self._leave(_CLOSE_LIST)
        seam.list_bytes = self.offset - begin

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

    def _batch(
        self,
        decoder: msgspec.json.Decoder[list[Any]],
        seam: Seam,
        doubtful: Callable[[list[Any]], bool],
    ) -> list[Any] | None:
        """Decode some elements from the cursor on, none unless that surely works; pass them."""
        if self._end - self._position < self._window_bytes // 2:
            self._more()
        if self.offset < seam.single_until or seam.element_bytes > self._window_bytes:
            return None
        seam.span = min(2 * seam.span, self._window_bytes)
        while (cut := self._cut(seam)) >= 0:
            batch = self._decode(decoder, self._position, cut + 1, doubtful)
            if batch is not None:
                self._advance(cut + 1)
                return batch
            if self.offset < seam.goes_on_until:
                seam.goes_on_until = 0
            elif seam.span > _LEAST_SPAN:
                seam.span = max((cut - self._position) // 8, _LEAST_SPAN)
            else:
                seam.single_until = self._offset + cut
                return None
        return None

    def _cut(self, seam: Seam) -> int:
        """Return where an element of the list at hand seems to end, -1 if that is not known."""
        within = self._position, min(self._position + seam.span, self._end)
        if self._offset + within[1] >= seam.goes_on_until:
            cut = self._buffer.find(seam.last, *within) if seam.last else -1
            # Looking backwards is slow where there is nothing to be found.
            if cut >= 0 or not seam.between or self._buffer.find(seam.between, *within) < 0:
                return cut
        return self._buffer.rfind(seam.between, *within) if seam.between else -1

    def _decode(
        self,
        decoder: msgspec.json.Decoder[list[Any]],
        start: int,
        stop: int,
        doubtful: Callable[[list[Any]], bool],
    ) -> list[Any] | None:
        """Decode a part of the window as if brackets stood around it."""
        text = self._buffer[start - 1 : stop + 1]
        text[0], text[-1] = _OPEN_LIST, _CLOSE_LIST
        try:
            return decode(decoder, text)
        except REFUSED:
            batch: list[Any] | None = decode_quoting(decoder, text)
            return None if batch is None or doubtful(batch) else batch

    def _learn(self, seam: Seam) -> None:
        """Look at what stands after the element that was just passed."""
        if match := _BETWEEN.match(self._buffer, self._position, self._end):
            seam.between = b"}" + match.group()
        elif match := _LAST.match(self._buffer, self._position, self._end):
            seam.last = b"}" + match.group()


def decode(decoder: msgspec.json.Decoder[T], text: bytes | bytearray) -> T:
    """Decode JSON that must be UTF-8 throughout: decoders do not look at what they skip.

    Raises:
        MsgspecError, UnicodeDecodeError, RecursionError: The decoder refuses the text.
    """
    if not text.isascii():
        text.decode()
    return decoder.decode(text)


def decode_quoting(decoder: msgspec.json.Decoder[T], text: bytes | bytearray) -> T | None:
    """Decode JSON with the literals that :func:`json.dump` writes and JSON does not have.

    They are put in quotes first, so the decoder's type must take these texts where it takes
    numbers.

    Args:
        decoder: The decoder.
        text: A value, which may contain ``NaN``, ``Infinity`` and ``-Infinity``.

    Returns:
        The decoded value, None if there are no such literals or the decoder refuses the value.

    Examples:
        >>> decode_quoting(msgspec.json.Decoder(), b'["not NaN", -Infinity, {"a": NaN}]')
        ['not NaN', '-Infinity', {'a': 'NaN'}]
    """
    if b"-Infinity" in text and b"\\-Infinity" not in text:
        # Fast, and safe: within a string, the new quote would end it and a minus would follow.
        try:
            return decode(decoder, text.replace(b"-Infinity", b'"-Infinity"'))
        except REFUSED:
            pass
    elif b"Infinity" not in text and b"NaN" not in text:
        return None
    pieces: list[bytes | bytearray] = []
    at = 0
    while match := _SPECIAL.match(text, at):
        pieces += [match[1], b'"', match[2], b'"']
        at = match.end()
    try:
        return decode(decoder, b"".join([*pieces, text[at:]])) if pieces else None
    except REFUSED:
        return None
