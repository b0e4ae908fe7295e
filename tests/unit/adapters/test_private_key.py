"""The cost of decrypting a private key is bounded, because it blocks the interpreter and all other tenants."""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.jose_signer.private_key import signing_key
from app.domain.tenant_errors import CredentialMisconfiguredError
from tests.support import grants
from tests.support.keys import key_pair, private_pem

PASSPHRASE = "a passphrase"
PBES2, PBKDF2, SCRYPT, PBE_3DES, AES = (
    bytes.fromhex(oid)
    for oid in (
        "06092a864886f70d01050d",
        "06092a864886f70d01050c",
        "06092b06010401da47040b",
        "060a2a864886f70d010c0103",
        "060960864801650304012a",
    )
)
SALT = b"\x04\x08saltsalt"


def der(tag: int, *parts: bytes) -> bytes:
    """An element."""
    content = b"".join(parts)
    size = len(content)
    head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)
    return bytes([tag]) + head + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return der(0x30, *parts)


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def encrypted(kdf: bytes) -> str:
    """A key encrypted with PBES2 and this key derivation; the encrypted content is not a real key."""
    cipher = sequence(AES, der(0x04, b"i" * 16))
    return pem(sequence(PBES2, sequence(kdf, cipher)))


def pem(algorithm: bytes) -> str:
    """An EncryptedPrivateKeyInfo as PEM."""
    body = base64.encodebytes(sequence(algorithm, der(0x04, b"e" * 1024))).decode()
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"


def refusal(private_key: str) -> CredentialMisconfiguredError:
    """The error for an unusable key."""
    with pytest.raises(CredentialMisconfiguredError) as refused:
        signing_key(grants.jwt_credential(private_key=private_key, passphrase=PASSPHRASE))
    return refused.value


@pytest.mark.parametrize(
    ("private_key", "bound"),
    [
        (encrypted(sequence(PBKDF2, sequence(SALT, integer(1_000_001)))), 1_000_000),
        (encrypted(sequence(PBKDF2, sequence(SALT, integer(2**63), integer(32)))), 1_000_000),
        (pem(sequence(PBE_3DES, sequence(SALT, integer(2**31)))), 1_000_000),
        (encrypted(sequence(SCRYPT, sequence(SALT, integer(2**18), integer(8), integer(1)))), 2**20),
        (encrypted(sequence(SCRYPT, sequence(SALT, integer(2**14), integer(8), integer(16)))), 2**20),
    ],
    ids=["pbkdf2", "pbkdf2-huge", "pbes1", "scrypt-n", "scrypt-p"],
)
def test_a_key_that_costs_too_much_is_not_decrypted(private_key: str, bound: int) -> None:
    """The refusal names the field and the limit, and no hashing is done before it."""
    refused = refusal(private_key)
    assert refused.field == "private_key"
    assert str(bound) in refused.expected


@pytest.mark.parametrize(
    "kdf",
    [
        sequence(PBKDF2, sequence(SALT, integer(600_000))),
        sequence(SCRYPT, sequence(SALT, integer(2**14), integer(8), integer(1))),
    ],
    ids=["pbkdf2", "scrypt"],
)
def test_a_key_with_usual_costs_is_decrypted(kdf: bytes) -> None:
    """The parameters that OpenSSL and OWASP recommend are accepted; the key fails only because of its content."""
    assert refusal(encrypted(kdf)).field == "private_key_passphrase"


def test_a_key_encrypted_by_cryptography_opens() -> None:
    """The limit does not affect real keys."""
    key = key_pair().key
    text = private_pem(key, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode()))
    opened = signing_key(grants.jwt_credential(private_key=text, passphrase=PASSPHRASE))
    assert opened.private_numbers() == key.private_numbers()


@given(st.binary(max_size=300))
def test_no_bytes_cause_another_error(content: bytes) -> None:
    """Whatever the block contains, the result is a refusal that names a field."""
    body = base64.encodebytes(content).decode()
    text = f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"
    assert refusal(text).field in {"private_key", "private_key_passphrase"}


def test_deep_nesting_is_refused() -> None:
    """Thousands of nested sequences do not exhaust the stack."""
    nested = b""
    for _ in range(5000):
        nested = sequence(nested)[: 2**15]
    assert refusal(pem(nested)).field in {"private_key", "private_key_passphrase"}


def test_begin_lines_without_an_end_line_are_cheap() -> None:
    """A document full of BEGIN lines is searched once, not once for each."""
    began = time.process_time()
    refusal("-----BEGIN ENCRYPTED PRIVATE KEY-----\n" * 6000)
    assert time.process_time() - began < 1


def test_a_header_is_not_read_as_the_key() -> None:
    """A cheap key in the PEM headers of a costly one is not the key that is checked."""
    cheap = encrypted(sequence(PBKDF2, sequence(SALT, integer(1000)))).splitlines()[1:-1]
    costly = encrypted(sequence(PBKDF2, sequence(SALT, integer(2_000_000))))
    begin, body = costly.split("\n", 1)
    assert refusal(f"{begin}\n{''.join(cheap)}: x\n\n{body}").field == "private_key"
