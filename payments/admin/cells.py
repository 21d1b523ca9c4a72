"""How payments and the rows around them are written in the books."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q
from django.template.defaultfilters import linebreaksbr
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from orders.models import Order
from payments import free_money, inbox, states
from payments.enums import AllocationKind, PaymentStatus, Verdict
from payments.models import Allocation, Collection, MpesaAccount, Notice, Payment
from shops import book_cells as cells
from smartduka.lib import phone
from smartduka.lib.money import format_kes
from smartduka.lib.redaction import anonymous, redacted


VERDICT_TONES = {
    Verdict.NEW: cells.WAIT,
    Verdict.APPLIED: cells.GOOD,
    Verdict.DUPLICATE: cells.QUIET,
    Verdict.HELD: cells.WAIT,
    Verdict.UNCERTAIN: cells.WAIT,
    Verdict.UNVERIFIED: cells.WAIT,
    Verdict.CONTRADICTION: cells.BAD,
    Verdict.MALFORMED: cells.BAD,
    Verdict.UNTOKENED: cells.QUIET,
    Verdict.REJECTED: cells.QUIET,
    Verdict.ORPHAN: cells.BAD,
    Verdict.HELD: cells.WAIT,
    Verdict.PARKED: cells.BAD,
}


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did, and the reason that they gave."""

    at: SafeString
    by: str
    said: str


def tone(payment: Payment) -> str:
    """Return the mood of a payment: amber as long as nobody is sure."""
    if payment.status == PaymentStatus.COMPLETED:
        return cells.GOOD
    if payment.is_undecided:
        return cells.WAIT
    return cells.BAD if payment.status == PaymentStatus.FAILED else cells.QUIET


def reason(payment: Payment) -> str:
    """Return in a sentence how the payment stands."""
    return states.explain(payment).reason(get_language() or "en")


def remedy(payment: Payment) -> str:
    """Return in a sentence what to do about it."""
    return states.explain(payment).remedy(get_language() or "en")


def verdict(notice: Notice) -> SafeString:
    """Return what became of a notice."""
    words = Verdict(notice.verdict)
    return cells.pill(words.label, VERDICT_TONES[words])


# What a message is, by its kind.
NOTICES = {
    inbox.STK: "Answer to a prompt",
    inbox.C2B: "Payment by hand",
    inbox.RESULT: "Answer to our question",
    inbox.TIMEOUT: "No answer to our question",
    inbox.UNTOKENED: "From nobody we know",
    inbox.REJECTED: "From nobody we know",
    inbox.ORPHAN: "About nothing we know",
}
# Where money went; the number of the sale follows.
PORTIONS = {
    AllocationKind.SALE: "for sale",
    AllocationKind.SURPLUS: "surplus of sale",
    AllocationKind.RESERVED: "reserved for a refund of sale",
    AllocationKind.REFUNDED: "sent back, was for sale",
    AllocationKind.CORRECTION: "corrected, was for sale",
}
# The same where there is no sale.
PORTIONS_ALONE = {
    AllocationKind.SURPLUS: "surplus",
    AllocationKind.RESERVED: "reserved for a refund",
    AllocationKind.REFUNDED: "sent back",
    AllocationKind.CORRECTION: "corrected",
}
NO_SALE = "nobody's yet"
ENVIRONMENTS = {"simulator": "practice", "sandbox": "M-Pesa's test money"}


def times(count: int) -> str:
    """Return how often something came."""
    return "once" if count == 1 else f"{count:,} times"


def payer(seen: str) -> str:
    """Return a payer's number, masked; of a masked one what M-Pesa left visible."""
    return free_money.shown_payer(seen) or cells.NOTHING


def account(row: MpesaAccount | None) -> str:
    """Return an account by its kind and number; said where its money is not real."""
    if row is None:
        return cells.NOTHING
    name = f"{row.get_type_display()} {row.party_b}"
    return f"{name} ({environment(row.environment)})" if unreal(row) else name


def unreal(row: MpesaAccount) -> bool:
    """Whether no real money moves there."""
    return row.environment in ENVIRONMENTS


def environment(name: str) -> str:
    """Return where money moves, in words."""
    return ENVIRONMENTS.get(name, "real money")


def payment(row: Payment | None) -> SafeString:
    """Link a payment by its sale. The sale is read: select it with the payment."""
    if row is None:
        return cells.NOTHING
    name = f"{format_kes(row.amount)} for sale #{row.order.number}"
    return cells.page("payments_payment", row.pk, name)


def money(collection: Collection | None) -> SafeString:
    """Link money that arrived; say it where M-Pesa's books say otherwise."""
    if collection is None:
        return cells.NOTHING
    link = cells.page("payments_collection", collection.pk, collection)
    return with_doubt(link, collection)


def with_doubt(shown: str, collection: Collection) -> SafeString:
    """Return what is shown of money, beside it whether M-Pesa's books say otherwise."""
    lines = linebreaksbr(shown, autoescape=True)
    if not collection.disputed:
        return lines
    return format_html("{} {}", lines, cells.pill("Disputed", cells.BAD))


def sale_of(order: Order | None) -> SafeString:
    """Link a sale by its number."""
    if order is None:
        return cells.NOTHING
    return cells.page("orders_order", order.pk, f"#{order.number}")


def plain(text: str) -> str:
    """Return a text of somebody else's without phone numbers and secrets."""
    return anonymous(text) or cells.NOTHING


def body(notice: Notice) -> str:
    """Return what a notice said, as text: to be escaped, and without full phones."""
    return redacted(bytes(notice.body).decode("utf-8", errors="backslashreplace"))


def portion(allocation: Allocation) -> str:
    """Return in words where a portion of money went."""
    kind = AllocationKind(allocation.kind)
    amount = format_kes(allocation.amount)
    if kind == AllocationKind.CREDIT:
        return f"{amount} kept as credit of {_customer(allocation.customer)}"
    if allocation.order is not None and kind in PORTIONS:
        return f"{amount} {PORTIONS[kind]} #{allocation.order.number}"
    return f"{amount} {PORTIONS_ALONE.get(kind, str(kind.label).lower())}"


def _customer(name: str) -> str:
    return phone.masked(name) if name.isdigit() else plain(name)


def shared_out(collection: Collection) -> str:
    """Return in words where the money of a collection went, all of it.

    What was freed again and went elsewhere is left out: the ledger below tells it.
    """
    rows = list(collection.allocations.all())
    freed = {one.releases_id for one in rows}
    portions = [
        portion(one) for one in rows if one.releases_id is None and one.pk not in freed
    ]
    rest = collection.amount - collection.allocated
    if rest:
        portions.append(f"{format_kes(rest)} {NO_SALE}")
    return "\n".join(portions)


def acts(*rows: Model) -> list[Act]:
    """What people did to rows by the buttons of the books, the oldest first."""
    of_one = [
        Q(content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk))
        for row in rows
    ]
    found = LogEntry.objects.filter(functools.reduce(operator.or_, of_one))
    return [
        Act(
            cells.moment(one.action_time),
            str(one.user),
            plain(one.get_change_message()),
        )
        for one in found.select_related("user").order_by("action_time", "pk")
    ]
