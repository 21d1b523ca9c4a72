"""The rows behind the evidence of a payment, each as an entry of its timeline.

One function per kind of row, each one bounded statement (or two). A kind that comes
later, as printed receipts, is one more function in `KINDS`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet

from orders.models import Order, OrderEvent
from payments import free_money, inbox
from payments.enums import AccountType, AllocationKind, Method, Source
from payments.models import (
    Allocation,
    AuditSeal,
    CodeClaim,
    Collection,
    Correction,
    Notice,
    OrganisationRequest,
    Payment,
    PaymentEvent,
    RefundEvent,
    Sighting,
)
from smartduka.lib import clock, phone
from smartduka.lib.money import format_kes
from smartduka.lib.redaction import anonymous


# So many rows of a kind, the oldest; so much of what somebody wrote to us, and of any
# other text.
MOST, WORDS_SHOWN, LONGEST = 200, 4_000, 500
HIDDEN = "secret, not shown"


class Kind(enum.Enum):
    """Through whom something happened, as the timeline colours it."""

    PERSON = "A person"
    SENT = "For M-Pesa"
    ANSWER = "M-Pesa's answer"
    MESSAGE = "M-Pesa's message"
    QUESTION = "Our question"
    MONEY = "Money"
    MACHINE = "By itself"
    SALE = "The sale"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known, with its name."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `words` is what M-Pesa wrote, redacted.

    `row` names the row behind it, for its seal in the audit chain.
    """

    at: datetime
    kind: Kind
    what: str
    by: str = ""
    facts: tuple[Fact, ...] = ()
    words: str = ""
    seal: str = ""
    row: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """The collections of a payment, what was told of them, and what we asked."""

    collections: tuple[Collection, ...]
    sightings: tuple[Sighting, ...]
    requests: tuple[OrganisationRequest, ...]

    @property
    def receipts(self) -> list[str]:
        """The receipt numbers of this money."""
        return _receipts(self.collections, self.sightings)


ROADS = {
    Source.PERSON: Kind.PERSON,
    Source.DRAWER: Kind.PERSON,
    Source.PUSH: Kind.ANSWER,
    Source.QUERY: Kind.ANSWER,
    Source.STATUS: Kind.ANSWER,
    Source.CLOCK: Kind.MACHINE,
}
MESSAGES = {
    inbox.STK: "Message about the prompt",
    inbox.C2B: "Message about a payment by hand",
    inbox.RESULT: "Answer to our question about the receipt",
    inbox.TIMEOUT: "M-Pesa could not answer our question",
}
WHOSE_MONEY = {"simulator": "of practice", "sandbox": "of M-Pesa's tests"}
PORTIONS = {
    AllocationKind.SALE: "went to the sale",
    AllocationKind.SURPLUS: "was more than the sale needed",
    AllocationKind.CREDIT: "was kept as credit",
    AllocationKind.RESERVED: "was reserved for a refund",
    AllocationKind.REFUNDED: "was sent back",
    AllocationKind.CORRECTION: "was corrected away",
    AllocationKind.RELEASE: "was freed again",
}
# How we know that whoever wrote knew our secret address.
TOKENS = {
    inbox.STK: "right: sent to the secret address of this very payment",
    inbox.C2B: "right: sent to the secret address of the account",
    inbox.RESULT: "right: sent to the secret address of this question",
    inbox.TIMEOUT: "right: sent to the secret address of this question",
}


def money_of(payment: Payment) -> Money:
    """Read the money of a payment: its own, and that moved to it from another sale.

    Only what is this shop's: a shared account has others' too.
    """
    rows = Collection.objects.filter(
        pk__in=keys_of_money(payment), shop=payment.shop_id
    )
    collections = tuple(_bounded(rows.order_by("pk")))
    sightings = Sighting.objects.filter(receipt__collection__in=collections)
    told = tuple(
        _bounded(
            sightings.select_related("receipt__account", "statement").order_by("pk")
        )
    )
    requests = OrganisationRequest.objects.filter(
        account__in={one.account_id for one in collections} - {None},
        receipt__in=_receipts(collections, told),
    ).select_related("asked_by", "account")
    return Money(collections, told, tuple(_bounded(requests.order_by("asked_at"))))


def keys_of_money(payment: Payment) -> QuerySet[Any, Any]:
    """The keys of a payment's own money, and of that moved to it from another sale.

    A union: no index answers a condition over both tables at once.
    """
    own = Collection.objects.filter(payment=payment).order_by().values("pk")
    moved = Allocation.objects.filter(payment=payment).order_by()
    return own.union(moved.values("collection"))


def _receipts(
    collections: Iterable[Collection], sightings: Iterable[Sighting]
) -> list[str]:
    told = {one.receipt.number for one in sightings}
    return sorted(told | {one.receipt for one in collections if one.receipt})


def timeline(payment: Payment, money: Money) -> tuple[list[Entry], bool]:
    """Return the entries of all kinds, in no order, and whether some are left out."""
    entries: list[Entry] = []
    is_cut = False
    for kind in KINDS:
        found = list(kind(payment, money))
        is_cut = is_cut or len(found) > MOST
        entries += found[:MOST]
    return _sealed(entries), is_cut


def _bounded(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows[: MOST + 1]


def _events(payment: Payment, _: Money) -> Iterator[Entry]:
    rows = PaymentEvent.objects.filter(payment=payment).select_related("actor")
    for event in _bounded(rows.order_by("pk")):
        became = event.get_new_display() if event.old != event.new else ""
        said, is_act = anonymous(event.reason), event.source == Source.PERSON
        facts = _filled(
            Fact("It became", became if said else ""),
            Fact("Known through", "" if is_act else Source(event.source).label),
            Fact("Message", f"number {event.notice_id}" if event.notice_id else ""),
        )
        yield Entry(
            event.created_at,
            ROADS.get(Source(event.source), Kind.MESSAGE),
            said or became,
            _name(event.actor),
            facts,
            row=("payment_event", event.pk),
        )
        if not event.old and payment.method == Method.MPESA_STK:
            yield Entry(
                event.created_at, Kind.SENT, "What the prompt says", facts=sent(payment)
            )


def sent(payment: Payment) -> tuple[Fact, ...]:
    """What the prompt says to M-Pesa, by M-Pesa's names; read from what was stored."""
    assert payment.account is not None
    is_till = payment.account.type == AccountType.TILL
    transaction = "CustomerBuyGoodsOnline" if is_till else "CustomerPayBillOnline"
    return (
        Fact("TransactionType", transaction),
        Fact("BusinessShortCode", payment.shortcode),
        Fact("PartyB", payment.party_b),
        Fact("PhoneNumber", payment.masked_phone),
        Fact("Amount", f"{payment.amount:.0f}"),
        Fact("AccountReference", payment.reference),
        Fact("Password", HIDDEN),
        Fact("CallBackURL", HIDDEN),
        Fact("Money", WHOSE_MONEY.get(payment.environment, "real")),
    )


def _question(payment: Payment, _: Money) -> Iterator[Entry]:
    if payment.asked_at is None:
        return
    yield Entry(
        payment.asked_at,
        Kind.QUESTION,
        "M-Pesa was asked how the payment stands",
        facts=(Fact("Questions so far", f"{payment.ask_count}, this was the last"),),
    )


def _notices(payment: Payment, money: Money) -> Iterator[Entry]:
    told = [one.notice_id for one in money.sightings if one.notice_id is not None]
    asked = [one.pk for one in money.requests]
    about = Q(payment=payment) | Q(pk__in=told) | Q(request__in=asked)
    rows = Notice.objects.filter(about).select_related("account", "request__account")
    for notice in _bounded(rows.order_by("pk")):
        yield Entry(
            notice.received_at,
            Kind.MESSAGE,
            MESSAGES.get(notice.kind, "Message"),
            facts=_about(notice),
            words=_words(notice) if _is_own(notice, payment) else "",
        )


def _about(notice: Notice) -> tuple[Fact, ...]:
    address = notice.address or "unknown"
    listed = address if notice.address_is_listed else f"{address} (not M-Pesa's)"
    broken = anonymous(notice.error).strip()
    return _filled(
        Fact("Message", f"number {notice.pk}"),
        Fact("From", listed),
        Fact("Token", TOKENS.get(notice.kind, "")),
        Fact("What became of it", notice.get_verdict_display()),
        Fact("Came", "once" if notice.copies == 1 else f"{notice.copies} times"),
        Fact("Processed", _time(notice.processed_at)),
        Fact("What broke", broken.splitlines()[-1][:LONGEST] if broken else ""),
        Fact("SHA-256", notice.body_hash),
    )


def _is_own(notice: Notice, payment: Payment) -> bool:
    """Whether its words are this shop's to read: it has others' on a shared account."""
    if notice.payment_id is not None:
        return notice.payment_id == payment.pk
    asked = notice.request.account if notice.request is not None else None
    account = notice.account or asked
    return account is not None and account.shop_id == payment.shop_id


def _words(notice: Notice) -> str:
    text = bytes(notice.body).decode("utf-8", errors="backslashreplace")
    told = anonymous(text)
    if len(told) <= WORDS_SHOWN and not notice.is_cut:
        return told
    return f"{told[:WORDS_SHOWN]}\n[cut here]"


def _requests(payment: Payment, money: Money) -> Iterator[Entry]:
    for asked in money.requests:
        facts = _filled(
            Fact("Receipt", asked.receipt),
            Fact("State", asked.get_state_display()),
            Fact("Conversation", asked.conversation_id),
        )
        what = f"M-Pesa was asked: {asked.get_kind_display().lower()}"
        # On a shared account somebody of another shop may have asked.
        is_own = asked.account.shop_id == payment.shop_id
        by = _name(asked.asked_by) if is_own else ""
        yield Entry(asked.asked_at, Kind.QUESTION, what, by, facts)
        if asked.answered_at is not None:
            said = _filled(
                Fact("Code", asked.result_code),
                Fact("M-Pesa's words", anonymous(asked.result_desc)),
                Fact("Receipt of the reversal", asked.result_receipt),
            )
            what = f"M-Pesa answered: {asked.get_kind_display().lower()}"
            yield Entry(asked.answered_at, Kind.ANSWER, what, facts=said)


def _collections(payment: Payment, money: Money) -> Iterator[Entry]:
    for one in money.collections:
        name = f"{format_kes(one.amount)} {one.receipt or 'without a receipt yet'}"
        facts = _filled(
            Fact("Known through", Source(one.source).label),
            Fact("Why it is this payment's", one.get_binding_display()),
            Fact("Paid at, says M-Pesa", _time(one.paid_at)),
            Fact("Payer", free_money.shown_payer(one.phone)),
        )
        yield Entry(one.sighted_at, Kind.MONEY, f"{name} was counted", facts=facts)
        for at, what in (
            (one.confirmed_at, "a second source agreed"),
            (one.disputed_at, f"M-Pesa's books say otherwise: {one.disputed}"),
            (one.reversed_at, "M-Pesa sent it back"),
        ):
            if at is not None:
                yield Entry(at, Kind.MONEY, f"{name}: {anonymous(what)}")


def _sightings(payment: Payment, money: Money) -> Iterator[Entry]:
    for one in money.sightings:
        is_own = one.receipt.account.shop_id == payment.shop_id
        file = one.statement.file_name if one.statement is not None and is_own else ""
        facts = _filled(
            Fact("Amount", format_kes(one.amount)),
            Fact("Payer", free_money.shown_payer(one.payer)),
            Fact("Account number as typed", anonymous(one.reference)),
            Fact("Paid at", _time(one.paid_at)),
            Fact("Statement", anonymous(file)),
            Fact("Message", f"number {one.notice_id}" if one.notice_id else ""),
        )
        told = Source(one.source).label
        what = f"Receipt {one.receipt.number} was seen: {told}"
        yield Entry(one.seen_at, Kind.MESSAGE, what, facts=facts)


def _allocations(payment: Payment, money: Money) -> Iterator[Entry]:
    rows = Allocation.objects.filter(collection__in=money.collections)
    rows = rows.select_related("order", "actor", "collection", "releases__order")
    for one in _bounded(rows.order_by("pk")):
        sale = one.order or (one.releases.order if one.releases is not None else None)
        facts = _filled(
            Fact("Sale", f"#{sale.number}" if sale is not None else ""),
            Fact("Whose credit", _customer(one.customer)),
            Fact("Of", str(one.collection)),
            Fact("Reason", anonymous(one.reason)),
        )
        yield Entry(
            one.created_at,
            Kind.MONEY,
            f"{format_kes(one.amount)} {PORTIONS[AllocationKind(one.kind)]}",
            _name(one.actor),
            facts,
            row=("allocation", one.pk),
        )


def _codes(payment: Payment, money: Money) -> Iterator[Entry]:
    rows = CodeClaim.objects.filter(order=payment.order_id, number__in=money.receipts)
    for one in _bounded(rows.select_related("created_by").order_by("created_at")):
        facts = _filled(
            Fact("What came of it", one.get_state_display()),
            Fact("Why", anonymous(one.why)),
            Fact("Closed", _time(one.closed_at)),
        )
        what = f"The code {one.number} was typed for this sale"
        yield Entry(one.created_at, Kind.PERSON, what, _name(one.created_by), facts)


def _refunds(payment: Payment, money: Money) -> Iterator[Entry]:
    rows = RefundEvent.objects.filter(refund__collection__in=money.collections)
    rows = rows.select_related("refund", "actor")
    for event in _bounded(rows.order_by("pk")):
        refund = event.refund
        facts = _filled(
            Fact("Way", refund.get_method_display()),
            Fact("Reason", anonymous(refund.reason)),
            Fact("What was said", anonymous(event.reason)),
            Fact("Receipt of the reversal", refund.receipt),
        )
        yield Entry(
            event.created_at,
            Kind.PERSON if event.actor is not None else Kind.MACHINE,
            f"Money back, {format_kes(refund.amount)}: {event.get_new_display()}",
            _name(event.actor),
            facts,
            row=("refund_event", event.pk),
        )


def _corrections(payment: Payment, money: Money) -> Iterator[Entry]:
    rows = Correction.objects.filter(collection__in=money.collections)
    for one in _bounded(rows.select_related("asked_by", "decided_by").order_by("pk")):
        what = f"Correction of {format_kes(one.amount)}"
        reason = _filled(Fact("Reason", anonymous(one.reason)))
        asked, by = f"{what} asked for", _name(one.asked_by)
        yield Entry(one.asked_at, Kind.PERSON, asked, by, reason)
        if one.decided_at is not None:
            decided = f"{what}: {one.get_state_display().lower()}"
            by = _name(one.decided_by)
            yield Entry(one.decided_at, Kind.PERSON, decided, by)


def _sale(payment: Payment, _: Money) -> Iterator[Entry]:
    rows = OrderEvent.objects.filter(order=payment.order_id).select_related("actor")
    for event in _bounded(rows.order_by("pk")):
        became = f"The sale became {event.get_new_display().lower()}"
        said = anonymous(event.reason)
        facts = (Fact("What was said", said),) if said else ()
        what = became if event.old != event.new else said or "The sale was noted"
        by = _name(event.actor)
        yield Entry(event.created_at, Kind.SALE, what, by, facts)


def _attempts(payment: Payment, _: Money) -> Iterator[Entry]:
    rows = Payment.objects.filter(order=payment.order_id).exclude(pk=payment.pk)
    for other in _bounded(rows.select_related("created_by").order_by("created_at")):
        again = "tried again" if other.retry_of_id == payment.pk else ""
        before = (
            "this payment tries it again" if payment.retry_of_id == other.pk else ""
        )
        facts = _filled(
            Fact("Payment", str(other.pk)),
            Fact("Method", other.get_method_display()),
            Fact("Payer", other.masked_phone),
            Fact("It stands at", other.get_status_display()),
            Fact("Connection", again or before),
        )
        what = f"Another payment of the sale: {format_kes(other.amount)}"
        yield Entry(other.created_at, Kind.SALE, what, _name(other.created_by), facts)


def _acts(payment: Payment, money: Money) -> Iterator[Entry]:
    """What people did in the admin to the payment, its sale and its money."""
    notices = Notice.objects.filter(payment=payment).order_by("pk")
    rows: list[tuple[type[Model], Iterable[object]]] = [
        (Payment, [payment.pk]),
        (Order, [payment.order_id]),
        (Collection, [one.pk for one in money.collections]),
        (Notice, notices.values_list("pk", flat=True)[:MOST]),
    ]
    about = Q()
    kinds = ContentType.objects.get_for_models(*(model for model, _ in rows))
    for model, keys in rows:
        ids = [str(key) for key in keys]
        about |= Q(content_type=kinds[model], object_id__in=ids)
    found = LogEntry.objects.filter(about).select_related("user", "content_type")
    for one in _bounded(found.order_by("action_time", "pk")):
        what = anonymous(one.get_change_message())[:LONGEST] or str(one)
        facts = (Fact("In the admin", anonymous(one.object_repr)),)
        yield Entry(one.action_time, Kind.PERSON, what, _name(one.user), facts)


# In this order where two things have the same time: what was told comes before what
# it caused. Printed receipts are not recorded yet: they are one more function here.
KINDS: tuple[Callable[[Payment, Money], Iterator[Entry]], ...] = (
    _attempts, _notices, _requests, _sightings, _events, _question, _codes,
    _collections, _allocations, _refunds, _corrections, _sale, _acts,
)  # fmt: skip


def _sealed(entries: list[Entry]) -> list[Entry]:
    """Return the entries, each with its seal in the shop's audit chain if it has one."""
    wanted: dict[str, list[int]] = {}
    for entry in entries:
        if entry.row is not None:
            wanted.setdefault(entry.row[0], []).append(entry.row[1])
    about = Q(pk__in=[])
    for kind, keys in wanted.items():
        about |= Q(kind=kind, row_id__in=keys)
    seals = {
        (seal.kind, seal.row_id): f"{seal.chain.name} {seal.position} {seal.hash}"
        for seal in AuditSeal.objects.filter(about).select_related("chain")
    }
    return [
        replace(entry, seal=seals.get(entry.row, "")) if entry.row else entry
        for entry in entries
    ]


def _filled(*facts: Fact) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.value)


def _name(user: Any) -> str:
    return "" if user is None else str(user)


def _customer(name: str) -> str:
    return phone.masked(name) if name.isdigit() else anonymous(name)


def _time(at: datetime | None) -> str:
    """Return a time in Nairobi, to the second."""
    return "" if at is None else f"{at.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}"
