"""Every setting of the broker can be set from values: code, values, their schema and the chart's README agree."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.settings.setting_errors import PREFIX, SettingsError
from app.settings.settings import Settings, read_settings, variables
from tests.support.chart import (
    CHART,
    RELEASE,
    ci_files,
    ci_values,
    default_values,
    render,
    schema,
    the,
    value_at,
    with_value,
)
from tests.support.chart_readme import BEGIN, END, README, DescribedValue, described_values, values_table
from tests.support.chart_schema import SCHEMA, completed, is_kubernetes_map
from tests.support.chart_settings import HAND_WRITTEN, TEMPLATE, plain_settings, template

ETC, RUN = "/etc/ims-token-broker", "/var/run/secrets/ims-token-broker"

EXAMPLES: dict[str, tuple[str, str, object, str]] = {
    "HOST": ("default", "broker.host", "::", "::"),
    "PUBLIC_URL": ("default", "broker.publicUrl", "http://broker.example.com", "http://broker.example.com"),
    "TLS_CERT_FILE": ("default", "tls", {"enabled": True, "existingSecret": "t"}, f"{ETC}/tls/tls.crt"),
    "TLS_KEY_FILE": ("default", "tls", {"enabled": True, "existingSecret": "t"}, f"{ETC}/tls/tls.key"),
    "POLICY_FILE": ("default", "policy.inline", "version: 1", f"{ETC}/policy/policy.yaml"),
    "CREDENTIAL_STORE": ("directory", "credentials.store", "directory", "directory"),
    "CREDENTIAL_DIR": ("directory", "credentials.store", "directory", f"{ETC}/credentials"),
    "VAULT_ADDR": ("default", "vault.addr", "https://v.example.com", "https://v.example.com"),
    "VAULT_AUTH": ("approle", "vault.auth", "approle", "approle"),
    "VAULT_AUTH_MOUNT": ("default", "vault.authMount", "k8s/prod", "k8s/prod"),
    "VAULT_TOKEN_FILE": ("existing-secret", "vault.token.existingSecret", "t", f"{ETC}/vault/token"),
    "VAULT_ROLE_ID": ("approle", "vault.roleId", "some-id", "some-id"),
    "VAULT_SECRET_ID_FILE": ("approle", "vault.secretId.existingSecret", "s", f"{ETC}/approle/secret_id"),
    "VAULT_ROLE": ("default", "vault.role", "broker", "broker"),
    "VAULT_KUBERNETES_TOKEN_FILE": ("default", "vault.auth", "kubernetes", f"{RUN}/vault/token"),
    "VAULT_KV_VERSION": ("default", "vault.kvVersion", 1, "1"),
    "VAULT_CERT_FILE": ("default", "vault.clientCertificate.existingSecret", "c", f"{ETC}/vault-tls/tls.crt"),
    "VAULT_KEY_FILE": ("default", "vault.clientCertificate.existingSecret", "c", f"{ETC}/vault-tls/tls.key"),
    "VAULT_CACERT": ("default", "vault.ca.existingSecret", "ca", f"{ETC}/ca/vault/ca.crt"),
    "REDIS_URL": ("default", "redis.host", "r.example.com", "rediss://r.example.com:6379"),
    "REDIS_USERNAME": ("existing-secret", "redis.username", "someone", "someone"),
    "REDIS_PASSWORD_FILE": ("default", "redis.password.existingSecret", "r", f"{ETC}/redis/password"),
    "REDIS_SENTINEL_USERNAME": ("redis-sentinel", "redis.sentinel.username", "someone", "someone"),
    "REDIS_SENTINEL_PASSWORD_FILE": (
        "redis-sentinel", "redis.sentinel.password.existingSecret", "r", f"{ETC}/redis-sentinel/password"),
    "REDIS_CACERT": ("default", "redis.tls.ca.existingConfigMap", "ca", f"{ETC}/ca/redis/ca.crt"),
    "REDIS_CERT_FILE": ("default", "redis.tls.clientCertificate.existingSecret", "c", f"{ETC}/redis-tls/tls.crt"),
    "REDIS_KEY_FILE": ("default", "redis.tls.clientCertificate.existingSecret", "c", f"{ETC}/redis-tls/tls.key"),
    "CACHE_KEYS_FILE": ("default", "cacheKeys.existingSecret", "k", f"{ETC}/keys/cache-keys.json"),
    "KMS_REGION": ("default", "kms.region", "eu-central-1", "eu-central-1"),
    "IMS_BASE_URLS": ("default", "ims.baseUrls", ["https://a.example", "https://b.example"], "https://a.example,https://b.example"),
    "IMS_CACERT": ("default", "ims.ca.existingConfigMap", "ca", f"{ETC}/ca/ims/ca.crt"),
    "PROXY_URL": ("default", "proxy.url", "http://p.example.com:3128", "http://p.example.com:3128"),
    "PROXY_USERNAME": ("proxy", "proxy.username", "someone", "someone"),
    "PROXY_PASSWORD_FILE": ("proxy", "proxy.password.existingSecret", "p", f"{ETC}/proxy/password"),
    "NO_PROXY": ("proxy", "proxy.noProxy", ["a.example", ".svc"], "a.example,.svc"),
    "AUDIT_FILE": ("default", "audit.file", "/var/log/broker/audit.jsonl", "/var/log/broker/audit.jsonl"),
    "TRACING": ("tracing", "tracing.exporter", "otlp", "otlp"),
    "TRACING_ORGS": ("tracing", "tracing.orgs", True, "true"),
}  # fmt: skip
"""Per setting: the ci file to start from, the value that sets it, what to set it to, and the resulting variable.

A plain setting (see `plain_settings`) needs no row if its schema allows the value that `example` makes.
"""


def example(row: DescribedValue) -> tuple[str, str, object, str]:
    """A row of `EXAMPLES` for a value that is not its default."""
    node = schema()
    for key in row.path.split("."):
        node = node["properties"][key]
    match row.default:
        case bool():
            value: object = not row.default
        case int():
            value = row.default + 1
        case _:
            value = next((name for name in node.get("enum", ()) if name != row.default), "other")
    return "default", row.path, value, str(value).lower() if isinstance(value, bool) else str(value)


SET_FROM = {
    **{variable.removeprefix(PREFIX): example(row) for variable, row in plain_settings().items()},
    **EXAMPLES,
}

NOT_FROM_VALUES = {
    "VAULT_TOKEN": "a secret: BROKER_VAULT_TOKEN_FILE, from a Secret",
    "VAULT_SECRET_ID": "a secret: BROKER_VAULT_SECRET_ID_FILE, from a Secret",
    "REDIS_PASSWORD": "a secret: BROKER_REDIS_PASSWORD_FILE, from a Secret",
}

OTHER_DEFAULTS = {
    "HOST": "a pod is reached from outside",
    "VAULT_AUTH": "a pod has an identity",
    "VAULT_KUBERNETES_TOKEN_FILE": "a token with an audience of its own",
}
"""Settings whose default in the chart differs from the one in the code, and why."""


def settings_of(values: dict[str, Any]) -> dict[str, str]:
    """The environment variables that the broker would get."""
    data: dict[str, str] = the(render(values), "ConfigMap", "-settings")["data"]
    return data


def test_every_setting_is_set_from_values_or_there_is_a_reason() -> None:
    """The chart covers every setting of the code, and has no setting that the code does not have."""
    known = {name.removeprefix(PREFIX) for name in variables()}

    assert SET_FROM.keys() | NOT_FROM_VALUES.keys() == known


@pytest.mark.parametrize("name", SET_FROM)
def test_each_value_sets_its_variable(name: str) -> None:
    """Setting the value sets the variable, and the value is in `values.yaml` and the README."""
    base, path, value, expected = SET_FROM[name]
    changed = settings_of(with_value(ci_values(base), path, value))

    assert changed[PREFIX + name] == expected
    value_at(default_values(), path)
    assert any(row.path == path or row.path.startswith(f"{path}.") for row in rows())


@pytest.mark.parametrize("name", SET_FROM)
def test_each_setting_is_named_where_its_value_is_described(name: str) -> None:
    """A row of the README names the variable, so that a reader who knows the setting finds the value."""
    assert any(f"`{PREFIX}{name}`" in row.text for row in rows())


def test_a_login_has_only_its_own_settings() -> None:
    """A Vault Agent needs no role and no file, and an AppRole may have no secret id."""
    agent = settings_of(with_value(ci_values("default"), "vault.auth", "agent"))
    bare_role = settings_of(with_value(ci_values("approle"), "vault.secretId.existingSecret", ""))

    assert not {"BROKER_VAULT_ROLE", "BROKER_VAULT_KUBERNETES_TOKEN_FILE"} & agent.keys()
    assert "BROKER_VAULT_ROLE_ID" in bare_role
    assert "BROKER_VAULT_SECRET_ID_FILE" not in bare_role
    for given in (agent, bare_role):
        read_settings({key: value for key, value in given.items() if key.startswith(PREFIX)})


@pytest.mark.parametrize("name", NOT_FROM_VALUES)
def test_no_secret_is_a_variable(name: str) -> None:
    """No ci file sets a variable that holds a secret."""
    for path in ci_files():
        assert PREFIX + name not in settings_of(ci_values(path.name.removesuffix("-values.yaml")))


def test_the_chart_sets_no_unknown_variable() -> None:
    """Every variable that the ci files set is a setting of the broker or a standard OpenTelemetry variable."""
    ours = {PREFIX + name for name in SET_FROM}
    for path in ci_files():
        for variable in settings_of(ci_values(path.name.removesuffix("-values.yaml"))):
            assert variable in ours or re.match(r"OTEL_[A-Z_]+$", variable), variable


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in ci_files()])
def test_the_broker_accepts_what_the_chart_sets(name: str) -> None:
    """The broker's own settings accept each ci file's variables."""
    given = settings_of(ci_values(name))
    environment = {key: value for key, value in given.items() if key.startswith(PREFIX)}
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        pytest.fail(str(error), pytrace=False)

    assert str(settings.policy_file) == f"{ETC}/policy/policy.yaml"


def test_the_defaults_are_those_of_the_code() -> None:
    """If the chart sets a variable by default, it is the code's default, unless there is a documented reason."""
    given = settings_of(ci_values("default"))
    for name, field in Settings.model_fields.items():
        default, variable = field.default, PREFIX + name.upper()
        if variable in given and name.upper() not in OTHER_DEFAULTS and isinstance(default, (str, int)):
            assert given[variable] == str(default).replace("True", "true").replace("False", "false"), variable


# Values, schema, README ---------------------------------------------------------------------------------------------


def rows() -> list[Any]:
    """The values that have a description."""
    return described_values((CHART / "values.yaml").read_text())


def test_the_readme_has_the_table_of_values() -> None:
    """The README's table is the one generated from `values.yaml`."""
    between = README.read_text().partition(BEGIN)[2].partition(END)[0]

    assert between == values_table(), "stale: run `python -m tests.support.chart_readme`"


def test_the_template_of_plain_settings_is_generated_from_the_values() -> None:
    """`_plain_settings.tpl` is generated from `values.yaml`; every setting written by hand is in `_settings.tpl`."""
    assert TEMPLATE.read_text() == template(), "stale: run `python -m tests.support.chart_settings`"
    by_hand = (CHART / "templates" / "_settings.tpl").read_text()
    assert all(f"{variable}:" in by_hand for variable in HAND_WRITTEN)


def test_the_schema_has_the_values_and_no_others() -> None:
    """If `values.yaml` has a map of named values, the schema has exactly those, and accepts no others."""
    free = []

    def compare(value: Any, node: dict[str, Any], path: str) -> None:
        if not isinstance(value, dict) or "properties" not in node:
            if isinstance(value, dict) and "anyOf" not in node:
                free.append(path)
            return
        if is_kubernetes_map(path):
            assert value.keys() <= node["properties"].keys(), path  # Kubernetes maps: not all keys are set
        else:
            assert list(value) == list(node["properties"]), path
        assert (path == "global") == ("additionalProperties" not in node), path
        assert path == "global" or node["additionalProperties"] is False, path
        for key, child in value.items():
            compare(child, node["properties"][key], f"{path}.{key}" if path else key)

    compare(default_values(), schema(), "")
    assert free  # maps of labels, and Kubernetes maps


def test_the_schema_is_complete() -> None:
    """The command that completes the schema finds nothing to add, remove or move."""
    assert SCHEMA.read_text() == completed(), "stale: run `python -m tests.support.chart_schema`"


def test_a_new_value_gets_the_constraints_of_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the schema does not have is added with the constraints that the code has."""
    whole = schema()
    removed = whole["properties"]["redis"]["properties"].pop("prefix")
    level = whole["properties"]["broker"]["properties"].pop("logLevel")
    monkeypatch.setattr("tests.support.chart_schema.schema", lambda: whole)

    assert json.loads(completed()) == schema()
    assert removed["pattern"]
    assert level["enum"]


def test_the_default_values_obey_the_schema() -> None:
    """The default values are valid unchanged once the required values are added."""
    values = default_values()
    for path, value in [("policy.inline", "version: 1"), ("vault.addr", "https://v"), ("redis.host", "r")]:
        values = with_value(values, path, value)

    assert render(with_value(values, "cacheKeys.existingSecret", "k")) == render(
        {"policy": {"inline": "version: 1"}, "vault": {"addr": "https://v"}, "redis": {"host": "r"},
         "cacheKeys": {"existingSecret": "k"}}
    )  # fmt: skip


def test_the_chart_has_the_version_of_the_code() -> None:
    """The chart's `appVersion` is the broker's version."""
    from app import __version__

    assert f'appVersion: "{__version__}"' in (CHART / "Chart.yaml").read_text()
    assert the(render(ci_values("default")), "Deployment", RELEASE + "-ims-token-broker")
