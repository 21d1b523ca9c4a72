"""Load two demo shops and print how to sign in."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments import demo


class Command(BaseCommand):
    """`manage.py demo_data [--json]`: idempotent, refused in production."""

    help = "Load two demo shops with staff and goods; the same passwords each time."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --json."""
        parser.add_argument("--json", action="store_true", help="print JSON only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load and print."""
        if settings.MPESA_ENV == "production":
            raise CommandError("Demo data has no place in production.")
        loaded = demo.load()
        # Where it is not up yet, the worker does it when it starts.
        demo.register()
        if options["json"]:
            self.stdout.write(json.dumps(loaded))
            return
        self.stdout.write(f"Admin: {_login(loaded['admin'])}")
        for shop in loaded["shops"]:
            self.stdout.write(f"{shop['name']} ({len(shop['products'])} products)")
            for role in ("owner", "manager", "cashier"):
                self.stdout.write(f"  {role}: {_login(shop[role])}")


def _login(person: dict[str, str]) -> str:
    return f"{person['username']} / {person['password']}"
