"""The control API under /__sim__/, for tests and tools; JSON in, JSON out.

====================================  ==================================================
``GET  prompts[?phone=&status=]``     all prompts, newest first
``GET  prompts/<CheckoutRequestID>``  one prompt with its callbacks
``POST prompts/<id>/<outcome>``       answer it: pay, cancel, wrong-pin, no-balance,
                                      unreachable, ignore (stays open), timeout
``POST prompts/<id>/callback``        send its callback once more, bent by the body:
                                      ``callback_…`` switches without their prefix;
                                      waits for the answer
``GET  faults`` · ``POST faults``     the switches, see ``faults``
``POST reset``                        forget what happened, take all switches back
``GET  ledger``                       money that moved
``GET  stats``                        how many of what since the reset
``GET  journal[?after=n]``            what /log shows
``GET  accounts`` · ``POST accounts`` merchants; POST adds or replaces one
``GET  phones/<msisdn>`` · ``POST``   a phone; POST ``{"balance": n}``
``GET  clock`` · ``POST clock``       the time; POST ``{"advance_s": n}`` turns it on
====================================  ==================================================

Wrong input is answered 400 ``{"error": sentence}``, an unknown id 404, a prompt that
was answered before 409.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator import callbacks, msisdn, outcomes, presentation, switches
from payments.simulator.accounts import TRANSACTION_TYPES, Account
from payments.simulator.bank import AlreadyFinished
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.records import Prompt
from payments.simulator.switch import BadSwitch
from payments.simulator.world import world


Json = dict[str, Any]


class Unusable(Exception):
    """The call cannot be done; carries status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def control(*methods: str) -> Callable[..., Callable[..., HttpResponse]]:
    """Make a view of JSON out of a function that returns a dict."""

    def decorate(act: Callable[..., Json]) -> Callable[..., HttpResponse]:
        @wraps(act)
        def wrapped(request: HttpRequest, **parts: str) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise Unusable(405, f"{request.method} is not among {methods}")
                return JsonResponse(act(request, **parts))
            except Unusable as trouble:
                return JsonResponse({"error": str(trouble)}, status=trouble.status)
            except BadSwitch as trouble:
                return JsonResponse({"error": str(trouble)}, status=400)
            except AlreadyFinished:
                return JsonResponse({"error": "it was answered before"}, status=409)

        return wrapped

    return decorate


@control("GET")
def prompts(request: HttpRequest) -> Json:
    found = world.bank.prompts()
    if "phone" in request.GET:
        number = _number(request.GET["phone"])
        found = [prompt for prompt in found if prompt.request.phone == number]
    if "status" in request.GET:
        found = [prompt for prompt in found if prompt.status == request.GET["status"]]
    return {"prompts": [presentation.prompt(prompt) for prompt in found]}


@control("GET")
def prompt(request: HttpRequest, checkout_id: str) -> Json:
    return presentation.prompt(_prompt(checkout_id))


@control("POST")
def answer(request: HttpRequest, checkout_id: str, word: str) -> Json:
    found = _prompt(checkout_id)
    outcome = outcomes.outcome_named(word)
    if outcome is None:
        words = ", ".join(known.value for known in outcomes.Outcome)
        raise Unusable(400, f"{word} is no outcome; known: {words}")
    world.network.answer(found, outcome)
    return presentation.prompt(found)


@control("POST")
def callback(request: HttpRequest, checkout_id: str) -> Json:
    found = _prompt(checkout_id)
    bends = _body(request)
    for name, value in bends.items():
        switches.check(f"{switches.CALLBACK_PREFIX}{name}", value)
        if name not in callbacks.SHAPE:
            raise Unusable(400, f"{name} does not bend a body")
    if found.is_open and "result_code" not in bends:
        raise Unusable(409, "it is open; say which result_code to send")
    return world.delivery.send_bent(found, bends)


@control("GET", "POST")
def faults(request: HttpRequest) -> Json:
    if request.method == "POST":
        wanted = _body(request)
        if wanted.pop("clear", False):
            world.faults.clear()
        if wanted.pop("expire_tokens", False):
            world.bank.end_tokens()
        world.faults.merge(wanted)
    active = world.faults.active()
    return {
        "faults": active,
        "switches": {
            switch.name: {
                "value": active.get(switch.name, switch.default),
                "default": switch.default,
                "values": switch.values,
                "about": switch.about,
            }
            for switch in switches.SWITCHES
        },
    }


@control("POST")
def reset(request: HttpRequest) -> Json:
    world.reset()
    return {"reset": True}


@control("GET")
def ledger(request: HttpRequest) -> Json:
    return {"ledger": [presentation.entry(entry) for entry in world.bank.ledger()]}


@control("GET")
def stats(request: HttpRequest) -> Json:
    names = ("tokenRequests", "tokens", "pushes", "prompts", "queries", "callbacks")
    zeros = dict.fromkeys((*names, "callbacksAccepted"), 0)
    return zeros | world.journal.counts()


@control("GET")
def journal(request: HttpRequest) -> Json:
    newest = world.journal.newest(after=_whole(request.GET.get("after", "0")))
    return {"journal": [asdict(exchange) for exchange in newest]}


@control("GET", "POST")
def accounts(request: HttpRequest) -> Json:
    if request.method == "POST":
        world.bank.add_account(_account(_body(request)))
    return {
        "accounts": [presentation.account(known) for known in world.bank.accounts()]
    }


@control("GET", "POST")
def phone(request: HttpRequest, number: str) -> Json:
    number = _number(number)
    if request.method == "POST":
        balance = _body(request).get("balance")
        if not isinstance(balance, int) or isinstance(balance, bool) or balance < 0:
            raise Unusable(400, "balance is a whole number of shillings")
        world.bank.set_balance(number, balance)
    return presentation.phone(number)


@control("GET", "POST")
def clock(request: HttpRequest) -> Json:
    if request.method == "POST":
        seconds = _body(request).get("advance_s")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 10**8:
            raise Unusable(400, "advance_s is a number of seconds")
        world.clock.advance(seconds)
        world.agenda.look_again()
    now = world.clock.now()
    return {"now": now.isoformat(), "eat": now.astimezone(EAST_AFRICA).isoformat()}


def _body(request: HttpRequest) -> Json:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise Unusable(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Unusable(400, "the body is no JSON object")
    return body


def _prompt(checkout_id: str) -> Prompt:
    found = world.bank.prompt(checkout_id)
    if found is None:
        raise Unusable(404, f"there is no prompt {checkout_id}")
    return found


def _number(text: str) -> str:
    number = msisdn.normalize(text)
    if number is None:
        raise Unusable(400, f"{text} is no Kenyan phone number")
    return number


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise Unusable(400, f"{text} is no number")
    return int(text)


def _account(body: Json) -> Account:
    wanted = {presentation.camel(part.name): part.name for part in fields(Account)}
    wanted["type"] = wanted.pop("kind")
    try:
        account = Account(**{wanted[key]: str(value) for key, value in body.items()})
    except (KeyError, TypeError):
        raise Unusable(400, f"an account has {', '.join(wanted)}") from None
    if account.kind not in TRANSACTION_TYPES:
        raise Unusable(400, f"type is one of {', '.join(TRANSACTION_TYPES)}")
    return account
