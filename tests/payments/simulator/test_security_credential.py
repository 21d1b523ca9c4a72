from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509 import load_pem_x509_certificate

from tests.payments.simulator.conftest import RESULT, posted_to


@pytest.fixture
def certificate(simulator):
    url = f"{simulator.url}/docs-assets/SandBoxCertificate.cer"
    return load_pem_x509_certificate(requests.get(url, timeout=5).content)


@pytest.fixture
def code_for(merchant, receiver):
    """Ask for the balance with a credential; return the ResultCode."""

    def ask(credential, **changes):
        before = len(receiver.posted)
        merchant.ask_balance(SecurityCredential=credential, **changes)
        told = posted_to(receiver, RESULT, before + 1)[before]
        return told["Result"]["ResultCode"]

    return ask


def test_certificate_has_a_key_of_2048_bits_and_is_past_its_end(certificate):
    key = certificate.public_key()

    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    assert certificate.not_valid_after_utc < datetime.now(UTC)


def test_right_password_is_let_in(merchant, code_for):
    sealed = merchant.credential()

    assert len(sealed) == 344
    assert code_for(sealed) == "0"
    assert code_for(sealed) == "0"  # good until the password changes


@pytest.mark.parametrize(
    "kind", ["wrong", "and the time", "oaep", "other key", "plain", "nonsense"]
)
def test_anything_else_is_2001(merchant, certificate, code_for, kind):
    password = merchant.initiator_password.encode()
    sha1 = SHA1()  # what OAEP meant when Daraja began
    oaep = padding.OAEP(padding.MGF1(sha1), sha1, None)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sealed = {
        "wrong": merchant.credential("Another1#"),
        # As a library does that appends a timestamp, against the portal.
        "and the time": merchant.credential(
            f"{merchant.initiator_password}20260114093015"
        ),
        "oaep": base64.b64encode(certificate.public_key().encrypt(password, oaep)),
        "other key": base64.b64encode(
            other.public_key().encrypt(password, padding.PKCS1v15())
        ),
        "plain": base64.b64encode(password),
        "nonsense": "%%%",
    }[kind]

    assert code_for(sealed if isinstance(sealed, str) else sealed.decode()) == "2001"


def test_unknown_initiator_is_2001(merchant, code_for):
    assert code_for(merchant.credential(), Initiator="somebody") == "2001"


def test_third_wrong_password_locks_until_somebody_unlocks(
    simulator, merchant, code_for
):
    wrong, right = merchant.credential("Another1#"), merchant.credential()

    codes = [code_for(wrong) for _ in range(4)]
    assert codes == ["2001", "2001", "2001", "8006"]
    assert code_for(right) == "8006"

    simulator.control("initiators/600100/unlock")
    assert code_for(right) == "0"


def test_right_password_forgets_the_wrong_ones(merchant, code_for):
    wrong, right = merchant.credential("Another1#"), merchant.credential()

    codes = [code_for(one) for one in (wrong, wrong, right, wrong, wrong, right)]

    assert codes == ["2001", "2001", "0", "2001", "2001", "0"]


def test_how_many_tries_is_a_switch(simulator, merchant, code_for):
    simulator.faults(credential_tries=1)
    wrong = merchant.credential("Another1#")

    assert [code_for(wrong), code_for(wrong)] == ["2001", "8006"]


def test_organisations_are_locked_one_by_one(
    simulator, merchant, till, receiver, code_for
):
    simulator.faults(credential_tries=1)
    assert code_for(merchant.credential("Another1#")) == "2001"
    assert code_for(merchant.credential()) == "8006"

    till.ask_balance()

    assert posted_to(receiver, RESULT, 3)[2]["Result"]["ResultCode"] == "0"


def test_credential_is_cut_out_of_the_log(simulator, merchant, code_for):
    sealed = merchant.credential()

    code_for(sealed)

    bodies = [one["request_body"] for one in simulator.get("journal")["journal"]]
    assert sum("SecurityCredential" in body for body in bodies) == 1
    assert not any(sealed[:20] in body for body in bodies)
