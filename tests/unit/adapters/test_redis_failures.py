"""What answers of Redis and Valkey mean, as redis-py reads them from the wire."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
from redis._parsers.base import NO_AUTH_SET_ERROR, BaseParser
from redis.exceptions import ConnectionError as NoConnectionError

from app.adapters.redis import key_states, redis_budget, redis_limits, scripts
from app.adapters.redis.call_failure import Contact
from app.adapters.redis.failures import COMMANDS, failure_of
from app.adapters.redis.scripts import Script

SCRIPT = "script: db8d8f6383e1a67ce23db65efd679a334c123806, on @user_script:1."


parse_error: Callable[[str], BaseException] = BaseParser.parse_error


@pytest.mark.parametrize(("answer", "outcome", "said"), [
    ("NOPERM this user has no permissions to run the 'eval' command", "forbidden", "the command eval;"),
    ("NOPERM User canary has no permissions to run the 'xread' command", "forbidden", "the command xread;"),
    ("NOPERM this user has no permissions to run the 'canary' command", "forbidden", "a command or key"),
    (f"ERR The user executing the script can't run this command or subcommand {SCRIPT}", "forbidden", "scripts"),
    (f"ERR ACL failure in script: User canary has no permissions to run the 'set' command {SCRIPT}", "forbidden",
     "the command set;"),
    ("NOPERM this user has no permissions to access one of the keys used as arguments", "forbidden", "PREFIX"),
    ("NOPERM No permissions to access a key", "forbidden", "BROKER_REDIS_PREFIX"),
    ("ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
     "forbidden", "BROKER_REDIS_PREFIX"),
    ("ERR unknown command 'EVALSHA', with args beginning with: 'canary' '0'", "unknown_command", "command evalsha,"),
    ("ERR unknown command `eval`, with args beginning with: `canary`", "unknown_command", "the command eval,"),
    ("ERR unknown command 'CANARY'", "error", "with an error"),
    ("ERR DB index is out of range", "wrong_database", "BROKER_REDIS_URL"),
    ("ERR SELECT is not allowed in cluster mode", "cluster_mode", "cluster mode"),
    ("MOVED 3999 10.0.0.1:6381", "cluster_mode", "cluster mode"),
    ("ASK 3999 10.0.0.1:6381", "cluster_mode", "cluster mode"),
    ("CLUSTERDOWN Hash slot not served", "cluster_mode", "cluster mode"),
    ("CROSSSLOT Keys in request don't hash to the same slot", "cluster_mode", "cluster mode"),
    (f"READONLY You can't write against a read only replica. {SCRIPT}", "read_only", "to the primary"),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "read_only",
     "without its primary"),
    ("NOREPLICAS Not enough good replicas to write.", "refuses_writes", "min-replicas-to-write"),
    ("MISCONF Redis is configured to save RDB snapshots, but canary", "refuses_writes", "save its data"),
    ("OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory", "Redis is out of memory"),
    ("LOADING Redis is loading the dataset in memory", "loading", "loading"),
    ("NOAUTH Authentication required.", "unauthenticated", "BROKER_REDIS_PASSWORD_FILE"),
    ("WRONGPASS invalid username-password pair or user is disabled.", "unauthenticated", "refuses"),
    (f"ERR {next(iter(NO_AUTH_SET_ERROR))}", "unauthenticated", "leave the password out"),
    ("ERR max number of clients reached", "too_many_clients", "maxclients"),
    ("ERR canary", "error", "with an error"),
])  # fmt: skip
def test_an_answer_has_its_own_sentence(answer: str, outcome: str, said: str) -> None:
    """Each refusal of Redis becomes a sentence that says what to do and that has nothing of the server's text."""
    failure = failure_of(parse_error(answer), Contact(tls=False))
    assert failure.outcome == outcome
    assert said in failure.detail
    assert "canary" not in failure.detail.lower()


@pytest.mark.parametrize(("reason", "said"), [
    ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "asks for a client certificate"),
    ("SSLV3_ALERT_HANDSHAKE_FAILURE", "may ask for a client certificate"),
    ("TLSV1_ALERT_UNKNOWN_CA", "BROKER_REDIS_CERT_FILE"),
    ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "BROKER_REDIS_CERT_FILE"),
    ("WRONG_VERSION_NUMBER", "That port does not serve TLS; BROKER_REDIS_URL must begin with redis://"),
    ("canary", "TLS handshake"),
])  # fmt: skip
def test_a_tls_alert_has_its_own_sentence(reason: str, said: str) -> None:
    """A failed handshake is distinguished by OpenSSL's name of the error, whose text is not passed on."""
    cause = ssl.SSLError(1, f"[SSL: {reason}] canary")
    cause.reason = reason
    error = NoConnectionError("canary")
    error.__context__ = cause
    failure = failure_of(error, Contact(tls=True))
    assert failure.outcome == "tls_failed"
    assert said in failure.detail
    assert "canary" not in failure.detail


def test_a_tls_alert_is_found_behind_several_errors() -> None:
    """redis-py may raise an error while it handles another one of its own; the network's is behind both."""
    cause = ssl.SSLError(1, "canary")
    cause.reason = "TLSV1_ALERT_UNKNOWN_CA"
    first, second = NoConnectionError("canary"), NoConnectionError("Connection not ready")
    first.__context__, second.__context__ = cause, first
    failure = failure_of(second, Contact(tls=True, handshaken=True, answered=True))
    assert "BROKER_REDIS_CERT_FILE" in failure.detail


def test_every_command_of_a_script_has_a_sentence() -> None:
    """A command that a script calls is among those whose denial is named."""
    modules = (scripts, key_states, redis_budget, redis_limits)
    sources = [value.source for module in modules for value in vars(module).values() if isinstance(value, Script)]
    called = {word.split("'")[0].lower() for source in sources for word in source.split("redis.call('")[1:]}
    assert called <= set(COMMANDS)
    assert {"getrange", "set", "del", "pttl", "time"} <= called
