"""Signing in with a second step, setting it up, and who must."""

import pytest
from django.test import Client

from shops import second_factor
from shops.models import SecondFactor
from smartduka.lib import clock
from tests.support.authenticator import STEP_S, Authenticator, code_at


pytestmark = pytest.mark.django_db


@pytest.fixture
def phone(alice):
    """Alice's phone, which has her second step."""
    factor = second_factor.begin(alice.user)
    step = int(clock.now().timestamp()) // STEP_S - 1
    second_factor.confirm(alice.user, code_at(factor.secret, step))
    return Authenticator(factor.secret)


def password_of(client, name, password, next_url=""):
    sent = {"username": name, "password": password, "next": next_url}
    return client.post("/login", sent)


def signed_in(client):
    return "_auth_user_id" in client.session


def test_password_alone_signs_nobody_in_who_has_a_second_step(alice, phone, password):
    client = Client()
    answer = password_of(client, "alice", password, "/admin/")

    assert (answer.status_code, answer["Location"]) == (302, "/login/code")
    assert signed_in(client) is False
    assert client.get("/till/")["Location"].startswith("/login")

    answer = client.post("/login/code", {"code": phone.code()})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert signed_in(client) is True


def test_wrong_code_is_told_and_signs_nobody_in(alice, phone, password):
    client = Client()
    password_of(client, "alice", password)
    answer = client.post("/login/code", {"code": "000000"})

    assert answer.status_code == 400
    assert "This code is not right" in answer.content.decode()
    assert signed_in(client) is False


def test_code_page_without_a_password_leads_to_it(db):
    assert Client().get("/login/code")["Location"] == "/login"
    assert Client().post("/login/code", {"code": "1"})["Location"] == "/login"


@pytest.mark.parametrize("why", ["too late", "new password", "switched off"])
def test_password_of_a_while_ago_does_not_count(
    alice, phone, password, monkeypatch, why
):
    client = Client()
    password_of(client, "alice", password)
    if why == "too late":
        later = clock.now() + clock.seconds(301)
        monkeypatch.setattr(clock, "now", lambda: later)
    elif why == "new password":
        alice.user.set_password("another-one-2031")
        alice.user.save()
    else:
        alice.user.is_active = False
        alice.user.save()

    assert client.post("/login/code", {"code": phone.code()})["Location"] == "/login"
    assert signed_in(client) is False


def test_who_has_none_signs_in_by_password(bob, password):
    client = Client()

    assert password_of(client, "bob", password)["Location"] == "/"
    assert signed_in(client) is True


def test_setting_it_up_shows_a_key_and_then_codes_once(alice, password):
    client = Client()
    password_of(client, "alice", password)

    assert "Your password" in client.get("/second-step").content.decode()
    wrong = client.post("/second-step", {"act": "begin", "password": "no"})
    assert (wrong.status_code, SecondFactor.objects.exists()) == (400, False)

    client.post("/second-step", {"act": "begin", "password": password})
    page = client.get("/second-step")
    key = page.context["secret"]
    assert 'src="data:image/svg+xml' in page.content.decode()
    assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")

    phone = Authenticator(key)
    done = client.post("/second-step", {"act": "confirm", "code": phone.code()})
    assert [done.content.decode().count(one) for one in done.context["codes"]] == [
        1
    ] * 10
    again = client.get("/second-step").content.decode()
    assert [one for one in done.context["codes"] if one in again] == []
    assert key not in again


def test_setting_it_up_ends_the_other_sessions(alice, password):
    here = Client()
    password_of(here, "alice", password)
    here.post("/second-step", {"act": "begin", "password": password})
    phone = Authenticator(here.get("/second-step").context["secret"])
    here.post("/second-step", {"act": "confirm", "code": phone.code()})

    assert alice.get("/till/").status_code == 302
    assert here.get("/till/").status_code == 200


@pytest.mark.parametrize("name", ["alice", "mary", "operator"])
def test_where_it_is_required_nothing_else_opens_first(
    alice, mary, operator, password, settings, name
):
    settings.REQUIRE_SECOND_FACTOR = True
    client = Client()
    password_of(client, name, password)

    assert client.get("/admin/")["Location"] == "/second-step"
    assert client.get("/till/")["Location"] == "/second-step"
    assert client.get("/api/products").status_code == 403
    part = client.get("/till/pay/pill", headers={"HX-Request": "true"})
    assert (part.status_code, part["HX-Redirect"]) == (401, "/second-step")

    client.post("/second-step", {"act": "begin", "password": password})
    phone = Authenticator(client.get("/second-step").context["secret"])
    client.post("/second-step", {"act": "confirm", "code": phone.code()})
    assert client.get("/till/").status_code in (200, 302)
    assert client.get("/till/").headers.get("Location") != "/second-step"


@pytest.mark.parametrize("name", ["bob", "audrey"])
def test_where_it_is_required_the_others_sign_in_as_before(
    bob, audrey, password, settings, name
):
    settings.REQUIRE_SECOND_FACTOR = True
    client = Client()
    password_of(client, name, password)

    assert client.get("/till/").status_code == 200


def token(client, **sent):
    return client.post("/api/auth/token", sent, content_type="application/json")


def test_token_takes_the_code_too(alice, phone, password, client):
    alone = token(client, username="alice", password=password)
    wrong = token(client, username="alice", password=password, code="000000")
    right = token(client, username="alice", password=password, code=phone.code())

    assert [alone.status_code, wrong.status_code, right.status_code] == [401, 401, 200]
    assert alone.json()["code"] == "NOT_AUTHENTICATED"
    assert set(right.json()) == {"access", "refresh"}


def test_token_of_who_has_none_and_needs_none(bob, alice, password, client, settings):
    assert token(client, username="alice", password=password).status_code == 200

    settings.REQUIRE_SECOND_FACTOR = True
    assert token(client, username="bob", password=password).status_code == 200
    refused = token(client, username="alice", password=password)
    assert (refused.status_code, refused.json()["code"]) == (401, "NOT_AUTHENTICATED")
