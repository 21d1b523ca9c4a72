"""The evidence of a payment in the books: who reads it, and what each file is."""

import json

import pytest
from django.contrib.admin.models import LogEntry

from tests.admin.conftest import rows_of, store_notice
from tests.admin.test_failures import LIST, failed
from tests.factories import OrderFactory, PaymentFactory
from tests.support.facts import nothing_changes


READERS = ("alice", "mary", "audrey", "operator")
ROADS = ("evidence/", "evidence.pdf", "evidence.json")
TYPES = {"evidence.pdf": "application/pdf", "evidence.json": "application/json"}


def address(payment, road="evidence/"):
    return f"/admin/payments/payment/{payment.pk}/{road}"


@pytest.fixture
def payment(alice):
    """A payment of Alice's, paid, with its message and its money."""
    rows = rows_of(alice.shop, alice.user, phone="254712345678", receipt="UAE5OURS01")
    return rows.payment


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("road", ROADS)
def test_readers_of_the_shop_read_it_by_every_road(people, payment, name, road):
    with nothing_changes():
        response = people[name].get(address(payment, road))

    assert response.status_code == 200
    assert "254712345678" not in response.content.decode(errors="replace")


@pytest.mark.parametrize("name", ["alice", "mary", "audrey"])
@pytest.mark.parametrize("verb", ["get", "head", "post"])
def test_another_shops_is_not_there_by_any_road(people, charlie, name, verb):
    theirs = PaymentFactory(order=OrderFactory(shop=charlie.shop))

    with nothing_changes():
        for road in ROADS:
            response = getattr(people[name].client, verb)(address(theirs, road))
            assert response.status_code == 404, road
    assert not LogEntry.objects.exists()


def test_evidence_is_read_and_not_sent_to(alice, payment):
    for road in ROADS:
        assert alice.client.post(address(payment, road)).status_code == 405, road


@pytest.mark.parametrize("name", ["bob", "stranger"])
def test_who_reads_no_books_reads_no_evidence(people, payment, name):
    for road in ROADS:
        response = people[name].client.get(address(payment, road), follow=True)
        assert response.status_code == 403, road


@pytest.mark.parametrize("key", ["nonsense", "0", "a%2Fb", "%00"])
def test_key_that_is_none_is_not_there(alice, key):
    for road in ROADS:
        assert alice.get(f"/admin/payments/payment/{key}/{road}").status_code == 404


def test_page_tells_the_story_and_leads_to_the_files(alice, payment):
    page = alice.get(address(payment)).content.decode()

    for words in (
        "Message about the prompt", "KES 500 UAE5OURS01 was counted",
        "196.201.214.200", "right: sent to the secret address of this very payment",
        "secret, not shown", "0712 ••• 678", "Printed receipts: printing is not",
    ):  # fmt: skip
        assert words in page, words
    for road in ROADS[1:]:
        assert f'href="{address(payment, road)}"' in page


def test_payment_leads_to_its_evidence(alice, payment):
    page = alice.get(address(payment, "change/")).content.decode()

    assert f'href="{address(payment)}"' in page
    own = failed(alice)
    assert alice.get(f"{LIST}{own.pk}/history/").url == address(own)


@pytest.mark.parametrize("road", TYPES)
def test_file_is_handed_out_once_and_written_down(audrey, payment, road):
    response = audrey.get(address(payment, road))

    assert response.headers["Content-Type"] == TYPES[road]
    name = f"payment-{payment.pk}.{road.rpartition('.')[2]}"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "no-store" in response.headers["Cache-Control"]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (audrey.user, str(payment.pk))
    assert (
        entry.change_message == f"Evidence saved as {name.rpartition('.')[2].upper()}"
    )


def test_next_reader_sees_who_took_a_file(alice, audrey, payment):
    audrey.get(address(payment, "evidence.pdf"))
    found = json.loads(alice.get(address(payment, "evidence.json")).content)

    assert found["madeBy"] == "alice"
    assert [
        (entry["what"], entry["by"])
        for entry in found["timeline"]
        if entry["what"].startswith("Evidence")
    ] == [("Evidence saved as PDF", "audrey")]


def test_what_a_stranger_wrote_is_text_on_the_page(alice):
    payment = PaymentFactory(order=OrderFactory(shop=alice.shop))
    store_notice(payment, b"<script>alert(1)</script>")
    page = alice.get(address(payment)).content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
