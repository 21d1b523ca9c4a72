"""Customers who pay by hand, and what C2B tells the merchant of every payment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payments.simulator import confirmations, messages, outcomes, switches
from payments.simulator.accounts import Account
from payments.simulator.book import Book, Refusal
from payments.simulator.clock import Clock
from payments.simulator.confirmations import Notice
from payments.simulator.courier import Attempt, Courier, Letter
from payments.simulator.faults import Faults
from payments.simulator.records import Entry, Kind
from payments.simulator.subscriptions import Subscriptions
from payments.simulator.switches import C2B_PREFIX
from payments.simulator.wire_c2b import COMPLETED, Registration


ACCEPTED = "0"
THIRD_PARTY_ID_LENGTH = 20


class Declined(Exception):
    """The merchant's validation turned a payment down; carries its ResultCode."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the merchant's validation said."""

    code: str
    third_party_id: str = ""


class CustomerPayments:
    """Takes payments that nobody pushed, and sends confirmations."""

    def __init__(
        self,
        clock: Clock,
        faults: Faults,
        book: Book,
        subscriptions: Subscriptions,
        courier: Courier,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._book = book
        self._subscriptions = subscriptions
        self._courier = courier

    def pay(
        self, account: Account, *, phone: str, amount: int, reference: str
    ) -> Entry:
        """Let a customer pay by hand; the merchant validates first if asked to.

        Waits for the validation, not for the confirmation. ``amount`` in whole
        shillings. Raises Refusal when M-Pesa will not, Declined when the merchant
        will not; then nothing has moved.
        """
        started_at = self._clock.now()
        self._check(account, phone, amount)
        notice = Notice(
            receipt=self._book.new_receipt(),
            account=account,
            phone=phone,
            amount=amount,
            reference=reference,
            at=started_at,
        )
        verdict = self._validated(notice)
        if verdict.code != ACCEPTED:
            self._book.decline(
                account,
                phone=phone,
                amount=amount,
                reference=reference,
                started_at=started_at,
                receipt=notice.receipt,
            )
            raise Declined(verdict.code)
        entry = self._book.collect(
            Kind.C2B,
            account,
            phone=phone,
            amount=amount,
            reference=reference,
            started_at=started_at,
            receipt=notice.receipt,
            third_party_id=verdict.third_party_id,
        )
        self.collected(entry)
        return entry

    def collected(self, entry: Entry) -> None:
        """Do what follows every payment: the charge, and the confirmation.

        A prompt that was paid is confirmed too, under the same receipt.
        """
        percent = self._faults.take("charge_percent", entry.phone)
        charge = _rounded(entry.amount * percent / 100)
        if charge:
            self._book.charge(entry, charge)
        if entry.kind is Kind.STK and not self._faults.take("c2b_for_stk", entry.phone):
            return
        registration = self._subscriptions.registration(entry.account)
        if registration is not None:
            self._courier.send(
                self._confirmation(entry, registration, self._shape(entry.phone))
            )

    def confirm_bent(self, entry: Entry, bends: Mapping[str, Any]) -> Attempt | None:
        """Post a confirmation once more, in this shape, and wait.

        Returns what is recorded of it, or None where no address is registered.
        """
        registration = self._subscriptions.registration(entry.account)
        if registration is None:
            return None
        shape = switches.default_shape(C2B_PREFIX, confirmations.SHAPE) | dict(bends)
        return self._courier.deliver(self._confirmation(entry, registration, shape))

    def _check(self, account: Account, phone: str, amount: int) -> None:
        code = self._book.paying_code(
            phone,
            amount,
            max_amount=self._faults.take("max_amount", phone),
            daily=self._faults.take("daily_limit", phone),
        )
        if code != outcomes.PAID:
            text = messages.failed(code, account=account, amount=amount)
            if text:
                self._book.tell(phone, text)
            raise Refusal(code)

    def _validated(self, notice: Notice) -> Verdict:
        registration = self._subscriptions.registration(notice.account)
        if registration is None or not self._faults.take(
            "c2b_validation", notice.phone
        ):
            return Verdict(ACCEPTED)
        shape = self._shape(notice.phone)
        letter = Letter(
            url=registration.validation_url,
            body=confirmations.body_of(notice, shape, version=registration.version),
            prefix=C2B_PREFIX,
            counter="validations",
            phone=notice.phone,
            record=lambda attempt: None,
        )
        status, answer = self._courier.ask(
            letter, timeout_s=self._faults.take("c2b_validation_timeout_s")
        )
        verdict = _verdict(answer) if status == 200 else None
        if verdict is None:  # nobody answered: the registration says what then
            accepted = registration.response_type == COMPLETED
            return Verdict(ACCEPTED if accepted else "C2B00016")
        return verdict

    def _shape(self, phone: str) -> dict[str, Any]:
        return self._faults.shape(C2B_PREFIX, confirmations.SHAPE, phone)

    def _confirmation(
        self, entry: Entry, registration: Registration, shape: Mapping[str, Any]
    ) -> Letter:
        return Letter(
            url=registration.confirmation_url,
            body=confirmations.body_of(
                confirmations.notice_of(entry), shape, version=registration.version
            ),
            prefix=C2B_PREFIX,
            counter="confirmations",
            phone=entry.phone,
            record=lambda attempt: self._book.record_notice(entry, attempt),
        )


def _rounded(amount: float) -> int:
    return int(amount + 0.5)


def _verdict(answer: bytes) -> Verdict | None:
    try:
        told = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(told, dict) or "ResultCode" not in told:
        return None
    third_party_id = str(told.get("ThirdPartyTransID") or "")
    return Verdict(str(told["ResultCode"]), third_party_id[:THIRD_PARTY_ID_LENGTH])
