"""An M-Pesa that answers an organisation, in this process; and bodies of its results."""

import json
import threading
import time

from payments import inquiries
from payments.enums import RequestState
from payments.gateways.organisation import Acknowledged
from payments.models import Notice, OrganisationRequest
from smartduka.lib import clock
from smartduka.lib.transactions import require_no_transaction


class FakeOrganisation:
    """Implements the verbs with a result later; safe for threads.

    `answers` are used up one by one (an exception is raised, a function is called
    first), then every request is taken. `reversals` and `questions` are what was asked.
    """

    def __init__(self):
        self.reversals = []
        self.questions = []
        self.answers = []
        self.latency_s = 0
        self._number = 0
        self._lock = threading.Lock()

    def certificate(self, *, limit_s):
        require_no_transaction()
        return b"a certificate"

    def reverse(self, account, initiator, request, *, limit_s):
        return self._take(self.reversals, request)

    def transaction_status(self, account, initiator, request, *, limit_s):
        return self._take(self.questions, request)

    def _take(self, asked, request):
        require_no_transaction()
        with self._lock:
            asked.append(request)
            self._number += 1
            number = self._number
            answer = self.answers.pop(0) if self.answers else None
        time.sleep(self.latency_s)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer or Acknowledged(f"AG_{number}", f"orig-{number}")


def result(request, code=0, parameters=None, *, transaction="UAE0000000", **changes):
    """Return the body of a result for this request, as it is stored now."""
    request = OrganisationRequest.objects.get(pk=request.pk)
    said = {
        "ResultType": 0,
        "ResultCode": code,
        "ResultDesc": "said",
        "OriginatorConversationID": request.originator_conversation_id,
        "ConversationID": request.conversation_id,
        "TransactionID": transaction,
        **changes,
    }
    if parameters is not None:
        listed = [{"Key": key, "Value": value} for key, value in parameters]
        said["ResultParameters"] = {"ResultParameter": listed}
    return json.dumps({"Result": said}).encode()


def reversed_(request, amount, *, original=None, receipt="UAE9BACK01", **changes):
    """Return the result that says that a reversal was carried out."""
    parameters = [
        ("Amount", amount),
        ("TransCompletedTime", 20261120120500),
        ("OriginalTransactionID", request.receipt if original is None else original),
    ]
    return result(request, 0, parameters, transaction=receipt, **changes)


def status(
    request,
    amount="250",
    *,
    receipt=None,
    word="Completed",
    payer="254712345678 - JANE WANJIKU",
    payee="600100 - SMARTDUKA",
    **changes,
):
    """Return the result that says what became of a transaction."""
    parameters = [
        ("DebitPartyName", payer),
        ("CreditPartyName", payee),
        ("TransactionStatus", word),
        ("FinalisedTime", 20261120120000),
        ("Amount", amount),
        ("ReceiptNo", request.receipt if receipt is None else receipt),
    ]
    given = [(key, value) for key, value in parameters if value is not None]
    return result(request, 0, given, **changes)


def told(request, body, *, kind="result", is_cut=False, is_listed=True):
    """Store a body that came with the request's token; return the notice."""
    return Notice.objects.create(
        kind=kind,
        request=request,
        body=body,
        body_hash=str(hash(body)),
        is_cut=is_cut,
        address_is_listed=is_listed,
        received_at=clock.now(),
    )


def tell(request, body, **how):
    """Let a body with the request's token be judged; return the verdict."""
    notice = told(request, body, **how)
    if notice.kind == "timeout":
        return inquiries.apply_timeout(notice)
    return inquiries.apply_result(notice)


def asked(kind=None, state=RequestState.SENT):
    """Return the one request of this kind that is in this state."""
    rows = OrganisationRequest.objects.filter(state=state)
    return rows.get(**({"kind": kind} if kind else {}))
