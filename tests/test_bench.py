"""The bench's own checks: that they can fail, and that both sides write the same."""

import re
import socketserver
import threading
from collections import Counter
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from bench import engine, facts, figures, load, measurement, prepared, table
from bench.facts import Facts
from bench.load import Load
from tests.factories import PaymentFactory


HUNDRED = Decimal(100)
RIGHT = Facts(
    notices=7,
    applied=7,
    completed=7,
    completions=7,
    collections=7,
    collected=7 * HUNDRED,
    allocated=7 * HUNDRED,
    portions=7 * HUNDRED,
    paid_orders=7,
    closings=7,
    paid=7 * HUNDRED,
    sold=7,
    off_the_shelf=7,
    alarms=0,
    prompts=0,
)


def test_right_facts_have_no_faults():
    assert facts.faults_of_callbacks(RIGHT, replies=7, amount=HUNDRED) == []
    assert facts.faults_of_statuses(Counter({200: 7}), expected=200) == []


@pytest.mark.parametrize("name", [field.name for field in fields(Facts)])
def test_each_wrong_fact_of_callbacks_is_found(name):
    wrong = replace(RIGHT, **{name: getattr(RIGHT, name) + 1})

    [fault] = facts.faults_of_callbacks(wrong, replies=7, amount=HUNDRED)

    assert fault == f"{name}: {getattr(wrong, name)}, should be {getattr(RIGHT, name)}"


def test_a_reply_without_its_rows_is_found():
    faults = facts.faults_of_callbacks(RIGHT, replies=8, amount=HUNDRED)

    assert len(faults) == len(fields(Facts)) - 2  # alarms and prompts are none


def test_pushes_that_left_no_prompt_or_moved_money_are_found():
    nothing = facts.added(RIGHT, RIGHT)

    assert facts.faults_of_pushes(replace(nothing, prompts=3), replies=3) == []
    assert facts.faults_of_pushes(replace(nothing, prompts=2), replies=3) == [
        "prompts: 2, should be 3"
    ]
    assert facts.faults_of_pushes(replace(nothing, prompts=3, paid=1), replies=3) == [
        "paid: 1, should be 0"
    ]


def test_wrong_answers_are_counted_by_status():
    statuses = Counter({200: 5, 503: 2, load.CUT_OFF: 1})

    assert facts.faults_of_statuses(statuses, expected=200) == [
        "2 answers with status 503, due was 200",
        "1 answers with status none, due was 200",
    ]


class Uneven(socketserver.StreamRequestHandler):
    """Answers /good with 200, /bad with 503, and hangs up on /ugly."""

    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            path = line.split()[1].decode()
            if path == "/ugly":
                return
            status = {"/good": "200 OK", "/bad": "503 Busy"}[path]
            head = f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n"
            self.wfile.write(head.encode())
            self.wfile.write(b"ok")


@pytest.fixture
def uneven():
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Uneven) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_load_sends_each_request_once_and_counts_every_end(uneven):
    paths = ["/good"] * 20 + ["/bad"] * 3 + ["/ugly"] * 2 + ["/good"] * 5

    done = load.run(uneven, [load.request("GET", path) for path in paths], clients=4)

    assert done.statuses == Counter({200: 25, 503: 3, load.CUT_OFF: 2})
    assert len(done.latencies) == 30
    assert done.rate == pytest.approx(30 / done.elapsed)


def test_ratios_are_taken_within_a_repetition():
    ours = [Load(Counter({200: n}), elapsed=1.0) for n in (10, 100, 30)]
    theirs = [Load(Counter({200: n}), elapsed=1.0) for n in (20, 100, 300)]

    found = figures._compared("", "", "", figures.rate, "/s", ours, theirs)

    assert (found.median, found.lowest, found.highest) == (0.5, 0.1, 1.0)
    assert found.absolute == 30


def test_quantile_is_a_value_that_was_seen():
    values = [float(n) for n in range(1, 101)]

    assert table.quantile(values, 0.5) == 51
    assert table.quantile(values, 0.99) == 100
    assert table.quantile([3.0], 0.99) == 3


def tables_written(sql: str) -> set[str]:
    pattern = r'(?:INSERT INTO|UPDATE) "?([a-z]+_[a-z]+)"?'
    return set(re.findall(pattern, sql))


@pytest.mark.django_db(transaction=True)
def test_pgbench_writes_into_the_tables_that_a_callback_writes():
    payments = PaymentFactory.create_batch(3)
    sent = [
        prepared.callback(payment, payment.hook_token, receipt=f"TB0000000{n}")
        for n, payment in enumerate(payments)
    ]
    rows = prepared.Prepared(callbacks=iter(sent), pushes=iter([]))
    statements = "\n".join(measurement.statements(rows))

    for script in (engine.STATEMENTS, engine.ONE_STATEMENT):
        text = (Path(engine.SQL) / f"{script}.sql").read_text()
        assert tables_written(text) == tables_written(statements)
