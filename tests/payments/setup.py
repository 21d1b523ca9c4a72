"""What an owner types to set up an account, for the tests of it."""

from payments.account_entry import Entered
from payments.gateways.base import Proof


TILL = {"type": "till", "shortcode": "600300", "party_b": "5600301"}
PAYBILL = {"type": "paybill", "shortcode": "600400", "party_b": "600400"}
SECRETS = {
    "consumer_key": "the-key",
    "consumer_secret": "the-secret",
    "passkey": "the-passkey",
}


def typed(numbers=TILL, *, initiator_name="", **secrets):
    """Return a till as an owner types it; name what is different."""
    changed = {name: secrets.pop(name) for name in tuple(numbers) if name in secrets}
    return Entered(
        **numbers | changed, secrets=SECRETS | secrets, initiator_name=initiator_name
    )


def only_store_number(number):
    """An M-Pesa that knows one store number, and takes any key."""

    def proof(account):
        return Proof.GOOD if account.shortcode == number else Proof.NUMBER

    return proof
