"""The API of a shop's own M-Pesa account. Secrets go in and never come out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from payments import configuration, going_live
from payments.account_entry import Entered
from payments.accounts import SECRETS
from payments.configuration import Standing
from payments.connection import Tested
from payments.models import MpesaAccount
from payments.serializers import InitiateOutput
from payments.serializers_config import (
    ConfigInput,
    ConfigOutput,
    TestPaymentInput,
    VerifyOutput,
)
from payments.views import prompt_answer
from shops.api import ShopView
from shops.rights import Right
from smartduka.lib import clock
from smartduka.lib.errors import InvalidRequest


# What the API calls the fields of the domain.
NAMES = {
    "type": "type",
    "shortcode": "shortCode",
    "party_b": "partyB",
    "consumer_key": "consumerKey",
    "consumer_secret": "consumerSecret",
    "passkey": "passkey",
    "initiator_name": "initiatorName",
    "initiator_password": "initiatorPassword",
    "confirm": "confirm",
}


class Config(ShopView):
    """A shop's own M-Pesa account."""

    @extend_schema(responses=ConfigOutput)
    def get(self, request: Request) -> Response:
        """The account that is set up, else the live one; never a secret. Owner."""
        self.access.require(Right.SETTINGS)
        return Response(state_of(configuration.standing(self.access.shop)))

    @extend_schema(request=ConfigInput, responses=ConfigOutput)
    def put(self, request: Request) -> Response:
        """Enter an account, choose what is live, or both. Owner.

        M-Pesa is asked before anything is stored: what is wrong for certain is
        refused with its fields. Secrets that are left out are kept. `mode` "platform"
        or "none" chooses that; `enabled` true makes the own account live and needs
        `confirm`, the number that customers pay to. With the `version` that was read,
        what somebody else changed meanwhile is not written over (409).
        """
        self.access.require(Right.SETTINGS)
        fields = ConfigInput(data=request.data)
        fields.is_valid(raise_exception=True)
        try:
            self._carry_out(fields.validated_data)
        except InvalidRequest as error:
            details = {NAMES.get(name, name): v for name, v in error.details.items()}
            raise InvalidRequest(error.message, details=details) from error
        return Response(state_of(configuration.standing(self.access.shop)))

    def _carry_out(self, sent: dict[str, Any]) -> None:
        seen = sent.get("version")
        if sent.get("mode") == "platform":
            going_live.choose_platform(self.access, seen=seen)
        elif sent.get("mode") == "none":
            going_live.stop(self.access, seen=seen)
        elif "type" in sent:
            configuration.enter(self.access, entered(sent), seen=seen)
        else:
            going_live.go_live(self.access, sent.get("confirm", ""), seen=seen)


class ConfigVerify(ShopView):
    """Test the connection of a shop's own account."""

    @extend_schema(request=None, responses=VerifyOutput)
    def post(self, request: Request) -> Response:
        """Try the keys at M-Pesa; no money moves. Owner."""
        account, tested = configuration.verify(self.access)
        return Response(
            {"success": tested.is_good, "findings": findings_of(tested)}
            | verified_of(account)
        )


class ConfigTestPayment(ShopView):
    """Try a shop's own account with a shilling."""

    @extend_schema(
        request=TestPaymentInput,
        responses={200: InitiateOutput, 201: InitiateOutput, 202: InitiateOutput},
    )
    def post(self, request: Request) -> Response:
        """Ask a phone for KES 1, as a sale of its own. Answers like initiate. Owner."""
        self.access.require(Right.SETTINGS)
        fields = TestPaymentInput(data=request.data)
        fields.is_valid(raise_exception=True)
        phone = fields.validated_data["phoneNumber"]
        return prompt_answer(going_live.pay_test(self.access, phone))


def entered(sent: dict[str, Any]) -> Entered:
    """Return what was sent as the domain takes it."""
    return Entered(
        type=sent["type"],
        shortcode=sent.get("shortCode", ""),
        party_b=sent.get("partyB", ""),
        secrets={name: sent.get(NAMES[name], "") for name in SECRETS},
        initiator_name=sent.get("initiatorName", ""),
    )


def state_of(standing: Standing) -> dict[str, Any]:
    """Return the account that is set up or live, without any secret."""
    own = standing.own
    return {
        "mode": standing.mode,
        "enabled": standing.is_live,
        "problem": standing.why_not or None,
        "version": standing.version,
        "environment": own.environment if own else None,
        "type": own.type if own else None,
        "shortCode": own.shortcode if own else None,
        "partyB": own.party_b if own else None,
        "consumerKeySetAt": _set_at(own, "consumer_key"),
        "consumerSecretSetAt": _set_at(own, "consumer_secret"),
        "passkeySetAt": _set_at(own, "passkey"),
        "initiatorName": own.initiator_name if own else "",
        "initiatorPasswordSetAt": _set_at(own, "initiator_password"),
        "testPaidAt": clock.iso(standing.paid_at),
    } | verified_of(own)


def verified_of(account: MpesaAccount | None) -> dict[str, Any]:
    """Return what was tested since the last change."""
    at = account.verified_at if account else None
    return {
        "verified": at is not None,
        "verifiedAt": clock.iso(at),
        "verificationStatus": (
            configuration.verification(account) if account else "pending"
        ),
        "verificationProblem": (account.test_failed or None) if account else None,
    }


def findings_of(tested: Tested) -> list[dict[str, Any]]:
    """Return what a test found, part by part."""
    return [
        {"part": one.name, "right": one.is_right, "message": one.words}
        for one in tested.findings
    ]


def _set_at(account: MpesaAccount | None, name: str) -> str | None:
    return clock.iso(configuration.set_at(account, name)) if account else None
