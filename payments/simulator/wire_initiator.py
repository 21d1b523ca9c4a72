"""What API users send: transaction status, reversal, account balance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from payments.simulator import fields, msisdn, refusals
from payments.simulator.fields import Body, Rules


STATUS = "TransactionStatusQuery"
REVERSAL = "TransactionReversal"
BALANCE = "AccountBalance"

REMARKS_LENGTH = 100
MSISDN_TYPE, TILL_TYPE, SHORTCODE_TYPE = "1", "2", "4"
REVERSAL_RECEIVER_TYPE = "11"


@dataclass(frozen=True, slots=True)
class Order:
    """What an API user wants done.

    ``party`` is the shortcode (or phone) it is about; ``amount`` in whole shillings, of
    reversals only. ``receipt`` or ``conversation`` names the transaction.
    """

    command: str
    initiator: str
    credential: str
    result_url: str
    timeout_url: str
    party: str = ""
    receipt: str = ""
    conversation: str = ""
    amount: int = 0


def read_status(body: Body, *, rules: Rules) -> Order:
    """Read the body of a status query. Raises Refused with the first bad field."""
    order = _order(body, STATUS, rules=rules)
    receipt = fields.text(body, "TransactionID")
    conversation = fields.text(body, "OriginalConversationID")
    if not receipt and not conversation:
        raise refusals.invalid("TransactionID")
    kind = fields.word(body, "IdentifierType", (MSISDN_TYPE, TILL_TYPE, SHORTCODE_TYPE))
    if kind == MSISDN_TYPE:
        party = fields.field(body, "PartyA", msisdn.is_wire_form)
    else:
        party = fields.shortcode(body, "PartyA")
    fields.sentence(body, "Remarks", least=1, most=REMARKS_LENGTH)
    return replace(order, party=party, receipt=receipt, conversation=conversation)


def read_reversal(body: Body, *, rules: Rules) -> Order:
    """Read the body of a reversal. Raises Refused with the first bad field."""
    order = _order(body, REVERSAL, rules=rules)
    receipt = fields.field(body, "TransactionID")
    amount = fields.amount(body)
    party = fields.shortcode(body, "ReceiverParty")
    fields.word(body, "RecieverIdentifierType", (REVERSAL_RECEIVER_TYPE,))
    fields.sentence(body, "Remarks", least=2, most=REMARKS_LENGTH)
    return replace(order, party=party, receipt=receipt, amount=amount)


def read_balance(body: Body, *, rules: Rules) -> Order:
    """Read the body of a balance query. Raises Refused with the first bad field."""
    order = _order(body, BALANCE, rules=rules)
    party = fields.shortcode(body, "PartyA")
    fields.word(body, "IdentifierType", (TILL_TYPE, SHORTCODE_TYPE))
    fields.sentence(body, "Remarks", least=1, most=REMARKS_LENGTH)
    return replace(order, party=party)


def _order(body: Body, command: str, *, rules: Rules) -> Order:
    return Order(
        initiator=fields.field(body, "Initiator"),
        credential=fields.field(body, "SecurityCredential"),
        command=fields.word(body, "CommandID", (command,)),
        result_url=fields.url(body, "ResultURL", rules=rules),
        timeout_url=fields.url(body, "QueueTimeOutURL", rules=rules),
    )
