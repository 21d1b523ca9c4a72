"""Two things at once: what only locks keep apart. On PostgreSQL only.

One thread stops in the middle of its transaction, the other runs meanwhile; if a
lock keeps that one waiting, the first goes on after a moment. SQLite has one writer,
so there is nothing to interleave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connection

from orders.enums import OrderStatus
from payments import cash, ordering, questions
from payments.chaos import bank
from payments.chaos.bank import Prompt
from payments.models import Payment
from shops.enums import Role
from shops.tenancy import Access
from smartduka.lib.errors import DomainError
from smartduka.lib.money import whole


if TYPE_CHECKING:
    from payments.chaos.world import World


SHARE = 25  # percent of the callbacks have a rival
HELD_S = 0.08  # how long the first waits in the middle
JOIN_S = 30.0
FIRST, LAST = 3, 14  # the statements after which it may stop


class Pairs:
    """Lets a callback meet a rival that is about the same sale."""

    def __init__(self, world: World) -> None:
        self.world = world

    def deliver(self, prompt: Prompt, first: Callable[[], str]) -> str:
        """Let a callback arrive, sometimes while something else happens."""
        dice = self.world.dice
        if self.world.is_calm or not dice.chance(SHARE):
            return first()
        payment = (
            Payment.objects.filter(
                shortcode=prompt.shortcode, reference=prompt.reference
            )
            .select_related("order", "shop", "created_by")
            .get()
        )
        name, rival = self._rival(prompt, payment)
        self.world.count("pairs at once")
        self.world.note(f"at once: {name}")
        self.world.crashes.disarm()
        return " | ".join(self._run(first, rival, dice.randint(FIRST, LAST)))

    def _rival(
        self, prompt: Prompt, payment: Payment
    ) -> tuple[str, Callable[[], object]]:
        dice, order = self.world.dice, payment.order
        access = Access(payment.created_by, payment.shop, Role.CASHIER)
        rivals: list[tuple[str, Callable[[], object]]] = [
            ("again", partial(self._tell, prompt)),
            ("ask", lambda: questions.ask(payment.pk)),
            (
                "cancel",
                lambda: ordering.cancel_order(access=access, order_id=order.pk),
            ),
        ]
        if order.status == OrderStatus.OPEN:
            part = max(1, whole(order.balance) // dice.choice([1, 2, 3]))
            rivals += 2 * [
                (
                    "cash",
                    lambda: cash.take(
                        access=access, order_id=order.pk, amount=part, key=None
                    ),
                )
            ]
        for other in self._others(prompt, payment):
            rivals += 4 * [("other", partial(self._tell, other))]
        return dice.choice(rivals)

    def _tell(self, prompt: Prompt) -> int:
        answer = self.world.line.deliver(prompt.token, bank.callback(prompt))
        prompt.is_heard = prompt.is_told = True
        return answer

    def _others(self, prompt: Prompt, payment: Payment) -> list[Prompt]:
        references = Payment.objects.filter(order_id=payment.order_id)
        keys = list(references.values_list("shortcode", "reference"))
        prompts = [self.world.bank.by_reference.get(key) for key in keys]
        return [
            one for one in prompts if one and one is not prompt and one.code is not None
        ][:1]

    def _run(
        self, first: Callable[[], object], rival: Callable[[], object], stop: int
    ) -> list[str]:
        is_inside, may_go_on = threading.Event(), threading.Event()
        statements = 0

        def stop_once(
            execute: Callable[..., Any], sql: str, params: Any, many: object, context: Any
        ) -> Any:  # fmt: skip
            nonlocal statements
            done = execute(sql, params, many, context)
            statements += 1
            if statements == stop:
                is_inside.set()
                may_go_on.wait(HELD_S)
            return done

        def one() -> object:
            with connection.execute_wrapper(stop_once):
                return first()

        def other() -> object:
            is_inside.wait(JOIN_S)
            try:
                return rival()
            finally:
                may_go_on.set()

        outcomes: list[Any] = ["", ""]

        def job(place: int, act: Callable[[], object]) -> None:
            try:
                outcomes[place] = str(act())[:40]
            except DomainError as refusal:
                outcomes[place] = refusal.code
            except Exception as error:  # noqa: BLE001 -- raised again below
                outcomes[place] = error
            finally:
                is_inside.set()
                connection.close()

        threads = [
            threading.Thread(target=job, args=(place, act), daemon=True)
            for place, act in enumerate((one, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(JOIN_S)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes
