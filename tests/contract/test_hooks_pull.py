"""The hooks table for the address that is registered for M-Pesa's list."""

import json

import pytest
from django.test import Client
from django_q.models import OrmQ

from payments import accounts, gateways, inbox, pulling
from payments.gateways.organisation import Registered
from payments.models import Notice, Receipt
from tests.support import by_hand
from tests.support.facts import database_without, nothing_changes, refusal


pytestmark = pytest.mark.django_db

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
PATH = "/hooks/pull"
NAMES = (
    *("a registration", "a payment", "rows of the list"),
    *("nothing", "not JSON", "too long"),
)


@pytest.fixture
def daraja():
    """A caller without session or CSRF token, as Daraja is."""
    return Client(enforce_csrf_checks=True)


def call(daraja, body, path=PATH):
    return daraja.post(path, body, content_type="application/json")


def bodies(account):
    rows = [[{"transactionId": by_hand.RECEIPT, "amount": "250.00"}]]
    found = (
        json.dumps({"ResponseStatus": "1000"}).encode(),
        by_hand.confirmation(account),
        json.dumps({"Response": rows}).encode(),
        b"",
        b"<html>\xff\0",
        b"x" * 70_000,
    )
    return dict(zip(NAMES, found, strict=True))


def test_the_address_that_is_registered_is_served(daraja, monkeypatch, duka):
    registered = []

    class Mpesa:
        def register_pull(self, account, request, *, limit_s):
            registered.append(request.callback_url)
            return Registered()

    monkeypatch.setattr(gateways, "organisation", Mpesa)
    pulling.register(accounts.platform_account(), "0712345678")

    [url] = registered
    answer = call(daraja, b"{}", url.removeprefix("http://127.0.0.1:8000"))

    assert (answer.status_code, answer.json()) == (200, ACCEPTED)
    assert not any(word in url for word in ("m-pesa", "mpesa", "safaricom", "query"))


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_is_kept_once_and_believed_in_nothing(daraja, duka, name):
    body = bodies(accounts.platform_account())[name]

    with nothing_changes():
        for _ in range(3):
            answer = call(daraja, body)
            assert (answer.status_code, answer.json()) == (200, ACCEPTED)

    [notice] = Notice.objects.all()
    assert (notice.kind, notice.verdict, notice.copies) == ("pull", "untokened", 3)
    assert (bytes(notice.body), notice.is_cut) == (body[:65_536], name == "too long")
    assert (notice.next_try_at, notice.payment, notice.account) == (None, None, None)
    assert not inbox.is_owned(notice)
    assert (Receipt.objects.count(), OrmQ.objects.count()) == (0, 0)


def test_what_is_kept_is_capped(daraja, settings):
    settings.REJECTED_NOTICES_KEPT = 2

    for number in range(4):
        assert call(daraja, b"%d" % number).status_code == 200

    assert [bytes(one.body) for one in Notice.objects.order_by("pk")] == [b"0", b"1"]


def test_what_cannot_be_stored_is_answered_with_503(daraja, transactional_db):
    with database_without("payments_notice"):
        answer = call(daraja, b"{}")

    refusal(answer, 503, "UNAVAILABLE")


@pytest.mark.parametrize("verb", ["get", "put", "delete", "patch", "head"])
def test_another_verb_is_answered_with_405(daraja, verb):
    answer = getattr(daraja, verb)(PATH)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert Notice.objects.count() == 0
