"""An S3 server on loopback, in a process of its own, so that it can be killed."""

from __future__ import annotations

import http.client
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Requests one after the other: of two that create the same object one is the first. A request to
# /put-only/N lets N more objects be put; then connections break off, until /put-only/-1.
_SERVER = """
import socket
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

moto = DomainDispatcherApplication(create_backend_app)
left = -1

def app(environ, start_response):
    global left
    if environ["PATH_INFO"].startswith("/put-only/"):
        left = int(environ["PATH_INFO"].rpartition("/")[2])
        start_response("200 OK", [])
        return [b""]
    if environ["REQUEST_METHOD"] == "PUT" and left >= 0:
        if not left:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        left -= 1
    return moto(environ, start_response)

class Quiet(WSGIRequestHandler):
    def log(self, *args):
        pass

server = make_server("127.0.0.1", 0, app, request_handler=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Server:
    """A server, with its URL."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        with self.process.stdout as ready:
            self.port = int(ready.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables by which programs find the server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request that is not S3's and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, path, body)
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def served() -> Iterator[Server]:
    """Give a server while the block runs."""
    server = Server()
    try:
        yield server
    finally:
        server.stop()
