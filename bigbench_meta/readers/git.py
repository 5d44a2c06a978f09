"""Run git for downloads, isolated from any setting that could make it run something else.

No hooks, filters, submodules or remote helpers are run; the settings of this machine's user decide
only how servers are reached.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str, int, int], None]

__all__ = ["AGAIN", "REMOTE", "SCHEMES", "DownloadError", "Git", "find_git"]

_OLDEST_GIT: Final = (2, 25)
_STALLED: Final = 180.0
"""Seconds without output from git after which it is stopped."""
# Not origin: a user's own settings for that name would be added to ours.
REMOTE: Final = "bigbench-meta"
SCHEMES: Final = ("file", "git", "http", "https", "ssh")

# Above all, nothing that a repository or a folder of this machine holds may run.
_SETTINGS: Final = (
    f"core.hooksPath={os.devnull}", f"core.attributesFile={os.devnull}", "core.fsmonitor=false",
    "protocol.ext.allow=never", "submodule.recurse=false", "fetch.recurseSubmodules=false",
    "core.symlinks=false", "core.autocrlf=false", "core.protectHFS=true", "core.protectNTFS=true",
    "core.longPaths=true", "core.logAllRefUpdates=false", "core.sparseCheckout=true",
    "core.sparseCheckoutCone=false", "protocol.version=2", "fetch.negotiationAlgorithm=noop",
    "gc.auto=0", "maintenance.auto=false", "advice.detachedHead=false", "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60", "color.ui=false", "init.defaultObjectFormat=sha1",
)  # fmt: skip
# A local repository serves whoever can read it, so it may as well send only what is asked for.
_SERVE_LOCALLY: Final = (
    "git -c uploadpack.allowFilter=true -c uploadpack.allowAnySHA1InWant=true upload-pack"
)

_PROGRESS: Final = re.compile(r"(?:remote: )?([A-Z][A-Za-z ]+): +\d+% \((\d+)/(\d+)\)")
AGAIN: Final = "run the same command again: it goes on from what has arrived"
_CONNECTION: Final = "check the network; a proxy is set with git config http.proxy"
# (pattern, what is wrong, what to do); the first whose pattern is in git's messages counts. Of
# the first table git could not do better by hand.
_FAULTS: Final = (
    ("No space left|quota exceeded|Out of disk", "the disk is full", f"make room, then {AGAIN}"),
    ("dubious ownership", "the repository belongs to another user",
     "allow it with git config --global --add safe.directory"),
    ("not our ref|couldn't find remote ref|unadvertised object", "no such commit there",
     "give all 40 digits of a commit, or a branch or tag"),
    ("not appear to be a git|not a git repo|is this a git repo|' not found|not exported",
     "not a git repository", "check the address"),
    ("could not read (Username|Password)|Authentication failed|denied|error: 40[13]",
     "no such repository, or it may not be read without a password",
     "check the address; passwords come from git's credential helper"),
)  # fmt: skip
_NETWORK_FAULTS: Final = (
    ("[Cc]ould not resolve host|unable to look up|Name or service not known",
     "the host is unknown, or there is no network", "check the address and the network"),
    ("[Cc]onnection refused|Failed to connect|[Cc]ouldn't connect|timed out|unreachable|No route",
     "the server cannot be reached", _CONNECTION),
    ("certificate", "the server's certificate is not accepted",
     "name the certificates to trust with git config http.sslCAInfo"),
    (r"error: 5\d\d", "the server has a fault of its own", f"later, {AGAIN}"),
    ("early EOF|hung up|disconnect|RPC failed|transfer closed|reset by peer|too slow|index-pack",
     "the connection broke off", AGAIN),
    ("unable to access", "the server cannot be read", _CONNECTION),
)  # fmt: skip


class DownloadError(InputError):
    """A transfer that failed; what has arrived is kept for the next run."""


def find_git(by_hand: str) -> str:
    """Return the path of the program git, or raise an error with the manual alternative."""
    program = shutil.which("git")
    if program is None:
        raise InputError("git is needed and not installed", hint=f"install it. {by_hand}")
    try:
        said = subprocess.run(  # noqa: S603 - found on the path, fixed arguments
            [program, "--version"], capture_output=True, check=False, timeout=60
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    version = re.match(r"git version (\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < _OLDEST_GIT:
        raise InputError(
            f"git {'.'.join(map(str, _OLDEST_GIT))} or newer is needed, this is "
            f"{_printable(said.encode())[:200] or 'one that does not say its version'}",
            where=program,
            hint=f"install a newer one. {by_hand}",
        )
    return program


@dataclass(frozen=True)
class _Output:
    out: bytes
    messages: list[str]


@dataclass(frozen=True)
class Git:
    """Runs git, isolated from any setting that could make it run something else.

    Attributes:
        program: Path of git.
        address: The repository to fetch from.
        hint: What to do when a transfer fails.
        folder: Work tree of the download; None before there is one.
        lock: Descriptor that every process holds while it runs.
    """

    program: str
    address: str
    hint: str
    folder: Path | None = None
    lock: int | None = None

    @property
    def git_dir(self) -> Path:
        """The folder of git's own files; a device, which git takes for no repository, if none."""
        return self.folder / ".git" if self.folder else Path(os.devnull)

    def run(self, *arguments: str, online: bool = False, note: Progress | None = None) -> _Output:
        """Run one git command to its end.

        Args:
            arguments: The command and its arguments.
            online: Whether it may talk to the server.
            note: Called with git's progress messages.

        Raises:
            DownloadError: It failed, or said nothing for too long.
        """
        process = subprocess.Popen(  # noqa: S603 - no shell, and "--" before what users give
            [self.program, *self._settings(online=online), *arguments],
            env=self._environment(online=online, is_new=arguments[0] == "init"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self.lock,) if self.lock is not None and os.name == "posix" else (),
            start_new_session=True,  # no terminal, so no prompt for a password
        )
        messages = _Messages(note)
        try:
            out = _listen(process, messages, self.address)
        finally:
            _stop(process)
        if process.returncode:
            self._fail(arguments[0], messages.lines)
        return _Output(out, messages.lines)

    def _settings(self, *, online: bool) -> list[str]:
        settings = list(_SETTINGS)
        if online:
            settings.append(f"remote.{REMOTE}.url={self.address}")
            if self.address.startswith("file:"):
                settings.append(f"remote.{REMOTE}.uploadpack={_SERVE_LOCALLY}")
        return [part for setting in settings for part in ("-c", setting)]

    def _environment(self, *, online: bool, is_new: bool) -> dict[str, str]:
        # git-rev-parse --local-env-vars: set where this is run from a hook of another repository.
        local = re.compile(
            r"GIT_(ALTERNATE_|COMMON_|CONFIG$|CONFIG_PARAMETERS|DEFAULT_|DIR|EXTERNAL_|GRAFT|IMPLICIT"
            r"|INDEX_|INTERNAL_|NAMESPACE|NO_REPLACE|OBJECT_|PREFIX|QUARANTINE|REPLACE_|SHALLOW"
            r"|TRACE|WORK_TREE)"
            r"|SSH_ASKPASS|LANGUAGE$"
        )
        inherited = {name: value for name, value in os.environ.items() if not local.match(name)}
        place = {"GIT_DIR": str(self.git_dir)}
        if self.folder:
            place["GIT_WORK_TREE"] = str(self.folder)
        return inherited | {
            **({} if is_new else place),
            **({} if online else {"GIT_NO_LAZY_FETCH": "1"}),
            "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
            "GIT_ASKPASS": "",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_PROGRESS_DELAY": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def _fail(self, command: str, lines: list[str]) -> NoReturn:
        said = "".join(f"\n  {line[:300]}" for line in lines[-5:])
        text = "\n".join(lines)
        for pattern, what, hint in _FAULTS + _NETWORK_FAULTS:
            if re.search(pattern, text):
                by_hand = f". {self.hint}" if (pattern, what, hint) in _NETWORK_FAULTS else ""
                raise DownloadError(
                    f"{what}; git said:{said}", where=self.address, hint=f"{hint}{by_hand}"
                )
        raise DownloadError(
            f"git {command} failed; it said:{said or ' nothing'}",
            where=self.address,
            hint=self.hint
            if command in {"ls-remote", "fetch"}
            else f"delete {self.folder} and run the same command again",
        )


@dataclass
class _Messages:
    """Splits git's output into progress and messages."""

    note: Progress | None
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    _rest: bytes = b""

    @property
    def lines(self) -> list[str]:
        return [*self._lines, *filter(None, [_printable(self._rest)])]

    def feed(self, piece: bytes) -> None:
        # A line has no end on purpose only where somebody wants our memory.
        *whole, self._rest = re.split(rb"[\r\n]", self._rest[-(1 << 16) :] + piece)
        for raw in whole:
            line = _printable(raw)
            if match := _PROGRESS.match(line):
                if self.note:
                    self.note(match[1], int(match[2]), int(match[3]))
            # Fetching 400 objects by hash is answered with 400 such lines.
            elif line and not line.startswith(("* ", "From ")):
                self._lines.append(line)


def _printable(raw: bytes) -> str:
    text = raw.decode(errors="replace")
    # A server's message must not steer the terminal.
    return "".join(c for c in text if c.isprintable()).strip()


def _listen(process: subprocess.Popen[bytes], messages: _Messages, where: str) -> bytes:
    """Return what a process writes on standard output; hand on the rest as it comes."""
    pieces: queue.SimpleQueue[tuple[bool, bytes]] = queue.SimpleQueue()
    pipes = [(True, process.stdout), (False, process.stderr)]
    for is_out, pipe in pipes:
        threading.Thread(target=_pump, args=(is_out, pipe, pieces), daemon=True).start()
    out, open_pipes = [], len(pipes)
    while open_pipes:
        try:
            is_out, piece = pieces.get(timeout=_STALLED)
        except queue.Empty:
            raise DownloadError(
                f"nothing has arrived for {_STALLED:g} seconds",
                where=where,
                hint=f"later, {AGAIN}",
            ) from None
        if not piece:
            open_pipes -= 1
        elif is_out:
            out.append(piece)
        else:
            messages.feed(piece)
    process.wait()
    return b"".join(out)


def _pump(is_out: bool, pipe: IO[bytes], pieces: queue.SimpleQueue[tuple[bool, bytes]]) -> None:
    with pipe:
        while piece := os.read(pipe.fileno(), 1 << 16):
            pieces.put((is_out, piece))
    pieces.put((is_out, b""))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that is still running, and the helpers it started."""
    if process.poll() is not None:
        return
    if os.name != "posix":
        process.kill()
    else:
        # Asked to stop, git removes its half-written files.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
