"""The endpoints for API users: transaction status, reversal, account balance.

All are answered at once and done later; the Result goes to the ResultURL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator import answers, msisdn, refusals, wire_initiator
from payments.simulator.accounts import Account
from payments.simulator.gate import bearer, daraja, json_body, rules
from payments.simulator.refusals import Refusal
from payments.simulator.wire_initiator import Order
from payments.simulator.world import world


ACCEPTED = "Accept the service request successfully."

Reader = Callable[..., Order]


@daraja("POST")
def status(request: HttpRequest) -> HttpResponse:
    """Tell what became of a receipt."""
    return _queue(request, wire_initiator.read_status, refusals.C2B_TOKEN, "PartyA")


@daraja("POST")
def reversal(request: HttpRequest) -> HttpResponse:
    """Give a customer the money back."""
    return _queue(
        request, wire_initiator.read_reversal, refusals.ACCESS_TOKEN, "ReceiverParty"
    )


@daraja("POST")
def balance(request: HttpRequest) -> HttpResponse:
    """Tell what an organisation has."""
    return _queue(
        request, wire_initiator.read_balance, refusals.BALANCE_TOKEN, "PartyA"
    )


@daraja("GET")
def certificate(request: HttpRequest) -> HttpResponse:
    """Give the certificate whose key seals a SecurityCredential."""
    return HttpResponse(
        world.initiators.certificate, content_type="application/x-x509-ca-cert"
    )


def _queue(
    request: HttpRequest, read: Reader, no_token: Refusal, party_field: str
) -> HttpResponse:
    world.journal.count("orders")
    error = world.faults.take("initiator_error")
    if error and not world.faults.take("initiator_error_after_accept"):
        return answers.misbehave(error)
    consumer_key = bearer(request, no_token)
    order = read(json_body(request, "Initiator"), rules=rules())
    accounts = _accounts(consumer_key, order.party)
    if not accounts:
        raise refusals.invalid(party_field)
    accepted = world.operations.accept(order, accounts)
    if error:
        return answers.misbehave(error)
    time.sleep(world.faults.take("initiator_slow_s"))
    return JsonResponse(
        {
            "OriginatorConversationID": accepted.originator_id,
            "ConversationID": accepted.conversation_id,
            "ResponseCode": "0",
            "ResponseDescription": ACCEPTED,
        }
    )


def _accounts(consumer_key: str, party: str) -> Sequence[Account]:
    if msisdn.is_wire_form(party):
        return world.bank.organisations(consumer_key)
    account = world.bank.organisation(consumer_key, party)
    return [] if account is None else [account]
