"""The second step of signing in: a code from the person's phone, or one on paper.

Codes are those of RFC 6238 (SHA-1, 6 digits, 30 s), which every authenticator app
shows. A code is good once: using it is one conditional update, of two at the same
moment one wins. Decision 0023.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from shops import rights, tenancy
from shops.models import RecoveryCode, SecondFactor
from smartduka.lib import clock
from smartduka.lib.errors import DomainError


STEP_S, DIGITS = 30, 6
# A phone's clock may be so many steps off, before or after.
DRIFT = 1
SECRET_BYTES = 20  # as long as the hash, as RFC 4226 asks
RECOVERY_CODES, GROUPS, GROUP = 10, 4, 4  # 16 signs of 5 bits each
SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
ISSUER = "SmartDuka"


class WrongCode(DomainError):
    """Not the code of now, used already, or no code at all."""

    message = "This code is not right, or it was used already. Wait for the next one."


class AlreadyOn(DomainError):
    """Another phone would lock out the first."""

    message = "The second step is on already. Turn it off first, with a code."
    http_status = 409


class StillRequired(DomainError):
    """Their rights need it here."""

    message = "Your role needs the second step. You can move it to another phone."
    http_status = 409


def is_on(user: Any) -> bool:
    """Whether the person is asked for a code when they sign in."""
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


def is_required(user: Any) -> bool:
    """Whether this installation asks for it from somebody with such rights."""
    return bool(settings.REQUIRE_SECOND_FACTOR) and holds_sensitive(user)


def holds_sensitive(user: Any) -> bool:
    """Whether the person can send money back, or change settings or people."""
    if user.is_superuser:
        return True
    roles = tenancy.memberships(user).values_list("role", flat=True)
    return any(rights.of_role(role) & rights.SENSITIVE for role in roles)


def begin(user: Any) -> SecondFactor:
    """Make a secret for a phone, instead of one that was never confirmed.

    Opens a transaction; locks the person. Raises AlreadyOn.
    """
    with transaction.atomic():
        get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
        SecondFactor.objects.filter(user=user, confirmed_at=None).delete()
        if is_on(user):
            raise AlreadyOn
        factor = SecondFactor(user=user)
        factor.secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
        factor.save()
    return factor


def begun(user: Any) -> SecondFactor | None:
    """The secret that waits for its first code."""
    return SecondFactor.objects.filter(user=user, confirmed_at=None).first()


def address_of(factor: SecondFactor) -> str:
    """Return what the QR code says: an `otpauth:` address, with the secret in it."""
    name = factor.user.get_username()
    return _totp(factor.secret).get_provisioning_uri(name, ISSUER)


def confirm(user: Any, code: str) -> list[str]:
    """Turn it on with the first code; return the recovery codes, shown this once.

    Opens a transaction. Raises WrongCode.
    """
    with transaction.atomic():
        factor = begun(user)
        if factor is None or not _use_step(factor, code):
            raise WrongCode
        factor.confirmed_at = clock.now()
        factor.save(update_fields=["confirmed_at"])
        return _new_codes(factor)


def accept(user: Any, code: str) -> None:
    """Spend a code of the app or a recovery code of this person. Raises WrongCode."""
    factor = SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).first()
    if factor is None or not (_use_step(factor, code) or _use_paper(factor, code)):
        raise WrongCode


def renew_codes(user: Any, code: str) -> list[str]:
    """Return new recovery codes; the old ones are void. Raises WrongCode."""
    with transaction.atomic():
        accept(user, code)
        factor = SecondFactor.objects.get(user=user)
        factor.recovery_codes.all().delete()
        return _new_codes(factor)


def codes_left(user: Any) -> int:
    """How many recovery codes are unused."""
    return RecoveryCode.objects.filter(factor__user=user, used_at=None).count()


def turn_off(user: Any, code: str) -> None:
    """Turn it off, by the person themselves. Raises WrongCode, StillRequired."""
    if is_required(user):
        raise StillRequired
    move(user, code)


def move(user: Any, code: str) -> None:
    """Let go of the phone, to begin with another one. Raises WrongCode."""
    with transaction.atomic():
        accept(user, code)
        reset(user)


def reset(user: Any) -> bool:
    """Forget phone and paper of somebody who lost both; False if there were none.

    Who may ask for that is for the caller to say, and to write down.
    """
    deleted, _ = SecondFactor.objects.filter(user=user).delete()
    return bool(deleted)


def _use_step(factor: SecondFactor, code: str) -> bool:
    step = _step_of(factor.secret, code, clock.now())
    if step is None:
        return False
    newer = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step)
    return newer.update(last_step=step) == 1


def _use_paper(factor: SecondFactor, code: str) -> bool:
    paper = _unused(factor, code)
    if paper is None:
        return False
    unused = RecoveryCode.objects.filter(pk=paper.pk, used_at__isnull=True)
    return unused.update(used_at=clock.now()) == 1


def _unused(factor: SecondFactor, code: str) -> RecoveryCode | None:
    hashed = _hash(factor, code)
    return factor.recovery_codes.filter(code_hash=hashed, used_at=None).first()


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step that shows this code now; the comparison takes one time."""
    digits = "".join(code.split())
    if not (len(digits) == DIGITS and digits.isascii() and digits.isdigit()):
        return None
    present = int(now.timestamp()) // STEP_S
    hotp = HOTP(base64.b32decode(secret), DIGITS, SHA1())  # noqa: S303 -- as RFC 6238 says
    steps = range(present - DRIFT, present + DRIFT + 1)
    shown = [
        step
        for step in steps
        if secrets.compare_digest(hotp.generate(step), digits.encode())
    ]
    return shown[-1] if shown else None


def _totp(secret: str) -> TOTP:
    return TOTP(base64.b32decode(secret), DIGITS, SHA1(), STEP_S)  # noqa: S303 -- as above


def _new_codes(factor: SecondFactor) -> list[str]:
    codes = [
        "-".join(
            "".join(secrets.choice(SIGNS) for _ in range(GROUP)) for _ in range(GROUPS)
        )
        for _ in range(RECOVERY_CODES)
    ]
    RecoveryCode.objects.bulk_create(
        RecoveryCode(factor=factor, code_hash=_hash(factor, code)) for code in codes
    )
    return codes


def _hash(factor: SecondFactor, code: str) -> str:
    """A plain hash is enough: there are 80 bits to guess."""
    plain = "".join(sign for sign in code.lower() if sign.isalnum())
    return hashlib.sha256(f"{factor.pk}:{plain}".encode()).hexdigest()
