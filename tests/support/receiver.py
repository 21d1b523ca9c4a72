"""A merchant's callback address: keeps what is posted, answers as told."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.simulator import wait_until


ACCEPTED = b'{"ResultCode": 0, "ResultDesc": "Accepted"}'


@dataclass(frozen=True)
class Posted:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def stk(self) -> dict[str, Any]:
        """The part of an STK callback that counts."""
        return json.loads(self.body)["Body"]["stkCallback"]

    @property
    def metadata(self) -> dict[str, Any]:
        items = self.stk["CallbackMetadata"]["Item"]
        return {item["Name"]: item.get("Value") for item in items}


@dataclass
class CallbackReceiver:
    """Listens on a free port of 127.0.0.1. Usable as a context manager.

    ``statuses`` and ``answers`` (by path, as JSON text) are used up one by one, then
    it answers 200 and Accepted; ``pause_s`` comes before each answer.
    """

    posted: list[Posted] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    pause_s: float = 0
    location: str = ""

    def __enter__(self) -> CallbackReceiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def do_GET(self) -> None:
                receiver.take(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        headers = dict(request.headers.items())
        status = self.statuses.pop(0) if self.statuses else 200
        self.posted.append(Posted(request.path, headers, body, time.monotonic()))
        queued = self.answers.get(request.path)
        answer = queued.pop(0).encode() if queued else ACCEPTED
        time.sleep(self.pause_s)
        request.send_response(status)
        if self.location:
            request.send_header("Location", self.location)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def wait_for(self, count: int = 1, *, timeout_s: float = 5.0) -> list[Posted]:
        """Return what was posted once there are so many."""
        wait_until(lambda: len(self.posted) >= count, timeout_s=timeout_s)
        return list(self.posted)
