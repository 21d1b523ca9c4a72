"""What became of a receipt, or of a request of ours? Asked of M-Pesa, answered later.

Transaction Status answers to a hook whose token is that of our own request. Proof that
a receipt is money of ours needs all of this together: the token, both conversation
ids, the receipt, this account as the one credited, another one debited, the state
Completed, and an amount. It cannot prove that the money was not sent back since, for
M-Pesa does not publish what it says then: a reversal that is proved later is decisive.

Results of reversals come the same way and are handed on.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from payments import disputes, errands, matching, receipts, reversals
from payments.enums import (
    ClaimState,
    RequestKind,
    RequestState,
    Source,
    Verdict,
)
from payments.errands import Errand
from payments.gateways.base import GatewayError
from payments.gateways.organisation import Acknowledged, StatusRequest
from payments.models import (
    CodeClaim,
    Collection,
    MpesaAccount,
    Notice,
    OrganisationRequest,
    Receipt,
)
from payments.notices_results import (
    RequestResult,
    TransactionState,
    TransactionStatus,
    parse_result,
    read_reversal,
    read_status,
)
from payments.readings import Malformed
from payments.receipts import Told
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

can_ask = errands.can_ask

# M-Pesa looked, and there is no such transaction of this account.
NO_SUCH = frozenset({"25", "R000002"})
NEVER_CAME = (
    TransactionState.CANCELLED,
    TransactionState.DECLINED,
    TransactionState.EXPIRED,
)
# So long a request may be under way; then whoever sent it has died.
SENDING = timedelta(minutes=2)
# Not published, but it can mean one thing only.
REVERSED_WORDS = frozenset({"reversed"})


class TooEarly(Exception):
    """A result is faster than the answer to our own request: look again in a moment."""


def ask_status(
    account: MpesaAccount, number: str, *, asked_by: object = None
) -> OrganisationRequest | None:
    """Ask M-Pesa what became of a receipt; return the request as it then is.

    None when it was not asked: the account has no initiator, it was asked within the
    last STATUS_MIN_GAP_S, or a question is being sent. The answer comes to
    `apply_result`. Call outside any transaction.
    """
    if not can_ask(account):
        return None
    errand = _begin(account.pk, number, asked_by, None)
    return None if errand is None else _send(errand)


def ask_about(
    reversal: OrganisationRequest, *, asked_by: object = None
) -> OrganisationRequest | None:
    """Ask what became of a reversal that we requested; None as with `ask_status`.

    By the id that M-Pesa gave our request. If that answer was lost, the receipt that
    was to be reversed is asked about instead.
    """
    account = reversal.account
    if not can_ask(account):
        return None
    about = reversal if reversal.originator_conversation_id else None
    errand = _begin(account.pk, reversal.receipt, asked_by, about)
    return None if errand is None else _send(errand)


def apply_result(notice: Notice) -> Verdict:
    """Judge a body that came to a ResultURL and apply what it proves.

    Doing it twice changes nothing. Opens transactions of its own. Raises TooEarly
    while our own request is under way and its ids are not known: try again.
    """
    request = _request_of(notice)
    if request.account.environment != settings.MPESA_ENV:
        return Verdict.UNVERIFIED
    try:
        if notice.is_cut:
            raise Malformed("longer than what is kept")
        result = parse_result(bytes(notice.body))
    except Malformed as malformed:
        logger.warning("notice %s malformed: %s", notice.pk, malformed)
        _doubt(request, "M-Pesa's result could not be read: it is asked")
        return Verdict.MALFORMED
    doubt = _why_not_ours(notice, request, result)
    if doubt:
        logger.warning("notice %s unverified: %s", notice.pk, doubt)
        _doubt(request, "A result came that does not fit: M-Pesa is asked")
        return Verdict.UNVERIFIED
    _learn_ids(request.pk, result)
    if request.kind == RequestKind.REVERSAL:
        return reversals.apply_result(request.pk, result)
    return _apply_status(request, result)


def apply_timeout(notice: Notice) -> Verdict:
    """Take note that M-Pesa gave up waiting, which proves nothing, whatever it says."""
    request = _request_of(notice)
    if request.state == RequestState.ANSWERED:
        return Verdict.DUPLICATE
    _set_unknown(request.pk)
    _doubt(request, "M-Pesa gave up waiting: it may have been done")
    return Verdict.UNCERTAIN


@repeated
def _begin(
    account_id: uuid.UUID,
    number: str,
    asked_by: object,
    about: OrganisationRequest | None,
) -> Errand | None:
    """Store the question, unless the same was asked a moment ago. Locks the account.

    Who did not hear of an earlier one by now does not wait for it any more: one
    question is open. Its result is taken all the same, should it come.
    """
    with transaction.atomic(durable=True):
        account = MpesaAccount.objects.select_for_update(no_key=True).get(pk=account_id)
        now = clock.now()
        asked = OrganisationRequest.objects.filter(
            kind=RequestKind.STATUS, account=account, receipt=number, about=about
        )
        is_young = Q(asked_at__gt=now - clock.seconds(settings.STATUS_MIN_GAP_S))
        is_under_way = Q(state=RequestState.MADE, asked_at__gt=now - SENDING)
        if asked.filter(is_young | is_under_way).exists():
            return None
        asked.filter(state__in=(RequestState.MADE, RequestState.SENT)).update(
            state=RequestState.UNKNOWN
        )
        return errands.begin(
            RequestKind.STATUS, account, number, asked_by=asked_by, about=about
        )


def _send(errand: Errand) -> OrganisationRequest:
    request = errand.request

    answer = errands.call(
        errand,
        lambda gateway, account, initiator, urls: gateway.transaction_status(
            account,
            initiator,
            (
                StatusRequest(urls, receipt=request.receipt)
                if request.about is None
                else StatusRequest(
                    urls,
                    original_conversation_id=request.about.originator_conversation_id,
                )
            ),
            limit_s=settings.PUSH_READ_TIMEOUT_S,
        ),
    )
    return errands.kept(lambda: _record_answer(request.pk, answer))


@repeated
def _record_answer(
    request_id: uuid.UUID, answer: Acknowledged | GatewayError
) -> OrganisationRequest:
    with transaction.atomic(durable=True):
        request = errands.locked(request_id)
        errands.record(request, answer)
    return request


def _request_of(notice: Notice) -> OrganisationRequest:
    assert notice.request_id is not None
    return OrganisationRequest.objects.select_related("account", "about").get(
        pk=notice.request_id
    )


def _why_not_ours(
    notice: Notice, request: OrganisationRequest, result: RequestResult
) -> str:
    """Why a well-formed result is no answer to this request; "" if it is.

    Raises TooEarly when only a moment's patience can tell.
    """
    if settings.MPESA_CALLBACK_IP_MODE == "enforce" and not notice.address_is_listed:
        return "address not listed"
    if request.conversation_id:
        fits = result.answers(
            conversation_id=request.conversation_id,
            originator_conversation_id=request.originator_conversation_id,
        )
        return "" if fits else "another conversation"
    if not (result.conversation_id and result.originator_conversation_id):
        return "no conversation ids"
    if _named_receipt(request, result) == request.receipt and request.about is None:
        return ""
    if request.state == RequestState.MADE and clock.now() < request.asked_at + SENDING:
        raise TooEarly(f"request {request.pk} is still being sent")
    return "ids unknown, and another receipt or none"


def _named_receipt(request: OrganisationRequest, result: RequestResult) -> str | None:
    """The receipt that a result says it is about."""
    if request.kind == RequestKind.REVERSAL:
        return read_reversal(result).original_receipt
    return read_status(result).receipt


@repeated
def _learn_ids(request_id: uuid.UUID, result: RequestResult) -> None:
    with transaction.atomic(durable=True):
        errands.learn_ids(
            errands.locked(request_id),
            result.conversation_id,
            result.originator_conversation_id,
        )


@repeated
def _set_unknown(request_id: uuid.UUID) -> None:
    with transaction.atomic(durable=True):
        request = errands.locked(request_id)
        if request.state in (RequestState.MADE, RequestState.SENT):
            request.state = RequestState.UNKNOWN
            request.save(update_fields=["state"])


def _doubt(request: OrganisationRequest, why: str) -> None:
    if request.kind == RequestKind.REVERSAL:
        reversals.doubt(request.pk, why)


# Transaction Status.


def _apply_status(request: OrganisationRequest, result: RequestResult) -> Verdict:
    status = read_status(result)
    was_answered = request.state == RequestState.ANSWERED
    if not result.is_final:
        return Verdict.UNCERTAIN
    if request.about is not None:
        verdict = Verdict.UNCERTAIN
        if result.is_success:
            verdict = reversals.apply_status(request.about.pk, status)
    elif result.code in NO_SUCH:
        _deny_claims(request, "M-Pesa does not know this code. Look at the SMS again.")
        verdict = Verdict.APPLIED
    elif not result.is_success:
        verdict = Verdict.UNCERTAIN
    elif status.receipt != request.receipt:
        verdict = Verdict.UNVERIFIED
    else:
        verdict = _apply_receipt(request, status)
    if was_answered and verdict == Verdict.APPLIED:
        return Verdict.DUPLICATE
    _answered(request.pk, result)
    return verdict


def _apply_receipt(request: OrganisationRequest, status: TransactionStatus) -> Verdict:
    """Apply what M-Pesa says of the very receipt that was asked about."""
    if status.word.strip().lower() in REVERSED_WORDS:
        return _apply_reversed(request, status)
    if status.state in NEVER_CAME:
        _deny_claims(request, f"M-Pesa did not carry it out: {status.word}.")
        return Verdict.APPLIED
    if status.state != TransactionState.COMPLETED:
        return Verdict.UNCERTAIN
    account, payee = request.account, status.credit_party
    if payee is not None and payee.number not in (account.shortcode, account.party_b):
        _deny_claims(request, "This payment went to somebody else.")
        return Verdict.UNVERIFIED
    if not _came_here(request, status):
        return Verdict.UNVERIFIED
    matching.resolve(_sight(request, status).pk)
    return Verdict.APPLIED


def _came_here(request: OrganisationRequest, status: TransactionStatus) -> bool:
    """Whether so much was paid by somebody else into the account that asked."""
    numbers = {request.account.shortcode, request.account.party_b}
    payer, payee = status.debit_party, status.credit_party
    is_incoming = payer is None or payer.number not in numbers
    return (
        payee is not None
        and payee.number in numbers
        and is_incoming
        and status.amount is not None
    )


@repeated
def _sight(request: OrganisationRequest, status: TransactionStatus) -> Receipt:
    payer = status.debit_party
    assert status.amount is not None
    with transaction.atomic(durable=True):
        return receipts.sight(
            request.account,
            Told(
                number=request.receipt,
                amount=status.amount,
                payer=payer.number if payer else "",
                payer_name=payer.name if payer else "",
                paid_at=status.finalised_at or status.initiated_at,
            ),
            Source.STATUS,
        )


def _apply_reversed(request: OrganisationRequest, status: TransactionStatus) -> Verdict:
    """M-Pesa's books say that this payment was sent back.

    One that we did not know is booked as well, or its row in another source would be
    counted later. Raises ReceiptNotCounted while it is held: try again.
    """
    rows = Collection.objects.filter(account=request.account, receipt=request.receipt)
    collection = rows.first()
    if collection is None:
        _deny_claims(request, "M-Pesa sent this payment back to the customer.")
        if not _came_here(request, status):
            return Verdict.APPLIED
        matching.resolve(_sight(request, status).pk)
        collection = rows.first()
    if collection is None:
        raise reversals.ReceiptNotCounted(f"receipt {request.receipt} is held")
    if collection.amount != status.amount:
        return Verdict.UNVERIFIED
    reversals.prove_reversed(
        collection, receipt="", source=Source.STATUS, at=clock.now()
    )
    return Verdict.APPLIED


def _deny_claims(request: OrganisationRequest, why: str) -> None:
    """Tell those who typed this code that it is not money for them.

    What only a notice claims under that number is not to be spent either, until
    M-Pesa's books have it; and what was spent of it by then is disputed.
    """
    Receipt.objects.filter(
        account=request.account,
        number=request.receipt,
        proven_at__isnull=True,
        collection__isnull=True,
    ).update(alarm=why[:200])
    CodeClaim.objects.filter(
        account=request.account, number=request.receipt, state=ClaimState.WAITING
    ).update(state=ClaimState.DENIED, why=why[:200], closed_at=clock.now())
    # After the receipt: who counts it this moment has committed, or sees the alarm.
    disputes.dispute_claimed(request.account, request.receipt, why[:200])


@repeated
def _answered(request_id: uuid.UUID, result: RequestResult) -> None:
    with transaction.atomic(durable=True):
        request = errands.locked(request_id)
        request.state = RequestState.ANSWERED
        request.answered_at = clock.now()
        request.result_code = result.code
        request.result_desc = result.description
        request.save(
            update_fields=["state", "answered_at", "result_code", "result_desc"]
        )
