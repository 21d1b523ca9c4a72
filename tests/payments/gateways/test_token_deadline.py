"""A slow or senseless OAuth queues nobody, and what never left is not a question."""

import threading
import time

import pytest
import requests

from payments import gateways, questions
from payments.enums import FailureReason
from payments.gateways.base import Answered, GatewayError, QueryAnswer
from payments.models import Payment
from tests.factories import PaymentFactory
from tests.payments.gateways.conftest import (
    BASE,
    PUSH_PATH,
    QUERY_PATH,
    TOKEN_PATH,
    Misbehaving,
)
from tests.support.gateway import PENDING
from tests.support.simulator import wait_until


CHECKOUT_ID = "ws_CO_14012026093015482708374149"


class SlowOAuth(Misbehaving):
    """Gives no token in time: hangs, or drips it byte by byte."""

    def __init__(self, habit):
        super().__init__()
        self.gets = 0
        outer, give = self, getattr(self, habit)

        def do_get(handler):
            outer.gets += 1
            give(handler)

        self._server.RequestHandlerClass.do_GET = do_get


@pytest.fixture(params=["hang", "drip"])
def oauth(request, settings, daraja):
    slow = SlowOAuth(request.param)
    settings.MPESA_BASE_URL = slow.url
    settings.PUSH_READ_TIMEOUT_S = 0.5
    settings.PUSH_CONNECT_TIMEOUT_S = 0.3
    yield slow
    slow.stop()


def together(count, job):
    """Run a job in so many threads at once; return results and the longest time."""
    done = []
    start = threading.Barrier(count)

    def run():
        start.wait(10)
        began = time.monotonic()
        try:
            result = job()
        except GatewayError as error:
            result = error
        done.append((result, time.monotonic() - began))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == count
    return [result for result, _ in done], max(took for _, took in done)


# One after the other they would take four seconds and more.


def test_8_askers_return_within_their_limit(oauth, daraja, account):
    answers, longest_s = together(
        8, lambda: daraja.query(account, CHECKOUT_ID, limit_s=0.5)
    )

    assert {answer.kind for answer in answers} == {Answered.NOT_ASKED}
    assert longest_s < 3.5
    assert (oauth.gets, oauth.posts) == (1, 0)


def test_8_pushes_give_up_as_certain(oauth, daraja, account, ask):
    errors, longest_s = together(8, lambda: daraja.push(account, ask))

    assert {(error.certain, error.reason, error.may_retry) for error in errors} == {
        (True, FailureReason.MPESA_UNREACHABLE, True)
    }
    assert longest_s < 3.5
    assert oauth.posts == 0


def test_who_waited_for_a_token_that_failed_does_not_try_again(
    oauth, daraja, account, ask
):
    errors, _ = together(8, lambda: daraja.push(account, ask))

    assert len(errors) == 8
    assert oauth.gets == 1


def test_a_hasty_question_does_not_wait_for_a_patient_one(oauth, daraja, account):
    patient = threading.Thread(
        target=daraja.query, args=(account, CHECKOUT_ID), kwargs={"limit_s": 9}
    )
    patient.start()
    wait_until(lambda: oauth.gets == 1)
    began = time.monotonic()

    answer = daraja.query(account, CHECKOUT_ID, limit_s=0.2)

    assert time.monotonic() - began < 4
    assert answer == QueryAnswer(Answered.NOT_ASKED, description="no token in time")
    oauth.released.set()
    patient.join(10)


def test_the_failure_of_a_hasty_one_is_that_of_the_patient_behind_it(
    oauth, daraja, account
):
    hasty = threading.Thread(
        target=daraja.query, args=(account, CHECKOUT_ID), kwargs={"limit_s": 0.3}
    )
    hasty.start()
    wait_until(lambda: oauth.gets == 1)
    began = time.monotonic()

    daraja.query(account, CHECKOUT_ID, limit_s=9)

    assert time.monotonic() - began < 8
    assert oauth.gets == 1
    hasty.join(10)


# Tokens that are none.


@pytest.mark.parametrize(
    "token",
    ["☃", "é", "a\nX-Evil: 1", "a\0b", "\ud800", "x" * 5000, "", None, True, ["t"]],
    ids=[
        "snowman", "accent", "two lines", "NUL", "surrogate", "long", "empty", "null",
        "true", "list",
    ],
)  # fmt: skip
def test_what_fits_no_header_is_no_token(daraja, account, ask, wire, token):
    wire.replace(
        "GET", BASE + TOKEN_PATH, json={"access_token": token, "expires_in": "3599"}
    )

    with pytest.raises(GatewayError) as refusal:
        daraja.push(account, ask)
    answer = daraja.query(account, CHECKOUT_ID, limit_s=1)

    assert (refusal.value.certain, answer.kind) == (True, Answered.NOT_ASKED)
    wire.assert_call_count(BASE + PUSH_PATH, 0)
    wire.assert_call_count(BASE + QUERY_PATH, 0)


# What never left is not asked: nobody has to rest from it.


@pytest.fixture
def client(daraja, monkeypatch):
    """Daraja's client as the one that the installation uses."""
    monkeypatch.setattr(gateways, "_daraja", daraja)
    return daraja


@pytest.fixture
def open_breaker(client, wire, payment):
    """Pushes met nobody until the breaker opened."""
    for _ in range(5):
        client._breaker.failed()


@pytest.fixture
def no_token(client, wire, payment):
    wire.replace("GET", BASE + TOKEN_PATH, status=503, body="")


@pytest.fixture
def no_passkey(client, wire, payment):
    account = payment.account
    account.passkey = ""
    account.save()


@pytest.fixture
def no_connection(client, wire, payment):
    wire.post(BASE + QUERY_PATH, body=requests.ConnectTimeout("never"))


def asked_over_the_api(person, payment):
    answer = person.post(f"/api/payments/mpesa/query/{payment.pk}")
    assert answer.status_code == 200
    return answer.json()["asked"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "how", ["open_breaker", "no_token", "no_passkey", "no_connection"]
)
def test_a_question_that_never_left_was_not_asked(request, how, bob, wire, payment):
    request.getfixturevalue(how)

    assert questions.ask(payment.pk) is False
    assert asked_over_the_api(bob, payment) is False

    payment.refresh_from_db()
    assert payment.asked_at is None
    assert payment.is_undecided
    # The next one is planned all the same.
    assert payment.next_ask_at is not None


@pytest.mark.django_db
def test_as_soon_as_mpesa_is_there_again_it_is_asked(no_token, bob, wire, payment):
    questions.ask(payment.pk)
    wire.replace("GET", BASE + TOKEN_PATH, json={"access_token": "t"})
    wire.post(BASE + QUERY_PATH, json=answered(payment, "0"))

    assert asked_over_the_api(bob, payment) is True

    payment.refresh_from_db()
    assert payment.status == "completed"
    assert payment.asked_at is not None


@pytest.mark.django_db
def test_an_answer_that_was_lost_was_asked_for(client, wire, bob, payment):
    """It may have arrived: M-Pesa is left alone for ten seconds."""
    wire.post(BASE + QUERY_PATH, body=requests.ReadTimeout("10 s"))

    assert asked_over_the_api(bob, payment) is True
    assert asked_over_the_api(bob, payment) is False

    wire.assert_call_count(BASE + QUERY_PATH, 1)


def answered(payment, code, **changes):
    return {
        "ResponseCode": "0",
        "CheckoutRequestID": payment.checkout_request_id,
        "ResultCode": code,
        "ResultDesc": "what it says",
    } | changes


# What is asked first gets little time, and none is better than too little.


@pytest.fixture
def undecided(duka, order):
    """Three undecided payments of one sale."""
    return [
        PaymentFactory(order=order, amount=50, phone=f"25471234567{number}")
        for number in range(3)
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(("left_s", "asked"), [(0.49, 0), (0.51, 1)])
def test_in_less_than_half_a_second_nobody_is_asked(
    undecided, mpesa, time, settings, left_s, asked
):
    settings.ASK_FIRST_LIMIT_S = left_s
    mpesa.otherwise = lambda _: time.turn(1) or PENDING

    questions.ask_first(undecided)

    assert len(mpesa.questions) == asked
    not_asked = Payment.objects.filter(asked_at=None, ask_count=0)
    assert not_asked.count() == 3 - asked


@pytest.mark.django_db
def test_hasty_questions_before_a_sale_do_not_stop_the_next_push(
    client, wire, undecided, ask, account, settings
):
    """Five connections that got less time than a push has say nothing about it."""
    settings.ASK_FIRST_LIMIT_S = 2.9
    wire.post(BASE + QUERY_PATH, body=requests.ConnectTimeout("2.9 s"))
    accepted = {"ResponseCode": "0", "CheckoutRequestID": "ws_CO_1"}
    wire.post(BASE + PUSH_PATH, json=accepted)

    for _ in range(3):
        questions.ask_first(undecided)

    wire.assert_call_count(BASE + QUERY_PATH, 9)
    assert client.push(account, ask).checkout_request_id == "ws_CO_1"


# Texts that no database stores.


ODD_TEXTS = {
    "NUL": ("1032", "not\0 paid", "not paid"),
    "surrogate": ("1032", "not paid \ud800", "not paid ?"),
    "NUL in the code": ("10\x0032", "not paid", "not paid"),
    "long": ("1032", "x" * 5000, "x" * 255),
    "no text": ("1032", {"a": 1}, ""),
}


@pytest.mark.django_db
@pytest.mark.parametrize("how", ODD_TEXTS)
def test_an_odd_text_in_an_answer_is_cleaned_and_counts(client, wire, payment, how):
    code, text, clean = ODD_TEXTS[how]
    wire.post(BASE + QUERY_PATH, json=answered(payment, code, ResultDesc=text))

    assert questions.ask(payment.pk)

    payment.refresh_from_db()
    assert (payment.status, payment.result_code) == ("failed", "1032")
    assert payment.result_desc == clean


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["\ud800", "\0", "☃" * 30, "10 32"], ids=ascii)
def test_an_odd_code_decides_nothing(client, wire, payment, code):
    wire.post(BASE + QUERY_PATH, json=answered(payment, code))

    assert questions.ask(payment.pk)

    payment.refresh_from_db()
    assert (payment.status, payment.is_undecided) == ("pending", True)


@pytest.mark.django_db
def test_an_odd_text_in_a_refusal_is_cleaned_and_counts(client, wire, bob, order):
    text = "Bad Request - \0Invalid \ud800Amount for 254712345678"
    wire.post(
        BASE + PUSH_PATH,
        status=400,
        json={"errorCode": "400.002.02", "errorMessage": text},
    )
    asking = {"orderId": str(order.pk), "phoneNumber": "0712345678"}

    answer = bob.post("/api/payments/mpesa/initiate", asking)

    assert (answer.status_code, answer.json()["code"]) == (502, "MPESA_004")
    payment = Payment.objects.get()
    assert payment.status == "failed"
    assert payment.result_desc == (
        "HTTP 400 400.002.02 bad request - invalid ?amount for 2547…678"
    )
