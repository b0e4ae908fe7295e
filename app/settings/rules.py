"""Which settings belong together. Each rule is stated here once; the adapters that the settings configure use it too.

A rule is a pair: whether it is broken, and the sentence that says so. No sentence has a value in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Literal

from app.settings.redis_address import RedisAddress

SettingRule = tuple[bool, str]

VaultAuth = Literal["token", "approle", "kubernetes", "jwt", "agent"]

_VAULT_LOGINS: Mapping[VaultAuth, tuple[tuple[str, ...], ...]] = {
    "token": (("token", "token_file"),),
    "approle": (("role_id",),),
    "kubernetes": (("role",),),
    "jwt": (("role",),),
    "agent": (),
}
"""What each login at Vault needs: one setting of each group."""

_VAULT_ALTERNATIVES: Mapping[VaultAuth, tuple[str, str]] = {
    "token": ("token", "token_file"),
    "approle": ("secret_id", "secret_id_file"),
}
"""Settings of a login at Vault that exclude each other."""


def broken(rules: Iterable[SettingRule]) -> list[str]:
    """The sentences of all broken rules, without their full stops."""
    return [sentence for is_broken, sentence in rules if is_broken]


def missing_for_login(auth: VaultAuth, given: Set[str]) -> list[tuple[str, ...]]:
    """The groups of settings from which a login at Vault needs one and has none.

    Args:
        auth: How to log in.
        given: Names of the settings that are set, without ``BROKER_VAULT_`` and in lower case.

    """
    return [group for group in _VAULT_LOGINS[auth] if given.isdisjoint(group)]


def given_twice_for_login(auth: VaultAuth, given: Set[str]) -> tuple[str, ...]:
    """Two settings that exclude each other and are both set; or none. Arguments as `missing_for_login`."""
    both = _VAULT_ALTERNATIVES.get(auth, ())
    return both if given >= set(both) else ()


def vault_rules(auth: VaultAuth, given: Set[str], *, plain: bool) -> tuple[SettingRule, ...]:
    """Rules of the settings of Vault.

    Args:
        auth: See `missing_for_login`.
        given: See `missing_for_login`.
        plain: Whether Vault's address begins with ``http://``.

    """
    variables = {name: f"BROKER_VAULT_{name.upper()}" for group in _VAULT_LOGINS[auth] for name in group}
    missing = (" or ".join(variables[name] for name in group) for group in missing_for_login(auth, given))
    twice = [f"BROKER_VAULT_{name.upper()}" for name in given_twice_for_login(auth, given)]
    return (
        ("addr" not in given, "BROKER_VAULT_ADDR is required with the vault store"),
        *pair_rules("BROKER_VAULT", cert="cert_file" in given, key="key_file" in given),
        (
            plain and not given.isdisjoint({"cert_file", "key_file"}),
            "BROKER_VAULT_CERT_FILE and _KEY_FILE are for https:// only; change BROKER_VAULT_ADDR or leave them out",
        ),
        *((True, f"{names} is required with BROKER_VAULT_AUTH={auth}") for names in missing),
        (bool(twice), f"{' and '.join(twice)} are both set; give one"),
    )


def pair_rules(name: str, *, cert: bool, key: bool) -> tuple[SettingRule, ...]:
    """Rules of a certificate and its key.

    Args:
        name: The common part of the names of the two variables.
        cert: Whether there is a certificate file.
        key: Whether there is a key file.

    """
    return (
        (cert and not key, f"{name}_KEY_FILE is required with {name}_CERT_FILE"),
        (key and not cert, f"{name}_CERT_FILE is required with {name}_KEY_FILE"),
    )


def proxy_rules(*, url: bool, username: bool, password_file: bool) -> tuple[SettingRule, ...]:
    """Rules of the egress proxy.

    Args:
        url: Whether there is a URL.
        username: Whether there is a user name.
        password_file: Whether there is a password file.

    """
    return (
        (
            (username or password_file) and not url,
            "BROKER_PROXY_URL is required with BROKER_PROXY_USERNAME and BROKER_PROXY_PASSWORD_FILE",
        ),
        (username and not password_file, "BROKER_PROXY_PASSWORD_FILE is required with BROKER_PROXY_USERNAME"),
        (password_file and not username, "BROKER_PROXY_USERNAME is required with BROKER_PROXY_PASSWORD_FILE"),
    )


def worker_rules(workers: int, *, redis: bool, linux: bool) -> tuple[SettingRule, ...]:
    """Rules for the number of worker processes.

    Args:
        workers: The number.
        redis: Whether there is a Redis. Workers share tokens and purges through it, as replicas do.
        linux: Whether this is Linux. Its kernel gives each connection to one of the processes.

    """
    return (
        (workers > 1 and not redis, "BROKER_REDIS_URL is required with BROKER_WORKERS above 1"),
        (workers > 1 and not linux, "BROKER_WORKERS above 1 needs Linux"),
    )


def kms_rules(*, region: bool, endpoint_url: bool, sdk: bool) -> tuple[SettingRule, ...]:
    """Rules of AWS KMS.

    Args:
        region: Whether there is a region.
        endpoint_url: Whether there is an endpoint.
        sdk: Whether the AWS SDK is installed.

    """
    return (
        (endpoint_url and not region, "BROKER_KMS_REGION is required with BROKER_KMS_ENDPOINT_URL"),
        (
            region and not sdk,
            "BROKER_KMS_REGION needs the AWS SDK (the extra aws): pip install -r requirements/aws.lock",
        ),
    )


def redis_connection_rules(
    address: RedisAddress | None, *, login: bool, own_ca: bool, cert: bool, key: bool, sentinel_login: bool
) -> tuple[SettingRule, ...]:
    """Rules of a connection to Redis.

    Args:
        address: Where Redis is; None without Redis.
        login: Whether a user or password is given besides the URL.
        own_ca: Whether a CA bundle is given.
        cert: Whether a client certificate is given.
        key: Whether its key is given.
        sentinel_login: Whether a user or password at Sentinels is given.

    """
    plain = address is None or not address.tls
    return (
        *pair_rules("BROKER_REDIS", cert=cert, key=key),
        (
            (cert or key) and plain,
            "BROKER_REDIS_CERT_FILE and _KEY_FILE are for rediss:// only; change BROKER_REDIS_URL or leave them out",
        ),
        (own_ca and plain, "BROKER_REDIS_CACERT is for rediss:// only; change BROKER_REDIS_URL or leave it out"),
        (
            login and address is None,
            "BROKER_REDIS_URL is required with BROKER_REDIS_USERNAME, _PASSWORD and _PASSWORD_FILE",
        ),
        (
            login and address is not None and address.has_login,
            "BROKER_REDIS_URL names a user or password already; leave out BROKER_REDIS_USERNAME and _PASSWORD(_FILE)",
        ),
        (
            sentinel_login and (address is None or address.topology != "sentinel"),
            "BROKER_REDIS_SENTINEL_USERNAME and _PASSWORD_FILE are for redis+sentinel:// and rediss+sentinel:// only",
        ),
    )


def redis_rules(
    *,
    redis: bool,
    key_ring: bool,
    username: bool,
    password: bool,
    password_file: bool,
    sentinel_username: bool,
    sentinel_password_file: bool,
) -> tuple[SettingRule, ...]:
    """Rules of the other settings of Redis.

    Args:
        redis: Whether there is a URL.
        key_ring: Whether there is a key ring.
        username: Whether there is a user name.
        password: Whether there is a password.
        password_file: Whether there is a password file.
        sentinel_username: Whether there is a user name for the Sentinels.
        sentinel_password_file: Whether there is a password file for the Sentinels.

    """
    return (
        (
            redis and not key_ring,
            "BROKER_CACHE_KEYS_FILE is required with Redis; make one with `ims-token-broker keys create FILE`",
        ),
        (password and password_file, "BROKER_REDIS_PASSWORD and BROKER_REDIS_PASSWORD_FILE are both set; give one"),
        (
            username and not (password or password_file),
            "BROKER_REDIS_USERNAME needs BROKER_REDIS_PASSWORD or BROKER_REDIS_PASSWORD_FILE",
        ),
        (
            sentinel_username and not sentinel_password_file,
            "BROKER_REDIS_SENTINEL_USERNAME needs BROKER_REDIS_SENTINEL_PASSWORD_FILE",
        ),
    )
