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
``GET  ledger``                       money that moved, newest first
``POST pay``                          a customer pays by hand: ``{"phone":, "amount":,
                                      "shortcode": or "till":, "reference":}``
``POST payments/<receipt>/confirmation``
                                      send its C2B confirmation once more, bent by the
                                      body: ``c2b_…`` switches without their prefix
``POST sweep``                        money to the bank: ``{"shortcode":, "amount":}``,
                                      all without an amount
``GET  statement``                    of an organisation: ``?shortcode=&from=&to=
                                      &format=csv|xlsx``, times in East Africa Time
``GET  registrations/<number>``       its C2B addresses; ``DELETE`` forgets them
``POST initiators/<number>/unlock``   the API user may try its password again
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

from dataclasses import asdict, fields

from django.http import HttpRequest

from payments.simulator import callbacks, controls, outcomes, presentation, switches
from payments.simulator.accounts import TRANSACTION_TYPES, Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.controls import (
    Json,
    Unusable,
    body,
    control,
    is_shillings,
    whole,
)
from payments.simulator.records import Prompt
from payments.simulator.switches import CALLBACK_PREFIX
from payments.simulator.world import world


@control("GET")
def prompts(request: HttpRequest) -> Json:
    found = world.bank.prompts()
    if "phone" in request.GET:
        number = controls.number(request.GET["phone"])
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
    bends = controls.bends(body(request), CALLBACK_PREFIX, callbacks.SHAPE)
    if found.is_open and "result_code" not in bends:
        raise Unusable(409, "it is open; say which result_code to send")
    return world.delivery.send_bent(found, bends)


@control("GET", "POST")
def faults(request: HttpRequest) -> Json:
    if request.method == "POST":
        wanted = body(request)
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
def stats(request: HttpRequest) -> Json:
    names = ("tokenRequests", "tokens", "pushes", "prompts", "queries", "callbacks")
    zeros = dict.fromkeys((*names, "callbacksAccepted"), 0)
    return zeros | world.journal.counts()


@control("GET")
def journal(request: HttpRequest) -> Json:
    newest = world.journal.newest(after=whole(request.GET.get("after", "0")))
    return {"journal": [asdict(exchange) for exchange in newest]}


@control("GET", "POST")
def accounts(request: HttpRequest) -> Json:
    if request.method == "POST":
        world.bank.add_account(_account(body(request)))
    return {
        "accounts": [presentation.account(known) for known in world.bank.accounts()]
    }


@control("GET", "POST")
def phone(request: HttpRequest, text: str) -> Json:
    number = controls.number(text)
    if request.method == "POST":
        balance = body(request).get("balance")
        if not is_shillings(balance, least=0):
            raise Unusable(400, "balance is a whole number of shillings")
        world.book.set_balance(number, balance)
    return presentation.phone(number)


@control("GET", "POST")
def clock(request: HttpRequest) -> Json:
    if request.method == "POST":
        seconds = body(request).get("advance_s")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 10**8:
            raise Unusable(400, "advance_s is a number of seconds")
        world.clock.advance(seconds)
        world.agenda.look_again()
    now = world.clock.now()
    return {"now": now.isoformat(), "eat": now.astimezone(EAST_AFRICA).isoformat()}


def _prompt(checkout_id: str) -> Prompt:
    found = world.bank.prompt(checkout_id)
    if found is None:
        raise Unusable(404, f"there is no prompt {checkout_id}")
    return found


def _account(told: Json) -> Account:
    wanted = {presentation.camel(part.name): part.name for part in fields(Account)}
    wanted["type"] = wanted.pop("kind")
    try:
        account = Account(**{wanted[key]: str(value) for key, value in told.items()})
    except (KeyError, TypeError):
        raise Unusable(400, f"an account has {', '.join(wanted)}") from None
    if account.kind not in TRANSACTION_TYPES:
        raise Unusable(400, f"type is one of {', '.join(TRANSACTION_TYPES)}")
    return account
