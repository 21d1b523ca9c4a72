"""HTTP answers made of refusals, pages and cut connections."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse

from payments.simulator import ids
from payments.simulator.refusals import BY_NAME, RESET, Page, Refusal
from payments.simulator.world import world


HANG_UP = "X-Simulator-Hang-Up"
"""A response with this header is never sent: the server cuts the connection."""


def refuse(refusal: Refusal | Page) -> HttpResponse:
    """Return the envelope or the page."""
    if isinstance(refusal, Page):
        return HttpResponse(
            refusal.body, status=refusal.status, content_type=refusal.content_type
        )
    keys = ("requestId", "errorCode", "errorMessage")
    if world.faults.take("error_casing") == "pascal":
        keys = ("RequestId", "ErrorCode", "ErrorMessage")
    values = (ids.request_id(), refusal.code, refusal.message)
    return JsonResponse(dict(zip(keys, values, strict=True)), status=refusal.status)


def hang_up() -> HttpResponse:
    """Return what makes the server reset the connection without an answer."""
    return HttpResponse(headers={HANG_UP: "1"})


def misbehave(name: str) -> HttpResponse:
    """Return the answer of this name, see refusals.BY_NAME."""
    if name == RESET:
        return hang_up()
    refusal = BY_NAME[name]
    assert not isinstance(refusal, str)  # RESET is the only word
    return refuse(refusal)
