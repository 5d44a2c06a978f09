"""URLs through fsspec: their file systems, what a failure means, and whether a file has changed."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from xxhash import xxh3_64_intdigest

from bigbench_meta.core.errors import BigbenchMetaError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["changed_at", "holds_folders", "reaching", "stamp_of", "url_system"]

_INSTALL: Final = "python -m pip install 'bigbench-meta[remote]'"

_S3: Final = ("s3", "s3a")
# A server that is not there is told after seconds, one that does not answer within a minute; by
# default that takes several. What the user configures for fsspec goes first.
_CONFIG: Final = {"retries": {"mode": "standard", "total_max_attempts": 3}, "read_timeout": 10}
_TRIES: Final = 2

_CREDENTIALS: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINT: Final = {"s3": "AWS_ENDPOINT_URL names the server if it is not Amazon's"}

# What drivers call the time of the last change.
_TIMES: Final = ("LastModified", "last_modified", "mtime", "updated")
_TAGS: Final = ("ETag", "etag")


def holds_folders(url: str) -> bool:
    """Return whether a URL may name a folder: a web server lists none."""
    return "://" in url and not url.startswith(("http://", "https://"))


def url_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it, through fsspec.

    Raises:
        InputError: fsspec or its driver is not installed, or the URL is malformed.
    """
    try:
        from fsspec.config import conf
        from fsspec.core import url_to_fs

        options: dict[str, Any] = {}
        if (scheme := url.partition("://")[0]) in _S3:
            options["config_kwargs"] = _CONFIG | conf.get(scheme, {}).get("config_kwargs", {})
        system, path = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise InputError(_first_line(error), where=url, hint=_INSTALL) from error
    if options:
        system.retries = _TRIES
    # Listings of before are no use: other processes write there.
    system.invalidate_cache()
    return system, path


@contextmanager
def reaching(url: str, kind: type[BigbenchMetaError] = InputError) -> Iterator[None]:
    """Raise whatever a driver raises as one sentence on the URL.

    Raises:
        BigbenchMetaError: Of this kind: access is denied, nothing is there, or no server answers.
    """
    try:
        yield
    except BigbenchMetaError:
        raise
    except Exception as error:
        message, hint = _meaning(error, url)
        raise kind(message, where=url, hint=hint) from error


def _meaning(error: Exception, url: str) -> tuple[str, str | None]:
    """Return what a driver's error says in one line, and what to do about it."""
    scheme = url.partition("://")[0]
    scheme = "s3" if scheme in _S3 else scheme
    name = type(error).__name__
    if isinstance(error, PermissionError) or "Credential" in name:
        return f"access is denied: {_first_line(error)}", _CREDENTIALS.get(scheme)
    if isinstance(error, FileNotFoundError):
        if "bucket does not exist" in str(error):
            return "no such bucket", "create it first, or check its name"
        return "no such file or folder", None
    return f"cannot be reached: {_first_line(error)}", _ENDPOINT.get(scheme)


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, its name if it has none."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def changed_at(info: Mapping[str, Any]) -> datetime | None:
    """Return when a file changed last by the clock of its server, None where that is not known."""
    found = next((info[name] for name in _TIMES if info.get(name)), None)
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def stamp_of(info: Mapping[str, Any]) -> int:
    """Return a positive number that changes with a file's content or time, 0 where none is known.

    Examples:
        >>> stamp_of({"ETag": '"a"'}) == stamp_of({"ETag": '"b"'}), stamp_of({})
        (False, 0)
    """
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
    time = changed_at(info)
    known = f"{tag} {time.isoformat() if time else ''}".strip()
    return xxh3_64_intdigest(known.encode()) >> 1 if known else 0
