"""What looks wrong about who does what, until a person has looked at it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from payments.enums import SuspicionKind
from shops.models import Shop


class Suspicion(models.Model):
    """One pattern that nobody has looked at yet, or that somebody has.

    A flag, never a proof: nothing is refused because of it. `subject` says whose acts
    they are, so that each has one open flag of a kind; `count` is the most that was
    counted in one window.
    """

    kind = models.CharField(max_length=10, choices=SuspicionKind.choices)
    shop = models.ForeignKey(
        Shop,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="suspicions",
        help_text="Empty for what is no shop's: the operator's.",
    )
    subject = models.CharField(max_length=100)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Whose acts they are, if they are a person's.",
    )
    address = models.GenericIPAddressField(null=True, blank=True)
    count = models.PositiveIntegerField()
    first_at = models.DateTimeField(help_text="When it was found.")
    last_at = models.DateTimeField(help_text="When it was last found again.")
    seen_at = models.DateTimeField(null=True, blank=True)
    seen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    seen_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                F("shop"),
                F("id").desc(),
                name="suspicion_list",
            ),
            models.Index(
                fields=["kind", "subject", "seen_at"], name="suspicion_of_subject"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(seen_at__isnull=True),
                name="subject_has_one_open_suspicion_of_a_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=SuspicionKind.values),
                name="suspicion_kind_is_known",
            ),
            models.CheckConstraint(
                condition=Q(seen_at__isnull=True)
                | (Q(seen_by__isnull=False) & ~Q(seen_reason="")),
                name="suspicion_was_seen_by_somebody_who_says_what",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"
