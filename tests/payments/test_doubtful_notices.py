"""Claims that prove nothing: M-Pesa is asked, once, also after a failure."""

import pytest
from django.test import Client

from payments import gateways, inbox, questions, settlement
from payments.enums import Verdict
from payments.gateways.base import GatewayError
from payments.models import Notice, Payment
from smartduka.lib import clock
from smartduka.lib.redaction import redacted
from tests.support import callbacks
from tests.support.facts import money_of, nothing_changes, path_of, sale_of
from tests.support.gateway import PENDING, final


pytestmark = pytest.mark.django_db

UNTOKENED = "/api/payments/mpesa/callback"
LISTED, UNLISTED = "196.201.214.200", "203.0.113.9"
ASK = "payments.tasks.ask"


def post(path, body, **meta):
    response = Client().post(path, body, content_type="application/json", **meta)
    assert response.status_code == 200


def calls_back(payment, body, **meta):
    """Bring a callback to the payment's address; return its notice."""
    post(f"/hooks/stk/{payment.hook_token}", body, **meta)
    payment.refresh_from_db()
    return Notice.objects.latest("pk")


def questions_handed_out(tasks, payment):
    return [
        task for task in tasks() if task[:2] == (ASK, (str(payment.pk),))
    ]  # fmt: skip


@pytest.fixture
def failed(payment, mpesa):
    """A payment that a callback called cancelled on the phone."""
    calls_back(payment, callbacks.failure(payment, 1032))
    assert (payment.status, payment.next_ask_at) == ("failed", None)
    return payment


# A doubtful success after a failure.


DOUBTFUL = {
    "another amount": lambda payment: callbacks.success(payment, amount=1),
    "another id": lambda payment: callbacks.success(payment, checkout_id="ws_CO_x"),
    "no receipt": lambda payment: callbacks.success(payment, receipt=None),
    "no JSON": lambda payment: b"<html>",
    "no shape": lambda payment: b'{"Body": []}',
}


@pytest.mark.parametrize("how", DOUBTFUL)
def test_a_doubtful_claim_after_a_failure_is_asked_about_and_may_find_money(
    failed, order, mpesa, tasks, how
):
    before = len(questions_handed_out(tasks, failed))

    notice = calls_back(failed, DOUBTFUL[how](failed))

    assert notice.verdict in (Verdict.UNVERIFIED, Verdict.MALFORMED)
    assert failed.status == "failed"
    assert failed.next_ask_at <= clock.now()
    assert len(questions_handed_out(tasks, failed)) == before + 1

    mpesa.answers[failed.checkout_request_id] = final("0")
    assert questions.attend(failed.pk)

    failed.refresh_from_db()
    assert path_of(failed) == ["created", "pending", "failed", "completed"]
    assert money_of(order) == [("query", None, 250, [("sale", 250)])]
    assert sale_of(order)[0] == "paid"
    assert failed.next_ask_at is None


@pytest.mark.parametrize("code", ["1032", "9999"], ids=["failure", "uncertain"])
def test_an_answer_that_finds_no_money_ends_the_questions(
    failed, order, mpesa, tasks, code
):
    calls_back(failed, callbacks.success(failed, amount=1))
    mpesa.otherwise = final(code)

    with nothing_changes():
        assert questions.attend(failed.pk)

    failed.refresh_from_db()
    assert (failed.status, failed.result_code) == ("failed", "1032")
    assert (failed.next_ask_at, failed.leased_until) == (None, None)
    assert not questions.attend(failed.pk)
    assert len(mpesa.questions) == 1


def test_a_pending_answer_after_a_failure_is_asked_about_again(failed, mpesa):
    calls_back(failed, callbacks.success(failed, amount=1))
    mpesa.otherwise = PENDING

    assert questions.attend(failed.pk)

    failed.refresh_from_db()
    assert failed.next_ask_at > clock.now()


def test_a_doubtful_claim_after_money_asks_nothing_more(payment, mpesa):
    calls_back(payment, callbacks.success(payment))
    due = payment.next_ask_at

    calls_back(payment, b"<html>")

    assert (payment.status, payment.next_ask_at) == ("completed", due)


# By hand, over the API.


def test_a_person_may_ask_about_a_failed_payment(failed, bob, mpesa, order):
    mpesa.answers[failed.checkout_request_id] = final("0")

    answer = bob.post(f"/api/payments/mpesa/query/{failed.pk}").json()

    assert (answer["asked"], answer["status"]) == (True, "completed")
    assert answer["orderStatus"] == "paid"


def test_a_person_who_asks_about_a_failed_payment_starts_no_chain(failed, bob, mpesa):
    mpesa.otherwise = PENDING

    answer = bob.post(f"/api/payments/mpesa/query/{failed.pk}").json()

    assert (answer["asked"], answer["status"]) == (True, "failed")
    failed.refresh_from_db()
    assert failed.next_ask_at is None


def test_a_refused_push_has_nothing_to_ask_for(bob, order, mpesa):
    mpesa.push_answers = [GatewayError("no", certain=True)]
    asking = {"orderId": str(order.pk), "phoneNumber": "0712345678"}
    refused = bob.post("/api/payments/mpesa/initiate", asking).json()
    payment_id = refused["details"]["transactionId"]

    answer = bob.post(f"/api/payments/mpesa/query/{payment_id}").json()

    assert (answer["asked"], answer["errorCode"]) == (False, "MPESA_004")
    assert mpesa.questions == []


# Crowds of them.


def test_30_posts_without_a_token_hand_out_one_question(payment, tasks):
    for number in range(30):
        post(UNTOKENED, callbacks.success(payment, extra=" " * number))

    assert Notice.objects.count() == 30
    assert len(questions_handed_out(tasks, payment)) == 1
    payment.refresh_from_db()
    assert payment.next_ask_at <= clock.now()


def test_30_doubtful_callbacks_hand_out_one_question(payment, tasks):
    for number in range(30):
        calls_back(payment, callbacks.success(payment, amount=1, extra=" " * number))

    assert len(questions_handed_out(tasks, payment)) == 1


# The same bytes, now from an address that is listed.


@pytest.fixture
def _enforced(settings):
    settings.MPESA_CALLBACK_IP_MODE = "enforce"


@pytest.mark.usefixtures("_enforced")
def test_the_same_bytes_from_a_listed_address_are_believed(payment, order):
    body = callbacks.success(payment)
    notice = calls_back(payment, body, REMOTE_ADDR=UNLISTED)
    assert (payment.status, notice.verdict) == ("pending", Verdict.UNVERIFIED)

    notice = calls_back(payment, body, REMOTE_ADDR=LISTED)

    assert (notice.verdict, notice.copies) == (Verdict.APPLIED, 2)
    assert (notice.address, notice.address_is_listed) == (LISTED, True)
    assert notice.next_try_at is None
    assert payment.status == "completed"
    assert sale_of(order)[0] == "paid"

    with nothing_changes():
        again = calls_back(payment, body, REMOTE_ADDR=LISTED)
    assert (again.verdict, again.copies) == (Verdict.APPLIED, 3)


# Those that break their processing.


def test_what_broke_a_notice_is_kept_without_secrets(payment, monkeypatch):
    secret = f"no room for /hooks/stk/{payment.hook_token} of 254712345678\0\ud800"

    def broken(*given):
        raise ValueError(secret)

    monkeypatch.setattr(settlement, "record_success", broken)
    notice = calls_back(payment, callbacks.success(payment))
    at_once = notice.error
    Notice.objects.update(next_try_at=clock.now(), error="")
    inbox.attempt(notice.pk)
    notice.refresh_from_db()

    for error in (at_once, notice.error):
        assert error == ("ValueError: no room for /hooks/stk/[token] of 2547…678?")


@pytest.mark.parametrize(
    ("made_id", "shown"),
    [
        ("ws_CO_140120260930157708374149", "ws_CO_140120260930157…149"),
        ("ws_CO_1401202609301548708374149", "ws_CO_1401202609301548…149"),
        ("ws_CO_14012026093015482708374149", "ws_CO_14012026093015482…149"),
        # The oldest ones hold no number.
        ("ws_CO_191220191020363925", "ws_CO_191220191020363925"),
    ],
    ids=["24 digits", "25 digits", "26 digits", "18 digits"],
)
def test_ids_of_mpesa_keep_the_number_in_them(made_id, shown):
    assert redacted(f"asked about {made_id}.") == f"asked about {shown}."


# Questions that go wrong themselves.


def test_a_confirmation_that_nobody_understands_ends_the_chain(payment, mpesa):
    calls_back(payment, callbacks.success(payment))
    Payment.objects.update(next_ask_at=clock.now())
    mpesa.otherwise = final("9999")

    assert questions.attend(payment.pk)

    payment.refresh_from_db()
    assert (payment.status, payment.result_code) == ("completed", "0")
    assert (payment.next_ask_at, payment.leased_until) == (None, None)
    assert not questions.attend(payment.pk)


def test_a_gateway_that_breaks_a_promise_and_raises_is_no_answer(payment, monkeypatch):
    class Broken:
        def query(self, *given, **limits):
            raise RuntimeError("no such thing")

    monkeypatch.setattr(gateways, "mpesa", Broken)

    assert questions.ask(payment.pk)

    payment.refresh_from_db()
    assert (payment.status, payment.is_undecided) == ("pending", True)
