"""The state: merchants, tokens, phones with money, prompts, and the ledger.

Pure Python without HTTP or threads of its own. Every public method holds the one
lock for its whole length. Amounts in KES, whole shillings.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

from payments.simulator import ids, messages, outcomes, refusals
from payments.simulator.accounts import DEMO_ACCOUNTS, Account
from payments.simulator.clock import EAST_AFRICA, Clock
from payments.simulator.records import (
    IGNORED,
    OPEN,
    STATUSES,
    Entry,
    Message,
    Phone,
    Prompt,
    Token,
)
from payments.simulator.refusals import Refused
from payments.simulator.wire import PushRequest


REPEAT_WINDOW = timedelta(minutes=2)


class AlreadyFinished(Exception):
    """The prompt has its result; it never gets another one."""


class Bank:
    """Everything the simulator knows."""

    def __init__(self, clock: Clock, lock: threading.RLock) -> None:
        self._clock = clock
        self._lock = lock
        self._accounts = {account.shortcode: account for account in DEMO_ACCOUNTS}
        self._tokens: dict[str, Token] = {}
        self._phones: dict[str, Phone] = {}
        self._prompts: dict[str, Prompt] = {}
        self._open_by_phone: dict[str, str] = {}
        self._ledger: dict[str, Entry] = {}

    def reset(self) -> None:
        """Forget what happened; accounts, and tokens that clients hold, stay."""
        with self._lock:
            self._phones.clear()
            self._prompts.clear()
            self._open_by_phone.clear()
            self._ledger.clear()

    # Apps and merchants.

    def accounts(self) -> list[Account]:
        with self._lock:
            return list(self._accounts.values())

    def add_account(self, account: Account) -> None:
        """Add a merchant, or replace the one of the same shortcode."""
        with self._lock:
            self._accounts[account.shortcode] = account

    def knows_app(self, consumer_key: str, consumer_secret: str) -> bool:
        with self._lock:
            return any(
                (account.consumer_key, account.consumer_secret)
                == (consumer_key, consumer_secret)
                for account in self._accounts.values()
            )

    def merchant(self, consumer_key: str, shortcode: str) -> Account:
        """Return the account of this app; raises Refused: merchant does not exist."""
        with self._lock:
            account = self._accounts.get(shortcode)
        if account is None or account.consumer_key != consumer_key:
            raise Refused(refusals.MERCHANT)
        return account

    def issue_token(self, consumer_key: str, *, lifetime_s: float) -> str:
        with self._lock:
            token = ids.access_token()
            expires_at = self._clock.now() + timedelta(seconds=lifetime_s)
            self._tokens[token] = Token(consumer_key, expires_at)
            return token

    def app_of(self, token: str) -> str:
        """Return the consumer key of a living token; raises Refused."""
        with self._lock:
            known = self._tokens.get(token)
            if known is None or known.expires_at <= self._clock.now():
                raise Refused(refusals.ACCESS_TOKEN)
            return known.consumer_key

    def end_tokens(self, consumer_key: str | None = None) -> None:
        """End the tokens of one app, or of all."""
        with self._lock:
            self._tokens = {
                text: token
                for text, token in self._tokens.items()
                if consumer_key not in (None, token.consumer_key)
            }

    def end_token(self, token: str) -> None:
        with self._lock:
            self._tokens.pop(token, None)

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

    # Prompts.

    def open_prompt(self, request: PushRequest, account: Account) -> Prompt:
        """Accept a push; the subscriber stays locked until the prompt is finished.

        Raises Refused: unable to lock subscriber.
        """
        with self._lock:
            if request.phone in self._open_by_phone:
                raise Refused(refusals.SUBSCRIBER_LOCK)
            prompt = Prompt(
                checkout_id=self._free_checkout_id(request.phone),
                merchant_id=ids.merchant_request_id(),
                request=request,
                account=account,
                created_at=self._clock.now(),
            )
            self.phone(request.phone)
            self._prompts[prompt.checkout_id] = prompt
            self._open_by_phone[request.phone] = prompt.checkout_id
            return prompt

    def prompt(self, checkout_id: str) -> Prompt | None:
        with self._lock:
            return self._prompts.get(checkout_id)

    def prompts(self) -> list[Prompt]:
        """Return all prompts, newest first."""
        with self._lock:
            return list(reversed(self._prompts.values()))

    def prompt_on(self, number: str) -> Prompt | None:
        """Return what this phone shows now, if it shows a prompt."""
        with self._lock:
            prompt = self._prompts.get(self._open_by_phone.get(number, ""))
            return prompt if prompt and prompt.status == OPEN else None

    def ignore(self, prompt: Prompt) -> None:
        """Take the prompt off the screen; it stays open. Raises AlreadyFinished."""
        with self._lock:
            if not prompt.is_open:
                raise AlreadyFinished
            prompt.status = IGNORED

    def refuse(self, prompt: Prompt, code: str) -> None:
        """Let the prompt end in this code, unseen, however it is answered."""
        with self._lock:
            prompt.status = IGNORED
            prompt.refusal = code

    def paying_code(self, prompt: Prompt, *, max_amount: float, daily: float) -> str:
        """Return the result code that a right PIN leads to."""
        amount, number = prompt.request.amount, prompt.request.phone
        with self._lock:
            if prompt.refusal:
                return prompt.refusal
            if amount > max_amount:
                return outcomes.ABOVE_MAXIMUM
            if self._spent_today(number) + amount > daily:
                return outcomes.DAILY_LIMIT
            if amount > self.phone(number).balance:
                return outcomes.INSUFFICIENT
            return outcomes.PAID

    def was_just_paid(self, request: PushRequest) -> bool:
        """Say whether this phone paid the same amount within two minutes."""
        since = self._clock.now() - REPEAT_WINDOW
        with self._lock:
            return any(
                entry.amount == request.amount and entry.at > since
                for entry in self.phone(request.phone).payments
            )

    def finish(
        self, prompt: Prompt, code: str, *, description: str = "", status: str = ""
    ) -> None:
        """Give the prompt its result; code 0 moves the money.

        Raises AlreadyFinished.
        """
        with self._lock:
            if not prompt.is_open:
                raise AlreadyFinished
            if code == outcomes.PAID:
                self._move_money(prompt)
            prompt.result_code = code
            prompt.result_desc = description or outcomes.describe(code)
            prompt.status = status or STATUSES.get(code, "refused")
            prompt.finished_at = self._clock.now()
            # After a reset the lock may belong to another prompt.
            if self._open_by_phone.get(prompt.request.phone) == prompt.checkout_id:
                del self._open_by_phone[prompt.request.phone]
            self._send_message(prompt)

    def ledger(self) -> list[Entry]:
        """Return the money that moved, newest first."""
        with self._lock:
            return list(reversed(self._ledger.values()))

    def record_callback(self, prompt: Prompt, attempt: dict[str, Any]) -> None:
        with self._lock:
            prompt.callbacks.append(attempt)

    def _free_checkout_id(self, number: str) -> str:
        at = self._clock.now().astimezone(EAST_AFRICA)
        while (checkout_id := ids.checkout_request_id(at, number)) in self._prompts:
            at += timedelta(milliseconds=1)
        return checkout_id

    def _free_receipt(self, at: datetime) -> str:
        while (receipt := ids.receipt(at)) in self._ledger:
            pass
        return receipt

    def _spent_today(self, number: str) -> int:
        today = self._clock.now_in_nairobi().date()
        return sum(
            entry.amount
            for entry in self.phone(number).payments
            if entry.at.astimezone(EAST_AFRICA).date() == today
        )

    def _move_money(self, prompt: Prompt) -> None:
        at = self._clock.now()
        request = prompt.request
        prompt.receipt = self._free_receipt(at.astimezone(EAST_AFRICA))
        entry = Entry(
            receipt=prompt.receipt,
            amount=request.amount,
            phone=request.phone,
            shortcode=request.shortcode,
            party_b=request.party_b,
            reference=request.reference,
            checkout_id=prompt.checkout_id,
            at=at,
        )
        self._ledger[entry.receipt] = entry
        phone = self.phone(request.phone)
        phone.balance -= request.amount
        phone.payments.append(entry)

    def _send_message(self, prompt: Prompt) -> None:
        at = self._clock.now()
        phone = self.phone(prompt.request.phone)
        text = messages.text_after(
            prompt.result_code,
            account=prompt.account,
            amount=prompt.request.amount,
            reference=prompt.request.reference,
            receipt=prompt.receipt,
            balance=phone.balance,
            at=at.astimezone(EAST_AFRICA),
        )
        if text:
            phone.messages.append(Message(at, text))
