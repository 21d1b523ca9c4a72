"""What the go-live doctor found last."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from payments.enums import Health
from payments.models.accounts import MpesaAccount


class Examination(models.Model):
    """The last look at one M-Pesa account, or at the installation (no account).

    A new look replaces it: it is advice, not history. It holds no secret.
    """

    INSTALLATION = "installation"

    subject = models.CharField(max_length=36, primary_key=True)
    account = models.OneToOneField(
        MpesaAccount,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="examination",
    )
    health = models.CharField(max_length=7, choices=Health.choices)
    findings = models.JSONField()
    examined_at = models.DateTimeField()
    examined_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Empty for the command line.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(health__in=Health.values),
                name="examination_health_is_known",
            ),
            models.CheckConstraint(
                condition=Q(account__isnull=False) ^ Q(subject="installation"),
                name="examination_is_of_an_account_or_the_installation",
            ),
        ]

    def __str__(self) -> str:
        return f"Examination of {self.account or 'the installation'}"
