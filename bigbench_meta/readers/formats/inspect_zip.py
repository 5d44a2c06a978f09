"""Checks the zip archive that an ``.eval`` log is, and writes parts of it anew.

An ``.eval`` file comes from somewhere else, and Inspect's own reader trusts it. So Inspect never
gets to see it, only an archive with members that passed the checks here, and with no compression
left that could expand. Readers of zip files differ in what they make of an ambiguous one; this way
what was checked is what is read.
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["EvalArchive", "open_eval", "write_eval"]

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


@dataclass(frozen=True, kw_only=True)
class EvalArchive:
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
        with _damage_told(), self._archive.open(member) as stream:
            # zipfile hands out no more than the size that the archive declares, and compares the
            # checksum of that: a member that is larger than it says is a damaged one.
            return b"".join(iter(lambda: stream.read(_STEP), b""))


def open_eval(data: bytes, *, max_bytes: int) -> EvalArchive:
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
    with _damage_told():
        archive = zipfile.ZipFile(BytesIO(data))
    members = archive.infolist()
    if sum(member.file_size for member in members) > max_bytes:
        raise InputError(f"the archive expands to more than {max_bytes} bytes (--max-bytes)")
    for member in members:
        _check(member)
    last = {member.filename: member for member in members}
    return EvalArchive(
        headers=[last[name] for name in _HEADERS if name in last],
        samples=[last[name] for name in last if _is_sample(name)],
        _archive=archive,
    )


def write_eval(path: Path, members: dict[str, bytes]) -> None:
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


def _check(member: zipfile.ZipInfo) -> None:
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
def _damage_told() -> Iterator[None]:
    # Inspect brings it, and teaches zipfile to use it.
    zstandard = import_module("zstandard")
    try:
        yield
    except (*_DAMAGE, zstandard.ZstdError) as error:
        raise InputError(f"no sound zip archive: {shown(str(error))}") from error
