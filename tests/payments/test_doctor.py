"""The go-live doctor: each thing that it looks at, once fine and once not."""

import io
import json
import socket
import ssl
import threading
import time as real_time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import transaction

from payments import c2b, gateways
from payments.doctor import (
    account as account_checks,
)
from payments.doctor import (
    address,
    examinations,
    installation,
    machinery,
    messages,
    mpesa,
    proxies,
    safekeeping,
    wire,
)
from payments.doctor.findings import Finding, Report, Who, restored
from payments.doctor.proxies import Seen
from payments.enums import Health, Verdict
from payments.gateways.base import Proof
from payments.models import (
    AccountHook,
    Examination,
    MpesaAccount,
    MpesaSettings,
    Notice,
)
from smartduka.lib import clock
from smartduka.models import Heartbeat
from tests.factories import (
    MpesaAccountFactory,
    OrderFactory,
    PaymentFactory,
    ShopFactory,
)
from tests.support.gateway import FakeMpesa
from tests.support.simulator import SimulatorProcess


pytestmark = pytest.mark.django_db

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


@pytest.fixture(scope="module")
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


def by_key(findings):
    return {one.key: one.health for one in findings}


def state(finding):
    return finding.health


# The numbers.


@pytest.mark.parametrize(
    ("facts", "health", "words"),
    [
        ({}, FINE, "Paybill 600200: one number"),
        (TILL, FINE, "Customers pay to till 5600301; prompts are sent in the name of"),
        (TILL | {"party_b": "600300"}, BROKEN, "Till and store number are both 600300"),
        ({"party_b": "600201"}, BROKEN, "A paybill has one number"),
        ({"shortcode": "12"}, BROKEN, "M-Pesa's numbers have 5 to 7 digits"),
        ({"environment": "sandbox"}, BROKEN, "This account belongs to sandbox"),
    ],
    ids=["paybill", "till", "till twice", "two paybills", "too short", "elsewhere"],
)
def test_numbers_must_be_a_pair_of_their_kind(shop, facts, health, words):
    finding = account_checks.numbers(MpesaAccountFactory(shop=shop, **facts))

    assert state(finding) == health
    assert finding.words.startswith(words)


def test_the_sandboxs_number_is_none_for_real_money(shop, settings):
    settings.MPESA_ENV = "production"
    account = MpesaAccountFactory(shop=shop, shortcode="174379")

    assert state(account_checks.numbers(account)) == BROKEN


def test_letter_has_the_shops_numbers_and_never_a_secret(shop):
    account = MpesaAccountFactory(shop=shop, **TILL | {"party_b": "600300"})

    letter = account_checks.numbers(account).letter

    assert letter.split("\n") == [
        "PRACTICE MODE: this is what you would send. Do not send it.",
        "",
        "To: apisupport@safaricom.co.ke",
        "Subject: Which store number does our till have?"
        " (till 600300, store number 600300)",
        "",
        "Dear Safaricom API support,",
        "",
        "we want to send M-Pesa Express prompts for our till 600300.",
        "Please tell us its store (head office) number, and confirm that M-Pesa Express"
        " is enabled for it.",
        "",
        "Business name: Jirani",
        "Number: till 600300, store number 600300",
        "App at developer.safaricom.co.ke: [name of the app]",
        "Environment: simulator",
        "Contact phone: 0711 222 333",
        "",
        "Thank you,",
        "Jirani",
    ]


def test_account_is_used_by_a_shop_that_chose_it(account, shop):
    assert state(account_checks.used(account)) == FINE

    MpesaSettings.objects.update(account=None)
    assert account_checks.used(account).words.startswith("No shop has chosen it")
    MpesaSettings.objects.update(candidate=account)
    assert account_checks.used(account).words.startswith("It is being set up")
    assert state(account_checks.used(account)) == LOOK

    account.is_active = False
    assert state(account_checks.used(account)) == BROKEN


# The keys, as the real simulator judges them.


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, [FINE, FINE, FINE, FINE]),
        (TILL, [FINE, FINE, FINE, FINE]),
        ({"consumer_secret": "wrong"}, [BROKEN, UNKNOWN, UNKNOWN, UNKNOWN]),
        (TILL | {"shortcode": "5600301"}, [FINE, FINE, BROKEN, UNKNOWN]),
        ({"passkey": "wrong"}, [FINE, FINE, FINE, BROKEN]),
    ],
    ids=["paybill", "till", "secret", "till as store", "passkey"],
)
def test_keys_are_tried_at_mpesa(simulator, shop, facts, found):
    account = MpesaAccountFactory(shop=shop, **facts)

    findings = account_checks.keys(account)

    assert [one.key for one in findings] == ["keys", "product", "number", "passkey"]
    assert [one.health for one in findings] == found
    for one in findings:
        is_theirs = one.health == BROKEN and one.key != "keys"
        assert bool(one.letter) is is_theirs, one.key
        assert (one.who == Who.SAFARICOM) is is_theirs, one.key


def test_short_passkey_is_named(simulator, shop):
    *_, passkey = account_checks.keys(MpesaAccountFactory(shop=shop, passkey="wrong"))

    assert passkey.words.endswith("has 5 characters; Safaricom's have 64.")


def test_app_without_the_product_is_safaricoms_to_mend(account):
    stand_in = FakeMpesa()
    stand_in.proof = Proof.PRODUCT
    with gateways.using(stand_in):
        found = account_checks.keys(account)

    assert by_key(found)["product"] == BROKEN
    assert "Please add M-Pesa Express" in found[1].letter


def test_unreached_mpesa_leaves_keys_unknown(account, settings, nowhere):
    settings.MPESA_BASE_URL = nowhere

    assert set(by_key(account_checks.keys(account)).values()) == {UNKNOWN}


def test_keys_that_are_missing_or_do_not_open_are_not_tried(account):
    MpesaAccount.objects.update(passkey_sealed=b"\x01damaged" * 9)
    (damaged,) = account_checks.keys(MpesaAccount.objects.get())
    MpesaAccount.objects.update(passkey_sealed=None)
    (missing,) = account_checks.keys(MpesaAccount.objects.get())

    assert (damaged.health, missing.health) == (BROKEN, BROKEN)
    assert "cannot be read" in damaged.words
    assert "is missing" in missing.words


def test_initiator_is_needed_for_refunds(account):
    assert state(account_checks.initiator(account)) == FINE
    account.initiator_name = ""
    assert state(account_checks.initiator(account)) == LOOK


# M-Pesa and its clock.


def test_real_simulator_answers_and_its_clock_is_ours(simulator):
    assert by_key(mpesa.findings()) == {"mpesa": FINE, "clock": FINE}


@pytest.mark.parametrize(
    ("off_s", "health", "words"),
    [
        (0, FINE, "The server's clock agrees with M-Pesa's."),
        (-8, FINE, "The server's clock agrees with M-Pesa's."),
        (60, LOOK, "The server's clock is 60 seconds behind M-Pesa's."),
        (-3600, BROKEN, "The server's clock is 60 minutes ahead of M-Pesa's. M-Pesa"),
        (3 * 3600, BROKEN, "The server's clock is 3 hours behind M-Pesa's. M-Pesa"),
    ],
)
def test_clock_is_compared_with_mpesas(server, settings, off_s, health, words):
    settings.MPESA_BASE_URL = server.url
    theirs = datetime.now(UTC) + timedelta(seconds=off_s)
    server.date = format_datetime(theirs, usegmt=True)

    clock_finding = mpesa.findings()[1]

    assert state(clock_finding) == health
    assert clock_finding.words.startswith(words[:38])


@pytest.mark.parametrize("date", [None, "yesterday", "Fri, 20 Nov 2026 09:00:00 -0000"])
def test_clock_that_is_not_told_is_not_compared(server, settings, date):
    settings.MPESA_BASE_URL, server.date = server.url, date

    assert by_key(mpesa.findings()) == {"mpesa": FINE, "clock": UNKNOWN}


def test_mpesa_that_does_not_answer_is_broken(settings, nowhere):
    settings.MPESA_BASE_URL = nowhere

    assert by_key(mpesa.findings()) == {"mpesa": BROKEN, "clock": UNKNOWN}


def test_edge_that_blocks_us_is_told(server, settings):
    settings.MPESA_BASE_URL, server.status = server.url, 403

    assert by_key(mpesa.findings())["mpesa"] == LOOK


# One look is bounded, whatever is at the other end.


def test_name_service_that_hangs_does_not_hang_us(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: real_time.sleep(3))
    before = real_time.monotonic()

    with pytest.raises(wire.Unreached):
        wire.look("http://slow.example.co.ke", limit_s=0.2)

    assert real_time.monotonic() - before < 1.5


def test_nobody_is_asked_inside_a_transaction(server):
    with transaction.atomic(), transaction.atomic(), pytest.raises(RuntimeError):
        wire.look(server.url)


# The address that M-Pesa calls back.


@pytest.mark.parametrize(
    ("environment", "url", "health", "words"),
    [
        ("simulator", "http://127.0.0.1:8000", FINE, "Practice mode"),
        ("simulator", "http://127.0.0.1/mpesa", BROKEN, "It contains 'mpesa'"),
        ("sandbox", "https://duka.example.co.ke", FINE, "https://duka.example.co.ke"),
        ("sandbox", "http://duka.example.co.ke", LOOK, "It is not HTTPS: the sandbox"),
        ("production", "https://duka.example.co.ke", FINE, "https://duka"),
        ("production", "http://duka.example.co.ke", BROKEN, "It is not HTTPS: M-Pesa"),
        (
            "production",
            "https://duka.example.co.ke/Query",
            BROKEN,
            "It contains 'query",
        ),
        ("production", "https://sqlduka.co.ke", BROKEN, "It contains 'sql'"),
        ("production", "https://a.ngrok.io", BROKEN, "It is at a ngrok host"),
        ("production", "https://192.168.1.4", BROKEN, "192.168.1.4 is not public"),
        ("production", "https://duka.local", BROKEN, "duka.local is not public"),
        ("production", "https://duka", BROKEN, "duka is not public"),
        ("production", "https://41.90.1.1", LOOK, "It is a bare IP address"),
        ("production", "https://duka.example.co.ke:8443", LOOK, "It has a port of its"),
    ],
)
def test_address_keeps_mpesas_rules(settings, environment, url, health, words):
    settings.MPESA_ENV, settings.MPESA_CALLBACK_URL = environment, url
    settings.ALLOWED_HOSTS = ["*"]

    finding = address.rules()

    assert state(finding) == health
    assert finding.words.startswith(words)


def test_host_that_we_turn_away_ourselves_is_broken(settings):
    settings.MPESA_CALLBACK_URL = "http://127.0.0.2:8000"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]

    assert "ALLOWED_HOSTS does not name 127.0.0.2" in address.rules().words
    assert state(address.rules()) == BROKEN


def test_address_that_answers_is_fine_for_the_simulator(server, settings):
    settings.MPESA_CALLBACK_URL = server.url

    assert state(address.reach()) == FINE


def test_only_a_message_of_mpesas_proves_that_it_gets_through(
    server, settings, account
):
    settings.MPESA_CALLBACK_URL, settings.MPESA_ENV = server.url, "sandbox"
    kept = Notice.objects.create(
        body=b"", received_at=clock.now(), address="203.0.113.7", address_is_listed=True
    )
    assert state(address.reach()) == UNKNOWN

    Notice.objects.filter(pk=kept.pk).update(account=account)
    assert state(address.reach()) == FINE
    Notice.objects.filter(pk=kept.pk).update(address_is_listed=False)
    assert state(address.reach()) == UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (301, b"", "leads elsewhere"),
        (404, b"nothing", "not as this installation does (HTTP 404)"),
        (200, b"Welcome to nginx!", "not as this installation does (HTTP 200)"),
    ],
)
def test_address_where_something_else_answers_is_broken(
    server, settings, status, body, words
):
    settings.MPESA_CALLBACK_URL = server.url
    server.status, server.body, server.headers = status, body, {"Location": "/login"}

    finding = address.reach()

    assert (state(finding), words in finding.words) == (BROKEN, True)


@pytest.mark.parametrize(
    ("status", "words"), [(301, "leads elsewhere"), (404, "(HTTP 404)")]
)
def test_hooks_that_are_sent_elsewhere_are_broken(server, settings, status, words):
    settings.MPESA_CALLBACK_URL = server.url
    server.hook = (status, b"")

    finding = address.reach()

    assert (state(finding), words in finding.words) == (BROKEN, True)


def test_hook_answers_a_look_and_keeps_nothing(live_server, settings):
    settings.MPESA_CALLBACK_URL = live_server.url

    assert state(address.reach()) == FINE
    assert Notice.objects.count() == 0


def test_address_that_cannot_see_itself_is_looked_at_from_outside(settings, nowhere):
    settings.MPESA_CALLBACK_URL = nowhere

    assert state(address.reach()) == LOOK
    assert f"{nowhere}/healthz" in address.reach().remedy


def test_name_that_leads_nowhere_is_broken(settings, monkeypatch):
    settings.MPESA_CALLBACK_URL = "https://duka.example.co.ke"

    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert state(address.reach()) == BROKEN
    assert "duka.example.co.ke leads nowhere" in address.reach().words


def test_certificate_of_nobody_is_broken(settings, self_signed):
    settings.MPESA_CALLBACK_URL = self_signed.url

    finding = address.reach()

    assert state(finding) == BROKEN
    assert "certificate" in finding.words


# Proxies.


@pytest.mark.parametrize(
    ("believed", "came", "health"),
    [
        (0, Seen("41.90.1.1", (), False), FINE),
        (0, Seen("127.0.0.1", ("41.90.1.1",), False), BROKEN),
        (0, Seen("41.90.1.1", ("10.0.0.1",), False), LOOK),
        (1, Seen("127.0.0.1", ("41.90.1.1",), True), FINE),
        (1, Seen("127.0.0.1", (), False), BROKEN),
        (2, Seen("127.0.0.1", ("41.90.1.1",), True), BROKEN),
        (1, Seen("127.0.0.1", ("41.90.1.1", "10.0.0.1"), True), BROKEN),
        (1, Seen("127.0.0.1", ("41.90.1.1", "104.16.0.1"), True), LOOK),
        (1, Seen("127.0.0.1", ("41.90.1.1",), False), BROKEN),
    ],
    ids=[
        "none", "one unknown", "header of a caller", "one", "none there", "too many",
        "one more of ours", "one more of somebody's", "no scheme",
    ],
)  # fmt: skip
def test_proxies_are_those_that_are_believed(settings, believed, came, health):
    settings.TRUSTED_PROXY_COUNT = believed
    settings.MPESA_CALLBACK_URL = (
        "https://duka.example.co.ke" if believed else "http://127.0.0.1:8000"
    )

    assert state(proxies.finding(came)) == health


def test_headers_of_a_call_are_read(rf):
    request = rf.get("/", HTTP_X_FORWARDED_FOR="1.2.3.4, 5.6.7.8", REMOTE_ADDR="::1")

    assert proxies.seen(request) == Seen("::1", ("1.2.3.4", "5.6.7.8"), False)


@pytest.mark.parametrize(
    ("caller", "health"), [(None, UNKNOWN), ("10.0.0.1", BROKEN), ("41.90.1.1", FINE)]
)
def test_without_a_call_the_last_message_shows_the_proxies(settings, caller, health):
    settings.MPESA_ENV = "sandbox"
    if caller:
        Notice.objects.create(body=b"", received_at=clock.now(), address=caller)

    assert state(proxies.finding(None)) == health


# Worker and sweep.


def beat(name, ago_s):
    at = clock.now() - timedelta(seconds=ago_s)
    Heartbeat.objects.update_or_create(name=name, defaults={"beaten_at": at})


@pytest.mark.parametrize(
    ("ago_s", "health"), [(None, BROKEN), (10, FINE), (600, BROKEN), (-600, LOOK)]
)
def test_worker_is_alive_if_it_did_something_lately(ago_s, health):
    if ago_s is not None:
        beat("worker:here:1", ago_s)

    assert state(machinery.worker()) == health


def test_one_living_worker_is_enough():
    beat("worker:dead:1", 9000)
    beat("worker:here:2", 3)

    assert state(machinery.worker()) == FINE


@pytest.mark.parametrize(
    ("ago_s", "health"), [(None, BROKEN), (30, FINE), (600, BROKEN)]
)
def test_rounds_must_be_made(ago_s, health):
    if ago_s is not None:
        beat("every:payments.tasks.sweep", ago_s)

    assert state(machinery.sweep()) == health


@pytest.mark.parametrize(
    ("late_s", "health"), [(60, FINE), (600, LOOK), (3600, BROKEN)]
)
def test_questions_and_messages_must_not_pile_up(account, late_s, health):
    beat("every:payments.tasks.sweep", 5)
    due = clock.now() - timedelta(seconds=late_s)
    Notice.objects.create(body=b"", received_at=due, next_try_at=due)
    PaymentFactory(order=OrderFactory(shop=account.shop), next_ask_at=due)

    finding = machinery.sweep()

    assert state(finding) == health
    assert finding.words.startswith("2 questions") is (health != FINE)


# Keys of the installation.


OLD, NEW = b"\x01" * 32, b"\x02" * 32


def test_secrets_under_the_one_key_are_fine(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [NEW]
    MpesaAccountFactory(shop=shop)

    finding = safekeeping.sealed()

    assert state(finding) == FINE
    assert finding.words == (
        "Rows with secrets that were opened: 1. All are under the only key."
    )


def test_secrets_under_an_old_key_are_to_be_rotated(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    MpesaAccountFactory(shop=shop)
    settings.MPESA_ENCRYPTION_KEYS = [NEW, OLD]
    assert "Still under an old key: 1." in safekeeping.sealed().words

    call_command("rotate_keys", stdout=io.StringIO())
    left_over = safekeeping.sealed()
    assert (state(left_over), "1 key left over" in left_over.words) == (LOOK, True)


def test_secrets_that_do_not_open_are_broken(settings, shop):
    settings.MPESA_ENCRYPTION_KEYS = [OLD]
    account = MpesaAccountFactory(shop=shop)
    settings.MPESA_ENCRYPTION_KEYS = [NEW]

    finding = safekeeping.sealed()

    assert state(finding) == BROKEN
    assert finding.words.startswith("3 secrets do not open: ")
    assert str(account.pk) in finding.words


def test_not_more_rows_are_opened_than_a_person_waits_for(monkeypatch, shop):
    MpesaAccountFactory(shop=shop)
    MpesaAccountFactory(shop=shop, **TILL)
    monkeypatch.setattr(safekeeping, "MOST", 1)

    assert "opened: 1 (there are more)" in safekeeping.sealed().words


def test_hook_keys_should_be_their_own(settings):
    settings.HOOK_KEYS_ARE_DERIVED = True
    assert state(safekeeping.signing()) == LOOK
    settings.HOOK_KEYS_ARE_DERIVED = False
    assert state(safekeeping.signing()) == FINE


# The installation.


@pytest.mark.parametrize(
    ("environment", "health"),
    [("production", FINE), ("sandbox", LOOK), ("simulator", LOOK)],
)
def test_environment_is_told(settings, environment, health):
    settings.MPESA_ENV = environment

    assert state(installation.mode()) == health


@pytest.mark.parametrize(
    ("environment", "mode", "health"),
    [
        ("production", "enforce", FINE), ("production", "log", LOOK),
        ("simulator", "off", FINE),
    ],
)  # fmt: skip
def test_callers_are_doubted_in_production(settings, environment, mode, health):
    settings.MPESA_ENV, settings.MPESA_CALLBACK_IP_MODE = environment, mode

    assert state(installation.callers()) == health


def test_what_the_deployment_check_says_is_told(settings, monkeypatch):
    said = []
    monkeypatch.setattr(checks, "run_checks", lambda **kwargs: said)
    assert state(installation.deployment()) == FINE

    said.append(checks.Warning("x", id="security.W004"))
    assert state(installation.deployment()) == LOOK
    settings.MPESA_ENV = "production"
    assert state(installation.deployment()) == BROKEN
    settings.SILENCED_SYSTEM_CHECKS = ["security.W004"]
    assert state(installation.deployment()) == FINE


def test_debug_is_named(settings):
    settings.DEBUG = True

    assert "security.W018" in installation.deployment().words
    assert installation.deployment().words.startswith("DEBUG is on")


def test_tables_of_this_version_must_be_there(monkeypatch):
    assert state(installation.tables()) == FINE
    monkeypatch.setattr(
        installation.MigrationExecutor, "migration_plan", lambda *a: [("x", False)]
    )
    assert state(installation.tables()) == BROKEN


def test_copies_can_never_be_known():
    assert state(installation.backups()) == UNKNOWN


# Messages.


def prompts(account, count, *, told=0, ago_s=900, **facts):
    """Make prompts that are over, of which M-Pesa told of some."""
    made = [
        PaymentFactory(
            order=OrderFactory(shop=account.shop), account=account,
            created_at=clock.now() - timedelta(seconds=ago_s + number), **facts,
        )
        for number in range(count)
    ]  # fmt: skip
    for payment in made[:told]:
        Notice.objects.create(
            payment=payment, body=b"", received_at=clock.now(), verdict=Verdict.APPLIED
        )
    return made


@pytest.mark.parametrize(
    ("count", "told", "ago_s", "health"),
    [
        (0, 0, 900, UNKNOWN), (3, 3, 900, FINE), (4, 3, 900, FINE), (4, 1, 900, LOOK),
        (2, 0, 900, LOOK), (3, 0, 900, BROKEN), (3, 0, 5, UNKNOWN),
    ],
)  # fmt: skip
def test_messages_about_prompts_come(account, count, told, ago_s, health):
    prompts(account, count, told=told, ago_s=ago_s)

    answers = messages.findings(account)[1]

    assert (answers.key, state(answers)) == ("answers", health)
    assert bool(answers.letter) is (health == BROKEN)


def test_money_alone_proves_where_customers_pay(account):
    money = messages.findings(account)[0]
    assert (money.key, state(money)) == ("money", UNKNOWN)

    prompts(account, 1, status="completed", completed_at=clock.now(),
            decided_at=clock.now(), receipt="UAE5DOCTOR")  # fmt: skip
    assert state(messages.findings(account)[0]) == FINE


def test_prompts_of_a_shared_account_are_its_shops(account):
    shared = MpesaAccountFactory(shop=None, shortcode="600100")
    for _ in range(2):
        shop = ShopFactory(platform=True)
        PaymentFactory(order=OrderFactory(shop=shop), account=shared)
    other = prompts(account, 1)

    found = messages._newest_prompts(shared)

    assert len(found) == 2
    assert other[0] not in found
    assert found[0].created_at > found[1].created_at
    assert messages._newest_prompts(account) == other


@pytest.mark.parametrize("code", ["2028", "SFC_IC0003"])
def test_refused_pair_is_told_until_money_arrives(account, code):
    prompts(account, 1, status="failed", failure_reason="shop_account",
            decided_at=clock.now(), result_code=code)  # fmt: skip
    refused = messages.findings(account)[0]
    assert state(refused) == BROKEN
    assert code in refused.letter

    prompts(account, 1, ago_s=60, status="completed", completed_at=clock.now(),
            decided_at=clock.now(), receipt="UAE5DOCTOR")  # fmt: skip
    assert state(messages.findings(account)[0]) == FINE


def test_payments_by_hand_are_registered_and_told(simulator, account):
    assert state(messages.by_hand(account)) == LOOK

    c2b.register(account, None)
    account.refresh_from_db()
    assert state(messages.by_hand(account)) == UNKNOWN

    Notice.objects.create(account=account, body=b"", received_at=clock.now())
    assert state(messages.by_hand(account)) == FINE


def test_address_that_mpesa_did_not_take_is_broken(account):
    AccountHook.objects.create(
        account=account, token_hash="0" * 64, created_at=clock.now()
    )

    finding = messages.by_hand(account)

    assert state(finding) == BROKEN
    assert "delete the validation and confirmation URLs" in finding.letter


def test_activation_of_validation_is_asked_for_where_it_is_wanted(account):
    assert "validation" not in by_key(messages.findings(account))
    account.validates_strictly = True

    found = messages.findings(account)

    assert by_key(found)["validation"] == UNKNOWN
    assert "activate external validation" in found[-1].letter


# An examination.


@pytest.fixture
def healthy(simulator, settings, server):
    """An installation where all that an account needs is fine."""
    settings.MPESA_CALLBACK_URL = server.url
    beat("worker:here:1", 3)
    beat("every:payments.tasks.sweep", 3)


OF_AN_ACCOUNT = {
    "numbers": FINE, "used": FINE, "keys": FINE, "product": FINE, "number": FINE,
    "passkey": FINE, "initiator": FINE, "money": UNKNOWN, "answers": UNKNOWN,
    "by_hand": LOOK, "mpesa": FINE, "clock": FINE, "address": FINE, "reach": FINE,
    "worker": FINE, "sweep": FINE,
}  # fmt: skip


def test_examination_is_kept_until_the_next(healthy, account, operator):
    report = examinations.examine_account(account, by=operator.user)

    assert by_key(report.findings) == OF_AN_ACCOUNT
    kept = Examination.objects.get()
    assert (kept.account, kept.health, kept.examined_by) == (
        account, LOOK, operator.user,
    )  # fmt: skip
    assert examinations.report_of(kept) == report

    Heartbeat.objects.all().delete()
    examinations.examine_account(account)
    kept.refresh_from_db()
    assert (Examination.objects.count(), kept.health) == (1, BROKEN)
    assert kept.examined_by is None


def test_no_secret_is_kept(healthy, account):
    account.passkey = "wrong-passkey-of-jirani"
    account.save()
    examinations.examine_account(account)
    examinations.examine_installation()

    kept = json.dumps(list(Examination.objects.values_list("findings", flat=True)))
    for secret in (
        "sim-shop2-key", "sim-shop2-secret", "wrong-passkey-of-jirani", "SimPass123#",
    ):  # fmt: skip
        assert secret not in kept
    assert "The passkey does not fit 600200" in kept


def test_check_that_breaks_hides_no_other(healthy, account, monkeypatch):
    def break_down():
        raise ZeroDivisionError

    monkeypatch.setattr(mpesa, "findings", break_down)

    found = {one.key: one for one in examinations.examine_account(account).findings}

    assert found["mpesa"].health == UNKNOWN
    assert "ZeroDivisionError" in found["mpesa"].words
    assert found["reach"].health == FINE


def test_installation_is_examined_as_a_whole(healthy):
    found = by_key(examinations.examine_installation().findings)

    assert found == {
        "mode": LOOK, "callers": FINE, "deploy": LOOK, "tables": FINE,
        "backups": UNKNOWN, "mpesa": FINE, "clock": FINE, "address": FINE,
        "reach": FINE, "worker": FINE, "sweep": FINE, "proxies": UNKNOWN,
        "encryption": LOOK, "signing": LOOK,
    }  # fmt: skip


def test_worst_certain_finding_says_how_all_stands():
    def report(*healths):
        return Report(tuple(Finding(h, h, h, "words") for h in healths))

    assert report(FINE, UNKNOWN).health == FINE
    assert report(FINE, LOOK, UNKNOWN).health == LOOK
    assert report(LOOK, BROKEN).health == BROKEN
    whole = report(FINE, UNKNOWN, BROKEN, LOOK)
    assert [one.health for one in whole.worst_first] == [BROKEN, LOOK, UNKNOWN, FINE]
    assert restored(whole.stored()) == whole


# The command.


def doctor(*arguments):
    """What is printed, and whether it ended with status 1."""
    told = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=told)
    except CommandError as error:
        return told.getvalue(), error
    return told.getvalue(), None


def test_command_ends_well_when_nothing_is_broken(healthy, account):
    told, error = doctor("--shop", "jirani")

    assert error is None
    assert told.startswith("Paybill 600200 (simulator): Look at this")
    assert "  ok     Passkey: The passkey fits the number.\n" in told


def test_command_ends_with_status_one_and_the_letter(healthy, account):
    account.passkey = "wrong"
    account.save()

    told, error = doctor("--shop", "jirani")

    assert (str(error), error.returncode) == ("1 thing is broken.", 1)
    assert "  BROKEN Passkey: The passkey does not fit 600200." in told
    assert "         | To: apisupport@safaricom.co.ke\n" in told


def test_command_for_programs_counts_what_is_shared_once(healthy, account):
    Heartbeat.objects.filter(name__startswith="worker").delete()
    MpesaAccountFactory(shop=ShopFactory(slug="till"), **TILL)

    told, error = doctor("--json")

    answer = json.loads(told)
    assert (answer["broken"], str(error)) == (1, "1 thing is broken.")
    assert [(one["shop"], one["health"]) for one in answer["reports"]] == [
        (None, "broken"), ("jirani", "broken"), ("till", "broken"),
    ]  # fmt: skip
    first = answer["reports"][1]["findings"][0]
    assert first == {
        "key": "numbers", "name": "The numbers", "health": "fine",
        "words": "Paybill 600200: one number for prompts and for customers.",
        "remedy": "", "who": "owner", "letter": "",
    }  # fmt: skip


def test_command_says_when_a_shop_has_no_account(shop):
    told, error = doctor("--shop", "jirani")

    assert str(error) == "1 thing is broken."
    assert "BROKEN In use: M-Pesa is not set up for this shop." in told


def test_command_looks_at_the_account_that_is_being_set_up(healthy, account):
    MpesaSettings.objects.update(account=None, candidate=account)

    told, error = doctor("--shop", "jirani")

    assert error is None
    assert "LOOK   In use: It is being set up" in told


def test_command_does_not_know_a_shop():
    with pytest.raises(CommandError, match="There is no shop 'nobody'"):
        call_command("doctor", "--shop", "nobody")
