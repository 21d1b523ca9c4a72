"""An M-Pesa in this process: counts what it is asked, and answers as told."""

import itertools
import threading
import time

from payments.gateways.base import Answered, Probe, Proof, PushAccepted, QueryAnswer
from smartduka.lib.transactions import require_no_transaction


PENDING = QueryAnswer(Answered.PENDING, "4999", "still under processing")


def final(code, description=""):
    """Return a final answer to a question."""
    return QueryAnswer(Answered.FINAL, code, description)


class FakeMpesa:
    """Implements the protocols Gateway and Prober; safe for threads.

    `push_answers` are used up one by one (an exception is raised, a function is
    called first), then every push is accepted. `answers` says what a question about
    a CheckoutRequestID is told; `otherwise` is for the rest. `pushes` and `questions`
    are what was asked. `proof` is what trying keys shows, a function of the account
    that tries or the same for all; `probes` are the accounts that were tried.
    """

    def __init__(self):
        self.pushes = []
        self.accounts = []
        self.questions = []
        self.limits = []
        self.probes = []
        self.proof = Proof.GOOD
        self.push_answers = []
        self.answers = {}
        self.otherwise = PENDING
        self.latency_s = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def push(self, account, request):
        require_no_transaction()
        with self._lock:
            self.pushes.append(request)
            self.accounts.append(account)
            number = next(self._numbers)
            answer = self.push_answers.pop(0) if self.push_answers else None
        time.sleep(self.latency_s)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer or PushAccepted(f"merchant-{number}", f"ws_CO_fake_{number}")

    def query(self, account, checkout_request_id, *, limit_s):
        require_no_transaction()
        with self._lock:
            self.questions.append(checkout_request_id)
            self.limits.append(limit_s)
        time.sleep(self.latency_s)
        answer = self.answers.get(checkout_request_id, self.otherwise)
        return answer(checkout_request_id) if callable(answer) else answer

    def probe(self, account, *, limit_s):
        require_no_transaction()
        with self._lock:
            self.probes.append(account)
        time.sleep(self.latency_s)
        proof = self.proof(account) if callable(self.proof) else self.proof
        return Probe(proof, "as told")
