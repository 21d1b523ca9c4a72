"""Switching off one safeguard of ours, to show that chaos notices.

Within a run only, by replacing a name; nothing of this exists outside of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from payments import hook_tokens, inbox, notices, questions, settlement
from payments.chaos.patches import replaced
from payments.hook_tokens import Kind
from payments.models import Collection, Payment


@contextmanager
def no_lock() -> Iterator[None]:
    """Rows are read without their locks."""

    def select(queryset: QuerySet[Any], **_: object) -> QuerySet[Any]:
        return queryset.all()

    with replaced(QuerySet, "select_for_update", select):
        yield


@contextmanager
def no_unique_receipt() -> Iterator[None]:
    """Neither the code nor the database looks whether a receipt was used."""
    unique = next(
        one
        for one in Collection._meta.constraints
        if one.name == "receipt_is_one_collection_of_an_account"
    )

    class Unseen:
        """Collections as `record_success` sees them: none with that receipt."""

        @staticmethod
        def filter(**conditions: object) -> QuerySet[Collection]:
            rows = Collection.objects.filter(**conditions)
            return rows.none() if conditions.get("receipt") else rows

        @classmethod
        def select_for_update(cls, **_: object) -> type[Unseen]:
            return cls

        create = staticmethod(Collection.objects.create)

    class Blind:
        """Takes the model's place in `settlement`."""

        objects = Unseen

    with connection.schema_editor() as editor:
        editor.remove_constraint(Collection, unique)
    try:
        with replaced(settlement, "Collection", Blind):
            yield
    finally:
        Collection.objects.exclude(receipt=None).update(receipt=None, payment=None)
        with connection.schema_editor() as editor:
            editor.add_constraint(Collection, unique)


@contextmanager
def no_token() -> Iterator[None]:
    """Any token is taken; the payment is the one that the body names."""
    verify, store = hook_tokens.verify, inbox.store_for_payment

    def take_any(text: str, kind: Kind = Kind.STK) -> str | None:
        return verify(text, kind) or ("any" if kind is Kind.STK else None)

    def store_by_body(nonce_hash: str, raw: inbox.Raw) -> inbox.Stored:
        if nonce_hash == "any":
            nonce_hash = _named_by(raw.body) or nonce_hash
        return store(nonce_hash, raw)

    with ExitStack() as stack:
        stack.enter_context(replaced(hook_tokens, "verify", take_any))
        stack.enter_context(replaced(inbox, "store_for_payment", store_by_body))
        yield


@contextmanager
def no_amount() -> Iterator[None]:
    """The amount that a notice claims is taken for what was asked."""
    doubt = inbox._doubt

    def without_amount(
        notice: Any, payment: Payment, result: notices.StkResult
    ) -> str:  # fmt: skip
        said = dataclasses.replace(result, amount=payment.amount)
        return doubt(notice, payment, said)

    with replaced(inbox, "_doubt", without_amount):
        yield


@contextmanager
def no_ask_first() -> Iterator[None]:
    """Nobody asks before acting."""
    with replaced(questions, "ask_first", lambda payments: None):
        yield


SAFEGUARDS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "lock": no_lock,
    "unique-receipt": no_unique_receipt,
    "token": no_token,
    "amount": no_amount,
    "ask-first": no_ask_first,
}


def _named_by(body: bytes) -> str | None:
    try:
        result = notices.parse_stk(body)
    except notices.Malformed:
        return None
    return (
        Payment.objects.filter(checkout_request_id=result.checkout_request_id)
        .values_list("token_hash", flat=True)
        .first()
    )
