"""Every row of the contract's hooks table: what is kept, and what is answered."""

# ruff: noqa: N802 -- a test is called by the code that it is about

import json
import secrets
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from orders.models import Order
from payments import hook_tokens, inbox, settlement
from payments.models import Collection, Notice, Payment
from tests.factories import OrderFactory, PaymentFactory
from tests.support import callbacks
from tests.support.facts import (
    database_without,
    money_of,
    nothing_changes,
    path_of,
    refusal,
    sale_of,
)


pytestmark = pytest.mark.django_db

UNTOKENED = "/api/payments/mpesa/callback"
ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
LISTED, UNLISTED = "196.201.214.200", "203.0.113.9"


@pytest.fixture
def payment(duka):
    """An undecided payment of KES 250."""
    return PaymentFactory(order=OrderFactory(shop=duka, total=250))


@pytest.fixture
def daraja():
    """A caller without session or CSRF token, as Daraja is."""
    return Client(enforce_csrf_checks=True)


def hook(payment):
    return f"/hooks/stk/{payment.hook_token}"


def call(client, path, body, **meta):
    return client.post(path, body, content_type="application/json", **meta)


def accepted(response):
    assert response.status_code == 200
    assert response.json() == ACCEPTED
    assert response.headers["Content-Type"] == "application/json"


def question_is_due(payment):
    """Say whether M-Pesa is asked next of all, with a task that does it."""
    payment.refresh_from_db()
    is_due = payment.next_ask_at is not None and payment.next_ask_at <= timezone.now()
    tasks = [row.task for row in OrmQ.objects.filter(lock__lte=timezone.now())]
    return is_due and any(
        task["func"] == "payments.tasks.ask" and task["args"] == (str(payment.pk),)
        for task in tasks
    )


def kept(**filters):
    return list(Notice.objects.filter(**filters).order_by("pk"))


# --- Bad token: counted, capped sample; 403 MPESA_007 ----------------------------


def bad_tokens(good):
    flipped = ("0" if good[0] != "0" else "1") + good[1:]
    resigned = good[:-1] + ("0" if good[-1] != "0" else "1")
    return {
        "another nonce": flipped,
        "another signature": resigned,
        "upper case": good.upper(),
        "too short": good[:-2],
        "too long": good + "00",
        "random": secrets.token_hex(32),
        "a row id": "1",
        "no hex": "g" * 64,
        "a NUL": "%00" * 64,
        "not ASCII": "%C3%A9" * 32,
        "spaces": "%20".join(good),
        "very long": "a" * 5000,
    }


@pytest.mark.parametrize("how", bad_tokens("ab" * 32))
def test_bad_token_is_counted_and_answers_403_MPESA_007(daraja, payment, how):
    body = callbacks.success(payment)
    path = f"/hooks/stk/{bad_tokens(payment.hook_token)[how]}"

    with nothing_changes():
        responses = [call(daraja, path, body) for _ in range(3)]

    for response in responses:
        assert refusal(response, 403, "MPESA_007") == {}
    [notice] = kept()
    assert (notice.kind, notice.verdict, notice.copies) == ("rejected", "rejected", 3)
    assert (bytes(notice.body), notice.payment_id) == (body, None)
    assert notice.next_try_at is None


def test_bad_token_keeps_a_capped_sample(daraja, payment, settings):
    settings.REJECTED_NOTICES_KEPT = 3

    for number in range(5):
        response = call(daraja, "/hooks/stk/x", b"%d" % number)
        assert response.status_code == 403
    call(daraja, "/hooks/stk/x", b"0")

    assert [(bytes(n.body), n.copies) for n in kept()] == [
        (b"0", 2), (b"1", 1), (b"2", 1),
    ]  # fmt: skip


def test_bad_token_is_checked_before_any_lookup(daraja, payment, transactional_db):
    with database_without("payments_payment"), database_without("payments_notice"):
        response = call(daraja, "/hooks/stk/x", callbacks.success(payment))

    assert refusal(response, 403, "MPESA_007") == {}


def test_token_of_a_key_that_is_gone_is_bad(daraja, payment, settings):
    settings.HOOK_SIGNING_KEYS = [b"k" * 32]

    response = call(daraja, hook(payment), callbacks.success(payment))

    refusal(response, 403, "MPESA_007")


def test_token_of_an_older_key_is_good(daraja, payment, settings):
    settings.HOOK_SIGNING_KEYS = [b"k" * 32, *settings.HOOK_SIGNING_KEYS]

    accepted(call(daraja, hook(payment), callbacks.success(payment)))

    payment.refresh_from_db()
    assert payment.status == "completed"


def test_good_token_of_no_payment_is_kept_for_a_person(daraja, payment):
    body = callbacks.success(payment)
    token = hook_tokens.issue().text

    with nothing_changes():
        accepted(call(daraja, f"/hooks/stk/{token}", body))

    [notice] = kept()
    assert (notice.kind, notice.verdict) == ("orphan", "orphan")


# --- Good token: applied ---------------------------------------------------------


def test_good_token_settles_in_the_request(daraja, payment):
    body = callbacks.success(payment)

    accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (bytes(notice.body), notice.payment_id) == (body, payment.pk)
    assert (notice.kind, notice.verdict, notice.copies) == ("stk", "applied", 1)
    assert (notice.next_try_at, notice.is_cut) == (None, False)
    assert notice.processed_at is not None
    payment.refresh_from_db()
    assert (payment.status, payment.receipt) == ("completed", callbacks.RECEIPT)
    assert path_of(payment) == ["created", "pending", "completed"]
    assert money_of(payment.order) == [
        ("callback", callbacks.RECEIPT, 250, [("sale", 250)])
    ]
    assert sale_of(payment.order) == ("paid", 250, 0, 0)


@pytest.mark.parametrize("amount", [250, 250.0, "250.00", "250"])
def test_amounts_that_are_equal_are_equal(daraja, payment, amount):
    accepted(call(daraja, hook(payment), callbacks.success(payment, amount=amount)))

    payment.refresh_from_db()
    assert payment.status == "completed"


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/xml"])
def test_content_type_does_not_matter(daraja, payment, content_type):
    response = daraja.post(
        hook(payment), callbacks.success(payment), content_type=content_type
    )

    accepted(response)
    payment.refresh_from_db()
    assert payment.status == "completed"


# --- Good token: not JSON, odd shape, over 64 KiB --------------------------------


def odd_bodies(payment):
    good = callbacks.success(payment).decode()
    text = '"ResultCode": 0'
    assert text in good
    deep = '{"a":' * 5_000 + "1" + "}" * 5_000
    return {
        "empty": b"",
        "not JSON": b"<html>Service temporarily unavailable</html>",
        "a form": b"Body=1&ResultCode=0",
        "cut off": good.encode()[:-10],
        "two documents": good.encode() * 2,
        "a list": f"[{good}]".encode(),
        "null": b"null",
        "text": b'"paid"',
        "a number": b"1",
        "no Body": b'{"ResultCode": 0}',
        "no stkCallback": b'{"Body": {}}',
        "Body is a list": b'{"Body": []}',
        "stkCallback is text": b'{"Body": {"stkCallback": "paid"}}',
        "no CheckoutRequestID": b'{"Body": {"stkCallback": {"ResultCode": 0}}}',
        "no ResultCode": good.replace(text, '"Code": 0').encode(),
        "ResultCode true": good.replace(text, '"ResultCode": true').encode(),
        "ResultCode null": good.replace(text, '"ResultCode": null').encode(),
        "ResultCode 0.5": good.replace(text, '"ResultCode": 0.5').encode(),
        "ResultCode an object": good.replace(text, '"ResultCode": {}').encode(),
        "ResultCode huge": good.replace(text, f'"ResultCode": {"9" * 4000}').encode(),
        "ResultCode 1e999999": good.replace(text, '"ResultCode": 1e999999').encode(),
        "NaN": good.replace(text, '"ResultCode": NaN').encode(),
        "Infinity": good.replace('"Value": 250', '"Value": -Infinity').encode(),
        "endless digits": good.replace(text, f'"ResultCode": {"1" * 9000}').encode(),
        "bad UTF-8": good.encode().replace(b"successfully", b"\xff\xfe\xc3"),
        "UTF-16": good.encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + good.encode(),
        "NUL bytes": good.encode().replace(b"{", b"{\0", 1),
        "doubled key": good.replace(text, '"ResultCode": 1032, ' + text).encode(),
        "doubled Amount": good.replace(
            '"Value": 250', '"Value": 250, "Value": 2500'
        ).encode(),
        "deep nesting": deep.encode(),
        "deep lists": b"[" * 60_000,
        "metadata is text": _without_metadata(good, "paid"),
        "Item is a number": _without_metadata(good, {"Item": 7}),
        "Item without Name": _without_metadata(good, {"Item": [{"Value": 250}]}),
        "two Amounts": _without_metadata(
            good,
            {"Item": [{"Name": "Amount", "Value": n} for n in (250, 2500)]},
        ),
        "Name is a list": _without_metadata(good, {"Item": [{"Name": []}]}),
    }


def _without_metadata(text, metadata):
    body = json.loads(text)
    body["Body"]["stkCallback"]["CallbackMetadata"] = metadata
    return json.dumps(body).encode()


ODD = list(
    odd_bodies(Payment(amount=250, phone="254712345678", checkout_request_id="ws"))
)


@pytest.mark.parametrize("name", ODD)
def test_good_token_odd_shape_is_kept_as_malformed_and_asked(daraja, payment, name):
    body = odd_bodies(payment)[name]

    with nothing_changes():
        accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.kind, notice.verdict) == ("stk", "malformed")
    assert (bytes(notice.body), notice.payment_id) == (body, payment.pk)
    assert notice.next_try_at is None
    assert question_is_due(payment)


@pytest.mark.parametrize("filler", [" ", "x", "\0"], ids=["blanks", "text", "NULs"])
def test_good_token_over_64_kib_is_cut_and_malformed(daraja, payment, filler):
    body = callbacks.success(payment, extra=filler * 65_536)

    with nothing_changes():
        accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (bytes(notice.body), notice.is_cut) == (body[:65_536], True)
    assert notice.verdict == "malformed"
    assert question_is_due(payment)


def test_good_token_exactly_64_kib_is_whole(daraja, payment):
    body = callbacks.success(payment)
    body += b" " * (65_536 - len(body))

    accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (len(notice.body), notice.is_cut) == (65_536, False)
    assert notice.verdict == "applied"


STRANGE_TEXT = {
    "NUL": "paid\\u0000 fully",
    "lone surrogate": "paid \\ud83d fully",
    "emoji": "\\ud83d\\ude00",
    "very long": "x" * 60_000,
    "markup": "<script>alert(1)</script>",
}


@pytest.mark.parametrize("text", STRANGE_TEXT.values(), ids=STRANGE_TEXT)
def test_strange_text_in_a_good_callback_harms_nothing(daraja, payment, text):
    body = callbacks.success(payment).replace(
        b"The service request is processed successfully.", text.encode()
    )

    accepted(call(daraja, hook(payment), body))

    payment.refresh_from_db()
    assert payment.status == "completed"
    assert len(payment.result_desc) <= 255
    assert "\0" not in payment.result_desc
    payment.result_desc.encode()


# --- Good token: what does not fit proves nothing --------------------------------


def unverifiable(payment):
    success = callbacks.success
    other_merchant = success(payment).replace(
        payment.merchant_request_id.encode(), b"29115-34620561-9"
    )
    no_receipt = success(payment).replace(b"MpesaReceiptNumber", b"Receipt")
    return {
        "another CheckoutRequestID": success(payment, checkout_id="ws_CO_elsewhere"),
        "another MerchantRequestID": other_merchant,
        "a failure with another id": callbacks.failure(
            payment, checkout_id="ws_CO_elsewhere"
        ),
        "more": success(payment, amount=251),
        "less": success(payment, amount=249),
        "cents": success(payment, amount="250.01"),
        "negative": success(payment, amount=-250),
        "huge": success(payment, amount=10**30),
        "text": success(payment, amount="two hundred"),
        "an exponent": success(payment).replace(b'"Value": 250', b'"Value": 2.5e999'),
        "true": success(payment, amount=True),
        "a list": success(payment, amount=[250]),
        "no amount": success(payment).replace(b'"Amount"', b'"Sum"'),
        "no receipt": no_receipt,
        "a receipt that is none": success(payment, receipt="<b>"),
        "a receipt that is a number": success(payment, receipt=1234567890),
        "no metadata": _success_without_metadata(payment),
    }


def _success_without_metadata(payment):
    body = json.loads(callbacks.success(payment))
    del body["Body"]["stkCallback"]["CallbackMetadata"]
    return json.dumps(body).encode()


UNVERIFIABLE = list(
    unverifiable(
        Payment(
            amount=250,
            phone="254712345678",
            checkout_request_id="ws",
            merchant_request_id="m",
        )
    )
)


@pytest.mark.parametrize("name", UNVERIFIABLE)
def test_good_token_other_ids_or_amount_is_kept_unverified_and_asked(
    daraja, payment, name
):
    body = unverifiable(payment)[name]

    with nothing_changes():
        accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.verdict, bytes(notice.body)) == ("unverified", body)
    assert notice.next_try_at is None
    assert question_is_due(payment)


def test_good_token_receipt_of_another_payment_settles_nothing(daraja, duka, payment):
    other = PaymentFactory(order=OrderFactory(shop=duka, total=250))
    call(daraja, hook(other), callbacks.success(other))

    with nothing_changes():
        accepted(call(daraja, hook(payment), callbacks.success(payment)))

    assert [n.verdict for n in kept()] == ["applied", "unverified"]
    assert question_is_due(payment)


def test_good_token_names_a_payment_of_another_shop(daraja, payment, charlie):
    body = callbacks.success(charlie.payment)

    with nothing_changes():
        accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.payment_id, notice.verdict) == (payment.pk, "unverified")


def test_good_token_address_outside_an_enforced_list(daraja, payment, settings):
    settings.MPESA_CALLBACK_IP_MODE = "enforce"
    body = callbacks.success(payment)

    with nothing_changes():
        accepted(
            call(
                daraja, hook(payment), body,
                REMOTE_ADDR=UNLISTED, HTTP_X_FORWARDED_FOR=LISTED,
            )
        )  # fmt: skip

    [notice] = kept()
    assert (notice.verdict, bytes(notice.body)) == ("unverified", body)
    assert (notice.address, notice.address_is_listed) == (UNLISTED, False)
    assert question_is_due(payment)


@pytest.mark.parametrize(
    ("mode", "address"), [("enforce", LISTED), ("log", UNLISTED), ("off", UNLISTED)]
)
def test_good_token_address_that_is_listed_or_not_enforced(
    daraja, payment, settings, mode, address
):
    settings.MPESA_CALLBACK_IP_MODE = mode

    accepted(
        call(daraja, hook(payment), callbacks.success(payment), REMOTE_ADDR=address)
    )

    payment.refresh_from_db()
    assert payment.status == "completed"
    [notice] = kept()
    assert (notice.address, notice.verdict) == (address, "applied")


def test_good_token_question_not_within_ten_seconds_of_the_last(daraja, payment):
    asked_at = timezone.now()
    Payment.objects.filter(pk=payment.pk).update(asked_at=asked_at)

    accepted(call(daraja, hook(payment), callbacks.success(payment, amount=1)))

    payment.refresh_from_db()
    assert (payment.next_ask_at - asked_at).total_seconds() == 10


# --- Good token: duplicate -------------------------------------------------------


def test_good_token_duplicate_is_counted(daraja, payment):
    body = callbacks.success(payment)
    call(daraja, hook(payment), body)

    with nothing_changes():
        for _ in range(4):
            accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.copies, notice.verdict) == (5, "applied")
    assert Collection.objects.count() == 1


def test_good_token_duplicate_in_other_bytes_says_nothing_new(daraja, payment):
    call(daraja, hook(payment), callbacks.success(payment))

    with nothing_changes():
        accepted(call(daraja, hook(payment), callbacks.success(payment, extra=" ")))

    assert [(n.copies, n.verdict) for n in kept()] == [(1, "applied"), (1, "duplicate")]


# --- Good token: processing broke, or took over 2 s ------------------------------


def test_good_token_processing_broke_is_kept_and_due_again(
    daraja, payment, monkeypatch
):
    body = callbacks.success(payment)
    with monkeypatch.context() as broken:
        broken.setattr(settlement, "record_success", lambda *given: 1 / 0)
        with nothing_changes():
            accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.verdict, notice.processed_at) == ("new", None)
    assert "ZeroDivisionError" in notice.error
    wait_s = (notice.next_try_at - timezone.now()).total_seconds()
    assert 0 < wait_s <= 5
    task = OrmQ.objects.latest("pk").task
    assert (task["func"], task["args"]) == (
        "payments.tasks.process_notice",
        (notice.pk,),
    )

    # Its time has come.
    Notice.objects.update(next_try_at=timezone.now())
    assert inbox.attempt(notice.pk) == "applied"
    payment.refresh_from_db()
    assert payment.status == "completed"
    assert inbox.attempt(notice.pk) is None
    assert Collection.objects.count() == 1


def test_good_token_copy_of_a_broken_one_is_only_counted(daraja, payment, monkeypatch):
    body = callbacks.success(payment)
    with monkeypatch.context() as broken:
        broken.setattr(settlement, "record_success", lambda *given: 1 / 0)
        call(daraja, hook(payment), body)

    with nothing_changes():
        accepted(call(daraja, hook(payment), body))

    [notice] = kept()
    assert (notice.copies, notice.verdict) == (2, "new")
    assert notice.next_try_at is not None


class Lock:
    """What another process holds: the order's row, on SQLite the whole database."""

    def __init__(self, order):
        self.order, self.held, self.over = order, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.hold)

    def hold(self):
        try:
            with transaction.atomic():
                Order.objects.select_for_update().get(pk=self.order.pk)
                self.held.set()
                self.over.wait(20)
        finally:
            connection.close()

    def __enter__(self):
        self.thread.start()
        assert self.held.wait(10)

    def __exit__(self, *details):
        self.over.set()
        self.thread.join()


def test_good_token_processing_takes_over_2_s_is_kept_and_due_again(
    daraja, payment, settings, monkeypatch, transactional_db
):
    assert settings.NOTICE_PROCESS_LIMIT_S == 2
    settings.NOTICE_PROCESS_LIMIT_S = 0.3
    stored_by = inbox.store_for_payment
    lock = Lock(payment.order)

    def store_and_then_meet_a_lock(*given):
        stored = stored_by(*given)
        lock.__enter__()
        return stored

    monkeypatch.setattr(inbox, "store_for_payment", store_and_then_meet_a_lock)
    started = time.monotonic()
    try:
        accepted(call(daraja, hook(payment), callbacks.success(payment)))
        took_s = time.monotonic() - started
    finally:
        lock.__exit__()

    assert 0.3 <= took_s < 10
    payment.refresh_from_db()
    assert payment.status == "pending"
    [notice] = kept()
    assert (notice.verdict, notice.processed_at) == ("new", None)
    assert notice.next_try_at is not None
    assert money_of(payment.order) == []

    Notice.objects.update(next_try_at=timezone.now())
    assert inbox.attempt(notice.pk) == "applied"
    assert money_of(payment.order) == [
        ("callback", callbacks.RECEIPT, 250, [("sale", 250)])
    ]


# --- The path without a token ----------------------------------------------------


def test_untokened_never_settles_and_asks_about_a_known_payment(daraja, payment):
    body = callbacks.success(payment)

    with nothing_changes():
        accepted(call(daraja, UNTOKENED, body))

    [notice] = kept()
    assert (notice.kind, notice.verdict) == ("untokened", "untokened")
    assert (bytes(notice.body), notice.payment_id) == (body, None)
    assert question_is_due(payment)


def test_untokened_is_kept_once_per_body(daraja, payment):
    for _ in range(3):
        accepted(call(daraja, UNTOKENED, b"the same"))

    [notice] = kept()
    assert notice.copies == 3


def test_untokened_is_capped(daraja, settings, payment):
    settings.REJECTED_NOTICES_KEPT = 2

    for number in range(4):
        accepted(call(daraja, UNTOKENED, b"%d" % number))

    assert [bytes(n.body) for n in kept()] == [b"0", b"1"]


@pytest.mark.parametrize("whose", ["nobody's", "a decided payment's"])
def test_untokened_asks_about_no_other_payment(daraja, payment, whose):
    body = callbacks.success(payment, checkout_id="ws_CO_elsewhere")
    if whose != "nobody's":
        call(daraja, hook(payment), callbacks.failure(payment))
        body = callbacks.success(payment)
    tasks = OrmQ.objects.count()

    with nothing_changes():
        accepted(call(daraja, UNTOKENED, body))

    assert OrmQ.objects.count() == tasks
    payment.refresh_from_db()
    assert not question_is_due(payment)


@pytest.mark.parametrize("name", ODD)
def test_untokened_odd_body_is_kept_and_accepted(daraja, payment, name):
    with nothing_changes():
        accepted(call(daraja, UNTOKENED, odd_bodies(payment)[name]))

    [notice] = kept()
    assert notice.verdict == "untokened"


def test_untokened_over_64_kib_is_cut(daraja, db):
    accepted(call(daraja, UNTOKENED, b"x" * 65_537))

    [notice] = kept()
    assert (len(notice.body), notice.is_cut) == (65_536, True)


# --- Could not be stored: 503 ----------------------------------------------------


def test_could_not_be_stored_answers_503(daraja, payment, transactional_db):
    with nothing_changes(), database_without("payments_notice", "INSERT"):
        response = call(daraja, hook(payment), callbacks.success(payment))

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert kept() == []


def test_could_not_be_looked_up_answers_503(daraja, payment, transactional_db):
    with nothing_changes(), database_without("payments_payment"):
        response = call(daraja, hook(payment), callbacks.success(payment))

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert kept() == []


def test_could_not_be_stored_without_token_answers_503(daraja, transactional_db):
    with database_without("payments_notice", "INSERT"):
        response = call(daraja, UNTOKENED, b"{}")

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert kept() == []


def test_stored_but_the_database_fails_then_answers_200(
    daraja, payment, transactional_db
):
    """Nobody but us would try again, and it is due by birth."""
    with nothing_changes(), database_without("payments_collection"):
        accepted(call(daraja, hook(payment), callbacks.success(payment)))

    [notice] = kept()
    assert (notice.verdict, notice.processed_at) == ("new", None)
    assert notice.next_try_at is not None


def test_stored_and_everything_fails_then_is_due_by_birth(
    daraja, payment, monkeypatch, transactional_db
):
    def no_more(*given):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(inbox, "process", no_more)
    with database_without("payments_notice", "UPDATE"):
        accepted(call(daraja, hook(payment), callbacks.success(payment)))

    [notice] = kept()
    wait_s = (notice.next_try_at - notice.received_at).total_seconds()
    assert wait_s == pytest.approx(15, abs=0.5)
    assert inbox.due(10, now=notice.next_try_at) == [notice.pk]


# --- Another verb: 405 -----------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "put", "patch", "delete", "options", "head"])
@pytest.mark.parametrize("where", ["token", "bad token", "untokened"])
def test_another_verb_answers_405_and_keeps_nothing(daraja, payment, verb, where):
    path = {
        "token": hook(payment),
        "bad token": "/hooks/stk/x",
        "untokened": UNTOKENED,
    }[where]

    with nothing_changes():
        response = getattr(daraja, verb)(path)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if verb != "head":
        refusal(response, 405, "INVALID_REQUEST")
    assert kept() == []
