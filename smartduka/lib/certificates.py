"""A certificate whose public key hides something for its owner alone.

The circulating ones of M-Pesa are past their dates (2016 and 2018) and still the ones
in use, so only the key is looked at.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate


PEM = b"-----BEGIN "
LARGEST_FILE = 65_536


class UnusableCertificate(ValueError):
    """The certificate, or what it should hide, makes no secret."""


def read(source: str) -> bytes:
    """Return the certificate that a setting means: its PEM text, or a file's path.

    Line breaks may be written as backslash and n. Raises UnusableCertificate.
    """
    text = source.strip()
    if text.startswith(PEM.decode()):
        content = text.replace("\\n", "\n").encode()
    else:
        try:
            with Path(text).open("rb") as file:
                content = file.read(LARGEST_FILE)
        except (OSError, ValueError) as error:
            raise UnusableCertificate("there is no such certificate file") from error
    public_key(content)
    return content


@lru_cache(maxsize=8)
def public_key(certificate: bytes) -> rsa.RSAPublicKey:
    """Return the key of a certificate in PEM or DER, or a bare one in PEM.

    Raises UnusableCertificate.
    """
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
