"""Signing with a key of AWS KMS, by the real SDK, at a stand-in that verifies each request and signs with RSA."""

from __future__ import annotations

import asyncio
import base64
import json
import logging

import jwt
import pytest

from app.domain.assertion import assertion_claims
from app.domain.dependency_errors import CredentialStoreError
from app.domain.events import DependencyCalled
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.egress import EgressProxy
from tests.support.fenced import fenced
from tests.support.http_stand_in import ScriptedReply
from tests.support.kms_server import KMS_REGION, SECRET_KEY, KmsServer
from tests.support.kms_signing import (
    ABSENT_KEY,
    aws_environment,
    kms,
    kms_credential,
    kms_failure,
    kms_signing,
    signed_by,
)
from tests.support.recorded_events import RecordedEvents
from tests.support.waiting import until, until_answered

__all__ = ["aws_environment", "kms"]  # fixtures


async def test_signature(kms: KmsServer) -> None:
    """The assertion verifies with the public key, and carries the claims unchanged."""
    key_id = kms.create_key()
    account = kms_credential(key_id)
    claims = assertion_claims(account, account.scopes, now=4_000_000_000.0)
    async with kms_signing(kms.url) as signer:
        token = await signer.sign(account, claims)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}
    assert signed_by(kms, key_id, token) == claims


async def test_alias_and_arn(kms: KmsServer) -> None:
    """A key may be named by its alias, its ARN and the ARN of its alias."""
    key_id = kms.create_key(alias="alias/ims/tenant-1")
    arn = kms.arn(key_id)
    names = ["alias/ims/tenant-1", arn, arn.replace(f"key/{key_id}", "alias/ims/tenant-1")]
    async with kms_signing(kms.url) as signer:
        for name in names:
            assert signed_by(kms, key_id, await signer.sign(kms_credential(name), {"sub": "x"})) == {"sub": "x"}


async def test_one_event_per_signature(kms: KmsServer) -> None:
    """Each signature is one observed call of the dependency `kms`, also when it fails."""
    sink, key_id = RecordedEvents(), kms.create_key()
    async with kms_signing(kms.url, sink) as signer:
        await signer.sign(kms_credential(key_id), {})
        kms.refusal = "ThrottlingException"
        await kms_failure(signer, key_id)
        await kms_failure(signer, kms.create_key(kind="ec"))
        kms.refusal = None
        await kms_failure(signer, kms.create_key(kind="ec"))
    events = sink.of(DependencyCalled)
    assert [(event.dependency, event.operation, event.outcome) for event in events] == [
        ("kms", "sign", outcome)
        for outcome in ("ok", "vault_unavailable", "vault_unavailable", "credential_misconfigured")
    ]
    assert [event.works for event in events] == [True, False, False, True]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("DisabledException", "names a key that is disabled; enable it"),
        ("NotFoundException", "names no key of that account and region"),
        ("AccessDeniedException", "allow kms:Sign on it"),
        ("KMSInvalidStateException", "cancel its deletion"),
        ("InvalidKeyUsageException", "key spec RSA_2048 and key usage SIGN_VERIFY"),
    ],
)
async def test_a_key_that_does_not_sign(kms: KmsServer, code: str, sentence: str) -> None:
    """Such a key is a defect of the document: the error names the field and the remedy, and nothing that AWS said."""
    kms.refusal = code
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert isinstance(error, CredentialMisconfiguredError)
    assert error.field == "kms_key"
    assert sentence in error.detail
    assert "canary" not in error.detail
    assert len(kms.seen) == 1


async def test_missing_and_other_keys(kms: KmsServer) -> None:
    """A key that does not exist, and one that is not RSA, are defects of the document."""
    async with kms_signing(kms.url) as signer:
        missing, other = await kms_failure(signer, ABSENT_KEY), await kms_failure(signer, kms.create_key(kind="ec"))
    assert "names no key" in missing.detail
    assert "cannot sign with RSA" in other.detail


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("ThrottlingException", "AWS KMS limits the rate of requests"),
        ("KMSInternalException", "AWS KMS fails with an internal error."),
        ("KeyUnavailableException", "AWS KMS cannot use the key at the moment."),
        ("ExpiredTokenException", "does not accept the broker's AWS credentials"),
        ("InvalidSignatureException", "secret access key, and the clock"),
        ("SomethingNewException", "does not answer like AWS KMS"),
    ],
)
async def test_an_outage_is_tried_once(kms: KmsServer, code: str, sentence: str) -> None:
    """An answer that is not about the key is an outage that a retry may end; the SDK itself does not try again."""
    kms.refusal = code
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert isinstance(error, CredentialStoreError)
    assert (error.retryable, len(kms.seen)) == (True, 1)
    assert sentence in error.detail


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(200, b"<html>"),
        ScriptedReply(200, []),
        ScriptedReply(200, {}),
        ScriptedReply(200, {"Signature": "not base64"}),
        ScriptedReply(200, {"Signature": "YWJj"}),
        ScriptedReply(200, {"Signature": 7}),
        ScriptedReply(200, {"Signature": base64.b64encode(bytes(256)).decode(), "More": "x" * 100_000}),
        ScriptedReply(302, b"", {"Location": "http://127.0.0.1:1/"}),
        ScriptedReply(403, b"<html>"),
        ScriptedReply(404, []),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:20]}",
)
async def test_garbage(kms: KmsServer, reply: ScriptedReply) -> None:
    """An answer that is not one of KMS is never a signature, and the error says what to check."""
    kms.reply = reply
    async with kms_signing(kms.url) as signer:
        error = await kms_failure(signer, kms.create_key())
    assert isinstance(error, CredentialStoreError)
    assert "does not answer like AWS KMS; check BROKER_KMS_ENDPOINT_URL" in error.detail
    assert len(kms.seen) == 1


async def test_a_server_that_hangs(kms: KmsServer) -> None:
    """If KMS does not answer, a signature fails at its deadline; once KMS answers again, signatures succeed."""
    key_id = kms.create_key()
    kms.answering.clear()
    async with kms_signing(kms.url, deadline=0.3) as signer:
        error = await kms_failure(signer, key_id)
        kms.answering.set()
    assert error.detail == "AWS KMS does not answer in time."
    async with kms_signing(kms.url) as signer:
        assert signed_by(kms, key_id, await signer.sign(kms_credential(key_id), {"sub": "x"}))


async def test_a_thread_is_free_again(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that no one waits for any more gives its thread back after the time for one read, while KMS hangs."""
    monkeypatch.setattr("app.adapters.aws_kms.aws_transport.READ_SECONDS", 0.5)
    key_id = kms.create_key()
    kms.answering.clear()

    async def is_taken() -> bool:
        return "already waiting" not in (await kms_failure(signer, key_id)).detail

    async with kms_signing(kms.url, deadline=0.1, threads=1, waiting=0) as signer:
        assert await is_taken()
        assert not await is_taken()
        await until_answered(is_taken, 20)


async def test_threads_are_bounded(kms: KmsServer) -> None:
    """At most so many calls run and wait as there are places; one more fails at once, with its own sentence."""
    key_id = kms.create_key()
    kms.answering.clear()
    async with kms_signing(kms.url, threads=2, waiting=3) as signer:
        calls = [asyncio.create_task(signer.sign(kms_credential(key_id), {"sub": str(number)})) for number in range(5)]
        await until(lambda: len(kms.seen) == 2)
        error = await kms_failure(signer, key_id)
        kms.answering.set()
        assert len(await asyncio.gather(*calls)) == 5
    assert error.detail == "Too many calls to AWS KMS are already waiting."
    assert kms.most_at_once == 2


async def test_closed(kms: KmsServer) -> None:
    """After its end the signer says so."""
    async with kms_signing(kms.url) as signer:
        pass
    assert (await kms_failure(signer, kms.create_key())).detail == "The connection to AWS KMS is closed."


async def test_regions(kms: KmsServer) -> None:
    """With an endpoint, a key of another region is refused; and an ARN never leads to a host that is not of AWS."""
    async with kms_signing(kms.url) as signer:
        elsewhere = await kms_failure(signer, kms.arn(ABSENT_KEY, "eu-west-1"))
    async with kms_signing(None) as signer:
        unknown = await kms_failure(signer, kms.arn(ABSENT_KEY, "ab-evil-1").replace("arn:aws:", "arn:aws-cn:"))
        other = await kms_failure(signer, kms.arn(ABSENT_KEY, "eu-west-1").replace("arn:aws:", "arn:aws-cn:"))
        misspelt = await kms_failure(signer, kms.arn(ABSENT_KEY, "eu-cetral-1"))
    assert "must be a key of the region BROKER_KMS_REGION" in elsewhere.detail
    assert "region AWS does not have in that partition" in unknown.detail
    assert "region AWS does not have in that partition" in other.detail
    assert "region AWS does not have in that partition" in misspelt.detail
    assert kms.seen == []


async def test_a_failure_in_another_region_is_not_one_of_kms(kms: KmsServer) -> None:
    """A failure counts against the dependency only in the broker's own region; documents name the others."""
    sink = RecordedEvents()
    async with kms_signing(None, sink, EgressProxy("http://127.0.0.1:1")) as signer:
        for region in ("eu-west-1", KMS_REGION):
            assert isinstance(await kms_failure(signer, kms.arn(ABSENT_KEY, region)), CredentialStoreError)
    events = sink.of(DependencyCalled)
    assert [(event.outcome, event.works) for event in events] == [
        ("vault_unavailable", None),
        ("vault_unavailable", False),
    ]


async def test_the_documented_rights_are_enough(kms: KmsServer) -> None:
    """The broker asks KMS for one operation and one algorithm, and the documented policy allows just these."""
    [statement] = json.loads(fenced("least-privilege.md", "kms-policy"))["Statement"]
    async with kms_signing(kms.url) as signer:
        await signer.sign(kms_credential(kms.create_key()), {})
        await kms_failure(signer, ABSENT_KEY)
    asked = {(request.headers["x-amz-target"], json.loads(request.body)["SigningAlgorithm"]) for request in kms.seen}
    allowed = statement["Condition"]["StringEquals"]["kms:SigningAlgorithm"]
    assert (statement["Action"], asked) == ("kms:Sign", {("TrentService.Sign", allowed)})


async def test_no_secret_is_logged(kms: KmsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG the SDK logs nothing, in success and in failure."""
    with caplog.at_level(logging.DEBUG):
        async with kms_signing(kms.url) as signer:
            await signer.sign(kms_credential(kms.create_key()), {})
            await kms_failure(signer, ABSENT_KEY)
            assert SECRET_KEY not in repr(signer)
    assert [record for record in caplog.records if record.name.startswith("botocore")] == []
    assert SECRET_KEY not in caplog.text
