"""What a pod does to a broker: Secrets and ConfigMaps swapped under it, probes, and an end within a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import socket
import ssl
import time
from functools import partial
from pathlib import Path

import pytest

from app.main import END_SECONDS, GRACE_SECONDS, HANDSHAKE_SECONDS, PRE_STOP_SECONDS
from app.shared_cache.key_ring import new_key_ring
from tests.support.fleet import CALLER, Fleet
from tests.support.mounted import MountedFolder
from tests.support.processes import Finished, run_cli
from tests.support.replica import BrokerProcess
from tests.support.tls import Authority, IssuedCertificate
from tests.support.waiting import until_answered
from tests.support.wire import request_bytes


def tls_files(pair: IssuedCertificate) -> dict[str, bytes]:
    """A TLS Secret's content, as cert-manager writes it."""
    return {"tls.crt": pair.chain, "tls.key": pair.key}


def https_replica(fleet: Fleet, secret: MountedFolder) -> BrokerProcess:
    """A replica that serves HTTPS with the pair in `secret`."""
    settings = {"TLS_CERT_FILE": str(secret / "tls.crt"), "TLS_KEY_FILE": str(secret / "tls.key")}
    [replica] = fleet.start(1, **settings)
    return replica


async def shown(
    replica: BrokerProcess, client: ssl.SSLContext
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """A new connection, verified, with the certificate that it was shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port, ssl=client)
    return writer.get_extra_info("ssl_object").getpeercert(binary_form=True), reader, writer


async def answered(
    target: str, replica: BrokerProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    """The head and the beginning of the body of the answer to a GET."""
    writer.write(request_bytes("GET", target, [replica.bearer()]))
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.read(65536)


async def metrics(replica: BrokerProcess, client: ssl.SSLContext) -> str:
    """What is to be scraped now."""
    _, reader, writer = await shown(replica, client)
    writer.write(request_bytes("GET", "/metrics", [(b"Connection", b"close")]))
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_https_with_a_certificate_that_is_renewed(own_fleet: Fleet, tmp_path: Path) -> None:
    """HTTPS works as HTTP does; a renewal is in force within seconds, a bad one is refused, and no connection drops."""
    authority = Authority()
    first, second = authority.issue(), authority.issue(kind="rsa")
    secret = MountedFolder(tmp_path / "tls", tls_files(first))
    replica, client, tenant = https_replica(own_fleet, secret), authority.client(), own_fleet.tenant()
    der, reader, writer = await shown(replica, client)
    assert der == first.der
    assert b"200 OK" in await answered(f"/token?org={tenant.org}", replica, reader, writer)
    described = await answered("/.well-known/oauth-authorization-server", replica, reader, writer)
    assert json.loads(described.partition(b"\r\n\r\n")[2])["issuer"].startswith("https://")

    async def is_second() -> bool:
        der, _, writer = await shown(replica, client)
        writer.close()
        return der == second.der

    began = time.monotonic()
    secret.swap(tls_files(second))
    await until_answered(is_second, 10)
    assert time.monotonic() - began < 8
    secret.swap({"tls.crt": first.chain, "tls.key": second.key})

    async def is_refused() -> bool:
        return "\nims_token_broker_tls_refusals_total 1.0\n" in await metrics(replica, client)

    await until_answered(is_refused, 10)
    assert await is_second()
    [value] = re.findall(r"^ims_token_broker_tls_not_after\S+ (\S+)$", await metrics(replica, client), re.MULTILINE)
    assert float(value) == second.not_after
    assert b"200 OK" in await answered(f"/token?org={tenant.org}", replica, reader, writer)
    replica.process.terminate()
    assert replica.process.ended(END_SECONDS) == 0
    writer.close()
    log = replica.process.stderr.read_text()
    assert log.count("renewed certificate refused") == 1
    assert "Traceback" not in log


async def test_slow_handshakes_are_cut_off(own_fleet: Fleet, tmp_path: Path) -> None:
    """Connections that begin no handshake are closed in time, and hold up neither others nor the end."""
    authority = Authority()
    replica = https_replica(own_fleet, MountedFolder(tmp_path / "tls", tls_files(authority.issue())))
    began = time.monotonic()
    silent = [await asyncio.open_connection("127.0.0.1", replica.port) for _ in range(200)]
    assert "build_info" in await metrics(replica, authority.client())
    assert time.monotonic() - began < HANDSHAKE_SECONDS - 2
    async with asyncio.timeout(HANDSHAKE_SECONDS + 5):
        assert [await reader.read() for reader, _ in silent] == [b""] * 200
    late = await asyncio.open_connection("127.0.0.1", replica.port)
    replica.process.terminate()
    assert replica.process.ended(10) == 0
    for _, writer in (*silent, late):
        writer.close()


def hello(server_name: str) -> bytes:
    """The first bytes of a TLS client that wants `server_name`."""
    sent = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


async def test_a_server_name_that_is_not_text_is_at_most_a_line_for_debugging(own_fleet: Fleet, tmp_path: Path) -> None:
    """A client cannot write into the log by the server name that it asks for, and does not affect others."""
    authority = Authority()
    replica = https_replica(own_fleet, MountedFolder(tmp_path / "tls", tls_files(authority.issue())))
    for name in (b"\xff" * 16, b"\xc3\xa4" * 8, b"broker\x00.test\n\n\n\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
        writer.write(hello("q" * 16).replace(b"q" * 16, name))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    assert "build_info" in await metrics(replica, authority.client())
    replica.process.terminate()
    assert replica.process.ended(END_SECONDS) == 0
    lines = replica.process.stderr.read_text().splitlines()
    lines = [line for line in lines if not line.startswith("listening on https://")]
    told = [record for record in map(json.loads, lines) if record["logger"] == "app.uncaught"]
    assert {record["level"] for record in told} <= {"debug"}, told


async def health(replica: BrokerProcess, *arguments: str, **settings: str) -> Finished:
    """``health`` as the container's own environment has it."""
    variables = {"BROKER_HOST": "0.0.0.0", "BROKER_PORT": str(replica.port)}
    more = {f"BROKER_{name}": value for name, value in settings.items()}
    return await run_cli("health", *arguments, env={**variables, **more})


async def test_health(own_fleet: Fleet, tmp_path: Path) -> None:
    """`health` finds the broker by its own variables, with and without TLS, is quick, and says no with exit code 1."""
    authority = Authority()
    secret = MountedFolder(tmp_path / "tls", tls_files(authority.issue("192.0.2.1")))
    [plain], tls = own_fleet.start(1), https_replica(own_fleet, secret)
    cert = str(secret / "tls.crt")
    began = time.monotonic()
    for finished in (
        await health(plain),
        await health(plain, "--ready"),
        await health(tls, TLS_CERT_FILE=cert),
        await health(tls, "--ready", TLS_CERT_FILE=cert),
        await health(plain, "--url", tls.url),
    ):
        assert (finished.code, finished.stderr) == (0, "")
        assert finished.stdout.rstrip().endswith(" answers 200")
    assert time.monotonic() - began < 10
    assert (await health(tls)).code == 1
    assert (await health(plain, TLS_CERT_FILE=cert)).code == 1
    plain.process.freeze()
    frozen = await health(plain, "--timeout", "0.3")
    assert (frozen.code, "does not answer within 0.3 s" in frozen.stderr) == (1, True)
    plain.process.kill()
    dead = await health(plain)
    assert (dead.code, dead.stdout, len(dead.stderr.splitlines())) == (1, "", 1)


async def has_status(replica: BrokerProcess, org: str, status: int) -> bool:
    """Whether a request for a token is answered so."""
    return (await replica.token(org)).status == status


async def test_a_policy_in_a_config_map(own_fleet: Fleet, tmp_path: Path) -> None:
    """A ConfigMap that is swapped is in force within 5 s; key ring and CA are read through such links at the start."""
    document = own_fleet.policy.path.read_text()
    policy = MountedFolder(tmp_path / "policy", {"policy.yaml": document})
    keys = MountedFolder(
        tmp_path / "keys", {"cache-keys.json": new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z")}
    )
    ca = MountedFolder(tmp_path / "ca", {"ca.crt": Authority().pem})
    [replica] = own_fleet.start(
        1,
        POLICY_FILE=str(policy / "policy.yaml"),
        CACHE_KEYS_FILE=str(keys / "cache-keys.json"),
        IMS_CACERT=str(ca / "ca.crt"),
    )
    tenant = own_fleet.tenant()
    assert (await replica.token(tenant.org)).status == 200
    denying = json.loads(document)
    [caller] = [caller for caller in denying["callers"] if caller["name"] == CALLER]
    caller["allow"][0]["actions"] = ["status"]

    for content, status in ((json.dumps(denying), 403), (document, 200)):
        policy.swap({"policy.yaml": content})
        began = time.monotonic()
        await until_answered(partial(has_status, replica, tenant.org, status), 8)
        assert time.monotonic() - began < 5
    keys.swap({"cache-keys.json": "no longer a key ring"})
    assert (await replica.token(tenant.org)).status == 200


async def is_closed(replica: BrokerProcess) -> bool:
    """Whether it takes no more connections."""
    try:
        socket.create_connection(("127.0.0.1", replica.port), 1).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("answers", [True, False], ids=["late", "never"])
async def test_the_end_stays_within_the_grace_period(own_fleet: Fleet, answers: bool) -> None:
    """While IMS hangs, SIGTERM lets the request in flight be answered, and the process ends well before SIGKILL."""
    [replica], tenant = own_fleet.start(1), own_fleet.tenant()
    hanging = own_fleet.sandbox.fault("latency" if answers else "hang", seconds=3.0, client_id=tenant.client_id)
    request = asyncio.create_task(replica.token(tenant.org))

    async def is_struck() -> bool:
        return own_fleet.sandbox.hits(hanging) > 0

    await until_answered(is_struck, 10)
    began = time.monotonic()
    replica.process.terminate()
    await until_answered(lambda: is_closed(replica), 5)
    reply = await request
    assert reply.status == (200 if answers else 503)
    code = await asyncio.to_thread(replica.process.ended, END_SECONDS)
    assert code == 0
    assert time.monotonic() - began < END_SECONDS
    assert GRACE_SECONDS == PRE_STOP_SECONDS + END_SECONDS
