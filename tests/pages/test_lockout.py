"""Wrong passwords: how many, whose, from where, and what the person reads."""

from contextlib import suppress

import pytest
from django.test import Client

from shops import lockout, second_factor
from smartduka.lib import clock
from tests.support.authenticator import STEP_S, code_at


pytestmark = pytest.mark.django_db
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def limits(settings):
    settings.SIGN_IN_TRIES, settings.SIGN_IN_TRIES_ANYWHERE = 3, 5


@pytest.fixture
def turn(monkeypatch):
    """Turn the clock on by so many seconds."""
    start = clock.now()

    def to(seconds):
        monkeypatch.setattr(clock, "now", lambda: start + clock.seconds(seconds))

    to(0)
    return to


def attempt(name, password, address=HERE):
    client = Client(REMOTE_ADDR=address)
    answer = client.post("/login", {"username": name, "password": password})
    if answer.status_code == 302:
        return "in"
    page = answer.content.decode()
    if "Too many wrong tries" in page:
        return "wait"
    assert "do not fit together" in page
    return "wrong"


def test_after_so_many_wrong_ones_the_right_one_must_wait_too(bob, password, turn):
    tried = [attempt("bob", word) for word in ("a", "b", "c", "d", password)]

    assert tried == ["wrong", "wrong", "wrong", "wait", "wait"]
    turn(15 * 60 - 1)
    assert attempt("bob", password) == "wait"
    turn(15 * 60 + 1)
    assert attempt("bob", password) == "in"


def test_page_says_how_long(bob, turn):
    for _ in range(3):
        attempt("bob", "no")
    turn(60)
    answer = Client(REMOTE_ADDR=HERE).post(
        "/login", {"username": "bob", "password": ""}
    )
    answer = Client(REMOTE_ADDR=HERE).post(
        "/login", {"username": "bob", "password": "no"}
    )

    page = answer.content.decode()
    assert "You can try again in 14 minutes." in page
    assert "ask the owner to unlock you" in page


def test_name_that_does_not_exist_is_answered_alike(bob, turn):
    assert [attempt("nobody", "x") for _ in range(4)] == [
        attempt("bob", "x") for _ in range(4)
    ]


def test_same_name_in_other_letters_is_the_same(bob, turn):
    assert [attempt(name, "x") for name in ("bob", "BOB", " bob ", "Bob")] == [
        "wrong", "wrong", "wrong", "wait",
    ]  # fmt: skip


def test_one_address_does_not_lock_out_another(bob, password, turn):
    for _ in range(4):
        attempt("bob", "x", HERE)

    assert attempt("bob", password, THERE) == "in"
    assert attempt("bob", password, HERE) == "wait"


def test_many_addresses_together_do(bob, password, turn):
    tried = [attempt("bob", "x", f"192.0.2.{n}") for n in range(10, 16)]

    assert tried == ["wrong"] * 5 + ["wait"]
    assert attempt("bob", password, THERE) == "wait"


def test_one_name_does_not_lock_out_another(bob, mary, password, turn):
    for _ in range(4):
        attempt("bob", "x")

    assert attempt("mary", password) == "in"


def test_unlocked_is_unlocked_everywhere(bob, password, turn):
    for n in range(6):
        attempt("bob", "x", f"192.0.2.{n % 2 + 1}")
    lockout.unlock("Bob")

    assert [attempt("bob", password, one) for one in (HERE, THERE)] == ["in", "in"]


def test_burst_of_guesses_gets_no_more_tries_than_the_limit(bob, turn):
    """The right one, looked at while others were found wrong, is refused after all."""

    def guess(meanwhile=None):
        with lockout.counted("bob", HERE, ValueError):
            if meanwhile is None:
                raise ValueError
            meanwhile()

    def three_wrong_ones():
        for _ in range(3):
            with suppress(ValueError):
                guess()

    with pytest.raises(lockout.LockedOut):
        guess(three_wrong_ones)
    lockout.unlock("bob")
    guess(lambda: None)


def test_right_ones_are_not_counted(bob, password, turn):
    assert [attempt("bob", password) for _ in range(6)] == ["in"] * 6


def test_token_has_the_same_limits_and_says_when(bob, password, client, turn):
    def ask(word):
        sent = {"username": "bob", "password": word}
        return client.post("/api/auth/token", sent, content_type="application/json")

    answers = [ask("x") for _ in range(4)] + [ask(password)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert (answers[-1].json()["code"], answers[-1]["Retry-After"]) == (
        "RATE_LIMITED", "900",
    )  # fmt: skip


def test_codes_have_limits_of_their_own(alice, password, turn):
    factor = second_factor.begin(alice.user)
    step = int(clock.now().timestamp()) // STEP_S
    second_factor.confirm(alice.user, code_at(factor.secret, step - 1))
    client = Client(REMOTE_ADDR=HERE)
    client.post("/login", {"username": "alice", "password": password})
    right = code_at(factor.secret, step)

    tried = [client.post("/login/code", {"code": "1"}).status_code for _ in range(4)]
    assert tried == [400, 400, 400, 429]
    refused = client.post("/login/code", {"code": right})
    assert "You can try again in 15 minutes." in refused.content.decode()

    lockout.unlock("alice")
    assert client.post("/login/code", {"code": right}).status_code == 302
