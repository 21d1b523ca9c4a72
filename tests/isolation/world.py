"""Two shops with full books. One is walked by the people of the other."""

import html
import uuid
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import CharField, ForeignKey, TextField, UUIDField

from payments import demo, gateways
from payments.enums import PaymentStatus
from payments.gateways.base import GatewayError
from payments.models import Act, CodeClaim, Examination, Payment, Suspicion
from shops import invitations, pins, tenancy
from shops.enums import Role
from shops.models import Membership, Product, Shop
from smartduka.lib import clock
from smartduka.lib import phone as phones
from tests.support import full_books
from tests.support.cast import Person, join
from tests.support.gateway import PENDING


# Whose row it is: the path from a model to its shop.
OWNED = {
    "auth.User": "memberships__shop",
    "admin.LogEntry": "user__memberships__shop",
    "shops.SecondFactor": "user__memberships__shop",
    "shops.RecoveryCode": "factor__user__memberships__shop",
    "shops.Shop": "pk",
    "shops.Membership": "shop",
    "shops.Invitation": "shop",
    "shops.CashierPin": "member__shop",
    "shops.Product": "shop",
    "shops.StockMovement": "product__shop",
    "orders.Order": "shop",
    "orders.OrderLine": "order__shop",
    "orders.OrderEvent": "order__shop",
    "payments.MpesaAccount": "shop",
    "payments.MpesaSettings": "shop",
    "payments.AccountHook": "account__shop",
    "payments.Examination": "account__shop",
    "payments.Payment": "shop",
    "payments.FailedPayment": "shop",
    "payments.PaymentEvent": "payment__shop",
    "payments.OrganisationRequest": "account__shop",
    "payments.Notice": "payment__shop",
    "payments.Receipt": "account__shop",
    "payments.Sighting": "receipt__account__shop",
    "payments.CodeClaim": "shop",
    "payments.Collection": "shop",
    "payments.Allocation": "collection__shop",
    "payments.Refund": "shop",
    "payments.RefundPart": "refund__shop",
    "payments.RefundEvent": "refund__shop",
    "payments.StatementImport": "account__shop",
    "payments.StatementFile": "statement__account__shop",
    "payments.Movement": "account__shop",
    "payments.Correction": "collection__shop",
    "payments.Suspicion": "shop",
    "payments.Act": "shop",
}
# A book that shows a part of another book's rows: which part.
PARTS = {"payments.FailedPayment": {"status": PaymentStatus.FAILED}}
# Rows of no shop: nothing of a person, a sale or money is in them.
UNOWNED = {
    "payments.PhoneGuard": "per number, for all shops together",
    "payments.AuditChain": "ends of chains",
    "payments.AuditSeal": "digests",
    "payments.AuditMark": "how far the sealing got",
    "smartduka.Counter": "counters of limits",
    "smartduka.Heartbeat": "the worker's pulse",
}
OUR_APPS = ("smartduka", "shops", "orders", "payments")
# What M-Pesa calls things: everybody's words.
COMMON = ("Pay Bill Charge", "HTTP 504", "HTTP 400 Invalid")
# Shorter texts are in any page by chance.
SHORTEST = 6


class ForeignDay(full_books.Day):
    """A day of the other shop, whose customers have numbers of their own."""

    def prompt(self, *items, phone="254712345678", **facts):
        return super().prompt(*items, phone=f"25411{phone[5:]}", **facts)


class Mpesas(full_books.BothMpesas):
    """M-Pesa for a walk: it decides nothing, and refuses to register anything."""

    def query(self, account, checkout_request_id, *, limit_s):
        return PENDING

    def _refuse(self, account, request, *, limit_s):
        raise GatewayError("HTTP 400 Invalid", certain=True)

    register_c2b = register_pull = pull = _refuse


@dataclass
class World:
    """The shop whose rows must not leak, the other one, and its people."""

    shop: Any
    own_shop: Any
    owner: Person
    people: dict[str, Person]
    secrets: tuple[str, ...]
    fake: Any

    def rows(self, label: str) -> list[Any]:
        """Return the first and the last of the shop's rows of a model."""
        found = list(owned(label, self.shop))
        return found[:1] + found[1:][-1:]

    def row(self, label: str) -> Any:
        return self.rows(label)[0]

    def leaks(self, page: str, sent: str = "") -> list[str]:
        """Return what of the shop is in a page, except what was sent there."""
        page = html.unescape(page)
        return [one for one in self.secrets if one in page and one not in sent]


def owned(label: str, shop: Any) -> Any:
    of_shop = {OWNED[label]: shop.pk} | PARTS.get(label, {})
    rows = apps.get_model(label)._base_manager.filter(**of_shop)
    return rows.order_by("pk").distinct()


def unplaced_models() -> list[str]:
    """Return the models that nobody said the shop of."""
    labels = {
        model._meta.label for name in OUR_APPS for model in apps.get_app_config(name).get_models()
    }  # fmt: skip
    return sorted(labels - set(OWNED) - set(UNOWNED))


def snapshot(shop: Any) -> dict[str, list[Any]]:
    """Return every row of a shop as it is, but for the times of questions."""
    skipped = {"last_login", "asked_at", "ask_count", "next_ask_at", "leased_until"}
    return {
        label: [
            {key: value for key, value in row.items() if key not in skipped}
            for row in owned(label, shop).values()
        ]
        for label in OWNED
    }


def crossings(one: Any, other: Any) -> list[str]:
    """Return the relations by which a row of one shop hangs on one of the other."""
    found = []
    for label, path in OWNED.items():
        for field in apps.get_model(label)._meta.fields:
            if not isinstance(field, ForeignKey):
                continue
            target = OWNED.get(field.related_model._meta.label)
            if target is None:
                continue
            there = f"{field.name}__{target}"
            if there.removesuffix("__pk") == path:
                continue
            rows = apps.get_model(label)._base_manager.filter(
                **{path: one.pk, f"{field.name}__isnull": False, there: other.pk}
            )
            if rows.exists():
                found.append(f"{label}.{field.name}")
    return found


def make() -> World:
    """Fill both shops; the second one's rows are the secrets."""
    demo.load()
    own_shop, shop = (
        Shop.objects.get(slug="mama-mboga"),
        Shop.objects.get(slug="jirani"),
    )
    for product in Product.objects.filter(shop=shop):
        product.name, product.barcode = f"Siri {product.name}", f"9{product.barcode}"
        product.category = f"Siri {product.category}"
        product.save()
    fake = Mpesas()
    with gateways.using(fake):
        full_books.Day(own_shop, fake, "UKL0").run()
        ForeignDay(shop, fake, "UKL1").run()
    full_books.nobodys(own_shop)
    owner = Person(get_user_model().objects.get(username="jirani-owner"), shop)
    finish(shop, owner.user)
    people = {
        "owner": Person(get_user_model().objects.get(username="mama-owner"), own_shop),
        "manager": Person(get_user_model().objects.get(username="mama-manager"), own_shop),
        "auditor": join(own_shop, "mama-auditor", Role.AUDITOR),
    }  # fmt: skip
    people["auditor"].user.is_staff = True
    people["auditor"].user.save()
    return World(shop, own_shop, owner, people, secrets_of(shop), fake)


def finish(shop: Any, owner: Any) -> None:
    """Add what no day at the till leaves behind."""
    payment = Payment.objects.filter(shop=shop).first()
    CodeClaim.objects.create(
        shop=shop, order=payment.order, account=payment.account, number="UKL1CLAIM1",
        created_by=owner, created_at=clock.now(), why="Siri kabisa",
    )  # fmt: skip
    Act.objects.create(
        at=clock.now(), shop=shop, actor=owner, road="api", address="203.0.113.78",
        what="POST api/orders/<str:order_id>/cancel", about="orders.Order",
        about_id=str(payment.order_id), details="Siri: the cat did it", status=200,
    )  # fmt: skip
    Suspicion.objects.create(
        kind="refunds", shop=shop, subject=f"shop:{shop.pk} person:{owner.pk}",
        person=owner, count=7, first_at=clock.now(), last_at=clock.now(),
    )  # fmt: skip
    Suspicion.objects.create(
        kind="forged", shop=shop, subject=f"shop:{shop.pk} from:203.0.113.77",
        address="203.0.113.77", count=12, first_at=clock.now(), last_at=clock.now(),
        seen_at=clock.now(), seen_by=owner, seen_reason="Siri: the neighbour's joke",
    )  # fmt: skip
    Examination.objects.create(
        subject=str(payment.account_id), account=payment.account, health="fine",
        findings=[], examined_at=clock.now(), examined_by=owner,
    )  # fmt: skip
    LogEntry.objects.create(
        user=owner, content_type=ContentType.objects.get_for_model(payment),
        object_id=str(payment.pk), object_repr="Siri payment", action_flag=CHANGE,
        change_message="Siri: the customer's brother called",
    )  # fmt: skip
    invitations.invite(shop=shop, role=Role.MANAGER, name="Siri Njeri", by=owner)
    pins.set_pin(tenancy.access(owner, str(shop.pk)), "4071")
    for member in Membership.objects.filter(shop=shop):
        member.user.first_name, member.user.last_name = "Sirimu", f"Siri{member.role}"
        member.user.email = f"{member.role}@jirani.example"
        member.user.save()


def secrets_of(shop: Any) -> tuple[str, ...]:
    """Return the texts that are in the shop's rows, and in nobody else's."""
    theirs: set[str] = set()
    known = {one.lower() for one in COMMON}
    for label in OWNED:
        rows = apps.get_model(label)._base_manager
        theirs |= texts(owned(label, shop))
        others = rows.exclude(**{OWNED[label]: shop.pk})
        known |= {one.lower() for one in texts(others)}
    return tuple(sorted(one for one in theirs if one.lower() not in known))


def texts(rows: Any) -> set[str]:
    """Return the texts of rows, phones also as they are shown."""
    found: set[str] = set()
    for field in rows.model._meta.fields:
        if isinstance(field, CharField | TextField | UUIDField) and not field.choices:
            for value in rows.values_list(field.name, flat=True):
                found |= shown(value)
    return found


def shown(value: object) -> set[str]:
    if isinstance(value, uuid.UUID):
        return {str(value), value.hex}
    text = str(value or "").strip()
    if len(text) < SHORTEST:
        return set()
    if text.isdigit() and len(text) == 12 and text.startswith("254"):
        return {text, phones.grouped(text), phones.masked(text), f"0{text[3:]}"}
    return {text}
