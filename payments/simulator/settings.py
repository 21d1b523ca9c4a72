"""Settings of the simulator's own site: no database, no sessions, no users."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path


class BrokenOnly(logging.Filter):
    """Lets through what came with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


HERE = Path(__file__).resolve().parent

SECRET_KEY = secrets.token_hex()  # nothing is signed; Django insists on having one
DEBUG = False
# It serves whoever reaches its port, under any name: containers and tunnels too.
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS: list[str] = []
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",  # Content-Length, for keep-alive
    "payments.simulator.middleware.PageHeaders",
    "payments.simulator.middleware.Journaling",
]
ROOT_URLCONF = "payments.simulator.urls"
APPEND_SLASH = False  # Daraja's paths have none and a redirect would lose the body
STATIC_ROOT = HERE / "static"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
    }
]
DATABASES: dict[str, dict[str, str]] = {}
USE_TZ = True
TIME_ZONE = "Africa/Nairobi"
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # Django reports each 4xx and 5xx; here most are answered on purpose.
    "filters": {"broken": {"()": "payments.simulator.settings.BrokenOnly"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django.request": {"filters": ["broken"]}},
}
