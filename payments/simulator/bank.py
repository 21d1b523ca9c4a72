"""The state: merchants, tokens and prompts; the money itself is in ``book``.

Pure Python without HTTP or threads of its own. Every public method holds the one
lock for its whole length. Amounts in KES, whole shillings.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from payments.simulator import ids, messages, outcomes, refusals
from payments.simulator.accounts import DEMO_ACCOUNTS, Account
from payments.simulator.book import Book
from payments.simulator.clock import EAST_AFRICA, Clock
from payments.simulator.records import (
    IGNORED,
    OPEN,
    STATUSES,
    Kind,
    Prompt,
    Token,
)
from payments.simulator.refusals import Refused
from payments.simulator.wire import PushRequest


class AlreadyFinished(Exception):
    """The prompt has its result; it never gets another one."""


class Bank:
    """Everything the simulator knows."""

    def __init__(self, clock: Clock, lock: threading.RLock, book: Book) -> None:
        self._clock = clock
        self._lock = lock
        self._book = book
        self._accounts = {account.shortcode: account for account in DEMO_ACCOUNTS}
        self._tokens: dict[str, Token] = {}
        self._prompts: dict[str, Prompt] = {}
        self._open_by_phone: dict[str, str] = {}

    def reset(self) -> None:
        """Forget what happened; accounts, and tokens that clients hold, stay."""
        with self._lock:
            self._prompts.clear()
            self._open_by_phone.clear()

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

    def organisation(self, consumer_key: str, number: str) -> Account | None:
        """Return the account of this number, if it belongs to this app."""
        account = self.named(number)
        return account if account and account.consumer_key == consumer_key else None

    def organisations(self, consumer_key: str) -> list[Account]:
        """Return the accounts of this app."""
        return [one for one in self.accounts() if one.consumer_key == consumer_key]

    def named(self, number: str) -> Account | None:
        """Return the account that has this number in either place."""
        return next(
            (
                account
                for account in self.accounts()
                if number in (account.shortcode, account.party_b)
            ),
            None,
        )

    def receiver(self, number: str) -> Account | None:
        """Return who gets what a customer pays to this paybill or till number."""
        return next((one for one in self.accounts() if one.party_b == number), None)

    def issue_token(self, consumer_key: str, *, lifetime_s: float) -> str:
        with self._lock:
            token = ids.access_token()
            expires_at = self._clock.now() + timedelta(seconds=lifetime_s)
            self._tokens[token] = Token(consumer_key, expires_at)
            return token

    def app_of(self, token: str) -> str | None:
        """Return the consumer key of a living token."""
        with self._lock:
            known = self._tokens.get(token)
            if known is None or known.expires_at <= self._clock.now():
                return None
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
            self._book.phone(request.phone)
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
        return prompt.refusal or self._book.paying_code(
            prompt.request.phone,
            prompt.request.amount,
            max_amount=max_amount,
            daily=daily,
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

    def record_callback(self, prompt: Prompt, attempt: dict[str, Any]) -> None:
        with self._lock:
            prompt.callbacks.append(attempt)

    def _free_checkout_id(self, number: str) -> str:
        at = self._clock.now().astimezone(EAST_AFRICA)
        while (checkout_id := ids.checkout_request_id(at, number)) in self._prompts:
            at += timedelta(milliseconds=1)
        return checkout_id

    def _move_money(self, prompt: Prompt) -> None:
        request = prompt.request
        entry = self._book.collect(
            Kind.STK,
            prompt.account,
            phone=request.phone,
            amount=request.amount,
            reference=request.reference,
            started_at=prompt.created_at,
            checkout_id=prompt.checkout_id,
        )
        prompt.receipt = entry.receipt

    def _send_message(self, prompt: Prompt) -> None:
        text = messages.failed(
            prompt.result_code, account=prompt.account, amount=prompt.request.amount
        )
        if text:
            self._book.tell(prompt.request.phone, text)
