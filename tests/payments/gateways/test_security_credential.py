"""The initiator's password, readable by M-Pesa alone."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from payments.gateways.security_credential import (
    UnusableCertificate,
    read_certificate,
    security_credential,
)


PASSWORD = "Safaricom999!*!"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key, encoding):
    """A certificate that ended ten years ago, as those in use have."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.example.co.ke")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2015, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2016, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(encoding)


PEM = certificate(KEY, serialization.Encoding.PEM)
DER = certificate(KEY, serialization.Encoding.DER)
BARE = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def opened(credential):
    return KEY.decrypt(base64.b64decode(credential), padding.PKCS1v15()).decode()


@pytest.mark.parametrize(
    "form", [PEM, DER, BARE, b"\n" + PEM], ids=["pem", "der", "key", "blank"]
)
def test_only_the_owner_of_the_key_reads_the_password(form):
    credential = security_credential(PASSWORD, form)

    assert len(credential) == 344
    assert opened(credential) == PASSWORD


def test_the_same_password_never_looks_the_same():
    assert security_credential(PASSWORD, PEM) != security_credential(PASSWORD, PEM)


@pytest.mark.parametrize("password", ["", "x" * 246], ids=["empty", "long"])
def test_a_password_that_does_not_fit_is_refused(password):
    with pytest.raises(UnusableCertificate, match="empty or too long"):
        security_credential(password, PEM)


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"nonsense",
        PEM[:200],
        DER[:-1],
        certificate(
            ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
        ),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ],
    ids=["empty", "noise", "cut", "cut der", "not RSA", "not x509", "no key"],
)
def test_what_is_no_certificate_is_refused(form):
    with pytest.raises(UnusableCertificate):
        security_credential(PASSWORD, form)


@pytest.mark.parametrize("form", [PEM, DER], ids=["pem", "der"])
def test_a_setting_may_name_a_file(tmp_path, form):
    file = tmp_path / "certificate.cer"
    file.write_bytes(form)

    assert read_certificate(f" {file} ") == form


@pytest.mark.parametrize("text", [PEM.decode(), PEM.decode().replace("\n", "\\n")])
def test_a_setting_may_hold_the_text(text):
    assert opened(security_credential(PASSWORD, read_certificate(text))) == PASSWORD


@pytest.mark.parametrize("source", ["", "/nowhere/certificate.cer", "a\0b", "/"])
def test_a_setting_without_a_file_is_refused(source):
    with pytest.raises(UnusableCertificate, match="no such certificate file"):
        read_certificate(source)


def test_a_file_that_is_no_certificate_is_refused(tmp_path):
    file = tmp_path / "certificate.cer"
    file.write_text("hello")

    with pytest.raises(UnusableCertificate, match="no certificate"):
        read_certificate(str(file))
