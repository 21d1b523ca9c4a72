"""What else M-Pesa tells of money: C2B notices, Pull, and the day's statement.

Each source is bad in its own way: notices get lost, doubled and late, the list is
sometimes away, the statement is complete and comes in the evening.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.urls import resolve

from payments import c2b, statement_import
from payments.chaos.bank import Entry, Returned
from payments.enums import AccountType
from payments.gateways import organisation_answers
from payments.gateways.base import Credentials, GatewayError
from payments.gateways.organisation import PullQuery
from payments.models import MpesaAccount
from payments.notices_pull import PullPage
from smartduka.lib.clock import NAIROBI
from smartduka.lib.transactions import require_no_transaction


if TYPE_CHECKING:
    from payments.chaos.world import World


# What becomes of a C2B notice, in percent.
FATES = [("on time", 46), ("lost", 30), ("late", 12), ("doubled", 10), ("forged", 2)]
AWAY = 10  # percent of the pulls
PAGE = 40


class Sources:
    """Tells what the bank's ledger has, by three roads."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._paths: dict[str, str] = {}
        self._owner: Any = None

    def set_up(self) -> None:
        """Register every account: an address for notices, and for pulling."""
        self._owner = get_user_model().objects.create_user("bookkeeper")
        for account in MpesaAccount.objects.order_by("shortcode"):
            url = c2b.new_address(account, self._owner)
            self._paths[account.shortcode] = "/hooks/" + url.rsplit("/hooks/", 1)[1]
            MpesaAccount.objects.filter(pk=account.pk).update(
                pull_registered_at=self.world.clock.now()
            )

    # Notices.

    def moved(self, entry: Entry) -> None:
        """Money moved: M-Pesa posts a C2B notice, if the network lets it."""
        dice, world = self.world.dice, self.world
        fate = "on time" if world.is_calm else dice.one_of(FATES)
        world.count("notices by hand")
        if fate == "lost":
            world.count("notices by hand lost")
            return
        wait_s = dice.uniform(0, 4)
        if fate == "late":
            wait_s = dice.uniform(60, 9000)
        body = json.dumps(notice(entry, dice.choice(range(4)))).encode()
        self._send(entry, body, wait_s)
        if fate == "doubled":
            self._send(entry, body + dice.choice([b"", b" "]), dice.uniform(0, 400))
        if fate == "forged":
            self._forge(entry)

    def _send(self, entry: Entry, body: bytes, wait_s: float) -> None:
        def arrive() -> str:
            return str(self.deliver(self._paths[entry.shortcode], body))

        self.world.after(wait_s, f"C2B row of {entry.receipt} arrives", arrive)

    def _forge(self, entry: Entry) -> None:
        """Somebody without the address tells of money that never moved."""
        body = json.dumps(notice(entry, 0) | {"TransID": "UFORGED000"}).encode()
        path = self._paths[entry.shortcode]
        path = path[:-6] + ("0" * 6 if path[-6:] != "0" * 6 else "1" * 6)

        def arrive() -> str:
            self.world.count("notices by hand forged")
            status = self.deliver(path, body, is_genuine=False)
            if status != 403:
                self.world.wrong(f"a forged C2B notice was answered {status}")
            return "403"

        self.world.after(self.world.dice.uniform(0, 60), "forged C2B row", arrive)

    def deliver(self, path: str, body: bytes, *, is_genuine: bool = True) -> int:
        """Post to an address of ours through its real view; return the status."""
        request = self.world.line.request(path, body)
        match = resolve(path)
        answer = match.func(request, *match.args, **match.kwargs)
        if answer.status_code != 200 and is_genuine and not self.world.crashes.was_away:
            self.world.wrong(f"a genuine C2B notice was answered {answer.status_code}")
        return int(answer.status_code)

    # The list.

    def pull(self, account: Credentials, query: PullQuery) -> PullPage:
        """Return one page of the ledger, as the real list has it."""
        require_no_transaction()
        world = self.world
        world.count("pulls")
        world.crashes.here("before a pull")
        if not world.is_calm and world.dice.chance(AWAY):
            world.count("pulls that failed")
            raise GatewayError("the list is away", certain=False)
        rows = [
            pulled(entry)
            for entry in world.bank.ledger
            if entry.shortcode == account.shortcode
            and query.start <= entry.at < query.end
        ]
        page = rows[query.offset : query.offset + PAGE]
        answer = {
            "ResponseCode": "1000" if page else "1001",
            "Response": [page],
        }
        world.crashes.here("after a pull")
        return organisation_answers.pulled(200, json.dumps(answer))

    # The statement.

    def import_statements(self, since: datetime) -> None:
        """In the evening the owner imports each account's statement of the day."""
        for account in MpesaAccount.objects.order_by("shortcode"):
            until = self.world.clock.now() + timedelta(hours=1)
            bank = self.world.bank
            data = statement(bank.ledger, bank.returned.values(), account, since, until)
            imported = statement_import.imported(
                account=account,
                data=data,
                file_name=f"{account.shortcode}-{since:%Y%m%d}.csv",
                actor=self._owner,
            )
            self.world.count("statements")
            if imported.bad_rows:
                self.world.wrong(f"rows not read: {imported.bad_rows[:3]}")


def notice(entry: Entry, mask: int) -> dict[str, str]:
    """Return what M-Pesa posts about a payment into an account."""
    return {
        "TransactionType": "Customer Merchant Payment" if entry.is_till else "Pay Bill",
        "TransID": entry.receipt,
        "TransTime": entry.at.astimezone(NAIROBI).strftime("%Y%m%d%H%M%S"),
        "TransAmount": f"{entry.amount}.00",
        "BusinessShortCode": entry.shortcode,
        "BillRefNumber": "" if entry.is_till else entry.reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "",
        "ThirdPartyTransID": "",
        "MSISDN": masked(entry.phone, mask),
        "FirstName": "JANE",
        "MiddleName": "",
        "LastName": "",
    }


def masked(phone: str, mask: int) -> str:
    """Return a payer's number as M-Pesa shows it: stars, fewer stars, a hash."""
    if mask == 1:
        return f"{phone[:5]}****{phone[-3:]}"
    if mask == 2:
        return hashlib.sha256(phone.encode()).hexdigest()
    return f"{phone[:4]} ***** {phone[-3:]}"


def pulled(entry: Entry) -> dict[str, Any]:
    """Return a row of the list. Its time is East Africa Time, whatever the Z says."""
    return {
        "transactionId": entry.receipt,
        "trxDate": entry.at.astimezone(NAIROBI).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "msisdn": int(entry.phone),
        "sender": "JANE",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "" if entry.is_till else entry.reference,
        "amount": f"{entry.amount}.00",
        "organizationname": "DUKA",
    }


def statement(
    ledger: list[Entry],
    returned: Iterable[Returned],
    account: MpesaAccount,
    since: datetime,
    until: datetime,
) -> bytes:
    """Return the organisation's statement as the portal exports it, newest first."""
    out = io.StringIO()
    write = csv.writer(out)
    number = (
        account.shortcode if account.type == AccountType.PAYBILL else account.party_b
    )
    write.writerow(["Organization Name:", "DUKA"])
    write.writerow(["Short Code:", account.shortcode or number])
    write.writerow(["Time Period:", f"From {_stamp(since)} To {_stamp(until)}"])
    write.writerow([])
    write.writerow(
        [
            "Receipt No.", "Completion Time", "Initiation Time", "Details",
            "Transaction Status", "Paid In", "Withdrawn", "Balance",
            "Balance Confirmed", "Reason Type", "Other Party Info",
            "Linked Transaction ID", "A/C No.",
        ]
    )  # fmt: skip
    balance = 0
    rows = []
    for entry in ledger:
        if entry.shortcode != account.shortcode or not since <= entry.at < until:
            continue
        balance += entry.amount
        kind = "Merchant Payment" if entry.is_till else "Pay Bill Online"
        rows.append(
            [
                entry.receipt, _stamp(entry.at), _stamp(entry.at),
                f"{kind} from {masked(entry.phone, 1)} - JANE", "Completed",
                f"{entry.amount}.00", "", f"{balance}.00", "true", kind,
                f"{masked(entry.phone, 1)} - JANE", "",
                "" if entry.is_till else entry.reference,
            ]
        )  # fmt: skip
    for back in returned:
        entry = back.entry
        if entry.shortcode != account.shortcode or not since <= back.at < until:
            continue
        kind = "Merchant Payment Reversal" if entry.is_till else "Pay Bill Reversal"
        rows.append(
            [
                back.receipt, _stamp(back.at), _stamp(back.at),
                f"{kind} to {masked(entry.phone, 1)} - JANE", "Completed",
                "", f"-{entry.amount}.00", "", "true", kind,
                f"{masked(entry.phone, 1)} - JANE", entry.receipt, "",
            ]
        )  # fmt: skip
    write.writerows(reversed(rows))
    return out.getvalue().encode()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(NAIROBI).strftime("%d-%m-%Y %H:%M:%S")
