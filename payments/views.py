"""The API of money. Each view makes one domain call and shows what became of it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from orders.queries import order_for
from orders.serializers import OrderOutput
from orders.states import order_state
from payments import cash, ordering, prompting, queries, questions, tickets
from payments.enums import PaymentStatus
from payments.models import Payment
from payments.prompting import Prompted
from payments.serializers import (
    AskedState,
    CashInput,
    CashOutput,
    InitiateInput,
    InitiateOutput,
    State,
    TicketOutput,
)
from payments.states import can_resend_at, error_code, explain, payment_state
from shops.api import ShopView
from shops.rights import Right
from smartduka.lib import clock
from smartduka.lib.api import error_body
from smartduka.lib.errors import InvalidRequest
from smartduka.lib.money import whole


REFUSED = {"MPESA_004": 502, "MPESA_006": 409}
KEY_LENGTH = 200


class CancelOrder(ShopView):
    """Cancel a sale."""

    @extend_schema(request=None, responses=OrderOutput)
    def post(self, request: Request, order_id: str) -> Response:
        """Cancel an open sale without money on it. Cashier and up."""
        order = ordering.cancel_order(access=self.access, order_id=order_id)
        return Response(order_state(order))


class PayCash(ShopView):
    """Take cash for a sale."""

    @extend_schema(request=CashInput, responses={201: CashOutput})
    def post(self, request: Request, order_id: str) -> Response:
        """Take cash; more than the balance gives change. Cashier and up."""
        self.access.require(Right.SELL)
        order = order_for(self.access.shop, order_id)
        fields = CashInput(data=request.data)
        fields.is_valid(raise_exception=True)
        taken = cash.take(
            access=self.access,
            order_id=order.pk,
            amount=fields.validated_data["amount"],
            key=_key(request, fields.validated_data.get("idempotencyKey")),
        )
        return Response(
            {
                "success": True,
                "transactionId": str(taken.payment.pk),
                "change": taken.change,
                "balance": whole(taken.order.to_pay),
                "orderStatus": taken.order.status,
                "undecided": [str(payment.pk) for payment in taken.undecided],
            },
            status=201 if taken.is_new else 200,
        )


class Initiate(ShopView):
    """Send a prompt."""

    @extend_schema(
        request=InitiateInput,
        parameters=[OpenApiParameter("Idempotency-Key", str, "header")],
        responses={200: InitiateOutput, 201: InitiateOutput, 202: InitiateOutput},
    )
    def post(self, request: Request) -> Response:
        """Ask a phone to pay a sale. Cashier and up."""
        self.access.require(Right.SELL)
        body: Any = request.data
        order_id = body.get("orderId")
        if isinstance(order_id, str):
            order_for(self.access.shop, order_id)
        fields = InitiateInput(data=request.data)
        fields.is_valid(raise_exception=True)
        asked = fields.validated_data
        prompted = prompting.request(
            access=self.access,
            order_id=asked["orderId"],
            phone=asked["phoneNumber"],
            amount=asked.get("amount"),
            key=_key(request, asked.get("idempotencyKey")),
            accept_risk=asked["acceptRisk"],
        )
        return prompt_answer(prompted)


class Retry(ShopView):
    """Try a failed payment again."""

    @extend_schema(
        request=None,
        responses={200: InitiateOutput, 201: InitiateOutput, 202: InitiateOutput},
    )
    def post(self, request: Request, payment_id: str) -> Response:
        """Make a new attempt, the same phone and amount. Cashier and up."""
        return prompt_answer(prompting.retry(access=self.access, payment_id=payment_id))


class Status(ShopView):
    """Look at a payment."""

    @extend_schema(responses=State)
    def get(self, request: Request, payment_id: str) -> Response:
        """The state, without asking M-Pesa."""
        payment = queries.payment_for(self.access.shop, payment_id)
        return Response(_state(payment))


class Query(ShopView):
    """Ask M-Pesa about a payment."""

    @extend_schema(request=None, responses=AskedState)
    def post(self, request: Request, payment_id: str) -> Response:
        """Ask, at most once in 10 s; then the state."""
        payment = queries.payment_for(self.access.shop, payment_id)
        asked = questions.ask(payment.pk)
        payment = queries.payment_for(self.access.shop, payment_id)
        return Response(_state(payment) | {"asked": asked})


class Cancel(ShopView):
    """Stop waiting for a payment."""

    @extend_schema(request=None, responses=State)
    def post(self, request: Request, payment_id: str) -> Response:
        """Stop waiting, after asking; the state as it then is. Cashier and up."""
        payment = prompting.stop_waiting(access=self.access, payment_id=payment_id)
        return Response(_state(payment))


class Pending(ShopView):
    """Payments that the till waits for."""

    @extend_schema(responses=State(many=True))
    def get(self, request: Request) -> Response:
        """Open payments, newest first."""
        return self.paginated(queries.pending_of(self.access.shop), _state)


class Failed(ShopView):
    """Payments that failed."""

    @extend_schema(responses=State(many=True))
    def get(self, request: Request) -> Response:
        """Failed payments, newest first."""
        return self.paginated(queries.failed_of(self.access.shop), _state)


class Payments(ShopView):
    """All payments."""

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str),
            OpenApiParameter("from", str),
            OpenApiParameter("to", str),
            OpenApiParameter("search", str),
        ],
        responses=State(many=True),
    )
    def get(self, request: Request) -> Response:
        """Payments, newest first; `from` and `to` are Nairobi days or moments."""
        asked = request.query_params
        status = asked.get("status", "")
        if status and status not in PaymentStatus.values:
            raise InvalidRequest(
                "There is no such status.", details={"status": ["unknown"]}
            )
        rows = queries.found(
            queries.payments_of(self.access.shop),
            status=status,
            since=_moment("from", asked.get("from"), end_of_day=False),
            before=_moment("to", asked.get("to"), end_of_day=True),
            search=asked.get("search", ""),
        )
        return self.paginated(rows, _state)


class SocketTicket(ShopView):
    """A ticket for a WebSocket."""

    @extend_schema(request=None, responses=TicketOutput)
    def post(self, request: Request) -> Response:
        """A ticket for the person who asks: 30 s, once."""
        ticket = tickets.issue(request.user)
        return Response({"ticket": ticket, "expiresIn": tickets.lifetime_s()})


def _state(payment: Payment) -> dict[str, Any]:
    return payment_state(payment, language=get_language() or "en")


def prompt_answer(prompted: Prompted) -> Response:
    """Answer a prompt as the contract says."""
    payment = prompted.payment
    refused = REFUSED.get(error_code(payment) or "")
    words = explain(payment)
    language = get_language() or "en"
    answer = {
        "success": payment.status != PaymentStatus.FAILED,
        "transactionId": str(payment.pk),
        "checkoutRequestId": payment.checkout_request_id,
        "status": payment.status,
        "expiresAt": clock.iso(payment.expires_at),
        "message": words.reason(language),
        "isIdempotent": not prompted.is_new,
    }
    if not prompted.is_new:
        return Response(answer, status=200)
    if refused:
        return _refused(payment, refused, answer)
    return Response(
        answer, status=202 if payment.status == PaymentStatus.CREATED else 201
    )


def _refused(payment: Payment, status: int, answer: dict[str, Any]) -> Response:
    resend_at = can_resend_at(payment)
    wait_s = (resend_at - clock.now()) // timedelta(seconds=1) if resend_at else 0
    details = {name: answer[name] for name in ("transactionId", "status")}
    details |= {"retryable": payment.retryable, "retryAfter": max(1, wait_s + 1)}
    body = error_body(str(error_code(payment)), answer["message"], details)
    return Response(
        body, status=status, headers={"Retry-After": str(max(1, wait_s + 1))}
    )


def _key(request: Request, in_body: str | None) -> str | None:
    """The idempotency key of header or body. Raises InvalidRequest when they differ."""
    in_header = request.headers.get("Idempotency-Key")
    if in_header is not None and (
        not 0 < len(in_header) <= KEY_LENGTH or not in_header.isprintable()
    ):
        raise InvalidRequest(
            f"An idempotency key has 1 to {KEY_LENGTH} printable characters.",
            details={"idempotencyKey": ["invalid"]},
        )
    if in_header and in_body and in_header != in_body:
        raise InvalidRequest(
            "Header and body name two different idempotency keys.",
            details={"idempotencyKey": ["differs from the header"]},
        )
    return in_header or in_body or None


def _moment(name: str, text: str | None, *, end_of_day: bool) -> datetime | None:
    if not text:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            moment = clock.day_bounds(date.fromisoformat(text))[end_of_day]
        else:
            parsed = parse_datetime(text)
            if parsed is None:
                raise ValueError("no moment")
            moment = parsed
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=clock.NAIROBI)
        # Here, because at the ends of the calendar there is no such moment in UTC.
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            "Dates are written like 2026-01-31.", details={name: ["invalid"]}
        ) from None
