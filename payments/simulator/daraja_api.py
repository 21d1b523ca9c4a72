"""The endpoints of OAuth and STK: a token, a push, a query.

Order of checks, as far as it is known: verb, token, content type, each field, merchant,
password, subscriber lock. Switches that answer in place of all this come right after
the verb.
"""

from __future__ import annotations

import base64
import time
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator import answers, outcomes, refusals, wire
from payments.simulator.gate import bearer, daraja, json_body, loose_body, rules
from payments.simulator.refusals import Refused
from payments.simulator.world import world


ACCEPTED = "Success. Request accepted for processing"
QUERY_ACCEPTED = "The service request has been accepted successfully"
STILL_PROCESSING = "4999"


@daraja("GET")
def token(request: HttpRequest) -> HttpResponse:
    """Give a token for Basic consumer key and secret."""
    world.journal.count("tokenRequests")
    time.sleep(world.faults.take("oauth_slow_s"))
    error = world.faults.take("oauth_error")
    if error:
        return answers.misbehave(error)
    consumer_key, consumer_secret = _basic_credentials(request)
    if request.GET.get("grant_type") != "client_credentials":
        raise Refused(refusals.GRANT_TYPE)
    if not world.bank.knows_app(consumer_key, consumer_secret):
        raise Refused(refusals.BAD_CREDENTIALS)
    if world.faults.take("oauth_new_token_kills_old"):
        world.bank.end_tokens(consumer_key)
    lifetime_s = world.faults.take("oauth_expires_in")
    issued = world.bank.issue_token(consumer_key, lifetime_s=lifetime_s)
    world.journal.count("tokens")
    told = world.faults.take("oauth_expires_in_type") == "string"
    expires_in = str(lifetime_s) if told else lifetime_s
    return JsonResponse({"access_token": issued, "expires_in": expires_in})


@daraja("POST")
def push(request: HttpRequest) -> HttpResponse:
    """Put a prompt on a phone."""
    world.journal.count("pushes")
    number = _phone_of(request)
    time.sleep(world.faults.take("push_latency_s", number))
    error = world.faults.take("push_error", number)
    if error and not world.faults.take("push_error_after_accept", number):
        return answers.misbehave(error)
    accepted = _accept(request)
    if error:
        return answers.misbehave(error)
    if accepted.answer_lost:
        return answers.hang_up()
    time.sleep(world.faults.take("push_slow_s", number))
    return JsonResponse(
        {
            "MerchantRequestID": accepted.prompt.merchant_id,
            "CheckoutRequestID": accepted.prompt.checkout_id,
            "ResponseCode": "0",
            "ResponseDescription": ACCEPTED,
            "CustomerMessage": ACCEPTED,
        }
    )


@daraja("POST")
def query(request: HttpRequest) -> HttpResponse:
    """Tell what became of a prompt: never the receipt, the amount or the phone."""
    world.journal.count("queries")
    checkout_id = str(loose_body(request).get("CheckoutRequestID"))
    known = world.bank.prompt(checkout_id)
    number = known.request.phone if known else None
    time.sleep(world.faults.take("query_slow_s", number))
    error = world.faults.take("query_error", number)
    if error:
        return answers.misbehave(error)
    prompt = _asked_for(request)
    code = world.faults.take("query_result_code", number) or prompt.result_code
    if code is None and world.faults.take("query_pending_mode", number) == "A":
        raise Refused(refusals.PROCESSING)
    code = code or STILL_PROCESSING
    told_before = code == prompt.result_code
    return JsonResponse(
        {
            "ResponseCode": "0",
            "ResponseDescription": QUERY_ACCEPTED,
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResultCode": code,
            "ResultDesc": prompt.result_desc
            if told_before
            else outcomes.describe(code),
        }
    )


def resource_not_found(
    request: HttpRequest, exception: Exception | None = None
) -> HttpResponse:
    """Answer any other path."""
    return answers.refuse(refusals.NOT_FOUND)


def unreadable(
    request: HttpRequest, exception: Exception | None = None
) -> HttpResponse:
    """Answer a request that Django could not read."""
    return answers.refuse(refusals.PAYLOAD)


def internal_error(request: HttpRequest) -> HttpResponse:
    """Answer when the simulator itself broke; the traceback is on stderr."""
    return answers.refuse(refusals.INTERNAL)


def _accept(request: HttpRequest) -> Any:
    consumer_key = bearer(request)
    body = json_body(request, "BusinessShortCode")
    order = wire.read_push(body, rules=rules(), now=world.clock.now())
    _note_stale(request, order.timestamp)
    account = world.bank.merchant(consumer_key, order.shortcode)
    wire.check_password(order, account)
    accepted = world.network.push(order, account)
    world.journal.count("prompts")
    return accepted


def _asked_for(request: HttpRequest) -> Any:
    consumer_key = bearer(request)
    body = json_body(request, "BusinessShortCode")
    question = wire.read_query(body, rules=rules(), now=world.clock.now())
    _note_stale(request, question.timestamp)
    account = world.bank.merchant(consumer_key, question.shortcode)
    wire.check_password(question, account)
    prompt = world.bank.prompt(question.checkout_id)
    if prompt is None or prompt.account.shortcode != account.shortcode:
        raise refusals.invalid("CheckoutRequestID")
    return prompt


def _basic_credentials(request: HttpRequest) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise Refused(refusals.AUTH_TYPE)
    try:
        plain = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise Refused(refusals.BAD_CREDENTIALS) from None
    consumer_key, _, consumer_secret = plain.partition(":")
    return consumer_key, consumer_secret


def _phone_of(request: HttpRequest) -> str | None:
    return str(loose_body(request).get("PhoneNumber"))


def _note_stale(request: HttpRequest, timestamp: str) -> None:
    if wire.is_stale(timestamp, now=world.clock.now()):
        request.META["simulator.note"] = (
            f"Timestamp {timestamp} is not within 15 minutes of East Africa Time"
        )
