"""Let the package ``inspect_ai`` read a log after checking that the log is safe.

Inspect's readers trust what they read, and a log comes from somewhere else. So what they get to see
is a copy that passed the checks here, in a private temporary folder.

- Of an ``.eval`` log, a zip archive, it is an archive written anew: with members that passed the
  checks, and with no compression left that could expand. Readers of zip files differ in what they
  make of an ambiguous one; this way what was checked is what is read.
- JSON is refused that ijson, the parser which Inspect streams it through, cannot bear. For each
  open bracket ijson holds the path that leads to it, so that memory grows with the square of the
  depth: half a megabyte of brackets fills any machine. The time that it takes grows with the square
  of the length of a text. An integer that Python does not convert ends the process. (All found by
  trial, ijson 3.5.) The check does not parse, and so is fast: it takes the strings out and looks at
  what is left.

Inspect prints, logs, warns and raises what it likes. Here it is quiet, and whatever it raises
becomes one :class:`LogFaultError` with a short message. The package is imported when the first log
is read, not before.
"""

from __future__ import annotations

import io
import logging
import re
import tempfile
import warnings
import zipfile
import zlib
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

__all__ = [
    "LogFaultError",
    "LogFile",
    "check_json",
    "head_of",
    "open_log",
    "read_header",
    "read_samples",
]

_MINIMUM: Final = (0, 3, 254)
"""The first version that reads all numbers and whose ``samples_df`` can skip fields."""

_INSTALL: Final = "python -m pip install 'bigbench-meta[inspect]'"
# Inspect takes a .json file for a log only if its name begins with a time.
_FILE_NAME: Final = "2000-01-01T00-00-00_task_log"
_LONGEST: Final = 200
# What a parser raises on unforeseen content; RecursionError is a RuntimeError.
_FAULTS: Final = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError,
    RuntimeError, OSError, MemoryError, pa.ArrowException,
)  # fmt: skip
# What is long in a sample and not used here. Inspect can skip it only in .eval logs.
_SKIPPED: Final = frozenset(
    {"messages", "events", "store", "attachments", "timelines", "metadata", "error_retries"}
)
# Where in a .json log stands what inspect_ai.log._recorders.json validates on its own.
_SECTIONS: Final = {
    "EvalSpec": ("eval",), "EvalPlan": ("plan",), "EvalResults": ("results",),
    "EvalStats": ("stats",), "EvalError": ("error",), "EvalSample": ("samples",),
}  # fmt: skip

# Of an .eval log.
_HEADERS: Final = ("header.json", "_journal/start.json")
_SAMPLES: Final = "samples/"
_ENCRYPTED: Final = 0x1
# Stored, deflate, Zstandard: what Inspect itself reads (inspect_ai._util.zip_common).
_METHODS: Final = {0, 8, 93}
_ARCHIVES: Final = (".zip", ".eval", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")
# zipfile asks for at least as many compressed bytes at once, and Zstandard expands all of them:
# by 2**15 at most, so that one step holds no more than 128 MiB.
_STEP: Final = 4096
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, OverflowError,
)  # fmt: skip

# Of JSON.
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


class LogFaultError(Exception):
    """Inspect, or the checks before it, found a log unusable.

    Attributes:
        where: Place in the log, empty for all of it.
        reason: What is wrong, in a line.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where}: {reason}")


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """A log that Inspect can read from disk.

    Attributes:
        members: The samples of an ``.eval`` log; None if the log is one JSON document.
    """

    members: Sequence[zipfile.ZipInfo] | None
    _archive: _EvalArchive | None
    _path: Path

    def write(self, members: Sequence[zipfile.ZipInfo]) -> str:
        """Return the path of a log with some samples alone; of a JSON document, with all.

        Raises:
            LogFaultError: A member is damaged, or there is no room for it.
        """
        if self._archive is None:
            return str(self._path)
        with _own_faults():
            header = {info.filename: self._archive.read(info) for info in self._archive.headers}
            named = enumerate(members)
            samples = {f"samples/{number}.json": self._archive.read(info) for number, info in named}
            for content in (header | samples).values():
                check_json(content)
            _write_eval(self._path, header | samples)
        return str(self._path)


@contextmanager
def open_log(data: bytes, name: str, *, max_bytes: int) -> Iterator[LogFile]:
    """Make a log ready to be read, in a folder that goes away afterwards.

    Args:
        data: The file's content: an ``.eval`` log as it is on disk, or JSON.
        name: Its name; the ending says which of them.
        max_bytes: How much the members of an ``.eval`` log may expand to.

    Yields:
        The log.

    Raises:
        LogFaultError: ``inspect_ai`` is missing or too old, or the archive is refused.
    """
    _check_version()
    with tempfile.TemporaryDirectory(prefix="bigbench-meta-") as folder:
        path = Path(folder, _FILE_NAME)
        if not name.lower().endswith(".eval"):
            path = path.with_name(f"{path.name}.json")
            with _own_faults():
                check_json(head_of(data))
                path.write_bytes(data.removeprefix(b"\xef\xbb\xbf"))
            yield LogFile(members=None, _archive=None, _path=path)
            return
        with _own_faults():
            archive = _open_eval(data, max_bytes=max_bytes)
        if not archive.headers:
            raise LogFaultError("header.json", "missing: not a log of Inspect")
        path = path.with_name(f"{path.name}.eval")
        yield LogFile(members=archive.samples, _archive=archive, _path=path)


def read_header(file: LogFile, columns: Callable[[Any], list[Any]]) -> dict[str, Any]:
    """Return the content of a log other than its samples.

    Args:
        file: The log.
        columns: Makes the columns to read, given the module ``inspect_ai.analysis``.

    Returns:
        The value of each column, None where the log has none.

    Raises:
        LogFaultError: The log cannot be read.
    """
    path = file.write([])
    with _silence(), _faults(path):
        analysis = import_module("inspect_ai.analysis")
        frame, errors = analysis.evals_df(path, columns(analysis), strict=False, quiet=True)
    _raise_first(errors)
    if frame.empty:
        raise LogFaultError("", "inspect_ai does not recognise it as a log")
    return {str(name): _plain(frame[name].iloc[0]) for name in frame.columns}


def read_samples(
    file: LogFile, members: Sequence[zipfile.ZipInfo], columns: Callable[[Any], list[Any]]
) -> pd.DataFrame:
    """Return samples of a log, one row each.

    Args:
        file: The log.
        members: Which; a log that is one JSON document gives all.
        columns: Makes the columns to read, given the module ``inspect_ai.analysis``.

    Returns:
        A frame with the columns.

    Raises:
        LogFaultError: One of the samples cannot be read.
    """
    path = file.write(members)
    with _silence(), _faults(path):
        analysis = import_module("inspect_ai.analysis")
        frame, errors = analysis.samples_df(
            path, columns(analysis), strict=False, quiet=True, exclude_fields=set(_SKIPPED)
        )
    _raise_first(errors)
    found: pd.DataFrame = frame
    return found


def _check_version() -> None:
    try:
        version = metadata.version("inspect-ai")
        with _silence():
            import_module("inspect_ai.analysis")
    except metadata.PackageNotFoundError as error:
        raise LogFaultError("", f"the package inspect-ai is not installed: {_INSTALL}") from error
    except ImportError as error:
        reason = f"the package inspect-ai cannot be imported ({_line(error)}): {_INSTALL}"
        raise LogFaultError("", reason) from error
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < _MINIMUM:
        least = ".".join(map(str, _MINIMUM))
        reason = f"needs inspect-ai {least} or later, found {shown(version)}: {_INSTALL}"
        raise LogFaultError("", reason)


def _raise_first(errors: Sequence[Any]) -> None:
    for error in errors:
        raise LogFaultError(shown(str(error.path or error.column)), _line(error.error))


def _plain(value: Any) -> Any:
    import pandas as pd

    return None if pd.isna(value) else value


@contextmanager
def _silence() -> Iterator[None]:
    # Without a handler of its own or of the user's, a library's warnings go to the terminal.
    logger, handler = logging.getLogger("inspect_ai"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _own_faults() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise LogFaultError("", error.message) from error
    except OSError as error:
        raise LogFaultError("", f"cannot be copied for Inspect: {error.strerror}") from error


@contextmanager
def _faults(path: str) -> Iterator[None]:
    try:
        yield
    except (*_FAULTS, import_module("ijson").JSONError) as error:
        # "Unable to read log file: <path>" says less than what it was raised from.
        cause = error.__cause__ or error
        if isinstance(cause, import_module("pydantic").ValidationError):
            raise _validation_fault(cause) from error
        raise LogFaultError("", _line(cause, path)) from error


def _validation_fault(error: Any) -> LogFaultError:
    """Return the first of the faults that pydantic lists."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(map(str, (*_SECTIONS.get(error.title, ()), *faults[0]["loc"])))
    others = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return LogFaultError(_short(where), _short(faults[0]["msg"]) + others)


def _line(error: BaseException, path: str = "\n") -> str:
    """Return an error's message as one line, without the path of the temporary file."""
    # ijson passes on its C library's message about invalid UTF-8 as bytes.
    said = error.args[0] if len(error.args) == 1 else str(error)
    said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)
    text = next((line.strip() for line in said.splitlines() if line.strip()), "")
    text = text.replace(f"file://{path}", "the log").replace(path, "the log")
    if isinstance(error, ValueError | ImportError) and text:
        return _short(text)
    return _short(f"inspect_ai raised {type(error).__name__}: {text}".rstrip(": "))


def _short(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


@dataclass(frozen=True, kw_only=True)
class _EvalArchive:
    """An archive that passed the checks.

    Attributes:
        headers: The members that say what was evaluated; none if it is no log.
        samples: The members that hold one sample each, in the order of the archive.
    """

    headers: list[zipfile.ZipInfo]
    samples: list[zipfile.ZipInfo]
    _archive: zipfile.ZipFile

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """Return the content of a member.

        Raises:
            InputError: It is damaged.
        """
        with _damage_refused(), self._archive.open(member) as stream:
            # zipfile hands out no more than the size that the archive declares, and compares the
            # checksum of that: a member that is larger than it says is a damaged one.
            return b"".join(iter(lambda: stream.read(_STEP), b""))


def _open_eval(data: bytes, *, max_bytes: int) -> _EvalArchive:
    """Open an ``.eval`` log, if it can do no harm.

    Inspect appends what replaces a member under the same name: the last one counts.

    Args:
        data: The file's content.
        max_bytes: How much all members together may expand to.

    Returns:
        The archive.

    Raises:
        InputError: It is damaged, encrypted, compressed in another way than Inspect's, holds an
            archive or a name that points outside, or expands to too much.
    """
    with _damage_refused():
        archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    if sum(member.file_size for member in members) > max_bytes:
        raise InputError(f"the archive expands to more than {max_bytes} bytes (--max-bytes)")
    for member in members:
        _check_member(member)
    last = {member.filename: member for member in members}
    return _EvalArchive(
        headers=[last[name] for name in _HEADERS if name in last],
        samples=[last[name] for name in last if _is_sample(name)],
        _archive=archive,
    )


def _write_eval(path: Path, members: dict[str, bytes]) -> None:
    """Write an archive without compression.

    Args:
        path: Where to.
        members: Content by name.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _is_sample(name: str) -> bool:
    return name.startswith(_SAMPLES) and name.endswith(".json")


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename
    windows = PureWindowsPath(name)
    outside = PurePosixPath(name).is_absolute() or windows.drive or windows.root
    if outside or ".." in windows.parts:
        raise InputError(f"refused: the name {name!r} points outside the archive")
    if name.lower().endswith(_ARCHIVES):
        raise InputError(f"refused: {name!r} is an archive in the archive")
    if member.flag_bits & _ENCRYPTED:
        raise InputError(f"refused: {name!r} is encrypted")
    if member.compress_type not in _METHODS:
        raise InputError(
            f"refused: {name!r} is compressed by method {member.compress_type}, "
            "which Inspect does not use"
        )


@contextmanager
def _damage_refused() -> Iterator[None]:
    # Inspect brings it, and teaches zipfile to use it.
    zstandard = import_module("zstandard")
    try:
        yield
    except (*_DAMAGE, zstandard.ZstdError) as error:
        raise InputError(f"not a valid zip archive: {shown(str(error))}") from error


def check_json(data: bytes) -> None:
    """Refuse JSON that is not safe for Inspect to read.

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
