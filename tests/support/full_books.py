"""Books with something of everything: rows that a day at the till leaves behind.

Made by the domain's own functions, with an M-Pesa of this process in the gateway's
place. `python manage.py shell -c "from tests.support import full_books;
full_books.make()"` fills the demo shops of an installation.
"""

from datetime import timedelta
from decimal import Decimal

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from orders import checkout, lifecycle
from payments import (
    accounts,
    cash,
    corrections,
    drawer,
    gateways,
    inbox,
    matching,
    receipts,
    refunds,
    settlement,
    statement_import,
)
from payments.enums import PaymentStatus, Source, Verdict
from payments.gateways.base import GatewayError
from payments.models import Collection, MpesaSettings, Notice, Payment, Receipt
from payments.receipts import Told
from shops import stock
from shops.models import Membership, Product, Shop
from shops.tenancy import Access
from smartduka.lib import clock
from tests.factories import PaymentFactory
from tests.support import by_hand, callbacks, statements
from tests.support.gateway import FakeMpesa
from tests.support.organisation import FakeOrganisation, reversed_, tell


# More than this needs two people in these shops.
SECOND_PERSON_FROM = 500


class BothMpesas(FakeOrganisation, FakeMpesa):
    """One stand-in for prompts and for what an organisation asks."""

    def __init__(self):
        FakeMpesa.__init__(self)
        FakeOrganisation.__init__(self)


def make():
    """Fill the demo shops: each with a day of its own, and nobody's rows."""
    fake = BothMpesas()
    with gateways.using(fake):
        shops = list(Shop.objects.order_by("pk"))
        for number, shop in enumerate(shops):
            Day(shop, fake, f"UKL{number}").run()
        nobodys(shops[0])


class Day:
    """What happens in one shop. Receipt numbers begin with `series`."""

    def __init__(self, shop, fake, series):
        self.shop, self.fake, self.series, self.count = shop, fake, series, 0
        people = {row.role: row.user for row in Membership.objects.filter(shop=shop)}
        self.owner, self.manager = people["owner"], people["manager"]
        self.cashier = people["cashier"]
        self.goods = list(Product.objects.filter(shop=shop).order_by("pk"))
        settings, _ = MpesaSettings.objects.update_or_create(
            shop=shop, defaults={"second_person_from": SECOND_PERSON_FROM}
        )
        self.account = settings.account or accounts.platform_account()

    def run(self):
        """Do it all."""
        self.paid()
        self.not_paid()
        self.nobody_knows()
        self.surplus()
        self.messages()
        self.by_hand()
        self.money_back()
        self.statement()
        self.shelf()

    def as_(self, user):
        role = Membership.objects.get(user=user, shop=self.shop).role
        return Access(user, self.shop, role)

    def number(self):
        self.count += 1
        return f"{self.series}{self.count:06}"

    def sale(self, *items):
        chosen = items or ((0, 2), (1, 1))
        lines = [checkout.Item(str(self.goods[i].pk), n) for i, n in chosen]
        return checkout.place_order(shop=self.shop, actor=self.cashier, items=lines)

    def prompt(self, *items, phone="254712345678", **facts):
        return PaymentFactory(
            order=self.sale(*items), account=self.account, phone=phone,
            created_by=self.cashier, **facts,
        )  # fmt: skip

    def hear(self, payment, body, address="196.201.214.200"):
        stored = inbox.store_for_payment(
            payment.token_hash,
            inbox.Raw(body, False, address, address.startswith("196.")),
        )
        inbox.process_now(stored.notice_id)
        payment.refresh_from_db()
        return Notice.objects.get(pk=stored.notice_id)

    def settled(self, *items, **facts):
        payment = self.prompt(*items, **facts)
        body = callbacks.success(payment, receipt=self.number())
        self.hear(payment, body)
        return payment

    def paid(self):
        """Paid by prompt, by cash, and once proved without a receipt yet."""
        self.settled()
        self.settled((5, 3), phone="254722000111")
        order = self.sale((3, 1))
        cash.take(
            access=self.as_(self.cashier), order_id=order.pk, amount=200, key=None
        )
        proved = self.prompt((4, 2))
        with transaction.atomic():
            order, locked = settlement.locked(proved.pk)
            proof = settlement.Proof(Source.QUERY, None, "", None)
            settlement.record_success(order, locked, proof)

    def not_paid(self):
        """Every reason that customers give, and one attempt that tries again."""
        for code in (1032, 1, 2001, 1037):
            self.hear(payment := self.prompt(), callbacks.failure(payment, code))
        failed = self.prompt((13, 1))
        self.hear(failed, callbacks.failure(failed, 1032))
        PaymentFactory(
            order=failed.order, account=self.account, phone=failed.phone,
            created_by=self.cashier, retry_of=failed,
        )  # fmt: skip

    def nobody_knows(self):
        """Undecided: fresh, for too long, expired, and given up by the cashier."""
        self.prompt(phone="254733123456")
        long_ago = clock.now() - timedelta(minutes=12)
        self.prompt((6, 1), created_at=long_ago)
        self.prompt((7, 1), created_at=long_ago, status=PaymentStatus.EXPIRED)
        self.prompt((8, 4), status=PaymentStatus.CANCELLED)
        self.prompt((9, 1), status=PaymentStatus.CREATED, checkout_request_id=None)

    def surplus(self):
        """A sale paid by cash and by a prompt as well; and late money on a cancelled."""
        both = self.prompt((10, 1))
        cash.take(
            access=self.as_(self.cashier), order_id=both.order.pk, amount=230,
            key=None,
        )  # fmt: skip
        self.hear(both, callbacks.success(both, receipt=self.number()))
        late = self.prompt((11, 1))
        lifecycle.cancel(late.order.pk, actor=self.cashier)
        self.hear(late, callbacks.success(late, receipt=self.number()))
        kept = self.prompt((12, 2))
        cash.take(
            access=self.as_(self.cashier), order_id=kept.order.pk, amount=161,
            key=None,
        )  # fmt: skip
        self.hear(kept, callbacks.success(kept, receipt=self.number()))
        [piece] = [
            one for one in drawer.pieces(self.as_(self.owner))
            if one.amount == kept.amount
        ][:1]  # fmt: skip
        drawer.keep_as_credit(
            access=self.as_(self.manager), piece=piece.key,
            customer="Jane Wanjiru", reason="Paid twice, buys tomorrow",
        )  # fmt: skip

    def messages(self):
        """Messages that were broken, doubtful, doubled, contradicting and parked."""
        payment = self.settled((14, 1))
        body = callbacks.success(payment, receipt=payment.receipt)
        self.hear(
            payment, callbacks.success(payment, receipt=payment.receipt, extra=" ")
        )
        self.hear(payment, callbacks.failure(payment, 1032))
        doubted = self.prompt((15, 1))
        self.hear(doubted, callbacks.success(doubted, amount=1))
        self.hear(doubted, b'{"Body": \x00\xff not JSON, 254712345678', "203.0.113.7")
        parked = self.prompt((2, 1))
        notice = self.hear(parked, body.replace(b"Balance", b"Balances"))
        Notice.objects.filter(pk=notice.pk).update(
            verdict=Verdict.PARKED, processed_at=None, next_try_at=None, attempts=6,
            error="OperationalError: the database is locked",
        )  # fmt: skip

    def arrives(self, amount, source, reference=""):
        number = self.number()
        with transaction.atomic():
            told = Told(
                number, Decimal(amount), "2547 ***** 149", "JANE", reference,
                clock.now() - timedelta(minutes=3),
            )  # fmt: skip
            receipt = receipts.sight(self.account, told, source)
        matching.resolve(receipt.pk)
        return Receipt.objects.get(pk=receipt.pk)

    def by_hand(self):
        """Paid by hand: claimed, unmatched, held; on the platform's handed over."""
        self.arrives(77, Source.C2B, "MAMA")
        by_hand.deliver(
            self.account, by_hand.confirmation(self.account, receipt=self.number())
        )
        handed = self.arrives(640, Source.PULL, "DUKA YA MAMA")
        self.arrives(35, Source.STATEMENT, "what is this, 0712 345 678 please call me")
        held = self.prompt((6, 2))
        self.arrives(int(held.amount), Source.PULL)
        if self.account.shop_id is None:
            operator = get_user_model().objects.filter(is_superuser=True)[0]
            hand_over(
                operator, Collection.objects.get(receipt=handed.number), self.shop
            )

    def money_of(self, payment):
        return Collection.objects.get(payment=payment)

    def ask_back(self, payment, method, *, amount=None, who=None, why="Did not fit"):
        money = self.money_of(payment)
        return refunds.ask(
            access=self.as_(who or self.manager), collection_id=money.pk,
            method=method, amount=amount or int(money.amount), reason=why,
            restocks=False,
        )  # fmt: skip

    def money_back(self):
        """Refunds in each of their states."""
        self.ask_back(self.settled(), "cash", amount=100)
        self.ask_back(self.settled((5, 2)), "cash")
        refused = self.ask_back(self.settled((5, 2)), "manual")
        refunds.refuse(
            access=self.as_(self.owner), refund_id=refused.pk,
            reason="The goods were used",
        )  # fmt: skip
        self.fake.answers.append(GatewayError("HTTP 400 Invalid", certain=True))
        self.ask_back(self.settled(), "reversal")
        self.fake.answers.append(GatewayError("HTTP 504", certain=False))
        self.ask_back(self.settled(), "reversal")
        done = self.ask_back(self.settled(), "reversal", why="Wrong number paid")
        done.refresh_from_db()
        if done.request is not None:
            receipt = f"{self.series}BACK01"
            tell(
                done.request, reversed_(done.request, str(done.amount), receipt=receipt)
            )

    def statement(self):
        """A statement that lacks some of our money, has a fee and an unread row."""
        wrong = [self.settled((4, 1)) for _ in range(4)]
        past = clock.now().replace(microsecond=0) - timedelta(days=2)
        for row in wrong:
            Collection.objects.filter(payment=row).update(paid_at=past)
            Payment.objects.filter(pk=row.pk).update(
                created_at=past, completed_at=past, decided_at=past
            )
        first, end = past - timedelta(hours=2), past + timedelta(hours=2)
        data = statements.as_csv(
            self.account, first, end,
            statements.paid(f"{self.series}STATE1", past, "40.00"),
            statements.charge(f"{self.series}FEE001", past),
            statements.sweep(f"{self.series}BANK01", past),
        )  # fmt: skip
        statement_import.imported(
            account=self.account, data=data, file_name=f"{self.series} Org Account.csv",
            actor=self.owner,
        )  # fmt: skip
        broken = statements.as_csv(
            self.account, first, end,
            statements.paid(f"{self.series}STATE2", past, "12,00,0"),
            statements.paid(f"{self.series}STATE3", past, "60.00"),
        )  # fmt: skip
        statement_import.imported(
            account=self.account, data=broken, file_name="ya jana.csv",
            actor=self.manager,
        )  # fmt: skip
        for row, act in zip(wrong, (None, "wait", "book", "refuse"), strict=True):
            self.correct(self.money_of(row), act)

    def correct(self, money, act):
        if act is None or not money.disputed:
            return
        row = corrections.ask_correction(
            access=self.as_(self.manager), collection_id=money.pk,
            amount=-money.amount, reason="Looked in the portal: it is not there",
        )  # fmt: skip
        if act == "book":
            corrections.book(access=self.as_(self.owner), correction_id=row.pk)
        if act == "refuse":
            corrections.refuse(access=self.as_(self.owner), correction_id=row.pk)

    def shelf(self):
        """Goods that came and goods that were counted."""
        with transaction.atomic():
            stock.receive(
                self.goods[0], quantity=24, actor=self.owner, reference="Invoice 88"
            )
            stock.count_correction(self.goods[1], counted=9, actor=self.manager)


def hand_over(operator, collection, shop):
    """Hand money to a shop as the operator's page does, with the reason kept."""
    drawer.hand_to_shop(operator, collection, shop)
    LogEntry.objects.create(
        user=operator, content_type=ContentType.objects.get_for_model(Collection),
        object_id=str(collection.pk), object_repr=str(collection),
        action_flag=CHANGE,
        change_message=f"Handed to {shop}: the owner showed the customer's SMS",
    )  # fmt: skip


def nobodys(shop):
    """Rows that are no shop's: the operator's alone."""
    raw = inbox.Raw(b"GET me your money, 254712345678", False, "203.0.113.7", False)
    inbox.store_untokened(raw)
    inbox.count_rejected(raw)
    account = accounts.platform_account()
    with transaction.atomic():
        told = Told("UKL9NOBODY", Decimal(250), "2547 ***** 678", "JANE", "MAMA MBOGA")
        receipt = receipts.sight(account, told, Source.STATEMENT)
    matching.resolve(receipt.pk)
