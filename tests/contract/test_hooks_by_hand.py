"""The contract's hooks table for payments by hand, and for results of our requests."""

# ruff: noqa: N802 -- a test is called by the code that it is about

import json
import uuid

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from payments import accounts, c2b, hook_tokens, inbox, inquiries
from payments.enums import RequestKind, Verdict
from payments.hook_tokens import Kind
from payments.models import (
    AccountHook,
    Collection,
    MpesaAccount,
    Notice,
    OrganisationRequest,
    Payment,
    Receipt,
)
from tests.factories import MpesaAccountFactory, OrderFactory, PaymentFactory
from tests.support import by_hand, callbacks
from tests.support.facts import database_without, nothing_changes, refusal


pytestmark = pytest.mark.django_db

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
MAY_BE_MADE = {"ResultCode": "0", "ResultDesc": "Accepted"}
LISTED, UNLISTED = "196.201.214.200", "203.0.113.9"
STORING = ("hand", "result", "over")
HOOKS = (*STORING, "check")
KINDS = {"hand": "c2b", "result": "result", "over": "timeout"}


@pytest.fixture
def account(duka):
    """A paybill of the shop, with an initiator."""
    account = MpesaAccountFactory(shop=duka, shortcode="600400")
    account.initiator_name, account.initiator_password = "api", "secret"
    account.save()
    return account


@pytest.fixture
def daraja():
    """A caller without session or CSRF token, as Daraja is."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def tokens(account):
    """The good token of every hook."""
    of_account = by_hand.address(account)
    of_request = hook_tokens.issue(Kind.REQUEST)
    OrganisationRequest.objects.create(
        kind=RequestKind.STATUS,
        account=account,
        receipt=by_hand.RECEIPT,
        token_hash=of_request.nonce_hash,
        conversation_id="AG_20260114_2010a1b2c3",
        originator_conversation_id="f1e2-4b95-a71d",
        asked_at=timezone.now(),
    )
    return {
        "hand": of_account,
        "check": of_account,
        "result": of_request.text,
        "over": of_request.text,
    }


def call(client, path, body, **meta):
    return client.post(path, body, content_type="application/json", **meta)


def path_of(hook, tokens):
    return f"/hooks/{hook}/{tokens[hook]}"


def body_for(hook, account, extra=""):
    """Return what M-Pesa sends there when all is well."""
    if hook in ("hand", "check"):
        return by_hand.confirmation(account, extra=extra)
    parameters = {
        "ReceiptNo": by_hand.RECEIPT,
        "TransactionStatus": "Completed",
        "Amount": "250.00",
        "DebitPartyName": "254712345678 - JANE",
        "CreditPartyName": f"{account.shortcode} - DUKA",
        "FinalisedTime": "20260114093031",
    }
    result = {
        "ResultType": 0,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "OriginatorConversationID": "f1e2-4b95-a71d",
        "ConversationID": "AG_20260114_2010a1b2c3",
        "TransactionID": "UAE0000000",
        "ResultParameters": {
            "ResultParameter": [
                {"Key": key, "Value": value} for key, value in parameters.items()
            ]
        },
    }
    return json.dumps({"Result": result}).encode() + extra.encode()


def accepted(response, expected=ACCEPTED):
    assert response.status_code == 200
    assert response.json() == expected
    assert response.headers["Content-Type"] == "application/json"


def kept(**filters):
    return list(Notice.objects.filter(**filters).order_by("pk"))


# --- Bad token: counted, capped sample; 403 MPESA_007 ----------------------------


def bad_tokens(good, other):
    return {
        "another nonce": ("0" if good[0] != "0" else "1") + good[1:],
        "another signature": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "upper case": good.upper(),
        "too short": good[:-2],
        "a row id": "1",
        "a NUL": "%00" * 64,
        "of another kind": other,
        "of a prompt": hook_tokens.issue().text,
    }


@pytest.mark.parametrize("how", bad_tokens("ab" * 32, ""))
@pytest.mark.parametrize("hook", HOOKS)
def test_bad_token_is_counted_and_answers_403_MPESA_007(
    daraja, tokens, account, hook, how
):
    other = tokens["result" if hook in ("hand", "check") else "hand"]
    body = body_for(hook, account)
    path = f"/hooks/{hook}/{bad_tokens(tokens[hook], other)[how]}"

    with nothing_changes():
        responses = [call(daraja, path, body) for _ in range(3)]

    for response in responses:
        assert refusal(response, 403, "MPESA_007") == {}
    [notice] = kept()
    assert (notice.kind, notice.verdict, notice.copies) == ("rejected", "rejected", 3)
    assert (bytes(notice.body), notice.next_try_at) == (body, None)
    assert (notice.account_id, notice.request_id) == (None, None)
    assert Receipt.objects.count() == 0


@pytest.mark.parametrize("hook", HOOKS)
def test_bad_token_is_checked_before_any_lookup(daraja, hook, transactional_db):
    with database_without("payments_accounthook"), database_without("payments_notice"):
        response = call(daraja, f"/hooks/{hook}/x", b"{}")

    assert refusal(response, 403, "MPESA_007") == {}


NEW_KEY = b"k" * 32


@pytest.mark.parametrize("is_old", [False, True], ids=["new row", "old row"])
@pytest.mark.parametrize("hook", ["hand", "check"])
def test_address_of_an_account_outlives_the_key_that_signed_it(
    daraja, tokens, account, settings, hook, is_old
):
    if is_old:
        AccountHook.objects.update(text_hash=None)
    settings.HOOK_SIGNING_KEYS = [NEW_KEY]

    answer = call(daraja, path_of(hook, tokens), body_for(hook, account))

    accepted(answer, MAY_BE_MADE if hook == "check" else ACCEPTED)
    kinds = [(one.kind, one.account, one.verdict) for one in kept()]
    assert kinds == ([] if hook == "check" else [("c2b", account, "held")])


def test_address_that_was_retired_outlives_no_key_either(
    daraja, tokens, account, settings
):
    settings.HOOK_SIGNING_KEYS = [NEW_KEY]
    AccountHook.objects.update(retired_at=timezone.now())

    accepted(call(daraja, path_of("hand", tokens), body_for("hand", account)))

    assert [(one.kind, one.verdict) for one in kept()] == [("orphan", "orphan")]


@pytest.mark.parametrize("how", ["another nonce", "another signature", "of a prompt"])
@pytest.mark.parametrize("hook", ["hand", "check"])
def test_bad_token_is_bad_also_where_the_key_is_gone(
    daraja, tokens, account, settings, hook, how
):
    path = f"/hooks/{hook}/{bad_tokens(tokens[hook], '')[how]}"
    settings.HOOK_SIGNING_KEYS = [NEW_KEY]

    refusal(call(daraja, path, body_for(hook, account)), 403, "MPESA_007")

    assert [one.kind for one in kept()] == ["rejected"]


@pytest.mark.parametrize("hook", ["result", "over"])
def test_token_of_a_request_ends_with_its_key_without_any_lookup(
    daraja, tokens, account, settings, hook
):
    settings.HOOK_SIGNING_KEYS = [NEW_KEY]

    with (
        database_without("payments_organisationrequest"),
        database_without("payments_accounthook"),
    ):
        answer = call(daraja, path_of(hook, tokens), body_for(hook, account))

    refusal(answer, 403, "MPESA_007")


def test_nothing_is_lost_or_refused_while_an_old_address_cannot_be_looked_up(
    daraja, tokens, account, settings
):
    settings.HOOK_SIGNING_KEYS = [NEW_KEY]

    with database_without("payments_accounthook"):
        told = call(daraja, path_of("hand", tokens), body_for("hand", account))
        asked = call(daraja, path_of("check", tokens), body_for("check", account))

    refusal(told, 503, "UNAVAILABLE")
    accepted(asked, MAY_BE_MADE)


@pytest.mark.parametrize("hook", STORING)
def test_good_token_of_nobody_is_an_orphan_kept_and_counted(
    daraja, tokens, account, hook
):
    AccountHook.objects.update(retired_at=timezone.now())
    OrganisationRequest.objects.update(token_hash="0" * 64)
    body = body_for(hook, account)

    with nothing_changes():
        for _ in range(3):
            accepted(call(daraja, path_of(hook, tokens), body))

    [notice] = kept()
    assert (notice.kind, notice.verdict, notice.copies) == ("orphan", "orphan", 3)
    assert Receipt.objects.count() == 0


def test_orphans_of_a_retired_address_are_capped(daraja, tokens, account, settings):
    settings.REJECTED_NOTICES_KEPT = 2
    AccountHook.objects.update(retired_at=timezone.now())

    for number in range(4):
        accepted(call(daraja, path_of("hand", tokens), b"%d" % number))

    assert [bytes(notice.body) for notice in kept()] == [b"0", b"1"]


# --- Good token: applied ---------------------------------------------------------


def test_confirmation_is_kept_with_its_account_and_makes_a_claim(
    daraja, tokens, account
):
    body = body_for("hand", account)

    with nothing_changes():
        accepted(call(daraja, path_of("hand", tokens), body))

    [notice] = kept()
    assert (notice.kind, notice.account, bytes(notice.body)) == ("c2b", account, body)
    assert (notice.verdict, notice.next_try_at) == ("held", None)
    receipt = Receipt.objects.get()
    assert (receipt.number, receipt.state, receipt.amount) == (
        by_hand.RECEIPT, "claimed", 250,
    )  # fmt: skip
    assert not receipt.is_proven


def test_result_of_our_request_makes_money_of_it(daraja, tokens, account):
    accepted(call(daraja, path_of("hand", tokens), body_for("hand", account)))
    accepted(call(daraja, path_of("result", tokens), body_for("result", account)))

    assert [(n.kind, n.verdict) for n in kept()] == [
        ("c2b", "held"), ("result", "applied"),
    ]  # fmt: skip
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.is_proven) == ("counted", True)
    assert Collection.objects.get().receipt == by_hand.RECEIPT


def test_time_out_of_our_request_proves_nothing(daraja, tokens, account):
    accepted(call(daraja, path_of("over", tokens), body_for("over", account)))

    [notice] = kept()
    assert (notice.kind, notice.verdict) == ("timeout", "uncertain")
    assert OrganisationRequest.objects.get().state == "unknown"


# --- Good token: not JSON, odd shape, over 64 KiB --------------------------------

ODD = {
    "empty": b"",
    "not JSON": b"<html>Service temporarily unavailable</html>",
    "null": b"null",
    "a list": b"[]",
    "no members": b"{}",
    "bad UTF-8": b'{"TransID": "\xff\xfe"}',
    "NaN": b'{"TransID": NaN, "Result": NaN}',
    "deep nesting": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "NUL": b'{"TransID": "UAE5\\u0000B2K9QT", "Result": "\\u0000"}',
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("hook", ["hand", "result"])
def test_good_token_odd_shape_is_kept_as_malformed(daraja, tokens, hook, name):
    with nothing_changes():
        accepted(call(daraja, path_of(hook, tokens), ODD[name]))

    [notice] = kept()
    assert (notice.kind, notice.verdict) == (KINDS[hook], "malformed")
    assert (bytes(notice.body), notice.next_try_at) == (ODD[name], None)
    assert Receipt.objects.count() == 0


ODD_CONFIRMATIONS = {
    "no TransID": {"TransID": None},
    "a TransID that is none": {"TransID": "<b>"},
    "a TransID that is a number": {"TransID": 1234567890},
    "no amount": {"TransAmount": ""},
    "nothing": {"TransAmount": "0.00"},
    "negative": {"TransAmount": "-250.00"},
    "huge": {"TransAmount": "1000000000"},
    "beyond all bounds": {"TransAmount": 10**30},
    "a tenth of a cent": {"TransAmount": "250.001"},
    "an amount in words": {"TransAmount": "two hundred"},
    "no shortcode": {"BusinessShortCode": ""},
}


@pytest.mark.parametrize("name", ODD_CONFIRMATIONS)
def test_confirmation_without_the_main_things_is_malformed(
    daraja, tokens, account, name
):
    body = by_hand.confirmation(account, **ODD_CONFIRMATIONS[name])

    with nothing_changes():
        accepted(call(daraja, path_of("hand", tokens), body))

    [notice] = kept()
    assert notice.verdict == "malformed"
    assert Receipt.objects.count() == 0


STRANGE = {
    "BillRefNumber": "x' OR 1=1 -- \0 \ud83d" + "9" * 300,
    "MSISDN": "\0" * 99,
    "FirstName": "<script>" * 100,
    "TransTime": "yesterday",
    "TransactionType": None,
    "OrgAccountBalance": [],
}


def test_strange_text_in_a_confirmation_loses_no_money(daraja, tokens, account):
    body = by_hand.confirmation(account, **STRANGE)

    accepted(call(daraja, path_of("hand", tokens), body))

    [notice] = kept()
    assert notice.verdict == "held"
    receipt = Receipt.objects.get()
    assert (receipt.number, receipt.amount) == (by_hand.RECEIPT, 250)


@pytest.mark.parametrize("hook", ["hand", "result"])
def test_good_token_over_64_kib_is_cut_and_malformed(daraja, tokens, account, hook):
    body = body_for(hook, account, extra=" " * 65_536)

    with nothing_changes():
        accepted(call(daraja, path_of(hook, tokens), body))

    [notice] = kept()
    assert (bytes(notice.body), notice.is_cut) == (body[:65_536], True)
    assert notice.verdict == "malformed"


# --- Good token: what does not fit proves nothing --------------------------------


@pytest.mark.parametrize("shortcode", ["600100", "600200", "174379", "0600400"])
def test_confirmation_for_another_shortcode_is_unverified(
    daraja, tokens, account, shortcode
):
    MpesaAccountFactory(shortcode="600100")
    body = by_hand.confirmation(account, shortcode=shortcode)

    with nothing_changes():
        accepted(call(daraja, path_of("hand", tokens), body))

    [notice] = kept()
    assert (notice.verdict, notice.next_try_at) == ("unverified", None)
    assert Receipt.objects.count() == 0


@pytest.mark.parametrize("number", ["600300", "5600301"])
def test_confirmation_of_a_till_may_name_its_store_or_the_till(daraja, duka, number):
    till = MpesaAccountFactory(
        shop=duka, type="till", shortcode="600300", party_b="5600301"
    )
    path = f"/hooks/hand/{by_hand.address(till)}"

    accepted(call(daraja, path, by_hand.confirmation(till, shortcode=number)))

    assert [notice.verdict for notice in kept()] == ["held"]


def test_confirmation_for_another_environment_is_unverified(daraja, tokens, account):
    MpesaAccount.objects.filter(pk=account.pk).update(environment="sandbox")

    accepted(call(daraja, path_of("hand", tokens), body_for("hand", account)))

    assert [notice.verdict for notice in kept()] == ["unverified"]


@pytest.mark.parametrize("hook", ["hand", "result"])
def test_good_token_address_outside_an_enforced_list(
    daraja, tokens, account, settings, hook
):
    settings.MPESA_CALLBACK_IP_MODE = "enforce"
    path, body = path_of(hook, tokens), body_for(hook, account)

    with nothing_changes():
        accepted(call(daraja, path, body, REMOTE_ADDR=UNLISTED))

    [notice] = kept()
    assert (notice.verdict, notice.address_is_listed) == ("unverified", False)
    assert Receipt.objects.count() == 0

    # The same bytes from a listed address are judged anew.
    accepted(call(daraja, path, body, REMOTE_ADDR=LISTED))
    [notice] = kept()
    assert notice.verdict == ("held" if hook == "hand" else "applied")


def test_unverified_confirmation_asks_about_the_payment_it_names(
    daraja, tokens, account, settings, duka
):
    settings.MPESA_CALLBACK_IP_MODE = "enforce"
    payment = PaymentFactory(order=OrderFactory(shop=duka), account=account)
    body = by_hand.confirmation(account, reference=payment.reference.lower())

    call(daraja, path_of("hand", tokens), body, REMOTE_ADDR=UNLISTED)

    payment.refresh_from_db()
    assert payment.next_ask_at <= timezone.now()
    assert payment.status == "pending"


@pytest.mark.parametrize("field", ["ConversationID", "OriginatorConversationID"])
def test_result_of_another_conversation_is_unverified(daraja, tokens, account, field):
    body = json.loads(body_for("result", account))
    body["Result"][field] = "AG_elsewhere"

    with nothing_changes():
        accepted(call(daraja, path_of("result", tokens), json.dumps(body)))

    assert [notice.verdict for notice in kept()] == ["unverified"]
    assert Receipt.objects.count() == 0


# --- Good token: duplicate -------------------------------------------------------


@pytest.mark.parametrize("hook", STORING)
def test_good_token_duplicate_is_counted(daraja, tokens, account, hook):
    body = body_for(hook, account)
    call(daraja, path_of(hook, tokens), body)
    verdict = kept()[0].verdict
    rows = list(Receipt.objects.values())

    with nothing_changes():
        for _ in range(4):
            accepted(call(daraja, path_of(hook, tokens), body))

    [notice] = kept()
    assert (notice.copies, notice.verdict) == (5, verdict)
    assert list(Receipt.objects.values()) == rows


def test_confirmation_in_other_bytes_says_nothing_new(daraja, tokens, account):
    for extra in ("", " "):
        call(daraja, path_of("hand", tokens), body_for("hand", account, extra))

    assert [(n.copies, n.verdict) for n in kept()] == [(1, "held"), (1, "duplicate")]
    assert Receipt.objects.count() == 1


def test_confirmation_with_another_amount_contradicts(daraja, tokens, account):
    for amount in ("250.00", "2500.00"):
        body = by_hand.confirmation(account, amount=amount)
        accepted(call(daraja, path_of("hand", tokens), body))

    assert [n.verdict for n in kept()] == ["held", "contradiction"]
    receipt = Receipt.objects.get()
    assert receipt.amount == 250
    assert "before it was" in receipt.alarm


def test_same_bytes_at_both_addresses_of_a_request_are_two_notices(
    daraja, tokens, account
):
    body = body_for("result", account)
    for hook in ("over", "result"):
        accepted(call(daraja, path_of(hook, tokens), body))

    assert [(n.kind, n.verdict) for n in kept()] == [
        ("timeout", "uncertain"), ("result", "applied"),
    ]  # fmt: skip


def test_same_bytes_at_two_addresses_of_an_account_are_one_notice(
    daraja, tokens, account
):
    body = body_for("hand", account)
    accepted(call(daraja, path_of("hand", tokens), body))
    accepted(call(daraja, f"/hooks/hand/{by_hand.address(account)}", body))

    assert [(n.copies, n.verdict) for n in kept()] == [(2, "held")]


# --- Good token: processing broke ------------------------------------------------

PROCESSING = {
    "hand": (c2b, "apply"),
    "result": (inquiries, "apply_result"),
    "over": (inquiries, "apply_timeout"),
}


@pytest.mark.parametrize("hook", STORING)
def test_good_token_processing_broke_is_kept_and_due_again(
    daraja, tokens, account, hook, monkeypatch
):
    body = body_for(hook, account)
    with monkeypatch.context() as broken:
        broken.setattr(*PROCESSING[hook], lambda notice: 1 / 0)
        with nothing_changes():
            accepted(call(daraja, path_of(hook, tokens), body))
            accepted(call(daraja, path_of(hook, tokens), body))

    [notice] = kept()
    assert (notice.verdict, notice.processed_at, notice.copies) == ("new", None, 2)
    assert "ZeroDivisionError" in notice.error
    wait_s = (notice.next_try_at - timezone.now()).total_seconds()
    assert 0 < wait_s <= 5
    task = OrmQ.objects.latest("pk").task
    assert (task["func"], task["args"]) == (inbox.NOTICE_TASK, (notice.pk,))

    # Its time has come.
    Notice.objects.update(next_try_at=timezone.now())
    assert inbox.attempt(notice.pk) in ("held", "applied", "uncertain")
    assert inbox.attempt(notice.pk) is None
    notice.refresh_from_db()
    assert (notice.error, notice.next_try_at) == ("", None)


@pytest.mark.parametrize("hook", STORING)
def test_broken_notice_backs_off_is_parked_and_replayed(
    daraja, tokens, account, hook, monkeypatch
):
    with monkeypatch.context() as broken:
        broken.setattr(*PROCESSING[hook], lambda notice: 1 / 0)
        call(daraja, path_of(hook, tokens), body_for(hook, account))
        [notice] = kept()
        for _ in range(5):
            Notice.objects.update(next_try_at=timezone.now())
            assert inbox.attempt(notice.pk) is None
    notice.refresh_from_db()
    assert (notice.verdict, notice.next_try_at) == ("parked", None)
    assert "ZeroDivisionError" in notice.error

    assert inbox.process_again(notice.pk) in ("held", "applied", "uncertain")


def test_killed_between_keeping_a_receipt_and_booking_it_heals(
    daraja, tokens, account, monkeypatch
):
    with monkeypatch.context() as broken:
        broken.setattr(c2b.matching, "resolve", lambda receipt_id: 1 / 0)
        accepted(call(daraja, path_of("hand", tokens), body_for("hand", account)))
    assert Receipt.objects.get().state == "held"
    [notice] = kept()
    Notice.objects.update(next_try_at=timezone.now())

    assert inbox.attempt(notice.pk) == Verdict.HELD

    assert Receipt.objects.get().state == "claimed"


# --- Could not be stored: 503 ----------------------------------------------------

LOOKED_UP = {
    "hand": "payments_accounthook",
    "result": "payments_organisationrequest",
    "over": "payments_organisationrequest",
}


@pytest.mark.parametrize("hook", STORING)
def test_could_not_be_stored_answers_503(
    daraja, transactional_db, tokens, account, hook
):
    with nothing_changes(), database_without("payments_notice", "INSERT"):
        response = call(daraja, path_of(hook, tokens), body_for(hook, account))

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert kept() == []


@pytest.mark.parametrize("hook", STORING)
def test_could_not_be_looked_up_answers_503(
    daraja, transactional_db, tokens, account, hook
):
    with nothing_changes(), database_without(LOOKED_UP[hook]):
        response = call(daraja, path_of(hook, tokens), body_for(hook, account))

    assert refusal(response, 503, "UNAVAILABLE") == {}
    assert kept() == []


def test_stored_but_the_database_fails_then_answers_200(
    daraja, transactional_db, tokens, account
):
    with nothing_changes(), database_without("payments_receipt"):
        accepted(call(daraja, path_of("hand", tokens), body_for("hand", account)))

    [notice] = kept()
    assert (notice.verdict, notice.processed_at) == ("new", None)
    assert notice.next_try_at is not None


# --- Another verb: 405 -----------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "put", "patch", "delete", "options", "head"])
@pytest.mark.parametrize("token", ["good", "bad"])
@pytest.mark.parametrize("hook", HOOKS)
def test_another_verb_answers_405_and_keeps_nothing(daraja, tokens, hook, token, verb):
    path = path_of(hook, tokens) if token == "good" else f"/hooks/{hook}/x"

    with nothing_changes():
        response = getattr(daraja, verb)(path)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if verb != "head":
        refusal(response, 405, "INVALID_REQUEST")
    assert kept() == []


# --- Validation: may this payment be made? ---------------------------------------


def ask(daraja, tokens, account, **changes):
    body = by_hand.confirmation(account, **changes)
    with nothing_changes():
        response = call(daraja, path_of("check", tokens), body)
    assert response.status_code == 200
    assert kept() == []
    assert Receipt.objects.count() == 0
    return response.json()


@pytest.mark.parametrize("reference", ["", "anything", "K7Q2M9", "x' OR 1=1", "\0"])
def test_everything_may_be_paid_to_a_living_account(daraja, tokens, account, reference):
    assert ask(daraja, tokens, account, reference=reference) == MAY_BE_MADE


def test_an_older_address_may_be_the_one_mpesa_knows(daraja, tokens, account):
    AccountHook.objects.update(retired_at=timezone.now())

    assert ask(daraja, tokens, account) == MAY_BE_MADE


@pytest.mark.parametrize("amount", ["0", "0.00", "0.99", "-5", 0, "-0.5"])
def test_less_than_a_shilling_is_refused(daraja, tokens, account, amount):
    answer = ask(daraja, tokens, account, amount=amount)

    assert answer == {"ResultCode": "C2B00013", "ResultDesc": "Rejected"}


@pytest.mark.parametrize("amount", ["1", "1.00", 1, "250000.00", "a lot", None, "1e3"])
def test_a_shilling_and_what_cannot_be_read_may_be_paid(
    daraja, tokens, account, amount
):
    assert ask(daraja, tokens, account, amount=amount) == MAY_BE_MADE


@pytest.mark.parametrize("why", ["another shortcode", "closed", "sandbox", "nobody's"])
def test_unknown_shortcode_is_refused(daraja, tokens, account, why):
    shortcode = None
    rows = MpesaAccount.objects.filter(pk=account.pk)
    if why == "another shortcode":
        shortcode = "600100"
    elif why == "closed":
        rows.update(is_active=False)
    elif why == "sandbox":
        rows.update(environment="sandbox")
    else:
        AccountHook.objects.update(token_hash="0" * 64)

    answer = ask(daraja, tokens, account, shortcode=shortcode)

    assert answer == {"ResultCode": "C2B00015", "ResultDesc": "Rejected"}


@pytest.fixture
def strict(account):
    MpesaAccount.objects.filter(pk=account.pk).update(validates_strictly=True)
    return account


@pytest.fixture
def prompt(account, duka):
    """A payment of the account: its reference is a good account number."""
    return PaymentFactory(order=OrderFactory(shop=duka), account=account)


def test_strict_paybill_takes_its_own_references(daraja, tokens, strict, prompt):
    typed = f" {prompt.reference[:4].lower()}-{prompt.reference[4:]} "

    assert ask(daraja, tokens, strict, reference=typed) == MAY_BE_MADE


@pytest.mark.parametrize("typed", ["", "ABC", "mistyped", "unknown", "another's", 12])
def test_strict_paybill_refuses_other_account_numbers(
    daraja, tokens, strict, prompt, charlie, typed
):
    reference = {
        "mistyped": prompt.reference[:-1]
        + ("A" if prompt.reference[-1] != "A" else "B"),
        "unknown": c2b.references.new_reference(),
        "another's": charlie.payment.reference,
    }.get(typed, typed)

    answer = ask(daraja, tokens, strict, reference=reference)

    assert answer == {"ResultCode": "C2B00012", "ResultDesc": "Rejected"}


def test_strict_till_has_no_account_numbers(daraja, tokens, strict):
    MpesaAccount.objects.filter(pk=strict.pk).update(type="till")

    assert ask(daraja, tokens, strict) == MAY_BE_MADE


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_question_refuses_no_customer(daraja, tokens, account, name):
    accepted(call(daraja, path_of("check", tokens), ODD[name]), MAY_BE_MADE)


def test_strict_paybill_refuses_what_it_cannot_read(daraja, tokens, strict):
    answer = call(daraja, path_of("check", tokens), b"nonsense").json()

    assert answer == {"ResultCode": "C2B00016", "ResultDesc": "Rejected"}


@pytest.mark.parametrize("table", ["payments_mpesaaccount", "payments_payment"])
def test_our_database_being_away_refuses_no_customer(
    daraja, transactional_db, tokens, strict, prompt, table
):
    body = by_hand.confirmation(strict, reference=prompt.reference)

    with database_without(table):
        accepted(call(daraja, path_of("check", tokens), body), MAY_BE_MADE)


def test_a_pool_without_connections_refuses_no_customer(
    daraja, tokens, account, monkeypatch
):
    def none_left(*given):
        raise OperationalError("couldn't get a connection after 10.00 sec")

    monkeypatch.setattr(c2b, "refusal", none_left)
    accepted(call(daraja, path_of("check", tokens), b"{}"), MAY_BE_MADE)


def test_question_and_confirmation_in_the_same_bytes_lose_nothing(
    daraja, tokens, account
):
    body = body_for("hand", account)

    accepted(call(daraja, path_of("check", tokens), body), MAY_BE_MADE)
    accepted(call(daraja, path_of("hand", tokens), body))

    assert [(n.copies, n.verdict) for n in kept()] == [(1, "held")]


# --- A prompt that was paid is told twice ----------------------------------------


@pytest.mark.parametrize("first", ["stk", "hand"])
def test_prompt_told_by_callback_and_by_confirmation_is_one_collection(
    daraja, tokens, account, prompt, first
):
    calls = {
        "stk": (f"/hooks/stk/{prompt.hook_token}", callbacks.success(prompt)),
        "hand": (
            path_of("hand", tokens),
            by_hand.confirmation(account, reference=prompt.reference),
        ),
    }
    order = [first, *(set(calls) - {first})]

    for hook in order:
        accepted(call(daraja, *calls[hook]))

    prompt.refresh_from_db()
    assert (prompt.status, prompt.receipt) == ("completed", by_hand.RECEIPT)
    collection = Collection.objects.get()
    assert (collection.payment, collection.amount) == (prompt, 250)
    for receipt_id in c2b.matching.due(10):
        c2b.matching.look(receipt_id)
    receipt = Receipt.objects.get()
    assert (receipt.collection, receipt.state) == (collection, "counted")


def test_platforms_address_is_of_the_platforms_account(daraja, duka):
    account = accounts.platform_account()
    payment = PaymentFactory(order=OrderFactory(shop=duka), account=account)
    body = by_hand.confirmation(
        account, reference="NOBODY", receipt=uuid.uuid4().hex[:10].upper()
    )

    accepted(call(daraja, f"/hooks/hand/{by_hand.address(account)}", body))

    assert Payment.objects.get(pk=payment.pk).status == "pending"
    assert Receipt.objects.get().account == account
