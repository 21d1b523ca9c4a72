"""A gateway that answers as told, and helpers to read fragments."""

import re

import pytest

from payments import gateways
from payments.gateways.base import Answered, GatewayError, PushAccepted, QueryAnswer


class ScriptedGateway:
    """Accepts every push and knows nothing about any, unless told otherwise."""

    def __init__(self):
        self.pushes = []
        self.push_error = None
        self.answer = QueryAnswer(Answered.PENDING)

    def push(self, account, request):
        self.pushes.append((request.phone, request.amount))
        if self.push_error is not None:
            raise self.push_error
        number = len(self.pushes)
        return PushAccepted(f"merchant-{number}", f"ws_CO_{number}_{request.reference}")

    def query(self, account, checkout_request_id, *, limit_s):
        return self.answer

    def lose_answers(self):
        self.push_error = GatewayError("no answer", certain=False)

    def refuse(self):
        self.push_error = GatewayError("refused", certain=True)


@pytest.fixture
def mpesa(monkeypatch):
    gateway = ScriptedGateway()
    monkeypatch.setattr(gateways, "mpesa", lambda: gateway)
    return gateway


@pytest.fixture
def state_of():
    """Read the state that a fragment shows."""

    def read(response):
        found = re.search(r'data-state="(\w+)"', response.content.decode())
        return found[1] if found else None

    return read
