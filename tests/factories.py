"""Rows for tests, one factory per model; what they make satisfies every constraint.

Orders come from the checkout and stock from its one writer, so that numbers, lines
and movements are what the shop would have.
"""

import uuid
from decimal import Decimal

import factory
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from orders import checkout
from orders.models import Order
from payments import accounts, hook_tokens, references
from payments.enums import AccountType, Method, PaymentStatus, Source
from payments.models import MpesaAccount, MpesaSettings, Payment, PaymentEvent
from shops import stock
from shops.enums import Role
from shops.models import Membership, Product, Shop
from smartduka.lib import clock


PASSWORD = "karibu-duka-2030"


class UserFactory(factory.django.DjangoModelFactory):
    """A person who can sign in with PASSWORD."""

    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"person{n}")

    @classmethod
    def _create(cls, model_class, *args, password=PASSWORD, **kwargs):
        return model_class.objects.create_user(*args, password=password, **kwargs)


class ShopFactory(factory.django.DjangoModelFactory):
    """A shop; `platform=True` lets it use the platform's M-Pesa account."""

    class Meta:
        model = Shop
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"Duka {n}")
    slug = factory.Sequence(lambda n: f"duka-{n}")

    @factory.post_generation
    def platform(self, create, extracted, **kwargs):
        if extracted:
            MpesaSettings.objects.create(shop=self, uses_platform_account=True)


class MembershipFactory(factory.django.DjangoModelFactory):
    """Somebody's role in a shop: a cashier."""

    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    shop = factory.SubFactory(ShopFactory)
    role = Role.CASHIER


class ProductFactory(factory.django.DjangoModelFactory):
    """A product at KES 250, `stocked` with so many pieces: 100."""

    class Meta:
        model = Product
        skip_postgeneration_save = True

    shop = factory.SubFactory(ShopFactory)
    name = factory.Sequence(lambda n: f"Product {n}")
    barcode = factory.Sequence(lambda n: f"6160000{n:06}")
    category = "Food"
    price = Decimal("250.00")

    @factory.post_generation
    def stocked(self, create, extracted, **kwargs):
        pieces = 100 if extracted is None else extracted
        if pieces:
            with transaction.atomic():
                stock.receive(self, quantity=pieces, actor=None)
            self.refresh_from_db()


class OrderFactory(factory.django.DjangoModelFactory):
    """An open order of `items`, pairs of product and quantity; one piece by default.

    With `total` instead, one piece of a product at that price.
    """

    class Meta:
        model = Order

    shop = factory.SubFactory(ShopFactory)
    actor = None

    @classmethod
    def _create(cls, model_class, *args, shop, actor, items=None, total=250):
        if items is None:
            items = [(ProductFactory(shop=shop, price=Decimal(total)), 1)]
        lines = [checkout.Item(str(product.pk), count) for product, count in items]
        return checkout.place_order(shop=shop, actor=actor, items=lines)


class MpesaAccountFactory(factory.django.DjangoModelFactory):
    """The simulator's second paybill, with its keys."""

    class Meta:
        model = MpesaAccount

    environment = factory.LazyFunction(lambda: settings.MPESA_ENV)
    type = AccountType.PAYBILL
    shortcode = "600200"
    party_b = factory.SelfAttribute("shortcode")
    consumer_key = "sim-shop2-key"
    consumer_secret = "sim-shop2-secret"
    passkey = "simshop2passkey".ljust(64, "0")


class PaymentFactory(factory.django.DjangoModelFactory):
    """An M-Pesa payment for the order's whole balance: pending, undecided.

    It has its first events; `hook_token` is the text of its callback address.
    Created without `account` it goes to the shop's own, or the platform's.
    """

    class Meta:
        model = Payment

    order = factory.SubFactory(OrderFactory)
    shop = factory.SelfAttribute("order.shop")
    method = Method.MPESA_STK
    status = PaymentStatus.PENDING
    amount = factory.LazyAttribute(lambda o: o.order.balance)
    phone = factory.Sequence(lambda n: f"2547000{n % 100000:05}")
    created_at = factory.LazyFunction(lambda: clock.now())  # a test may turn it
    environment = factory.LazyFunction(lambda: settings.MPESA_ENV)
    shortcode = factory.SelfAttribute("account.shortcode")
    party_b = factory.SelfAttribute("account.party_b")
    reference = factory.LazyFunction(references.new_reference)
    checkout_request_id = factory.LazyFunction(lambda: f"ws_CO_{uuid.uuid4().hex}")
    merchant_request_id = factory.LazyFunction(lambda: uuid.uuid4().hex[:20])
    answered_at = factory.SelfAttribute("created_at")
    expires_at = factory.LazyAttribute(
        lambda o: o.created_at + clock.seconds(settings.PAYMENT_EXPIRES_S)
    )
    next_ask_at = factory.LazyAttribute(
        lambda o: o.created_at + clock.seconds(settings.QUESTION_GAPS_S[0])
    )

    @factory.lazy_attribute
    def account(self):
        chosen = MpesaSettings.objects.filter(shop=self.shop).first()
        if chosen is not None and chosen.account is not None:
            return chosen.account
        return accounts.platform_account()

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        token = hook_tokens.issue()
        kwargs.setdefault("token_hash", token.nonce_hash)
        payment = super()._create(model_class, *args, **kwargs)
        payment.hook_token = token.text
        path = [PaymentStatus.CREATED]
        if payment.status != PaymentStatus.CREATED:
            path.append(payment.status)
        for old, new in zip(["", *path], path, strict=False):
            PaymentEvent.objects.create(
                payment=payment, old=old, new=new, source=Source.PERSON,
                created_at=payment.created_at,
            )  # fmt: skip
        Order.objects.filter(pk=payment.order_id, frozen_at=None).update(
            frozen_at=payment.created_at
        )
        payment.order.refresh_from_db()
        return payment
