"""The pages for people: where to begin, the virtual phone, what went in and out."""

from __future__ import annotations

import json
import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from payments.simulator import money_api, msisdn, presentation
from payments.simulator.bank import AlreadyFinished
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.controls import Unusable
from payments.simulator.journal import Exchange
from payments.simulator.outcomes import MAGIC, Outcome
from payments.simulator.world import world


WRONG_PIN = "0000"
_PIN = re.compile(r"\d{4}", re.ASCII)
_KEYS = {
    "cancel": Outcome.CANCEL,
    "no-balance": Outcome.NO_BALANCE,
    "ignore": Outcome.IGNORE,
    "phone-off": Outcome.UNREACHABLE,
}
"""The buttons of the virtual phone; Send is judged by the PIN."""
TOP_UP = 50_000


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    context = {
        "accounts": world.bank.accounts(),
        "phones": [_seen(phone.number) for phone in world.book.phones()],
        "magic": [(ending, habit.words) for ending, habit in MAGIC.items()],
        "faults": world.faults.active(),
    }
    return render(request, "simulator/index.html", context)


@require_GET
def open_phone(request: HttpRequest) -> HttpResponse:
    """Go to the phone that was typed on the first page."""
    number = msisdn.normalize(request.GET.get("number", ""))
    if number is None:
        return _no_number(request, request.GET.get("number", ""))
    return HttpResponseRedirect(reverse("phone", kwargs={"text": number}))


@require_GET
def phone(request: HttpRequest, text: str) -> HttpResponse:
    """Show a phone, by any usual spelling of its number."""
    number = msisdn.normalize(text)
    if number is None:
        return _no_number(request, text)
    context = presentation.phone(number) | {
        "habit": MAGIC.get(number[-2:]),
        "accounts": world.bank.accounts(),
    }
    return render(request, "simulator/phone.html", context)


@require_GET
def phone_state(request: HttpRequest, text: str) -> HttpResponse:
    number = msisdn.normalize(text)
    if number is None:
        return JsonResponse({"error": "no Kenyan phone number"}, status=404)
    return JsonResponse(presentation.phone(number))


@require_POST
def press(request: HttpRequest, text: str) -> HttpResponse:
    """Press a key of the phone: send with a PIN, or one of the others.

    The body names the prompt that was on the screen, so that a late press never
    answers the next one.
    """
    number = msisdn.normalize(text)
    body = _body(request)
    prompt = world.bank.prompt(str(body.get("checkoutRequestId")))
    if prompt is None or prompt.request.phone != number:
        return JsonResponse({"error": "this prompt is not on this phone"}, status=404)
    outcome = _outcome(str(body.get("key")), str(body.get("pin", "")))
    if outcome is None:
        return JsonResponse({"error": "type the four digits of the PIN"}, status=400)
    try:
        world.network.answer(prompt, outcome)
    except AlreadyFinished:
        return JsonResponse({"error": "the prompt has gone"}, status=409)
    return JsonResponse(presentation.phone(prompt.request.phone))


@require_POST
def pay(request: HttpRequest, text: str) -> HttpResponse:
    """Pay by hand from the menu of the phone: Lipa na M-PESA."""
    number = msisdn.normalize(text)
    if number is None:
        return JsonResponse({"error": "no Kenyan phone number"}, status=404)
    order = _body(request)
    pin = str(order.get("pin", ""))
    if _PIN.fullmatch(pin) is None:
        return JsonResponse({"error": "type the four digits of the PIN"}, status=400)
    if pin == WRONG_PIN:
        return JsonResponse({"error": "wrong PIN"}, status=409)
    try:
        money_api.pay_by_hand(
            phone=number,
            number=str(order.get("number")),
            kind=str(order.get("type")),
            amount=order.get("amount"),
            reference=str(order.get("reference") or ""),
        )
    except Unusable as no:
        return JsonResponse({"error": str(no)}, status=no.status)
    return JsonResponse(presentation.phone(number))


@require_POST
def top_up(request: HttpRequest, text: str) -> HttpResponse:
    number = msisdn.normalize(text)
    if number is None:
        return JsonResponse({"error": "no Kenyan phone number"}, status=404)
    world.book.set_balance(number, world.book.phone(number).balance + TOP_UP)
    return JsonResponse(presentation.phone(number))


@require_GET
def log(request: HttpRequest) -> HttpResponse:
    return render(request, "simulator/log.html", _entries(0))


@require_GET
def log_entries(request: HttpRequest) -> HttpResponse:
    """Return the entries after a number, for the page to put on top."""
    after = request.GET.get("after", "0")
    context = _entries(int(after) if after.isdecimal() else 0)
    return render(request, "simulator/_entries.html", context)


def _entries(after: int) -> dict[str, Any]:
    entries = [_shown(exchange) for exchange in world.journal.newest(after=after)]
    return {"entries": entries}


def _shown(exchange: Exchange) -> dict[str, Any]:
    at = exchange.at.astimezone(EAST_AFRICA)
    return {
        "exchange": exchange,
        "at": f"{at:%H:%M:%S}.{at.microsecond // 1000:03}",
        "status": exchange.status or "no answer",
        "mood": "good" if 200 <= exchange.status < 300 else "bad",
    }


def _seen(number: str) -> dict[str, Any]:
    state = presentation.phone(number)
    return {
        "number": number,
        "shown": state["shown"],
        "balanceShown": state["balanceShown"],
        "is_asked": state["prompt"] is not None,
    }


def _no_number(request: HttpRequest, text: str) -> HttpResponse:
    return render(request, "simulator/no_number.html", {"text": text}, status=404)


def _outcome(key: str, pin: str) -> Outcome | None:
    if key != "send":
        return _KEYS.get(key)
    if _PIN.fullmatch(pin) is None:
        return None
    return Outcome.WRONG_PIN if pin == WRONG_PIN else Outcome.PAY


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
