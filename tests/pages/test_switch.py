"""A till changes hands by PIN: who may, what it gives, and how often one may be wrong."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from payments.models import Act
from shops import pins, sessions, tenancy
from shops.enums import Role
from shops.models import CashierPin, Membership
from shops.rights import BY_PIN, Right
from smartduka.lib import clock
from tests.factories import MembershipFactory, ShopFactory


pytestmark = pytest.mark.django_db
PIN = "4071"
HX = {"HX-Request": "true"}


def give_pin(person, pin=PIN):
    pins.set_pin(tenancy.access(person.user, str(person.shop.pk)), pin)
    return str(Membership.objects.get(user=person.user, shop=person.shop).pk)


@pytest.fixture
def till(mary, password):
    """Mary's till, which she opened with her password."""
    get_user_model().objects.filter(pk=mary.user.pk).update(is_staff=True)
    client = Client()
    client.post("/login", {"username": "mary", "password": password})
    return client


def take_over(client, member, pin=PIN):
    sent = {"person": member, "pin": pin}
    return client.post("/till/switch", sent, headers=HX)


def who(client):
    user = get_user_model().objects.get(pk=client.session["_auth_user_id"])
    return user.username


def test_cashier_takes_over_with_the_pin(till, bob):
    member = give_pin(bob)
    page = till.get("/till/switch", headers=HX).content.decode()
    assert ("bob" in page, "mary" in page) == (True, False)

    answer = take_over(till, member)

    assert (answer.status_code, answer["HX-Redirect"]) == (200, "/till/")
    assert who(till) == "bob"
    assert till.get("/till/").status_code == 200


def test_taking_over_is_written_down_as_taken_and_a_wrong_pin_is_not(till, bob):
    member = give_pin(bob)
    for pin in ("9999", PIN):
        take_over(till, member, pin)

    rows = Act.objects.filter(what="POST till/switch").order_by("pk")
    assert list(rows.values_list("actor__username", "status")) == [
        ("mary", 400), ("bob", 200),
    ]  # fmt: skip


@pytest.mark.parametrize("role", [Role.OWNER, Role.MANAGER, Role.CASHIER])
def test_pin_gives_no_more_than_to_sell(till, bob, role):
    Membership.objects.filter(user=bob.user).update(role=role)
    get_user_model().objects.filter(pk=bob.user.pk).update(is_staff=True)
    take_over(till, give_pin(bob))

    access = till.get("/till/").context["access"]
    assert access.rights == BY_PIN == {Right.SELL, Right.CODE_BOX, Right.VOID}
    opened = {
        path: till.get(path).status_code
        for path in ("/admin/", "/till/pay/sort", "/second-step", "/admin/password_change/")
    }  # fmt: skip
    assert opened == dict.fromkeys(opened, 403)
    sent = till.post("/api/products", {}, content_type="application/json")
    assert (sent.status_code, sent.json()["code"]) == (403, "FORBIDDEN")
    page = till.get("/till/").content.decode()
    assert ('href="/admin/"' in page, "My PIN" in page) == (False, False)


def test_pin_opens_the_one_shop(till, bob):
    other = ShopFactory()
    MembershipFactory(user=bob.user, shop=other, role=Role.OWNER)
    member = give_pin(bob)
    take_over(till, member)

    assert till.get("/till/").context["access"].shop == bob.shop
    assert till.post("/till/shops", {"shop": other.pk}).status_code == 404
    listed = till.get("/api/products", headers={"X-Shop": str(other.pk)})
    assert listed.status_code == 404


@pytest.mark.parametrize("why", ["wrong", "no pin", "sent home", "off", "auditor"])
def test_nobody_takes_over_otherwise(till, bob, why):
    member = give_pin(bob)
    rows = Membership.objects.filter(user=bob.user)
    if why == "no pin":
        CashierPin.objects.all().delete()
    elif why == "sent home":
        rows.update(is_active=False)
    elif why == "auditor":
        rows.update(role=Role.AUDITOR)
    elif why == "off":
        get_user_model().objects.filter(pk=bob.user.pk).update(is_active=False)
    answer = take_over(till, member, "1111" if why == "wrong" else PIN)

    assert "This is not the PIN of this person." in answer.content.decode()
    assert who(till) == "mary"


@pytest.mark.parametrize("member", ["", "x", "٣", "-1", "9" * 30])
def test_nonsense_is_nobody(till, member):
    assert take_over(till, member).status_code == 400
    assert who(till) == "mary"


def test_person_of_another_shop_does_not_take_over(till, charlie):
    answer = take_over(till, give_pin(charlie))

    assert "This is not the PIN" in answer.content.decode()
    assert who(till) == "mary"


def test_operator_has_no_pin(till, operator, duka):
    MembershipFactory(user=operator.user, shop=duka, role=Role.CASHIER)
    operator.shop = duka
    take_over(till, give_pin(operator))

    assert who(till) == "mary"


def test_after_five_wrong_ones_the_right_one_is_no_good_either(till, bob, password):
    member = give_pin(bob)
    told = [take_over(till, member, "9999").content.decode() for _ in range(6)]
    assert ["Too many wrong PINs" in one for one in told] == [False] * 5 + [True]
    assert "Too many wrong PINs" in take_over(till, member).content.decode()
    assert who(till) == "mary"

    Client().post("/login", {"username": "bob", "password": password})
    take_over(till, member)
    assert who(till) == "bob"


def test_right_one_forgives_the_wrong_ones(till, bob):
    member = give_pin(bob)
    for _ in range(3):
        for _ in range(4):
            take_over(till, member, "9999")
        take_over(till, member)

    assert who(till) == "bob"
    assert CashierPin.objects.get().tries_left == 5


@pytest.mark.parametrize(
    "why", ["no password here", "yesterday", "new password", "sent home", "other shop"]
)
def test_till_that_nobody_of_the_shop_opened_today_changes_no_hands(
    till, mary, bob, charlie, password, monkeypatch, why
):
    member = give_pin(bob)
    if why == "no password here":
        till = mary.client
    elif why == "yesterday":
        session = till.session
        session[sessions.SIGNED_IN_AT] = int(clock.now().timestamp()) - 86_400
        session[sessions.TOUCHED_AT] = int(clock.now().timestamp())
        session.save()
        monkeypatch.setattr("django.conf.settings.SESSION_COOKIE_AGE", 10**6)
    elif why == "new password":
        take_over(till, member)
        mary.user.set_password("another-one-2031")
        mary.user.save()
    elif why == "sent home":
        take_over(till, member)
        Membership.objects.filter(user=mary.user).update(is_active=False)
    else:
        MembershipFactory(user=charlie.user, shop=bob.shop, role=Role.CASHIER)
        till = Client()
        till.post("/login", {"username": "charlie", "password": password})
        till.post("/till/shops", {"shop": bob.shop.pk})
        Membership.objects.filter(user=charlie.user, shop=bob.shop).delete()
    before = till.session.get("_auth_user_id")
    answer = take_over(till, member)

    assert till.session.get("_auth_user_id") == before
    assert answer.headers.get("HX-Redirect") != "/till/"


def test_taking_over_twice_goes_back_to_selling_only(till, bob, mary):
    first, second = give_pin(bob), give_pin(mary, "8305")
    take_over(till, first)
    take_over(till, second, "8305")

    assert who(till) == "mary"
    assert till.get("/till/").context["access"].rights == BY_PIN
    assert till.get("/admin/").status_code == 403


def test_ending_the_sessions_of_who_opened_it_ends_it(till, bob, mary):
    take_over(till, give_pin(bob))
    sessions.end_all(mary.user)

    assert till.get("/till/").status_code == 302


def test_working_day_is_that_of_who_opened_it(till, bob):
    before = till.session[sessions.SIGNED_IN_AT]
    take_over(till, give_pin(bob))

    assert till.session[sessions.SIGNED_IN_AT] == before


@pytest.mark.parametrize(
    "pin", ["", "123", "1234567", "1234", "4321", "0000", "12a4", "٣٤٥٧", " 4071"]
)
def test_weak_pin_is_refused(bob, pin):
    with pytest.raises(pins.WeakPin):
        give_pin(bob, pin)
    assert CashierPin.objects.count() == 0


@pytest.mark.parametrize("pin", ["4071", "90210", "112233"])
def test_pin_is_kept_as_a_hash(bob, pin):
    give_pin(bob, pin)

    assert pin not in CashierPin.objects.get().pin_hash


def test_own_pin_takes_the_password(till, mary, password):
    wrong = till.post("/till/pin", {"password": "no", "pin": PIN})
    assert (wrong.status_code, CashierPin.objects.count()) == (400, 0)

    kept = till.post("/till/pin", {"password": password, "pin": PIN})
    assert (kept["Location"], CashierPin.objects.get().member.user) == (
        "/till/", mary.user,
    )  # fmt: skip


def test_who_came_by_pin_changes_no_pin(till, bob, password):
    take_over(till, give_pin(bob))
    answer = till.post("/till/pin", {"password": password, "pin": "8305"})

    assert answer.status_code == 403
    assert pins.check(tenancy.access(bob.user), give_pin(bob), PIN).user == bob.user


def test_auditor_has_no_pin(audrey):
    assert audrey.get("/till/pin").status_code == 403
    assert audrey.get("/till/switch").status_code == 403
