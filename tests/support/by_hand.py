"""C2B bodies as M-Pesa sends them, and their way to our hooks."""

import json

from payments import hook_tokens, inbox
from payments.hook_tokens import Kind
from payments.models import AccountHook, Notice
from smartduka.lib import clock


RECEIPT = "UAE5B2K9QT"
MASKED = "2547 ***** 678"


def confirmation(
    account,
    *,
    receipt=RECEIPT,
    amount="250.00",
    reference="",
    msisdn=MASKED,
    name="JANE",
    shortcode=None,
    extra="",
    **changes,
):
    """Return the body of a confirmation; `extra` is white space behind it."""
    is_till = account.type == "till"
    body = {
        "TransactionType": "Customer Merchant Payment" if is_till else "Pay Bill",
        "TransID": receipt,
        "TransTime": clock.now().astimezone(clock.NAIROBI).strftime("%Y%m%d%H%M%S"),
        "TransAmount": amount,
        "BusinessShortCode": shortcode or account.shortcode,
        "BillRefNumber": reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "10250.00",
        "ThirdPartyTransID": "",
        "MSISDN": msisdn,
        "FirstName": name,
        "MiddleName": "",
        "LastName": "",
    }
    return json.dumps(body | changes).encode() + extra.encode()


def address(account, *, is_registered=True):
    """Give the account one more valid address; return the text of its token."""
    token = hook_tokens.issue(Kind.ACCOUNT)
    now = clock.now()
    AccountHook.objects.create(
        account=account,
        token_hash=token.nonce_hash,
        text_hash=token.text_hash,
        created_at=now,
        registered_at=now if is_registered else None,
    )
    return token.text


def raw(body, *, is_listed=True, is_cut=False):
    return inbox.Raw(body, is_cut, "196.201.214.200", is_listed)


def deliver(account, body, **facts):
    """Store and process a confirmation as the hook does; return its notice."""
    hook = AccountHook.objects.filter(account=account, retired_at=None).first()
    token_hash = hook.token_hash if hook else None
    if token_hash is None:
        token_hash = hook_tokens.verify(address(account), Kind.ACCOUNT)
    stored = inbox.store_for_account(token_hash, raw(body, **facts))
    if stored.is_new:
        inbox.process_now(stored.notice_id)
    return Notice.objects.get(pk=stored.notice_id)
