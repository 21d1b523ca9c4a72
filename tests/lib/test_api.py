"""Bodies are read without trust; every refusal has one shape."""

import io

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions, serializers

from smartduka.lib import api
from smartduka.lib.errors import DomainError, Forbidden, InvalidRequest, NotFound


def parse(body):
    return api.JsonParser().parse(io.BytesIO(body), "application/json", {})


def test_an_object_is_read():
    assert parse(b'{"amount": 250}') == {"amount": 250}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"NaN",
    ],
    ids=lambda body: repr(body[:8]),
)
def test_anything_else_is_a_refusal(body):
    with pytest.raises(exceptions.ParseError):
        parse(body)


@pytest.mark.parametrize("value", [1, 0, -5, 10**15])
def test_a_whole_number_is_read(value):
    assert api.WholeNumber().run_validation(value) == value


@pytest.mark.parametrize(
    "value", [True, False, 1.0, 1.5, "1", "", None, [1], {}, 10**15 + 1, -(10**20)]
)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(serializers.ValidationError):
        api.WholeNumber().run_validation(value)


@pytest.mark.parametrize("value", ["text", " trimmed ", "Mandazi 🥐"])
def test_text_is_read(value):
    assert api.StrictText().run_validation(value) == value.strip()


@pytest.mark.parametrize(
    "value", [7, True, None, ["text"], "a\0b", "a\nb", "\ud800"], ids=repr
)
def test_what_is_no_text_is_refused(value):
    with pytest.raises(serializers.ValidationError):
        api.StrictText().run_validation(value)


def answer(exc):
    response = api.exception_handler(exc, {"view": "a view"})
    return response.status_code, response.data["code"], response.data["details"]


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (DomainError(), (400, "INVALID_REQUEST", {})),
        (InvalidRequest(details={"a": ["b"]}), (400, "INVALID_REQUEST", {"a": ["b"]})),
        (NotFound(), (404, "NOT_FOUND", {})),
        (Forbidden(), (403, "FORBIDDEN", {})),
        (Http404(), (404, "NOT_FOUND", {})),
        (exceptions.NotFound(), (404, "NOT_FOUND", {})),
        (PermissionDenied(), (403, "FORBIDDEN", {})),
        (exceptions.PermissionDenied(), (403, "FORBIDDEN", {})),
        (exceptions.NotAuthenticated(), (401, "NOT_AUTHENTICATED", {})),
        (exceptions.AuthenticationFailed(), (401, "NOT_AUTHENTICATED", {})),
        (exceptions.MethodNotAllowed("PUT"), (405, "INVALID_REQUEST", {})),
        (exceptions.ParseError(), (400, "INVALID_REQUEST", {})),
        (exceptions.UnsupportedMediaType("text/plain"), (400, "INVALID_REQUEST", {})),
        (exceptions.NotAcceptable(), (400, "INVALID_REQUEST", {})),
        (exceptions.Throttled(), (429, "RATE_LIMITED", {})),
        (
            serializers.ValidationError({"amount": ["wrong"]}),
            (400, "INVALID_REQUEST", {"amount": ["wrong"]}),
        ),
        (
            serializers.ValidationError(["wrong"]),
            (400, "INVALID_REQUEST", {"fields": ["wrong"]}),
        ),
        (DatabaseError("down"), (503, "UNAVAILABLE", {})),
        (OperationalError("locked"), (503, "UNAVAILABLE", {})),
        (InterfaceError("gone"), (503, "UNAVAILABLE", {})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_refusal_has_one_shape(exc, expected):
    response = api.exception_handler(exc, {})

    assert answer(exc) == expected
    assert set(response.data) == {"success", "code", "message", "details"}
    assert response.data["success"] is False
    assert response.data["message"]


def test_a_database_that_fails_says_nothing_of_itself():
    response = api.exception_handler(DatabaseError("secret table"), {})

    assert "secret" not in str(response.data)


def test_a_programming_error_is_not_hidden():
    assert api.exception_handler(KeyError("oops"), {}) is None


def test_waiting_time_is_a_header_too():
    response = api.error_response(DomainError(details={"retryAfter": 7}))

    assert response["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (exceptions.NotAuthenticated(), api.SIGN_IN),
        (exceptions.AuthenticationFailed(), api.BAD_CREDENTIALS),
    ],
    ids=["missing", "bad"],
)
def test_401_says_how_to_sign_in(exc, message):
    response = api.exception_handler(exc, {})

    assert response.data["message"] == message
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_an_unknown_address_of_the_api(rf):
    response = api.not_found(rf.get("/api/nothing"), "args", key="word")

    assert response.status_code == 404
