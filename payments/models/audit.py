"""The seals over what happened."""

from __future__ import annotations

from django.db import models

from shops.models import AppendOnly


class AuditChain(models.Model):
    """One chain of seals: a shop's, or the platform's. Its end is written here too."""

    name = models.CharField(max_length=40, unique=True)
    length = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.name}: {self.length}"


class AuditSeal(AppendOnly):
    """One link: the digest of a row, hashed with the link before it.

    `sealed_until` is when the last round began that had left nothing of the kind
    unsealed: what is older was sealed by then. Null while there was none, and in seals
    from before there was this column; such a seal has no time in its hash.
    """

    chain = models.ForeignKey(
        AuditChain, on_delete=models.PROTECT, related_name="seals"
    )
    position = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=20)
    row_id = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()
    sealed_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["chain", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "position"], name="chain_has_one_seal_at_a_position"
            ),
            models.UniqueConstraint(
                fields=["kind", "row_id"], name="row_is_sealed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.kind} {self.row_id}"


class AuditMark(models.Model):
    """Up to which id all rows of a kind are sealed, so that a round reads the rest.

    And up to when: the beginning of the last round that left nothing of it unsealed.
    """

    kind = models.CharField(max_length=20, unique=True)
    row_id = models.BigIntegerField(default=0)
    sealed_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} up to {self.row_id}"
