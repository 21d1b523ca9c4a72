"""What every endpoint of Daraja has in common: verb, token, body, and saying no."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse

from payments.simulator import answers, refusals
from payments.simulator.fields import Body, Rules
from payments.simulator.refusals import Refusal, Refused
from payments.simulator.world import world


View = Callable[..., HttpResponse]


def daraja(method: str) -> Callable[[View], View]:
    """Make a view answer this verb only, and say no in envelopes."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, **parts: int) -> HttpResponse:
            try:
                if request.method != method:
                    raise refusals.method_not_allowed(request.method or "")
                return view(request, **parts)
            except Refused as no:
                return answers.refuse(no.refusal)

        return wrapped

    return decorate


def bearer(request: HttpRequest, refusal: Refusal = refusals.ACCESS_TOKEN) -> str:
    """Return the consumer key of the app that asks.

    Raises Refused; each API has its own way to refuse a token.
    """
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused(refusal)
    if world.faults.take("expire_token"):
        world.bank.end_token(text)
    consumer_key = world.bank.app_of(text)
    if consumer_key is None:
        raise Refused(refusal)
    return consumer_key


def json_body(request: HttpRequest, first_field: str) -> Body:
    """Return the object that was sent.

    Raises Refused; another content type reads as if its first field were wrong.
    """
    if request.content_type != "application/json":
        raise refusals.invalid(first_field)
    try:
        body = json.loads(request.body)
    except ValueError:
        raise Refused(refusals.PAYLOAD) from None
    if not isinstance(body, dict):
        raise Refused(refusals.PAYLOAD)
    return body


def loose_body(request: HttpRequest) -> Body:
    """Return the object that was sent, or an empty one."""
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def rules() -> Rules:
    """Return which uneven rules are applied to this request."""
    return Rules(
        **{name: world.faults.take(name) for name in Rules.__dataclass_fields__}
    )


def interruption(switch: str) -> HttpResponse | None:
    """Return the answer that a switch puts in place of the real one, if any."""
    error = world.faults.take(switch)
    return answers.misbehave(error) if error else None
