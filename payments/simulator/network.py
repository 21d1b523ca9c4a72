"""Between Daraja and the handset: who answers a prompt, when, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from payments.simulator import msisdn, outcomes
from payments.simulator.accounts import Account
from payments.simulator.bank import AlreadyFinished, Bank
from payments.simulator.book import Book
from payments.simulator.clock import Agenda
from payments.simulator.customer_payments import CustomerPayments
from payments.simulator.delivery import Delivery
from payments.simulator.faults import Faults
from payments.simulator.outcomes import MAGIC, Habit, Outcome
from payments.simulator.records import EXPIRED, Prompt
from payments.simulator.wire import PushRequest


@dataclass(frozen=True, slots=True)
class Accepted:
    """A push that was accepted; is the answer to it lost on the way back?"""

    prompt: Prompt
    answer_lost: bool


class Network:
    """Brings prompts to phones and their answers to the merchants."""

    def __init__(
        self,
        agenda: Agenda,
        faults: Faults,
        book: Book,
        bank: Bank,
        delivery: Delivery,
        payments: CustomerPayments,
    ) -> None:
        self._agenda = agenda
        self._faults = faults
        self._book = book
        self._bank = bank
        self._delivery = delivery
        self._payments = payments

    def push(self, request: PushRequest, account: Account) -> Accepted:
        """Put a prompt on the phone and let the phone act after its habit.

        A phone that answers before the response has answered, and its callback was
        posted, when this returns. Raises Refused: unable to lock subscriber.
        """
        repeated = self._book.was_just_paid(request.phone, request.amount)
        prompt = self._bank.open_prompt(request, account)
        phone = request.phone
        habit = self._habit(phone)
        self._agenda.after(
            self._faults.take("prompt_lifetime_s", phone), lambda: self._expire(prompt)
        )
        refusal = self._refusal(request, account, repeated=repeated)
        if refusal:
            self._bank.refuse(prompt, refusal)
            self._later(phone, lambda: self._answer(prompt, Habit(Outcome.PAY)))
        elif habit.before_response or self._is_hasty(phone):
            self._act(prompt, habit.outcome or Outcome.PAY)
            self._delivery.send_now(prompt)
        elif habit.outcome is not None:
            self._later(phone, lambda: self._answer(prompt, habit))
        lost = habit.answer_lost or self._faults.take("push_reset_after_accept", phone)
        return Accepted(prompt, answer_lost=bool(lost))

    def answer(self, prompt: Prompt, outcome: Outcome) -> None:
        """Answer a prompt by hand and send the callback. Raises AlreadyFinished."""
        if outcome is Outcome.IGNORE:
            self._bank.ignore(prompt)
            return
        self._act(prompt, outcome)
        self._delivery.send(prompt, copies=self._habit(prompt.request.phone).callbacks)

    def _habit(self, phone: str) -> Habit:
        habit = MAGIC.get(phone[-2:])
        if habit is not None:
            return habit
        by_default = self._faults.take("auto_outcome", phone)
        if by_default is not None:
            return Habit(Outcome(by_default))
        if not msisdn.is_safaricom(phone) and self._faults.take(
            "other_networks_unreachable", phone
        ):
            return Habit(Outcome.UNREACHABLE)
        return Habit(None)

    def _is_hasty(self, phone: str) -> bool:
        return bool(self._faults.take("callback_before_response", phone))

    def _refusal(
        self, request: PushRequest, account: Account, *, repeated: bool
    ) -> str | None:
        if request.transaction_type != account.transaction_type:
            return outcomes.NOT_PERMITTED
        if request.party_b != account.party_b:
            return outcomes.UNKNOWN_OPERATOR
        if repeated and self._faults.take("rule17", request.phone):
            return outcomes.REPEATED
        return None

    def _later(self, phone: str, job: Callable[[], None]) -> None:
        self._agenda.after(self._faults.take("auto_delay_s", phone), job)

    def _answer(self, prompt: Prompt, habit: Habit) -> None:
        assert habit.outcome is not None  # the caller's condition
        try:
            self.answer(prompt, habit.outcome)
        except AlreadyFinished:
            return  # a person was faster

    def _expire(self, prompt: Prompt) -> None:
        try:
            self._act(prompt, Outcome.TIMEOUT)
        except AlreadyFinished:
            return  # the usual case
        self._delivery.send(prompt)

    def _act(self, prompt: Prompt, outcome: Outcome) -> None:
        if outcome is Outcome.PAY:
            self._bank.finish(prompt, self._paying_code(prompt))
            entry = self._book.by_receipt(prompt.receipt) if prompt.receipt else None
            if entry is not None:
                self._payments.collected(entry)
        elif outcome is Outcome.TIMEOUT:
            code = self._faults.take("prompt_timeout_code", prompt.request.phone)
            description = outcomes.NO_ANSWER if code == outcomes.UNREACHABLE else ""
            self._bank.finish(prompt, code, description=description, status=EXPIRED)
        else:
            self._bank.finish(prompt, outcomes.RESULT_CODES[outcome])

    def _paying_code(self, prompt: Prompt) -> str:
        phone = prompt.request.phone
        return self._bank.paying_code(
            prompt,
            max_amount=self._faults.take("max_amount", phone),
            daily=self._faults.take("daily_limit", phone),
        )
