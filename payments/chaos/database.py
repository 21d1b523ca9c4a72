"""A database of chaos's own: a shop's is never touched.

It is made with Django's own helpers for test databases, under a name that nobody
else has, and removed afterwards. On SQLite it is a file in a temporary directory.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.core.management.color import no_style
from django.db import connection

from orders.models import Order
from payments.models import Collection, MpesaAccount, Notice, Payment
from shops.models import Shop


PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
MONEY = (Shop, Order, Payment, Collection, MpesaAccount, Notice)


class NotOurs(Exception):
    """The database has rows that chaos did not make."""


@contextmanager
def of_its_own() -> Iterator[None]:
    """Make an empty database with all tables, use it, and remove it."""
    settings = connection.settings_dict
    before = settings["NAME"]
    with ExitStack() as stack:
        name = f"chaos_{os.getpid()}_{secrets.token_hex(4)}"
        if connection.vendor == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))
            name = str(Path(folder) / "chaos.sqlite3")
            # What it loses in a power cut is nothing.
            settings["OPTIONS"] = settings["OPTIONS"] | {"init_command": PRAGMAS}
        settings["TEST"] = settings["TEST"] | {"NAME": name, "MIGRATE": True}
        connection.creation.create_test_db(verbosity=0, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(before, verbosity=0)


def require_empty() -> None:
    """Raise NotOurs if there is a shop, an order or money in the database."""
    for model in MONEY:
        if model._default_manager.exists():
            raise NotOurs(
                f"The database has rows of {model._meta.label}: chaos runs on an"
                " empty database of its own only."
            )


def clear() -> None:
    """Empty the database after a run, with its counters set back."""
    tables = connection.introspection.django_table_names(
        only_existing=True, include_views=False
    )
    kept = {"django_migrations", "django_content_type", "auth_permission"}
    statements = connection.ops.sql_flush(
        no_style(),
        [table for table in tables if table not in kept],
        reset_sequences=True,
        allow_cascade=False,
    )
    connection.ops.execute_sql_flush(statements)
