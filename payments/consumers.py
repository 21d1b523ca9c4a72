"""Sockets: who may listen, the first state, then what happens, as it happens.

A socket changes nothing. Membership is checked again each minute. Where the channel
layer does not reach other processes, the socket looks at the database itself, every
SOCKET_LOOK_S; elsewhere every SELDOM_S while something shown is undecided, for messages
may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist

from payments import queries, tickets
from payments.enums import PaymentStatus
from payments.models import Payment
from payments.states import payment_state
from shops import sessions, tenancy
from shops.models import Shop
from smartduka.lib import realtime
from smartduka.lib.errors import DomainError, NotFound


logger = logging.getLogger(__name__)

NOT_SIGNED_IN, NOT_ALLOWED, UNKNOWN = 4401, 4403, 4404
# Messages may be lost even where they cross processes.
SELDOM_S = 20


def is_older(state: dict[str, Any], shown: dict[str, Any] | None) -> bool:
    """Whether a state is from before the one that is shown, by what it says.

    Messages leave after their commits and may overtake each other; statuses only
    move one way, and an answer stays. Receipts and words may change to and fro.
    """
    if shown is None:
        return False
    if state["status"] != shown["status"]:
        return _can_become(state["status"], shown["status"])
    return bool(state["undecided"]) and not shown["undecided"]


def _can_become(old: str, new: str) -> bool:
    return any(
        step == new or _can_become(step, new) for step in PaymentStatus.MOVES[old]
    )


class PaymentsSocket(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # untyped base
    """What both sockets share; subclasses say what they look at.

    One thing is told after the other, so a look finds nothing from before what is
    shown: that was committed when it was told.
    """

    shop: Shop

    async def connect(self) -> None:
        """Accept, then say who may not listen by a close code."""
        self.seen: dict[str, dict[str, Any]] = {}
        self.telling = asyncio.Lock()
        self.groups_joined: tuple[str, ...] = ()
        self.is_by_ticket = False
        self.watcher: asyncio.Task[None] | None = None
        await self.accept()
        self.user = await self._who()
        if self.user is None:
            await self.close(NOT_SIGNED_IN)
            return
        try:
            group = await database_sync_to_async(self._admit)()
        except DomainError as error:
            missing = isinstance(error, (NotFound, tenancy.ShopRequired))
            await self.close(UNKNOWN if missing else NOT_ALLOWED)
            return
        await self._join(group, realtime.person_group(self.user.pk))
        states = await self._states(self.look)
        self.seen |= {state["transactionId"]: state for state in states}
        await self.send_first(states)
        self.watcher = asyncio.create_task(self._watch())

    async def disconnect(self, code: int) -> None:
        """Leave."""
        if self.watcher is not None:
            self.watcher.cancel()
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, *args: Any, **kwargs: Any) -> None:
        """Ignore what is sent to us: there is nothing to ask for."""

    async def payment_message(self, event: dict[str, Any]) -> None:
        """Forward what happened, unless it was overtaken.

        Where neither state is older by what it says, the database knows what is so.
        """
        message = event["data"]
        state = message["payment"]
        key = state["transactionId"]
        async with self.telling:
            shown = self.seen.get(key)
            if shown == state or is_older(state, shown):
                return
            if shown is None or is_older(shown, state):
                self.seen[key] = state
                await self.send_json(message)
            else:
                await self._tell_changes_of(lambda: self.look_at(key))

    async def payment_look(self, event: dict[str, Any]) -> None:
        """Messages may have been missed: tell what differs from what was told."""
        await self._tell_changes()

    async def person_check(self, event: dict[str, Any]) -> None:
        """Their role, account or session changed: close unless they may listen."""
        try:
            await database_sync_to_async(self.require_membership)()
        except (DomainError, ObjectDoesNotExist):
            await self.close(NOT_ALLOWED)

    def find(self) -> str:
        """Return the group to listen to. Raises DomainError. Synchronous."""
        raise NotImplementedError

    def look(self) -> list[Payment]:
        """Return the payments to show now, and those shown before. Synchronous."""
        raise NotImplementedError

    def look_at(self, payment_id: str) -> list[Payment]:
        """Return this payment of the shop. Synchronous."""
        return list(queries.payments_of(self.shop).filter(pk=payment_id))

    async def send_first(self, states: list[dict[str, Any]]) -> None:
        """Send the first message."""
        raise NotImplementedError

    async def _join(self, *groups: str) -> None:
        for group in groups:
            await self.channel_layer.group_add(group, self.channel_name)
        self.groups_joined = groups

    async def _who(self) -> Any:
        given = parse_qs(self.scope["query_string"].decode("latin-1"))
        if ticket := given.get("ticket", [""])[0]:
            self.is_by_ticket = True
            return await database_sync_to_async(tickets.redeem)(ticket)
        user = self.scope.get("user")
        return user if user is not None and user.is_authenticated else None

    async def _states(self, look: Callable[[], list[Payment]]) -> list[dict[str, Any]]:
        states: list[dict[str, Any]] = await database_sync_to_async(
            lambda: [payment_state(payment) for payment in look()]
        )()
        return states

    async def _tell_changes(self) -> None:
        async with self.telling:
            await self._tell_changes_of(self.look)

    async def _tell_changes_of(self, look: Callable[[], list[Payment]]) -> None:
        """Look, and tell what differs from what was told. Call with `telling` held."""
        for state in await self._states(look):
            old = self.seen.get(state["transactionId"])
            if old == state or is_older(state, old):
                continue
            self.seen[state["transactionId"]] = state
            moved = old is None or old["status"] != state["status"]
            event = f"payment.{state['status'] if moved else 'updated'}"
            await self.send_json({"event": event, "payment": state})

    async def _watch(self) -> None:
        """Look at the database where needed; close when membership ends."""
        loop = asyncio.get_running_loop()
        checked_at = looked_at = loop.time()
        while True:
            pause_s = min(settings.SOCKET_LOOK_S, settings.MEMBERSHIP_RECHECK_S)
            await asyncio.sleep(pause_s)
            try:
                if loop.time() - checked_at >= settings.MEMBERSHIP_RECHECK_S:
                    checked_at = loop.time()
                    await self._renew()
                if self._must_look(loop.time() - looked_at):
                    looked_at = loop.time()
                    await self._tell_changes()
            except (DomainError, ObjectDoesNotExist):
                await self.close(NOT_ALLOWED)
                return
            except Exception:
                logger.exception("a socket could not look")

    async def _renew(self) -> None:
        """Ask again whether the person may listen, and join the group again.

        An in-memory layer lets a member go after a day, or when one message waited
        too long; what was missed meanwhile is told.
        """
        await database_sync_to_async(self.require_membership)()
        await self._join(*self.groups_joined)
        self.forget_settled()
        await self._tell_changes()

    def forget_settled(self) -> None:
        """Let go of what need not be remembered; nothing, for a single payment."""

    def require_membership(self) -> None:
        """Raise DomainError once the person may not listen any more."""
        self.user.refresh_from_db(fields=["is_active", "password"])
        if not self.user.is_active or self._has_signed_out():
            raise tenancy.NotAMember
        self._admit()

    def _admit(self) -> str:
        """Return the group, if the session and the shop allow it. Raises DomainError."""
        session = None if self.is_by_ticket else self.scope.get("session")
        if session is not None:
            sessions.admit(self.user, session.session_key)
        return self.find()

    def _has_signed_out(self) -> bool:
        """Whether the session that opened this is over; a ticket has none."""
        if self.is_by_ticket:
            return False
        session = self.scope.get("session")
        if session is None:
            return False
        return not sessions.is_living(self.user, session.session_key)

    def _must_look(self, since_s: float) -> bool:
        """Always where messages do not cross: what is undecided is found by looking.

        Else seldom, and only while something shown is undecided.
        """
        if not settings.CHANNEL_LAYER_CROSSES_PROCESSES:
            return True
        undecided = any(state["undecided"] for state in self.seen.values())
        return undecided and since_s >= SELDOM_S


class PaymentSocket(PaymentsSocket):
    """One payment."""

    def find(self) -> str:
        """The payment's group, if it is of a shop of this person."""
        payment_id = self.scope["url_route"]["kwargs"]["payment_id"]
        found = Payment.objects.filter(pk=payment_id).select_related("shop").first()
        if found is None:
            raise NotFound
        tenancy.access(self.user, str(found.shop_id))
        self.shop, self.payment_id = found.shop, found.pk
        return realtime.payment_group(found.pk)

    def look(self) -> list[Payment]:
        """The payment."""
        return [queries.payment_for(self.shop, self.payment_id)]

    async def send_first(self, states: list[dict[str, Any]]) -> None:
        """The payment's state."""
        await self.send_json({"event": "payment.state", "payment": states[0]})


class ShopSocket(PaymentsSocket):
    """All that happens in one shop."""

    decided_before: frozenset[str] | set[str] = frozenset()

    def find(self) -> str:
        """The shop's group, if it is a shop of this person."""
        given = parse_qs(self.scope["query_string"].decode("latin-1"))
        shop_id = given.get("shop", [""])[0]
        self.shop = tenancy.access(self.user, shop_id or None).shop
        return realtime.shop_group(self.shop.pk)

    def look(self) -> list[Payment]:
        """What is undecided, and what was when we last looked."""
        undecided = list(queries.undecided_of(self.shop)[:200])
        known = {str(payment.pk) for payment in undecided}
        told = [
            key
            for key, state in self.seen.items()
            if state["undecided"] and key not in known
        ]
        return undecided + list(queries.payments_of(self.shop).filter(pk__in=told))

    def forget_settled(self) -> None:
        """Drop payments that were decided a round ago: a till is open for weeks.

        Not at once, for a message that was overtaken may still come.
        """
        decided = {key for key, state in self.seen.items() if not state["undecided"]}
        for key in decided & self.decided_before:
            del self.seen[key]
        self.decided_before = decided

    async def send_first(self, states: list[dict[str, Any]]) -> None:
        """All that is undecided."""
        await self.send_json({"event": "shop.state", "undecided": states})
