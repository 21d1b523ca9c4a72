"""How payments and the rows around them are written in the books."""

from __future__ import annotations

from django.utils.safestring import SafeString
from django.utils.translation import get_language

from payments import states
from payments.enums import PaymentStatus, Verdict
from payments.models import Allocation, Collection, Notice, Payment
from shops import book_cells as cells
from smartduka.lib import phone
from smartduka.lib.money import format_kes
from smartduka.lib.redaction import redacted


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


def payer(msisdn: str) -> str:
    """Return a payer's number, masked."""
    return phone.masked(msisdn) or cells.NOTHING


def plain(text: str) -> str:
    """Return a text of somebody else's without phone numbers and secrets."""
    return redacted(text) or cells.NOTHING


def body(notice: Notice) -> str:
    """Return what a notice said, as text: to be escaped, and without full phones."""
    return redacted(bytes(notice.body).decode("utf-8", errors="backslashreplace"))


def portion(allocation: Allocation) -> str:
    """Return in words where a portion of money went."""
    where = f" {allocation.order.number}" if allocation.order is not None else ""
    words = allocation.get_kind_display().lower()
    return f"{format_kes(allocation.amount)} to {words}{where}"


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
        portions.append(f"{format_kes(rest)} not matched")
    return "\n".join(portions)
