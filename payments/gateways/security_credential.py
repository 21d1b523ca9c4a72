"""The initiator's password, hidden for M-Pesa alone.

RSA with PKCS#1 v1.5 padding, not OAEP, by the public key of the environment's
certificate. The circulating certificates are past their dates (2016 and 2018) and
still the ones in use, so only their key is looked at.
Source: daraja dossier section 7 (older portal page "going live and certificates"),
checked 2026-11-20.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate


PEM = b"-----BEGIN "
LARGEST_FILE = 65_536


class UnusableCertificate(ValueError):
    """The certificate, or the password for it, makes no credential."""


def security_credential(password: str, certificate: bytes) -> str:
    """Return the SecurityCredential: base64 of the encrypted password.

    `certificate` is PEM or DER; a bare public key in PEM will do. Each call gives
    another text for the same password. Raises UnusableCertificate.
    """
    secret = password.encode()
    key = _public_key(certificate)
    if not secret or len(secret) > key.key_size // 8 - 11:
        raise UnusableCertificate("the password is empty or too long")
    return base64.b64encode(key.encrypt(secret, padding.PKCS1v15())).decode()


def read_certificate(source: str) -> bytes:
    """Return the certificate that a setting means: its PEM text, or a file's path.

    Line breaks may be written as backslash and n. Raises UnusableCertificate.
    """
    text = source.strip()
    if text.startswith(PEM.decode()):
        return text.replace("\\n", "\n").encode()
    try:
        with Path(text).open("rb") as file:
            content = file.read(LARGEST_FILE)
    except (OSError, ValueError) as error:
        raise UnusableCertificate("there is no such certificate file") from error
    _public_key(content)
    return content


@lru_cache(maxsize=8)
def _public_key(certificate: bytes) -> rsa.RSAPublicKey:
    key: object
    try:
        if not certificate.lstrip().startswith(PEM):
            key = load_der_x509_certificate(certificate).public_key()
        elif b"CERTIFICATE" in certificate:
            key = load_pem_x509_certificate(certificate).public_key()
        else:
            key = load_pem_public_key(certificate)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableCertificate("this is no certificate") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 1024:
        raise UnusableCertificate("the certificate has no RSA key")
    return key
