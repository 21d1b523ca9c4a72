"""One of each: the simulator that this process runs."""

from __future__ import annotations

import threading

from payments.simulator.bank import Bank
from payments.simulator.book import Book
from payments.simulator.clock import Agenda, Clock
from payments.simulator.courier import Courier
from payments.simulator.customer_payments import CustomerPayments
from payments.simulator.delivery import Delivery
from payments.simulator.faults import Faults
from payments.simulator.initiators import Initiators
from payments.simulator.journal import Journal
from payments.simulator.network import Network
from payments.simulator.operations import Operations
from payments.simulator.subscriptions import Subscriptions


class World:
    """Clock, agenda, switches, state, and what acts on it, wired together."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.faults = Faults(lock)
        self.journal = Journal(self.clock, lock)
        self.book = Book(self.clock, lock)
        self.bank = Bank(self.clock, lock, self.book)
        self.courier = Courier(self.clock, self.agenda, self.faults, self.journal)
        self.delivery = Delivery(self.faults, self.book, self.bank, self.courier)
        self.subscriptions = Subscriptions(lock)
        self.payments = CustomerPayments(
            self.clock, self.faults, self.book, self.subscriptions, self.courier
        )
        self.initiators = Initiators(lock)
        self.operations = Operations(
            self.clock,
            self.agenda,
            self.faults,
            self.book,
            self.initiators,
            self.courier,
        )
        self.network = Network(
            self.agenda,
            self.faults,
            self.book,
            self.bank,
            self.delivery,
            self.payments,
        )

    def reset(self) -> None:
        """Begin anew; accounts, and tokens that clients hold, stay."""
        self.agenda.clear()
        self.courier.reset()
        self.faults.clear()
        self.bank.reset()
        self.book.reset()
        self.subscriptions.reset()
        self.initiators.reset()
        self.journal.reset()
        self.clock.reset()


world = World()
