"""The initiator's password, hidden for M-Pesa alone.

RSA with PKCS#1 v1.5 padding, not OAEP, by the public key of the environment's
certificate.
Source: the older portal page "going live and certificates", checked 2026-11-20.
"""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import padding

from smartduka.lib import certificates


UnusableCertificate = certificates.UnusableCertificate
read_certificate = certificates.read


def security_credential(password: str, certificate: bytes) -> str:
    """Return the SecurityCredential: base64 of the encrypted password.

    `certificate` is PEM or DER; a bare public key in PEM will do. Each call gives
    another text for the same password. Raises UnusableCertificate.
    """
    secret = password.encode()
    key = certificates.public_key(certificate)
    if not secret or len(secret) > key.key_size // 8 - 11:
        raise UnusableCertificate("the password is empty or too long")
    return base64.b64encode(key.encrypt(secret, padding.PKCS1v15())).decode()
