"""A shop's own till: what M-Pesa tells of money that came to it, with no reference.

Whose money a row is, only its amount, its time and its payer can say.
"""

from django.db import transaction

from payments import ledger, matching, receipts, settlement
from payments.enums import Source
from payments.models import MpesaSettings, Payment
from payments.receipts import Told
from payments.settlement import Proof
from smartduka.lib import clock
from tests.factories import MpesaAccountFactory
from tests.support.facts import kes


R1, R2 = "UAE5B2K9QT", "UAE5B2K9QU"
FULL = "254712345678"
MASKED, OTHERS = "2547 ***** 678", "2547 ***** 111"


def own_till(shop, **facts):
    """Give the shop a till of its own, without an initiator unless `facts` say so."""
    account = MpesaAccountFactory(
        shop=shop, type="till", shortcode="600300", party_b="300300", **facts
    )
    MpesaSettings.objects.update_or_create(
        shop=shop, defaults={"account": account, "uses_platform_account": False}
    )
    return account


def sight(account, number=R1, amount=250, source=Source.PULL, payer=MASKED, **facts):
    """Let M-Pesa tell of a payment; return its receipt as it then stands."""
    with transaction.atomic():
        told = Told(number, kes(amount), payer, "JANE", **facts)
        receipt = receipts.sight(account, told, source)
    matching.resolve(receipt.pk)
    receipt.refresh_from_db()
    return receipt


def succeed(payment, receipt=R1, source=Source.CALLBACK):
    """M-Pesa says that the prompt was paid; return what came of it."""
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        proof = Proof(source, receipt, FULL if receipt else "")
        return settlement.record_success(order, held, proof)


def fail(payment, code="1032", source=Source.CALLBACK):
    """M-Pesa says that it was not paid, and says so again to a question."""
    with transaction.atomic():
        order, held = settlement.locked(payment.pk)
        outcome = settlement.record_failure(order, held, code, source=source)
    Payment.objects.filter(pk=payment.pk).update(asked_at=clock.now())
    return outcome


def kinds(collection):
    """Where money lies: kind, amount and sale of each portion that stands."""
    rows = ledger.current(collection).order_by("pk")
    return [(one.kind, one.amount, one.order_id) for one in rows]
