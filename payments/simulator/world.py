"""One of each: the simulator that this process runs."""

from __future__ import annotations

import threading

from payments.simulator.bank import Bank
from payments.simulator.clock import Agenda, Clock
from payments.simulator.courier import Courier
from payments.simulator.delivery import Delivery
from payments.simulator.faults import Faults
from payments.simulator.journal import Journal
from payments.simulator.network import Network


class World:
    """Clock, agenda, switches, state and network, wired together."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.faults = Faults(lock)
        self.journal = Journal(self.clock, lock)
        self.bank = Bank(self.clock, lock)
        self.courier = Courier(self.clock, self.agenda, self.faults, self.journal)
        self.delivery = Delivery(self.faults, self.bank, self.courier)
        self.network = Network(self.agenda, self.faults, self.bank, self.delivery)

    def reset(self) -> None:
        """Begin anew; accounts, and tokens that clients hold, stay."""
        self.agenda.clear()
        self.courier.reset()
        self.faults.clear()
        self.bank.reset()
        self.journal.reset()
        self.clock.reset()


world = World()
