"""What can go wrong with Redis, each with one constant sentence; the server's own words are never passed on.

The texts that are looked for are those of Redis 7 and 8 and of Valkey 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redis import exceptions

from app.adapters.redis.bounded_replies import ReplyTooLargeError, WrongTypeError
from app.adapters.redis.call_failure import Contact, Failure
from app.adapters.redis.login_provider import UnusablePasswordError
from app.adapters.redis.network_failures import network_failure

SKIPPED = Failure("skipped", "Redis did not answer a moment ago; it is tried again shortly.")

COMMANDS: Final = (
    "auth", "cluster|slots", "del", "eval", "evalsha", "getrange", "mget", "pexpire", "ping", "pttl", "select",
    "set", "time", "type", "xadd", "xrange", "xread", "xrevrange",
)  # fmt: skip
"""The commands that the broker sends, itself or in a script."""

_FOREIGN: Final = "foreign_value"
_OTHER = Failure("error", "Redis answered with an error.")
_FORBIDDEN: Final = "forbidden"
_REFUSES_WRITES: Final = "refuses_writes"

_DENIED: Mapping[str, Failure] = {
    command: Failure(
        _FORBIDDEN,
        f"Redis' access list does not allow the broker the command {command}; docs/least-privilege.md lists them.",
    )
    for command in COMMANDS
}
_UNKNOWN: Mapping[str, Failure] = {
    command: Failure(
        "unknown_command",
        f"This Redis does not have the command {command}, which the broker needs: it is renamed or switched off there.",
    )
    for command in COMMANDS
}
_NAMED: tuple[tuple[re.Pattern[str], Mapping[str, Failure]], ...] = (
    (re.compile(r"permissions to run the '([a-z|]+)'"), _DENIED),
    (re.compile(r"unknown command ['`]([a-z]+)['`]", re.IGNORECASE), _UNKNOWN),
)
"""Answers that name a command."""

_CLUSTER = Failure(
    "cluster_mode", "This Redis runs in cluster mode; BROKER_REDIS_URL must begin with redis+cluster://."
)
_CLUSTER_IN_MOTION = Failure(
    "cluster_down",
    "The Redis cluster has no primary for that key at the moment, or is moving its slot; it is tried again.",
)

_OF_A_CLUSTER = (
    exceptions.AskError,
    exceptions.ClusterCrossSlotError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)

_Rows = tuple[tuple[tuple[type[BaseException], ...], str, Failure], ...]
_ANSWERS: _Rows = (
    (
        (UnusablePasswordError,),
        "",
        Failure("unauthenticated", "BROKER_REDIS_PASSWORD_FILE cannot be read, or has no password in it.", asked=False),
    ),
    (
        (exceptions.AuthenticationError,),
        "called without any password|no password is set",
        Failure("unauthenticated", "Redis has no password, but the broker sends one; leave the password out."),
    ),
    (
        (exceptions.AuthenticationError,),
        "Authentication required",
        Failure("unauthenticated", "Redis asks for a user name or password; set BROKER_REDIS_PASSWORD_FILE."),
    ),
    (
        (
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
            exceptions.AuthenticationWrongNumberOfArgsError,
        ),
        "",
        Failure(
            "unauthenticated",
            "Redis refuses the broker's user name or password; check BROKER_REDIS_USERNAME and"
            " BROKER_REDIS_PASSWORD_FILE, or those in BROKER_REDIS_URL.",
        ),
    ),
    (
        (exceptions.ResponseError,),
        "permissions to access|can't access at least one of the keys",
        Failure(
            _FORBIDDEN,
            "Redis' access list does not allow the broker a key; it must allow those that begin with"
            " BROKER_REDIS_PREFIX and a colon.",
        ),
    ),
    (
        (exceptions.ResponseError,),
        "can't run this command",
        Failure(
            _FORBIDDEN,
            "Redis' access list does not allow a command in the broker's scripts; docs/least-privilege.md lists them.",
        ),
    ),
    (
        (exceptions.NoPermissionError,),
        "",
        Failure(_FORBIDDEN, "Redis' access list does not allow the broker a command or key that it needs."),
    ),
    (
        (exceptions.ReadOnlyError,),
        "",
        Failure(
            "read_only",
            "This Redis is a read-only replica; BROKER_REDIS_URL must lead to the primary. Until then this process"
            " shares nothing.",
        ),
    ),
    (
        (exceptions.MasterDownError,),
        "",
        Failure("read_only", "This Redis is a read-only replica without its primary, and answers nothing until then."),
    ),
    (
        (ReplyTooLargeError,),
        "",
        Failure(_FOREIGN, "Redis has a value that is larger than any of the broker's; it is removed.", foreign=True),
    ),
    (
        (WrongTypeError,),
        "",
        Failure(_FOREIGN, "Redis has a value of another type under a name of the broker; it is removed.", foreign=True),
    ),
    ((exceptions.OutOfMemoryError,), "", Failure("out_of_memory", "Redis is out of memory and refuses writes.")),
    (
        (exceptions.ResponseError,),
        "^NOREPLICAS",
        Failure(_REFUSES_WRITES, "Redis refuses writes: it has fewer replicas than its min-replicas-to-write."),
    ),
    (
        (exceptions.ResponseError,),
        "^MISCONF",
        Failure(_REFUSES_WRITES, "Redis refuses writes: it cannot save its data to disk."),
    ),
    ((exceptions.BusyLoadingError,), "", Failure("loading", "Redis is still loading its data.")),
    (_OF_A_CLUSTER, "", _CLUSTER),
    (
        (exceptions.ResponseError,),
        "cluster support disabled",
        Failure("no_cluster", "This Redis is not a cluster; BROKER_REDIS_URL must begin with redis://."),
    ),
    ((exceptions.ResponseError,), "SELECT is not allowed in cluster mode", _CLUSTER),
    (
        (exceptions.ResponseError,),
        "DB index|invalid first argument",
        Failure(
            "wrong_database",
            "Redis does not have the database that ends BROKER_REDIS_URL; use 0, or raise its setting `databases`.",
        ),
    ),
    (
        (exceptions.ConnectionError,),
        "max number of clients",
        Failure("too_many_clients", "Redis has as many connections as its maxclients allows.", unreachable=True),
    ),
)
"""What Redis answers: types of redis-py, what its text has, and what it means. The first row that fits counts."""


def failure_of(error: BaseException, contact: Contact) -> Failure:
    """What kind of failure `error`, one of `network_failures.FAILURES`, is.

    Args:
        error: The error that was raised.
        contact: What is known of the connection.

    """
    text = str(error)
    if contact.cluster and isinstance(error, _OF_A_CLUSTER):
        return _CLUSTER_IN_MOTION
    if isinstance(error, exceptions.ResponseError):
        for pattern, failures in _NAMED:
            found = pattern.search(text)
            if found and found[1].lower() in failures:
                return failures[found[1].lower()]
    for types, pattern_text, failure in _ANSWERS:
        if isinstance(error, types) and re.search(pattern_text, text):
            return failure
    return network_failure(error, contact) or _OTHER
