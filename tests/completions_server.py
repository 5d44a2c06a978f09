"""Models that add and multiply, behind OpenAI's completions endpoint on loopback."""

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
        error_rates: The models by name, with the share of the digits that each gets wrong: another
            digit, none, or the digit twice. Which ones is decided by a hash of question and place,
            so that a question always gets the same answer and a smaller share only mends digits.
    """

    def __init__(self, error_rates: dict[str, float]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.error_rates = error_rates
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/completions"

    def answer(self, model: str, a: int, word: str, b: int) -> str:
        digits = []
        for place, digit in enumerate(str(OPERATIONS[word](a, b))):
            number = xxh3_64_intdigest(f"{a} {word} {b} {place}".encode())
            if number / 2**64 < self.error_rates[model]:
                digit = (str((int(digit) + 1) % 10), "", 2 * digit)[number % 3]
            digits.append(digit)
        return "".join(digits)


class _Handler(BaseHTTPRequestHandler):
    server: ArithmeticServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        prompts = asked["prompt"] if isinstance(asked["prompt"], list) else [asked["prompt"]]
        found = [LAST_QUESTION.search(prompt) for prompt in prompts]
        known = asked["model"] in self.server.error_rates
        if self.path != "/v1/completions" or not known or not all(found):
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
        answer = self.server.answer(asked["model"], int(a), word, int(b))
        text = f" {answer}\n\nQ: What is 1 plus 1?\nA: 2"
        for stop in filter(None, asked["stop"]):
            text = text.partition(stop)[0]
        return text

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def arithmetic_server(error_rates: dict[str, float]) -> Iterator[ArithmeticServer]:
    """Start the server in a thread and stop it at the end."""
    with ArithmeticServer(error_rates) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
