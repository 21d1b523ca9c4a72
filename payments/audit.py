"""The audit chain: what happened cannot be changed without being seen.

Each event of a payment or a refund, each portion of money that was set aside for
something, each line of the audit log and each entry of the admin gets a seal: its
digest, hashed together with the seal before it, in one chain per shop (and one of the
platform, for what names no shop). The worker seals in rounds, so no sale waits for
another. Whoever keeps a head hash elsewhere can prove that nothing before it was
changed, removed or slipped in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import Exists, Max, Model, OuterRef

from payments.models import (
    Act,
    Allocation,
    AuditChain,
    AuditMark,
    AuditSeal,
    PaymentEvent,
    RefundEvent,
)
from smartduka.lib import clock
from smartduka.lib.transactions import repeated


PLATFORM = "platform"
ROUND_LIMIT = 1000
# So many rounds at once for whoever wants everything sealed: a million rows of a kind.
MOST_ROUNDS = 1000
# A row is committed within this time of its own: one that is so much older than a round
# which did not find it was not there then.
LATE = timedelta(minutes=15)
EMPTY = "0" * 64
# Ids are given out before their rows are committed: so far below the mark we look.
MARGIN = 10_000
MODELS: dict[str, type[Model]] = {
    "payment_event": PaymentEvent,
    "refund_event": RefundEvent,
    "allocation": Allocation,
    "act": Act,
    "admin_act": LogEntry,
}
TIMES = dict.fromkeys(MODELS, "created_at") | {"act": "at", "admin_act": "action_time"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a chain, in words."""

    chain: str
    position: int
    what: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: so many seals, and the hash that stands for all."""

    chain: str
    length: int
    hash: str


@dataclass(frozen=True, slots=True)
class _Entry:
    chain: str
    kind: str
    row_id: int
    at: datetime
    digest: str


def seal() -> int:
    """Seal what is not sealed yet, up to the round's limit; return how many.

    Opens a transaction per chain and locks that chain. Two workers sealing at once
    seal each row once: the second finds nothing left. Raises IntegrityError where a
    forged seal stands in the next place.
    """
    # The time first, then up to when all is sealed, then the rows: whatever another
    # round does meanwhile, both times are from before these rows were read.
    now = clock.now()
    marks = [AuditMark.objects.get_or_create(kind=kind)[0] for kind in MODELS]
    until = {mark.kind: mark.sealed_until for mark in marks}
    ids = {mark.kind: _unsealed(mark) for mark in marks}
    rows = [(kind, row_id) for kind, found in ids.items() for row_id in found]
    entries = sorted(_read(rows), key=lambda entry: (entry.chain, entry.at))
    sealed = sum(
        _extend(chain, [(entry.kind, entry.row_id) for entry in group], now, until)
        for chain, group in groupby(entries, key=lambda entry: entry.chain)
    )
    for kind, found in ids.items():
        _advance(kind, found, now)
    return sealed


def seal_all() -> None:
    """Seal all that waits now, round by round, and with it what comes meanwhile.

    Opens transactions as `seal` does. Gives up after `MOST_ROUNDS`. Raises
    IntegrityError as `seal`.
    """
    began = clock.now()
    marks = AuditMark.objects.filter(kind__in=MODELS)
    for _ in range(MOST_ROUNDS):
        seal()
        if not marks.exclude(sealed_until__gte=began).exists():
            return


def verify() -> tuple[list[Head], list[Fault]]:
    """Walk every chain; return their heads and everything that is wrong.

    Finds a changed row, a removed row or seal, a seal slipped in or reordered, a row
    that was added to a time already sealed, and one that was never sealed. Reads
    everything: for a quiet hour.
    """
    before = clock.now() - LATE
    heads: list[Head] = []
    faults: list[Fault] = []
    for chain in AuditChain.objects.order_by("name"):
        head, found = _verify_chain(chain)
        heads.append(head)
        faults.extend(found)
    return heads, [*faults, *_never_sealed(before)]


@repeated
def _extend(
    name: str,
    rows: list[tuple[str, int]],
    now: datetime,
    until: dict[str, datetime | None],
) -> int:
    AuditChain.objects.get_or_create(name=name, defaults={"hash": EMPTY})
    with transaction.atomic(durable=True):
        chain = AuditChain.objects.select_for_update(no_key=True).get(name=name)
        sealed = set(_sealed(rows))
        seals = []
        for entry in _read([row for row in rows if row not in sealed]):
            chain.length += 1
            seal = AuditSeal(
                chain=chain,
                position=chain.length,
                kind=entry.kind,
                row_id=entry.row_id,
                digest=entry.digest,
                sealed_at=now,
                sealed_until=until[entry.kind],
            )
            chain.hash = seal.hash = _linked(chain.hash, seal)
            seals.append(seal)
        AuditSeal.objects.bulk_create(seals)
        chain.save(update_fields=["length", "hash"])
    return len(seals)


def _never_sealed(before: datetime) -> Iterator[Fault]:
    """Rows old enough to be sealed that are not: no worker, or slipped in below."""
    for kind, model in MODELS.items():
        sealed = AuditSeal.objects.filter(kind=kind, row_id=OuterRef("pk"))
        rows: Any = model._default_manager.filter(~Exists(sealed))
        old = rows.filter(**{f"{TIMES[kind]}__lt": before}).order_by("pk")
        for row_id in old.values_list("pk", flat=True)[:ROUND_LIMIT]:
            yield Fault(kind, row_id, f"{kind} {row_id} was never sealed")


def _verify_chain(chain: AuditChain) -> tuple[Head, list[Fault]]:
    faults: list[Fault] = []
    previous, position = EMPTY, 0
    newest: dict[str, datetime] = {}
    # Up to the end as it was read: the worker may go on meanwhile.
    seals = AuditSeal.objects.filter(chain=chain, position__lte=chain.length)
    seals = seals.order_by("position")
    for batch in _batches(seals.iterator(ROUND_LIMIT)):
        found = {
            (entry.kind, entry.row_id): entry
            for entry in _read([(seal.kind, seal.row_id) for seal in batch])
        }
        for seal in batch:
            position += 1
            entry = found.get((seal.kind, seal.row_id))
            faults.extend(
                Fault(chain.name, seal.position, what)
                for what in _wrong(seal, entry, previous, position, newest)
            )
            if entry is not None:
                newest[entry.kind] = max(entry.at, newest.get(entry.kind, entry.at))
            previous, position = seal.hash, seal.position
    if (chain.length, chain.hash) != (position, previous):
        faults.append(Fault(chain.name, position, "the end of the chain is gone"))
    return Head(chain.name, position, previous), [*faults, *_beyond_the_end(chain)]


def _beyond_the_end(chain: AuditChain) -> Iterator[Fault]:
    seals = AuditSeal.objects.filter(chain=chain)
    last = seals.aggregate(last=Max("position"))["last"] or 0
    # Read last: the worker writes seals and end at once, so its own are not beyond.
    end = AuditChain.objects.values_list("length", flat=True).get(pk=chain.pk)
    if last > end:
        yield Fault(chain.name, last, "seals lie beyond the end")


def _wrong(
    seal: AuditSeal,
    entry: _Entry | None,
    previous: str,
    position: int,
    newest: dict[str, datetime],
) -> Iterator[str]:
    if seal.position != position:
        yield f"seals {position} to {seal.position - 1} are gone"
    if entry is None:
        yield f"{seal.kind} {seal.row_id} is gone"
        return
    if entry.digest != seal.digest:
        yield f"{seal.kind} {seal.row_id} was changed"
    if seal.hash != _linked(previous, seal):
        yield f"the seal of {seal.kind} {seal.row_id} was changed or slipped in"
    if _is_late(seal, entry, newest.get(entry.kind, entry.at)):
        yield f"{seal.kind} {seal.row_id} appeared long after its time"


def _is_late(seal: AuditSeal, entry: _Entry, newest: datetime) -> bool:
    """Whether a row got its seal late although it should have had it before.

    All of its kind was sealed up to a later time when its round began, or a newer row
    of its kind (`newest`) is before it in its chain. What waited while no worker ran,
    in the night, is sealed from the oldest on, in however many rounds and by however
    many workers: that is no fault of a row (0020).
    """
    if seal.sealed_at - entry.at <= LATE:  # whatever a clock that was set back says
        return False
    return entry.at + LATE < max(newest, seal.sealed_until or newest)


def _linked(previous: str, seal: AuditSeal) -> str:
    facts = [previous, str(seal.position), seal.kind, str(seal.row_id), seal.digest]
    if seal.sealed_until is not None:
        facts += [str(clock.iso(seal.sealed_until)), str(clock.iso(seal.sealed_at))]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()


def _unsealed(mark: AuditMark) -> list[int]:
    """The ids of a kind that have no seal, from a little below its mark."""
    sealed = AuditSeal.objects.filter(kind=mark.kind, row_id=OuterRef("pk"))
    rows: Any = MODELS[mark.kind]._default_manager.filter(
        ~Exists(sealed), pk__gt=mark.row_id - MARGIN
    )
    return list(rows.order_by("pk").values_list("pk", flat=True)[:ROUND_LIMIT])


def _sealed(rows: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Those of the rows that have a seal."""
    for kind, ids in _by_kind(rows).items():
        # By kind, as the index is.
        seals = AuditSeal.objects.filter(kind=kind, row_id__in=ids)
        for row_id in seals.values_list("row_id", flat=True):
            yield kind, row_id


def _advance(kind: str, ids: list[int], now: datetime) -> None:
    """Move the mark to the last id sealed; those still being written are below it."""
    mark = AuditMark.objects.filter(kind=kind)
    if ids:
        mark.filter(row_id__lt=max(ids)).update(row_id=max(ids))
    if len(ids) < ROUND_LIMIT:
        mark.update(sealed_until=now)


def _read(rows: list[tuple[str, int]]) -> list[_Entry]:
    """The rows as they are now, in the order asked for; missing ones left out."""
    found = {
        (entry.kind, entry.row_id): entry
        for kind, ids in _by_kind(rows).items()
        for entry in READERS[kind](ids)
    }
    return [found[row] for row in rows if row in found]


def _by_kind(rows: list[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for kind, row_id in rows:
        found.setdefault(kind, []).append(row_id)
    return found


def _events(ids: list[int]) -> Iterator[_Entry]:
    for event in PaymentEvent.objects.filter(pk__in=ids).select_related("payment"):
        facts = [
            str(event.payment_id),
            event.old,
            event.new,
            event.source,
            event.actor_id,
            event.reason,
            event.notice_id,
            clock.iso(event.created_at),
        ]
        yield _Entry(
            _chain_of(event.payment.shop_id),
            "payment_event",
            event.pk,
            event.created_at,
            _digest(facts),
        )


def _refund_events(ids: list[int]) -> Iterator[_Entry]:
    for event in RefundEvent.objects.filter(pk__in=ids).select_related("refund"):
        facts = [
            str(event.refund_id),
            event.old,
            event.new,
            event.actor_id,
            event.reason,
            clock.iso(event.created_at),
        ]
        yield _Entry(
            _chain_of(event.refund.shop_id),
            "refund_event",
            event.pk,
            event.created_at,
            _digest(facts),
        )


def _allocations(ids: list[int]) -> Iterator[_Entry]:
    # Not whose credit it is: a person's name may have to be masked one day.
    for one in Allocation.objects.filter(pk__in=ids).select_related("collection"):
        facts = [
            one.collection_id,
            one.kind,
            one.releases_id,
            _text(one.payment_id),
            _text(one.order_id),
            f"{one.amount:.2f}",
            one.actor_id,
            one.reason,
            clock.iso(one.created_at),
        ]
        yield _Entry(
            _chain_of(one.collection.shop_id),
            "allocation",
            one.pk,
            one.created_at,
            _digest(facts),
        )


def _acts(ids: list[int]) -> Iterator[_Entry]:
    # Not the address: it is masked one day.
    for act in Act.objects.filter(pk__in=ids):
        facts = [
            act.shop_id,
            act.actor_id,
            act.road,
            act.what,
            act.about,
            act.about_id,
            act.details,
            act.status,
            clock.iso(act.at),
        ]
        yield _Entry(_chain_of(act.shop_id), "act", act.pk, act.at, _digest(facts))


def _admin_acts(ids: list[int]) -> Iterator[_Entry]:
    # All on the platform's chain: an entry names no shop, its act (above) does.
    for act in LogEntry.objects.filter(pk__in=ids):
        facts = [
            act.user_id,
            act.content_type_id,
            act.object_id,
            act.object_repr,
            act.action_flag,
            act.change_message,
            clock.iso(act.action_time),
        ]
        yield _Entry(PLATFORM, "admin_act", act.pk, act.action_time, _digest(facts))


READERS: dict[str, Callable[[list[int]], Iterator[_Entry]]] = {
    "payment_event": _events,
    "refund_event": _refund_events,
    "allocation": _allocations,
    "act": _acts,
    "admin_act": _admin_acts,
}


def _chain_of(shop_id: int | None) -> str:
    return PLATFORM if shop_id is None else f"shop:{shop_id}"


def _text(key: object) -> str:
    return "" if key is None else str(key)


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()


def _batches(seals: Iterable[AuditSeal]) -> Iterator[list[AuditSeal]]:
    batch: list[AuditSeal] = []
    for one in seals:
        batch.append(one)
        if len(batch) == ROUND_LIMIT:
            yield batch
            batch = []
    if batch:
        yield batch
