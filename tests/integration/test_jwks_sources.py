"""Sources of issuers' keys: URLs that answer badly, redirect or need a token, and files; over real sockets."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.domain.identity import Issuer
from tests.support.hanging_volume import in_this_process
from tests.support.issuer import AUDIENCE, JwksAnswer, LocalIssuer, local_issuer, loopback_server
from tests.support.jwks_harness import NEW, NOW, OLD, JwksHarness, trusted
from tests.support.tls import Authority, server_tls

JWKS = json.dumps({"keys": [NEW.jwk]}).encode()
GZIPS = ("gzip bomb", "cut gzip", "gzip and more", "twice gzip", "not gzip", "brotli")


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    """An issuer with one key."""
    with local_issuer(OLD) as made:
        yield made


@pytest.fixture
async def harness() -> AsyncIterator[JwksHarness]:
    """A verifier that trusts no issuer yet."""
    made = JwksHarness()
    yield made
    await made.verifier.aclose()


@pytest.fixture
async def warm(harness: JwksHarness, issuer: LocalIssuer) -> JwksHarness:
    """A verifier that has the issuer's keys."""
    harness.verifier.trust((trusted(issuer),))
    await harness.fetches.reach(1)
    return harness


@pytest.mark.parametrize(
    "answer",
    [
        JwksAnswer(body=b"<html><body>Sign in</body></html>", headers={"Content-Type": "text/html"}),
        JwksAnswer(body=b""),
        JwksAnswer(body=json.dumps({"keys": [NEW.jwk]}).encode() + b" " * 600_000),
        JwksAnswer(body=gzip.compress(b" " * 60_000_000), headers={"Content-Encoding": "gzip"}),
        JwksAnswer(body=gzip.compress(JWKS)[:-12], headers={"Content-Encoding": "gzip"}),
        JwksAnswer(body=gzip.compress(JWKS) + b"x", headers={"Content-Encoding": "gzip"}),
        JwksAnswer(body=gzip.compress(gzip.compress(JWKS)), headers={"Content-Encoding": "gzip, gzip"}),
        JwksAnswer(body=JWKS, headers={"Content-Encoding": "gzip"}),
        JwksAnswer(body=JWKS, headers={"Content-Encoding": "br"}),
        JwksAnswer(status=204, body=b""),
        JwksAnswer(status=401),
        JwksAnswer(status=404),
        JwksAnswer(status=500),
        JwksAnswer(hangs=True),
    ],
    ids=["html", "empty", "large", *GZIPS, "204", "401", "404", "500", "hangs"],
)
async def test_a_bad_answer_keeps_the_old_set(warm: JwksHarness, issuer: LocalIssuer, answer: JwksAnswer) -> None:
    """If the endpoint answers with anything except a key set, the last good one stays until the next success."""
    issuer.answer = answer
    issuer.keys = [NEW, OLD]
    await warm.next_fetch(after=300.0)
    await warm.accepts(issuer.token(NOW, key=OLD))
    issuer.release()
    issuer.answer = JwksAnswer()
    await warm.next_fetch(after=30.0)
    await warm.accepts(issuer.token(NOW))
    assert warm.fetches.outcomes == ["ok", "identity_unavailable", "ok"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", ""])
async def test_a_set_with_gzip_or_a_byte_order_mark_is_read(
    harness: JwksHarness, issuer: LocalIssuer, encoding: str
) -> None:
    """Unrequested compression by a CDN and a byte order mark from a file server are accepted."""
    plain = codecs.BOM_UTF8 + issuer.body()
    body = gzip.compress(plain) if encoding else plain
    issuer.answer = JwksAnswer(body=body, headers={"Content-Encoding": encoding} if encoding else {})
    harness.verifier.trust((trusted(issuer),))
    await harness.fetches.reach(1)
    await harness.accepts(issuer.token(NOW))


async def test_redirects_are_not_followed(warm: JwksHarness, issuer: LocalIssuer) -> None:
    """An endpoint that redirects counts as failed, and the target gets no request."""
    with loopback_server() as trap:
        issuer.answer = JwksAnswer(status=302, headers={"Location": trap.url})
        await warm.next_fetch(after=300.0)
        assert trap.count == 0
    assert warm.fetches.outcomes == ["ok", "identity_unavailable"]


async def test_proxies_of_the_environment_are_not_used(
    harness: JwksHarness, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys are fetched from the pinned URL directly, whatever HTTP_PROXY says."""
    with loopback_server() as trap:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
        harness.verifier.trust((trusted(issuer),))
        await harness.accepts(issuer.token(NOW))
        assert trap.count == 0


async def test_the_bearer_token_is_read_for_each_fetch(
    harness: JwksHarness, issuer: LocalIssuer, tmp_path: Path
) -> None:
    """Kubernetes rotates the token file; the next fetch sends the new one. Without a usable token no fetch is made."""
    file = tmp_path / "token"
    file.write_text("first\n")
    harness.verifier.trust((trusted(issuer, jwks_token_file=str(file)),))
    await harness.fetches.reach(1)
    file.write_text("second")
    await harness.next_fetch(after=300.0)
    for bad in ("", "two words", "a\nb", "caf\u00e9"):
        file.write_text(bad)
        await harness.next_fetch(after=300.0)
    assert [request["authorization"] for request in issuer.requests] == ["Bearer first", "Bearer second"]


async def test_a_file_is_read_again_every_five_seconds(
    harness: JwksHarness, issuer: LocalIssuer, tmp_path: Path
) -> None:
    """A key set in a file follows the file; if the file is bad or missing, the last good set stays."""
    file = tmp_path / "jwks.json"
    file.write_bytes(issuer.body())
    harness.verifier.trust((trusted(issuer, jwks_url=None, jwks_file=str(file)),))
    await harness.accepts(issuer.token(NOW))
    issuer.keys = [NEW]
    file.write_bytes(issuer.body())
    await harness.next_fetch(after=5.0)
    await harness.accepts(issuer.token(NOW))
    for content in (b"", b'{"keys": {}}', json.dumps({"keys": [OLD.jwk]}).encode() + b" " * 600_000):
        file.write_bytes(content)
        await harness.next_fetch(after=5.0)
        await harness.accepts(issuer.token(NOW))
    file.unlink()
    await harness.next_fetch(after=5.0)
    await harness.accepts(issuer.token(NOW))
    assert issuer.count == 0


async def test_https_is_verified_with_the_ca_file(harness: JwksHarness, tmp_path: Path) -> None:
    """The issuer's certificate must be signed by the CA in the file, which is read again for each fetch."""
    tls = server_tls(tmp_path)
    ca_file = tmp_path / "ca-file.pem"
    ca_file.write_bytes(Authority().pem)
    with local_issuer(OLD, tls=tls) as issuer:
        harness.verifier.trust((trusted(issuer, jwks_ca_file=str(ca_file)),))
        await harness.cannot_tell(issuer.token(NOW))
        ca_file.write_text("no certificate")
        await harness.next_fetch(after=30.0)
        ca_file.unlink()
        await harness.next_fetch(after=30.0)
        assert issuer.count == 0
        ca_file.write_bytes((tmp_path / "ca.pem").read_bytes())
        await harness.next_fetch(after=30.0)
        await harness.accepts(issuer.token(NOW))


async def test_https_is_verified_with_the_systems_cas(harness: JwksHarness, tmp_path: Path) -> None:
    """Without a CA file an issuer with a self-signed certificate is not trusted."""
    with local_issuer(OLD, tls=server_tls(tmp_path)) as issuer:
        harness.verifier.trust((trusted(issuer),))
        await harness.cannot_tell(issuer.token(NOW))
        assert issuer.count == 0


async def test_files_that_hang_block_no_other_issuer(harness: JwksHarness, issuer: LocalIssuer, tmp_path: Path) -> None:
    """While reads of other issuers' CA files hang, an issuer's keys are available."""
    volume = tmp_path / "volume"
    stuck = [
        Issuer(
            f"https://stuck-{number}.example",
            (AUDIENCE,),
            jwks_url="https://127.0.0.1:1/",
            jwks_ca_file=str(volume / f"ca-{number}"),
        )
        for number in range(4)
    ]
    with in_this_process(volume) as waiting:
        harness.verifier.trust((*stuck, trusted(issuer)))
        for _ in stuck:
            assert await asyncio.to_thread(waiting.acquire, timeout=10)
        await harness.accepts(issuer.token(NOW))
