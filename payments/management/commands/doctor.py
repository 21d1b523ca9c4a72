"""The go-live doctor, from the command line."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments import accounts
from payments.doctor import examinations
from payments.doctor.findings import Finding, Report
from payments.enums import Health
from payments.models import MpesaAccount, MpesaSettings
from shops.models import Shop


SIGNS = {
    Health.FINE: "ok     ",
    Health.LOOK: "LOOK   ",
    Health.BROKEN: "BROKEN ",
    Health.UNKNOWN: "?      ",
}


class Command(BaseCommand):
    """`manage.py doctor`: what is fine and what is not; exit status 1 if broken."""

    help = (
        "Check all that must be right before money flows, and explain it. Asks M-Pesa."
        " Ends with status 1 if something is broken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one shop, or everything."""
        parser.add_argument("--shop", metavar="SLUG", help="this shop's account only")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, print, and say by the status whether anything is broken."""
        reports: list[tuple[dict[str, Any], Report]] = []
        if options["shop"]:
            reports.append(_of_shop(_shop(options["shop"])))
        else:
            common = examinations.examine_installation()
            reports.append(({"about": "the installation", "shop": None}, common))
            # Whole: between two accounts the connection is given back.
            for account in list(examinations.living_accounts()):
                reports.append(_of_account(account, common))
        broken = _broken(reports)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(reports, broken), indent=2))
        else:
            self.stdout.write("\n".join(_lines(reports)))
        if broken:
            things = "1 thing is" if broken == 1 else f"{broken} things are"
            raise CommandError(f"{things} broken.")


def _broken(reports: list[tuple[dict[str, Any], Report]]) -> int:
    """How many things are; one that all accounts share is one thing."""
    found = {
        (finding.key, None if finding.key in examinations.COMMON else number)
        for number, (_, report) in enumerate(reports)
        for finding in report.findings
        if finding.health == Health.BROKEN
    }
    return len(found)


def _shop(slug: str) -> Shop:
    shop = Shop.objects.filter(slug=slug).first()
    if shop is None:
        raise CommandError(f"There is no shop {slug!r}.")
    return shop


def _of_shop(shop: Shop) -> tuple[dict[str, Any], Report]:
    try:
        account = accounts.account_of(shop)
    except accounts.NotConfigured:
        row = MpesaSettings.objects.select_related("candidate__shop").filter(shop=shop)
        found = row.exclude(candidate=None).first()
        if found is not None and found.candidate is not None:
            return _of_account(found.candidate)
        facts = {"about": shop.name, "shop": shop.slug}
        return facts, examinations.no_account(shop)
    return _of_account(account)


def _of_account(
    account: MpesaAccount, common: Report | None = None
) -> tuple[dict[str, Any], Report]:
    shop = account.shop.slug if account.shop is not None else None
    report = examinations.examine_account(account, common=common)
    return {"about": str(account), "shop": shop}, report


def _as_json(
    reports: list[tuple[dict[str, Any], Report]], broken: int
) -> dict[str, Any]:
    told = [
        facts | {"health": str(report.health), "findings": report.stored()}
        for facts, report in reports
    ]
    return {"broken": broken, "reports": told}


def _lines(reports: list[tuple[dict[str, Any], Report]]) -> list[str]:
    lines = []
    for facts, report in reports:
        lines += ["", f"{facts['about']}: {report.health.label}", ""]
        for finding in report.worst_first:
            lines += _told(finding)
    return lines[1:]


def _told(finding: Finding) -> list[str]:
    lines = [f"  {SIGNS[finding.health]}{finding.name}: {finding.words}"]
    if finding.remedy:
        lines.append(f"         -> {finding.remedy}")
    if finding.letter:
        lines += ["         Send to Safaricom:"]
        lines += [f"         | {line}".rstrip() for line in finding.letter.split("\n")]
    return lines
