"""Download only the result files of a BIG-bench repository, by git.

The repository holds far more than results, so it is fetched as a partial clone of one commit: first
its listing (commit and folders, no file), then the result files in batches, which a sparse checkout
writes. A batch is what an interrupted run can lose. ``download.json`` is written last; where it is
missing or does not fit what is on disk, the download counts as unfinished.

Nothing of the repository is run: no hooks, filters, submodules or remote helpers, and the settings
of this machine's user decide only how servers are reached.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock
import msgspec
import platformdirs

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[str, int, int], None]

__all__ = ["DEFAULT_SOURCE", "Download", "DownloadError", "DownloadWarning", "download"]

DEFAULT_SOURCE: Final = "https://github.com/google/BIG-bench"

_TASKS: Final = "bigbench/benchmark_tasks"
# Names as in bigbench/api/results.py of BIG-bench 1.0.0, and how many files a request takes: score
# files have kilobytes, full logs up to hundreds of megabytes.
_SCORES: Final = tuple(f"{_TASKS}/*/results/scores_*.{ending}" for ending in ("json", "json.gz"))
_LOGS: Final = tuple(f"{_TASKS}/*/results/full-log_*.{ending}" for ending in ("json", "json.gz"))
_BATCH: Final = 400
_BATCH_OF_LOGS: Final = 20
_LOCK_WAIT: Final = 5.0  # seconds
# git-check-ref-format(1), so that no revision expression or pattern gets through.
_NO_NAME: Final = re.compile(r"^$|^[-/.]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|[/.]$|\.lock$")
_NAME_A_FOLDER: Final = "name the folder of a git repository, or its address"
_AGAIN: Final = "run the same command again: it goes on from what has arrived"
_REPAIR: Final = (
    "make room or correct the folder's permissions; if neither helps, delete the folder. Then run "
    "the same command again"
)
_OLDEST_GIT: Final = (2, 25)
_SCHEMES: Final = ("file", "git", "http", "https", "ssh")
# Not origin: a user's own settings for that name would be added to ours.
_REMOTE: Final = "bigbench-meta"
# Above all, nothing that a repository or a folder of this machine holds may run.
_SETTINGS: Final = (
    f"core.hooksPath={os.devnull}", f"core.attributesFile={os.devnull}", "core.fsmonitor=false",
    "submodule.recurse=false", "fetch.recurseSubmodules=false", "core.symlinks=false",
    "core.autocrlf=false", "core.protectHFS=true", "core.protectNTFS=true", "core.longPaths=true",
    "core.sparseCheckout=true", "core.sparseCheckoutCone=false", "protocol.version=2",
    "fetch.negotiationAlgorithm=noop", "gc.auto=0", "maintenance.auto=false", "color.ui=false",
    "http.lowSpeedLimit=1", "http.lowSpeedTime=60", "init.defaultObjectFormat=sha1",
)  # fmt: skip
# A local repository serves whoever can read it, so it may as well send only what is asked for.
_SERVE_LOCALLY: Final = (
    "git -c uploadpack.allowFilter=true -c uploadpack.allowAnySHA1InWant=true upload-pack"
)
_ATTRIBUTES: Final = "* -text -ident -filter !working-tree-encoding\n"
# Of git's variables those that say how servers are reached; others may belong to a repository whose
# hook runs this.
_KEPT: Final = re.compile(
    r"(?!GIT_)|GIT_(CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_|VALUE_)|SSH|SSL|PROXY|HTTP|EXEC_PATH)"
)
_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES), "GIT_ASKPASS": "", "GIT_PROGRESS_DELAY": "0",
    "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never",
}  # fmt: skip
_PROGRESS: Final = re.compile(r"(?:remote: )?([A-Z][A-Za-z ]+): +\d+% \((\d+)/(\d+)\)")


class DownloadError(InputError):
    """A transfer that failed; what has arrived is kept for the next run."""


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
    pinned = commit.lower() if commit and re.fullmatch("[0-9a-f]{40}", commit.lower()) else None
    if pinned and (done := _finished(root / pinned, address, full_logs=full_logs)):
        return done
    if address != source:
        _local(source, must_exist=True)
    git = _found_git(address, commit)
    chosen = pinned or _resolve(git, commit)
    try:
        with _locked(root / chosen):
            done = _finished(root / chosen, address, full_logs=full_logs)
            return done or _transfer(
                replace(git, folder=root / chosen / "repository"),
                chosen,
                full_logs=full_logs,
                progress=progress or (lambda _phase, _done, _total: None),
            )
    except (OSError, NotImplementedError) as error:
        raise InputError(
            f"cannot be written: {getattr(error, 'strerror', None) or error}",
            where=str(root / chosen),
            hint=f"make room or name another folder, then {_AGAIN}",
        ) from error


def _address(source: str) -> str:
    """Return the address that git is given; a local path becomes a ``file://`` address.

    Of a path git would take the whole object store by hard links, and ignore that less is wanted.
    """
    scheme, is_url, rest = source.partition("://")
    user, _, host = rest.partition("/")[0].rpartition("@")
    # user@host:path is short for ssh; program::address would name a program to run.
    is_short = not is_url and re.fullmatch(r"[\w.]+@[\w.-]+:(?!:).+", source)
    if is_url:
        is_bad = scheme.lower() not in _SCHEMES or not rest.strip("/") or host.startswith("-")
    else:
        is_bad = source.startswith("-") or ("::" in source and not is_short)
    if is_bad or not source.strip() or not source.isprintable():
        raise InputError(
            "not the address of a repository",
            where=source if source.strip() and source.isprintable() else ascii(source),
            hint="give a path or an address that begins with "
            + ", ".join(f"{scheme}://" for scheme in _SCHEMES),
        )
    if user and is_url and (scheme.lower().startswith("http") or ":" in user):
        raise InputError(
            "an address with a name or password in it, which would be stored",
            where=f"{scheme}://...@{host}",
            hint="leave them out: git's credential helper provides them",
        )
    return source if is_url or is_short else _local(source).as_uri()


def _local(source: str, *, must_exist: bool = False) -> Path:
    try:
        path = Path(source).expanduser().resolve(strict=must_exist)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"no such folder ({reason})", where=source, hint=_NAME_A_FOLDER) from error
    if must_exist and not path.is_dir():
        raise InputError("a file, not a repository", where=source, hint=_NAME_A_FOLDER)
    return path


def _slug(address: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", address.partition("://")[2] or address).strip("_.")
    return f"{readable[-60:]}-{sha256(address.encode()).hexdigest()[:8]}"


class _Record(msgspec.Struct):
    """What a finished download holds."""

    source: str
    commit: str
    files: int
    bytes: int
    full_logs: bool
    finished: str


def _finished(folder: Path, address: str, *, full_logs: bool) -> Download | None:
    """Return the download in a folder if its record is sound and the files are still there."""
    try:
        record = msgspec.json.decode((folder / "download.json").read_bytes(), type=_Record)
        n_files, n_bytes = _on_disk(folder / "repository", full_logs=record.full_logs)
    except (OSError, ValueError, RecursionError):
        return None
    is_same = (record.source, record.commit) == (address, folder.name)
    # More than recorded is what the user put there.
    is_whole = 0 < record.files <= n_files and record.bytes <= n_bytes
    if not is_same or not is_whole or full_logs > record.full_logs:
        return None
    return Download(folder / "repository" / _TASKS, record.commit, record.files, was_complete=True)


def _on_disk(repository: Path, *, full_logs: bool) -> tuple[int, int]:
    """Return number and bytes of the result files of a repository."""
    patterns = _SCORES + _LOGS if full_logs else _SCORES
    paths = [path for pattern in patterns for path in repository.glob(pattern) if path.is_file()]
    return len(paths), sum(path.stat().st_size for path in paths)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a killed one holds no lock."""
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "process"
    try:
        with filelock.FileLock(folder / "lock", timeout=_LOCK_WAIT):
            holder.write_text(f"{os.getpid()}\n")
            yield
    except filelock.Timeout as error:
        raise InputError(
            "another download into this folder is running (started by process "
            f"{holder.read_text().strip()})",
            where=str(folder),
            hint="wait until it has finished, or stop it",
        ) from error


def _resolve(git: _Git, name: str | None) -> str:
    """Ask the server for the commit that a branch or tag, or its default branch, stands for."""
    refs = [f"refs/heads/{name}", f"refs/tags/{name}"]
    if name is None or name == "HEAD" or name.startswith("refs/"):
        refs = [name or "HEAD"]
    listing = git.run(
        "ls-remote", _REMOTE, *refs, *(f"{ref}^{{}}" for ref in refs),
        failed="the repository cannot be read", hint=git.hint,
    )  # fmt: skip
    # A pattern also finds names that merely end like it.
    found = {ref: oid for oid, _, ref in (line.partition("\t") for line in listing.splitlines())}
    # refs/tags/x^{} is the commit of an annotated tag.
    commits = {found.get(f"{ref}^{{}}", found[ref]) for ref in refs if ref in found}
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
    return commits.pop()


def _transfer(git: _Git, commit: str, *, full_logs: bool, progress: Progress) -> Download:
    """Fetch what is missing, check it out, and only then write the record."""
    _prepare(git, _SCORES + _LOGS if full_logs else _SCORES)
    is_new = commit not in _present(git)
    if is_new:
        git.run(
            "fetch", "--progress", "--no-tags", "--depth=1", "--filter=blob:none", _REMOTE, commit,
            failed=f"commit {commit} cannot be fetched", note=progress,
            hint=f"check the commit's hash, or give a branch or tag; {git.hint}",
        )  # fmt: skip
    kind = git.run("cat-file", "-t", commit).strip()
    if kind != "commit":
        raise InputError(f"{commit} is a {kind}, not a commit", where=git.address)
    git.run("read-tree", commit)
    scores = _listing(git, *_SCORES)
    logs = _listing(git, *_LOGS) if full_logs else {}
    results = scores | logs
    if not results:
        raise InputError(
            f"no result files at commit {commit}",
            where=git.address,
            hint=f"a BIG-bench repository has them at {_TASKS}/<task>/results/scores_*.json",
        )
    present = _present(git)
    if is_new and not present.isdisjoint(results.values()):
        warnings.warn(
            f"{git.address}: the server cannot send single files, so all files of the commit were "
            "fetched",
            DownloadWarning,
            stacklevel=3,
        )
    # Git reads the attributes when it checks out files in the same folder or below.
    small = {*scores.values(), *_listing(git, "**/.gitattributes").values()} - present
    large = {*logs.values()} - small - present
    _fetch_files(git, [*_cut(small, _BATCH), *_cut(large, _BATCH_OF_LOGS)], progress)
    # Without an index the checkout writes every result anew, so a damaged one cannot stay, and
    # removes no other file.
    (git.folder / ".git" / "index").unlink()
    git.run("checkout", "--force", "--detach", "--progress", commit, note=progress)

    n_files, (n_here, _) = len(results), _on_disk(git.folder, full_logs=full_logs)
    if n_here < n_files:
        raise DownloadError(
            f"only {n_here} of {n_files} files could be written",
            where=str(git.folder),
            hint="a file system may ignore the case of names: name another folder",
        )
    record = _Record(
        source=git.address,
        commit=commit,
        files=n_files,
        bytes=sum((git.folder / path).stat().st_size for path in results),
        full_logs=full_logs,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    part = git.folder.with_name("download.json.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    part.replace(part.with_suffix(""))
    return Download(git.folder / _TASKS, commit, n_files, was_complete=False)


def _prepare(git: _Git, patterns: tuple[str, ...]) -> None:
    """Make the repository, or clear away what a killed git left in it; say what to check out."""
    git_dir = git.folder / ".git"
    (git_dir / "info").mkdir(parents=True, exist_ok=True)
    for litter in ("*.lock", "objects/**/tmp_*", "objects/**/.tmp-*"):
        for path in git_dir.rglob(litter):
            if path.is_file():
                path.unlink(missing_ok=True)
    git.run("init", "--quiet", "--template=")
    (git_dir / "info" / "attributes").write_text(_ATTRIBUTES)
    (git_dir / "info" / "sparse-checkout").write_text("".join(f"/{name}\n" for name in patterns))


def _present(git: _Git) -> set[str]:
    """Return the objects that are here; unlike a question for one, this never fetches."""
    objects = git.run("cat-file", "--batch-check=%(objectname)", "--batch-all-objects")
    return set(objects.split())


def _listing(git: _Git, *patterns: str) -> dict[str, str]:
    """Return the hashes of the files in the index that a pattern names, by path."""
    entries = git.run("ls-files", "--stage", "-z", "--", *(f":(glob){name}" for name in patterns))
    heads = [entry.partition("\t") for entry in entries.split("\0") if entry]
    # Mode 160000 is a submodule.
    return {path: head.split()[1] for head, _, path in heads if not head.startswith("160000")}


def _cut(hashes: set[str], size: int) -> list[list[str]]:
    ordered = sorted(hashes)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _fetch_files(git: _Git, batches: list[list[str]], progress: Progress) -> None:
    """Fetch files in batches, each of which is there for good once fetched."""
    fetched, total = 0, sum(map(len, batches))

    def note(phase: str, done: int, _total: int) -> None:
        if phase == "Receiving objects":
            progress("Receiving files", fetched + done, total)

    for batch in batches:
        git.run(
            "fetch", "--progress", "--no-tags", "--filter=blob:none", _REMOTE, *batch,
            failed="the result files cannot be fetched", note=note,
            hint=f"make room if the disk is full; {git.hint}",
        )  # fmt: skip
        fetched += len(batch)
        progress("Receiving files", fetched, total)


@dataclass(frozen=True)
class _Git:
    """Runs git, isolated from any setting that could make it run something else."""

    program: str
    address: str
    hint: str  # what to do when the address cannot be read
    folder: Path = Path(os.devnull)  # the work tree; to ask the server takes none

    def run(
        self, *arguments: str, failed: str = "", hint: str = _REPAIR, note: Progress | None = None
    ) -> str:
        """Run one git command to its end and return what it prints.

        A failure is one of the folder, unless ``failed`` says what it means for the address.
        """
        settings = [*_SETTINGS, f"remote.{_REMOTE}.url={self.address}"]
        if self.address.startswith("file:"):
            settings.append(f"remote.{_REMOTE}.uploadpack={_SERVE_LOCALLY}")
        said: deque[str] = deque(maxlen=8)
        inherited = {name: value for name, value in os.environ.items() if _KEPT.match(name)}
        place = {"GIT_DIR": str(self.folder / ".git"), "GIT_WORK_TREE": str(self.folder)}
        with (
            tempfile.TemporaryFile() as printed,
            subprocess.Popen(  # noqa: S603 - no shell, and nothing of the user's begins with "-"
                [self.program, *(part for one in settings for part in ("-c", one)), *arguments],
                env=inherited | _ENVIRONMENT | place,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # no terminal, so no prompt for a password
            ) as process,
        ):
            try:
                for line in process.stderr or ():
                    if not (match := _PROGRESS.match(line)):
                        said.extend(filter(None, [shown(line.strip())[:300]]))
                    elif note:
                        note(match[1], int(match[2]), int(match[3]))
            except BaseException:
                # Asked to stop, git and its helpers remove their half-written files.
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGTERM)
                process.terminate()
                raise
            process.wait()
            printed.seek(0)
            text = os.fsdecode(printed.read())
        if process.returncode:
            last_lines = "".join(f"\n  {line}" for line in dict.fromkeys(said)) or " nothing"
            raise DownloadError(
                f"{failed or f'git {arguments[0]} failed'}; git said:{last_lines}",
                where=self.address if failed else str(self.folder),
                hint=hint,
            )
        return text


def _found_git(address: str, commit: str | None) -> _Git:
    """Return git for an address, or raise an error that says how to get the files without it."""
    ways = f"unpack {DEFAULT_SOURCE}/archive/{commit or 'HEAD'}.zip"
    if address != DEFAULT_SOURCE:
        ways = f"git clone --no-checkout -- {shlex.quote(address)} BIG-bench"
        ways += f" && git -C BIG-bench checkout {shlex.quote(commit or 'HEAD')}"
    by_hand = (
        f"By hand, on any machine: {ways}; then give its folder {_TASKS} (with <task>/results/"
        "scores_*.json) to the other commands in place of a download"
    )
    hint = f"check that this is a git repository and yours to read, then {_AGAIN}"
    if not address.startswith("file:"):
        hint = (
            f"check the address and the network, then {_AGAIN}. With git config one sets a proxy "
            "(http.proxy), certificates to trust (http.sslCAInfo) and where passwords come from "
            f"(credential.helper). {by_hand}"
        )
    program = shutil.which("git")
    if program is None:
        raise InputError("git is needed and not installed", hint=f"install it. {by_hand}")
    try:
        said = subprocess.run(  # noqa: S603 - found on the path, fixed arguments
            [program, "--version"], capture_output=True, check=False
        ).stdout.decode(errors="replace")
    except OSError as error:
        said = str(error)
    version = re.match(r"git version (\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < _OLDEST_GIT:
        raise InputError(
            f"git {'.'.join(map(str, _OLDEST_GIT))} or newer is needed, this is "
            f"{shown(said.strip())[:200] or 'one that does not say its version'}",
            where=program,
            hint=f"install a newer one. {by_hand}",
        )
    return _Git(program, address, hint)
