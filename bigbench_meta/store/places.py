"""Where a store lies: a folder of this machine, or one of a bucket (``s3://bucket/folder``).

All that differs between the two is here. In both, Parquet files are never changed, and the manifest
that names them is put in place in one step.

A folder has a lock and a single ``manifest.json``. A bucket has no locks, but most can create an
object only if it does not exist. So its manifests are numbered, and the largest number is the state
of the store. Whoever writes makes the next one, and if another process was first, works out its
changes again from what that one wrote. Nobody waits for a process that was killed.

What no manifest names may belong to a process that is about to name it, and what the manifest
before the newest names may be being read. In a bucket nobody can know, so both stay for a day.

The Parquet files of a bucket are read from a mirror, a folder in this user's cache, into which each
is fetched once. As their names end with the digest of their content, none of them is ever outdated.
"""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import filelock
import platformdirs
from xxhash import xxh3_128_hexdigest

from bigbench_meta.core.errors import InputError, StoreError
from bigbench_meta.core.text import counted
from bigbench_meta.readers.detect import OF_A_STORE, newest_manifest
from bigbench_meta.readers.remote import changed_at, holds_folders, reaching, url_system
from bigbench_meta.readers.sources import is_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    File = tuple[str, str]
    """Kind and name of a Parquet file."""

__all__ = ["Bucket", "Folder", "Place", "place_of"]

_KINDS: Final = ("observations", "samples", "problems", "files")
_MANIFEST: Final = "manifest.json"
# What is not named is kept for so long in a bucket and its mirror.
_KEPT: Final = timedelta(days=1)
_AT_ONCE: Final = 8
# What pathlib makes of a URL.
_CUT_URL: Final = re.compile(r"\w{2,}:/(?!/)")
# How a server says that an object is there, or that another process is just making it.
_TAKEN: Final = {409, 412}


@dataclass(frozen=True)
class Folder:
    """A folder of this machine.

    Attributes:
        path: The folder.
    """

    path: Path

    def absolute(self) -> Folder:
        """Return the same place for processes with another working folder."""
        return Folder(self.path.absolute())

    def named(self, name: str) -> str:
        """Return what messages call a file."""
        return str(self.path / name)

    def holds_other(self) -> bool:
        """Return whether something lies where no store is.

        Raises:
            StoreError: It is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StoreError("is a file, not a store", where=str(self.path))
        # A store's folder holds a manifest from the first; hidden files are the system's.
        return any(self.path.glob("[!.]*"))

    def newest(self) -> tuple[str, bytes]:
        """Return name and content of the newest manifest, both empty if there is none.

        Raises:
            StoreError: It cannot be read.
        """
        content = self.read(_MANIFEST) if is_store(self.path) else None
        return ("", b"") if content is None else (_MANIFEST, content)

    def commit(self, content: bytes, after: str, files: Collection[File]) -> str:  # noqa: ARG002
        """Write the manifest that comes after another, in one step.

        Args:
            content: The manifest.
            after: Name of the one that it replaces, empty for the first.
            files: What it names.

        Returns:
            Its name, empty if another process has replaced that one before.
        """
        self.write(_MANIFEST, content)
        return _MANIFEST

    def missing(self, files: Iterable[File]) -> list[str]:
        """Return the names of Parquet files that are known to be missing."""
        return [path.name for file in files if not (path := self.at(*file)).exists()]

    def at(self, kind: str, name: str) -> Path:
        """Return the path of a Parquet file on this machine, there or not."""
        return self.path / kind / f"{name}.parquet"

    def fetch(self, files: Iterable[File], *, anew: bool = False) -> None:
        """Bring Parquet files to this machine.

        Args:
            files: The files.
            anew: Whether to fetch again what is there.
        """

    def add(self, draft: Path, kind: str, name: str) -> None:
        """Put a new Parquet file in place."""
        draft.replace(self.at(kind, name))

    def read(self, name: str) -> bytes | None:
        """Return the content of another file of the store, None if there is none.

        Raises:
            StoreError: It cannot be read.
        """
        path = self.path / name
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise StoreError(f"damaged: {error}", where=str(path)) from error

    def write(self, name: str, content: bytes) -> None:
        """Put another file of the store in place, complete and on disk.

        Raises:
            StoreError: It cannot be written.
        """
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except PermissionError as error:
            raise StoreError("cannot be written: permission denied", where=str(path)) from error

    def sweep(self, files: Collection[File]) -> None:
        """Delete what killed ingests left and what was replaced.

        Only in a folder that holds a manifest, and only files under names that this program gives;
        whatever else somebody keeps in the folder stays.

        Args:
            files: The Parquet files that the manifest names.
        """
        if not (self.path / _MANIFEST).exists():
            return
        _sweep(self.path, files)
        for path in self.path.glob(f".{_MANIFEST}.*.tmp"):
            if path.suffixes[-2][1:].isdecimal() and path.is_file():
                path.unlink(missing_ok=True)

    def tidy(self, files: Collection[File]) -> None:
        """Delete copies of files that are not named: there are none."""

    @contextmanager
    def locked(self, wait: float) -> Iterator[None]:
        """Keep other processes from writing meanwhile; a killed one holds no lock.

        Args:
            wait: Seconds to wait for another process.

        Raises:
            StoreError: Another process writes for longer, or nothing can be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot be written: {error.strerror}", where=str(self.path)
            ) from error
        lock = filelock.FileLock(self.path / ".lock", timeout=wait)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StoreError(
                f"another process has been writing to it for at least {wait:g} seconds",
                where=str(self.path),
                hint="wait until it is done, then run this again: nothing is lost",
            ) from error
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(f"cannot be written: {reason}", where=str(self.path)) from error
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True)
class Bucket:
    """A folder of a bucket. Its methods are those of :class:`Folder`, and all raise StoreErrors.

    Attributes:
        path: Its URL.
    """

    path: str

    def absolute(self) -> Bucket:
        """Return the same place for processes with another working folder."""
        return self

    def named(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self.path}/{name}"

    @contextmanager
    def _system(self) -> Iterator[tuple[Any, str]]:
        """Give the file system and the folder's path in it; made anew in each process."""
        with reaching(self.path, StoreError):
            yield url_system(self.path)

    @property
    def _mirror(self) -> Path:
        cache = platformdirs.user_cache_path("bigbench-meta")
        return cache / "stores" / xxh3_128_hexdigest(self.path.encode())

    def _list(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Return what is known of the objects, or those that begin so, by name."""
        with self._system() as (system, root):
            found = system.find(root, prefix=prefix, detail=True)
        return {name.removeprefix(f"{root}/"): info for name, info in found.items()}

    def holds_other(self) -> bool:
        """Return whether something lies where no store is."""
        with self._system() as (system, root):
            try:
                found = system.ls(root, detail=False)
            except FileNotFoundError:
                return False
            # A folder that was made by hand is an object of its own.
            return any(name.strip("/") != root for name in found)

    def newest(self) -> tuple[str, bytes]:
        """Return name and content of the newest manifest, both empty if there is none."""
        while name := newest_manifest(self._list("manifest")):
            if (content := self.read(name)) is not None:
                return name, content
        return "", b""

    def commit(self, content: bytes, after: str, files: Collection[File]) -> str:
        """Create the manifest that comes after another, if none does yet.

        Raises:
            InputError: The server cannot create an object only if there is none of its name.
            StoreError: Files were deleted before this process, which stood still for more than a
                day, could name them.
        """
        # Of old manifests only the newest is left: the next number may have been there and gone.
        there = self._list()
        if newest_manifest(there) != after:
            return ""
        if lost := [file for file in files if _object(*file) not in there]:
            raise StoreError(
                f"damaged: {counted(len(lost), 'file')} missing, {lost[0][1]} among them",
                where=self.path,
            )
        number = int("".join(filter(str.isdecimal, after)) or 0) + 1
        name = f"manifest-{number:09}.json"
        if not self._create(name, content) and self.read(name) != content:
            return ""
        if number == 1 and self._create(name, content):
            with self._system() as (system, root):
                system.rm_file(f"{root}/{name}")
            raise InputError(
                "the server writes over an object that it was told only to create (If-None-Match), "
                "so one of two processes that write at once could lose what it writes",
                where=self.path,
                hint="use a server with conditional writes, such as Amazon S3 or MinIO",
            )
        return name

    def _create(self, name: str, content: bytes) -> bool:
        """Create an object and return True, or False if there is one of its name."""
        with self._system() as (system, root):
            try:
                system.pipe_file(f"{root}/{name}", content, mode="create")
            except Exception as error:
                response = getattr(error.__cause__, "response", {})
                status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if isinstance(error, FileExistsError) or status in _TAKEN:
                    return False
                raise
        return True

    def missing(self, files: Iterable[File]) -> list[str]:  # noqa: ARG002
        """Return nothing: what is missing is found when it is fetched."""
        return []

    def at(self, kind: str, name: str) -> Path:
        """Return the path of a Parquet file in the mirror, fetched or not."""
        return self._mirror / kind / f"{name}.parquet"

    def fetch(self, files: Iterable[File], *, anew: bool = False) -> None:
        """Bring Parquet files into the mirror, several at once."""
        wanted = [file for file in files if anew or not self.at(*file).exists()]
        if len(wanted) == 1:
            self._fetch(wanted[0])
        elif wanted:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._fetch, wanted))

    def _fetch(self, file: File) -> None:
        path = self.at(*file)
        draft = path.with_name(f"{uuid4().hex}.parquet")
        with self._system() as (system, root), _kept(draft):
            try:
                system.get_file(f"{root}/{_object(*file)}", str(draft))
            except FileNotFoundError as error:
                raise StoreError(f"damaged: {path.name} is missing", where=self.path) from error
            draft.replace(path)

    def add(self, draft: Path, kind: str, name: str) -> None:
        """Upload a new Parquet file, and keep it in the mirror."""
        with self._system() as (system, root), _kept(draft):
            system.put_file(str(draft), f"{root}/{_object(kind, name)}")
            draft.replace(self.at(kind, name))

    def read(self, name: str) -> bytes | None:
        """Return the content of another object of the store, None if there is none."""
        with self._system() as (system, root):
            try:
                return bytes(system.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Put another object of the store in place."""
        with self._system() as (system, root):
            system.pipe_file(f"{root}/{name}", content)

    def sweep(self, files: Collection[File]) -> None:
        """Delete what no manifest names, and old manifests, a day after they were written.

        Time is the server's: a day before the newest object.
        """
        there = self._list()
        times = {name: changed for name, info in there.items() if (changed := changed_at(info))}
        named = {_object(*file) for file in files} | {newest_manifest(there)}
        old = [
            name
            for name, changed in times.items()
            if name not in named and changed < max(times.values()) - _KEPT and _is_own(name)
        ]
        if old:
            with self._system() as (system, root):
                system.rm([f"{root}/{name}" for name in old])

    def tidy(self, files: Collection[File]) -> None:
        """Delete from the mirror what is not named and was fetched more than a day ago."""
        with suppress(OSError):  # nothing depends on it
            _sweep(self._mirror, files, before=time.time() - _KEPT.total_seconds())

    def locked(self, wait: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: see :meth:`commit`."""
        return nullcontext()


Place = Folder | Bucket
"""Where a store lies."""


def place_of(path: str | Path) -> Place:
    """Return the place that a path or URL names.

    Raises:
        StoreError: It is a URL of a web server, or one that has lost a slash.
    """
    url = str(path).rstrip("/")
    if _CUT_URL.match(url):
        raise StoreError(
            "is a URL with a single slash", where=url, hint="name it by a text, not by a Path"
        )
    if "://" not in url:
        return Folder(Path(path))
    if not holds_folders(url):
        raise StoreError("a web server holds no store", where=url, hint="s3://bucket/folder does")
    return Bucket(url)


def _object(kind: str, name: str) -> str:
    return f"{kind}/{name}.parquet"


@contextmanager
def _kept(draft: Path) -> Iterator[None]:
    """Make the folder of a draft, and delete the draft unless it was put in place."""
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        draft.unlink(missing_ok=True)


def _is_own(name: str) -> bool:
    """Return whether a name is one that this program gives: of a Parquet file or a manifest."""
    kind, _, base = name.rpartition("/")
    if kind in _KINDS:
        return bool(OF_A_STORE.fullmatch(base.removesuffix(".parquet")))
    return not kind and bool(newest_manifest([base]))


def _sweep(folder: Path, files: Collection[File], before: float | None = None) -> None:
    """Delete Parquet files that are not named, or those of them from before a time."""
    named = {_object(*file) for file in files}
    for kind in _KINDS:
        for path in (folder / kind).glob("*.parquet"):
            if _object(kind, path.stem) in named or not OF_A_STORE.fullmatch(path.stem):
                continue
            if path.is_file() and (before is None or path.stat().st_mtime < before):
                path.unlink(missing_ok=True)
