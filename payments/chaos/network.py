"""The way between us and M-Pesa: what it loses, delays, doubles and reorders.

`Line` is the gateway that the domain speaks to. Notices come back through the real
view functions. An answer that is lost takes the time of its time-out, on the
virtual clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from payments import hooks
from payments.chaos import bank, forgeries
from payments.chaos.bank import Prompt
from payments.enums import FailureReason
from payments.gateways.base import (
    Answered,
    Credentials,
    GatewayError,
    PushAccepted,
    PushRequest,
    QueryAnswer,
)
from payments.gateways.organisation import Acknowledged, PullQuery
from payments.notices_pull import PullPage
from smartduka.lib.transactions import require_no_transaction


if TYPE_CHECKING:
    from payments.chaos.world import World


BUSY_WAIT_S = 60
ADDRESS = "196.201.214.200"
# Percent of the pushes.
ANSWER_LOST, NEVER_ARRIVED, REFUSED = 6, 3, 2
# What a question meets.
FATES = [
    ("answered", 80), ("timed out", 8), ("not asked", 4),
    ("pending", 4), ("uncertain", 3), ("contradicted", 1),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rates:
    """What happens to callbacks, in percent of them."""

    lost: int = 30
    doubled: int = 10
    reordered: int = 5
    forged: int = 2
    late: int = 8
    contradicted: int = 2

    @property
    def fates(self) -> list[tuple[str, int]]:
        """What may become of a callback, with its share."""
        bad = {
            "lost": self.lost, "doubled": self.doubled, "reordered": self.reordered,
            "late": self.late, "contradicted": self.contradicted,
        }  # fmt: skip
        return [*bad.items(), ("on time", max(0, 100 - sum(bad.values())))]


class Line:
    """A gateway to the bank over a bad network."""

    def __init__(self, world: World, rates: Rates) -> None:
        self.world = world
        self.rates = rates
        self.post = RequestFactory().post
        # What the present step has asked about, and how long that took.
        self.asked: set[str] = set()
        self.waited_s = 0

    def push(self, account: Credentials, request: PushRequest) -> PushAccepted:
        """Send one prompt; see the Gateway protocol."""
        world, dice = self.world, self.world.dice
        require_no_transaction()
        world.count("pushes")
        world.crashes.here("before a push left")
        if dice.chance(REFUSED):
            world.count("pushes refused")
            raise GatewayError("busy", certain=True, reason=FailureReason.MPESA_BUSY)
        if dice.chance(NEVER_ARRIVED):
            self._time_out("pushes that never arrived")
        if world.bank.is_busy(request.phone):
            world.count("pushes refused")
            raise GatewayError(
                "locked", certain=True,
                reason=FailureReason.TOO_SOON, wait_s=BUSY_WAIT_S,
            )  # fmt: skip
        prompt = world.bank.show(
            shortcode=account.shortcode,
            reference=request.reference,
            phone=request.phone,
            amount=request.amount,
            callback_url=request.callback_url,
            fate=dice.one_of(self.rates.fates),
            now=world.clock.now(),
            is_till=account.is_till,
        )
        world.note(f"prompt {prompt.number} for KES {prompt.amount}")
        if prompt.fate == "reordered":
            world.apart(lambda: self._finish_first(prompt))
        else:
            wait_s = (prompt.ends_at - world.clock.now()).total_seconds()
            world.after(wait_s, f"finish {prompt.number}", lambda: self.finish(prompt))
        world.crashes.here("after M-Pesa took a push")
        if dice.chance(ANSWER_LOST):
            self._time_out("push answers lost")
        world.clock.advance(dice.uniform(0.2, 3))
        prompt.answer_came = True
        return PushAccepted(prompt.merchant_request_id, prompt.checkout_request_id)

    def query(
        self, account: Credentials, checkout_request_id: str, *, limit_s: float
    ) -> QueryAnswer:
        """Answer a question; see the Gateway protocol."""
        world = self.world
        require_no_transaction()
        world.count("questions")
        world.crashes.here("before a question")
        self.asked.add(checkout_request_id)
        prompt = world.bank.by_id[checkout_request_id]
        fate = "answered" if world.is_calm else world.dice.one_of(FATES)
        if fate == "contradicted" and (world.is_ending or not self._may_lie(prompt)):
            fate = "answered"
        answer = self._answer(prompt, fate, limit_s)
        if fate != "answered":
            world.count(f"questions {fate}")
        world.note(f"asked about {prompt.number}: {answer.kind} {answer.code}")
        world.crashes.here("after a question")
        return answer

    def pull(
        self, account: Credentials, query: PullQuery, *, limit_s: float
    ) -> PullPage:
        """Return one page of payments; see the OrganisationGateway protocol."""
        del limit_s
        return self.world.sources.pull(account, query)

    def transaction_status(self, *asked: Any, limit_s: float) -> Acknowledged:
        """Ask about a receipt; see the OrganisationGateway protocol."""
        return self.world.desk.transaction_status(*asked, limit_s=limit_s)

    def reverse(self, *asked: Any, limit_s: float) -> Acknowledged:
        """Ask to send money back; see the OrganisationGateway protocol."""
        return self.world.desk.reverse(*asked, limit_s=limit_s)

    def _not_offered(self, *_: object, **__: object) -> NoReturn:
        """What this bank does not do: refused for certain, nothing was begun."""
        raise GatewayError("this bank does not do that", certain=True)

    register_c2b = register_pull = account_balance = qr = _not_offered

    def _answer(self, prompt: Prompt, fate: str, limit_s: float) -> QueryAnswer:
        if fate == "not asked":
            return QueryAnswer(Answered.NOT_ASKED)
        if fate == "timed out":
            self.waited_s += int(limit_s) + 1
            self.world.clock.advance(limit_s)
            return QueryAnswer(Answered.UNKNOWN)
        self.world.clock.advance(self.world.dice.uniform(0.05, 0.3))
        if fate == "pending" or prompt.code is None:
            return QueryAnswer(Answered.PENDING)
        if fate == "uncertain":
            return QueryAnswer(Answered.FINAL, self.world.dice.choice(["9999", "777"]))
        if fate == "contradicted":
            prompt.has_lied = True
            self._owe_the_truth(prompt)
            return QueryAnswer(Answered.FINAL, bank.CANCELLED)
        return QueryAnswer(Answered.FINAL, prompt.code)

    def _may_lie(self, prompt: Prompt) -> bool:
        """Whether a wrong "not paid" can be put right: only if the truth arrives."""
        return prompt.code == bank.PAID

    def _owe_the_truth(self, prompt: Prompt) -> None:
        if prompt.must_tell or prompt.is_told:
            return
        prompt.must_tell = True
        wait_s = self.world.dice.uniform(1, 1800)
        body = bank.callback(prompt)
        self._send(prompt, body, wait_s, "the truth")

    def finish(self, prompt: Prompt) -> str:
        """The customer has finished: M-Pesa calls back, if the network lets it."""
        self._decide(prompt)
        dice, told = self.world.dice, f"code {prompt.code}, {prompt.fate}"
        if prompt.fate == "contradicted":
            self._contradict(prompt)
        if prompt.fate in ("lost", "contradicted"):
            return told
        wait_s = dice.uniform(0, 3)
        if prompt.fate == "late":
            wait_s = dice.uniform(30, 7000)
        self._send(prompt, bank.callback(prompt), wait_s, "callback")
        if prompt.fate == "doubled":
            again = bank.callback(prompt, extra=dice.choice(["", " ", "\n"]))
            self._send(prompt, again, dice.uniform(0, 300), "callback again")
        return told

    def _decide(self, prompt: Prompt) -> None:
        world = self.world
        world.bank.finish(prompt, world.clock.now())
        if prompt.entry is not None:
            world.sources.moved(prompt.entry)
        world.count("prompts paid" if prompt.entry else "prompts not paid")
        world.count("callbacks")
        world.count(f"callbacks {prompt.fate}")
        if world.dice.chance(self.rates.forged):
            forgeries.plan(world, self)

    def _contradict(self, prompt: Prompt) -> None:
        """Say something else first; what is paid is told rightly in the end."""
        dice = self.world.dice
        if prompt.entry and dice.chance(50):
            prompt.has_lied = True
            self._send(prompt, bank.callback(prompt, code=bank.CANCELLED), 0.5, "a lie")
            self._owe_the_truth(prompt)
        else:
            mumbled = bank.callback(prompt, code=dice.choice(bank.MUMBLES))
            self._send(prompt, mumbled, dice.uniform(0, 20), "a mumble")

    def deliver(self, token: str, body: bytes, *, is_genuine: bool = True) -> int:
        """Post a notice to its hook; return the HTTP status."""
        self.world.count("notices delivered")
        answer = self._call(token, body)
        if answer.status_code == 503 and self.world.crashes.was_away:
            # M-Pesa does not come again: it is as good as lost.
            raise OperationalError("not stored")
        if is_genuine and answer.status_code != 200:
            self.world.wrong(f"a genuine notice was answered {answer.status_code}")
        return answer.status_code

    def deliver_untokened(self, body: bytes) -> int:
        """Post a body to the path without a token; return the HTTP status."""
        self.world.count("notices delivered")
        path = "/api/payments/mpesa/callback"
        return hooks.untokened(self.request(path, body)).status_code

    def _call(self, token: str, body: bytes) -> HttpResponse:
        return hooks.stk(self.request(f"/hooks/stk/{token}", body), token)

    def request(self, path: str, body: bytes) -> HttpRequest:
        """Return a request as M-Pesa makes it."""
        return self.post(
            path, body, content_type="application/json", REMOTE_ADDR=ADDRESS
        )

    def _send(self, prompt: Prompt, body: bytes, wait_s: float, name: str) -> None:
        def arrive() -> str:
            status = self.world.at_once(
                prompt, lambda: str(self.deliver(prompt.token, body))
            )
            prompt.is_heard = True
            prompt.is_told = prompt.is_told or name not in ("a lie", "a mumble")
            return status

        label = f"{name} of {prompt.number} arrives"
        if name == "the truth":
            # Whoever was told wrong is told right, until it is kept.
            self.world.after(wait_s, label, arrive, again=arrive)
        else:
            self.world.after(wait_s, label, arrive)

    def _finish_first(self, prompt: Prompt) -> None:
        self._decide(prompt)
        self.deliver(prompt.token, bank.callback(prompt))
        prompt.is_heard = prompt.is_told = True

    def _time_out(self, name: str) -> None:
        self.world.count(name)
        self.world.clock.advance(settings.PUSH_READ_TIMEOUT_S)
        raise GatewayError("no answer", certain=False)
