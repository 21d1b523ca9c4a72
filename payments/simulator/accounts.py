"""The merchants this Daraja knows.

Every value is public and works here only. Clients that run against the simulator
carry the same values in their own settings.
"""

from __future__ import annotations

from dataclasses import dataclass


PAYBILL = "paybill"
TILL = "till"
TRANSACTION_TYPES = {
    PAYBILL: "CustomerPayBillOnline",
    TILL: "CustomerBuyGoodsOnline",
}
ROLES = {
    "TransactionReversal": "Org Reversals Initiator",
    "TransactionStatusQuery": "Transaction Status query ORG API",
    "AccountBalance": "Balance Query ORG API",
}
"""What an API user must be, by the command it gives."""


@dataclass(frozen=True, slots=True)
class Account:
    """A paybill or till with the Daraja app that may push for it.

    ``shortcode`` is the BusinessShortCode (for a till the store number), ``party_b``
    the number that receives the money. ``roles`` are those of
    the initiator, with commas between.
    """

    name: str
    consumer_key: str
    consumer_secret: str
    shortcode: str
    party_b: str
    kind: str
    passkey: str
    initiator: str = ""
    initiator_password: str = ""
    roles: str = ", ".join(ROLES.values())

    @property
    def transaction_type(self) -> str:
        return TRANSACTION_TYPES[self.kind]

    @property
    def money_account(self) -> str:
        """The name of the account that customers pay into."""
        return "Merchant Account" if self.kind == TILL else "Utility Account"

    @property
    def public_name(self) -> str:
        """The receiving number with the name, as M-Pesa writes parties."""
        return f"{self.party_b} - {self.name}"

    def may(self, command: str) -> bool:
        """Say whether the initiator has the role for this command."""
        held = {role.strip() for role in self.roles.split(",")}
        return ROLES[command] in held


DEMO_ACCOUNTS = (
    Account(
        name="SMARTDUKA",
        consumer_key="sim-platform-key",
        consumer_secret="sim-platform-secret",  # noqa: S106 -- public demo value
        shortcode="600100",
        party_b="600100",
        kind=PAYBILL,
        passkey="simplatformpasskey".ljust(64, "0"),
        initiator="simapi",
        initiator_password="SimPass123#",  # noqa: S106 -- public demo value
    ),
    Account(
        name="DUKA LA PILI",
        consumer_key="sim-shop2-key",
        consumer_secret="sim-shop2-secret",  # noqa: S106 -- public demo value
        shortcode="600200",
        party_b="600200",
        kind=PAYBILL,
        passkey="simshop2passkey".ljust(64, "0"),
        initiator="simapi",
        initiator_password="SimPass123#",  # noqa: S106 -- public demo value
    ),
    Account(
        name="DUKA TILL",
        consumer_key="sim-till-key",
        consumer_secret="sim-till-secret",  # noqa: S106 -- public demo value
        shortcode="600300",
        party_b="5600301",
        kind=TILL,
        passkey="simtillpasskey".ljust(64, "0"),
        initiator="simapi",
        initiator_password="SimPass123#",  # noqa: S106 -- public demo value
    ),
    # The number and passkey of Safaricom's public sandbox, for client libraries that
    # ship with them.
    Account(
        name="DARAJA SANDBOX",
        consumer_key="sim-sandbox-key",
        consumer_secret="sim-sandbox-secret",  # noqa: S106 -- public demo value
        shortcode="174379",
        party_b="174379",
        kind=PAYBILL,
        passkey="bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919",
        initiator="testapi",
        initiator_password="Safaricom999!*!",  # noqa: S106 -- published test value
    ),
)
