"""M-Pesa's desk for organisations: what became of a receipt, and money sent back.

It takes a request and posts the result later, to the request's own address, if the
network lets it: results get lost, doubled, late, reordered, and replaced by a notice
that M-Pesa gave up, also where the money had moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from payments.chaos import bank
from payments.chaos.bank import Entry
from payments.enums import FailureReason
from payments.gateways.base import Credentials, GatewayError
from payments.gateways.organisation import (
    Acknowledged,
    Initiator,
    ResultUrls,
    ReversalRequest,
    StatusRequest,
)
from smartduka.lib.clock import NAIROBI
from smartduka.lib.transactions import require_no_transaction


if TYPE_CHECKING:
    from payments.chaos.world import World


# Percent of the requests.
ANSWER_LOST, NEVER_ARRIVED, REFUSED = 6, 3, 2
# What becomes of a result.
FATES = [
    ("on time", 44), ("lost", 30), ("doubled", 10), ("late", 8), ("reordered", 5),
    ("given up", 3),
]  # fmt: skip
NO_SUCH = "25"

Parameters = list[tuple[str, Any]]


@dataclass(slots=True)
class Errand:
    """A request that M-Pesa took. `code` is None until it is carried out."""

    ids: Acknowledged
    shortcode: str
    receipt: str
    code: str | None = None


class Desk:
    """Takes the requests of an organisation, and answers by another road."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._reversals: dict[str, Errand] = {}
        self._taken = 0

    def transaction_status(
        self,
        account: Credentials,
        initiator: Initiator,
        request: StatusRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Say later what became of a receipt or a request; see OrganisationGateway."""
        self._arrive("questions about receipts", limit_s)
        errand = self._take(account.shortcode, request.receipt)

        def result() -> bytes:
            if request.receipt:
                code, told = self._status_of(account.shortcode, request.receipt)
            else:
                code, told = self._status_of_reversal(request.original_conversation_id)
            return _body(errand.ids, code, told)

        self._answer_later(request.urls, result, self.world.dice.uniform(0.5, 20))
        return self._acknowledge(errand, limit_s)

    def reverse(
        self,
        account: Credentials,
        initiator: Initiator,
        request: ReversalRequest,
        *,
        limit_s: float,
    ) -> Acknowledged:
        """Send a payment back, some time later; see OrganisationGateway."""
        world = self.world
        self._arrive("reversals asked for", limit_s)
        entry = world.bank.by_receipt.get(request.receipt)
        if entry is None or entry.amount != request.amount:
            world.wrong(f"asked to send back {request}, M-Pesa has {entry}")
        errand = self._take(account.shortcode, request.receipt)
        self._reversals[errand.ids.originator_conversation_id] = errand

        def result() -> bytes:
            self._carry_out(errand)
            return _body(errand.ids, errand.code or "", self._told_of(errand))

        wait_s = world.dice.uniform(0.5, 40)
        if world.dice.chance(5) and not world.is_calm:
            wait_s = world.dice.uniform(60, 5000)
        world.after(
            wait_s, f"reversal of {request.receipt}", lambda: self._carry_out(errand)
        )
        self._answer_later(request.urls, result, wait_s)
        return self._acknowledge(errand, limit_s)

    # On the way there and back.

    def _arrive(self, name: str, limit_s: float) -> None:
        world = self.world
        require_no_transaction()
        world.count(name)
        world.crashes.here("before a request to M-Pesa")
        if world.dice.chance(REFUSED):
            raise GatewayError("busy", certain=True, reason=FailureReason.MPESA_BUSY)
        if world.dice.chance(NEVER_ARRIVED):
            self._time_out(limit_s)

    def _take(self, shortcode: str, receipt: str) -> Errand:
        self._taken += 1
        ids = Acknowledged(f"AG_{self._taken:09}", f"{self._taken:05}-errand-1")
        return Errand(ids, shortcode, receipt)

    def _acknowledge(self, errand: Errand, limit_s: float) -> Acknowledged:
        world = self.world
        world.crashes.here("after M-Pesa took a request")
        if world.dice.chance(ANSWER_LOST):
            self._time_out(limit_s)
        world.clock.advance(world.dice.uniform(0.1, 2))
        return errand.ids

    def _time_out(self, limit_s: float) -> None:
        self.world.clock.advance(limit_s)
        raise GatewayError("no answer", certain=False)

    def _answer_later(
        self, urls: ResultUrls, result: Callable[[], bytes], wait_s: float
    ) -> None:
        world, dice = self.world, self.world.dice
        fate = "on time" if world.is_calm else dice.one_of(FATES)
        world.count("results")
        if fate != "on time":
            world.count(f"results {fate}")
        if fate == "lost":
            return
        if fate == "given up":
            # It says so whatever was done.
            body = _body(Acknowledged("AG_0", "0-errand-0"), "1019", [])
            self._send(urls.timeout, lambda: body, wait_s)
        elif fate == "reordered":
            world.apart(lambda: self._post(urls.result, result()))
        else:
            late_s = dice.uniform(60, 7000) if fate == "late" else 0.0
            self._send(urls.result, result, wait_s + late_s)
            if fate == "doubled":
                self._send(urls.result, result, wait_s + dice.uniform(0, 300))

    def _send(self, url: str, result: Callable[[], bytes], wait_s: float) -> None:
        self.world.after(
            wait_s, "a result arrives", lambda: str(self._post(url, result()))
        )

    def _post(self, url: str, body: bytes) -> int:
        return self.world.sources.deliver(urlsplit(url).path, body)

    # What is true.

    def _carry_out(self, errand: Errand) -> str:
        """Send the money back, or refuse for good: once."""
        if errand.code is None:
            errand.code = self.world.bank.send_back(
                errand.shortcode, errand.receipt, self.world.clock.now()
            )
            self.world.count(f"reversals with code {errand.code}")
        return f"code {errand.code}"

    def _told_of(self, errand: Errand) -> Parameters:
        if errand.code != bank.PAID:
            return []
        returned = self.world.bank.returned[errand.receipt]
        return [
            ("Amount", returned.entry.amount),
            ("TransCompletedTime", _stamp(returned.at)),
            ("OriginalTransactionID", errand.receipt),
            ("Charge", 0),
            ("TransactionID", returned.receipt),
        ]

    def _status_of(self, shortcode: str, receipt: str) -> tuple[str, Parameters]:
        entry = self.world.bank.by_receipt.get(receipt)
        if entry is None or entry.shortcode != shortcode:
            return NO_SUCH, []
        # What is said of a payment that went back is not published: either.
        word = "Completed"
        if receipt in self.world.bank.returned and self.world.dice.chance(50):
            word = "Reversed"
        return bank.PAID, _transaction(entry, entry.receipt, entry.at, word)

    def _status_of_reversal(self, originator_id: str) -> tuple[str, Parameters]:
        errand = self._reversals[originator_id]
        returned = self.world.bank.returned.get(errand.receipt)
        if errand.code == bank.PAID and returned is not None:
            told = _transaction(
                returned.entry, returned.receipt, returned.at, "Completed", is_back=True
            )
            return bank.PAID, told
        entry = self.world.bank.by_receipt[errand.receipt]
        if errand.code is None:
            told = _transaction(
                entry, "UWAIT00000", entry.at, "Initiated", is_back=True
            )
            return bank.PAID, told
        return NO_SUCH, []


def _transaction(
    entry: Entry, receipt: str, at: datetime, word: str, *, is_back: bool = False
) -> Parameters:
    payer, payee = f"{entry.phone} - JANE", f"{entry.shortcode} - DUKA"
    if is_back:
        payer, payee = payee, payer
    return [
        ("DebitPartyName", payer),
        ("CreditPartyName", payee),
        ("InitiatedTime", _stamp(at)),
        ("TransactionStatus", word),
        ("FinalisedTime", _stamp(at)),
        ("Amount", str(entry.amount)),
        ("ReceiptNo", receipt),
        ("DebitPartyName", payee),
    ]


def _body(ids: Acknowledged, code: str, told: Parameters) -> bytes:
    """Return a result; the receipt of a reversal is the transaction's own id."""
    facts = dict(told)
    content: dict[str, Any] = {
        "ResultType": 0,
        "ResultCode": int(code) if code.isdigit() else code,
        "ResultDesc": f"Result {code}",
        "OriginatorConversationID": ids.originator_conversation_id,
        "ConversationID": ids.conversation_id,
        "TransactionID": facts.get("TransactionID", "UAE0000000"),
    }
    if code == bank.PAID:
        content["ResultParameters"] = {
            "ResultParameter": [
                {"Key": key, "Value": value}
                for key, value in told
                if key != "TransactionID"
            ]
        }
    return json.dumps({"Result": content}).encode()


def _stamp(moment: datetime) -> int:
    return int(moment.astimezone(NAIROBI).strftime("%Y%m%d%H%M%S"))
