"""The tiny model of M-Pesa: what happened on the phones, and what we were told of it.

It knows nothing of our tables. `is_proved` and `is_denied` are what our books must
show; they are set when something true, or something certain, has reached us.
"""

import hashlib
import json
from dataclasses import dataclass, field

from payments.enums import FailureReason
from payments.gateways.base import (
    Answered,
    GatewayError,
    PushAccepted,
    PushRequest,
    QueryAnswer,
)
from smartduka.lib.transactions import require_no_transaction
from tests.support.callbacks import failure, success
from tests.support.gateway import PENDING, final


CERTAIN = ("1", "17", "1032", "2001", "8006")
UNCERTAIN = ("26", "1019", "1037", "9999", "31415")
ENDINGS = (
    "accepted",  # the usual
    "early",  # paid, and called back before the push's answer
    "stopped",  # the cashier stops waiting while the push runs
    "lost",  # the prompt is on the phone, the answer is lost
    "gone",  # nothing reached M-Pesa, and nobody knows
    "died",  # the prompt is on the phone, our process died
    "refused",  # for certain, and it may be tried again
    "locked",  # for certain: another prompt is open on the phone
)
MOODS = ("truthful", "pending", "uncertain", "dumb", "away", "lying")


class Died(BaseException):
    """Our process ends in the middle of a push."""


@dataclass(eq=False)
class Prompt:
    """One push as M-Pesa knows it; also good for `callbacks` as a payment."""

    number: int
    request: PushRequest = field(repr=False)
    arrived: bool
    is_id_told: bool = False
    receipt: str = ""
    code: str = ""
    is_proved: bool = False
    is_receipt_told: bool = False
    is_denied: bool = False
    is_doubted: bool = False

    def __post_init__(self):
        self.amount = self.request.amount
        self.phone = self.request.phone
        self.reference = self.request.reference
        self.token = self.request.callback_url.rsplit("/", 1)[1]
        self.checkout_request_id = f"ws_CO_{self.number:020}"
        self.merchant_request_id = f"merchant-{self.number}"

    @property
    def is_waiting(self):
        """Whether the customer may still decide."""
        return self.arrived and not self.receipt and not self.code

    def is_paid(self):
        """The customer enters the PIN: money moves."""
        self.receipt = f"UAE{self.number:07}"

    def ends(self, code):
        """The customer does not pay, and never will."""
        self.code = code

    def callback(self):
        """What M-Pesa would call back now, if it tells the truth."""
        if self.receipt:
            body = success(self, receipt=self.receipt)
            return Letter(self, body, proves=True)
        body = failure(self, int(self.code))
        return Letter(self, body, denies=self.code in CERTAIN)


@dataclass(eq=False)
class Letter:
    """A callback on its way, and what it tells us once it is processed."""

    prompt: Prompt
    body: bytes = field(repr=False)
    proves: bool = False
    denies: bool = False
    doubts: bool = False

    @property
    def hash(self):
        return hashlib.sha256(self.body).hexdigest()

    def varied(self, times):
        """The same meaning in other bytes."""
        return Letter(
            self.prompt, self.body + b" " * times, self.proves, self.denies, self.doubts
        )

    def is_believed(self):
        """It was processed: from now on our books must show it."""
        prompt = self.prompt
        prompt.is_proved |= self.proves
        prompt.is_receipt_told |= self.proves
        prompt.is_denied |= self.denies
        prompt.is_doubted |= self.doubts
        prompt.is_id_told |= not self.doubts


class Bank:
    """M-Pesa in place of Daraja: a Gateway."""

    def __init__(self, meanwhile):
        self.prompts = []
        self.ending = "accepted"
        self.mood = "dumb"
        self.pushes = self.questions = 0
        self._meanwhile = meanwhile

    @property
    def ledger(self):
        """Receipt and amount of all money that moved."""
        return {one.receipt: one.amount for one in self.prompts if one.receipt}

    def push(self, account, request):
        require_no_transaction()
        self.pushes += 1
        ending = self.ending
        prompt = Prompt(
            len(self.prompts) + 1,
            request,
            arrived=ending not in ("gone", "refused", "locked"),
        )
        self.prompts.append(prompt)
        if ending in ("refused", "locked"):
            prompt.is_denied = True
            raise _refusal(ending)
        if ending in ("lost", "gone"):
            raise GatewayError("no answer", certain=False)
        if ending == "died":
            raise Died
        self._meanwhile(prompt, ending)
        prompt.is_id_told = True
        return PushAccepted(prompt.merchant_request_id, prompt.checkout_request_id)

    def query(self, account, checkout_request_id, *, limit_s):
        require_no_transaction()
        self.questions += 1
        [prompt] = [
            one
            for one in self.prompts
            if one.checkout_request_id == checkout_request_id
        ]
        assert prompt.is_id_told, "how do we know its id?"
        if self.mood == "truthful":
            return self._truth(prompt)
        if self.mood == "lying":
            prompt.is_denied = True
            return final("1032")
        return {
            "pending": PENDING,
            "uncertain": final("9999"),
            "dumb": QueryAnswer(Answered.UNKNOWN),
            "away": QueryAnswer(Answered.NOT_ASKED),
        }[self.mood]

    @staticmethod
    def _truth(prompt):
        if prompt.receipt:
            prompt.is_proved = True
            return final("0")
        if prompt.code:
            prompt.is_denied = True
            return final(prompt.code)
        return PENDING


def _refusal(ending):
    if ending == "locked":
        return GatewayError(
            "lock", certain=True, reason=FailureReason.TOO_SOON, wait_s=60
        )
    return GatewayError("busy", certain=True, reason=FailureReason.MPESA_BUSY)


def with_other(body, **values):
    """Return a callback's body with other ids."""
    changed = json.loads(body)
    changed["Body"]["stkCallback"] |= values
    return json.dumps(changed).encode()
