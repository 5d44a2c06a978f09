"""Long lists in a stream of JSON, decoded many elements at once.

Where to cut is guessed from the bytes that stand between two elements (:class:`Seam`), and the
guess cannot go wrong: the elements from the cursor to the cut are decoded as a list of their own,
which succeeds only if the cut lies between two elements of this very list. Where it fails, elements
are passed one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bigbench_meta.readers.formats.json_cursor import STRING_BODY, JsonCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["REFUSED", "WINDOW_BYTES", "JsonWindow", "Seam", "decode", "decode_quoting"]

# What is decoded at once should stay in the processor's cache until it is used.
WINDOW_BYTES: Final = 1 << 20
"""Default size of a window."""

T = TypeVar("T")

REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises on content that it does not take."""

# Below this, a refused batch is not tried in smaller pieces.
_LEAST_SPAN: Final = 1 << 15
_OPEN_LIST, _CLOSE_LIST = b"[]"
_KEY = b'"%b"' % STRING_BODY
_BETWEEN = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+\{[ \t\r\n]*+%b" % _KEY)
_LAST = re.compile(rb"[ \t\r\n]*+\][ \t\r\n]*+(?:,[ \t\r\n]*+%b|\})" % _KEY)
_SPECIAL = re.compile(rb'((?:[^"IN-]++|%b|-(?!I))*+)(-?Infinity|NaN)' % _KEY)


@dataclass
class Seam:
    """What is known, or guessed, of the lists of one kind in a document.

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


class JsonWindow(JsonCursor):
    """A cursor that also decodes as many elements of a list at once as its window holds.

    Examples:
        >>> from io import BytesIO
        >>> window = JsonWindow(BytesIO(b'[{"a": 1}, {"a": 2}, {"a": 3}]'), window_bytes=1000)
        >>> decoder, seam = msgspec.json.Decoder(list[dict[str, int]]), Seam()
        >>> [batch or window.take(99) for batch in window.elements(decoder, seam)]
        [b'{"a": 1}', [{'a': 2}], b'{"a": 3}']
    """

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
        """Look at what stands behind the element that was just passed."""
        if match := _BETWEEN.match(self._buffer, self._position, self._end):
            seam.between = b"}" + match.group()
        elif match := _LAST.match(self._buffer, self._position, self._end):
            seam.last = b"}" + match.group()


def decode(decoder: msgspec.json.Decoder[T], text: bytes | bytearray) -> T:
    """Decode JSON that must be UTF-8 throughout: decoders do not look at what they pass over.

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
