"""Tokens for programs: the same password, the same limits, the same second step."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions, serializers
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.views import TokenObtainPairView

from shops import lockout, second_factor
from smartduka.lib.api import JsonParser
from smartduka.lib.errors import DomainError
from smartduka.lib.net import client_address


class CodeNeeded(DomainError):
    """The password was right, and is not enough for this person."""

    code = "NOT_AUTHENTICATED"
    message = "Send the code of the second step too, as `code`."
    http_status = 401


class SetUpNeeded(DomainError):
    """Their rights need a second step here, and they have none."""

    code = "NOT_AUTHENTICATED"
    message = "Set up the second step of signing in first: open the till in a browser."
    http_status = 401


class TokenInput(TokenObtainPairSerializer):
    """Name and password; the code too where the person has a second step."""

    code = serializers.CharField(write_only=True, required=False, max_length=40)

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        """Return the tokens. Raises AuthenticationFailed, LockedOut, CodeNeeded."""
        address = client_address(self.context["request"]._request)
        name = attrs[self.username_field]
        with lockout.counted(name, address, exceptions.AuthenticationFailed):
            data: dict[str, str] = super().validate(attrs)
        user: Any = self.user
        if second_factor.is_on(user):
            self._accept(user, attrs.get("code"), address)
        elif second_factor.is_required(user):
            raise SetUpNeeded
        return data

    def _accept(self, user: Any, code: str | None, address: str) -> None:
        if not code:
            raise CodeNeeded
        wrong = second_factor.WrongCode
        try:
            with lockout.counted(user.get_username(), address, wrong, step="code"):
                second_factor.accept(user, code)
        except wrong as refused:
            raise CodeNeeded(refused.message) from refused


class Tokens(TokenObtainPairView):
    """Sign in as a program."""

    parser_classes = (JsonParser,)
    serializer_class = TokenInput
