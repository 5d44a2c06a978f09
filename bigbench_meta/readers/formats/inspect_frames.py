"""Has the package ``inspect_ai`` read a log, through its own dataframe functions.

Inspect reads from paths, prints, logs, warns and raises what it likes. Here it reads from a private
temporary folder, and is quiet; whatever it raises becomes one :class:`LogFaultError` with a short
message. The package is imported when the first log is read, not before.
"""

from __future__ import annotations

import io
import logging
import re
import tempfile
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import shown
from bigbench_meta.readers.formats.inspect_json import check_json, head_of
from bigbench_meta.readers.formats.inspect_zip import EvalArchive, open_eval, write_eval

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

__all__ = ["LogFaultError", "LogFile", "open_log", "read_header", "read_samples"]

_MINIMUM: Final = (0, 3, 254)
"""The first version that reads all numbers, where ``samples_df`` passes over fields, too."""

_INSTALL: Final = "python -m pip install 'bigbench-meta[inspect]'"
# Inspect takes a .json file for a log only if its name begins with a time.
_FILE_NAME: Final = "2000-01-01T00-00-00_task_log"
_LONGEST: Final = 200
# What a parser raises on content that nobody thought of; RecursionError is a RuntimeError.
_FAULTS: Final = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError,
    RuntimeError, OSError, MemoryError, pa.ArrowException,
)  # fmt: skip
# What is long in a sample and not used here. Inspect can pass over it in .eval logs alone.
_PASSED_OVER: Final = frozenset(
    {"messages", "events", "store", "attachments", "timelines", "metadata", "error_retries"}
)
# Where in a .json log stands what inspect_ai.log._recorders.json validates on its own.
_SECTIONS: Final = {
    "EvalSpec": ("eval",), "EvalPlan": ("plan",), "EvalResults": ("results",),
    "EvalStats": ("stats",), "EvalError": ("error",), "EvalSample": ("samples",),
}  # fmt: skip


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
    _archive: EvalArchive | None
    _path: Path

    def write(self, members: Sequence[zipfile.ZipInfo]) -> str:
        """Return the path of a log with some samples alone; of a JSON document, with all.

        Raises:
            LogFaultError: A member is damaged, or there is no room for it.
        """
        if self._archive is None:
            return str(self._path)
        with _told():
            header = {info.filename: self._archive.read(info) for info in self._archive.headers}
            named = enumerate(members)
            samples = {f"samples/{number}.json": self._archive.read(info) for number, info in named}
            for content in (header | samples).values():
                check_json(content)
            write_eval(self._path, header | samples)
        return str(self._path)


@contextmanager
def open_log(data: bytes, name: str, *, max_bytes: int) -> Iterator[LogFile]:
    """Make a log ready to be read, in a folder that goes away afterwards.

    Args:
        data: The file's content: an ``.eval`` log as it is on disk, or JSON.
        name: Its name; the ending tells which of them.
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
            with _told():
                check_json(head_of(data))
                path.write_bytes(data.removeprefix(b"\xef\xbb\xbf"))
            yield LogFile(members=None, _archive=None, _path=path)
            return
        with _told():
            archive = open_eval(data, max_bytes=max_bytes)
        if not archive.headers:
            raise LogFaultError("header.json", "missing: no log of Inspect")
        path = path.with_name(f"{path.name}.eval")
        yield LogFile(members=archive.samples, _archive=archive, _path=path)


def read_header(file: LogFile, columns: Callable[[Any], list[Any]]) -> dict[str, Any]:
    """Return what a log says beside its samples.

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
        raise LogFaultError("", "inspect_ai takes it for no log")
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
            path, columns(analysis), strict=False, quiet=True, exclude_fields=set(_PASSED_OVER)
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
def _told() -> Iterator[None]:
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
    """Return what an error says, in a line without the path of the temporary file."""
    # ijson hands on what its C library says of a place that is not UTF-8 as bytes.
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
