"""What the workers run: an id in, one domain call, nothing else.

Delivery is at least once, so each of these may run twice and does its work once.
"""

from __future__ import annotations

from payments import (
    audit,
    claim_questions,
    code_box,
    inbox,
    matching,
    pulling,
    questions,
    reconciliation,
    refund_questions,
    retention,
    statement_import,
    suspicions,
)


def ask(payment_id: str) -> None:
    """Carry out a payment's due question."""
    questions.attend(payment_id)


def process_notice(notice_id: int) -> None:
    """Try a due notice again."""
    inbox.attempt(notice_id)


def match(receipt_id: int) -> None:
    """Look again at a receipt that was held."""
    matching.look(receipt_id)


def confirm_receipt(receipt_id: int) -> None:
    """Ask M-Pesa about a receipt that only the C2B address told of, if that is due."""
    claim_questions.attend(receipt_id)


def ask_about_code(order_id: str, number: str) -> None:
    """Ask M-Pesa about a code that was typed for a sale."""
    code_box.ask(order_id, number)


def sweep() -> None:
    """Hand out what was not picked up."""
    reconciliation.sweep()


def seal_audit() -> None:
    """Seal what happened since the last round."""
    audit.seal()


def sweep_refunds() -> None:
    """Hand out the refunds that M-Pesa has not decided."""
    refund_questions.sweep()


def attend_refund(refund_id: str) -> None:
    """Ask what became of a reversal, if that is due."""
    refund_questions.attend(refund_id)


def pull() -> None:
    """Have the lists of all accounts read."""
    pulling.hand_out()


def pull_account(account_id: str) -> None:
    """Read M-Pesa's list of one account."""
    pulling.pull(account_id)


def review_statements() -> None:
    """Do what imports could not when they were made."""
    statement_import.catch_up()


def import_statement(import_id: int) -> None:
    """Go on with a statement that was uploaded."""
    statement_import.attend(import_id)


def mask_old_data() -> None:
    """Mask personal data whose time is over."""
    retention.mask()


def look_for_suspicions() -> None:
    """Flag who fails, asks, gives back or forges more than is usual."""
    suspicions.look()


def sweep_statements() -> None:
    """Hand out the imports that no worker is at."""
    statement_import.hand_out()
