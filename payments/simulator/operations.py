"""What API users order: accepted at once, done later, told by a Result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from payments.simulator import ids, outcomes, results
from payments.simulator.accounts import Account
from payments.simulator.book import Book, Refusal
from payments.simulator.clock import Agenda, Clock
from payments.simulator.courier import Courier, Letter
from payments.simulator.faults import Faults
from payments.simulator.initiators import Initiators
from payments.simulator.records import Entry
from payments.simulator.results import Parameters, Result
from payments.simulator.switches import RESULT_PREFIX
from payments.simulator.wire_initiator import BALANCE, REVERSAL, Order


COMPLETED = "Completed"
DECLINED = "Declined"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order in the queue, under its two ids.

    ``accounts`` are those it may look at, the first one answers for the initiator.
    """

    order: Order
    accounts: Sequence[Account]
    originator_id: str
    conversation_id: str
    at: datetime

    @property
    def account(self) -> Account:
        return self.accounts[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order ended."""

    code: str
    receipt: str = ""
    parameters: Parameters | None = None


class Operations:
    """Does what was ordered, after a while."""

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        faults: Faults,
        book: Book,
        initiators: Initiators,
        courier: Courier,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._faults = faults
        self._book = book
        self._initiators = initiators
        self._courier = courier

    def accept(self, order: Order, accounts: Sequence[Account]) -> Accepted:
        """Queue an order; what it is about is looked at when its turn comes."""
        accepted = Accepted(
            order=order,
            accounts=accounts,
            originator_id=ids.merchant_request_id(),
            conversation_id=ids.conversation_id(self._clock.now_in_nairobi()),
            at=self._clock.now(),
        )
        self._agenda.after(
            self._faults.take("initiator_delay_s"), lambda: self._finish(accepted)
        )
        return accepted

    def _finish(self, accepted: Accepted) -> None:
        if self._faults.take("initiator_queue_timeout"):
            timed_out = Outcome(outcomes.UNREACHABLE)
            self._tell(accepted, timed_out, url=accepted.order.timeout_url)
            return
        self._tell(accepted, self._done(accepted), url=accepted.order.result_url)

    def _done(self, accepted: Accepted) -> Outcome:
        order = accepted.order
        refusal = self._initiators.refusal(
            accepted.account,
            initiator=order.initiator,
            credential=order.credential,
            command=order.command,
            tries=self._faults.take("credential_tries"),
        )
        if refusal is not None:
            return Outcome(refusal)
        if order.command == REVERSAL:
            return self._reversal(accepted)
        if order.command == BALANCE:
            return self._balance(accepted)
        return self._status(accepted)

    def _reversal(self, accepted: Accepted) -> Outcome:
        try:
            entry = self._book.reverse(
                accepted.account,
                receipt=accepted.order.receipt,
                amount=accepted.order.amount,
                started_at=accepted.at,
                originator_id=accepted.originator_id,
                conversation_id=accepted.conversation_id,
            )
        except Refusal as no:
            return Outcome(no.code)
        return Outcome(outcomes.PAID, entry.receipt, results.of_reversal(entry))

    def _balance(self, accepted: Accepted) -> Outcome:
        account = accepted.account
        parameters = results.of_balance(
            account,
            balance=self._book.balance(account),
            charges=self._book.charges(account),
            at=self._clock.now(),
        )
        return Outcome(outcomes.PAID, parameters=parameters)

    def _status(self, accepted: Accepted) -> Outcome:
        entry = self._asked_for(accepted)
        if entry is None:
            return Outcome(outcomes.BAD_QUERY)
        word = DECLINED if entry.is_declined else COMPLETED
        if entry.reversed_by:
            word = self._faults.take("status_after_reversal")
        parameters = results.of_transaction(entry, word=word)
        return Outcome(outcomes.PAID, parameters=parameters)

    def _asked_for(self, accepted: Accepted) -> Entry | None:
        order = accepted.order
        for account in accepted.accounts:
            if order.receipt:
                entry = self._book.entry(account, order.receipt)
            else:
                entry = self._book.by_originator(account, order.conversation)
            if entry is not None:
                return entry
        return None

    def _tell(self, accepted: Accepted, outcome: Outcome, *, url: str) -> None:
        result = Result(
            originator_id=accepted.originator_id,
            conversation_id=accepted.conversation_id,
            code=outcome.code,
            receipt=outcome.receipt,
            parameters=outcome.parameters or [],
            at=self._clock.now(),
            as_text=accepted.order.command == BALANCE,
        )
        shape = self._faults.shape(RESULT_PREFIX, results.SHAPE, None)
        letter = Letter(
            url=url,
            body=results.body_of(result, shape),
            prefix=RESULT_PREFIX,
            counter="results",
            phone=None,
            record=lambda attempt: None,
        )
        self._courier.send(letter)
