"""A folder of results: what a run wrote into it, from what, and what the next run may replace.

Beside its results a run leaves a record (``run.json``). A file is the program's own while its bytes
are those that a record in the folder says; every other file is somebody's, and is never lost.
"""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest
from importlib.metadata import version
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import uuid4

import msgspec
from xxhash import xxh3_128, xxh3_128_hexdigest

from bigbench_meta import __version__
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Digests = dict[str, set[str]]

__all__ = ["Run", "digest_of_file", "prepare_folder", "write_files", "write_whole"]

_PROGRAM: Final = "bigbench-meta"
_SEAL: Final = "xxh3_128"
_CHANGED: Final = "was changed after this program wrote it"
_FOREIGN: Final = "would be overwritten, and this program did not write it"
_NO_RECORD: Final = "would be overwritten, and is not a record of an earlier run of this program"
# What numbers and figures are computed with.
_PACKAGES: Final = ("altair", "numpy", "pandas", "pyarrow", "scipy", "statsmodels")


class _Output(msgspec.Struct):
    # Below the folder: a record that came from elsewhere leads to no other place.
    path: Annotated[str, msgspec.Meta(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
    xxh3_128: str


class _Document(msgspec.Struct):
    program: Literal["bigbench-meta"]
    outputs: list[_Output]
    replaces: list[_Output] = []


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command was asked to do and what it read, for its record.

    Attributes:
        command: Its name, such as ``analyze`` or ``generate lenet``.
        line: The whole command line.
        options: Its options, given or by default, as JSON takes them.
        inputs: The files that it read, each with the XXH3-128 digest of its bytes in hexadecimal;
            None for one that could not be read.
    """

    command: str
    line: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | None] = field(default_factory=dict)

    def document(self, outputs: Mapping[str, str], replaces: Digests) -> str:
        """Return the record.

        Args:
            outputs: Digest of each file that the run writes, by its path in the folder.
            replaces: Digests of files of earlier runs that may still lie there; none once all
                files are written.
        """
        document = {
            "program": _PROGRAM,
            "command": self.line or self.command,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                _PROGRAM: __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in _PACKAGES},
            },
            "seed": self.options.get("seed"),
            "options": dict(self.options),
            "inputs": [{"path": path, "xxh3_128": value} for path, value in self.inputs.items()],
            "outputs": [{"path": path, "xxh3_128": value} for path, value in outputs.items()],
        }
        if replaces:
            document["replaces"] = [
                {"path": path, "xxh3_128": value}
                for path, values in replaces.items()
                for value in sorted(values)
            ]
        return _sealed(document)


def _sealed(document: dict[str, Any]) -> str:
    """Return a record as text, with the digest of what it would be without it."""
    digest = xxh3_128_hexdigest(json.dumps(document).encode())
    return json.dumps({**document, _SEAL: digest}, indent=1, ensure_ascii=False) + "\n"


def prepare_folder(folder: Path, command: str, *, sure: str = "") -> None:
    """Make a folder to write into, before the work whose results it is for.

    Args:
        folder: The folder.
        command: The command that will write into it.
        sure: A file that it is sure to write.

    Raises:
        InputError: It cannot be made or written to; somebody changed a file that the command wrote
            there earlier, or the file that it is sure to write is somebody else's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}", where=str(folder)
        ) from error
    for name, digests in _recorded(folder / _record(command)).items():
        if _current(folder / name) not in {None, *digests}:
            raise _refusal(folder / name, _CHANGED)
    if sure:
        _refuse_foreign(folder, {sure: "not known yet"}, _records_in(folder))


def write_files(
    folder: Path,
    contents: Mapping[str, str | bytes],
    run: Run,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the results of a run into a folder, in place of those of its command's earlier run.

    Files that the command wrote there earlier and does not write now are deleted; what others put
    there stays. A run that is stopped meanwhile leaves every file old or new, and the next run may
    replace both.

    Args:
        folder: Where to, made if need be.
        contents: Contents by path below the folder; texts are written in UTF-8.
        run: What the command was asked to do and what it read.
        progress: Called with (files written, files to write).

    Returns:
        The files written. The last is the record: ``run.json`` of ``analyze``,
        ``run_<command>.json`` of other commands.

    Raises:
        InputError: A file cannot be written, or would replace one that this program did not write.
            In the second case nothing is changed.
    """
    data = {name: text.encode() if isinstance(text, str) else text for name, text in
            contents.items()}  # fmt: skip
    outputs = {name: xxh3_128_hexdigest(content) for name, content in data.items()}
    record = folder / _record(run.command)
    earlier, others = _recorded(record), _records_in(folder, without=record)
    _refuse_foreign(folder, outputs, earlier, others)
    write_whole(record, run.document(outputs, earlier).encode())
    for name in earlier.keys() - outputs.keys():
        if _current(folder / name) in earlier[name] - others.get(name, set()):
            _delete(folder, name)
    written = []
    for name, content in data.items():
        write_whole(folder / name, content)
        written.append(folder / name)
        if progress:
            progress(len(written), len(data))
    write_whole(record, run.document(outputs, {}).encode())
    return [*written, record]


def digest_of_file(path: Path) -> str:
    """Return the XXH3-128 digest of a file's bytes, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as content:
        return file_digest(content, xxh3_128).hexdigest()


def _record(command: str) -> str:
    return "run.json" if command == "analyze" else f"run_{command.replace(' ', '_')}.json"


def _recorded(record: Path) -> Digests:
    """Return the digests of the files that a record names, by path; none without a record."""
    try:
        if not S_ISREG(record.stat().st_mode):
            raise _refusal(record, _NO_RECORD)
        content = json.loads(record.read_bytes())
        document = msgspec.convert(content, _Document)
        seal = content.pop(_SEAL)
        is_sealed = seal == xxh3_128_hexdigest(json.dumps(content).encode())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(record)) from error
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError) as error:
        raise _refusal(record, _NO_RECORD) from error
    if not is_sealed:
        raise _refusal(record, _CHANGED)
    found: Digests = {}
    for entry in (*document.outputs, *document.replaces):
        found.setdefault(entry.path, set()).add(entry.xxh3_128)
    return found


def _records_in(folder: Path, *, without: Path | None = None) -> Digests:
    """Return the digests of the files that the commands' records in a folder name."""
    found: Digests = {}
    for record in {folder / "run.json", *folder.glob("run_*.json")} - {without}:
        with suppress(InputError):  # somebody else's file of such a name records nothing
            for name, digests in _recorded(record).items():
                found.setdefault(name, set()).update(digests)
    return found


def _refuse_foreign(folder: Path, outputs: Mapping[str, str], *own: Digests) -> None:
    for name, digest in outputs.items():
        known = {None, digest}.union(*(digests.get(name, ()) for digests in own))
        if _current(folder / name) not in known:
            raise _refusal(folder / name, _FOREIGN)


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(reason, where=str(path), hint="move it, or name another folder")


def _current(path: Path) -> str | None:
    """Return the digest of a file as it is now, None if there is none, "" of what is no file."""
    try:
        # A pipe would be waited for, and a device read without end.
        return digest_of_file(path) if S_ISREG(path.stat().st_mode) else ""
    except FileNotFoundError:
        return "" if path.is_symlink() else None
    except NotADirectoryError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is the old one or the new one, whatever happens meanwhile.

    Raises:
        InputError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error


def _delete(folder: Path, name: str) -> None:
    """Delete a file, and the folders that it leaves empty."""
    path = folder / name
    try:
        path.unlink()
        for above in path.relative_to(folder).parents[:-1]:
            if any((folder / above).iterdir()):
                break
            (folder / above).rmdir()
    except OSError as error:
        raise InputError(
            f"cannot be deleted: {error.strerror or error}", where=str(path)
        ) from error
