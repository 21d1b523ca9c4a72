"""A client of Daraja with credentials of its own, and a server that misbehaves."""

import socket
import struct
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import responses
from django.core.cache import cache

from payments.gateways import tokens
from payments.gateways.base import Credentials, PushRequest
from payments.gateways.daraja import Daraja


BASE = "http://daraja.test"
PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
QUERY_PATH = "/mpesa/stkpushquery/v1/query"
TOKEN_PATH = "/oauth/v1/generate"


@pytest.fixture(autouse=True)
def _no_old_tokens(settings, request):
    tokens.forget_all()
    if settings.REDIS_URL:
        cache.clear()
    yield
    tokens.forget_all()


@pytest.fixture
def daraja(settings):
    """A client of its own, so with a breaker of its own."""
    settings.MPESA_BASE_URL = BASE
    client = Daraja()
    client._session.trust_env = False
    yield client
    client._session.close()


@pytest.fixture
def account():
    """A paybill whose keys no other test has used."""
    return credentials()


def credentials(**changes):
    facts = {
        "environment": "simulator",
        "is_till": False,
        "shortcode": "174379",
        "party_b": "174379",
        "consumer_key": uuid.uuid4().hex,
        "consumer_secret": "secret",
        "passkey": "passkey",
    }
    return Credentials(**facts | changes)


@pytest.fixture
def ask():
    """A prompt for KES 250."""
    return PushRequest(
        phone="254708374149",
        amount=250,
        reference="K7Q2M9AB1",
        description="Sale",
        callback_url="https://duka.example.co.ke/hooks/stk/9f3c",
    )


@pytest.fixture
def wire():
    """What answers at BASE: `wire.add(...)`, `wire.calls`; a token always."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(
            BASE + TOKEN_PATH, json={"access_token": "token-1", "expires_in": "3599"}
        )
        yield mock


class Misbehaving:
    """A server on a free port; `habit` says what it does to a POST.

    A token is always given. `posts` counts what came in.
    """

    def __init__(self):
        self.posts = 0
        self.habit = self.hang
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self, b'{"access_token": "t", "expires_in": 3599}')

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts += 1
                outer.habit(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hang(self, handler):
        """Say nothing."""
        self.released.wait(10)
        handler.close_connection = True

    def reset(self, handler):
        """Cut the connection after the request was read."""
        no_linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        handler.connection.shutdown(socket.SHUT_RD)
        handler.close_connection = True

    def drip(self, handler):
        """Send a byte now and then, each in time, never all of them."""
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b" ")
            except OSError:
                break
            if self.released.wait(0.05):
                break
        handler.close_connection = True

    def flood(self, handler):
        """Answer with far more than an answer can be."""
        self.answer(handler, b" " * 5_000_000)

    @staticmethod
    def answer(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body)
        except OSError:
            handler.close_connection = True


@pytest.fixture
def server(settings, daraja, account):
    """A misbehaving server that the client talks to, with short time-outs.

    The account has its token before: the short time is for what is posted alone.
    """
    misbehaving = Misbehaving()
    settings.MPESA_BASE_URL = misbehaving.url
    daraja.token(account, limit_s=10)
    settings.PUSH_READ_TIMEOUT_S = 0.4
    yield misbehaving
    misbehaving.stop()


@pytest.fixture
def closed_port():
    """The address of a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def turned(monkeypatch):
    """Turn the breaker's clock: call with seconds."""
    shift = [0.0]
    real = time.monotonic
    monkeypatch.setattr(
        "payments.gateways.daraja.time.monotonic", lambda: real() + shift[0]
    )

    def turn(seconds):
        shift[0] += seconds

    return turn
