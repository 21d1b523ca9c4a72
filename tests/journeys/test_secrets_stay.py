"""No secret leaves: real flows, and all that they logged, showed and answered.

Everything that is sent to M-Pesa and back is recorded on the wire, so that also what
is made on the way (tokens, passwords of a push, addresses) is searched for.
"""

import base64
import html
import io
import json
import logging
import re
import sys
from urllib.parse import quote

import pytest
import requests
from django.conf import settings as installed
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.views.debug import technical_500_response
from urllib3 import HTTPResponse

from payments import accounts, reconciliation
from payments.gateways import tokens
from payments.gateways.base import PushRequest
from payments.gateways.daraja import Daraja
from payments.models import MpesaAccount, MpesaSettings, Notice, Payment, PaymentEvent
from smartduka.lib.redaction import LineFormatter
from tests.factories import MpesaAccountFactory, OrderFactory, ShopFactory
from tests.support import callbacks
from tests.support.simulator import SimulatorProcess


pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

INITIATOR = "Initiates-Safely-77"
PHONES = {"pays": "254700112211", "silent": "254700112299", "wrong": "254733445566"}


class Wire:
    """What went to M-Pesa and came back: the secrets in it."""

    def __init__(self):
        self.secrets, self.addresses = {}, []

    def note(self, name, value):
        if value:
            self.secrets[f"{name} {len(self.secrets)}"] = value

    def record(self, request, answer):
        kind, _, sent = request.headers.get("Authorization", "").partition(" ")
        self.note(f"{kind} header", sent)
        if kind == "Basic":
            self.note("app secret", base64.b64decode(sent).decode().split(":")[1])
        body = json.loads(request.body or "{}")
        for name in ("Password", "SecurityCredential"):
            self.note(name, body.get(name))
        for name, value in body.items():
            token = re.search(r"/hooks/[a-z]+/([0-9a-f]{20,})", str(value))
            if token:
                self.note(name, token[1])
                self.addresses.append(str(value))
        if "access_token" in answer.text:
            self.note("access token", answer.json()["access_token"])


class Heard:
    """Everything that people and files got to see, each with where."""

    def __init__(self):
        self.log = io.StringIO()
        self.texts = []

    def add(self, where, text):
        self.texts.append((where, text))

    def answer(self, response):
        body = b"".join(response) if response.streaming else response.content
        head = "\n".join(f"{k}: {v}" for k, v in response.items())
        where = getattr(response, "request", {}).get("PATH_INFO", "a page")
        self.add(f"{where} ({response.status_code})", head + body.decode("latin-1"))
        return response

    def all(self):
        return [*self.texts, ("the log", self.log.getvalue())]


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def wire(simulator, settings, monkeypatch):
    simulator.reset()
    settings.MPESA_BASE_URL = simulator.url
    found, send = Wire(), requests.Session.send

    def recorded(session, request, **options):
        response = send(session, request, **options)
        if "/__sim__/" not in request.url:
            found.record(request, response)
            # It was read to its end here, and is there to be read again.
            body = io.BytesIO(response.content)
            response.raw = HTTPResponse(body, preload_content=False)
        return response

    monkeypatch.setattr(requests.Session, "send", recorded)
    tokens.forget_all()
    return found


@pytest.fixture
def heard():
    """What is logged, by every logger at DEBUG, through the installation's formatter."""
    found = Heard()
    handler = logging.StreamHandler(found.log)
    form = installed.LOGGING["formatters"]["line"]["format"]
    handler.setFormatter(LineFormatter(form))
    names = [None, *logging.root.manager.loggerDict]
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.level, one.disabled) for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
        one.disabled = False
    logging.root.addHandler(handler)
    yield found
    logging.root.removeHandler(handler)
    for one, level, disabled in before:
        one.setLevel(level)
        one.disabled = disabled


@pytest.fixture
def own(duka):
    """Alice's duka on an account of its own, which the simulator knows."""
    account = MpesaAccountFactory(
        shop=duka, initiator_name="safeuser", initiator_password=INITIATOR
    )
    MpesaSettings.objects.filter(shop=duka).update(
        account=account, uses_platform_account=False
    )
    return account


@pytest.fixture
def people(alice, bob, audrey, operator, heard):
    """Return a call as somebody; whatever comes back is heard."""
    for person in (alice, bob, audrey, operator):
        person.user.is_staff = True
        person.user.save()
        person.client.raise_request_exception = False
    alice.says = lambda method, path, *a, **k: heard.answer(
        getattr(alice.client, method)(path, *a, **k)
    )
    return alice


def initiate(alice, heard, order, phone):
    return heard.answer(
        alice.post(
            "/api/payments/mpesa/initiate",
            {"orderId": str(order.pk), "phoneNumber": phone},
        )
    )


def test_no_secret_is_in_any_log_page_answer_or_history(
    own, people, operator, audrey, wire, heard, settings, simulator, monkeypatch
):
    alice, shop = people, own.shop

    # Money comes, does not come, and is asked about.
    paid, silent, broken = (OrderFactory(shop=shop) for _ in range(3))
    assert initiate(alice, heard, paid, PHONES["pays"]).status_code == 201
    payment = Payment.objects.get(order=paid)
    address = wire.addresses[-1].split("/", 3)[3]
    body = callbacks.success(payment)
    for text in (body, b"rubbish", body):
        answer = Client().post("/" + address, text, content_type="application/json")
        assert heard.answer(answer).status_code == 200
    damaged = "/" + address[:-4] + "0000"
    heard.answer(Client().post(damaged, body, content_type="application/json"))
    assert initiate(alice, heard, silent, PHONES["silent"]).status_code in (201, 202)
    pk = Payment.objects.get(order=silent).pk
    for verb in ("query", "cancel"):
        heard.answer(alice.post(f"/api/payments/mpesa/{verb}/{pk}"))
    reconciliation.sweep_now()

    # M-Pesa fails, and so do we.
    simulator.faults(push_error="internal")
    initiate(alice, heard, broken, PHONES["wrong"])
    simulator.faults(push_error=None)
    for name in ("consumer_secret", "passkey"):
        wrong = MpesaAccount.objects.get(pk=own.pk)
        setattr(wrong, name, f"wrongly-typed-{name}")
        wrong.save()
        initiate(alice, heard, OrderFactory(shop=shop), PHONES["wrong"])
    own.save()

    # People read the books, and register an address.
    alice.says(
        "post", "/admin/payments/mpesaaccount/",
        {"action": "register", "_selected_action": [str(own.pk)]}, follow=True,
    )  # fmt: skip
    books = ("mpesaaccount", "mpesasettings", "payment", "notice", "collection")
    for who in (alice, audrey, operator):
        for book in books:
            heard.answer(who.get(f"/admin/payments/{book}/"))
        heard.answer(who.get(f"/admin/payments/payment/{payment.pk}/change/"))
        heard.answer(who.get(f"/admin/payments/mpesaaccount/{own.pk}/change/"))
        heard.answer(who.get(f"/admin/payments/mpesaaccount/{own.pk}/history/"))
        for notice in Notice.objects.all():
            heard.answer(who.get(f"/admin/payments/notice/{notice.pk}/change/"))
    for path in (
        "/admin/", "/till/", "/api/payments", "/api/schema", "/api/payments/mpesa/failed",
        "/api/payments/mpesa/config", f"/api/payments/mpesa/status/{payment.pk}",
    ):  # fmt: skip
        alice.says("get", path)

    # A secret that does not open, and keys that change.
    other = MpesaAccountFactory(shop=ShopFactory(), shortcode="600999")
    moved = MpesaAccount.objects.filter(pk=own.pk)
    moved.update(passkey_sealed=other.passkey_sealed)
    initiate(alice, heard, OrderFactory(shop=shop), PHONES["wrong"])
    printed = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("rotate_keys", stdout=printed)
    heard.add("rotate_keys", printed.getvalue() + str(refused.value))
    moved.update(passkey_sealed=own.passkey_sealed)

    # The gateway breaks in the middle of a call: our page, and a developer's.
    for is_debug in (False, True):
        settings.DEBUG = is_debug
        heard.add("an error page", error_page(own, monkeypatch))
        initiate(alice, heard, OrderFactory(shop=shop), f"25470000{is_debug:04}")

    heard.add("admin history", repr(list(LogEntry.objects.values())))
    heard.add("payment events", repr(list(PaymentEvent.objects.values())))
    rows = [repr(one) + str(one) for one in MpesaAccount.objects.all()]
    heard.add("rows as text", "".join(rows) + repr(list(Payment.objects.values())))

    dump = io.StringIO()
    call_command("dumpdata", "payments.MpesaAccount", stdout=dump)
    heard.add("dumpdata", dump.getvalue())

    assert {len(wire.secrets) > 10, len(heard.texts) > 40} == {True}
    assert "DEBUG urllib3" in heard.log.getvalue()
    assert leaks(wire, own, heard) == []


def error_page(own, monkeypatch):
    """What Django shows a developer, from deep inside a call to M-Pesa."""

    def breaks(self, *args, **kwargs):
        raise RuntimeError("broken")

    request = PushRequest("254700000000", 1, "ref", "text", "http://x/hooks/stk/abc")
    with monkeypatch.context() as patched:
        patched.setattr(requests.Session, "request", breaks)
        patched.setattr(requests.Session, "send", breaks)
        try:
            Daraja().push(accounts.credentials(own), request)
        except RuntimeError:
            asked = RequestFactory().post("/api/payments/mpesa/initiate")
            page = technical_500_response(asked, *sys.exc_info())
            return page.content.decode()
    raise AssertionError("nothing broke")


def leaks(wire, own, heard):
    """Return each secret that was seen, and where; the secret itself is not told."""
    secrets = wire.secrets | {
        "consumer key": own.consumer_key,
        "consumer secret": own.consumer_secret,
        "passkey": own.passkey,
        "initiator's password": INITIATOR,
        "mistyped secret": "wrongly-typed-consumer_secret",
        "mistyped passkey": "wrongly-typed-passkey",
        "SECRET_KEY": installed.SECRET_KEY.strip(),
    }
    for number, key in enumerate(installed.MPESA_ENCRYPTION_KEYS):
        secrets |= {f"key {number}": key.hex(), f"raw key {number}": repr(key)[2:-1]}
    for number, key in enumerate(installed.HOOK_SIGNING_KEYS):
        secrets |= {f"hook key {number}": key.hex()}
    found = []
    for name, secret in secrets.items():
        shapes = {secret, html.escape(secret), quote(secret, safe="")}
        found += [
            f"{name} in {where}"
            for where, text in heard.all()
            if any(shape in text for shape in shapes)
        ]
    return found
