"""Statements as the portal exports them, for an account of the tests."""

import csv
import io

import openpyxl

from smartduka.lib import clock


HEADER = (
    "Receipt No.", "Completion Time", "Initiation Time", "Details",
    "Transaction Status", "Paid In", "Withdrawn", "Balance", "Balance Confirmed",
    "Reason Type", "Other Party Info", "Linked Transaction ID", "A/C No.",
)  # fmt: skip


def stamp(moment):
    return moment.astimezone(clock.NAIROBI).strftime("%d-%m-%Y %H:%M:%S")


def line(number, at, details, *, paid="", gone="", reason="", other="", linked="",
         reference="", status="Completed"):  # fmt: skip
    return (
        number, stamp(at), stamp(at), details, status, paid, gone, "1,000.00", "true",
        reason or details, other, linked, reference,
    )  # fmt: skip


def paid(number, at, amount="250.00", *, payer="2547****5678 - JANE", reference="",
         **how):  # fmt: skip
    """A customer's payment."""
    return line(
        number, at, f"Pay Bill Online from {payer}", paid=amount, other=payer,
        reason="Pay Bill Online", reference=reference, **how,
    )  # fmt: skip


def back(number, at, linked, amount="250.00"):
    """A reversal of a payment."""
    return line(
        number, at, f"Pay Bill Reversal of {linked} to 2547****5678",
        gone=f"-{amount}", reason="Pay Bill Reversal", linked=linked,
    )  # fmt: skip


def charge(number, at, amount="5.00"):
    return line(number, at, "Pay Bill Charge", gone=f"-{amount}")


def sweep(number, at, amount="900.00"):
    return line(number, at, "Organization Settlement Account to Bank", gone=amount)


def preamble(account, since, until):
    """What stands above the table; `account` None names none."""
    lines = [("Account Holder:", "DUKA LIMITED")]
    if account is not None:
        lines.append(("Short Code:", account.shortcode))
    if since is not None:
        # The portal names the last second of the time, not the first after it.
        last = until - clock.seconds(1)
        lines.append(("Time Period:", f"From {stamp(since)} To {stamp(last)}"))
    return [*lines, ()]


def as_csv(account, since, until, *rows):
    out = io.StringIO()
    csv.writer(out).writerows([*preamble(account, since, until), HEADER, *rows])
    return out.getvalue().encode()


def as_xlsx(account, since, until, *rows):
    book = openpyxl.Workbook()
    for cells in [*preamble(account, since, until), HEADER, *rows]:
        book.active.append(cells)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
