"""The code box of the till: an SMS or a code, and what M-Pesa told us of it.

A typed code is a claim of the person who typed it and counts nowhere as money. What
decides is what M-Pesa itself told us: a receipt or a collection. Is there none, the
claim is kept, and evidence that comes later pays the sale by itself
(`payments.matching`). Nobody may pay with a claim above the shop's limit; a manager
may raise the limit.

The cashier's request asks nobody and waits for nobody: it says what is known, and
hands a worker the question (`ask`). The page then looks `again` by itself.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction

from orders import lifecycle as order_lifecycle
from orders.enums import OrderStatus
from orders.models import Order
from orders.queries import order_for
from payments import (
    accounts,
    budget,
    code_answers,
    codes,
    drawer,
    inquiries,
    matching,
    queries,
    questions,
)
from payments.code_answers import CodeAnswer, Found
from payments.codes import ReadCode
from payments.drawer_refusals import NoSuchClaim, NotThisSales, TooManyCodes
from payments.enums import ClaimState, RequestKind, RequestState
from payments.models import (
    CodeClaim,
    MpesaAccount,
    OrganisationRequest,
    Payment,
    Receipt,
)
from shops.models import Shop
from shops.rights import Right
from shops.tenancy import Access
from smartduka.lib import clock, later
from smartduka.lib.transactions import repeated


logger = logging.getLogger(__name__)

ASK_TASK = "payments.tasks.ask_about_code"
# Looking codes up is bounded, so that nobody can try them out.
RATE_PER_USER = "20/m"
RATE_PER_SHOP = "60/m"
# How long a page says that M-Pesa is being asked, and how long it may look again.
ASKING_S = 60
MARK_LIVES_S = 3600
MARK_SALT = "payments.code_box"
MOST_CLAIMS = 8
UNDECIDED = (Found.HELD, Found.CLAIMED, Found.WAITING)
# M-Pesa said all that it will say to a question.
OVER = (RequestState.ANSWERED, RequestState.REFUSED)


def check(*, access: Access, order_id: object, text: str) -> CodeAnswer:
    """Say at once what is known of a pasted message or a typed code, for an open sale.

    What nobody told us of is kept as a claim of this sale. What is not decided is
    asked about by a worker: the sale's prompts too, for the code may be one of theirs
    (law 6). Opens transactions; no network.

    Raises Forbidden, NotFound, OrderNotOpen, UnreadableCode, TooManyCodes,
    NotConfigured.
    """
    access.require(Right.CODE_BOX)
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    read = codes.read(text)
    _count(access)
    answer = code_answers.look(access.shop, order, read)
    if answer.found is Found.HELD:
        # What held it may be decided by now.
        _resolve(access.shop, read.receipt)
        answer = code_answers.look(access.shop, order, read)
    if answer.found in (Found.CLAIMED, Found.WAITING):
        answer = _claimed(access, order, answer)
    now = clock.now()
    if answer.found in UNDECIDED:
        later.enqueue(ASK_TASK, str(order.pk), read.receipt)
        answer = replace(answer, is_asking=_may_be_answered(order, answer, now))
    return replace(answer, mark=_mark(order, read, now))


def again(*, access: Access, order_id: object, mark: str) -> CodeAnswer | None:
    """Say what is known by now of a code that `check` answered about. Only reads.

    `mark` is that answer's, so nothing can be tried out with it. None: there is
    nothing more to say, because the code was taken back, or the mark is old.
    Raises Forbidden, NotFound.
    """
    access.require(Right.CODE_BOX)
    order = order_for(access.shop, order_id)
    known = _read_mark(order, mark)
    if known is None or order.status != OrderStatus.OPEN:
        return None
    read, asked_at = known
    answer: CodeAnswer | None = code_answers.look(access.shop, order, read)
    assert answer is not None
    if answer.found in (Found.CLAIMED, Found.WAITING):
        answer = _of_claims(access.shop, order, answer)
    if answer is None:
        return None
    if answer.found in UNDECIDED:
        is_asking = _may_be_answered(order, answer, asked_at)
        answer = replace(answer, is_asking=is_asking)
    return replace(answer, mark=mark)


def ask(order_id: uuid.UUID | str, number: str) -> None:
    """Ask M-Pesa about a code that was typed for a sale, and about its prompts.

    What a worker does after `check`; doing it twice asks once. Call outside any
    transaction: this is network.
    """
    order = Order.objects.select_related("shop").get(pk=order_id)
    if order.status != OrderStatus.OPEN:
        return
    questions.ask_first(queries.undecided_of_order(order))
    _resolve(order.shop, number)
    claim = (
        CodeClaim.objects.filter(order=order, number=number, state=ClaimState.WAITING)
        .select_related("account", "created_by")
        .first()
    )
    if claim is not None:
        inquiries.ask_status(claim.account, number, asked_by=claim.created_by)


def use(*, access: Access, order_id: object, number: str) -> Payment:
    """Pay an open sale with the free money of a code, as `drawer.spend`.

    Call outside any transaction. Raises Forbidden, NotFound, OrderNotOpen,
    UnreadableCode, TooManyCodes, NotThisSales when it is not free any more, and what
    `drawer.spend` raises.
    """
    access.require(Right.CODE_BOX)
    order = order_for(access.shop, order_id)
    order_lifecycle.require_open(order)
    read = codes.read(number)
    _count(access)
    answer = code_answers.look(access.shop, order, read)
    if not answer.piece:
        raise NotThisSales
    return drawer.spend(
        access=access,
        piece=answer.piece,
        order_id=order.pk,
        reason=f"The code {answer.number} was typed for this sale.",
    )


def withdraw(*, access: Access, claim_id: object) -> CodeClaim:
    """Take back a code that waits; return the claim as it then is.

    Withdrawing twice is one withdrawing. Raises Forbidden, NoSuchClaim.
    """
    access.require(Right.CODE_BOX)
    try:
        key = uuid.UUID(str(claim_id))
    except ValueError:
        raise NoSuchClaim from None
    CodeClaim.objects.filter(pk=key, shop=access.shop, state=ClaimState.WAITING).update(
        state=ClaimState.WITHDRAWN, closed_at=clock.now()
    )
    claim = CodeClaim.objects.filter(pk=key, shop=access.shop).first()
    if claim is None:
        raise NoSuchClaim
    return claim


def claims_of(order: Order) -> list[CodeClaim]:
    """The codes that wait for M-Pesa, and those that it denied; the newest first.

    Of a code that was typed again only what became of it last.
    """
    rows = CodeClaim.objects.filter(order=order).order_by("-created_at", "-id")
    last: dict[str, CodeClaim] = {}
    for claim in rows[:MOST_CLAIMS]:
        last.setdefault(claim.number, claim)
    shown = (ClaimState.WAITING, ClaimState.DENIED)
    return [claim for claim in last.values() if claim.state in shown]


def _count(access: Access) -> None:
    for group, key, rate in (
        ("code-user", access.user.pk, RATE_PER_USER),
        ("code-shop", access.shop.pk, RATE_PER_SHOP),
    ):
        usage = budget.usage_of(group, str(key), rate)
        if usage is not None and usage["should_limit"]:
            raise TooManyCodes(details={"retryAfter": budget.seconds_to_room(usage)})


def _resolve(shop: Shop, number: str) -> None:
    for receipt in Receipt.objects.filter(code_answers.in_reach(shop), number=number):
        matching.look(receipt.pk)


def _mark(order: Order, read: ReadCode, at: datetime) -> str:
    """What lets a page look again: signed, and of no use for another sale or code."""
    said = "" if read.amount is None else str(read.amount)
    moment = int(at.timestamp())
    facts = [str(order.pk), read.receipt, read.is_message, said, moment]
    return signing.dumps(facts, salt=MARK_SALT)


def _read_mark(order: Order, mark: str) -> tuple[ReadCode, datetime] | None:
    try:
        facts = signing.loads(mark, salt=MARK_SALT, max_age=MARK_LIVES_S)
    except signing.BadSignature:
        return None
    key, number, is_message, said, at = facts
    if key != str(order.pk):
        return None
    read = ReadCode(
        number,
        is_message=is_message,
        amount=Decimal(said) if said else None,
        suggestions=() if is_message else codes.suggestions(number),
    )
    return read, datetime.fromtimestamp(at, UTC)


def _may_be_answered(order: Order, answer: CodeAnswer, asked_at: datetime) -> bool:
    """Whether an answer to the question of that moment may come any moment."""
    if clock.now() >= asked_at + clock.seconds(ASKING_S):
        return False
    if answer.found is Found.HELD or queries.undecided_of_order(order).exists():
        return True
    if answer.claim is None or not inquiries.can_ask(answer.claim.account):
        return False
    since = asked_at - clock.seconds(settings.STATUS_MIN_GAP_S)
    request = (
        OrganisationRequest.objects.filter(
            kind=RequestKind.STATUS,
            account=answer.claim.account,
            receipt=answer.number,
            asked_at__gt=since,
        )
        .order_by("-asked_at")
        .first()
    )
    return request is None or request.state not in OVER


def _claimed(access: Access, order: Order, answer: CodeAnswer) -> CodeAnswer:
    """Keep a code as a claim of the sale; another sale may have it already."""
    account = _account_for(access.shop, answer.number)
    claim = _claim(access, order, account, answer)
    if claim is None:
        return _taken(answer)
    if claim.order_id != order.pk:
        return _typed_elsewhere(answer, claim)
    # Its evidence may have come between the look and the claim.
    _resolve(access.shop, answer.number)
    return replace(answer, claim=claim)


def _of_claims(shop: Shop, order: Order, answer: CodeAnswer) -> CodeAnswer | None:
    """What became of the claim of a code that M-Pesa has not confirmed."""
    typed = CodeClaim.objects.filter(number=answer.number)
    own = typed.filter(order=order).select_related("account").first()
    if own is not None and own.state == ClaimState.WAITING:
        return replace(answer, claim=own)
    if own is not None and own.state == ClaimState.DENIED:
        return replace(answer, found=Found.DENIED, claim=own, why=own.why)
    other = (
        typed.filter(code_answers.in_reach(shop), state=ClaimState.WAITING)
        .select_related("order", "created_by")
        .first()
    )
    if other is None:
        return None
    if other.shop_id != shop.pk:
        return _taken(answer)
    return _typed_elsewhere(answer, other)


def _taken(answer: CodeAnswer) -> CodeAnswer:
    return CodeAnswer(Found.TAKEN, answer.number, balance=answer.balance)


def _typed_elsewhere(answer: CodeAnswer, claim: CodeClaim) -> CodeAnswer:
    return CodeAnswer(
        Found.USED,
        answer.number,
        balance=answer.balance,
        sale_number=claim.order.number,
        used_by=claim.created_by.get_username(),
        used_at=claim.created_at,
        claim=claim,
    )


def _account_for(shop: Shop, number: str) -> MpesaAccount:
    """The account that told of a code, else the one that takes the shop's money now.

    Raises NotConfigured.
    """
    told = (
        Receipt.objects.filter(
            code_answers.in_reach(shop), number=number, account__shop=shop
        )
        .select_related("account")
        .first()
    )
    return told.account if told is not None else accounts.account_of(shop)


@repeated
def _claim(
    access: Access, order: Order, account: MpesaAccount, answer: CodeAnswer
) -> CodeClaim | None:
    """The waiting claim of a code in this shop: the one that is there, or a new one.

    None when another shop has typed it for a sale of its own.
    """
    try:
        with transaction.atomic(durable=True):
            return CodeClaim.objects.create(
                shop=access.shop,
                order=order,
                account=account,
                number=answer.number,
                said_amount=answer.said_amount,
                created_by=access.user,
                created_at=clock.now(),
            )
    except IntegrityError:
        return (
            CodeClaim.objects.filter(
                account=account,
                number=answer.number,
                state=ClaimState.WAITING,
                shop=access.shop,
            )
            .select_related("order", "created_by")
            .first()
        )
