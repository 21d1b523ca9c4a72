"""The key pair for SecurityCredential, and its certificate.

Made when the process starts and gone when it stops: fetch the certificate anew.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


KEY_SIZE = 2048
NAME = "M-Pesa simulator"
# As with Safaricom's own copies that circulate, the certificate is past its end:
# clients load the key and do not look at the dates.
VALID_FROM = datetime(2017, 1, 1, tzinfo=UTC)
VALID_TO = datetime(2018, 1, 1, tzinfo=UTC)


class Vault:
    """Opens what was sealed with the public key: RSA, PKCS#1 v1.5, base64."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(VALID_FROM)
            .not_valid_after(VALID_TO)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        """In PEM, as Safaricom publishes its .cer files."""

    def open(self, sealed: str) -> bytes | None:
        """Return what was sealed; nonsense gives None, or other nonsense.

        PKCS#1 v1.5 is opened without telling whether the padding was right.
        """
        try:
            return self._key.decrypt(
                base64.b64decode(sealed, validate=True), padding.PKCS1v15()
            )
        except ValueError:
            return None
