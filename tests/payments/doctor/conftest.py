"""A server that answers as it is told, the real simulator, and an account to look at."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from payments.enums import Health
from payments.models import MpesaSettings
from smartduka.lib import clock
from smartduka.models import Heartbeat
from tests.factories import MpesaAccountFactory, ShopFactory
from tests.support.simulator import SimulatorProcess


FINE, LOOK, BROKEN, UNKNOWN = Health.FINE, Health.LOOK, Health.BROKEN, Health.UNKNOWN
TILL = {
    "type": "till", "shortcode": "600300", "party_b": "5600301",
    "consumer_key": "sim-till-key", "consumer_secret": "sim-till-secret",
    "passkey": "simtillpasskey".ljust(64, "0"),
}  # fmt: skip


class Server:
    """A web server on a free port that answers as it is told."""

    def __init__(self, tls=None):
        self.status, self.body, self.headers = 200, b'{"status": "ok"}', {}
        self.hook = (405, b'{"success": false, "code": "INVALID_REQUEST"}')
        self.date = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = outer.status, outer.body
                if self.path.startswith("/hooks/"):
                    status, body = outer.hook
                self.send_response_only(status)
                if outer.date is not None:
                    self.send_header("Date", outer.date)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.handle_error = lambda *args: None  # a client that hung up
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        ).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def self_signed(tmp_path):
    """A server whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Server(context)
    yield server
    server.stop()


@pytest.fixture
def nowhere():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="package")
def simulator_process():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def simulator(simulator_process, settings):
    """The real simulator as M-Pesa."""
    simulator_process.reset()
    settings.MPESA_BASE_URL = simulator_process.url
    return simulator_process


@pytest.fixture
def shop():
    return ShopFactory(name="Jirani", slug="jirani", phone="0711 222 333")


@pytest.fixture
def account(shop):
    """The paybill of the simulator's second shop, in use."""
    account = MpesaAccountFactory(
        shop=shop, initiator_name="simapi", initiator_password="SimPass123#"
    )
    MpesaSettings.objects.create(shop=shop, account=account)
    return account


@pytest.fixture
def healthy(simulator, settings, server):
    """An installation where all that an account needs is fine."""
    settings.MPESA_CALLBACK_URL = server.url
    beat("worker:here:1", 3)
    beat("every:payments.tasks.sweep", 3)


def by_key(findings):
    return {one.key: one.health for one in findings}


def state(finding):
    return finding.health


def beat(name, ago_s):
    at = clock.now() - timedelta(seconds=ago_s)
    Heartbeat.objects.update_or_create(name=name, defaults={"beaten_at": at})
