"""What we asked M-Pesa about our own account; the answer comes to a hook."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from payments.enums import RequestKind, RequestState
from payments.models.accounts import MpesaAccount


class OrganisationRequest(models.Model):
    """One request that M-Pesa answers later, stored before it is sent (law 1).

    A result belongs to it only with the token of its address and both conversation
    ids. `token_hash` is of the signed token in ResultURL and QueueTimeOutURL.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=10, choices=RequestKind.choices)
    account = models.ForeignKey(
        MpesaAccount, on_delete=models.PROTECT, related_name="requests"
    )
    receipt = models.CharField(max_length=20)
    about = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="inquiries",
        help_text="The request whose outcome is asked for, not the receipt's.",
    )
    state = models.CharField(
        max_length=10, choices=RequestState.choices, default=RequestState.MADE
    )
    token_hash = models.CharField(max_length=64, unique=True)
    conversation_id = models.CharField(max_length=64, blank=True)
    originator_conversation_id = models.CharField(max_length=64, blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    result_code = models.CharField(max_length=20, blank=True)
    result_desc = models.CharField(max_length=255, blank=True)
    result_receipt = models.CharField(
        max_length=20, blank=True, help_text="The reversal's own receipt."
    )

    class Meta:
        ordering = ["-asked_at", "-id"]
        indexes = [
            models.Index(fields=["account", "receipt"], name="request_of_receipt"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=RequestKind.values),
                name="organisation_request_kind_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=RequestState.values),
                name="organisation_request_state_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.receipt}"
