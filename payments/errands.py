"""Requests to M-Pesa about our own account, whose result comes later.

Three phases, as with a prompt (law 1): the request is committed with the hash of its
token, M-Pesa is called with nothing held, what it said is committed. A lost answer is
unknown, and nothing is sent a second time by a machine.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from payments import accounts, gateways, hook_tokens
from payments.enums import RequestKind, RequestState
from payments.gateways.base import Credentials, GatewayError
from payments.gateways.organisation import (
    Acknowledged,
    Initiator,
    OrganisationGateway,
    ResultUrls,
)
from payments.models import MpesaAccount, OrganisationRequest
from smartduka.lib import certificates, clock
from smartduka.lib.redaction import redacted
from smartduka.lib.sealing import Unsealable
from smartduka.lib.transactions import give_back_connection, require_no_transaction


logger = logging.getLogger(__name__)

RESULT_PATH = "/hooks/result/"
TIMEOUT_PATH = "/hooks/over/"
# How long a database may be away when M-Pesa's answer is to be kept.
KEEP_PAUSES_S = (0.2, 1.0, 3.0)

T = TypeVar("T")
Verb = Callable[[OrganisationGateway, Credentials, Initiator, ResultUrls], Acknowledged]


class NoInitiator(accounts.NotConfigured):
    """The account has no API user that may ask M-Pesa about it."""

    message = (
        "This M-Pesa account has no initiator: M-Pesa cannot be asked, and cannot send"
        " money back. Tell the owner."
    )


@dataclass(frozen=True, slots=True)
class Errand:
    """A request that is committed, and the secret its result will carry."""

    request: OrganisationRequest
    token: str = field(repr=False)


def can_ask(account: MpesaAccount) -> bool:
    """Whether the account has an initiator, in this installation's environment."""
    try:
        _require_initiator(account)
    except NoInitiator:
        return False
    return True


def initiator_of(account: MpesaAccount) -> Initiator:
    """Return the account's API user with the certificate that hides its password.

    Raises NoInitiator, and GatewayError where the simulator's certificate, which is
    new whenever it starts, could not be fetched. Call outside any transaction.
    """
    name, password = _require_initiator(account)
    if settings.MPESA_CERTIFICATE:
        try:
            certificate = certificates.read(settings.MPESA_CERTIFICATE)
        except certificates.UnusableCertificate as error:
            raise NoInitiator from error
        return Initiator(name, password, certificate)
    require_no_transaction()
    # A gateway that publishes none, in drills, needs none.
    fetch = getattr(gateways.organisation(), "certificate", None)
    limit_s = settings.PUSH_READ_TIMEOUT_S
    return Initiator(name, password, fetch(limit_s=limit_s) if fetch else b"")


def begin(
    kind: RequestKind,
    account: MpesaAccount,
    receipt: str,
    *,
    asked_by: Any,
    about: OrganisationRequest | None = None,
) -> Errand:
    """Phase 1: store the intent. Call inside the transaction that wants it."""
    assert connection.in_atomic_block, "call inside a transaction"
    token = hook_tokens.issue(hook_tokens.Kind.REQUEST)
    request = OrganisationRequest.objects.create(
        kind=kind,
        account=account,
        receipt=receipt,
        about=about,
        token_hash=token.nonce_hash,
        asked_by=asked_by,
        asked_at=clock.now(),
    )
    return Errand(request, token.text)


def call(errand: Errand, verb: Verb) -> Acknowledged | GatewayError:
    """Phase 2: ask M-Pesa, with no transaction, lock or connection held.

    Never raises: whatever breaks after the call was begun is a lost answer.
    """
    account = errand.request.account
    urls = ResultUrls(
        result=settings.MPESA_CALLBACK_URL + RESULT_PATH + errand.token,
        timeout=settings.MPESA_CALLBACK_URL + TIMEOUT_PATH + errand.token,
    )
    try:
        credentials = accounts.credentials(account)
        give_back_connection()
        initiator = initiator_of(account)
    except GatewayError as error:
        # Without the certificate nothing was asked.
        return GatewayError(str(error), certain=True, reason=error.reason)
    except accounts.NotConfigured as error:
        return GatewayError(error.message, certain=True)
    require_no_transaction()
    try:
        return verb(gateways.organisation(), credentials, initiator, urls)
    except GatewayError as error:
        return error
    except Exception as error:
        logger.exception("a request to M-Pesa broke off")
        return GatewayError(f"broke off: {type(error).__name__}", certain=False)


def record(request: OrganisationRequest, answer: Acknowledged | GatewayError) -> None:
    """Write what M-Pesa said to a request. Call inside a transaction with its lock.

    Ids are written once. A result that was faster stays: `answered` is the end.
    """
    assert connection.in_atomic_block, "call inside a transaction"
    if isinstance(answer, Acknowledged):
        learn_ids(request, answer.conversation_id, answer.originator_conversation_id)
        state, told = RequestState.SENT, ""
    else:
        state = RequestState.REFUSED if answer.certain else RequestState.UNKNOWN
        told = redacted(str(answer))[:255]
    if request.state == RequestState.MADE:
        request.state = state
        request.result_desc = told
        request.save(update_fields=["state", "result_desc"])


def learn_ids(request: OrganisationRequest, conversation: str, originator: str) -> None:
    """Write the two ids of a request, if they are not known. Needs its lock."""
    if request.conversation_id:
        if request.conversation_id != conversation:
            logger.error("request %s was given two ids", request.pk)
        return
    request.conversation_id = conversation
    request.originator_conversation_id = originator
    request.save(update_fields=["conversation_id", "originator_conversation_id"])


def locked(request_id: uuid.UUID) -> OrganisationRequest:
    """Return a request under its lock. Call inside a transaction."""
    assert connection.in_atomic_block, "call inside a transaction"
    return (
        OrganisationRequest.objects.select_for_update(no_key=True, of=("self",))
        .select_related("account", "about")
        .get(pk=request_id)
    )


def kept(keep: Callable[[], T]) -> T:
    """Phase 3: commit what M-Pesa said, also through a short outage of the database."""
    for pause_s in KEEP_PAUSES_S:
        try:
            return keep()
        except (OperationalError, InterfaceError) as error:
            logger.warning("M-Pesa's answer is kept later: %s", error)
            give_back_connection()
            time.sleep(pause_s)
    return keep()


def _require_initiator(account: MpesaAccount) -> tuple[str, str]:
    """The name and password of the API user. Raises NoInitiator."""
    try:
        name, password = account.initiator_name, account.initiator_password
    except Unsealable as error:
        raise NoInitiator from error
    has_certificate = settings.MPESA_CERTIFICATE or settings.MPESA_ENV == "simulator"
    is_ours = account.environment == settings.MPESA_ENV
    if not (name and password and has_certificate and is_ours):
        raise NoInitiator
    return name, password
