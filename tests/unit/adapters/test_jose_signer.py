"""The signer that keeps private keys in memory."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from app.adapters.certificates import certificate_not_after
from app.adapters.jose_signer import JoseAssertionSigner
from app.adapters.jose_signer import signer as signer_module
from app.domain.assertion import assertion_claims
from app.domain.dependency_errors import OverloadedError
from app.domain.names import CredentialName, CredentialRef
from app.domain.tenant_errors import CredentialMisconfiguredError
from tests.support import grants
from tests.support.keys import PASSPHRASE, ec_pem, ed25519_pem, key_pair, new_rsa_key, private_pem, self_signed

CLAIMS = assertion_claims(grants.jwt_credential(), grants.METASCOPES, 4_000_000_000)


@pytest.fixture
async def signer() -> AsyncIterator[JoseAssertionSigner]:
    """A signer that is closed after the test."""
    signer = JoseAssertionSigner()
    yield signer
    signer.close()


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The generations whose keys were actually parsed, in order."""
    seen: list[str] = []
    parse = signer_module._signing_key

    def counted(credential: Any) -> Any:
        seen.append(credential.generation)
        return parse(credential)

    monkeypatch.setattr(signer_module, "_signing_key", counted)
    return seen


def verified(assertion: str) -> dict[str, Any]:
    """The claims, if our key signed them; verified with a different library than the one that signed."""
    claims: dict[str, Any] = jwt.decode(
        assertion, key_pair().key.public_key(), algorithms=["RS256"], options={"verify_aud": False}
    )
    return claims


async def why_not(signer: JoseAssertionSigner, **fields: Any) -> CredentialMisconfiguredError:
    """The error for a credential with these fields."""
    with pytest.raises(CredentialMisconfiguredError) as caught:
        await signer.sign(grants.jwt_credential(**fields), CLAIMS)
    error: BaseException | None = caught.value
    while error is not None:
        assert PASSPHRASE not in str(error)
        assert not any(line and line in str(error) for line in str(fields.get("private_key")).splitlines()[1:-1])
        error = error.__cause__
    return caught.value


@pytest.mark.parametrize("form", ["pkcs8", "pkcs1", "pkcs1_crlf", "encrypted", "encrypted_pkcs1"])
async def test_every_form_of_a_key_signs(signer: JoseAssertionSigner, form: str) -> None:
    """PKCS#1, PKCS#8, CRLF and encrypted PEM give signatures that another library verifies."""
    pair = key_pair()
    passphrase = PASSPHRASE if form.startswith("encrypted") else None
    credential = grants.jwt_credential(
        private_key=getattr(pair, form), passphrase=passphrase, certificate=pair.certificate
    )
    assertion = await signer.sign(credential, CLAIMS)
    assert verified(assertion) == CLAIMS
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT"}


async def test_exp_is_written_as_an_integer(signer: JoseAssertionSigner) -> None:
    """IMS would refuse a float, so exp is never one."""
    assertion = await signer.sign(grants.jwt_credential(private_key=key_pair().pkcs8), {"exp": 4_000_000_000.7})
    assert json.dumps(verified(assertion)) == '{"exp": 4000000000}'


async def test_a_passphrase_that_is_not_needed_does_no_harm(signer: JoseAssertionSigner) -> None:
    """An unencrypted key opens, whatever passphrase is stored next to it."""
    await signer.sign(grants.jwt_credential(private_key=key_pair().pkcs8, passphrase="unneeded"), CLAIMS)


def _truncated(pem: str) -> str:
    lines = pem.splitlines()
    return "\n".join([lines[0], *lines[1 : len(lines) // 2], lines[-1], ""])


@pytest.mark.parametrize(
    ("key", "passphrase", "field"),
    [
        (lambda: "-----BEGIN PRIVATE KEY-----\nnot base64\n-----END PRIVATE KEY-----\n", None, "private_key"),
        (lambda: "-----BEGIN PRIVATE KEY-----\n\ud800\n-----END PRIVATE KEY-----\n", None, "private_key"),
        (lambda: _truncated(key_pair().pkcs8), None, "private_key"),
        (lambda: key_pair().certificate, None, "private_key"),
        (ec_pem, None, "private_key"),
        (lambda: private_pem(new_rsa_key(1024), PrivateFormat.PKCS8), None, "private_key"),
        (lambda: key_pair().encrypted, None, "private_key_passphrase"),
        (lambda: key_pair().encrypted, "", "private_key_passphrase"),
        (lambda: key_pair().encrypted, "wrong", "private_key_passphrase"),
        (lambda: key_pair().encrypted_pkcs1, "wrong", "private_key_passphrase"),
        (lambda: None, None, "private_key"),
    ],
    ids=[
        "garbage",
        "surrogate",
        "truncated",
        "certificate",
        "ec",
        "short",
        "no-passphrase",
        "empty-passphrase",
        "wrong-passphrase",
        "wrong-passphrase-pkcs1",
        "none",
    ],
)
async def test_an_unusable_key_names_its_field(
    signer: JoseAssertionSigner, key: Any, passphrase: str | None, field: str
) -> None:
    """Any defect of a key is reported with the field's name, never with its content."""
    assert (await why_not(signer, private_key=key(), passphrase=passphrase)).field == field


@pytest.mark.parametrize(
    ("key", "passphrase", "reason"),
    [
        (lambda: _truncated(key_pair().pkcs8), None, "is damaged or truncated"),
        (lambda: _truncated(key_pair().pkcs1), None, "is damaged or truncated"),
        (lambda: _truncated(key_pair().encrypted), PASSPHRASE, "is damaged or truncated"),
        (ec_pem, None, "is an elliptic-curve key; Adobe accepts RSA keys only"),
        (ed25519_pem, None, "is not an RSA key; Adobe accepts RSA keys only"),
        (lambda: private_pem(new_rsa_key(1024), PrivateFormat.PKCS8), None, "is an RSA key of 1024 bits; it must have"),
        (lambda: key_pair().encrypted, None, "is missing, and the private key is encrypted"),
        (lambda: key_pair().encrypted_pkcs1, None, "is missing, and the private key is encrypted"),
        (lambda: key_pair().encrypted, "wrong", "does not decrypt the private key"),
    ],
    ids=[
        "cut",
        "cut-pkcs1",
        "cut-encrypted",
        "ec",
        "ed25519",
        "short",
        "no-passphrase",
        "no-passphrase-pkcs1",
        "wrong",
    ],
)
async def test_an_unusable_key_says_what_it_is(
    signer: JoseAssertionSigner, key: Any, passphrase: str | None, reason: str
) -> None:
    """Each defect of a key has a sentence of its own."""
    assert (await why_not(signer, private_key=key(), passphrase=passphrase)).expected.startswith(reason)


async def test_a_key_with_inconsistent_numbers_is_refused(signer: JoseAssertionSigner) -> None:
    """A damaged key is refused: its faulty signatures would be useless, or would leak the key."""
    numbers = key_pair().key.private_numbers()
    damaged = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    pem = private_pem(damaged.private_key(unsafe_skip_rsa_key_validation=True), PrivateFormat.PKCS8)
    assert "damaged" in (await why_not(signer, private_key=pem)).expected


async def test_a_certificate_of_another_key_is_refused(signer: JoseAssertionSigner) -> None:
    """IMS would only say that it cannot match a signature; this error names the field."""
    error = await why_not(signer, private_key=key_pair().pkcs8, certificate=key_pair("other").certificate)
    assert (error.field, error.expected) == ("certificate", "does not belong to private_key")


async def test_anything_but_a_certificate_is_refused(signer: JoseAssertionSigner) -> None:
    """Garbage in ``certificate`` is an error of that field."""
    garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert (await why_not(signer, private_key=key_pair().pkcs8, certificate=garbage)).field == "certificate"


async def test_concurrent_first_uses_parse_once(signer: JoseAssertionSigner, parses: list[str]) -> None:
    """Fifty concurrent signatures with a cold key cost one parse, and later ones none."""
    credential = grants.jwt_credential(private_key=key_pair().pkcs8)
    await asyncio.gather(*(signer.sign(credential, CLAIMS) for _ in range(50)))
    await signer.sign(credential, CLAIMS)
    assert parses == ["1"]


async def test_a_cancelled_first_use_does_not_harm_the_others(signer: JoseAssertionSigner, parses: list[str]) -> None:
    """No caller owns the parse: one that is cancelled does not cancel it for the others."""
    credential = grants.jwt_credential(private_key=key_pair().pkcs8)
    tasks = [asyncio.create_task(signer.sign(credential, CLAIMS)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:5]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, str) for result in results] == [False] * 5 + [True] * 5
    assert parses == ["1"]


async def test_a_new_generation_replaces_the_old_key(signer: JoseAssertionSigner, parses: list[str]) -> None:
    """Each generation is parsed once, and only the latest one of a credential is kept."""
    for generation in ("1", "1", "2", "2"):
        await signer.sign(grants.jwt_credential(private_key=key_pair().pkcs8, generation=generation), CLAIMS)
    assert parses == ["1", "2"]
    assert len(signer._keys) == 1


async def test_a_failure_is_not_remembered(signer: JoseAssertionSigner, parses: list[str]) -> None:
    """A bad key is parsed again each time: remembering failures is up to the caller."""
    await why_not(signer, private_key=ec_pem())
    await why_not(signer, private_key=ec_pem())
    assert parses == ["1", "1"]


async def test_the_number_of_kept_keys_is_bounded(parses: list[str]) -> None:
    """The least recently used key is dropped first."""
    signer = JoseAssertionSigner(max_keys=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        ref = CredentialRef(grants.ORG, CredentialName(name))
        await signer.sign(grants.jwt_credential(private_key=key_pair().pkcs8, ref=ref, generation=name), CLAIMS)
    assert parses == ["a", "b", "c", "b"]
    signer.close()


async def test_the_number_of_waiting_keys_is_bounded() -> None:
    """A flood of cold tenants is refused, not queued without bound."""
    signer = JoseAssertionSigner(max_waiting=3)
    refs = [CredentialRef(grants.ORG, CredentialName(f"n{number}")) for number in range(5)]
    jobs = [signer.sign(grants.jwt_credential(private_key=key_pair().pkcs8, ref=ref), CLAIMS) for ref in refs]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(isinstance(result, OverloadedError) for result in results) == 2
    signer.close()


async def test_a_key_that_takes_too_long_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No caller waits for a key beyond the deadline."""
    given_up = threading.Event()
    monkeypatch.setattr(signer_module, "_signing_key", lambda _credential: given_up.wait(10.0))
    signer = JoseAssertionSigner(deadline=0.05)
    with pytest.raises(OverloadedError):
        await signer.sign(grants.jwt_credential(), CLAIMS)
    given_up.set()
    signer.close()


async def test_fifty_cold_keys_take_less_than_a_second(signer: JoseAssertionSigner) -> None:
    """Parsing skips the primality test, which would block the event loop for 50 times 40 ms here."""
    refs = [CredentialRef(grants.ORG, CredentialName(f"n{number}")) for number in range(50)]
    credentials = [grants.jwt_credential(private_key=key_pair().pkcs8, ref=ref) for ref in refs]
    begin = time.process_time()
    await asyncio.gather(*(signer.sign(credential, CLAIMS) for credential in credentials))
    assert time.process_time() - begin < 1.0


def test_the_expiry_of_a_certificate_is_read() -> None:
    """The notAfter of the first certificate is returned as Unix time."""
    pair = key_pair()
    assert certificate_not_after(pair.certificate) == pair.not_after
    later = self_signed(pair.key)
    assert certificate_not_after(pair.certificate + later) == pair.not_after


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\ud800\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_certificate_that_cannot_be_read_names_its_field(pem: str) -> None:
    """Garbage in ``certificate`` is a misconfigured credential."""
    with pytest.raises(CredentialMisconfiguredError) as caught:
        certificate_not_after(pem)
    assert caught.value.field == "certificate"
