"""Nobody's money on the platform's account: the operator says whose it is."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction

from payments import accounts, matching, receipts
from payments.enums import Source
from payments.models import Collection
from payments.receipts import Told
from shops.models import Shop
from tests.support.facts import kes, nothing_changes


BOOKS = "/admin/payments/collection/"


@pytest.fixture
def unmatched(db):
    """KES 250 whose account number names no payment."""
    account = accounts.platform_account()
    with transaction.atomic():
        told = Told("UAE5B2K9QT", kes(250), "2547 ***** 678", "JANE", "MAMA MBOGA")
        receipt = receipts.sight(account, told, Source.STATEMENT)
    matching.resolve(receipt.pk)
    return Collection.objects.get()


def path_of(collection):
    return f"{BOOKS}{collection.pk}/place/"


def place(person, collection, shop, reason="The owner showed the SMS"):
    sent = {"shop": shop.pk if shop else "", "reason": reason}
    return person.client.post(path_of(collection), sent, follow=True)


def test_operator_sees_what_was_typed_and_hands_it_over(operator, unmatched, duka):
    book = operator.get(f"{BOOKS}{unmatched.pk}/change/").content.decode()
    page = operator.get(path_of(unmatched)).content.decode()
    assert path_of(unmatched) in book
    for fact in ("KES 250", "UAE5B2K9QT", "2547 ••• 678", "MAMA MBOGA"):
        assert fact in page

    answer = place(operator, unmatched, duka)

    unmatched.refresh_from_db()
    assert (unmatched.shop, unmatched.payment, unmatched.allocated) == (duka, None, 0)
    told = [str(message) for message in answer.context["messages"]]
    assert told == ["KES 250 is Mama Mboga's to sort now."]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (operator.user, str(unmatched.pk))
    assert "Handed to Mama Mboga: The owner showed the SMS" in entry.change_message
    assert path_of(unmatched) not in answer.content.decode()


@pytest.mark.parametrize(
    ("has_shop", "reason"), [(False, "why"), (True, ""), (True, "  ")]
)
def test_nothing_without_a_shop_and_a_reason(
    operator, unmatched, duka, has_shop, reason
):
    with nothing_changes():
        answer = place(operator, unmatched, duka if has_shop else None, reason)

    assert "This field is required." in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_twice_is_refused_in_words(operator, unmatched, duka, charlie):
    place(operator, unmatched, duka)

    with nothing_changes():
        answer = place(operator, unmatched, charlie.shop)

    assert "a shop&#x27;s already" in answer.content.decode()
    assert LogEntry.objects.count() == 1


def test_closed_shop_is_not_offered(operator, unmatched, duka):
    Shop.objects.update(is_active=False)

    with nothing_changes():
        place(operator, unmatched, duka)


def test_no_member_of_any_shop_places_money(alice, bob, charlie, unmatched, duka):
    for person in (alice, bob, charlie):
        for answer in (
            person.client.get(path_of(unmatched), follow=True),
            place(person, unmatched, duka),
        ):
            assert answer.status_code in (403, 404)
    unmatched.refresh_from_db()
    assert unmatched.shop is None


def test_unknown_money_is_not_found(operator, db):
    assert operator.get(f"{BOOKS}77777/place/").status_code == 404
