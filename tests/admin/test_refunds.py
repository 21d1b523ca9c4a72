"""Refunds in the books: asked for, decided and asked about, by who may."""

import re

import pytest

from payments import gateways, refunds
from payments.models import Collection, MpesaSettings, OrganisationRequest, Refund
from shops.enums import Role
from shops.models import Product
from tests.admin.conftest import settle
from tests.factories import MembershipFactory, OrderFactory, PaymentFactory, UserFactory
from tests.support.cast import Person
from tests.support.facts import nothing_changes, sale_of
from tests.support.gateway import FakeMpesa, final
from tests.support.organisation import FakeOrganisation, reversed_, tell


LIST = "/admin/payments/refund/"


@pytest.fixture
def organisation(monkeypatch):
    fake = FakeOrganisation()
    monkeypatch.setattr(gateways, "organisation", lambda: fake)
    return fake


@pytest.fixture(autouse=True)
def mpesa(monkeypatch):
    fake = FakeMpesa()
    monkeypatch.setattr(gateways, "mpesa", lambda: fake)
    return fake


@pytest.fixture
def paid(alice, organisation):
    """The collection of a sale of KES 250 that was paid by M-Pesa."""
    payment = PaymentFactory(order=OrderFactory(shop=alice.shop))
    settle(payment, "UAE5OURS01")
    return Collection.objects.get()


def form_of(collection):
    return f"{LIST}of/{collection.pk}/"


def send(person, collection, **changes):
    """Fill in the form; return the response after its redirect."""
    said = {
        "method": "cash", "amount": 250, "reason": "Did not fit",
        "seen": refunds.mark_of(collection),
    }  # fmt: skip
    return person.client.post(form_of(collection), said | changes, follow=True)


def told(response):
    return [str(message) for message in response.context["messages"]]


def press(person, refund, button, **sent):
    return person.client.post(f"{LIST}{refund.pk}/{button}/", sent, follow=True)


def strict(shop):
    MpesaSettings.objects.filter(shop=shop).update(second_person_from=1)


# The way there.


@pytest.mark.parametrize("name", ["alice", "mary"])
def test_a_manager_is_offered_the_form(people, paid, name):
    link = f'href="{form_of(paid)}">Send money back'
    pages = (
        f"/admin/payments/payment/{paid.payment_id}/change/",
        f"/admin/payments/collection/{paid.pk}/change/",
    )
    for page in pages:
        assert link in people[name].get(page).content.decode(), page

    Collection.objects.update(reversed_at=paid.sighted_at)
    for page in pages:
        assert link not in people[name].get(page).content.decode(), page


@pytest.mark.parametrize("name", ["audrey", "operator"])
def test_who_may_not_is_not_offered_it_and_refused(people, paid, name):
    for page in (
        f"/admin/payments/payment/{paid.payment_id}/change/",
        f"/admin/payments/collection/{paid.pk}/change/",
    ):
        assert "Send money back" not in people[name].get(page).content.decode()
    with nothing_changes():
        assert people[name].get(form_of(paid)).status_code == 403
        assert send(people[name], paid).status_code == 403
    assert Refund.objects.count() == 0


@pytest.mark.parametrize("name", ["charlie", "bob", "stranger"])
def test_to_others_it_does_not_exist(people, paid, name):
    with nothing_changes():
        answers = [
            people[name].client.get(form_of(paid), follow=True).status_code,
            send(people[name], paid).status_code,
        ]
    assert answers == ([404, 404] if name == "charlie" else [403, 403])
    assert Refund.objects.count() == 0


def test_a_collection_that_is_none_is_not_there(alice):
    assert alice.get(f"{LIST}of/999999/").status_code == 404


def test_the_form_says_what_there_is(alice, paid):
    page = alice.get(form_of(paid)).content.decode()

    assert "M-Pesa sends it back: the whole KES 250" in page
    assert "KES 250 for sale" in page
    assert (
        "From KES 5,000 a second person decides; what went back of this money" in page
    )


def test_the_form_says_why_mpesa_cannot(alice, paid):
    Collection.objects.update(receipt=None)

    page = alice.get(form_of(paid)).content.decode()

    assert "Its M-Pesa receipt number is not known yet" in page
    assert "M-Pesa sends it back" not in page


# Asking.


def test_cash_with_the_goods(alice, paid):
    response = send(alice, paid, restocks="on")

    refund = Refund.objects.get()
    assert response.redirect_chain == [(f"{LIST}{refund.pk}/change/", 302)]
    assert told(response) == ["KES 250: Sent back."]
    assert (refund.state, refund.method, refund.restocks, refund.asked_by) == (
        "done", "cash", True, alice.user,
    )  # fmt: skip
    assert sale_of(paid.payment.order) == ("refunded", 250, 0, 0)
    assert Product.objects.get(shop=alice.shop).stock == 100


def test_disputed_money_wants_a_tick(alice, paid):
    tick = 'name="has_looked"'
    assert tick not in alice.get(form_of(paid)).content.decode()
    Collection.objects.update(disputed="The statement has no row.")
    assert tick in alice.get(form_of(paid)).content.decode()

    with nothing_changes():
        refused = send(alice, paid).content.decode()
    assert "M-Pesa&#x27;s books say otherwise about this money. Look at them" in refused

    send(alice, paid, has_looked="on")
    assert Refund.objects.get().state == "done"


def test_what_was_learned_first_is_shown(alice, paid, mpesa):
    other = PaymentFactory(order=paid.payment.order, amount=40)
    mpesa.answers[other.checkout_request_id] = final("0")

    assert told(send(alice, paid)) == [
        "KES 250: Sent back.",
        "Did not fit. M-Pesa was asked first: KES 40 more arrived.",
    ]


def test_a_reversal_waits_for_mpesa(alice, paid, organisation):
    response = send(alice, paid, method="reversal")

    refund = Refund.objects.get()
    assert (refund.state, len(organisation.reversals)) == ("sending", 1)
    assert told(response) == ["KES 250: Being sent."]
    page = response.content.decode()
    assert "Ask M-Pesa now" in page
    assert "The money stays reserved" in page
    tell(refund.request, reversed_(refund.request, 250))
    page = alice.get(f"{LIST}{refund.pk}/change/").content.decode()
    assert "Ask M-Pesa now" not in page
    assert "UAE9BACK01" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": 251}, "Only KES 250 of this money is left."),
        ({"amount": 0}, "At least KES 1."),
        ({"amount": "ten"}, "Enter a whole number."),
        ({"reason": ""}, "This field is required."),
        ({"method": "pigeon"}, "Select a valid choice"),
        ({"method": "reversal", "amount": 100}, "M-Pesa sends back a whole payment"),
        ({"seen": "1000000"}, "This money changed since you looked."),
    ],
    ids=str,
)
def test_what_is_refused_is_said_in_the_form(alice, paid, changes, words):
    with nothing_changes():
        response = send(alice, paid, **changes)

    assert (response.status_code, response.redirect_chain) == (200, [])
    assert words in response.content.decode().replace("&#x27;", "'")
    assert Refund.objects.count() == 0


def test_who_looked_again_decides_by_what_is_there_now(alice, mary, paid):
    before = refunds.mark_of(paid)
    send(mary, paid, amount=100)

    refused = send(alice, paid, amount=50, seen=before).content.decode()

    assert "This money changed since you looked. Look again" in refused
    assert "KES 150" in refused
    seen = re.search(r'name="seen" value="(\d+)"', refused)[1]
    assert told(send(alice, paid, amount=50, seen=seen)) == ["KES 50: Sent back."]


def test_cash_while_a_reversal_is_undecided_is_refused(alice, paid):
    send(alice, paid, method="reversal")

    with nothing_changes():
        page = send(alice, paid).content.decode()

    assert "could pay the customer twice" in page
    assert Refund.objects.count() == 1


# Deciding.


@pytest.fixture
def waiting(mary, paid):
    """Mary asked for cash, and a second person must decide."""
    strict(paid.shop)
    send(mary, paid)
    return Refund.objects.get()


def state_of(refund):
    refund.refresh_from_db()
    return refund.state, refund.approved_by


def test_the_owner_approves(alice, waiting, paid):
    assert "Approve" in alice.get(f"{LIST}{waiting.pk}/change/").content.decode()

    assert told(press(alice, waiting, "approve")) == ["KES 250: Sent back."]

    assert state_of(waiting) == ("done", alice.user)
    history = alice.get(f"{LIST}{waiting.pk}/history/").content.decode()
    assert "Approved: Sent back." in history


def test_the_owner_refuses_with_a_reason(alice, waiting, paid):
    assert told(press(alice, waiting, "refuse")) == ["Say why it is refused."]
    assert state_of(waiting) == ("asked", None)

    response = press(alice, waiting, "refuse", reason="Worn already")

    assert told(response) == ["KES 250: Refused. Worn already."]
    assert state_of(waiting) == ("refused", alice.user)
    assert sale_of(paid.payment.order) == ("paid", 250, 0, 0)


def test_a_reason_is_kept_without_what_no_database_keeps(alice, waiting):
    assert told(press(alice, waiting, "refuse", reason=" \0 ")) == [
        "Say why it is refused."
    ]

    press(alice, waiting, "refuse", reason="Worn\0 already")

    assert state_of(waiting) == ("refused", alice.user)
    assert waiting.why_failed == "Worn already"


def test_the_asker_sees_that_somebody_else_decides(mary, waiting):
    page = mary.get(f"{LIST}{waiting.pk}/change/").content.decode()
    assert "Another manager or the owner must decide" in page
    assert 'value="Approve"' not in page

    assert "another manager or the owner" in told(press(mary, waiting, "approve"))[0]
    assert state_of(waiting) == ("asked", None)


def test_the_asker_takes_it_back(mary, waiting, paid):
    page = mary.get(f"{LIST}{waiting.pk}/change/").content.decode()
    assert 'value="Take it back"' in page

    response = press(mary, waiting, "refuse", reason="She keeps it")

    assert told(response) == ["KES 250: Refused. She keeps it."]
    assert state_of(waiting) == ("refused", mary.user)
    assert sale_of(paid.payment.order) == ("paid", 250, 0, 0)
    history = mary.get(f"{LIST}{waiting.pk}/history/").content.decode()
    assert "Taken back: Refused. She keeps it." in history
    freed = paid.allocations.filter(kind="release").latest("pk")
    assert freed.reason == "The refund was taken back"


BUTTONS = ("approve", "refuse", "question")


@pytest.mark.parametrize("button", BUTTONS)
@pytest.mark.parametrize(
    ("name", "status"),
    [("charlie", 404), ("audrey", 403), ("operator", 403), ("bob", 403)],
)
def test_nobody_else_may_press_a_button(people, waiting, name, status, button):
    with nothing_changes():
        response = press(people[name], waiting, button)

    assert response.status_code == status
    assert state_of(waiting) == ("asked", None)


@pytest.mark.parametrize("button", BUTTONS)
def test_a_button_is_pressed_not_visited(alice, waiting, button):
    assert alice.get(f"{LIST}{waiting.pk}/{button}/").status_code == 405
    assert state_of(waiting) == ("asked", None)


def test_a_manager_of_two_shops_decides_in_each_by_the_role_there(alice, waiting, bob):
    MembershipFactory(user=bob.user, role=Role.OWNER)

    assert bob.client.post(f"{LIST}{waiting.pk}/approve/").status_code == 404


# Asking M-Pesa.


def test_mpesa_is_asked_now_and_not_twice(alice, paid, organisation):
    send(alice, paid, method="reversal")
    refund = Refund.objects.get()

    assert told(press(alice, refund, "question")) == [
        "M-Pesa is asked. Its answer shows here in a moment."
    ]
    assert told(press(alice, refund, "question")) == [
        "M-Pesa was asked a moment ago: wait a little."
    ]

    assert len(organisation.questions) == 1
    assert OrganisationRequest.objects.filter(asked_by=alice.user).count() == 2


def test_home_waits_for_no_refund_of_another_environment(alice, paid, settings):
    def names():
        return {one.name for one in alice.get("/admin/").context["waiting"]}

    send(alice, paid, method="reversal")
    assert "Refunds that M-Pesa has not answered" in names()

    settings.MPESA_ENV = "sandbox"

    assert "Refunds that M-Pesa has not answered" not in names()


def test_there_is_nothing_to_ask_about_cash(alice, waiting, organisation):
    assert told(press(alice, waiting, "question")) == [
        "M-Pesa has nothing to decide about this refund."
    ]
    assert organisation.questions == []


# The list.


def test_the_list_filters_what_needs_a_look(alice, waiting, listed):
    path = "payments/refund"
    assert listed(alice, path) == [waiting.pk]
    assert listed(alice, path, look="waits") == [waiting.pk]
    assert listed(alice, path, look="open") == []
    assert listed(alice, path, state__exact="asked") == [waiting.pk]
    assert listed(alice, path, method__exact="reversal") == []
    assert listed(alice, path, q="uae5ours01") == [waiting.pk]
    assert listed(alice, path, q="UAE5OTHER1") == []
    assert listed(alice, path, collection__id__exact=waiting.collection_id) == [
        waiting.pk
    ]


# Money that is no shop's.


def test_the_operator_alone_sends_back_what_is_nobodys(
    operator, alice, nobodys, organisation
):
    [collection] = nobodys["payments/collection"]
    assert alice.get(form_of(collection)).status_code == 404
    assert (
        "Send money back"
        in operator.get(
            f"/admin/payments/collection/{collection.pk}/change/"
        ).content.decode()
    )

    send(operator, collection, method="reversal", amount=700)

    refund = Refund.objects.get()
    assert (refund.state, refund.shop, refund.asked_by) == (
        "sending", None, operator.user,
    )  # fmt: skip
    assert alice.get(f"{LIST}{refund.pk}/change/").status_code == 404
    assert alice.client.post(f"{LIST}{refund.pk}/question/").status_code == 404
    other = Person(UserFactory(is_superuser=True, is_staff=True))
    assert press(other, refund, "question").status_code == 200
    assert len(organisation.questions) == 1
