"""Signing in and out, choosing a shop, and who is kept out of the till."""

import pytest
from django.test import Client
from django.urls import reverse

from shops.enums import Role
from tests.factories import MembershipFactory, ShopFactory


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/", "/till/", "/till/pay/", "/till/products"])
def test_stranger_is_sent_to_sign_in(path):
    response = Client().get(path, follow=True)

    assert response.redirect_chain[-1][0].startswith("/login?next=")
    assert "Sign in to your till" in response.content.decode()


def test_part_of_a_page_sends_the_whole_page_to_sign_in():
    response = Client().get("/till/pay/pill", headers={"HX-Request": "true"})

    assert (response.status_code, response.content) == (401, b"")
    assert response["HX-Redirect"] == "/login?next=%2Ftill%2F"


def test_signing_in_leads_to_the_till(bob, password):
    response = Client().post(
        "/login", {"username": "bob", "password": password, "next": ""}, follow=True
    )

    assert response.redirect_chain[-1][0] == "/till/"
    assert "Mama Mboga" in response.content.decode()


def test_wrong_password_is_told_and_keeps_the_name(bob):
    response = Client().post("/login", {"username": "bob", "password": "no"})

    page = response.content.decode()
    assert "That name and password do not fit together" in page
    assert 'value="bob"' in page


def test_sign_in_does_not_send_people_to_foreign_pages(bob, password):
    response = Client().post(
        "/login?next=https://evil.example/",
        {"username": "bob", "password": password, "next": "https://evil.example/"},
    )

    assert response["Location"] == "/"


def test_signing_out_ends_the_session(bob):
    response = bob.client.post("/logout")

    assert response["Location"] == "/login"
    assert bob.get("/till/").status_code == 302


def test_person_of_several_shops_chooses_one(bob):
    other = ShopFactory(name="Second Duka")
    MembershipFactory(user=bob.user, shop=other, role=Role.CASHIER)

    sent = bob.get("/till/")
    choice = bob.client.get(sent["Location"])
    chosen = bob.client.post(
        "/till/shops", {"shop": str(other.pk), "next": "/till/"}, follow=True
    )

    assert sent["Location"] == "/till/shops?next=%2Ftill%2F"
    assert "Second Duka" in choice.content.decode()
    assert "<b>Second Duka</b>" in chosen.content.decode()
    assert bob.client.session["shop_id"] == str(other.pk)


def test_foreign_shop_cannot_be_chosen(bob, charlie):
    response = bob.client.post("/till/shops", {"shop": str(charlie.shop.pk)})

    assert response.status_code == 404
    assert "shop_id" not in bob.client.session


def test_choice_does_not_send_people_to_foreign_pages(bob):
    response = bob.client.post(
        "/till/shops", {"shop": str(bob.shop.pk), "next": "//evil.example/"}
    )

    assert response["Location"] == reverse("till:till")


def test_shop_that_is_no_longer_theirs_is_forgotten(bob, charlie):
    session = bob.client.session
    session["shop_id"] = str(charlie.shop.pk)
    session.save()

    assert bob.get("/till/")["Location"].startswith("/till/shops")
    assert "shop_id" not in bob.client.session


def test_person_without_a_shop_reads_why(stranger):
    response = stranger.get("/till/")

    assert response.status_code == 403
    assert "You do not work in any shop yet" in response.content.decode()


def test_auditor_reads_that_they_cannot_sell(audrey):
    page = audrey.get("/till/").content.decode()

    assert "You cannot sell in this shop" in page
    assert 'id="mpesa"' not in page


def test_operator_looks_but_cannot_sell(operator, duka):
    operator.client.post("/till/shops", {"shop": str(duka.pk)})

    assert "You cannot sell" in operator.get("/till/").content.decode()
