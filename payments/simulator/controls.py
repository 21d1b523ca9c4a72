"""What every call of the control API has in common: JSON in, JSON out, and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeGuard

from django.http import HttpRequest, HttpResponse, JsonResponse

from payments.simulator import msisdn, switches
from payments.simulator.bank import AlreadyFinished
from payments.simulator.switch import BadSwitch


Json = dict[str, Any]


class Unusable(Exception):
    """The call cannot be done; carries status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def control(*methods: str) -> Callable[..., Callable[..., HttpResponse]]:
    """Make a view out of a function that returns a dict, or an answer of its own."""

    def decorate(
        act: Callable[..., Json | HttpResponse],
    ) -> Callable[..., HttpResponse]:
        @wraps(act)
        def wrapped(request: HttpRequest, **parts: str) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise Unusable(405, f"{request.method} is not among {methods}")
                answer = act(request, **parts)
                return (
                    answer if isinstance(answer, HttpResponse) else JsonResponse(answer)
                )
            except Unusable as trouble:
                return JsonResponse({"error": str(trouble)}, status=trouble.status)
            except BadSwitch as trouble:
                return JsonResponse({"error": str(trouble)}, status=400)
            except AlreadyFinished:
                return JsonResponse({"error": "it was answered before"}, status=409)

        return wrapped

    return decorate


def body(request: HttpRequest) -> Json:
    """Return the object that was sent, an empty one if nothing was."""
    try:
        sent = json.loads(request.body or b"{}")
    except ValueError:
        raise Unusable(400, "the body is not JSON") from None
    if not isinstance(sent, dict):
        raise Unusable(400, "the body is no JSON object")
    return sent


def number(text: str) -> str:
    """Return a phone in the form of the wire."""
    normal = msisdn.normalize(text)
    if normal is None:
        raise Unusable(400, f"{text} is no Kenyan phone number")
    return normal


def whole(text: str) -> int:
    """Return a number that came in an address."""
    if not text.isdecimal():
        raise Unusable(400, f"{text} is no number")
    return int(text)


def is_shillings(value: object, *, least: int) -> TypeGuard[int]:
    """Say whether this is a whole number of shillings from ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def bends(wanted: Json, prefix: str, shape: tuple[str, ...]) -> Json:
    """Return how a body is to be bent: switches of this prefix, without it.

    Raises Unusable or BadSwitch, with a sentence that can be shown.
    """
    for name, value in wanted.items():
        switches.check(f"{prefix}{name}", value)
        if name not in shape:
            raise Unusable(400, f"{name} does not bend a body")
    return wanted
