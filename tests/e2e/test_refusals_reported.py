"""Each refusal is a line of the audit log, a count and a line of the log, with the fast path on and off."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.api_key import SECRET_BYTES, new_api_key
from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer
from tests.support.waiting import until
from tests.support.wire import Reply, connected, request_bytes

TIMES = 4
"""More often than the long path has to refuse any of them."""

STRANGER = new_api_key("stranger", b"s" * SECRET_BYTES)
UNKNOWN_ORG = "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg"


@pytest.fixture(params=["on", "off"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: LocalIssuer
) -> Iterator[BrokerWithoutVault]:
    """A broker with one tenant, a caller that may have only its tokens, and an issuer."""
    folder = tmp_path_factory.mktemp("refusals")
    with sandbox_backend(folder) as sandbox:
        running = BrokerWithoutVault(folder, sandbox, FAST_PATH=request.param)
        tenant = running.tenant()
        trusted = {"issuer": issuer.name, "audience": AUDIENCE, "jwks_url": issuer.url}
        running.policy.issuer(trusted, "export", SUBJECT, {"orgs": [tenant.org]})
        try:
            running.start()
            yield running
        finally:
            running.replica.process.kill()


async def test_every_refusal_is_reported_with_its_reason(broker: BrokerWithoutVault, issuer: LocalIssuer) -> None:
    """An unknown key, an expired JWT, a forged one and a denied org: one line of the audit log and one count each."""
    replica, tenant = broker.replica, broker.tenants[0]
    expired = issuer.token(time.time() - 7200)
    credentials = {
        "api_key_unknown": STRANGER,
        "expired": expired,
        "signature": issuer.token().rpartition(".")[0] + "." + expired.rpartition(".")[2],
        "": issuer.token(),
    }
    # So that the broker has the keys of the issuer: it fetches none for a JWT that is refused anyway.
    assert (await replica.token(tenant.org, key=issuer.token())).status == 200
    replies: list[Reply] = []
    async with connected(replica.port) as connection:
        for reason, credential in credentials.items():
            for number in range(TIMES):
                target = f"/token?org={tenant.org if reason else UNKNOWN_ORG}"
                headers = [replica.bearer(credential), (b"X-Request-Id", b"%b.%d" % (reason.encode(), number))]
                replies.append(await connection.request(request_bytes("GET", target, headers)))
    assert [reply.status for reply in replies] == [401] * 3 * TIMES + [403] * TIMES
    await until(lambda: len(_refused(broker)) == len(replies))
    lines = _refused(broker)
    assert [line["request_id"] for line in lines] == [reply.header("x-request-id") for reply in replies]
    reported = Counter((line["outcome"], line.get("reason"), line["caller"], line["org"]) for line in lines)
    unauthenticated = Counter({("unauthenticated", reason, None, None): TIMES for reason in credentials if reason})
    assert reported == unauthenticated + Counter({("forbidden", None, "export", UNKNOWN_ORG): TIMES})
    metrics = (await replica.get("/metrics")).body.decode()
    for reason in credentials:
        if reason:
            assert _value(metrics, f'authentication_failures_total{{reason="{reason}"}}') == TIMES
    assert _value(metrics, 'requests_total{endpoint="/token",outcome="forbidden"}') == TIMES
    assert _value(metrics, 'requests_total{endpoint="/token",outcome="unauthenticated"}') == 3 * TIMES
    logged = [{**line, **line["event"]} for line in _log(broker) if line["message"] == "caller credential refused"]
    assert {(line["reason"], line.get("subject"), line["request_id"]) for line in logged} >= {
        ("api_key_unknown", None, "api_key_unknown.0"),
        ("expired", SUBJECT, "expired.0"),
        ("signature", None, "signature.0"),
    }


def _refused(broker: BrokerWithoutVault) -> list[dict[str, object]]:
    return [line for line in broker.replica.audit_lines() if line.get("outcome") in {"unauthenticated", "forbidden"}]


def _value(metrics: str, sample: str) -> float:
    found = re.search(rf"^\w*{re.escape(sample)} (\S+)$", metrics, re.MULTILINE)
    assert found is not None, f"{sample} in {metrics}"
    return float(found[1])


def _log(broker: BrokerWithoutVault) -> list[dict[str, Any]]:
    return [json.loads(line) for line in broker.replica.process.stderr.read_text().splitlines() if line.startswith("{")]
