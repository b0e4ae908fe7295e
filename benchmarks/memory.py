"""What warm orgs, and spellings of a query, cost a replica, and whether 100,000 warm orgs are served as fast as one.

Redis has a sealed token of 1,200 bytes for each org, and one caller asks for each org. Resident memory is compared with
that of the same process before.
"""

from __future__ import annotations

import http.client
import os
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef, TokenKey, parse_org, scopes_of
from app.shared_cache.key_names import KeyNames
from app.shared_cache.key_ring import KeyRing, load_key_ring
from app.shared_cache.sealing import seal
from benchmarks.load import Asked, Effort, take_turns
from benchmarks.report import Row, at_least, at_most
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import Served

TOKEN_BYTES = 1200
LIFETIME = 86_400.0
FEW, ALL = 10_000, 100_000
SPELLINGS = 20_000

_CHUNK = 250
_CONNECTIONS = 8
_TRIES = 10

EMPTY = "empty process"
COLD = (
    "Each of 100,000 orgs has its own objects, which are not in the cache of the processor, and its answer and audit"
    " line are rendered for each request; those of one org are rendered once a second (benchmarks/README.md)."
)


def measure(effort: Effort) -> list[Row]:
    """The rows of memory, and those of the load on all orgs."""
    with scene() as stage:
        _store_tokens(stage.start_redis(), load_key_ring(stage.folder / "keys.json"))
        spelled = stage.start_broker()
        spellings = _grown(stage, spelled, _spelling, range(SPELLINGS))
        broker = stage.start_broker()
        few = _grown(stage, broker, _query, range(FEW))
        every = few + _grown(stage, broker, _query, range(FEW, ALL))
        before = _resident(broker)
        turns = take_turns({"all": _asked(stage, broker, ALL), "one": _asked(stage, broker, 1)}, effort)
        every += max(0, _resident(broker) - before)
    load = f"GET /token, {ALL:,} warm orgs"
    return [
        Row(f"{FEW:,} warm orgs", EMPTY, at_most(50, "MB"), few / 1e6, f"{few / FEW / 1e3:.1f} kB for each"),
        Row(f"{ALL:,} warm orgs", EMPTY, at_most(450, "MB"), every / 1e6, f"{every / ALL / 1e3:.1f} kB for each"),
        Row(f"{SPELLINGS:,} spellings of a query", EMPTY, at_most(20, "MB"), spellings / 1e6, "by one caller"),
        Row(f"{load}, requests", "one", at_least(0.95), turns.ratio("all", "one"), turns.seen("all", "one"), COLD),
        Row(
            f"{load}, p99",
            "one",
            at_most(1.2),
            turns.ratio("all", "one", "p99"),
            turns.seen("all", "one", "p99"),
            f"As above. {COLD}",
        ),
    ]


def _query(number: int) -> str:
    return f"org={org(number)}"


def _spelling(number: int) -> str:
    """One of the many percent-encoded spellings of the query for the first org."""
    letters = (f"%{ord(letter):02x}" if number >> place & 1 else letter for place, letter in enumerate(org(0)))
    return "org=" + "".join(letters)


def _asked(stage: Scene, broker: Served, orgs: int) -> Asked:
    """Requests for orgs that are drawn at random."""
    script = stage.folder / f"{orgs}-orgs.lua"
    script.write_text(
        f"request = function() return wrk.format('GET', string.format("
        f"'/token?org=%024X@AdobeOrg', math.random(0, {orgs - 1}))) end\n"
    )
    return Asked(broker.url(), [broker.pid], [stage.bearer], script)


def _grown(stage: Scene, broker: Served, query: Callable[[int], str], numbers: range) -> int:
    """Bytes of resident memory that the replica takes more after it was asked with the query of each number."""
    _ask(stage, broker, [_query(0)] * 100)
    before = _resident(broker)
    chunks = [range(first, min(first + _CHUNK, numbers.stop)) for first in numbers[::_CHUNK]]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for _ in pool.map(lambda chunk: _ask(stage, broker, [query(number) for number in chunk]), chunks):
            pass
    return _resident(broker) - before


def _ask(stage: Scene, broker: Served, queries: Sequence[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=20)
    for query in queries:
        # On a machine that is busy with other work, Redis may seem to be away for a moment.
        tries = (_status(connection, stage, query) for _ in range(_TRIES))
        if 200 not in tries:
            raise SystemExit("The broker has no token for an org.")
    connection.close()


def _status(connection: http.client.HTTPConnection, stage: Scene, query: str) -> int:
    connection.request("GET", f"/token?{query}", headers={"Authorization": f"Bearer {stage.key}"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        time.sleep(1)
    return answer.status


def _resident(broker: Served) -> int:
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _store_tokens(port: int, ring: KeyRing) -> None:
    names, now = KeyNames(), time.time()
    with redis.Redis(port=port) as client:
        for first in range(0, ALL, 1000):
            pipeline = client.pipeline(transaction=False)
            for token in (_token(number, now) for number in range(first, first + 1000)):
                name = names.token(token.key)
                pipeline.set(name, seal(token, ring, name), pxat=int(token.expires_at * 1000))
            pipeline.execute()


def _token(number: int, now: float) -> AccessToken:
    return AccessToken(
        key=TokenKey(CredentialRef(parse_org(org(number)))),
        value=secrets.token_hex(TOKEN_BYTES // 2),
        client_id=f"client-{number}",
        kind="oauth_server_to_server",
        ims_base_url="https://ims-na1.adobelogin.com",
        scopes=scopes_of(["openid", "AdobeID", "read_organizations"]),
        generation="1",
        epoch=0,
        minted_at=now,
        expires_at=now + LIFETIME,
        refresh_at=now + LIFETIME / 2,
    )
