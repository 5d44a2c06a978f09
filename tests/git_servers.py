"""A small repository in the layout of BIG-bench, and servers for it on the loopback interface.

Every server is a context manager that ends with its block; none outlives the test.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from helpers import tree_files, write_bytes, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = "bigbench/benchmark_tasks"
BULK = 150_000
"""Bytes of each file that must not be fetched; the score files together have less."""
NO_SYNC = "[core]\nfsync = none\n"
"""Settings of git by which a test does not wait for the disk."""
_LIMIT = 30.0
"""Seconds after which a server gives up whatever it is doing."""


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, apart from this machine's settings, and return what it prints."""
    environment = os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "A" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "core.fsync=none", *arguments],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def commit_all(folder: Path, message: str = "results") -> str:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def make_repository(folder: Path, tasks: tuple[str, ...] = ("alpha", "beta", "gamma")) -> str:
    """Make a repository of one commit with results and much else; return the commit.

    Besides the results there are files that only nearly are some: deeper, elsewhere, other names.
    """
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=trunk", "--template=")
    git(folder, "config", "uploadpack.allowFilter", "true")
    root = folder / TASKS
    write_tree(root, tree_files(tasks))
    write_tree(root, tree_files(("packed",)), ending=".json.gz")
    noise = Random(3)
    for task in tasks:
        write_bytes(root / task / "task.json", noise.randbytes(BULK))
        write_bytes(root / task / "results" / "plot_a.png", noise.randbytes(BULK))
        write_bytes(root / task / "results" / "full-log_Fam_1m.json", noise.randbytes(5000))
    for name in (
        "README.md",
        "scores_Fam_1m.json",
        f"{TASKS}/scores_Fam_1m.json",
        f"{TASKS}/alpha/scores_Fam_1m.json",
        f"{TASKS}/alpha/results/old/scores_Fam_1m.json",
        f"{TASKS}/alpha/part/results/scores_Fam_1m.json",
        f"{TASKS}/alpha/results/scores_Fam_1m.json.bak",
        f"{TASKS}/results/scores_Fam_1m.json",
        f"other/{TASKS}/alpha/results/scores_Fam_1m.json",
    ):
        write_bytes(folder / name, noise.randbytes(1000))
    for name in (".gitignore", ".gitattributes", f"{TASKS}/alpha/.gitattributes"):
        write_bytes(folder / name, b"# nothing\n")
    return commit_all(folder)


def bare_copy(source: Path, folder: Path, *, allow_filter: bool = True) -> Path:
    git(source, "clone", "--quiet", "--bare", "--template=", str(source), str(folder))
    git(folder, "config", "uploadpack.allowFilter", str(allow_filter).lower())
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, git's own left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@dataclass
class HttpServer:
    """A server of git repositories by HTTP, with the faults that are asked for.

    Attributes:
        url: Address of the folder that is served.
        answers_after: Bytes of answers it still sends before it cuts every connection; None for
            all of them.
        protocol_2: Whether it tells git which protocol the client speaks.
        locked: Whether it asks for a password.
        silent: Whether it takes requests and never answers.
        requests: Method and path of each request.
        ended: Set to end silence.
    """

    url: str = ""
    answers_after: int | None = None
    protocol_2: bool = True
    locked: bool = False
    silent: bool = False
    requests: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def n_fetches(self) -> int:
        return sum(request.startswith("POST") for request in self.requests)


class _GitHandler(BaseHTTPRequestHandler):
    """Hands requests to ``git http-backend``, a CGI program."""

    timeout = _LIMIT

    def __init__(self, *arguments: object, root: Path, state: HttpServer) -> None:
        self.root, self.state = root, state
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        self.state.requests.append(f"{self.command} {path}")
        if self.state.silent:
            self.state.ended.wait(_LIMIT)
            return
        if self.state.locked:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if self.state.protocol_2:
            environment["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body, env=environment, capture_output=True, check=False, timeout=_LIMIT,
        )  # fmt: skip
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        left = self.state.answers_after
        if left is not None and len(content) > left:
            self.state.answers_after = 0
            content = content[:left]
            self.close_connection = True
        elif left is not None:
            self.state.answers_after = left - len(content)
        self.wfile.write(content)


@contextmanager
def _serving(handler: object, state: HttpServer) -> Iterator[HttpServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    server.daemon_threads = True
    # A client that is killed is no fault of ours.
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(_LIMIT)


@contextmanager
def http_server(root: Path, **faults: object) -> Iterator[HttpServer]:
    """Serve the repositories in a folder by git's own HTTP protocol."""
    state = HttpServer(**faults)  # type: ignore[arg-type]
    with _serving(partial(_GitHandler, root=root, state=state), state):
        yield state


def has_daemon() -> bool:
    if shutil.which("git") is None:
        return False
    place = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    return Path(place.stdout.strip(), "git-daemon").exists()


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """Serve the repositories in a folder by the git protocol; give the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The program itself, not `git daemon`: its id is the one to be stopped.
    place = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True)
    program = [
        str(Path(place.stdout.strip(), "git-daemon")), "--export-all", "--reuseaddr",
        f"--base-path={root}", "--listen=127.0.0.1", f"--port={port}", str(root),
    ]  # fmt: skip
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield f"git://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _LIMIT
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("git daemon does not start")
