"""The evidence of a payment: all that happened, in its order, and no secret."""

import base64
import json
import re
import zlib

import pytest
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from payments import (
    audit,
    cash,
    evidence,
    evidence_pdf,
    evidence_rows,
    inbox,
    prompting,
    questions,
    receipts,
    refunds,
)
from payments.enums import RequestKind, Source
from payments.models import (
    CodeClaim,
    Collection,
    Notice,
    OrganisationRequest,
    Payment,
)
from payments.receipts import Told
from shops.tenancy import Access
from tests.factories import OrderFactory, PaymentFactory, UserFactory
from tests.support import by_hand, callbacks


PHONE = "254712345678"


def of(payment):
    row = Payment.objects.select_related("order", "shop", "account", "created_by")
    return evidence.gather(row.get(pk=payment.pk), made_by="alice")


def told(found):
    return [(entry.kind.name, entry.what, entry.by) for entry in found.entries]


def facts(found, what):
    [entry] = [entry for entry in found.entries if entry.what.startswith(what)]
    return {fact.name: fact.value for fact in entry.facts}


def hear(payment, body, address="196.201.214.200", listed=True):
    raw = inbox.Raw(body, False, address, listed)
    stored = inbox.store_for_payment(payment.token_hash, raw)
    inbox.process_now(stored.notice_id)
    payment.refresh_from_db()
    return Notice.objects.get(pk=stored.notice_id)


def text_of(pdf):
    """Return what the pages of a PDF say."""
    assert pdf.startswith(b"%PDF-")
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        data = zlib.decompress(
            base64.a85decode(stream.strip(), adobe=False)
            if not stream.strip().endswith(b"~>")
            else base64.a85decode(b"<~" + stream.strip(), adobe=True)
        )
        found += re.findall(rb"\(((?:\\.|[^\\)])*)\) Tj", data)
    text = b" ".join(found).decode("cp1252", errors="replace")
    return re.sub(r"\\([()\\])", r"\1", text)


def everything(found):
    """Return the evidence as text, by each road."""
    return json.dumps(evidence.document(found), ensure_ascii=False) + text_of(
        evidence_pdf.drawn(found)
    )


@pytest.fixture
def prompted(time, seller, order, mpesa):
    """A prompt that Bob sent a little later, by the road that prompts go."""
    time.turn(5)
    return prompting.request(
        access=seller, order_id=order.pk, phone=PHONE, amount=None, key=None,
        accept_risk=False,
    ).payment  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_timeline_says_who_pressed_what_was_sent_and_what_came(prompted, mpesa, time):
    time.turn(20)
    questions.ask(prompted.pk)
    time.turn(1)
    notice = hear(prompted, callbacks.success(prompted))
    found = of(prompted)

    assert told(found) == [
        ("SALE", "The sale became open", ""),
        ("PERSON", "KES 250 asked from 0712 ••• 678", "bob"),
        ("SENT", "What the prompt says", ""),
        ("ANSWER", "M-Pesa accepted the prompt", ""),
        ("QUESTION", "M-Pesa was asked how the payment stands", ""),
        ("MESSAGE", "Message about the prompt", ""),
        ("MESSAGE", "KES 250 arrived, receipt UAE5B2K9QT", ""),
        ("MONEY", "KES 250 UAE5B2K9QT was counted", ""),
        ("MONEY", "KES 250 went to the sale", "bob"),
        ("SALE", "The sale became paid", "bob"),
    ]
    assert facts(found, "What the prompt says") == {
        "TransactionType": "CustomerPayBillOnline",
        "BusinessShortCode": prompted.shortcode,
        "PartyB": prompted.party_b,
        "PhoneNumber": "0712 ••• 678",
        "Amount": "250",
        "AccountReference": prompted.reference,
        "Password": "secret, not shown",
        "CallBackURL": "secret, not shown",
        "Money": "of practice",
    }
    assert facts(found, "Message about") == {
        "Message": f"number {notice.pk}",
        "From": "196.201.214.200",
        "Token": "right: sent to the secret address of this very payment",
        "What became of it": "Applied",
        "Came": "once",
        "Processed": "2026-11-20 12:00:26",
        "SHA-256": notice.body_hash,
    }
    assert facts(found, "M-Pesa was asked") == {
        "Questions so far": "1, this was the last"
    }
    # What was written down is what M-Pesa was really sent.
    [push] = mpesa.pushes
    assert (push.amount, push.reference) == (250, prompted.reference)


@pytest.mark.django_db(transaction=True)
def test_sender_that_is_not_mpesa_is_said(payment):
    hear(payment, callbacks.success(payment, amount=1), "203.0.113.7", listed=False)

    said = facts(of(payment), "Message about")
    assert said["From"] == "203.0.113.7 (not M-Pesa's)"
    assert said["What became of it"] == "Does not fit, M-Pesa is asked"


@pytest.mark.django_db(transaction=True)
def test_no_secret_and_no_whole_phone_is_in_it(prompted, mpesa):
    token = mpesa.pushes[0].callback_url.rpartition("/")[2]
    hear(
        prompted,
        b'{"url": "/hooks/stk/%s?x=1", "a": "0712 345 678", "b": "+254712345678",'
        b' "auth": "Bearer abcdef.ghi"}' % token.encode(),
    )
    hear(prompted, callbacks.success(prompted))
    Payment.objects.filter(pk=prompted.pk).update(
        checkout_request_id="ws_CO_1911202515302000712345678",
        result_desc="Paid by 254712345678",
        alarm="0712345678 says otherwise",
    )
    text = everything(of(prompted))

    for secret in (
        token, prompted.token_hash, PHONE, PHONE[3:], "712 345 678", "abcdef.ghi",
        settings.MPESA_PASSKEY, settings.MPESA_CONSUMER_SECRET,
        settings.MPESA_CONSUMER_KEY, settings.SECRET_KEY,
    ):  # fmt: skip
        assert secret not in text, secret
    assert "0712 ••• 678" in text
    assert "[token]" in text


@pytest.mark.django_db(transaction=True)
def test_what_mpesa_wrote_is_kept_word_for_word_up_to_a_length(payment):
    hear(payment, callbacks.failure(payment))
    [entry] = [one for one in of(payment).entries if one.words]
    assert '"ResultDesc": "Request cancelled by user"' in entry.words

    other = PaymentFactory(order=OrderFactory(shop=payment.shop))
    hear(other, b"x" * 30_000)
    [entry] = [one for one in of(other).entries if one.words]
    assert entry.words == "x" * evidence_rows.WORDS_SHOWN + "\n[cut here]"


@pytest.mark.django_db(transaction=True)
def test_human_acts_are_in_it_with_who_and_why(alice, bob, payment, operator):
    hear(payment, callbacks.success(payment))
    money = Collection.objects.get(payment=payment)
    CodeClaim.objects.create(
        shop=payment.shop, order=payment.order, account=payment.account,
        number=callbacks.RECEIPT, state="used", created_by=bob.user,
        created_at=money.sighted_at,
    )  # fmt: skip
    LogEntry.objects.create(
        user=operator.user, object_id=str(money.pk), object_repr=str(money),
        content_type=ContentType.objects.get_for_model(Collection),
        action_flag=CHANGE, change_message="Handed over: showed the SMS of 0712 345 678",
    )  # fmt: skip
    refunds.ask(
        access=Access(alice.user, alice.shop, "owner"), collection_id=money.pk,
        method="cash", amount=100, reason="Did not fit", restocks=False,
    )  # fmt: skip
    acts = [line for line in told(of(payment)) if line[2]]

    assert ("PERSON", "The code UAE5B2K9QT was typed for this sale", "bob") in acts
    assert (
        "PERSON", "Handed over: showed the SMS of 0712 ••• 678", operator.user.username
    ) in acts  # fmt: skip
    assert ("PERSON", "Money back, KES 100: Sent back", "alice") in acts
    assert ("MONEY", "KES 100 was reserved for a refund", "alice") in acts


@pytest.mark.django_db(transaction=True)
def test_other_attempts_of_the_sale_are_named(payment):
    again = PaymentFactory(order=payment.order, retry_of=payment, amount=100, attempt=2)

    assert facts(of(payment), "Another payment of the sale: KES 100") == {
        "Payment": str(again.pk),
        "Method": "M-Pesa",
        "Payer": again.masked_phone,
        "It stands at": "Waiting for the customer",
        "Connection": "tried again",
    }
    said = facts(of(again), "Another payment of the sale: KES 250")
    assert said["Connection"] == "this payment tries it again"


@pytest.mark.django_db(transaction=True)
def test_seals_of_the_audit_chain_are_named(payment):
    hear(payment, callbacks.failure(payment))
    audit.seal()
    chain, faults = audit.verify()

    seals = [entry.seal for entry in of(payment).entries if entry.row]
    assert faults == []
    assert len(seals) == 3
    [head] = [one for one in chain if one.chain == f"shop:{payment.shop_id}"]
    assert seals[-1] == f"shop:{payment.shop_id} {head.length} {head.hash}"


@pytest.mark.django_db(transaction=True)
def test_cash_is_told_too(seller, order):
    taken = cash.take(access=seller, order_id=order.pk, amount=250, key=None)
    found = of(taken.payment)

    assert ("SENT", "What the prompt says", "") not in told(found)
    assert any(what.startswith("KES 250 given in cash") for _, what, _ in told(found))


# Shared accounts.


def by_c2b(account, payment):
    """M-Pesa's message by hand names the payment's money too; return it."""
    number = Collection.objects.get(payment=payment).receipt
    with transaction.atomic():
        receipt = receipts.sight(
            account, Told(number, payment.amount, by_hand.MASKED, "JANE", "", None),
            Source.C2B,
        )  # fmt: skip
    notice = by_hand.deliver(account, by_hand.confirmation(account, receipt=number))
    receipt.sightings.update(notice=notice)
    return notice


@pytest.mark.django_db(transaction=True)
def test_words_about_a_shared_account_are_not_a_shops(alice, charlie):
    for person, is_own in ((alice, False), (charlie, True)):
        payment = PaymentFactory(order=OrderFactory(shop=person.shop))
        hear(payment, callbacks.success(payment, receipt=f"UAE5OWN{is_own:d}"))
        notice = by_c2b(payment.account, payment)
        found = of(payment)

        said = facts(found, "Message about a payment by hand")
        assert said["Message"] == f"number {notice.pk}"
        assert ("OrgAccountBalance" in everything(found)) is is_own


@pytest.mark.django_db(transaction=True)
def test_who_asked_about_a_shared_account_is_not_said(alice, charlie):
    stranger = UserFactory(username="somebody-elses-cashier")
    for person, is_own in ((alice, False), (charlie, True)):
        payment = PaymentFactory(order=OrderFactory(shop=person.shop))
        hear(payment, callbacks.success(payment, receipt=f"UAE5ASK{is_own:d}"))
        OrganisationRequest.objects.create(
            kind=RequestKind.STATUS, account=payment.account,
            receipt=f"UAE5ASK{is_own:d}", token_hash=f"{is_own:064d}",
            asked_by=stranger, asked_at=payment.created_at,
        )  # fmt: skip

        found = of(payment)
        assert facts(found, "M-Pesa was asked: what became")["State"]
        assert (stranger.username in everything(found)) is is_own


# Bounds.


@pytest.mark.django_db(transaction=True)
def test_more_than_it_can_hold_is_said(payment, monkeypatch):
    monkeypatch.setattr(evidence_rows, "MOST", 2)
    for number in range(3):
        hear(payment, b"message %d" % number)
    found = of(payment)

    assert len([entry for entry in found.entries if entry.words]) == 2
    assert found.not_held[0] == (
        "More happened than this page can hold: the oldest 2 of each kind are shown."
    )
    monkeypatch.setattr(evidence_rows, "MOST", 3)
    assert of(payment).not_held == evidence.NOT_HELD


@pytest.mark.django_db(transaction=True)
def test_costs_the_same_for_a_short_story_and_for_a_long_one(payment):
    def cost():
        with CaptureQueriesContext(connection) as captured:
            of(payment)
        return [query["sql"] for query in captured]

    ContentType.objects.get_for_models(Payment, Order, Collection, Notice)
    hear(payment, callbacks.success(payment))
    short = cost()
    for number in range(4):
        hear(payment, b"message %d" % number)
        PaymentFactory(order=OrderFactory(shop=payment.shop), retry_of=None)
    long = cost()

    assert len(short) == len(long) <= 20, "\n".join(long)


@pytest.mark.django_db(transaction=True)
def test_pdf_bears_any_text(payment):
    payment.shop.name = "Duka <b>ya</b> Mama & Wana 商店 →"
    payment.shop.save()
    hear(payment, ("<para>&\x00\x07 \u202e" + "\n" * 3000 + "ü" * 9000).encode())
    text = text_of(evidence_pdf.drawn(of(payment)))

    assert "Duka<b>ya</b>Mama&Wana???." in text.replace(" ", "")
    assert "Message about the prompt" in text
    assert "Printed receipts: printing is not recorded." in text


@pytest.mark.django_db(transaction=True)
def test_json_has_the_state_of_the_api_and_the_timeline(payment):
    hear(payment, callbacks.failure(payment))
    found = evidence.document(of(payment))

    assert list(found) == [
        "document", "version", "madeAt", "madeBy", "shop", "payment", "facts",
        "timeline", "notHeld",
    ]  # fmt: skip
    assert (found["payment"]["status"], found["madeBy"]) == ("failed", "alice")
    assert found["payment"]["phoneNumber"] == "0712 ••• 678"
    assert found["shop"] == {"id": str(payment.shop_id), "name": payment.shop.name}
    assert set(found["timeline"][0]) == {
        "at", "kind", "what", "by", "facts", "words", "seal"
    }  # fmt: skip
    times = [entry["at"] for entry in found["timeline"]]
    assert times == sorted(times)
    json.dumps(found)
