"""What people did here, by every road."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F

from shops.models import AppendOnly, Shop


class Act(AppendOnly):
    """One act of a person, as it was asked for in the admin, the API or the till.

    `what` is the verb and the address it was sent to, with the action of a list; what
    it is called is for `payments.acts.words_of`. Without a shop it is the operator's
    to read. `address` is the only part that is masked one day.
    """

    at = models.DateTimeField()
    shop = models.ForeignKey(
        Shop, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    road = models.CharField(max_length=5)
    address = models.GenericIPAddressField(null=True, blank=True)
    what = models.CharField(max_length=150)
    about = models.CharField(max_length=60, blank=True, help_text="app.Model")
    about_id = models.CharField(max_length=64, blank=True)
    details = models.CharField(max_length=300, blank=True)
    status = models.PositiveSmallIntegerField(help_text="The answer, as HTTP says it.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(F("shop"), F("id").desc(), name="act_of_shop"),
            models.Index(F("actor"), F("id").desc(), name="act_of_actor"),
            models.Index(F("about_id"), F("id").desc(), name="act_about"),
            models.Index(F("address"), F("id").desc(), name="act_from"),
            models.Index(F("what"), F("id").desc(), name="act_what"),
        ]

    def __str__(self) -> str:
        return f"{self.what} ({self.status})"
