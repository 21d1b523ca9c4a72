"""Statements that were imported, and what moved beside customers' payments."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from payments.enums import CorrectionState, ImportStage, MovementKind
from payments.models.accounts import MpesaAccount
from payments.models.money import Collection
from shops.models import AppendOnly
from smartduka.lib.money import format_kes


class StatementImport(models.Model):
    """One file of M-Pesa's organisation portal, as it was imported.

    `covers_from` to `covers_to` is the time for which it is complete; a collection in
    it that it does not have is disputed. A worker books it in turns: it is due while
    `next_try_at` is set, and leased by whoever moved that ahead. Neither finished nor
    due: `error` says why, and a person must look.
    """

    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="statements"
    )
    file_hash = models.CharField(max_length=64)
    file_name = models.CharField(max_length=120)
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    imported_at = models.DateTimeField()
    covers_from = models.DateTimeField(null=True, blank=True)
    covers_to = models.DateTimeField(null=True, blank=True)
    rows = models.PositiveIntegerField(
        default=0, help_text="Rows of the table, also those that do not count."
    )
    payments = models.PositiveIntegerField(default=0)
    new_receipts = models.PositiveIntegerField(default=0)
    filled = models.PositiveIntegerField(default=0)
    movements = models.PositiveIntegerField(default=0)
    disputed = models.PositiveIntegerField(default=0)
    bad_rows = models.JSONField(default=list, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # How far a worker got. `reached` is in the stage's own unit.
    stage = models.CharField(
        max_length=10, choices=ImportStage.choices, default=ImportStage.NEW
    )
    reached = models.PositiveBigIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="statement_due",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "file_hash"], name="statement_is_imported_once"
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | Q(next_try_at__isnull=True),
                name="statement_is_not_due_when_finished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} of {self.account}"


class StatementFile(AppendOnly):
    """The bytes of a statement as they were uploaded, kept before they are read."""

    statement = models.OneToOneField(
        StatementImport, on_delete=models.PROTECT, related_name="file"
    )
    body = models.BinaryField()

    def __str__(self) -> str:
        return f"File of {self.statement}"


class Movement(models.Model):
    """Money that moved in an account and is no customer's payment. In KES.

    `amount` is above zero for what came in, below for what went out. `linked` is the
    receipt that a reversal undoes.
    """

    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="movements"
    )
    kind = models.CharField(max_length=10, choices=MovementKind.choices)
    number = models.CharField(max_length=20)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    at = models.DateTimeField()
    details = models.CharField(max_length=200, blank=True)
    linked = models.CharField(max_length=20, blank=True)
    statement = models.ForeignKey(
        StatementImport, on_delete=models.PROTECT, related_name="moved"
    )

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "number", "kind", "amount"],
                name="movement_is_booked_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.number} {format_kes(self.amount)}"


class Correction(models.Model):
    """What two people booked because M-Pesa's books say otherwise. In KES.

    Below zero: so much of the collection never was there. Above: so much more was.
    """

    collection = models.ForeignKey(
        Collection, on_delete=models.PROTECT, related_name="corrections"
    )
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    reason = models.CharField(max_length=200)
    state = models.CharField(
        max_length=10, choices=CorrectionState.choices, default=CorrectionState.ASKED
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["collection"],
                condition=Q(state=CorrectionState.ASKED),
                name="collection_has_one_open_correction",
            ),
            models.CheckConstraint(
                condition=~Q(amount=0), name="correction_changes_something"
            ),
            models.CheckConstraint(
                condition=~Q(state=CorrectionState.BOOKED)
                | (Q(decided_by__isnull=False) & ~Q(decided_by=F("asked_by"))),
                name="correction_is_booked_by_two_people",
            ),
        ]

    def __str__(self) -> str:
        return f"Correction of {format_kes(self.amount)}"
