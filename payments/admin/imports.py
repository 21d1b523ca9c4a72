"""How an import of a statement stands, as the books say it."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from payments.enums import ImportStage
from payments.models import StatementImport
from shops import book_cells as cells
from smartduka.lib import clock


# Of all the work, when a stage begins and when it ends, in percent.
SHARES = {
    ImportStage.NEW: (0, 0),
    ImportStage.TELLING: (0, 25),
    ImportStage.MATCHING: (25, 85),
    ImportStage.AGAIN: (85, 90),
    ImportStage.MOVING: (90, 95),
    ImportStage.COMPARING: (95, 100),
}
COUNTED = (ImportStage.TELLING, ImportStage.MATCHING)
BY_LINE = (
    "Some rows could not be read: they are named below. Nothing is said to be missing"
    " because of such a file."
)
FOR_A_PERSON = "Some rows are for a person to look at: they are named below."
NO_TIME = (
    "The file does not say for which time it is complete: nothing is said to be"
    " missing."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a page says first. `percent` while it is in progress, else None."""

    word: str
    tone: str
    told: str
    notes: tuple[str, ...] = ()
    percent: int | None = None
    may_retry: bool = False


def standing(row: StatementImport) -> Standing:
    """Say how far an import is, or what came of it."""
    if row.finished_at is not None:
        return Standing("imported", cells.GOOD, summary(row), _notes(row))
    if row.next_try_at is not None:
        return _in_progress(row)
    if row.error:
        return Standing("stopped", cells.BAD, row.error, may_retry=True)
    # Its file was not kept, once.
    return Standing(
        "broke off: upload it again", cells.WAIT, "Upload the same file again."
    )


def summary(row: StatementImport) -> str:
    """What an import brought, in one sentence."""
    return (
        f"{row.payments:,} payments, {row.new_receipts:,} of them new,"
        f" {row.filled:,} receipts filled in."
    )


def _in_progress(row: StatementImport) -> Standing:
    stage = ImportStage(row.stage)
    first, last = SHARES[stage]
    percent, told = first, f"{stage.label}."
    if stage in COUNTED and row.payments:
        percent = min(last, first + (last - first) * row.reached // row.payments)
        told = f"{stage.label}: {row.reached:,} of {row.payments:,}."
    notes = ["This page shows by itself how far it is. You may leave it."]
    if stage == ImportStage.NEW and _is_late(row):
        notes.append("No worker has taken it yet: is one running?")
    if row.attempts > 1:
        notes.append("It broke off, and is tried again by itself.")
    return Standing("being imported", cells.WAIT, told, tuple(notes), percent)


def _is_late(row: StatementImport) -> bool:
    waited = clock.now() - row.imported_at
    return waited > clock.seconds(2 * settings.SWEEP_EVERY_S)


def _notes(row: StatementImport) -> tuple[str, ...]:
    if row.bad_rows:
        return (BY_LINE if row.covers_from is None else FOR_A_PERSON,)
    return () if row.covers_from is not None else (NO_TIME,)
