"""`Tokens` against a broker that can be told to fail."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from ims_token_broker_client import AdobeToken, Broker, BrokerUnavailableError, TokenRefusedError
from ims_token_broker_client.fake_broker import FakeBroker, running_fake_broker
from tests.support.children import free_port, wait_until

ORG = "0123456789ABCDEF01234567@AdobeOrg"


@pytest.fixture
def silent() -> Iterator[str]:
    """URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def nowhere() -> str:
    """URL at which nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def broker_for(fake: FakeBroker, *more: str, timeout: float = 5.0) -> Broker:
    """What an application creates."""
    return Broker([*more, fake.url], api_key=fake.api_key, timeout=timeout)


def test_a_token_has_all_headers_of_an_api_call(fake_broker: FakeBroker) -> None:
    """The headers are those that Adobe wants, with the sandbox that the broker has for the credential."""
    fake_broker.sandbox_name = "prod"
    token = broker_for(fake_broker).tokens(ORG).get()
    assert token.headers() == {
        "Authorization": f"Bearer {fake_broker.token(ORG)}",
        "x-api-key": "fake-client",
        "x-gw-ims-org-id": ORG,
        "x-sandbox-name": "prod",
    }


@pytest.mark.parametrize(("given", "sent"), [("dev", "dev"), ("", None)])
def test_the_application_can_name_the_sandbox(fake_broker: FakeBroker, given: str, sent: str | None) -> None:
    """A sandbox that the application names replaces the broker's, and costs no second request."""
    fake_broker.sandbox_name = "prod"
    token = broker_for(fake_broker).tokens(ORG, sandbox_name=given).get()
    assert token.headers().get("x-sandbox-name") == sent
    assert fake_broker.requests == 1


def test_threads_and_tasks_share_one_request(fake_broker: FakeBroker) -> None:
    """Threads and asyncio tasks that all need the first token at once cost one request."""
    tokens = broker_for(fake_broker).tokens(ORG, sandbox_name="")
    together = Barrier(9)

    def thread() -> AdobeToken:
        together.wait(10)
        return tokens.get()

    async def tasks() -> list[AdobeToken]:
        together.wait(10)
        return await asyncio.gather(*(tokens.get_async() for _ in range(50)))

    with ThreadPoolExecutor(9) as pool:
        threads = [pool.submit(thread) for _ in range(8)]
        got = [*asyncio.run(tasks()), *(future.result(10) for future in threads)]
    assert {token.value for token in got} == {fake_broker.token(ORG)}
    assert fake_broker.requests == 1


def test_the_same_arguments_give_the_same_tokens(fake_broker: FakeBroker) -> None:
    """Two parts of an application that ask for the same org share its token; another scope is another token."""
    broker = broker_for(fake_broker)
    assert broker.tokens(ORG) is broker.tokens(ORG)
    assert broker.tokens(ORG) is not broker.tokens(ORG, scope="openid")


def test_a_cancelled_task_does_not_end_the_request_of_others(fake_broker: FakeBroker) -> None:
    """If one of two waiting tasks is cancelled, the other one gets the token."""
    tokens = broker_for(fake_broker).tokens(ORG)

    async def both() -> AdobeToken:
        first, second = (asyncio.ensure_future(tokens.get_async()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(both()).value == fake_broker.token(ORG)


def test_a_token_is_used_until_its_end_while_the_broker_is_unavailable(fake_broker: FakeBroker) -> None:
    """With every answer a 503, the cached token is used; a new application without one gets an error."""
    tokens = broker_for(fake_broker, timeout=0.2).tokens(ORG, max_age=0.0)
    token = tokens.get()
    fake_broker.failure = (503, "ims_unavailable")
    asked = fake_broker.requests
    assert [tokens.get().value for _ in range(50)] == [token.value] * 50
    wait_until(lambda: fake_broker.requests > asked, "the broker is not asked")
    with pytest.raises(BrokerUnavailableError, match=r"answered 503 ims_unavailable \(request id fake\)"):
        broker_for(fake_broker, timeout=0.2).tokens(ORG).get()


def test_an_expired_token_is_not_used(fake_broker: FakeBroker) -> None:
    """A token with no second left is asked for again, and is an error if the broker is unavailable by then."""
    fake_broker.expires_in = 0
    tokens = broker_for(fake_broker, timeout=0.2).tokens(ORG)
    tokens.get()
    fake_broker.failure = (503, "overloaded")
    with pytest.raises(BrokerUnavailableError):
        tokens.get()


def test_a_denial_takes_the_token_away(fake_broker: FakeBroker) -> None:
    """A 403 is not an outage: once the broker has answered it, the cached token is no longer used."""
    tokens = broker_for(fake_broker).tokens(ORG, max_age=0.0)
    tokens.get()
    fake_broker.failure = (403, "forbidden")

    def denied() -> bool:
        try:
            tokens.get()
        except TokenRefusedError as error:
            return (error.status, error.code, error.request_id) == (403, "forbidden", "fake")
        return False

    wait_until(denied, "the token is still used")


def test_a_second_broker_is_asked_if_the_first_is_down(fake_broker: FakeBroker, silent: str) -> None:
    """A token comes from the last URL if nothing listens at the first and the second never answers."""
    tokens = broker_for(fake_broker, nowhere(), silent, timeout=1.0).tokens(ORG)
    assert tokens.get().value == fake_broker.token(ORG)


def test_a_broker_that_hangs_is_given_up_in_time(silent: str) -> None:
    """A call ends at its deadline if the broker accepts the connection and never answers."""
    with pytest.raises(BrokerUnavailableError, match=r"answer(ed)? in time"):
        Broker(silent, api_key="itb_a_b", timeout=0.3).tokens(ORG).get()


def _token_of(org: str) -> dict[str, object]:
    return {"access_token": "a.b.c", "expires_in": 60, "client_id": "c", "org_id": org, "scope": "openid"}


@pytest.mark.parametrize(
    ("status", "document"),
    [(404, {}), (401, {"error": "no"}), (200, {}), (200, _token_of("x")), (200, {**_token_of(ORG), "expires_in": "9"})],
)
def test_something_else_than_a_broker_is_not_believed(
    fake_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, status: int, document: dict[str, object]
) -> None:
    """An answer that no broker gives, or another org's token, is an outage: the cached token is used until its end."""
    tokens = broker_for(fake_broker, timeout=0.2).tokens(ORG, max_age=0.0)
    token = tokens.get()
    asked: list[str] = []

    def answer(method: str, *_: object) -> tuple[int, dict[str, str], dict[str, object]]:
        asked.append(method)
        return status, {}, document

    monkeypatch.setattr(fake_broker, "answer", answer)
    tokens.get()
    wait_until(lambda: len(asked) > 1, "the broker is not asked")
    assert tokens.get().value == token.value
    with pytest.raises(BrokerUnavailableError, match=r"as a broker does|of another org"):
        broker_for(fake_broker, timeout=0.2).tokens(ORG).get()


def test_a_key_file_is_read_for_each_request(fake_broker: FakeBroker, tmp_path: Path) -> None:
    """A replaced service-account token is used for the next request; a missing file is an outage, named by its path."""
    file = tmp_path / "token"
    broker = Broker(fake_broker.url, key_file=file, timeout=0.2)
    with pytest.raises(BrokerUnavailableError, match="token cannot be read: No such file"):
        broker.tokens(ORG).get()
    file.write_text(f"{fake_broker.api_key}\n")
    assert broker.tokens(ORG, scope="a").get().value == fake_broker.token(ORG)
    fake_broker.api_key = "itb_fake_second"
    file.write_text("itb_fake_second")
    assert broker.tokens(ORG, scope="b").get().value == fake_broker.token(ORG)


def test_a_refused_token_is_reported_once(fake_broker: FakeBroker) -> None:
    """Many users of a refused token cost one report, by its hash, and all of them get the new token."""
    tokens = broker_for(fake_broker).tokens(ORG)
    refused = tokens.get().value
    with ThreadPoolExecutor(8) as pool:
        others = list(pool.map(lambda _: tokens.replacement(refused), range(40)))
    assert {other.value for other in others if other is not None} == {fake_broker.token(ORG)} != {refused}
    assert None not in others
    assert fake_broker.reports == [hashlib.sha256(refused.encode()).hexdigest()]


def test_no_secret_is_in_any_text(fake_broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    """Neither token nor API key is in a repr, an error, its chain or the log."""
    caplog.set_level(logging.DEBUG)
    broker = broker_for(fake_broker, timeout=0.2)
    tokens = broker.tokens(ORG)
    token = tokens.get()
    fake_broker.failure = (502, "credential_rejected")
    texts = [repr(broker), repr(tokens), repr(token), str(token), repr(vars(broker))]
    assert tokens.replacement(token.value) is None
    for broken in (
        broker.tokens(ORG, scope="x"),
        Broker("http://127.0.0.1:1", api_key="itb_k_s", timeout=0.1).tokens(ORG),
    ):
        with pytest.raises(BrokerUnavailableError) as caught:
            broken.get()
        texts += [repr(caught.value), repr(caught.value.__cause__), str(caught.value.__suppress_context__)]
    said = "\n".join([*texts, caplog.text])
    assert "A token that Adobe refused was not replaced" in said
    assert [secret for secret in (token.value, fake_broker.api_key, "itb_k_s") if secret in said] == []


@pytest.mark.parametrize(
    "url", ["ftp://broker", "http://", "http://user:pw@broker", "http://broker?x=1", "http://broker:x", "broker:8080"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    """A wrong URL is refused when the application starts, without repeating it."""
    with pytest.raises(ValueError, match="must be like") as caught:
        Broker(url, api_key="itb_a_b")
    assert url not in str(caught.value)


@pytest.mark.parametrize("keys", [{}, {"api_key": "itb_a_b", "key_file": "token"}, {"api_key": "two words"}])
def test_a_key_that_cannot_be_used_is_refused(keys: dict[str, str]) -> None:
    """No key, two keys, or one that cannot be sent are refused, without repeating it."""
    with pytest.raises(ValueError, match="api_key") as caught:
        Broker("http://broker", api_key=keys.get("api_key"), key_file=keys.get("key_file"))
    assert "two words" not in str(caught.value)


def test_two_fake_brokers_have_different_tokens(fake_broker: FakeBroker) -> None:
    """Tests of an application can run two brokers at once."""
    with running_fake_broker() as other:
        assert other.token(ORG) != fake_broker.token(ORG)
