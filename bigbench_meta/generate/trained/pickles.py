"""Read a pickle of plain values and arrays of bytes without running anything in it.

:mod:`pickle` calls whatever a file names. Here the instructions of the file, which
:mod:`pickletools` decodes, are carried out by hand: they can build numbers, texts, lists, tuples
and dictionaries, and an array of bytes is recognised by the calls that numpy writes for it. Any
other name is refused, and nothing that a file names is ever imported or called.
"""

from __future__ import annotations

import pickletools
import struct
from typing import Any, Final, NamedTuple

import numpy as np

from bigbench_meta.core.errors import InputError

__all__ = ["plain_values"]

_MOST_STEPS: Final = 3_000_000
"""CIFAR-100's training file takes 250,000; every step may make an object."""

_VALUES: Final = {
    "BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG", "BINSTRING", "SHORT_BINSTRING",
    "STRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINFLOAT", "FLOAT",
}  # fmt: skip
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Final[dict[str, Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT: Final = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET: Final = {"GET", "BINGET", "LONG_BINGET"}
# numpy moved its modules: numpy.core until version 1, numpy._core since 2.
_ARRAY: Final = {"core.multiarray _reconstruct", "_core.multiarray _reconstruct"}
_BUFFER: Final = {"core.numeric _frombuffer", "_core.numeric _frombuffer"}
_BYTE: Final = {"u1", "|u1", "uint8"}
_DAMAGE: Final = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError,
    MemoryError,
)  # fmt: skip


class _Name(NamedTuple):
    """What a pickle would import."""

    name: str


class _Call:
    """What a pickle would call, and the state it would give to the result."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.arguments = arguments
        self.state: tuple[Any, ...] = ()


def plain_values(data: bytes) -> dict[str, Any]:
    """Return the dictionary that a pickle of protocol 0 to 5 holds.

    Args:
        data: The pickle.

    Returns:
        Its entries by name. Texts of Python 2 come as text, decoded as Latin-1, and arrays of
        bytes as uint8 arrays that cannot be written to.

    Raises:
        InputError: The pickle is damaged, names anything but arrays of bytes, or holds no
            dictionary with names as keys.

    Examples:
        >>> import pickle
        >>> plain_values(pickle.dumps({"labels": [3, 1]}, protocol=2))
        {'labels': [3, 1]}
    """
    try:
        found = _Machine().run(data)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"not a sound pickle: {type(error).__name__} {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"a pickle of a {type(found).__name__}, not of a dictionary")
    return {_text(key): _finished(value) for key, value in found.items()}


class _Machine:
    """The stack and the memory of a pickle's instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """Carry out the instructions and return the result."""
        for step, (code, value, _) in enumerate(pickletools.genops(data)):
            if step > _MOST_STEPS:
                raise InputError(f"a pickle of more than {_MOST_STEPS} steps")
            if code.name == "STOP":
                return self.stack.pop()
            self.do(code.name, value)
        raise InputError("a pickle without an end")

    def do(self, code: str, value: Any) -> None:
        """Carry out one instruction."""
        stack = self.stack
        if code in _VALUES:
            stack.append(value)
        elif code in _CONSTANTS:
            stack.append(_CONSTANTS[code])
        elif code in _PUT:
            self.memory[value] = stack[-1]
        elif code == "MEMOIZE":
            self.memory[len(self.memory)] = stack[-1]
        elif code in _GET:
            stack.append(self.memory[value])
        elif code == "MARK":
            self.marks.append(len(stack))
        elif code in _EMPTY:
            stack.append(_EMPTY[code]())
        elif code in _TUPLES:
            self.replace(_TUPLES[code], tuple)
        elif code not in {"PROTO", "FRAME"}:
            self.build(code, value)

    def build(self, code: str, value: Any) -> None:
        """Carry out an instruction that puts values together."""
        stack = self.stack
        if code in {"TUPLE", "LIST", "DICT"}:
            make = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}[code]
            self.replace(len(stack) - self.marks.pop(), make)
        elif code in {"APPEND", "APPENDS"}:
            items = self.taken(1 if code == "APPEND" else len(stack) - self.marks.pop())
            stack[-1].extend(items)
        elif code in {"SETITEM", "SETITEMS"}:
            items = self.taken(2 if code == "SETITEM" else len(stack) - self.marks.pop())
            stack[-1].update(_pairs(items))
        elif code in {"GLOBAL", "STACK_GLOBAL"}:
            stack.append(_Name(value or " ".join(self.taken(2))))
        elif code == "REDUCE":
            called, arguments = self.taken(2)
            stack.append(_call(called, arguments))
        elif code == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        else:
            raise InputError(f"a pickle with the instruction {code}, which data do not need")

    def taken(self, count: int) -> list[Any]:
        """Take values from the stack."""
        if not 0 <= count <= len(self.stack):
            raise InputError("a pickle that takes more values than it has")
        start = len(self.stack) - count
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def replace(self, count: int, make: Any) -> None:
        """Put values of the stack together."""
        self.stack.append(make(self.taken(count)))


def _pairs(values: list[Any]) -> dict[str, Any]:
    # Keys as text: a key of nested tuples takes for ever to hash.
    return {_text(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise InputError(f"a {type(value).__name__} where a name was expected")
    return value


def _call(called: Any, arguments: Any) -> Any:
    """Return what a call stands for, if it is one that an array of bytes needs."""
    if not isinstance(called, _Name) or not isinstance(arguments, tuple):
        raise InputError("a pickle that calls something other than numpy's arrays")
    name = called.name.removeprefix("numpy.").removeprefix("numpy ")
    if called.name == "_codecs encode":  # how Python 3 writes bytes for Python 2
        return arguments[0].encode("latin-1")
    if name in _ARRAY | _BUFFER | {"dtype"}:
        return _Call(name, arguments)
    raise InputError(f"refused: the pickle calls {called.name.replace(' ', '.')}")


def _finished(value: Any) -> Any:
    """Return a value, an array of bytes if it stands for one."""
    if isinstance(value, _Name):
        raise InputError(f"refused: the pickle names {value.name.replace(' ', '.')}")
    if not isinstance(value, _Call):
        return value
    if value.name in _BUFFER:
        content, kind, shape = value.arguments[:3]
        by_column = value.arguments[3] == "F"
    elif value.name in _ARRAY and len(value.state) == 5:
        _, shape, kind, by_column, content = value.state
    else:
        raise InputError("an array without content")
    if not isinstance(kind, _Call) or kind.name != "dtype" or kind.arguments[0] not in _BYTE:
        raise InputError("an array of another type than bytes (uint8)")
    if isinstance(content, str):  # a text of Python 2
        content = content.encode("latin-1")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_column else "C")
