from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def installation(request: HttpRequest) -> dict[str, str]:
    """Tell every template which M-Pesa this is: a banner stands while simulated."""
    return {"mpesa_env": settings.MPESA_ENV}
