"""The API's one error shape, and reading a body without trusting it.

Every refusal is `{"success": false, "code", "message", "details"}`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions, serializers
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from smartduka.lib.errors import DomainError


logger = logging.getLogger(__name__)

MALFORMED = "The request could not be understood."
SIGN_IN = "Sign in first."
BAD_CREDENTIALS = "These credentials are not valid. Sign in again."
FORBIDDEN = "Your role does not allow this."
NOT_FOUND = "This does not exist in your shop."
UNAVAILABLE = "The system cannot answer right now. Nothing was lost; try again."


def error_body(
    code: str, message: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the error shape as a dict."""
    return {
        "success": False,
        "code": code,
        "message": message,
        "details": details or {},
    }


def error_response(error: DomainError) -> Response:
    """Return a DomainError as the API answers it, with Retry-After if known."""
    response = Response(
        error_body(error.code, error.message, error.details), status=error.http_status
    )
    if "retryAfter" in error.details:
        response["Retry-After"] = str(error.details["retryAfter"])
    return response


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a view raised into the one error shape.

    Programming errors return None and stay 500s of our own handler.
    """
    if isinstance(exc, DomainError):
        return error_response(exc)
    if isinstance(exc, (DatabaseError, InterfaceError)):
        logger.error("database failed in %s", context.get("view"), exc_info=exc)
        return Response(error_body("UNAVAILABLE", UNAVAILABLE), status=503)
    if isinstance(exc, (Http404, exceptions.NotFound)):
        return Response(error_body("NOT_FOUND", NOT_FOUND), status=404)
    if isinstance(exc, PermissionDenied):
        return Response(error_body("FORBIDDEN", FORBIDDEN), status=403)
    if isinstance(exc, exceptions.APIException):
        return _drf_response(exc)
    return None


def _drf_response(exc: exceptions.APIException) -> Response:
    if isinstance(exc, (exceptions.NotAuthenticated, exceptions.AuthenticationFailed)):
        missing = isinstance(exc, exceptions.NotAuthenticated)
        message = SIGN_IN if missing else BAD_CREDENTIALS
        response = Response(error_body("NOT_AUTHENTICATED", message), status=401)
        response["WWW-Authenticate"] = 'Bearer realm="api"'
        return response
    if isinstance(exc, exceptions.PermissionDenied):
        return Response(error_body("FORBIDDEN", str(exc.detail)), status=403)
    if isinstance(exc, exceptions.ValidationError):
        details = exc.detail if isinstance(exc.detail, dict) else {"fields": exc.detail}
        return Response(error_body("INVALID_REQUEST", MALFORMED, details), status=400)
    if isinstance(exc, exceptions.MethodNotAllowed):
        return Response(
            error_body("INVALID_REQUEST", "This address does not take that verb."),
            status=405,
        )
    status = 400 if exc.status_code in (400, 406, 413, 415) else exc.status_code
    code = "RATE_LIMITED" if status == 429 else "INVALID_REQUEST"
    return Response(error_body(code, str(exc.detail)), status=status)


class JsonParser(JSONParser):
    """JSON as an object, or a refusal: never an exception of another kind."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the parsed object. Raises ParseError."""
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise exceptions.ParseError("The body is nested too deeply.") from None
        if not isinstance(data, dict):
            raise exceptions.ParseError("The body must be a JSON object.")
        return data


class StrictText(serializers.CharField):
    """Text that came as text: a number is a wrong field, not a text."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        text = str(super().to_internal_value(data))
        if not text.isprintable():
            self.fail("invalid")
        return text


class WholeNumber(serializers.IntegerField):
    """A JSON integer: neither text, nor a fraction, nor true."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number. Raises ValidationError."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        if abs(data) > 10**15:
            self.fail("max_string_length")
        return data


def not_found(request: HttpRequest, *args: object, **kwargs: object) -> JsonResponse:
    """Answer an API address that does not exist."""
    return JsonResponse(error_body("NOT_FOUND", "There is nothing here."), status=404)
