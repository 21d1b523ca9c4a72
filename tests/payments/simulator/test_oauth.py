from __future__ import annotations

import re
import time

import pytest

from tests.payments.simulator.conftest import refusal


def test_token_is_28_signs_and_expires_in_is_a_string(merchant):
    response = merchant.fetch_token()

    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access_token", "expires_in"}
    assert re.fullmatch(r"[A-Za-z0-9]{28}", body["access_token"])
    assert body["expires_in"] == "3599"


def test_expires_in_can_be_a_number(simulator, merchant):
    simulator.faults(oauth_expires_in_type="number", oauth_expires_in=1800)

    assert merchant.fetch_token().json()["expires_in"] == 1800


def test_wrong_secret_is_400_with_an_empty_body(merchant):
    response = merchant.fetch_token(auth=(merchant.key, "wrong"))

    assert (response.status_code, response.content) == (400, b"")


def test_nonsense_after_basic_is_400_with_an_empty_body(merchant):
    response = merchant.fetch_token(auth=None, headers={"Authorization": "Basic %%%"})

    assert (response.status_code, response.content) == (400, b"")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer abc"}], ids=["none", "bearer"]
)
def test_anything_but_basic_is_an_authentication_type(merchant, headers):
    response = merchant.fetch_token(auth=None, headers=headers)

    expected = (400, "400.008.01", "Invalid authentication type passed")
    assert refusal(response) == expected


@pytest.mark.parametrize("grant_type", [None, "password", "client_credentials "])
def test_wrong_grant_type_is_refused(merchant, grant_type):
    response = merchant.fetch_token(params={"grant_type": grant_type})

    assert refusal(response) == (400, "400.008.02", "Invalid grant type passed")


def test_post_is_not_allowed(merchant):
    response = merchant.http.post(f"{merchant.url}/oauth/v1/generate", timeout=5)

    assert refusal(response) == (405, "405.001", "POST Method Not Allowed")


def test_unknown_path_is_resource_not_found(merchant):
    response = merchant.http.get(f"{merchant.url}/mpesa/nothing/v1", timeout=5)

    assert refusal(response) == (404, "404.001.01", "Resource not found")


def test_token_dies_after_its_lifetime(simulator, merchant):
    merchant.fetch_token()
    assert merchant.push().status_code == 200

    simulator.advance(3600)

    expected = (404, "404.001.03", "Invalid Access Token")
    assert refusal(merchant.push()) == expected


def test_older_token_lives_on_unless_the_switch_ends_it(simulator, merchant):
    old = merchant.token
    merchant.fetch_token()
    assert merchant.query("x").status_code == 400  # the token was good

    simulator.faults(oauth_new_token_kills_old=True)
    merchant.fetch_token()

    assert merchant.token == old
    assert refusal(merchant.query("x"))[1] == "404.001.03"


def test_expire_tokens_ends_them_all_at_once(simulator, merchant):
    assert merchant.query("x").status_code == 400

    simulator.faults(expire_tokens=True)

    assert refusal(merchant.query("x"))[1] == "404.001.03"


def test_expire_token_once_lets_a_fresh_token_pass(simulator, merchant):
    simulator.faults(expire_token={"value": True, "times": 1})

    assert refusal(merchant.push())[1] == "404.001.03"
    assert refusal(merchant.push())[1] == "404.001.03"  # that token stays dead
    merchant._token = None
    assert merchant.push().status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "content_type"),
    [
        ("html_503", 503, "text/html"),
        ("html_403", 403, "text/html"),
        ("empty_400", 400, "application/json"),
        ("internal", 500, "application/json"),
    ],
)
def test_oauth_error_answers_in_place_of_a_token(
    simulator, merchant, error, status, content_type
):
    simulator.faults(oauth_error=error)

    response = merchant.fetch_token()

    assert response.status_code == status
    assert response.headers["Content-Type"].startswith(content_type)
    assert "access_token" not in response.text


def test_oauth_can_be_slow(simulator, merchant):
    simulator.faults(oauth_slow_s=0.3)

    started = time.monotonic()
    assert merchant.fetch_token().status_code == 200

    assert time.monotonic() - started >= 0.3
