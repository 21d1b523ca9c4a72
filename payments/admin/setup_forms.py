"""The forms of the page on which an owner sets up M-Pesa: one for each step.

What is wrong is said by the domain; the forms know how its fields are called. Secrets
are never written into a page, not even those that were just typed.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.html import format_html

from payments import accounts, configuration
from payments.account_entry import NAMES, Entered
from payments.enums import AccountType
from payments.models import MpesaAccount
from shops import book_cells as cells
from shops.words import sentence
from smartduka.lib.errors import DomainError


NUMBER_HELP = {
    AccountType.TILL: {
        "party_b": "The number that customers pay to, on your till's sticker.",
        "shortcode": "Also called head office number. It stands in the letter from"
        " Safaricom; it is not the till number.",
    },
    AccountType.PAYBILL: {
        "shortcode": "The business number that customers pay to.",
    },
}
SECRET_HELP = {
    "consumer_key": "From your app at developer.safaricom.co.ke.",
    "consumer_secret": "From the same app.",
    "passkey": "Safaricom e-mails it when the number goes live for prompts.",
    "initiator_password": "",
}
KEEP = "Set on {}. Leave it empty to keep it."
LONGEST = 400


def _digits(label: str, **more: Any) -> forms.CharField:
    attributes = {"inputmode": "numeric", "autocomplete": "off"}
    widget = forms.TextInput(attrs=attributes | {"class": "digits"})
    return forms.CharField(
        label=label, required=False, strip=True, max_length=20, widget=widget, **more
    )


def _secret(name: str) -> forms.CharField:
    attributes = {"autocomplete": "new-password", "spellcheck": "false"}
    return forms.CharField(
        label=NAMES[name].capitalize(),
        required=False,
        max_length=LONGEST,
        widget=forms.PasswordInput(render_value=False, attrs=attributes),
    )


class StepForm(forms.Form):
    """A form of the page: it knows what was there when the page was made."""

    use_required_attribute = False
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": ""} | kwargs)

    def refuse(self, error: DomainError) -> None:
        """Say what the domain refused, beside the fields that are wrong."""
        for name, (words, *_) in error.details.items():
            if name in self.fields:
                self.add_error(name, words)
        if not self.errors:
            self.add_error(None, sentence(error))

    def point(self) -> None:
        """Lead the keyboard to the first field that is wrong."""
        wrong = [name for name in self.fields if name in self.errors]
        for name in wrong[:1]:
            self.fields[name].widget.attrs["autofocus"] = True


class KeysForm(StepForm):
    """The numbers and the keys of a till or paybill."""

    party_b = _digits("Till number")
    shortcode = _digits("Store number")
    consumer_key = _secret("consumer_key")
    consumer_secret = _secret("consumer_secret")
    passkey = _secret("passkey")
    initiator_name = forms.CharField(
        label="Initiator's name",
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    initiator_password = _secret("initiator_password")

    def __init__(
        self, kind: str, current: MpesaAccount | None, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kind = AccountType(kind)
        if self.kind == AccountType.PAYBILL:
            del self.fields["party_b"]
            self.fields["shortcode"].label = "Paybill number"
        for name, words in NUMBER_HELP[self.kind].items():
            self.fields[name].help_text = words
        for name in accounts.SECRETS:
            at = configuration.set_at(current, name) if current else None
            self.fields[name].help_text = (
                SECRET_HELP[name] if at is None else format_html(KEEP, cells.moment(at))
            )

    def refuse(self, error: DomainError) -> None:
        """Say it beside the one number that a paybill has."""
        details = dict(error.details)
        if "party_b" not in self.fields and "party_b" in details:
            details.setdefault("shortcode", details.pop("party_b"))
        super().refuse(type(error)(error.message, details=details))

    def entered(self) -> Entered:
        """Return what was typed. Call when the form is valid."""
        said = self.cleaned_data
        return Entered(
            type=self.kind.value,
            shortcode=said["shortcode"],
            party_b=said.get("party_b", ""),
            secrets={name: said[name] for name in accounts.SECRETS},
            initiator_name=said["initiator_name"],
        )

    @property
    def numbers(self) -> list[forms.BoundField]:
        """The fields of the numbers."""
        return [self[name] for name in ("party_b", "shortcode") if name in self.fields]

    @property
    def keys(self) -> list[forms.BoundField]:
        """The fields without which no prompt is sent."""
        return [self[name] for name in ("consumer_key", "consumer_secret", "passkey")]

    @property
    def initiator(self) -> list[forms.BoundField]:
        """The fields for sending money back and asking about receipts."""
        return [self[name] for name in ("initiator_name", "initiator_password")]


class PhoneForm(StepForm):
    """Whose phone pays the shilling."""

    phone = forms.CharField(
        label="Your phone",
        required=False,
        max_length=60,
        help_text="KES 1 is asked from it, and stays in the shop's books.",
        widget=forms.TextInput(
            attrs={
                "inputmode": "tel",
                "autocomplete": "off",
                "placeholder": "0712 345 678",
            }
        ),
    )


class LiveForm(StepForm):
    """The number that customers pay to, once more."""

    confirm = _digits("Type the number that customers pay to once more")


class ConsentForm(StepForm):
    """A choice that somebody means."""

    agree = forms.BooleanField(
        error_messages={"required": "Tick this if you mean it."},
    )

    def __init__(self, words: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agree"].label = words
