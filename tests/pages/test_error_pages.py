"""What people read when something is not there, not theirs, too old or broken."""

import pytest
from django.test import Client

from orders import till


pytestmark = pytest.mark.django_db


def test_unknown_address_is_told_in_our_look(bob):
    response = bob.get("/nothing")

    assert response.status_code == 404
    assert "There is nothing here." in response.content.decode()
    assert "smartduka/base.css" in response.content.decode()


def test_unknown_address_is_told_to_a_stranger_too(db):
    assert Client().get("/nothing").status_code == 404


def test_form_without_its_token_is_told_to_load_again(bob):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(bob.user)

    page = strict.post("/till/shops", {"shop": "1"})
    part = strict.post("/till/sale", {}, headers={"HX-Request": "true"})

    assert (page.status_code, part.status_code) == (403, 403)
    assert "This page was open for too long." in page.content.decode()
    assert "This page was open for too long." in part.content.decode()
    assert "<html" not in part.content.decode()


def test_api_error_has_the_api_shape(bob):
    strict = Client(enforce_csrf_checks=True)

    assert strict.get("/hooks/nothing").json()["success"] is False


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "Something broke on our side"),
        ({"HX-Request": "true"}, "Something broke on our side"),
    ],
    ids=["page", "part"],
)
def test_broken_page_says_that_nothing_was_lost(bob, monkeypatch, headers, told):
    def broken(*args, **kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr(till.goods, "products", broken)
    bob.client.raise_request_exception = False

    response = bob.client.get("/till/products", headers=headers)

    assert response.status_code == 500
    assert told in response.content.decode()
    assert "Nothing was lost" in response.content.decode()


def test_broken_page_needs_no_database(rf, django_db_blocker):
    from smartduka import pages  # noqa: PLC0415 -- inside the block, to prove it

    with django_db_blocker.block():
        response = pages.server_error(rf.get("/till/"))

    assert response.status_code == 500
