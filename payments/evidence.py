"""The evidence of one payment: everything that is known about it, in one timeline.

Made for a dispute, so it says where each fact comes from and what is not held. It is
read from rows that are never rewritten; nothing is guessed. Secrets are not in it, and
phone numbers are masked (law 10). What belongs to a shared account, and not to this
shop alone, is named here without its words (law 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from payments import evidence_rows, states
from payments.evidence_rows import Entry, Fact, money_of
from payments.models import Payment
from shops.models import Shop
from smartduka.lib import clock
from smartduka.lib.money import format_kes
from smartduka.lib.redaction import anonymous


VERSION = 1
NOT_HELD = (
    "Printed receipts: printing is not recorded.",
    "Questions to M-Pesa that brought nothing new: they are counted, not listed.",
    "Messages with a wrong or no secret address: nobody can say whose they are.",
)
CUT = (
    "More happened than this page can hold: the oldest {count} of each kind are shown."
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about one payment. `entries` are in the order of their times."""

    payment: Payment
    shop: Shop
    made_at: datetime
    made_by: str
    reason: str
    remedy: str
    facts: tuple[Fact, ...]
    entries: tuple[Entry, ...]
    not_held: tuple[str, ...]


def gather(payment: Payment, *, made_by: str) -> Evidence:
    """Read everything about a payment; the caller has made sure whose it is.

    `payment` comes with order, shop, account and created_by. So many statements for
    every payment, and so many rows of each kind.
    """
    money = money_of(payment)
    found, is_cut = evidence_rows.timeline(payment, money)
    explained = states.explain(payment)
    cut = (CUT.format(count=evidence_rows.MOST),) if is_cut else ()
    return Evidence(
        payment=payment,
        shop=payment.shop,
        made_at=clock.now(),
        made_by=made_by,
        reason=explained.reason("en"),
        remedy=explained.remedy("en"),
        facts=_facts(payment),
        entries=tuple(sorted(found, key=lambda entry: entry.at)),
        not_held=(*cut, *NOT_HELD),
    )


def document(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as JSON: the State of the API, then the timeline."""
    state = states.payment_state(evidence.payment)
    for name in ("checkoutRequestId", "resultDesc"):
        state[name] = anonymous(state[name]) if state[name] else None
    return {
        "document": "payment evidence",
        "version": VERSION,
        "madeAt": clock.iso(evidence.made_at),
        "madeBy": evidence.made_by,
        "shop": {"id": str(evidence.shop.pk), "name": evidence.shop.name},
        "payment": state,
        "facts": _pairs(evidence.facts),
        "timeline": [_entry(entry) for entry in evidence.entries],
        "notHeld": list(evidence.not_held),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "at": clock.iso(entry.at),
        "kind": entry.kind.value,
        "what": entry.what,
        "by": entry.by or None,
        "facts": _pairs(entry.facts),
        "words": entry.words or None,
        "seal": entry.seal or None,
    }


def _pairs(facts: tuple[Fact, ...]) -> list[dict[str, str]]:
    return [{"name": fact.name, "value": fact.value} for fact in facts]


def _facts(payment: Payment) -> tuple[Fact, ...]:
    """What stands on the payment itself; empty ones are left out."""
    facts = (
        Fact("Payment", str(payment.pk)),
        Fact("Shop", payment.shop.name),
        Fact("Sale", f"#{payment.order.number}"),
        Fact("Amount", format_kes(payment.amount)),
        Fact("Method", payment.get_method_display()),
        Fact("State", payment.get_status_display()),
        Fact("Payer", payment.masked_phone),
        Fact("Receipt", payment.receipt),
        Fact("Asked for by", str(payment.created_by or "")),
        Fact("Attempt", str(payment.attempt)),
        Fact("M-Pesa's code", payment.result_code),
        Fact("M-Pesa's words", anonymous(payment.result_desc)),
        Fact("M-Pesa's id", anonymous(payment.checkout_request_id or "")),
        Fact("Id of the prompt", payment.merchant_request_id),
        Fact("Alarm", anonymous(payment.alarm)),
    )
    return tuple(fact for fact in facts if fact.value)
