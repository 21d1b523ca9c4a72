"""What the domain refuses, in the language of the person who reads it.

Errors carry English sentences, which the API shows as they are. Pages translate:
a fixed sentence by itself, one with figures in it by what its code means. They
are raised in English: what is translated by then would not be known here.
"""

from __future__ import annotations

from django.utils.translation import get_language, gettext, gettext_noop

from smartduka.lib.errors import DomainError


# Fixed sentences of the layers above and below, named here for the catalog.
FIXED = (
    gettext_noop("This request cannot be carried out."),
    gettext_noop("This does not exist in your shop."),
    gettext_noop("Your role does not allow this."),
    gettext_noop("This is not a Kenyan mobile number. Write it like 0712 345 678."),
    gettext_noop("The request could not be understood."),
    gettext_noop("This cart could not be read. Reload the page."),
    gettext_noop("A quantity is a whole number of pieces."),
    gettext_noop("Write the amount in whole shillings, like 500."),
    gettext_noop("Another product of your shop has this barcode."),
    gettext_noop("Dates are written like 2026-01-31."),
    gettext_noop("There is no such status."),
    gettext_noop("Header and body name two different idempotency keys."),
    gettext_noop("You work in several shops: name one in the header X-Shop."),
    gettext_noop("You do not work in any shop yet. Ask the owner to add you."),
    gettext_noop("Only a cashier, manager or owner may do this."),
    gettext_noop("Only the shop's owner or a manager may do this."),
    gettext_noop("Only the shop's owner may do this."),
    gettext_noop("This shop does not exist, or it is not yours."),
    gettext_noop(
        "This code is not right, or it was used already. Wait for the next one."
    ),
    gettext_noop("The second step is on already. Turn it off first, with a code."),
    gettext_noop("Your role needs the second step. You can move it to another phone."),
    gettext_noop("No till or paybill of the shop's own is entered yet."),
    gettext_noop("This account may not take the shop's money yet."),
    gettext_noop("Somebody else changed these settings meanwhile. Look at them again."),
    gettext_noop(
        "M-Pesa's books say otherwise about this money since the refund was asked"
        " for. Refuse it, look at them, and ask again."
    ),
    gettext_noop("This is not your password."),
    gettext_noop("A PIN has 4 to 6 digits, not all the same and not in a row."),
    gettext_noop("This is not the PIN of this person."),
    gettext_noop("Too many wrong PINs. Sign in with the password."),
    gettext_noop(
        "Nobody of this shop signed in with a password here today. Sign in first."
    ),
    gettext_noop("You came with a PIN, and can only sell. Sign in with your password."),
    gettext_noop("This link is not good any more. Ask the owner for a new one."),
    gettext_noop("You work in this shop already."),
    gettext_noop("This user name is taken. Choose another one."),
    gettext_noop(
        "This person also works elsewhere, so only the platform's operator may do this."
    ),
    gettext_noop("Too many wrong tries. Wait, or ask the owner to unlock you."),
    gettext_noop("Send the code of the second step too, as `code`."),
    gettext_noop(
        "Set up the second step of signing in first: open the till in a browser."
    ),
    gettext_noop("This product does not exist in your shop."),
    gettext_noop("This sale does not exist in your shop."),
    gettext_noop("This payment does not exist in your shop."),
    gettext_noop("A product of this sale does not exist in your shop."),
    gettext_noop("A sale needs at least one product, and at least one piece of each."),
    gettext_noop("This sale comes to less than one shilling."),
    gettext_noop("This sale is too large. Split it."),
    gettext_noop("A payment was already begun for this sale. Finish it, or cancel it."),
    gettext_noop("This sale is closed already."),
    gettext_noop("This sale is paid already."),
    gettext_noop("This sale was cancelled. Start a new one."),
    gettext_noop("Money was already paid for this sale, so it cannot be cancelled."),
    gettext_noop("Say how many pieces, at least one."),
    gettext_noop("M-Pesa is not set up for this shop. Take cash, and tell the owner."),
    gettext_noop(
        "The shop's M-Pesa keys cannot be read. Take cash, and tell the owner."
    ),
    gettext_noop(
        "M-Pesa is entered for this shop, but not live yet. Take cash, and tell the"
        " owner."
    ),
    gettext_noop(
        "The platform's M-Pesa account is not set up. Take cash, and tell the owner."
    ),
    gettext_noop(
        "The shop's M-Pesa account is not in use any more. Take cash, and tell the"
        " owner."
    ),
    gettext_noop(
        "The shop's M-Pesa account does not belong here. Take cash, and tell the owner."
    ),
    gettext_noop("The shop's M-Pesa keys are missing. Take cash, and tell the owner."),
    gettext_noop("The M-Pesa account was changed meanwhile. Look at it again."),
    gettext_noop("The amount must be at least KES 1."),
    gettext_noop("This is more cash than a till can take."),
    gettext_noop("This key was used for another payment already."),
    gettext_noop("This was already sent. Look at it before you send another."),
    gettext_noop("The same payment is being sent right now. Look again in a moment."),
    gettext_noop("Too many prompts in a short time. Wait a moment, or take cash."),
    gettext_noop("This phone was asked too often. Wait, or use another phone."),
    gettext_noop("This payment cannot be tried again. Start a new one."),
    gettext_noop("This payment is paid. It needs no new prompt."),
    gettext_noop(
        "This payment cannot be tried again: M-Pesa has not said yet whether it was"
        " paid. The customer must not pay again."
    ),
    gettext_noop("The customer may still be paying: this sale was already asked for."),
    gettext_noop(
        "An earlier prompt is still undecided. Ask the customer whether it was"
        " paid; confirm that it was not, to send another."
    ),
    gettext_noop(
        "This M-Pesa account has no initiator: M-Pesa cannot be asked, and cannot "
        "send money back. Tell the owner."
    ),
    gettext_noop("Another refund of this money is being decided. Look at it first."),
    gettext_noop("This money changed since you looked. Look again, then decide."),
    gettext_noop("M-Pesa sent this money back to the customer already."),
    gettext_noop("This refund does not wait for anybody: it was decided."),
    gettext_noop("M-Pesa has nothing to decide about this refund."),
    gettext_noop(
        "You asked for this refund: another manager or the owner must decide."
    ),
    gettext_noop("Only the platform's operator may do this."),
    gettext_noop("Say why the money goes back."),
    gettext_noop("Say how the money goes back."),
    gettext_noop(
        "This money came in another environment of M-Pesa: it is none of ours."
    ),
    gettext_noop(
        "M-Pesa said since which payment this money is. Refuse the refund: its"
        " sale gets the money then."
    ),
    gettext_noop("Say why it is refused."),
    gettext_noop(
        "Part of this money went back already, and M-Pesa sends back a whole "
        "payment only."
    ),
    gettext_noop("Say why, in a few words."),
    gettext_noop("Say what you found, in a few words."),
    gettext_noop("Say by how many shillings."),
    gettext_noop("Say why."),
    gettext_noop("Somebody has used this money already. Look at the list again."),
    gettext_noop("There is no M-Pesa code in this. It has 10 letters and digits."),
    gettext_noop("Paste the M-Pesa message or type its code."),
    gettext_noop("This is too long for one M-Pesa message."),
    gettext_noop("This is a number, not an M-Pesa code: a code has letters too."),
    gettext_noop(
        "This message has no M-Pesa code. Paste it whole, with its first word."
    ),
    gettext_noop("These are several messages. Paste the one about this sale."),
    gettext_noop("This money was sent to a person's phone, not to a shop."),
    gettext_noop("This message says that a payment was sent back. It is no payment."),
    gettext_noop("This message is about money that its reader received, not paid."),
    gettext_noop("This message is not about a payment to a shop."),
    gettext_noop("There is no sale with this number in your shop."),
    gettext_noop("This account is not in use here."),
    gettext_noop("M-Pesa's statement does not have this payment."),
    gettext_noop("M-Pesa did not take the address for payments by hand."),
    gettext_noop("M-Pesa did not take the registration."),
    gettext_noop("This account is not registered for M-Pesa's list of payments."),
    gettext_noop("This code cannot pay this sale any more. Check it again."),
    gettext_noop("This code was not typed in your shop."),
    gettext_noop("This correction is not in your shop's books."),
    gettext_noop("This is less than one shilling."),
    gettext_noop(
        "This money is a shop's already, or it is not on the platform's account."
    ),
    gettext_noop("This money is not in your shop's books."),
    gettext_noop("This money is not offered to this sale any more. Look at it again."),
    gettext_noop(
        "Another open sale needs the same amount by now. Look whose money it is, then"
        " press again."
    ),
    gettext_noop(
        "M-Pesa's books say otherwise about this money. Call the manager, who finds it"
        " in Money to sort."
    ),
    gettext_noop(
        "M-Pesa's books say otherwise about this money. Look at them, then say that"
        " you did."
    ),
    gettext_noop(
        "This money may belong to a prompt that M-Pesa has not decided. It is"
        " asked; try again in a moment."
    ),
    gettext_noop(
        "M-Pesa has not confirmed this money yet, so it cannot be used. M-Pesa"
        " is being asked now: try again in a moment."
    ),
    gettext_noop(
        "M-Pesa has not confirmed this money yet, so it cannot be used. Wait"
        " until it is confirmed."
    ),
    gettext_noop("Too many codes in a short time. Wait a moment."),
    gettext_noop("Write the customer's full phone number, or a name."),
    gettext_noop("M-Pesa says that this money is for something else."),
    gettext_noop("M-Pesa does not know this code. Look at the SMS again."),
    gettext_noop("This payment went to somebody else."),
    gettext_noop("M-Pesa sent this payment back to the customer."),
    gettext_noop("A correction of this money waits for a second person already."),
    gettext_noop("Its M-Pesa keys are missing or cannot be read."),
    gettext_noop("M-Pesa's books do not contradict this money: nothing is to correct."),
    gettext_noop(
        "Payments of this statement went to another account. Nothing was imported."
    ),
    gettext_noop("Somebody decided this correction already."),
    gettext_noop("This account is of another environment. Nothing was imported."),
    gettext_noop("This file cannot be read. Upload a CSV or XLSX file."),
    gettext_noop("This statement is of another account. Nothing was imported."),
    gettext_noop("You asked for this correction: somebody else must book it."),
    gettext_noop(
        "Counted twice: its receipt came with money that people had used already."
    ),
    gettext_noop(
        "Perhaps counted twice: a receipt that fits it was used for another end."
    ),
)

# What a sentence with figures in it comes to.
BY_CODE = {
    "OUT_OF_STOCK": gettext_noop("There is not enough in stock for this sale."),
    "TOO_MANY_GOODS": gettext_noop("This sale has too many goods. Split it."),
    "MPESA_003": gettext_noop("This is more than one M-Pesa payment may be. Split it."),
    "AMOUNT_EXCEEDS_BALANCE": gettext_noop("This is more than the sale still needs."),
    "MPESA_006": gettext_noop(
        "This phone was asked a moment ago. Wait a little, or use another phone."
    ),
    "REFUND_TOO_LARGE": gettext_noop("This is more than what is left of this money."),
    "CANNOT_REVERSE": gettext_noop(
        "M-Pesa cannot send this money back. Give it back in another way."
    ),
}


def sentence(error: DomainError) -> str:
    """Return what a refusal says, in the language of the page."""
    said = gettext(error.message)
    if said == error.message and (get_language() or "en") != "en":
        return gettext(BY_CODE.get(error.said_as or error.code, error.message))
    return said
