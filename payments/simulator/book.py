"""Whose money is where: phones, organisations, and every shilling that moved.

Pure Python without HTTP or threads of its own. Every public method holds the one
lock for its whole length. Amounts in KES, whole shillings.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from payments.simulator import ids, messages, outcomes
from payments.simulator.accounts import Account
from payments.simulator.clock import EAST_AFRICA, Clock
from payments.simulator.records import Entry, Kind, Message, Phone


REPEAT_WINDOW = timedelta(minutes=2)


class Refusal(Exception):
    """Money that does not move; carries M-Pesa's result code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Book:
    """The money of everybody the simulator knows."""

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._phones: dict[str, Phone] = {}
        self._entries: list[Entry] = []
        self._by_receipt: dict[str, Entry] = {}
        self._issued: set[str] = set()
        self._balances: defaultdict[str, int] = defaultdict(int)

    def reset(self) -> None:
        with self._lock:
            self._phones.clear()
            self._entries.clear()
            self._by_receipt.clear()
            self._issued.clear()
            self._balances.clear()

    # Phones.

    def phone(self, number: str) -> Phone:
        """Return the phone, switched on for the first time if need be."""
        with self._lock:
            return self._phones.setdefault(number, Phone(number))

    def phones(self) -> list[Phone]:
        with self._lock:
            return list(self._phones.values())

    def set_balance(self, number: str, balance: int) -> None:
        with self._lock:
            self.phone(number).balance = balance

    def tell(self, number: str, text: str) -> None:
        """Put an SMS of M-PESA on the phone."""
        with self._lock:
            self.phone(number).messages.append(Message(self._clock.now(), text))

    def paying_code(
        self, number: str, amount: int, *, max_amount: float, daily: float
    ) -> str:
        """Return the result code that paying this would lead to."""
        with self._lock:
            if amount > max_amount:
                return outcomes.ABOVE_MAXIMUM
            if self._spent_today(number) + amount > daily:
                return outcomes.DAILY_LIMIT
            if amount > self.phone(number).balance:
                return outcomes.INSUFFICIENT
            return outcomes.PAID

    def was_just_paid(self, number: str, amount: int) -> bool:
        """Say whether a prompt of this amount was paid on it within two minutes."""
        since = self._clock.now() - REPEAT_WINDOW
        with self._lock:
            return any(
                entry.kind is Kind.STK and entry.amount == amount and entry.at > since
                for entry in self.phone(number).payments
            )

    # Money that moves.

    def new_receipt(self) -> str:
        """Return a receipt number that nothing else has or will get."""
        with self._lock:
            while True:
                receipt = ids.receipt(self._clock.now_in_nairobi())
                if receipt not in self._issued:
                    self._issued.add(receipt)
                    return receipt

    def collect(
        self,
        kind: Kind,
        account: Account,
        *,
        phone: str,
        amount: int,
        reference: str,
        started_at: datetime,
        receipt: str = "",
        checkout_id: str = "",
        third_party_id: str = "",
    ) -> Entry:
        """Move money from a phone to an organisation, which was found possible.

        The phone gets its SMS.
        """
        with self._lock:
            entry = self._enter(
                kind,
                account,
                amount,
                receipt=receipt,
                phone=phone,
                reference=reference,
                started_at=started_at,
                checkout_id=checkout_id,
                third_party_id=third_party_id,
            )
            payer = self.phone(phone)
            payer.balance -= amount
            payer.payments.append(entry)
            self.tell(
                phone,
                messages.paid(
                    entry.receipt,
                    account=account,
                    amount=amount,
                    reference=reference,
                    balance=payer.balance,
                    at=entry.at.astimezone(EAST_AFRICA),
                ),
            )
            return entry

    def decline(
        self,
        account: Account,
        *,
        phone: str,
        amount: int,
        reference: str,
        started_at: datetime,
        receipt: str,
    ) -> Entry:
        """Write down a payment that the merchant did not accept; nothing moves."""
        with self._lock:
            self.tell(phone, messages.not_accepted(account, amount))
            return self._enter(
                Kind.C2B,
                account,
                amount,
                receipt=receipt,
                phone=phone,
                reference=reference,
                started_at=started_at,
                is_declined=True,
            )

    def charge(self, payment: Entry, amount: int) -> Entry:
        """Take M-Pesa's charge for a payment; it has the payment's receipt."""
        with self._lock:
            return self._enter(
                Kind.CHARGE,
                payment.account,
                amount,
                receipt=payment.receipt,
                linked=payment.receipt,
            )

    def sweep(self, account: Account, amount: int | None = None) -> Entry:
        """Send this much, or all, to the organisation's bank.

        Raises Refusal when there is not so much, or nothing at all.
        """
        with self._lock:
            if amount is None:
                amount = self.balance(account)
            if not 0 < amount <= self.balance(account):
                raise Refusal(outcomes.INSUFFICIENT)
            return self._enter(Kind.SWEEP, account, amount)

    def reverse(
        self,
        account: Account,
        *,
        receipt: str,
        amount: int,
        started_at: datetime,
        originator_id: str,
        conversation_id: str,
    ) -> Entry:
        """Give a customer back what was paid into this account.

        Raises Refusal: R000002 no such payment of this account, R000001 it was
        reversed before, 2028 not the amount of the payment, 1 too little money left.
        """
        with self._lock:
            payment = self.entry(account, receipt)
            if payment is None or not payment.is_payment or payment.is_declined:
                raise Refusal(outcomes.UNKNOWN_ORIGINAL)
            if payment.reversed_by:
                raise Refusal(outcomes.ALREADY_REVERSED)
            if amount != payment.amount:
                raise Refusal(outcomes.NOT_PERMITTED)
            if amount > self.balance(account):
                raise Refusal(outcomes.INSUFFICIENT)
            entry = self._enter(
                Kind.REVERSAL,
                account,
                amount,
                phone=payment.phone,
                started_at=started_at,
                linked=receipt,
            )
            entry.originator_id = originator_id
            entry.conversation_id = conversation_id
            payment.reversed_by = entry.receipt
            payer = self.phone(payment.phone)
            payer.balance += amount
            self.tell(
                payer.number,
                messages.given_back(
                    entry.receipt,
                    original=receipt,
                    amount=amount,
                    balance=payer.balance,
                    at=entry.at.astimezone(EAST_AFRICA),
                ),
            )
            return entry

    # What is written.

    def balance(self, account: Account) -> int:
        """Return what the organisation has; charges are off already."""
        with self._lock:
            return self._balances[account.shortcode]

    def charges(self, account: Account) -> int:
        """Return what the organisation has paid in charges."""
        return sum(
            entry.amount for entry in self.history(account) if entry.kind is Kind.CHARGE
        )

    def by_originator(self, account: Account, originator_id: str) -> Entry | None:
        """Return what an API user of this account did under this id."""
        return next(
            (
                entry
                for entry in self.history(account)
                if entry.originator_id and entry.originator_id == originator_id
            ),
            None,
        )

    def entry(self, account: Account, receipt: str) -> Entry | None:
        """Return the payment, reversal or sweep of this receipt and account."""
        found = self.by_receipt(receipt)
        return found if found and found.account.shortcode == account.shortcode else None

    def by_receipt(self, receipt: str) -> Entry | None:
        with self._lock:
            return self._by_receipt.get(receipt)

    def ledger(self) -> list[Entry]:
        """Return the money that moved, newest first."""
        with self._lock:
            return [entry for entry in reversed(self._entries) if not entry.is_declined]

    def history(self, account: Account) -> list[Entry]:
        """Return all of an organisation, declined payments too, oldest first."""
        with self._lock:
            return [
                entry
                for entry in self._entries
                if entry.account.shortcode == account.shortcode
            ]

    def payments(self, account: Account) -> list[Entry]:
        """Return what customers paid to an organisation, oldest first."""
        return [
            entry
            for entry in self.history(account)
            if entry.is_payment and not entry.is_declined
        ]

    def record_notice(self, entry: Entry, attempt: dict[str, Any]) -> None:
        with self._lock:
            entry.notices.append(attempt)

    def _enter(
        self,
        kind: Kind,
        account: Account,
        amount: int,
        *,
        receipt: str = "",
        started_at: datetime | None = None,
        is_declined: bool = False,
        phone: str = "",
        reference: str = "",
        checkout_id: str = "",
        third_party_id: str = "",
        linked: str = "",
    ) -> Entry:
        now = self._clock.now()
        if not is_declined:
            income = kind in (Kind.STK, Kind.C2B)
            self._balances[account.shortcode] += amount if income else -amount
        entry = Entry(
            receipt=receipt or self.new_receipt(),
            kind=kind,
            amount=amount,
            account=account,
            started_at=started_at or now,
            at=now,
            balance=self._balances[account.shortcode],
            is_declined=is_declined,
            phone=phone,
            reference=reference,
            checkout_id=checkout_id,
            third_party_id=third_party_id,
            linked=linked,
        )
        self._entries.append(entry)
        if kind is not Kind.CHARGE:
            self._by_receipt[entry.receipt] = entry
        return entry

    def _spent_today(self, number: str) -> int:
        today = self._clock.now_in_nairobi().date()
        return sum(
            entry.amount
            for entry in self.phone(number).payments
            if entry.at.astimezone(EAST_AFRICA).date() == today
        )
