from __future__ import annotations

import ast
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import payments.simulator


SOURCES = sorted(Path(payments.simulator.__file__).parent.glob("*.py"))
LIBRARIES = {"django", "requests", "cryptography", "openpyxl", "segno"}
ALLOWED = LIBRARIES | set(sys.stdlib_module_names)


def test_two_hundred_slow_pushes_wait_beside_each_other(simulator, merchant):
    simulator.faults(push_latency_s=1)
    body = merchant.push_body()
    headers = {"Authorization": f"Bearer {merchant.token}"}

    def push(number):
        phone = f"2547100{number:03}00"
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                f"{merchant.url}/mpesa/stkpush/v1/processrequest",
                json=body | {"PhoneNumber": phone, "PartyA": phone},
                headers=headers,
                timeout=30,
            ).status_code

    started = time.monotonic()
    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(push, range(200)))
    took_s = time.monotonic() - started

    assert set(statuses) == {200}
    assert len(simulator.prompts()) == 200
    assert took_s < 20  # one after the other would be 200 s


def test_connection_is_kept_alive(simulator):
    with requests.Session() as session:
        first = session.get(f"{simulator.url}/__sim__/stats", timeout=5, stream=True)
        connection = first.raw.connection.sock
        port = connection.getsockname()[1]
        first.json()
        second = session.get(f"{simulator.url}/__sim__/stats", timeout=5, stream=True)

        assert second.raw.version == 11
        assert second.raw.connection.sock.getsockname()[1] == port
        second.json()


def test_small_answers_are_not_held_back(simulator):
    took_s = []
    with requests.Session() as session:
        for _ in range(25):
            started = time.monotonic()
            session.get(f"{simulator.url}/__sim__/stats", timeout=5)
            took_s.append(time.monotonic() - started)

    # It would be 0.04 each time, where a second write waits for the first.
    assert min(took_s[10:]) < 0.03


def test_simulator_imports_nothing_of_the_project():
    foreign = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            else:
                continue
            foreign += [
                f"{source.name}: {name}"
                for name in names
                if name.split(".")[0] not in ALLOWED
                and not f"{name}.".startswith("payments.simulator.")
            ]

    assert len(SOURCES) > 20
    assert foreign == []


def test_package_above_is_empty():
    above = Path(payments.simulator.__file__).parents[1] / "__init__.py"

    assert above.read_text() == ""
