"""How long a session lasts on a till that people share, and what ends it at once."""

import pytest
from django.test import Client

from shops import sessions
from shops.models import Membership
from smartduka.lib import clock


pytestmark = pytest.mark.django_db


@pytest.fixture
def turn(monkeypatch):
    start = clock.now()

    def to(seconds):
        monkeypatch.setattr(clock, "now", lambda: start + clock.seconds(seconds))

    to(0)
    return to


@pytest.fixture
def till(bob, password, turn):
    """Bob's browser, signed in by hand."""
    client = Client()
    client.post("/login", {"username": "bob", "password": password})
    return client


def is_in(client, path="/till/", **headers):
    return client.get(path, headers=headers).status_code == 200


def test_hour_without_a_touch_ends_it(till, turn):
    turn(3599)
    assert is_in(till) is True
    turn(3599 + 3600)
    assert is_in(till) is False
    assert "_auth_user_id" not in till.session


def test_what_a_page_asks_by_itself_is_no_touch(till, turn):
    for minute in range(0, 60, 10):
        turn(minute * 60)
        assert is_in(till, "/till/pay/pill", **{"HX-Request": "true"}) is True

    turn(3600)
    answer = till.get("/till/pay/pill", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (
        401, "/login?next=%2Ftill%2F",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/till/", {}),
        ("/till/products?search=su", {"HX-Request": "true"}),
        ("/till/scan?code=1", {"Accept": "application/json"}),
    ],
)
def test_what_a_person_asks_for_is_a_touch(till, turn, path, headers):
    turn(3000)
    till.get(path, headers=headers)
    turn(6000)

    assert is_in(till) is True


def test_working_day_ends_it_in_any_case(till, turn):
    for half_hour in range(24):
        turn(half_hour * 1800)
        assert is_in(till) is True

    turn(12 * 3600)
    assert is_in(till) is False


def test_touch_is_not_written_with_every_page(till, turn, django_assert_num_queries):
    turn(30)
    till.get("/till/")
    before = till.session[sessions.TOUCHED_AT]
    turn(59)
    till.get("/till/")
    assert till.session[sessions.TOUCHED_AT] == before
    turn(61)
    till.get("/till/")
    assert till.session[sessions.TOUCHED_AT] == before + 61


def test_switched_off_ends_it_at_once(till, bob):
    bob.user.is_active = False
    bob.user.save()

    assert is_in(till) is False


def test_ending_all_ends_those_of_one_person(till, bob, alice):
    assert sessions.end_all(bob.user) == 2

    assert (is_in(till), bob.get("/till/").status_code) == (False, 302)
    assert alice.get("/till/").status_code == 200


def test_ending_all_but_the_own_leaves_that(till, bob):
    assert sessions.end_all(bob.user, but=till.session.session_key) == 1

    assert (is_in(till), bob.get("/till/").status_code) == (True, 302)


def test_session_is_living_until_it_ends_or_the_password_changes(till, bob, alice):
    key = till.session.session_key
    assert sessions.is_living(bob.user, key) is True
    assert sessions.is_living(alice.user, key) is False

    bob.user.set_password("another-one-2031")
    assert sessions.is_living(bob.user, key) is False
    bob.user.refresh_from_db()
    assert sessions.is_living(bob.user, key) is True
    sessions.end_all(bob.user)
    assert sessions.is_living(bob.user, key) is False


def test_who_left_the_shop_is_out_with_the_next_page(till, bob):
    Membership.objects.filter(user=bob.user).update(is_active=False)

    assert till.get("/till/").status_code == 403
