"""A load: clients that each send a request, wait for the answer, and send the next.

One thread and no HTTP library, because on two cores the measuring must cost less
than what is measured. Latencies in seconds.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
LIMIT_S = 120.0
CUT_OFF = 0  # counted as a status: no answer, or none that can be read


@dataclass(slots=True)
class Load:
    """What became of the requests: statuses, how long each took, and all of them."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0  # of the server, for all of them

    @property
    def rate(self) -> float:
        """Answers per second."""
        return sum(self.statuses.values()) / self.elapsed


class Client:
    """One connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.received, self.sent_at = b"", time.perf_counter()
        self.socket.sendall(request)

    def status(self) -> int | None:
        """Read what is there; the status once the answer is whole, None before."""
        try:
            chunk = self.socket.recv(65536)
        except OSError:
            chunk = b""
        self.received += chunk
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if end and length and len(body) >= int(length[1]):
            return int(head[9:12])
        return None if chunk else CUT_OFF


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole HTTP/1.1 request; an underscore in a header's name is a dash."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(
    port: int, requests: Sequence[bytes], *, clients: int, ramp_s: float = 0.0
) -> Load:
    """Send all requests, that many at a time; clients begin spread over `ramp_s`.

    A client that is cut off counts its request as such and connects anew. Raises
    TimeoutError after LIMIT_S.
    """
    load, todo = Load(), iter(requests)
    idle = [Client(port) for _ in range(clients)]
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        starts = [started + ramp_s * n / clients for n in range(clients)][::-1]
        while idle or selector.get_map():
            now = time.perf_counter()
            if now > started + LIMIT_S:
                raise TimeoutError(f"{len(load.latencies)} answers in {LIMIT_S:.0f} s")
            while idle and starts[-1] <= now:
                starts.pop()
                _next(selector, idle.pop(), todo)
            wait_s = max(0.0, starts[-1] - now) if starts else 1.0
            for key, _ in selector.select(min(wait_s, 1.0)):
                client: Client = key.data
                status = client.status()
                if status is None:
                    continue
                load.latencies.append(time.perf_counter() - client.sent_at)
                load.statuses[status] += 1
                selector.unregister(client.socket)
                if status == CUT_OFF:
                    client.socket.close()
                    client = Client(port)
                _next(selector, client, todo)
        load.elapsed = time.perf_counter() - started
    return load


def _next(
    selector: selectors.BaseSelector, client: Client, todo: Iterator[bytes]
) -> None:
    one = next(todo, None)
    if one is None:
        client.socket.close()
        return
    selector.register(client.socket, selectors.EVENT_READ, client)
    client.send(one)
