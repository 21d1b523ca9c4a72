"""Notices that nobody at M-Pesa sent, or that say what is not so.

Each tries to make a payment paid that is not, with everything but the one secret:
a payment's own token together with its own ids and amount would be M-Pesa's word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from payments.chaos import bank
from payments.chaos.bank import Prompt
from payments.chaos.dice import Dice
from payments.enums import Binding, PaymentStatus
from payments.models import Collection, Payment


if TYPE_CHECKING:
    from payments.chaos.network import Line
    from payments.chaos.world import World


# How far back an attacker looks for a payment.
RECENT = 40


@dataclass(frozen=True, slots=True)
class Forged:
    """A body, the token it comes with, and what it should be answered.

    What has no token goes to the path without one.
    """

    kind: str
    token: str | None
    body: bytes
    status: int


def plan(world: World, line: Line) -> None:
    """Have one forged notice arrive soon."""
    world.after(
        world.dice.uniform(0, 120), "forged notice", lambda: _arrive(world, line)
    )


def _arrive(world: World, line: Line) -> str:
    forged = forge(world)
    if forged is None:
        return "nobody to cheat"
    world.count("notices forged")
    if forged.token is None:
        status = line.deliver_untokened(forged.body)
    else:
        status = line.deliver(forged.token, forged.body, is_genuine=False)
    # What it did to the books weighs more than what it was answered.
    world.books.check_step()
    if status != forged.status:
        world.wrong(f"{forged.kind} was answered {status}, not {forged.status}")
    return f"{forged.kind}: {status}"


def forge(world: World) -> Forged | None:
    """Make a notice about a payment that is not paid, in one of many ways."""
    victim = _victim(world)
    if victim is None:
        return None
    dice = world.dice
    kind = dice.one_of(
        [
            ("bad token", 3), ("changed token", 2), ("no token", 2),
            ("another amount", 4), ("another payment's ids", 3),
            ("another payment's receipt", 3), ("not understood", 3),
        ]
    )  # fmt: skip
    claim = _claim(victim, world.bank.new_receipt(), victim.amount)
    if kind == "bad token":
        return Forged(kind, dice.randbytes(32).hex(), claim, 403)
    if kind == "changed token":
        token = victim.token
        place = dice.randrange(len(token))
        digit = "0" if token[place] != "0" else "1"
        changed = token[:place] + digit + token[place + 1 :]
        return Forged(kind, changed, claim, 403)
    if kind == "no token":
        return Forged(kind, None, claim, 200)
    if kind == "another amount":
        amount = victim.amount + dice.choice([-1, 1, 1000])
        body = _claim(victim, world.bank.new_receipt(), max(amount, 0))
        return Forged(kind, victim.token, body, 200)
    if kind == "another payment's ids":
        other = _victim(world, other_than=victim)
        if other is None:
            return None
        body = _claim(other, world.bank.new_receipt(), victim.amount)
        return Forged(kind, victim.token, body, 200)
    if kind == "another payment's receipt":
        used = _used_receipt(dice, victim)
        if used is None:
            return None
        return Forged(kind, victim.token, _claim(victim, used, victim.amount), 200)
    return Forged(kind, victim.token, _nonsense(dice, victim), 200)


def _victim(world: World, other_than: Prompt | None = None) -> Prompt | None:
    """A recent prompt that nobody paid, and whose ids we know."""
    unpaid = [
        prompt
        for prompt in world.bank.prompts[-RECENT:]
        if prompt.entry is None and prompt is not other_than
    ]
    known = set(
        Payment.objects.filter(
            checkout_request_id__in=[prompt.checkout_request_id for prompt in unpaid]
        )
        .exclude(status=PaymentStatus.COMPLETED)
        .values_list("checkout_request_id", flat=True)
    )
    found = [prompt for prompt in unpaid if prompt.checkout_request_id in known]
    return world.dice.choice(found) if found else None


def _used_receipt(dice: Dice, victim: Prompt) -> str | None:
    """A receipt that M-Pesa itself gave to another payment into the same account.

    What was only guessed yields to a callback with a payment's own token.
    """
    used = Collection.objects.filter(
        account__shortcode=victim.shortcode,
        receipt__isnull=False,
        binding__in=(Binding.TOKEN, Binding.REFERENCE),
    )
    receipts = list(used.order_by("-id").values_list("receipt", flat=True)[:RECENT])
    return dice.choice(receipts) if receipts else None


def _claim(prompt: Prompt, receipt: str, amount: int) -> bytes:
    items: list[dict[str, Any]] = [
        {"Name": "Amount", "Value": amount},
        {"Name": "MpesaReceiptNumber", "Value": receipt},
        {"Name": "TransactionDate", "Value": 20260114093031},
        {"Name": "PhoneNumber", "Value": int(prompt.phone)},
    ]
    result = {
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
        "ResultCode": 0,
        "ResultDesc": bank.TEXTS[bank.PAID],
        "CallbackMetadata": {"Item": items},
    }
    return json.dumps({"Body": {"stkCallback": result}}).encode()


def _nonsense(dice: Dice, victim: Prompt) -> bytes:
    good = _claim(victim, "UZZZ00000", victim.amount)
    doubled = good.replace(b'"ResultCode": 0', b'"ResultCode": 1, "ResultCode": 0')
    two_amounts = good.replace(
        b'{"Name": "Amount"', b'{"Name": "Amount", "Value": 1}, {"Name": "Amount"'
    )
    return dice.choice(
        [
            b"", b"\x00", b"\xff\xfe{}", b"[]", b'{"Body": NaN}', b"{" * 5000,
            good[:-9], doubled, two_amounts, good + b" " * 70_000,
            good.replace(b'"Amount", "Value": ', b'"Amount", "Value": -'),
            good.replace(b"ws_CO", b"ws\\u0000CO"),
        ]
    )  # fmt: skip
