"""Phases 2 and 3 of a prompt: call M-Pesa, commit what it said.

No transaction, lock or connection is held during the call. A lost answer is
unknown, never failed; a callback or the cashier may have been faster, so only a
payment that is still `created` is moved.
"""

from __future__ import annotations

import logging
import time
import uuid

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from payments import acceptance, accounts, gateways, intents, settlement
from payments.enums import Source
from payments.gateways.base import (
    Credentials,
    GatewayError,
    PushAccepted,
    PushRequest,
)
from payments.models import Payment
from smartduka.lib import clock
from smartduka.lib.money import whole
from smartduka.lib.transactions import give_back_connection, repeated


logger = logging.getLogger(__name__)

DESCRIPTION = "Sale"
HOOK_PATH = "/hooks/stk/"
# How long a database may be away when M-Pesa's answer is to be kept.
KEEP_PAUSES_S = (0.2, 1.0, 3.0)


def push(begun: intents.Begun) -> Payment:
    """Phases 2 and 3: call M-Pesa, commit what it said."""
    payment = begun.payment
    assert payment.account is not None
    credentials = accounts.credentials(payment.account)
    asked = PushRequest(
        phone=payment.phone,
        amount=whole(payment.amount),
        reference=payment.reference,
        description=DESCRIPTION,
        callback_url=settings.MPESA_CALLBACK_URL + HOOK_PATH + begun.token.text,
    )
    give_back_connection()
    return _keep_answer(payment.pk, _call(credentials, asked))


def _call(credentials: Credentials, asked: PushRequest) -> PushAccepted | GatewayError:
    try:
        return gateways.mpesa().push(credentials, asked)
    except GatewayError as error:
        return error
    except Exception as error:
        # Whatever broke, the prompt may be on the phone.
        logger.exception("a push broke off")
        return GatewayError(f"broke off: {type(error).__name__}", certain=False)


def _keep_answer(payment_id: uuid.UUID, answer: PushAccepted | GatewayError) -> Payment:
    """Commit the outcome, also through a short outage of the database.

    Without it the payment's id at M-Pesa would be lost for good, and only its
    callback could still find it.
    """
    for pause_s in KEEP_PAUSES_S:
        try:
            return _record_answer(payment_id, answer)
        except (OperationalError, InterfaceError) as error:
            logger.warning("payment %s: kept later: %s", payment_id, error)
            give_back_connection()
            time.sleep(pause_s)
    try:
        return _record_answer(payment_id, answer)
    except Exception:
        logger.critical("payment %s: answer not kept: %s", payment_id, answer)
        raise


@repeated
def _record_answer(
    payment_id: uuid.UUID, answer: PushAccepted | GatewayError
) -> Payment:
    """Phase 3. Opens a transaction, locks order and payment.

    Ids are always kept; the status moves only if it is still `created`. Once kept
    it is not kept again: the database may have lost its answer to our commit.
    """
    with transaction.atomic(durable=True):
        order, payment = settlement.locked(payment_id)
        if payment.answered_at is not None:
            return payment
        Payment.objects.filter(pk=payment.pk).update(answered_at=clock.now())
        payment.answered_at = clock.now()
        if isinstance(answer, PushAccepted):
            acceptance.learn_ids(
                payment,
                answer.merchant_request_id,
                answer.checkout_request_id,
                source=Source.PUSH,
            )
            acceptance.accept(order, payment, Source.PUSH)
        elif answer.certain:
            acceptance.refuse(order, payment, answer)
        else:
            acceptance.stay_unknown(order, payment, str(answer))
    return payment
