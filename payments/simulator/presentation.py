"""How things look in JSON and on pages. Amounts are integers of KES, times are EAT."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from payments.simulator import msisdn, records
from payments.simulator.accounts import Account
from payments.simulator.clock import EAST_AFRICA
from payments.simulator.world import world


def camel(name: str) -> str:
    """Return consumerKey for consumer_key."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def prompt(prompt: records.Prompt) -> dict[str, Any]:
    request = prompt.request
    return {
        "checkoutRequestId": prompt.checkout_id,
        "merchantRequestId": prompt.merchant_id,
        "phone": request.phone,
        "amount": request.amount,
        "accountReference": request.reference,
        "transactionDesc": request.description,
        "transactionType": request.transaction_type,
        "shortcode": request.shortcode,
        "partyB": request.party_b,
        "name": prompt.account.name,
        "status": prompt.status,
        "resultCode": prompt.result_code,
        "resultDesc": prompt.result_desc,
        "receipt": prompt.receipt,
        "callbackUrl": request.callback_url,
        "createdAt": _time(prompt.created_at),
        "finishedAt": _time(prompt.finished_at),
        "callbacks": list(prompt.callbacks),
    }


def entry(entry: records.Entry) -> dict[str, Any]:
    return {
        "receipt": entry.receipt,
        "kind": entry.kind,
        "amount": entry.amount,
        "phone": entry.phone,
        "party": entry.party,
        "shortcode": entry.account.shortcode,
        "partyB": entry.account.party_b,
        "accountReference": entry.reference,
        "checkoutRequestId": entry.checkout_id,
        "linkedReceipt": entry.linked,
        "reversed": bool(entry.reversed_by),
        "reversedBy": entry.reversed_by,
        "balance": entry.balance,
        "time": _time(entry.at),
        "notices": list(entry.notices),
    }


def registration(account: Account) -> dict[str, Any]:
    """Return the C2B addresses of an organisation, or none."""
    known = world.subscriptions.registration(account)
    if known is None:
        return {"registration": None}
    shown = {camel(name): value for name, value in asdict(known).items()}
    return {"registration": shown}


def account(account: Account) -> dict[str, Any]:
    shown = {camel(name): value for name, value in asdict(account).items()}
    shown["type"] = shown.pop("kind")
    return shown


def phone(number: str) -> dict[str, Any]:
    """Return what a virtual phone shows now."""
    phone = world.book.phone(number)
    asked = world.bank.prompt_on(number)
    now = world.clock.now_in_nairobi()
    return {
        "phone": number,
        "shown": msisdn.local_form(number),
        "balance": phone.balance,
        "balanceShown": f"{phone.balance:,}",
        "time": f"{now:%H:%M}",
        "day": f"{now:%A}, {now.day} {now:%B}",
        "prompt": _dialog(asked) if asked else None,
        "messages": [
            {"at": f"{message.at.astimezone(EAST_AFRICA):%H:%M}", "text": message.text}
            for message in reversed(phone.messages[-20:])
        ],
    }


def _dialog(prompt: records.Prompt) -> dict[str, Any]:
    request = prompt.request
    account = (
        f" Account no. {request.reference}" if prompt.account.kind != "till" else ""
    )
    return {
        "checkoutRequestId": prompt.checkout_id,
        "amount": request.amount,
        "name": prompt.account.name,
        "question": (
            f"Do you want to pay KES {request.amount:,} to {prompt.account.name}{account}?"
        ),
    }


def _time(at: datetime | None) -> str | None:
    return at.astimezone(EAST_AFRICA).isoformat() if at else None
