"""What is run beside what, how often, and what the loads must have left behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bench import engine, facts, load, prepared, upstream
from bench.installation import Installation
from bench.load import Load
from bench.prepared import Prepared
from bench.sizes import AT_ONCE, STATEMENT_TRIES, Sizes


IDLE = load.request("GET", "/healthz")


@dataclass(slots=True)
class Measurement:
    """Loads by what they were, in the order of the repetitions, and what was wrong."""

    place: Installation
    rows: Prepared
    sizes: Sizes
    statements: list[str]
    loads: defaultdict[tuple[str, str], list[Load]] = field(
        default_factory=lambda: defaultdict(list)
    )
    faults: list[str] = field(default_factory=list)
    written: int = 0

    def measure_callbacks(self) -> None:
        """Send callbacks, and let pgbench write them, in turn."""
        scripts = (engine.ONE_STATEMENT, engine.STATEMENTS)
        for server in self.place.servers:
            self.serve(server, AT_ONCE, 1, "warming up")
        for script in scripts:
            self.write(script, AT_ONCE, 1, "warming up")
        for _ in range(self.sizes.repetitions):
            for server, script in zip(self.place.servers, scripts, strict=True):
                self.serve(server, self.sizes.served, AT_ONCE, "together")
                self.write(script, self.sizes.written, AT_ONCE, "together")
                self.idle(server)
                self.serve(server, self.sizes.served_alone, 1, "alone")
                self.write(script, self.sizes.written_alone, 1, "alone")

    def measure_pushes(self) -> None:
        """Push through the servers, and straight to the simulator, in turn."""
        upstream.slow_down(self.place.simulator)
        phones = prepared.phones("25411")
        for server in self.place.servers:
            self.push(server, 1, 1, "warming up")
        for _ in range(self.sizes.push_repetitions):
            for in_flight in self.sizes.in_flight:
                count = in_flight * self.sizes.rounds
                for server in self.place.servers:
                    self.push(server, count, in_flight, f"push {in_flight}")
                self.push_directly(phones, count, in_flight)

    def serve(self, server: str, count: int, clients: int, how: str) -> None:
        requests = list(islice(self.rows.callbacks, count))
        assert len(requests) == count
        before = facts.read(self.dsn("postgres"))
        done = self.send(server, requests, clients=clients)
        added = facts.added(before, facts.read(self.dsn("postgres")))
        self.loads[how, server].append(done)
        self.complain(
            f"callbacks through {server}",
            facts.faults_of_statuses(done.statuses, expected=200)
            + facts.faults_of_callbacks(added, replies=count, amount=prepared.PRICE),
        )

    def write(self, script: str, count: int, clients: int, how: str) -> None:
        before = facts.read(self.dsn(engine.DATABASE))
        done = engine.run(
            self.place.socket_dir,
            script,
            first=self.written,
            count=count,
            clients=clients,
        )
        self.written += count
        added = facts.added(before, facts.read(self.dsn(engine.DATABASE)))
        self.loads[how, script].append(done)
        self.complain(
            f"pgbench, {script}",
            facts.faults_of_callbacks(added, replies=count, amount=prepared.PRICE),
        )

    def idle(self, server: str) -> None:
        done = self.send(server, [IDLE] * self.sizes.served, clients=AT_ONCE)
        self.loads["idle", server].append(done)
        self.complain(
            f"a view that does nothing, {server}",
            facts.faults_of_statuses(done.statuses, expected=200),
        )

    def push(self, server: str, count: int, clients: int, how: str) -> None:
        requests = list(islice(self.rows.pushes, count))
        assert len(requests) == count
        before = facts.read(self.dsn("postgres"))
        done = self.send(server, requests, clients=clients, ramp_s=1.0)
        added = facts.added(before, facts.read(self.dsn("postgres")))
        self.loads[how, server].append(done)
        self.complain(
            f"pushes through {server}",
            facts.faults_of_statuses(done.statuses, expected=201)
            + facts.faults_of_pushes(added, replies=count),
        )

    def push_directly(self, phones: Iterator[str], count: int, clients: int) -> None:
        requests = upstream.pushes(self.place.simulator, list(islice(phones, count)))
        done = load.run(self.place.simulator, requests, clients=clients, ramp_s=1.0)
        self.loads[f"push {clients}", "simulator"].append(done)
        self.complain(
            "pushes straight to the simulator",
            facts.faults_of_statuses(done.statuses, expected=200),
        )

    def send(
        self, server: str, requests: list[bytes], *, clients: int, ramp_s: float = 0.0
    ) -> Load:
        port = self.place.servers[server]
        before = self.place.cpu_s(port)
        done = load.run(port, requests, clients=clients, ramp_s=ramp_s)
        done.cpu = self.place.cpu_s(port) - before
        return done

    def dsn(self, database: str) -> str:
        return f"host={self.place.socket_dir} user=postgres dbname={database}"

    def complain(self, what: str, faults: list[str]) -> None:
        self.faults += [f"{what}: {fault}" for fault in faults]


def statements(rows: Prepared) -> list[str]:
    """Return what one callback sends to the database, with its BEGIN and COMMIT."""
    client = Client(SERVER_NAME="127.0.0.1")
    for _ in range(STATEMENT_TRIES):
        head, _, body = next(rows.callbacks).partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        with CaptureQueriesContext(connection) as captured:
            answer = client.post(path, body, content_type="application/json")
        assert answer.status_code == 200
    return [query["sql"] for query in captured.captured_queries]
