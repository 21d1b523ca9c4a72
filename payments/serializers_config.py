"""Shapes of the calls about a shop's own M-Pesa account."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from payments.enums import AccountType
from smartduka.lib.api import StrictText


MODES = ("own", "platform", "none")
OF_AN_ACCOUNT = frozenset(
    {
        *("type", "shortCode", "partyB", "initiatorName", "initiatorPassword"),
        *("consumerKey", "consumerSecret", "passkey"),
    }
)


def text(length: int) -> StrictText:
    """Return a field that may be left out, empty or null: then it says nothing."""
    return StrictText(
        max_length=length, required=False, allow_blank=True, allow_null=True
    )


def _wrong(name: str, words: str) -> serializers.ValidationError:
    return serializers.ValidationError({name: [words]})


class ConfigInput(serializers.Serializer[Any]):
    """An account, whole; secrets that are left out stay as they are.

    Or, without an account, what is live: `mode`, or `enabled` for the own one.
    """

    mode = serializers.ChoiceField(choices=MODES, required=False)
    type = serializers.ChoiceField(choices=AccountType.values, required=False)
    shortCode = text(20)
    partyB = text(20)
    consumerKey = text(400)
    consumerSecret = text(400)
    passkey = text(400)
    initiatorName = text(100)
    initiatorPassword = text(400)
    enabled = serializers.BooleanField(required=False)
    confirm = text(20)
    version = serializers.IntegerField(required=False, min_value=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse half an account, and a body that asks for nothing or for two things."""
        sent = {name: value for name, value in attrs.items() if value is not None}
        if not isinstance(self.initial_data.get("enabled", False), bool):
            raise _wrong("enabled", "Must be true or false.")
        mode = sent.get("mode", "own")
        account = sent.keys() & OF_AN_ACCOUNT
        is_enabled = sent.get("enabled", False)
        if mode != "own" and account:
            raise _wrong("mode", "Has no account of its own.")
        if mode != "own" and is_enabled:
            raise _wrong("enabled", "Is for the own account.")
        if account and is_enabled:
            raise _wrong("enabled", "Only after the account was entered and tested.")
        if mode == "own" and not is_enabled:
            for name in ("type", "shortCode"):
                if name not in account:
                    raise _wrong(name, "This field is required.")
        return sent


class TestPaymentInput(serializers.Serializer[Any]):
    """Whose phone is asked for KES 1."""

    phoneNumber = StrictText(max_length=60, allow_blank=True)


class VerifiedOutput(serializers.Serializer[Any]):
    """What was tested since the last change."""

    verified = serializers.BooleanField()
    verifiedAt = serializers.CharField(allow_null=True)
    verificationStatus = serializers.ChoiceField(("pending", "verified", "failed"))
    verificationProblem = serializers.CharField(allow_null=True)


class ConfigOutput(VerifiedOutput):
    """The account that is set up, else the live one."""

    mode = serializers.ChoiceField(MODES)
    enabled = serializers.BooleanField()
    problem = serializers.CharField(allow_null=True)
    version = serializers.IntegerField()
    environment = serializers.CharField(allow_null=True)
    type = serializers.CharField(allow_null=True)
    shortCode = serializers.CharField(allow_null=True)
    partyB = serializers.CharField(allow_null=True)
    consumerKeySetAt = serializers.CharField(allow_null=True)
    consumerSecretSetAt = serializers.CharField(allow_null=True)
    passkeySetAt = serializers.CharField(allow_null=True)
    initiatorName = serializers.CharField(allow_blank=True)
    initiatorPasswordSetAt = serializers.CharField(allow_null=True)
    testPaidAt = serializers.CharField(allow_null=True)


class FindingOutput(serializers.Serializer[Any]):
    """One part of an account: right, wrong, or null where it is not known."""

    part = serializers.CharField()
    right = serializers.BooleanField(allow_null=True)
    message = serializers.CharField()


class VerifyOutput(VerifiedOutput):
    """What a test found."""

    success = serializers.BooleanField()
    findings = FindingOutput(many=True)
