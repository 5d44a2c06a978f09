"""Refuses JSON that the parser which Inspect streams it through cannot bear.

That parser is ijson. For each open bracket it holds the path that leads to it, so that memory grows
with the square of the depth: half a megabyte of brackets fills any machine. The time that it takes
grows with the square of the length of a text. An integer that Python does not convert ends the
process. (All found by trial, ijson 3.5.) What is done here does not parse, and so is fast: it takes
the strings out and looks at what is left.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from bigbench_meta.core.errors import InputError

__all__ = ["check_json", "head_of"]

# pydantic-core, with which Inspect writes its logs, cannot write more.
_DEEPEST: Final = 254
# Real logs stay below. Paths that are no deeper cannot be many times as long as the document.
_USUAL: Final = 32
_MOST_PATH_BYTES: Final = 1 << 28
# The least that the limit to what Python converts can be set to (sys.set_int_max_str_digits).
_MOST_DIGITS: Final = 640
# Possessive, so that nothing is kept to go back to; and a string without an end reaches to that of
# the text, so that no second attempt is made from within it.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"(\s*+:)?|\\?\Z)', re.DOTALL)
_LONG: Final = re.compile(rb"(?<![0-9])[0-9]{%d}" % (_MOST_DIGITS + 1))
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_PIECE: Final = 1 << 20
# It reads 64 KiB at once, and goes through all of them before it hands on what it has found.
_AHEAD: Final = 1 << 20
# Takes ijson ten seconds.
_LONGEST_TEXT: Final = 1 << 26


def check_json(data: bytes) -> None:
    """Refuse JSON that Inspect had better not see.

    Args:
        data: The JSON, which need not be sound.

    Raises:
        InputError: It is nested more deeply than Inspect writes, its paths would fill the memory,
            a number has too many digits, or a text is too long.

    Examples:
        >>> check_json(b'{"a": [[1]], "b": "[[["}')
        >>> check_json(b"[" * 1000)
        Traceback (most recent call last):
        ...
        bigbench_meta.core.errors.InputError: nested deeper than 254, more than Inspect writes
    """
    structure = _STRING.sub(b"", data)
    if _LONG.search(structure):
        raise InputError(f"a number of more than {_MOST_DIGITS} digits")
    depth = _depth(structure)
    if depth > _DEEPEST:
        raise InputError(f"nested deeper than {_DEEPEST}, more than Inspect writes")
    if depth > _USUAL and depth**2 * _longest(data, keys=True) > _MOST_PATH_BYTES:
        raise InputError(f"nested {depth} deep, with keys too long for that")
    if len(data) > _LONGEST_TEXT and _longest(data) > _LONGEST_TEXT:
        raise InputError(f"a text of more than {_LONGEST_TEXT} bytes")


def head_of(data: bytes) -> bytes:
    """Return what stands before the samples of a log: all that is streamed of a JSON document.

    Args:
        data: The document.

    Returns:
        Its beginning, with what ijson has read ahead when it comes to the samples.
    """
    depth = end = 0
    most = len(data)
    for found in _STRING.finditer(data):
        start = found.start()
        if start > most:
            return data[:start]
        depth += data.count(b"{", end, start) + data.count(b"[", end, start)
        depth -= data.count(b"}", end, start) + data.count(b"]", end, start)
        if depth == 1 and found[1] and found[0].startswith(b'"samples"'):
            most = min(most, start + _AHEAD)
        end = found.end()
    return data


def _longest(data: bytes, *, keys: bool = False) -> int:
    """Return the length of the longest string, or the longest key."""
    texts = (found for found in _STRING.finditer(data) if found[1] or not keys)
    return max((found.end() - found.start() for found in texts), default=0)


def _depth(structure: bytes) -> int:
    """Return how many brackets are open at once; no more than a piece beyond what is refused."""
    steps = structure.translate(_STEPS, _OTHERS)
    deepest = depth = 0
    for start in range(0, len(steps), _PIECE):
        piece = np.frombuffer(steps[start : start + _PIECE], np.int8)
        course = depth + np.cumsum(piece, dtype=np.int64)
        deepest, depth = max(deepest, int(course.max())), int(course[-1])
        if deepest > _DEEPEST:
            break
    return deepest
