"""Download only the result files of a BIG-bench repository, by git.

The repository holds far more than results, so it is fetched as a partial clone of one commit: first
its listing (commit and folders, no file), then the result files in batches. A batch is what an
interrupted run can lose. ``download.json`` is written last; where it is missing or does not fit
what is on disk, the download counts as unfinished.

Nothing of the repository is run: no hooks, filters, submodules or remote helpers, and the settings
of this machine's user decide only how servers are reached.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.git import AGAIN, REMOTE, SCHEMES, DownloadError, Git, find_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[str, int, int], None]

__all__ = ["DEFAULT_SOURCE", "Download", "DownloadError", "DownloadWarning", "download"]

DEFAULT_SOURCE: Final = "https://github.com/google/BIG-bench"

_TASKS: Final = "bigbench/benchmark_tasks"
_RECORD: Final = "download.json"
# Names as in bigbench/api/results.py of BIG-bench 1.0.0.
_SCORES: Final = ("scores_*.json", "scores_*.json.gz")
_LOGS: Final = ("full-log_*.json", "full-log_*.json.gz")
# Git reads these from the commit when it checks out files in the same folder or below.
_READ_BY_GIT: Final = {".gitattributes", ".gitignore", ".gitmodules"}
# Files a request. Score files have kilobytes, full logs up to hundreds of megabytes.
_BATCH: Final = 400
_BATCH_OF_LOGS: Final = 20
_LOCK_WAIT: Final = 5.0
"""Seconds; the git of a killed run notices a closed pipe only when it writes its next message."""
_ATTRIBUTES: Final = "* -text -ident -filter !working-tree-encoding\n"
_HASH: Final = re.compile(r"[0-9a-f]{40}")
# git-check-ref-format(1), so that no revision expression or pattern gets through.
_NO_NAME: Final = re.compile(r"^$|^[-/.]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|[/.]$|\.lock$")
_NAME_A_FOLDER: Final = "name the folder of a git repository, or its address"
_NEEDS_EVERYTHING: Final = re.compile("unadvertised object|does not support shallow|dumb http")


class DownloadWarning(UserWarning):
    """A download that works, but transfers more than it needs."""


@dataclass(frozen=True)
class Download:
    """A finished download.

    Attributes:
        path: The folder ``benchmark_tasks``, to be given to :func:`bigbench_meta.read_results`.
        commit: Hash of the commit, 40 hexadecimal digits.
        n_files: Result files there; full logs count if they were ever asked for.
        was_complete: Whether it was there already.
    """

    path: Path
    commit: str
    n_files: int
    was_complete: bool


def download(
    source: str = DEFAULT_SOURCE,
    *,
    into: str | Path | None = None,
    commit: str | None = None,
    full_logs: bool = False,
    progress: Progress | None = None,
) -> Download:
    """Download the result files of a BIG-bench repository, or find them on this machine.

    They come into a folder named from source and commit, so that downloads never mix. A run that
    was cut off is continued by the next one; a download that is complete costs nothing, and with
    a pinned commit not even a question to the server.

    Full logs are fetched where the repository has them as JSON. Those that BIG-bench keeps as
    archives in git-lfs are not.

    Args:
        source: Address of the repository (https, http, ssh, git or file), or a local one's path;
            of that, only what is committed counts.
        into: Folder to put downloads in. By default this user's cache folder.
        commit: Full hash of a commit, or a branch or tag. By default the head of the default
            branch. Only a hash is the same tomorrow.
        full_logs: Download ``full-log_*`` files too.
        progress: Called with (phase, done, total).

    Returns:
        Where the files are, and of which commit.

    Raises:
        InputError: The source or commit cannot be used, there is no git or it is too old, the
            commit holds no result files, the folder cannot be written, or another download into
            it is running.
        DownloadError: The transfer failed.

    Examples:
        >>> download("--upload-pack=x")
        Traceback (most recent call last):
        ...
        bigbench_meta.core.errors.InputError: --upload-pack=x: not the address of a repository
        Hint: give a path or an address that begins with file://, git://, http://, ...
    """
    address = _address(source)
    if commit is not None and _NO_NAME.search(commit):
        raise InputError("not a commit, branch or tag", where=repr(commit), hint="give a full hash")
    base = Path(into or platformdirs.user_cache_dir("bigbench-meta"))
    root = base.absolute() / _slug(address)
    pinned = commit.lower() if commit and _HASH.fullmatch(commit.lower()) else None
    if pinned and (done := _finished(root / pinned, address, full_logs=full_logs)):
        return done
    _check_local(source, address)
    by_hand = _by_hand(address, commit)
    git = Git(find_git(by_hand), address, hint=by_hand)
    chosen = pinned or _resolve(git, commit)
    try:
        with _locked(root / chosen) as lock:
            done = _finished(root / chosen, address, full_logs=full_logs)
            return done or _transfer(
                replace(git, folder=root / chosen / "repository", lock=lock),
                chosen,
                full_logs=full_logs,
                progress=progress or (lambda _phase, _done, _total: None),
            )
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}",
            where=str(root / chosen),
            hint=f"make room or name another folder, then {AGAIN}",
        ) from error


def _address(source: str) -> str:
    """Return the address that git is given; a local path becomes a ``file://`` address.

    Of a path git would take the whole object store by hard links, and ignore that less is wanted.
    """
    schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    bad = InputError(
        "not the address of a repository",
        where=source if source.strip() and source.isprintable() else ascii(source),
        hint=f"give a path or an address that begins with {schemes}",
    )
    if not (source.isprintable() and source.strip() and len(source) < 4096) or source[0] == "-":
        raise bad
    scheme, is_url, rest = source.partition("://")
    if is_url:
        user, _, host = rest.partition("/")[0].rpartition("@")
        if scheme.lower() not in SCHEMES or not rest.strip("/") or host.startswith("-"):
            raise bad
        if user and (scheme.lower().startswith("http") or ":" in user):
            raise InputError(
                "an address with a name or password in it, which would be stored",
                where=f"{scheme}://...@{host}",
                hint="leave them out: git's credential helper provides them",
            )
        return source
    # user@host:path is short for ssh; program::address would name a program to run.
    if re.fullmatch(r"[\w.]+@[\w.-]+:(?!:).+", source):
        return source
    if "::" in source:
        raise bad
    return _local(source).as_uri()


def _local(source: str) -> Path:
    try:
        return Path(source).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"no such folder: {error}", where=source, hint=_NAME_A_FOLDER) from error


def _check_local(source: str, address: str) -> None:
    """Refuse a path that is not a folder, before git does so in its own words."""
    if address == source:
        return
    path = _local(source)
    try:
        what = "a file, not a repository" if path.exists() else "no such folder"
        is_folder = path.is_dir()
    except OSError as error:
        what, is_folder = f"no such folder: {error.strerror}", False
    if not is_folder:
        raise InputError(what, where=source, hint=_NAME_A_FOLDER)


def _slug(address: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", address.partition("://")[2] or address).strip("_.")
    return f"{readable[-60:]}-{sha256(address.encode()).hexdigest()[:8]}"


def _by_hand(address: str, commit: str | None) -> str:
    """Return how to get the files without this module."""
    if address == DEFAULT_SOURCE:
        ways = f"unpack {DEFAULT_SOURCE}/archive/{commit or 'HEAD'}.zip"
    else:
        ways = f"git clone --no-checkout --filter=blob:none -- {shlex.quote(address)} BIG-bench"
        ways += f" && git -C BIG-bench checkout {shlex.quote(commit or 'HEAD')}"
    return (
        f"By hand, on any machine: {ways}; then give its folder {_TASKS} (with <task>/results/"
        f"{_SCORES[0]}) to the other commands in place of a download"
    )


def _resolve(git: Git, name: str | None) -> str:
    """Ask the server for the commit that a branch or tag, or its default branch, stands for."""
    if name in {None, "HEAD"}:
        refs = ["HEAD"]
    elif name and name.startswith("refs/"):
        refs = [name, f"{name}^{{}}"]
    else:
        refs = [f"refs/heads/{name}", f"refs/tags/{name}", f"refs/tags/{name}^{{}}"]
    listing = git.run("ls-remote", "--", git.address, *refs, online=True).out.decode(
        errors="replace"
    )
    # A pattern also finds names that merely end like it.
    found = {ref: oid for oid, _, ref in (line.partition("\t") for line in listing.splitlines())}
    # refs/tags/x^{} is the commit of an annotated tag.
    commits = {found.get(f"{ref}^{{}}", found[ref]) for ref in refs[:2] if ref in found}
    if len(commits) > 1:
        raise InputError(
            f"both a branch and a tag are called {name!r}",
            where=git.address,
            hint=f"say refs/heads/{name} or refs/tags/{name}",
        )
    if not commits:
        raise InputError(
            "no commit in it" if name is None else f"no branch or tag is called {name!r}",
            where=git.address,
            hint="give a branch, a tag, or all 40 digits of a commit's hash",
        )
    found_commit = commits.pop()
    if not _HASH.fullmatch(found_commit):
        raise InputError("its hashes are not SHA-1: not supported", where=git.address)
    return found_commit


def _names(*, full_logs: bool) -> tuple[str, ...]:
    return _SCORES + _LOGS if full_logs else _SCORES


def _finished(folder: Path, address: str, *, full_logs: bool) -> Download | None:
    """Return the download in a folder if its record is sound and the files are still there."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
        has_logs = isinstance(record, dict) and record.get("full_logs") is True
        files_here, bytes_here = _on_disk(folder / "repository" / _TASKS, full_logs=has_logs)
    except (OSError, ValueError, RecursionError):
        return None
    match record:
        case {
            "source": str(source),
            "commit": str(commit),
            "files": int(n_files),
            "bytes": int(n_bytes),
            "full_logs": bool(),
            "finished": str(),
        } if (source, commit) == (address, folder.name) and has_logs >= full_logs:
            # More than recorded is what the user put there.
            if 0 < n_files <= files_here and n_bytes <= bytes_here:
                tasks = folder / "repository" / _TASKS
                return Download(tasks, commit, n_files, was_complete=True)
    return None


def _on_disk(tasks: Path, *, full_logs: bool) -> tuple[int, int]:
    """Return number and bytes of the result files below a folder of tasks."""
    names = _names(full_logs=full_logs)
    found = [
        path.stat().st_size
        for path in tasks.glob("*/results/*")
        if any(fnmatchcase(path.name, name) for name in names) and path.is_file()
    ]
    return len(found), sum(found)


def _write_record(folder: Path, record: dict[str, object]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, suffix=".part") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(folder / _RECORD)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold a folder for this process and the git processes it starts; they inherit the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+b") as file:
        patience = time.monotonic() + _LOCK_WAIT
        while not _try_lock(file.fileno()):
            if time.monotonic() >= patience:
                file.seek(0)
                raise InputError(
                    "another download into this folder is running"
                    f" (started by process {file.read(20).decode(errors='replace').strip()})",
                    where=str(folder),
                    hint="wait until it has finished, or stop it",
                )
            time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield file.fileno()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        # Far behind the process number, which others must be able to read.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _transfer(git: Git, commit: str, *, full_logs: bool, progress: Progress) -> Download:
    """Fetch what is missing, check it out, and only then write the record."""
    _prepare(git, full_logs=full_logs)
    _fetch_listing(git, commit, progress)
    listing = _listing(git, commit)
    names = _names(full_logs=full_logs)
    results = {path: oid for path, oid in listing.items() if _is_result(path, names)}
    if not results:
        raise InputError(
            f"no result files at commit {commit}",
            where=git.address,
            hint=f"a BIG-bench repository has them at {_TASKS}/<task>/results/{_SCORES[0]}",
        )
    _fetch_files(git, listing, results, progress)
    # Online, in case git wants to see a file that we did not think of.
    git.run("checkout", "--force", "--detach", "--progress", commit, online=True, note=progress)
    folder = git.git_dir.parents[1]
    tasks = folder / "repository" / _TASKS
    n_here, _ = _on_disk(tasks, full_logs=full_logs)
    if n_here < len(results):
        raise DownloadError(
            f"only {n_here} of {len(results)} files could be written",
            where=str(tasks),
            hint="a file system may ignore the case of names: name another folder",
        )
    record = {
        "source": git.address,
        "commit": commit,
        "files": len(results),
        "bytes": sum((folder / "repository" / path).stat().st_size for path in results),
        "full_logs": full_logs,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write_record(folder, record)
    return Download(tasks, commit, len(results), was_complete=False)


def _prepare(git: Git, *, full_logs: bool) -> None:
    """Make the repository, or clear away what a killed git left in it."""
    git_dir = git.git_dir
    # Without an index the checkout writes every file anew, so a damaged one cannot stay.
    (git_dir / "index").unlink(missing_ok=True)
    # We hold the lock, so no git is at work here.
    for pattern in ("*.lock", "objects/**/tmp_*", "objects/**/.tmp-*"):
        for path in git_dir.rglob(pattern):
            if path.is_file():
                path.unlink()
    git.run("init", "--quiet", "--template=", "--", str(git.folder))
    info = git_dir / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_ATTRIBUTES)
    patterns = [f"/{_TASKS}/*/results/{name}\n" for name in _names(full_logs=full_logs)]
    (info / "sparse-checkout").write_text("".join(patterns))


def _present(git: Git) -> set[str]:
    """Return the objects that are here; unlike a question for one, this never fetches."""
    listing = git.run(
        "cat-file", "--batch-check=%(objectname)", "--batch-all-objects", "--unordered"
    )
    return set(listing.out.decode().split())


def _fetch_listing(git: Git, commit: str, progress: Progress) -> None:
    if commit not in _present(git):
        try:
            done = git.run(
                "fetch", "--progress", "--no-tags", "--depth=1", "--filter=blob:none",
                "--", REMOTE, commit, online=True, note=progress,
            )  # fmt: skip
        except DownloadError as error:
            if not _NEEDS_EVERYTHING.search(error.message):
                raise
            _fetch_everything(git, progress)
        else:
            if any("filtering not recognized" in line for line in done.messages):
                warnings.warn(
                    f"{git.address}: the server cannot send single files, so all files of the "
                    "commit were fetched",
                    DownloadWarning,
                    stacklevel=4,
                )
    if commit not in _present(git):
        raise InputError(
            f"no commit {commit}", where=git.address, hint="check its hash, or give a branch or tag"
        )
    kind = git.run("cat-file", "-t", commit).out.decode().strip()
    if kind != "commit":
        raise InputError(f"{commit} is a {kind}, not a commit", where=git.address)


def _fetch_everything(git: Git, progress: Progress) -> None:
    """Fetch all branches and tags whole: old servers give no commit or file by its hash."""
    warnings.warn(
        f"{git.address}: the server cannot send single commits, so the whole repository is fetched",
        DownloadWarning,
        stacklevel=5,
    )
    everything = ("+refs/heads/*:refs/remotes/source/*", "+refs/tags/*:refs/tags/*")
    # What a partial clone has already would count as had with all its files.
    sparse = (git.git_dir / "info" / "sparse-checkout").read_text()
    shutil.rmtree(git.git_dir)
    _prepare(git, full_logs=_LOGS[0] in sparse)
    git.run("fetch", "--progress", "--", REMOTE, *everything, online=True, note=progress)


def _listing(git: Git, commit: str) -> dict[str, str]:
    """Return the hash of every file in a commit by its path."""
    entries = git.run("ls-tree", "-r", "-z", "--full-tree", commit).out.split(b"\0")
    heads = [
        (head.split(), path) for head, tab, path in (e.partition(b"\t") for e in entries) if tab
    ]
    return {os.fsdecode(path): head[2].decode() for head, path in heads if head[1] == b"blob"}


def _is_result(path: str, names: tuple[str, ...]) -> bool:
    folder, _, name = path.rpartition("/")
    parts = folder.split("/")
    return (
        len(parts) == 4
        and folder.startswith(f"{_TASKS}/")
        and parts[3] == "results"
        and any(fnmatchcase(name, pattern) for pattern in names)
    )


def _fetch_files(
    git: Git, listing: dict[str, str], results: dict[str, str], progress: Progress
) -> None:
    """Fetch the missing result files in batches, each of which is there for good once fetched."""
    present = _present(git)
    needed = {
        path: oid
        for path, oid in listing.items()
        if path in results or path.rpartition("/")[2] in _READ_BY_GIT
    }
    # One path for each content; scores before logs.
    missing = {oid: path for path, oid in needed.items() if oid not in present}
    logs = [oid for oid, path in missing.items() if _is_result(path, _LOGS)]
    others = [oid for oid, path in missing.items() if not _is_result(path, _LOGS)]
    batches = [*_cut(others, _BATCH), *_cut(logs, _BATCH_OF_LOGS)]
    fetched = 0
    try:
        for batch in batches:
            _fetch_batch(git, batch, progress, before=fetched, total=len(missing))
            fetched += len(batch)
            progress("Receiving files", fetched, len(missing))
    except DownloadError as error:
        if not _NEEDS_EVERYTHING.search(error.message):
            raise
        _fetch_everything(git, progress)


def _cut(oids: list[str], size: int) -> list[list[str]]:
    return [oids[i : i + size] for i in range(0, len(oids), size)]


def _fetch_batch(
    git: Git, batch: list[str], progress: Progress, *, before: int, total: int
) -> None:
    def note(phase: str, done: int, _total: int) -> None:
        if phase == "Receiving objects":
            progress("Receiving files", before + min(done, len(batch)), total)

    git.run(
        "fetch", "--progress", "--no-tags", "--filter=blob:none", "--", REMOTE, *batch,
        online=True, note=note,
    )  # fmt: skip
