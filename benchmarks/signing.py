"""What a signature costs the broker: with a private key in the document, with Vault transit, and with AWS KMS.

    python -m benchmarks.signing [--signatures 300] [--rounds 5] [--at-once 8]

Vault is a real one in development mode, KMS is the stand-in of the tests; both are other processes on the same cores,
over plain HTTP. So the rates by the clock say nothing about a real Vault or KMS. What this process spends on a
signature, as time of a core, is the broker's own cost, and its ratio to the local key is the claim.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from app.adapters.aws_kms import KmsConfig, KmsSigner
from app.adapters.jose_signer import JoseAssertionSigner
from app.adapters.vault import VaultConfig, VaultSession, VaultTransitSigner
from app.domain.assertion import assertion_claims
from app.domain.credential import JwtCredential
from app.domain.credential_document import parse_credential
from app.ports import AssertionSigner
from tests.support.documents import ALLOWED, jwt_document, ref_of, without
from tests.support.keys import key_pair
from tests.support.kms_server import KMS_REGION, KmsServer, aws_variables
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import running_vault

REF = ref_of(0xBE)


@dataclass(frozen=True)
class SigningCost:
    """Seconds of a core in this process, and seconds by the clock, per signature."""

    core: float
    clock: float


def _credential(**key: str) -> JwtCredential:
    parsed = parse_credential({**without(jwt_document(REF), "private_key"), **key}, REF, "1", ALLOWED)
    assert isinstance(parsed, JwtCredential)
    return parsed


def _serve_kms(ready: Connection, done: threading.Event) -> None:
    with KmsServer().running() as server:
        ready.send((server.url, server.create_key()))
        done.wait()


@contextmanager
def _kms() -> Iterator[tuple[str, str]]:
    """The stand-in in a process of its own: its URL, and the id of a key."""
    context = multiprocessing.get_context("spawn")
    ready, remote = context.Pipe()
    done = context.Event()
    process = context.Process(target=_serve_kms, args=(remote, done))
    process.start()
    try:
        yield ready.recv()
    finally:
        done.set()
        process.join(10)


@asynccontextmanager
async def _signers(folder: Path) -> AsyncIterator[dict[str, tuple[AssertionSigner, JwtCredential]]]:
    """Each signer, with a credential whose key has 2,048 bits."""
    os.environ.update(aws_variables(folder))
    async with AsyncExitStack() as stack:
        vault = stack.enter_context(running_vault(folder))
        vault.transit_key("bench")
        session = VaultSession(VaultConfig(addr=vault.addr, token=vault.root_token), RecordedEvents())
        stack.push_async_callback(session.aclose)
        url, key_id = stack.enter_context(_kms())
        kms = KmsSigner(KmsConfig(KMS_REGION, url), RecordedEvents())
        stack.callback(kms.close)
        local = JoseAssertionSigner()
        stack.callback(local.close)
        yield {
            "private key": (local, _credential(private_key=key_pair().pkcs8)),
            "Vault transit": (VaultTransitSigner(session, "transit"), _credential(transit_key="bench")),
            "AWS KMS": (kms, _credential(kms_key=key_id)),
        }


async def _cost(signer: AssertionSigner, credential: JwtCredential, signatures: int, at_once: int) -> SigningCost:
    claims = assertion_claims(credential, credential.scopes, time.time())
    left = iter(range(signatures))

    async def sign_on() -> None:
        for _ in left:
            await signer.sign(credential, claims)

    core, clock = time.process_time(), time.monotonic()
    await asyncio.gather(*(sign_on() for _ in range(at_once)))
    return SigningCost((time.process_time() - core) / signatures, (time.monotonic() - clock) / signatures)


async def measure(signatures: int, rounds: int, at_once: int) -> None:
    """Let the signers take turns, and print the medians."""
    costs: dict[str, list[SigningCost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with _signers(Path(folder)) as signers:
            for signer, credential in signers.values():
                await signer.sign(credential, {})  # parses the key, logs in, makes a client
            for _ in range(rounds):
                for name, (signer, credential) in signers.items():
                    costs.setdefault(name, []).append(await _cost(signer, credential, signatures, at_once))
    local = statistics.median(cost.core for cost in costs["private key"])
    print(f"{rounds} rounds of {signatures} signatures, {at_once} at once, RSA 2048")
    print("signer            per core and second   of the private key   by the clock, per second")
    for name, found in costs.items():
        core, clock = (statistics.median(getattr(cost, part) for cost in found) for part in ("core", "clock"))
        print(f"{name:16} {1 / core:20.0f} {local / core:20.2f} {1 / clock:25.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signing", description=__doc__.partition("\n")[0])
    parser.add_argument("--signatures", type=int, default=300, help="in each round; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="of each signer; default: %(default)s")
    parser.add_argument("--at-once", type=int, default=8, help="concurrent signatures; default: %(default)s")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.signatures, arguments.rounds, arguments.at_once))


if __name__ == "__main__":
    main()
