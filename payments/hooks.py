"""Where Daraja calls back. Nothing else is exempt from CSRF.

A bad token costs no lookup, at an account's address one, and learns nothing. With a
good one the body is stored first; if that fails the answer is 503, and from then on it
is 200 whatever happens, for nobody but us would try again (law 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from payments import c2b, hook_tokens, inbox
from payments.hook_tokens import Kind
from smartduka.lib import net
from smartduka.lib.api import UNAVAILABLE, error_body


logger = logging.getLogger(__name__)

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
Store = Callable[[str, inbox.Raw], inbox.Stored | None]


@csrf_exempt
def stk(request: HttpRequest, token: str) -> HttpResponse:
    """Take an STK callback for the payment that the token names."""
    return _take(request, token, Kind.STK, inbox.store_for_payment)


@csrf_exempt
def hand(request: HttpRequest, token: str) -> HttpResponse:
    """Take M-Pesa's word of a payment by hand into the account of the token."""
    return _take(request, token, Kind.ACCOUNT, inbox.store_for_account)


@csrf_exempt
def check(request: HttpRequest, token: str) -> HttpResponse:
    """Say whether a payment by hand may be made: the money has not moved yet.

    Nothing is kept, for nothing happened; what follows comes to `hand`. Whatever
    breaks here refuses no customer.
    """
    if request.method != "POST":
        return _wrong_verb()
    try:
        nonce_hash = c2b.known_by(token)
        if nonce_hash is None:
            return _reject(request)
        refusal = c2b.refusal(nonce_hash, _raw(request).body)
    except Exception:
        logger.exception("a payment by hand could not be looked at, so it may be made")
        refusal = ""
    if refusal:
        return JsonResponse({"ResultCode": refusal, "ResultDesc": "Rejected"})
    return JsonResponse({"ResultCode": "0", "ResultDesc": "Accepted"})


@csrf_exempt
def result(request: HttpRequest, token: str) -> HttpResponse:
    """Take the result of a request that we made about an account."""
    return _take(request, token, Kind.REQUEST, _store_result)


@csrf_exempt
def over(request: HttpRequest, token: str) -> HttpResponse:
    """Take M-Pesa's word that it gave up on a request of ours."""
    return _take(request, token, Kind.REQUEST, _store_timeout)


@csrf_exempt
def untokened(request: HttpRequest) -> HttpResponse:
    """Take a callback at the path without a token.

    It proves nothing: M-Pesa is asked.
    """
    if request.method != "POST":
        return _wrong_verb()
    raw = _raw(request)
    try:
        inbox.store_untokened(raw)
    except (DatabaseError, InterfaceError):
        logger.exception("a callback without token could not be stored")
        return _unavailable()
    try:
        inbox.ask_about_untokened(raw.body)
    except Exception:
        logger.exception("a callback without token could not be looked at")
    return JsonResponse(ACCEPTED)


@csrf_exempt
def pull(request: HttpRequest) -> HttpResponse:
    """Keep what comes to the address that was registered for M-Pesa's list.

    Nobody has published what that is, so nothing of it is believed and nothing follows
    from it: the list is read by the clock. It has no token, for it is registered once
    for ever and would protect nothing.
    """
    if request.method != "POST":
        return _wrong_verb()
    try:
        inbox.store_about_list(_raw(request))
    except (DatabaseError, InterfaceError):
        logger.exception("a message about the list could not be stored")
        return _unavailable()
    return JsonResponse(ACCEPTED)


def _take(request: HttpRequest, token: str, kind: Kind, store: Store) -> HttpResponse:
    """Verify, store, process, answer: the same for every hook."""
    if request.method != "POST":
        return _wrong_verb()
    try:
        nonce_hash = _known_by(token, kind)
        if nonce_hash is None:
            return _reject(request)
        raw = _raw(request)
        stored = store(nonce_hash, raw)
    except (DatabaseError, InterfaceError):
        logger.exception("a callback could not be stored")
        return _unavailable()
    if stored is not None and stored.is_new:
        inbox.process_now(stored.notice_id)
    elif stored is not None:
        inbox.reconsider(stored.notice_id, raw)
    return JsonResponse(ACCEPTED)


def _known_by(token: str, kind: Kind) -> str | None:
    """What a good token's row is found by; only an account's may outlive its key."""
    if kind is Kind.ACCOUNT:
        return c2b.known_by(token)
    return hook_tokens.verify(token, kind)


def _store_result(nonce_hash: str, raw: inbox.Raw) -> inbox.Stored | None:
    return inbox.store_for_request(nonce_hash, raw, is_timeout=False)


def _store_timeout(nonce_hash: str, raw: inbox.Raw) -> inbox.Stored | None:
    return inbox.store_for_request(nonce_hash, raw, is_timeout=True)


def _reject(request: HttpRequest) -> HttpResponse:
    try:
        inbox.count_rejected(_raw(request))
    except (DatabaseError, InterfaceError):
        logger.warning("a rejected callback could not be counted")
    body = error_body("MPESA_007", "This address is not valid.")
    return JsonResponse(body, status=403)


def _raw(request: HttpRequest) -> inbox.Raw:
    """Read at most the limit; a body that breaks off is what came of it."""
    limit = settings.NOTICE_BODY_LIMIT
    try:
        body = request.read(limit + 1)
    except (UnreadablePostError, RawPostDataException, OSError):
        body = b""
    address = net.client_address(request)
    return inbox.Raw(
        body=body[:limit],
        is_cut=len(body) > limit,
        address=address,
        address_is_listed=_is_listed(address),
    )


def _is_listed(address: str) -> bool:
    if settings.MPESA_CALLBACK_IP_MODE == "off":
        return True
    listed = net.is_listed(address, settings.MPESA_CALLBACK_IPS)
    if not listed:
        logger.warning("a callback came from the unlisted address %s", address)
    return listed


def _wrong_verb() -> HttpResponse:
    body = error_body("INVALID_REQUEST", "This address takes POST only.")
    return JsonResponse(body, status=405, headers={"Allow": "POST"})


def _unavailable() -> HttpResponse:
    return JsonResponse(error_body("UNAVAILABLE", UNAVAILABLE), status=503)
