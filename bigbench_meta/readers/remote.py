"""Files behind URLs, through fsspec: ``https://``, ``s3://``, ``gs://`` and what else it knows."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.detect import JSON_ENDINGS, SourceFile, by_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["open_remote", "remote_files"]


def remote_files(url: str) -> Iterator[SourceFile]:
    """Yield the result files at a URL: the file itself, or those below a bucket's folder.

    Raises:
        InputError: fsspec or its driver is not installed, or the URL cannot be reached.
    """
    system, path = _system(url)
    try:
        is_folder = not url.startswith(("http://", "https://")) and system.isdir(path)
        found = system.find(path, detail=True) if is_folder else {path: system.info(path)}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be reached: {error}", where=url) from error
    for name, info in sorted(found.items()):
        base = name.split("?")[0].rsplit("/", 1)[-1]
        detected = by_name(base)
        if detected is None and base.lower().endswith(JSON_ENDINGS):
            detected = "bigbench"
        if detected is not None:
            full = url if not is_folder else system.unstrip_protocol(name)
            yield SourceFile(full, full.split("?")[0], detected, int(info.get("size") or -1))


def open_remote(url: str) -> IO[bytes]:
    """Open a URL for reading.

    Raises:
        OSError: It cannot be reached.
    """
    system, path = _system(url)
    try:
        return cast("IO[bytes]", system.open(path, "rb"))
    except ValueError as error:
        raise OSError(str(error)) from error


def _system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(
            str(error), where=url, hint="python -m pip install 'bigbench-meta[remote]'"
        ) from error
    return system, path
