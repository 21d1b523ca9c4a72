"""A push whose answer never came, broke off, or makes no sense."""

import os
import ssl
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import InterfaceError, OperationalError
from django.test import Client

from payments import (
    accounts,
    gateways,
    prompting,
    pushing,
    questions,
    refusals,
    settlement,
)
from payments.gateways import tokens
from payments.gateways.base import GatewayError, PushAccepted
from payments.gateways.daraja import Daraja
from payments.models import Payment
from tests.factories import OrderFactory, PaymentFactory
from tests.payments.gateways.conftest import Misbehaving
from tests.support import callbacks
from tests.support.facts import money_of, path_of


pytestmark = pytest.mark.django_db

PHONE = "254712345678"


@pytest.fixture
def prompt(seller, order):
    """Prompt for the sale, and return the payment as it is stored afterwards."""

    def send(**fields):
        asked = {"order_id": order.pk, "phone": PHONE, "amount": None, "key": None}
        prompted = prompting.request(access=seller, accept_risk=False, **asked | fields)
        return Payment.objects.get(pk=prompted.payment.pk)

    return send


def is_unknown(payment):
    """Say whether the payment waits for other evidence, as law 1 wants it."""
    return (
        payment.status == "created"
        and payment.is_undecided
        and payment.next_ask_at is not None
        and payment.alarm == ""
    )


# The line breaks: only one that never stood is a certain refusal.


@pytest.fixture
def daraja(settings, monkeypatch):
    """The real client, as the installation uses it."""
    settings.PUSH_READ_TIMEOUT_S = 0.4
    tokens.forget_all()
    client = Daraja()
    client._session.trust_env = False
    monkeypatch.setattr(gateways, "_daraja", client)
    yield client
    client._session.close()
    tokens.forget_all()


@pytest.fixture
def server(daraja, settings):
    """A Daraja that misbehaves when it is pushed."""
    misbehaving = Misbehaving()
    settings.MPESA_BASE_URL = misbehaving.url
    yield misbehaving
    misbehaving.stop()


@pytest.fixture
def tls_server(server, daraja, settings, tmp_path):
    """The same behind TLS, with a certificate that the client believes."""
    certificate, key = certificate_of("localhost", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    daraja._session.verify = str(certificate)
    settings.MPESA_BASE_URL = f"https://localhost:{server._server.server_port}"
    return server


def certificate_of(name, folder):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def break_tls(handler):
    """Speak on without TLS, once the request was read: the record makes no sense."""
    os.write(handler.connection.fileno(), b"HTTP/1.1 502 Bad Gateway\r\n\r\n" * 4)
    handler.close_connection = True


def test_tls_works_in_this_test(tls_server, prompt):
    tls_server.habit = partial(
        tls_server.answer,
        body=b'{"ResponseCode": "0", "CheckoutRequestID": "ws_CO_1",'
        b' "MerchantRequestID": "1"}',
    )

    assert prompt().status == "pending"


def test_tls_that_breaks_after_the_request_leaves_it_unknown(tls_server, prompt):
    tls_server.habit = break_tls

    payment = prompt()

    assert tls_server.posts == 1
    assert is_unknown(payment)
    assert "SSLError" in payment.events.latest("pk").reason


@pytest.mark.parametrize("habit", ["hang", "reset", "drip"])
def test_a_line_that_breaks_after_the_request_leaves_it_unknown(server, prompt, habit):
    server.habit = getattr(server, habit)
    started = time.monotonic()

    payment = prompt()

    assert time.monotonic() - started < 3
    assert server.posts == 1
    assert is_unknown(payment)


def test_an_unknown_push_is_not_sent_again(server, seller, prompt):
    payment = prompt()

    again = prompt()
    with pytest.raises(refusals.PromptInTheWay):
        prompting.resend(access=seller, payment_id=payment.pk, accept_risk=True)

    assert (again.pk, server.posts) == (payment.pk, 1)


def test_a_port_where_nobody_listens_is_a_certain_refusal(server, daraja, duka, prompt):
    account = accounts.credentials(accounts.account_of(duka))
    daraja.token(account, limit_s=1)
    server.stop()

    payment = prompt()

    assert (payment.status, payment.error_code) == ("failed", "MPESA_004")
    assert payment.failure_reason == "mpesa_unreachable"
    assert (payment.retryable, payment.next_ask_at) == (True, None)


# Phase 3: whatever came is kept, and nothing of it breaks the request.


def test_the_id_of_another_payment_is_an_alarm_and_no_accident(mpesa, duka, prompt):
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254722000111")
    mpesa.push_answers = [PushAccepted("29115-1", other.checkout_request_id)]

    payment = prompt()

    assert payment.status == "pending"
    assert payment.checkout_request_id is None
    assert payment.answered_at is not None
    assert payment.alarm == "M-Pesa gave this payment the id of another."
    other.refresh_from_db()
    assert (other.status, other.alarm) == ("pending", "")


def test_a_payment_without_an_id_of_its_own_is_settled_by_its_callback(
    mpesa, duka, prompt
):
    other = PaymentFactory(order=OrderFactory(shop=duka), phone="254722000111")
    mpesa.push_answers = [PushAccepted("", other.checkout_request_id)]
    payment = prompt()

    calls_back(mpesa, callbacks.success(payment, checkout_id="ws_CO_its_own"))

    payment.refresh_from_db()
    assert (payment.status, payment.checkout_request_id) == (
        "completed", "ws_CO_its_own",
    )  # fmt: skip
    other.refresh_from_db()
    assert other.status == "pending"


def calls_back(mpesa, body, number=-1):
    """Call back at the address that went with a push."""
    path = "/hooks/stk/" + mpesa.pushes[number].callback_url.rpartition("/")[2]
    response = Client().post(path, body, content_type="application/json")
    assert response.status_code == 200


def test_a_second_id_for_one_payment_is_an_alarm_and_the_first_stays(
    mpesa, order, prompt
):
    def call_back_first(request):
        pushed = Payment.objects.get()
        calls_back(mpesa, callbacks.failure(pushed, 1037, checkout_id="ws_CO_first"))
        return PushAccepted("29115-2", "ws_CO_second")

    mpesa.push_answers = [call_back_first]

    payment = prompt()

    assert payment.checkout_request_id == "ws_CO_first"
    assert payment.alarm == "M-Pesa named this payment twice, differently."
    assert (payment.status, payment.is_undecided) == ("pending", True)
    assert path_of(payment) == ["created", "pending"]


def test_the_same_id_by_both_roads_is_no_alarm(mpesa, prompt):
    def call_back_first(request):
        pushed = Payment.objects.get()
        calls_back(mpesa, callbacks.success(pushed, checkout_id="ws_CO_first"))
        return PushAccepted("29115-34620561-1", "ws_CO_first")

    mpesa.push_answers = [call_back_first]

    payment = prompt()

    assert (payment.status, payment.alarm) == ("completed", "")


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_short_outage_of_the_database_keeps_the_id(mpesa, prompt, monkeypatch, error):
    monkeypatch.setattr(pushing, "KEEP_PAUSES_S", (0, 0, 0))
    away = outage(monkeypatch, error, times=3)

    payment = prompt()

    assert away == []
    assert len(mpesa.pushes) == 1
    assert (payment.status, payment.checkout_request_id) == ("pending", "ws_CO_fake_1")


def outage(monkeypatch, error, times):
    """Let the third phase find no database so many times; return what is left."""
    left = [error("server closed the connection unexpectedly")] * times
    locked = settlement.locked

    def lock(payment_id):
        if left:
            raise left.pop()
        return locked(payment_id)

    monkeypatch.setattr(settlement, "locked", lock)
    return left


# Stopped in the middle of the push.


def test_a_payment_that_was_stopped_before_a_lost_answer_is_asked_about_no_more(
    mpesa, seller, prompt
):
    """Without its id there is nothing to ask for; its callback still counts."""

    stopped = []

    def stop_then_break(request):
        payment_id = Payment.objects.get().pk
        stopped.append(prompting.stop_waiting(access=seller, payment_id=payment_id))
        raise GatewayError("cut", certain=False)

    mpesa.push_answers = [stop_then_break]

    payment = prompt()

    # While the push was on its way its answer could still have brought the id.
    assert stopped[0].next_ask_at is not None
    assert (payment.status, payment.is_undecided) == ("cancelled", True)
    assert payment.next_ask_at is None
    calls_back(mpesa, callbacks.success(payment, checkout_id="ws_CO_late"))
    payment.refresh_from_db()
    assert payment.status == "completed"
    assert [row[2] for row in money_of(payment.order)] == [250]


def test_a_payment_that_was_stopped_before_its_answer_learns_its_id_and_is_asked_about(
    mpesa, seller, prompt
):
    def stop(request):
        prompting.stop_waiting(access=seller, payment_id=Payment.objects.get().pk)

    mpesa.push_answers = [stop]

    payment = prompt()

    assert (payment.status, payment.checkout_request_id) == (
        "cancelled", "ws_CO_fake_1",
    )  # fmt: skip
    assert payment.next_ask_at is not None
    assert questions.ask(payment.pk)
