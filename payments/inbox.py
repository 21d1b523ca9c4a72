"""Notices: stored before they are believed, then judged, never forgotten (law 3).

Storing is one committed statement; a notice is born due. Processing clears that in
the same transaction that applies the notice, or, for those kinds whose work is several
transactions, after the last of them: a crash in between leaves it due and the sweep
finds it. A notice that breaks its processing backs off, and is parked where a person
sees it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Q

from orders.models import Order
from payments import acceptance, c2b, inquiries, notices, schedule, settlement
from payments.enums import Source, Verdict
from payments.gateways import result_codes
from payments.models import AccountHook, Notice, OrganisationRequest, Payment
from payments.settlement import Outcome
from smartduka.lib import clock, later
from smartduka.lib.redaction import redacted
from smartduka.lib.text import clean
from smartduka.lib.transactions import hasty, hasty_transaction, repeated


logger = logging.getLogger(__name__)

NOTICE_TASK = "payments.tasks.process_notice"
# What is still written when processing broke: optional, the notice is due by birth.
AFTERWARDS_LIMIT_S = 0.2
STK, UNTOKENED, REJECTED, ORPHAN = "stk", "untokened", "rejected", "orphan"
LIST = "pull"
C2B, RESULT, TIMEOUT = "c2b", "result", "timeout"
# What a notice may be about: it has an owner whose books it can change.
OWNED = Q(payment__isnull=False) | Q(account__isnull=False) | Q(request__isnull=False)

VERDICTS = {
    Outcome.COMPLETED: Verdict.APPLIED,
    Outcome.FILLED: Verdict.APPLIED,
    Outcome.ADDED: Verdict.APPLIED,
    Outcome.CONFIRMED: Verdict.APPLIED,
    Outcome.FAILED: Verdict.APPLIED,
    Outcome.DECIDED: Verdict.APPLIED,
    Outcome.UNCERTAIN: Verdict.UNCERTAIN,
    Outcome.DUPLICATE: Verdict.DUPLICATE,
    Outcome.CONTRADICTION: Verdict.CONTRADICTION,
    Outcome.RECEIPT_TAKEN: Verdict.UNVERIFIED,
}
# The kinds that own their transactions. They may be applied twice and change nothing.
APART = frozenset({C2B, RESULT, TIMEOUT})


@dataclass(frozen=True, slots=True)
class Stored:
    """The row of a notice; `is_new` unless the same bytes were there already."""

    notice_id: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it came: at most the body limit's bytes, and from where."""

    body: bytes
    is_cut: bool
    address: str
    address_is_listed: bool


def store_for_payment(nonce_hash: str, raw: Raw) -> Stored:
    """Commit a notice that came with a good token; born due.

    The same bytes for the same payment are counted, not stored again. A token
    that we signed but whose payment is unknown makes an orphan: kept for a person.
    Raises DatabaseError when it could not be stored: the caller answers 503.
    """
    payment_id = (
        Payment.objects.filter(token_hash=nonce_hash)
        .values_list("pk", flat=True)
        .first()
    )
    if payment_id is None:
        return _insert(_row(ORPHAN, raw, Verdict.ORPHAN))
    return _insert(_born_due(STK, raw, payment_id=payment_id))


def store_for_account(nonce_hash: str, raw: Raw) -> Stored | None:
    """Commit a notice of a payment by hand that came with a good token; born due.

    A token whose address was retired, or that is nobody's, makes an orphan: kept once
    per body, capped, for who has it may not be M-Pesa any more; None when there are
    enough. Raises DatabaseError when it could not be stored.
    """
    account_id = (
        AccountHook.objects.filter(token_hash=nonce_hash, retired_at__isnull=True)
        .values_list("account_id", flat=True)
        .first()
    )
    if account_id is None:
        return _insert_capped(ORPHAN, raw, Verdict.ORPHAN)
    return _insert(_born_due(C2B, raw, account_id=account_id))


def store_for_request(nonce_hash: str, raw: Raw, *, is_timeout: bool) -> Stored | None:
    """Commit a result, or M-Pesa's word that there is none; as `store_for_account`."""
    request_id = (
        OrganisationRequest.objects.filter(token_hash=nonce_hash)
        .values_list("pk", flat=True)
        .first()
    )
    if request_id is None:
        return _insert_capped(ORPHAN, raw, Verdict.ORPHAN)
    kind = TIMEOUT if is_timeout else RESULT
    return _insert(_born_due(kind, raw, request_id=request_id))


def store_untokened(raw: Raw) -> Stored | None:
    """Commit a notice without a token, once per body; None when there are enough."""
    return _insert_capped(UNTOKENED, raw, Verdict.UNTOKENED)


def store_about_list(raw: Raw) -> Stored | None:
    """Commit what came about M-Pesa's list of payments; as `store_untokened`.

    It is never applied: the list itself is read, and that is proof.
    """
    return _insert_capped(LIST, raw, Verdict.UNTOKENED)


def count_rejected(raw: Raw) -> None:
    """Count a message with a bad token: once per body, a capped sample."""
    _insert_capped(REJECTED, raw, Verdict.REJECTED)


def process(notice_id: int) -> Verdict:
    """Judge a stored notice and apply what it proves; return its verdict.

    Opens a transaction; locks order, payment, then what settlement locks, waiting
    at most NOTICE_PROCESS_LIMIT_S for a lock. Notices about an account, or about a
    request, own several transactions. Processing twice changes nothing. Raises
    whatever breaks it; the notice is due again then.
    """
    verdict = _process_for_payment(notice_id)
    return _process_apart(notice_id) if verdict is None else verdict


@repeated
def _process_for_payment(notice_id: int) -> Verdict | None:
    """Process a notice of an STK payment; None if it is one of another kind."""
    with hasty_transaction(settings.NOTICE_PROCESS_LIMIT_S):
        kind, payment_id, order_id, verdict = Notice.objects.values_list(
            "kind", "payment_id", "payment__order_id", "verdict"
        ).get(pk=notice_id)
        if kind in APART:
            return None
        if payment_id is None or order_id is None:
            return Verdict(verdict)
        order, payment = settlement.locked(payment_id, order_id=order_id)
        # Read under the lock: a twin may have been faster.
        notice = Notice.objects.get(pk=notice_id)
        if notice.processed_at is not None:
            return Verdict(notice.verdict)
        verdict = _judge(notice, order, payment)
        _close(notice_id, verdict)
    return verdict


def _process_apart(notice_id: int) -> Verdict:
    notice = Notice.objects.select_related("account", "request").get(pk=notice_id)
    if notice.processed_at is not None:
        return Verdict(notice.verdict)
    with hasty(settings.NOTICE_PROCESS_LIMIT_S):
        verdict = _apply_apart(notice)
        _close(notice_id, verdict)
    return verdict


def _apply_apart(notice: Notice) -> Verdict:
    if notice.kind == C2B:
        return c2b.apply(notice)
    if notice.kind == TIMEOUT:
        return inquiries.apply_timeout(notice)
    return inquiries.apply_result(notice)


def _close(notice_id: int, verdict: Verdict) -> None:
    Notice.objects.filter(pk=notice_id, processed_at__isnull=True).update(
        verdict=verdict, processed_at=clock.now(), next_try_at=None, error=""
    )


def attempt(notice_id: int) -> Verdict | None:
    """Process a notice, and if that breaks let it wait its turn; None then.

    The attempt is counted and the next one set before it is made, so one that
    kills its process is not tried for ever.
    """
    if not _count_attempt(notice_id):
        return None
    try:
        return process(notice_id)
    except Exception as error:
        logger.exception("notice %s could not be processed", notice_id)
        _remember(notice_id, error)
        return None


def process_now(notice_id: int) -> Verdict | None:
    """Process a notice in the request that brought it; None if it must wait.

    It was born due, so nothing needs counting before this first try; one that
    broke here is due again after the first back-off.
    """
    try:
        return process(notice_id)
    except Exception as error:
        logger.exception("notice %s must wait", notice_id)
        _try_soon(notice_id, error)
        return None


def due(limit: int, now: datetime | None = None) -> list[int]:
    """The notices whose next try is due, the longest waiting first."""
    rows = Notice.objects.filter(next_try_at__lte=now or clock.now())
    return list(rows.order_by("next_try_at").values_list("pk", flat=True)[:limit])


def reconsider(notice_id: int, raw: Raw) -> None:
    """Judge a notice again when the same bytes now came from a listed address."""
    if not raw.address_is_listed:
        return
    try:
        changed = Notice.objects.filter(
            pk=notice_id, verdict=Verdict.UNVERIFIED, address_is_listed=False
        ).update(
            address=raw.address or None,
            address_is_listed=True,
            verdict=Verdict.NEW,
            processed_at=None,
            next_try_at=clock.now() + clock.seconds(settings.NOTICE_FIRST_TRY_S),
        )
    except (DatabaseError, InterfaceError):
        logger.exception("notice %s could not be reconsidered", notice_id)
        return
    if changed:
        process_now(notice_id)


def process_again(notice_id: int) -> Verdict | None:
    """Process a parked or broken notice once more, because a person asked for it."""
    Notice.objects.filter(OWNED, pk=notice_id).update(
        processed_at=None, next_try_at=clock.now(), attempts=0, verdict=Verdict.NEW
    )
    return attempt(notice_id)


def is_owned(notice: Notice) -> bool:
    """Whether it is about something whose books it can change."""
    owners = (notice.payment_id, notice.account_id, notice.request_id)
    return any(owner is not None for owner in owners)


def ask_about_untokened(body: bytes) -> None:
    """Bring forward the question of a known undecided payment that a body names."""
    try:
        result = notices.parse_stk(body)
    except notices.Malformed:
        return
    payment_id = (
        Payment.objects.filter(
            checkout_request_id=result.checkout_request_id, decided_at__isnull=True
        )
        .values_list("pk", flat=True)
        .first()
    )
    if payment_id is None:
        return
    with hasty_transaction(settings.NOTICE_PROCESS_LIMIT_S):
        _, payment = settlement.locked(payment_id)
        schedule.bring_forward(payment)


def _judge(notice: Notice, order: Order, payment: Payment) -> Verdict:
    try:
        if notice.is_cut:
            raise notices.Malformed("longer than what is kept")
        result = notices.parse_stk(bytes(notice.body))
    except notices.Malformed as malformed:
        logger.warning("notice %s malformed: %s", notice.pk, malformed)
        schedule.bring_forward(payment)
        return Verdict.MALFORMED
    doubt = _doubt(notice, payment, result)
    if doubt:
        logger.warning("notice %s unverified: %s", notice.pk, doubt)
        schedule.bring_forward(payment)
        return Verdict.UNVERIFIED
    if not acceptance.learn_ids(
        payment,
        result.merchant_request_id,
        result.checkout_request_id,
        source=Source.CALLBACK,
    ):
        # Another payment took the id while we looked.
        return Verdict.UNVERIFIED
    outcome = _apply(notice, order, payment, result)
    if outcome in (Outcome.UNCERTAIN, Outcome.RECEIPT_TAKEN):
        schedule.bring_forward(payment)
    return VERDICTS[outcome]


def _doubt(notice: Notice, payment: Payment, result: notices.StkResult) -> str:
    """Why a well-formed claim is no proof for this payment; "" if it is."""
    if settings.MPESA_CALLBACK_IP_MODE == "enforce" and not notice.address_is_listed:
        return "address not listed"
    if payment.environment != settings.MPESA_ENV:
        return "another environment"
    ours, theirs = payment.checkout_request_id, result.checkout_request_id
    if ours is not None and ours != theirs:
        return "another CheckoutRequestID"
    merchant = payment.merchant_request_id
    if merchant and result.merchant_request_id not in ("", merchant):
        return "another MerchantRequestID"
    if ours is None and _is_anothers(payment, theirs):
        return "another payment's CheckoutRequestID"
    if result.is_success and result.amount != payment.amount:
        return "another amount"
    if result.is_success and result.receipt is None:
        return "no receipt"
    return ""


def _is_anothers(payment: Payment, checkout_request_id: str) -> bool:
    return (
        Payment.objects.filter(checkout_request_id=checkout_request_id)
        .exclude(pk=payment.pk)
        .exists()
    )


def _apply(
    notice: Notice, order: Order, payment: Payment, result: notices.StkResult
) -> Outcome:
    if result.is_success:
        proof = settlement.Proof(
            source=Source.CALLBACK,
            receipt=result.receipt,
            phone=result.phone,
            paid_at=result.paid_at,
            description=result.description,
            notice_id=notice.pk,
        )
        return settlement.record_success(order, payment, proof)
    judged = result_codes.judge(result.code).callback
    record: Any = settlement.record_failure
    if judged in (result_codes.Class.UNCERTAIN, result_codes.Class.PENDING):
        record = settlement.record_uncertainty
        acceptance.accept(order, payment, Source.CALLBACK)
    outcome: Outcome = record(
        order,
        payment,
        result.code,
        source=Source.CALLBACK,
        description=result.description,
        notice_id=notice.pk,
    )
    return outcome


def _row(kind: str, raw: Raw, verdict: Verdict, **facts: Any) -> Notice:
    return Notice(
        kind=kind,
        body=raw.body,
        body_hash=hashlib.sha256(raw.body).hexdigest(),
        is_cut=raw.is_cut,
        address=raw.address or None,
        address_is_listed=raw.address_is_listed,
        verdict=verdict,
        received_at=clock.now(),
        **facts,
    )


def _born_due(kind: str, raw: Raw, **owner: Any) -> Notice:
    row = _row(kind, raw, Verdict.NEW, **owner)
    row.next_try_at = row.received_at + clock.seconds(settings.NOTICE_FIRST_TRY_S)
    return row


def _insert(row: Notice) -> Stored:
    """Insert a notice, or count one more copy: one statement, its own commit."""
    statement, values = _insert_or_count(row)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        notice_id, copies = cursor.fetchone()
    return Stored(notice_id=notice_id, is_new=copies == 1)


def _insert_or_count(row: Notice) -> tuple[str, list[Any]]:
    """The statement for a row, by hand: the ORM's own returns no id on a conflict."""
    fields = [field for field in Notice._meta.concrete_fields if not field.primary_key]
    target = _conflict_target(row)
    quote = connection.ops.quote_name
    table = quote(Notice._meta.db_table)
    columns = ", ".join(quote(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    statement = (
        f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 -- names of our own model, values as parameters
        f" ON CONFLICT {target} DO UPDATE SET copies = {table}.copies + 1"
        " RETURNING id, copies"
    )
    values = [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for field in fields
    ]
    return statement, values


def _conflict_target(row: Notice) -> str:
    """Which unique constraint says that a row is there already."""
    if row.payment_id is not None:
        return "(payment_id, body_hash) WHERE payment_id IS NOT NULL"
    if row.account_id is not None:
        return "(account_id, body_hash) WHERE account_id IS NOT NULL"
    if row.request_id is not None:
        return "(request_id, kind, body_hash) WHERE request_id IS NOT NULL"
    return (
        "(kind, body_hash)"
        " WHERE account_id IS NULL AND payment_id IS NULL AND request_id IS NULL"
    )


def _insert_capped(kind: str, raw: Raw, verdict: Verdict) -> Stored | None:
    row = _row(kind, raw, verdict)
    known = Notice.objects.filter(~OWNED, kind=kind, body_hash=row.body_hash).exists()
    if not known:
        kept = Notice.objects.filter(kind=kind).count()
        if kept >= settings.REJECTED_NOTICES_KEPT:
            logger.warning("%s notices: %s kept, one more not", kind, kept)
            return None
    return _insert(row)


def _count_attempt(notice_id: int) -> bool:
    """Count an attempt before it is made and set the next; False when not due.

    The last attempt has no next one: the notice is parked if that one fails.
    """
    with transaction.atomic(durable=True):
        notice = Notice.objects.select_for_update(no_key=True).get(pk=notice_id)
        if notice.next_try_at is None or notice.next_try_at > clock.now():
            return False
        notice.attempts += 1
        backoff = settings.NOTICE_BACKOFF_S
        if notice.attempts <= len(backoff):
            wait_s = backoff[notice.attempts - 1]
            notice.next_try_at = clock.now() + clock.seconds(wait_s)
            later.enqueue_later(NOTICE_TASK, notice_id, seconds=wait_s)
        else:
            notice.next_try_at = None
            notice.verdict = Verdict.PARKED
            notice.error = notice.error or "Broke its worker each time it was tried."
        notice.save(update_fields=["attempts", "next_try_at", "verdict", "error"])
    return True


def _try_soon(notice_id: int, error: Exception) -> None:
    """Make a notice due sooner than by its birth, and keep what broke it.

    Only if that costs no time: the caller waits for an answer, and whoever held the
    lock that broke it may hold it still.
    """
    wait_s = settings.NOTICE_BACKOFF_S[0]
    try:
        with hasty_transaction(AFTERWARDS_LIMIT_S):
            Notice.objects.filter(pk=notice_id, processed_at__isnull=True).update(
                attempts=1,
                next_try_at=clock.now() + clock.seconds(wait_s),
                error=_text_of(error),
            )
            later.enqueue_later(NOTICE_TASK, notice_id, seconds=wait_s)
    except (DatabaseError, InterfaceError):
        logger.warning("notice %s waits for the sweep", notice_id)


def _remember(notice_id: int, error: Exception) -> None:
    try:
        Notice.objects.filter(pk=notice_id).update(error=_text_of(error))
    except (DatabaseError, InterfaceError):
        logger.exception("the error of notice %s could not be kept", notice_id)


def _text_of(error: Exception) -> str:
    return redacted(clean(f"{type(error).__name__}: {error}"))[:2000]
