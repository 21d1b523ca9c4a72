"""Web and worker on the database of the running test, spoken to over HTTP.

What a test asks over the wire it can look up with the models. For tests with
transaction=True.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import requests
from websockets.sync.client import connect

from tests.support import installation
from tests.support.servers import free_port
from tests.support.simulator import wait_until


# A worker has to start first: where all cores are busy that alone takes 20 s and more.
LIMIT_S = 60
# The worker may ask at once, and again soon.
QUICK = {
    "Q_WORKERS": 1,
    "T_QUESTION_GAPS_S": "1,1,1,1,1",
    "T_QUESTION_MIN_GAP_S": 1,
    "T_QUESTION_JITTER": 0,
}


class Shopfront:
    """Daphne with pages, API, hooks and sockets; callbacks come to it.

    `start()` it, then `stop()` it. `url` is where it listens.
    """

    def __init__(self, folder: Path, simulator_url: str):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder, self.log = folder, folder / "web.log"
        self.environment = QUICK | {
            "MPESA_BASE_URL": simulator_url,
            "MPESA_CALLBACK_URL": self.url,
        }
        self.process = None

    def start(self):
        self.process = installation.start(
            *("-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.port)),
            "smartduka.asgi:application",
            log=self.log,
            **self.environment,
        )
        wait_until(self.is_ready, timeout_s=LIMIT_S)

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def stop(self):
        end(self.process)

    @contextmanager
    def worker(self):
        """Run the tasks' cluster under its watchdog."""
        process = installation.start(
            "manage.py", "worker", log=self.folder / "worker.log", **self.environment
        )
        try:
            yield process
        finally:
            end(process)

    def manage(self, *command):
        """Run a management command; return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=installation.ROOT,
            env=installation.environment(**self.environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


class Caller:
    """A program that signs in with a name and a password and uses the API."""

    def __init__(self, shopfront, username, password):
        self.shopfront = shopfront
        self.http = requests.Session()
        self.http.trust_env = False
        answer = self.post(
            "/api/auth/token", {"username": username, "password": password}
        )
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access']}"

    def get(self, path, **query):
        return self.http.get(self.shopfront.url + path, params=query, timeout=LIMIT_S)

    def post(self, path, body=None):
        return self.http.post(self.shopfront.url + path, json=body, timeout=LIMIT_S)

    def close(self):
        self.http.close()

    def state(self, payment_id):
        answer = self.get(f"/api/payments/mpesa/status/{payment_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, payment_id, status, timeout_s=LIMIT_S):
        """Return the payment's state once it has this status."""

        def reached():
            state = self.state(payment_id)
            return state if state["status"] == status else None

        return wait_until(reached, timeout_s=timeout_s)

    @contextmanager
    def listening(self, path="/ws/shop/"):
        """Open a socket with a ticket; yields a function that returns a message."""
        ticket = self.post("/api/auth/ws-ticket").json()["ticket"]
        url = f"ws://127.0.0.1:{self.shopfront.port}{path}?ticket={ticket}"
        with connect(url, proxy=None) as socket:
            yield lambda: json.loads(socket.recv(timeout=LIMIT_S))


def end(process):
    """Ask a process to end, and wait for it."""
    if process is None:
        return
    process.terminate()
    try:
        process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
