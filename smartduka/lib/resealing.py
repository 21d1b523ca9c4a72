"""Seals every secret in the database anew under the first key, while all goes on.

Each row is one short conditional update on the very bytes that were read: a secret
that somebody changes meanwhile is never overwritten, and nothing is locked. What is
done already is known by its key, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Model

from smartduka.lib import sealing
from smartduka.lib.sealing import SealedText, Unsealable


# A round that finds nothing left ends the work. So many find something only where a
# process that knows the old keys alone keeps sealing.
ROUNDS = 10
SURVEYED_AT_ONCE = 500


@dataclass(slots=True)
class Tally:
    """What was done. `unreadable` names values that no key opens; they stay."""

    looked_at: int = 0
    resealed: int = 0
    changed_meanwhile: int = 0
    left: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the first key alone opens everything."""
        return not self.left and not self.unreadable


@dataclass(frozen=True, slots=True)
class Sealed:
    """A model that keeps secrets, and the names of those."""

    model: type[Model]
    secrets: tuple[SealedText, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Where the sealed bytes are."""
        return tuple(secret.column for secret in self.secrets)


def sealed_models() -> tuple[Sealed, ...]:
    """Return each model with secrets: found, not listed, so that none is forgotten."""
    found = ((model, sealing.secrets_of(model)) for model in apps.get_models())
    return tuple(Sealed(model, secrets) for model, secrets in found if secrets)


def reseal_all(
    *, batch: int = 100, tell: Callable[[str], None] = lambda words: None
) -> Tally:
    """Seal anew what is not under the first key, `batch` rows at a time.

    Call outside any transaction. Safe to run again, and two at once.
    """
    tally = Tally()
    for sealed in sealed_models():
        for number in range(ROUNDS):
            stale = _round(sealed, batch, tally, tell, is_first=number == 0)
            if not stale:
                break
        else:
            tally.left += stale
    return tally


def _round(
    sealed: Sealed,
    batch: int,
    tally: Tally,
    tell: Callable[[str], None],
    *,
    is_first: bool,
) -> int:
    """Look at every row once; return how many readable ones were stale."""
    stale, name = 0, str(sealed.model._meta.verbose_name_plural)
    for rows in _batches(sealed, batch):
        before = tally.resealed
        for row in rows:
            if is_first:
                tally.looked_at += 1
            stale += _reseal(sealed, row, tally, is_first=is_first)
        if is_first or tally.resealed != before:
            tell(f"{name}: {tally.looked_at} looked at, {tally.resealed} sealed anew")
    return stale


def _batches(sealed: Sealed, size: int) -> Iterator[list[Any]]:
    """Return the rows by their key, so that rows that come or go shift nothing."""
    rows = sealed.model._default_manager.order_by("pk").only("pk", *sealed.columns)
    last: Any = None
    while True:
        following = rows if last is None else rows.filter(pk__gt=last)
        found = list(following[:size])
        if not found:
            return
        yield found
        last = found[-1].pk


def _reseal(sealed: Sealed, row: Any, tally: Tally, *, is_first: bool) -> int:
    """Seal the stale values of one row anew; return 1 where there were any."""
    read, fresh = {}, {}
    for secret in sealed.secrets:
        token = getattr(row, secret.column)
        if not token:
            continue
        bound_to = secret.bound_to(row)
        try:
            # Also what is under the first key is opened: damage is found here.
            text = sealing.unseal(token, bound_to=bound_to)
        except Unsealable as error:
            if is_first:
                tally.unreadable.append(str(error))
            continue
        if sealing.is_stale(token):
            read[secret.column] = bytes(token)
            fresh[secret.column] = sealing.seal(text, bound_to=bound_to)
    if not fresh:
        return 0
    won = sealed.model._default_manager.filter(pk=row.pk, **read).update(**fresh)
    if won:
        tally.resealed += 1
    else:
        tally.changed_meanwhile += 1
    return 1


@dataclass(slots=True)
class Survey:
    """What a look found: nothing is changed. `stale` is counted in rows."""

    looked_at: int = 0
    stale: int = 0
    is_cut: bool = False
    unreadable: list[str] = field(default_factory=list)


def survey(*, most: int) -> Survey:
    """Open every secret of at most `most` rows; say which need a person or new keys."""
    found = Survey()
    for sealed in sealed_models():
        for rows in _batches(sealed, SURVEYED_AT_ONCE):
            for row in rows:
                if found.looked_at >= most:
                    found.is_cut = True
                    return found
                found.looked_at += 1
                found.stale += _is_stale(sealed, row, found.unreadable)
    return found


def _is_stale(sealed: Sealed, row: Any, unreadable: list[str]) -> bool:
    """Whether a readable value of a row is under an old key."""
    is_stale = False
    for secret in sealed.secrets:
        token = getattr(row, secret.column)
        if not token:
            continue
        try:
            sealing.unseal(token, bound_to=secret.bound_to(row))
        except Unsealable as error:
            unreadable.append(str(error))
            continue
        is_stale |= sealing.is_stale(token)
    return is_stale
