"""A model that adds and multiplies, behind OpenAI's completions endpoint on loopback."""

from __future__ import annotations

import json
import operator
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = {"times": operator.mul, "plus": operator.add}
LAST_QUESTION = re.compile(r"Q: What is (\d+) (times|plus) (\d+)\?\nA:\Z")


class ArithmeticServer(ThreadingHTTPServer):
    """The server; it keeps what it was asked.

    Args:
        error_rate: Share of the answers whose last digit is wrong, chosen by a hash of the question
            so that the same question always gets the same answer.
    """

    def __init__(self, error_rate: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.error_rate = error_rate
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/completions"

    def answer(self, a: int, word: str, b: int) -> str:
        right = str(OPERATIONS[word](a, b))
        if xxh3_64_intdigest(f"{a} {word} {b}".encode()) / 2**64 < self.error_rate:
            return right[:-1] + str((int(right[-1]) + 1) % 10)
        return right


class _Handler(BaseHTTPRequestHandler):
    server: ArithmeticServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        prompts = asked["prompt"] if isinstance(asked["prompt"], list) else [asked["prompt"]]
        found = [LAST_QUESTION.search(prompt) for prompt in prompts]
        if self.path != "/v1/completions" or not all(found):
            self.send_error(404)
            return
        choices = [
            # A base model goes on with the next question; a stop sequence is the server's business.
            {"index": place, "text": self._stopped(question, asked), "finish_reason": "stop"}
            for place, question in enumerate(found)
        ]
        body = json.dumps({"object": "text_completion", "choices": choices}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stopped(self, question: re.Match[str], asked: dict[str, Any]) -> str:
        a, word, b = question.groups()
        text = f" {self.server.answer(int(a), word, int(b))}\n\nQ: What is 1 plus 1?\nA: 2"
        for stop in filter(None, asked["stop"]):
            text = text.partition(stop)[0]
        return text

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def arithmetic_server(error_rate: float) -> Iterator[ArithmeticServer]:
    """Start the server in a thread and stop it at the end."""
    with ArithmeticServer(error_rate) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
