"""Daraja for an organisation: C2B, Pull, status, reversal, balance, QR.

Shares session, breaker and tokens with the client of prompts. For a till the
shortcode is the store number, whose API user and app these are.
Source: portal pages CustomerToBusiness, PullTransaction, TransactionStatus, Reversal,
AccountBalance and DynamicQRCode, checked 2026-11-20.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from payments.enums import FailureReason
from payments.gateways import answers, organisation_answers
from payments.gateways.base import Credentials, GatewayError
from payments.gateways.daraja import ANSWER_LIMIT, Daraja
from payments.gateways.organisation import (
    Acknowledged,
    BalanceRequest,
    C2bUrls,
    Initiator,
    OrganisationGateway,
    PullQuery,
    PullRegistration,
    QrCode,
    QrRequest,
    Registered,
    ResultUrls,
    ReversalRequest,
    StatusRequest,
)
from payments.gateways.security_credential import (
    UnusableCertificate,
    security_credential,
)
from payments.notices_pull import PullPage
from smartduka.lib import clock


C2B_REGISTER_PATH = "/mpesa/c2b/v2/registerurl"
PULL_REGISTER_PATH = "/pulltransactions/v1/register"
PULL_QUERY_PATH = "/pulltransactions/v1/query"
STATUS_PATH = "/mpesa/transactionstatus/v1/query"
REVERSAL_PATH = "/mpesa/reversal/v1/request"
BALANCE_PATH = "/mpesa/accountbalance/v1/query"
QR_PATH = "/mpesa/qrcode/v1/generate"
CERTIFICATE_PATH = "/docs-assets/SandBoxCertificate.cer"
CERTIFICATE_KEPT_S = 5.0

# Identifier types of M-Pesa: an organisation, and the receiver of a reversal.
ORGANISATION = "4"
REVERSAL_RECEIVER = "11"
LARGEST_PAGE = 8 * 1024 * 1024
LARGEST_PICTURE = 1024 * 1024
# A page holds hundreds of rows at least; nobody sells a hundred thousand times in 48 h.
MOST_PAGES = 200
REMARKS_LENGTH = 100


@dataclass(frozen=True, slots=True)
class _Kept:
    """A certificate, where it is from, and until when it is taken for current."""

    origin: str
    pem: bytes
    until_s: float


class DarajaOrganisation:
    """The verbs of an organisation, on the connection of a Daraja client."""

    def __init__(self, daraja: Daraja) -> None:
        self._daraja = daraja
        self._certificate = _Kept("", b"", until_s=0)

    def register_c2b(
        self, account: Credentials, urls: C2bUrls, *, limit_s: float
    ) -> Registered:
        """Register where payments made by hand are told; see the protocol.

        Production registers once: `already` may mean other URLs than these.
        """
        body = {
            "ShortCode": account.shortcode,
            "ResponseType": "Completed" if urls.completes_unasked else "Cancelled",
            "ConfirmationURL": urls.confirmation,
            "ValidationURL": urls.validation,
        }
        return organisation_answers.registered(
            *self._asked(account, C2B_REGISTER_PATH, body, limit_s)
        )

    def register_pull(
        self, account: Credentials, request: PullRegistration, *, limit_s: float
    ) -> Registered:
        """Register for pulling; see the protocol."""
        body = {
            "ShortCode": account.shortcode,
            "RequestType": "Pull",
            "NominatedNumber": request.nominated_number,
            "CallBackURL": request.callback_url,
        }
        return organisation_answers.registered_pull(
            *self._asked(account, PULL_REGISTER_PATH, body, limit_s)
        )

    def pull(
        self, account: Credentials, query: PullQuery, *, limit_s: float
    ) -> PullPage:
        """Return one page; see the protocol.

        Times are sent as East Africa Time, as everywhere in Daraja; which zone M-Pesa
        means is not documented, so ask for three hours more on either side.
        """
        body = {
            "ShortCode": account.shortcode,
            "StartDate": _stamp(query.start),
            "EndDate": _stamp(query.end),
            "OffSetValue": str(query.offset),
        }
        status, text = self._daraja.post(
            account, PULL_QUERY_PATH, body, limit_s=limit_s, most=LARGEST_PAGE
        )
        return organisation_answers.pulled(status, text)

    def transaction_status(
        self,
        account: Credentials,
        initiator: Initiator,
        request: StatusRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask about a transaction; see the protocol."""
        about = (
            {"TransactionID": request.receipt}
            if request.receipt
            else {"OriginalConversationID": request.original_conversation_id}
        )
        body = about | {
            "CommandID": "TransactionStatusQuery",
            "PartyA": account.shortcode,
            "IdentifierType": ORGANISATION,
            "Remarks": request.remarks[:REMARKS_LENGTH],
            "Occasion": request.remarks[:REMARKS_LENGTH],
        }
        return self._begun(account, initiator, STATUS_PATH, body, request.urls, limit_s)

    def reverse(
        self,
        account: Credentials,
        initiator: Initiator,
        request: ReversalRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask to send a payment back; see the protocol.

        The misspelt key is M-Pesa's; the right spelling is refused.
        """
        body = {
            "CommandID": "TransactionReversal",
            "TransactionID": request.receipt,
            "Amount": request.amount,
            "ReceiverParty": account.shortcode,
            "RecieverIdentifierType": REVERSAL_RECEIVER,
            "Remarks": request.remarks[:REMARKS_LENGTH],
        }
        return self._begun(
            account, initiator, REVERSAL_PATH, body, request.urls, limit_s
        )

    def account_balance(
        self,
        account: Credentials,
        initiator: Initiator,
        request: BalanceRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Ask for the balances; see the protocol."""
        body = {
            "CommandID": "AccountBalance",
            "PartyA": account.shortcode,
            "IdentifierType": ORGANISATION,
            "Remarks": request.remarks[:REMARKS_LENGTH],
        }
        return self._begun(
            account, initiator, BALANCE_PATH, body, request.urls, limit_s
        )

    def qr(self, account: Credentials, request: QrRequest, *, limit_s: float) -> QrCode:
        """Return a code to be scanned; see the protocol."""
        body = {
            "MerchantName": request.merchant_name,
            "RefNo": request.reference,
            "Amount": request.amount,
            "TrxCode": "BG" if account.is_till else "PB",
            "CPI": account.party_b,
            "Size": str(request.size),
        }
        return organisation_answers.pictured(
            *self._asked(account, QR_PATH, body, limit_s, most=LARGEST_PICTURE)
        )

    def certificate(self, *, limit_s: float) -> bytes:
        """Return the certificate that the simulator publishes, as PEM.

        Its key is new whenever it starts, so it is kept for CERTIFICATE_KEPT_S only.
        Safaricom's are downloaded once and read by
        `security_credential.read_certificate`. Raises GatewayError (certain: without
        it nothing can be asked).
        """
        kept = self._certificate
        if kept.origin == settings.MPESA_BASE_URL and time.monotonic() < kept.until_s:
            return kept.pem
        try:
            status, text = self._daraja.fetch(CERTIFICATE_PATH, limit_s=limit_s)
        except GatewayError as error:
            raise _no_certificate(str(error)) from error
        if status != 200 or not text.startswith("-----BEGIN CERTIFICATE-----"):
            raise _no_certificate(f"HTTP {status}")
        until_s = time.monotonic() + CERTIFICATE_KEPT_S
        self._certificate = _Kept(settings.MPESA_BASE_URL, text.encode(), until_s)
        return self._certificate.pem

    def _begun(
        self,
        account: Credentials,
        initiator: Initiator,
        path: str,
        body: dict[str, Any],
        urls: ResultUrls,
        limit_s: float,
    ) -> Acknowledged:
        """Send a request whose result comes later. Raises GatewayError."""
        try:
            credential = security_credential(initiator.password, initiator.certificate)
        except UnusableCertificate as error:
            raise GatewayError(
                f"no security credential: {error}",
                certain=True,
                reason=FailureReason.SHOP_ACCOUNT,
                may_retry=False,
            ) from error
        signed = body | {
            "Initiator": initiator.name,
            "SecurityCredential": credential,
            "ResultURL": urls.result,
            "QueueTimeOutURL": urls.timeout,
        }
        return organisation_answers.acknowledged(
            *self._asked(account, path, signed, limit_s)
        )

    def _asked(
        self,
        account: Credentials,
        path: str,
        body: dict[str, Any],
        limit_s: float,
        most: int = ANSWER_LIMIT,
    ) -> tuple[int, dict[str, Any]]:
        status, text = self._daraja.post(
            account, path, body, limit_s=limit_s, most=most
        )
        return status, answers.json_object(text)


def pull_pages(
    gateway: OrganisationGateway,
    account: Credentials,
    start: datetime,
    end: datetime,
    *,
    limit_s: float,
) -> Iterator[PullPage]:
    """Yield the pages of payments between two moments, until one is empty.

    `limit_s` is for each page. Ends too when a page brings no receipt that an
    earlier one had not: a gateway that ignores the offset would never end. Raises
    GatewayError; pages that were yielded before stay true. Also raises it when there
    are more than MOST_PAGES: then not everything was seen.
    """
    seen: set[str] = set()
    offset = 0
    for _ in range(MOST_PAGES):
        page = gateway.pull(account, PullQuery(start, end, offset), limit_s=limit_s)
        receipts = {row.receipt for row in page.rows}
        if not page.length or (receipts and receipts <= seen):
            return
        yield page
        seen |= receipts
        offset += page.length
    raise GatewayError("the pull has too many pages", certain=False)


def _no_certificate(why: str) -> GatewayError:
    return GatewayError(
        f"no certificate: {why}",
        certain=True,
        reason=FailureReason.MPESA_UNREACHABLE,
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(clock.NAIROBI).strftime("%Y-%m-%d %H:%M:%S")
