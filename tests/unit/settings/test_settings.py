"""Settings: an error names the variable and never shows the value, and related variables are required together."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.settings.setting_errors import PREFIX, SettingsError
from app.settings.settings import Settings, read_minting_settings, read_settings, variables

MARK = "cAnArY"
"""A part of every bad value: no error may show it."""

DIRECTORY = {"POLICY_FILE": "/policy.yaml", "CREDENTIAL_STORE": "directory", "CREDENTIAL_DIR": "/credentials"}
VAULT = {"POLICY_FILE": "/policy.yaml", "VAULT_ADDR": "https://vault.example:8200", "VAULT_TOKEN": f"hvs.{MARK}"}
APPROLE = {**VAULT, "VAULT_TOKEN": "", "VAULT_AUTH": "approle", "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": MARK}
VAULT_TLS = {**VAULT, "VAULT_CERT_FILE": "/c", "VAULT_KEY_FILE": "/k"}
KUBERNETES = {**VAULT, "VAULT_TOKEN": "", "VAULT_AUTH": "kubernetes", "VAULT_ROLE": "role"}
REDIS = {**DIRECTORY, "REDIS_URL": f"rediss://:{MARK}@redis:6379/0", "CACHE_KEYS_FILE": "/keys.json"}
URL_NAMES = "BROKER_REDIS_URL names a user or password already; leave out BROKER_REDIS_USERNAME and _PASSWORD(_FILE)"
TLS = {**DIRECTORY, "TLS_CERT_FILE": "/tls.crt", "TLS_KEY_FILE": "/tls.key"}
BARE_REDIS = {**REDIS, "REDIS_URL": "redis://redis"}
LOGIN = {**BARE_REDIS, "REDIS_USERNAME": "broker", "REDIS_PASSWORD": MARK}


KMS = {**DIRECTORY, "KMS_REGION": "eu-central-1", "KMS_ENDPOINT_URL": "https://kms.example"}


def read(base: dict[str, str], **changes: str) -> Settings:
    """The settings from these variables, named without their prefix."""
    return read_settings({f"{PREFIX}{name}": value for name, value in {**base, **changes}.items()})


def refusal(base: dict[str, str], **changes: str) -> str:
    """Why these variables are refused; the text shows no marked value."""
    with pytest.raises(SettingsError) as refused:
        read(base, **changes)
    assert MARK.lower() not in str(refused.value).lower()
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return str(refused.value).removesuffix(".")


def test_unset_variables_have_their_defaults() -> None:
    """With only the required variables set, all others have their defaults."""
    settings = read(DIRECTORY)
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8080, "INFO")
    assert settings.allowed_ims_base_urls == {"https://ims-na1.adobelogin.com"}
    assert (settings.vault_mount, settings.vault_prefix, settings.vault_transit_mount) == ("secret", "ims", "transit")
    assert settings.redis_url.get_secret_value() == ""
    assert settings.audit_file is None
    assert settings.credential_dir == Path("/credentials")


def test_a_value_is_read_as_its_type() -> None:
    """Numbers, paths and secrets have their own types, not text."""
    settings = read({**REDIS, **VAULT, "CREDENTIAL_STORE": "vault"}, PORT="0", LOG_LEVEL="DEBUG", AUDIT_FILE="/a.log")
    assert (settings.port, settings.log_level, settings.audit_file) == (0, "DEBUG", Path("/a.log"))
    assert settings.vault_token is not None
    assert settings.vault_token.get_secret_value() == f"hvs.{MARK}"
    assert settings.redis_url.get_secret_value() == f"rediss://:{MARK}@redis:6379/0"


@pytest.mark.parametrize("name", ["AUDIT_CHAIN", "TRACING_ORGS"])
def test_a_switch_is_off_unless_it_is_true(name: str) -> None:
    """A switch is off by default and at `false`, on at `true`; for any other word the error lists these two."""
    field = name.lower()
    assert getattr(read(DIRECTORY), field) is False
    assert getattr(read(DIRECTORY, **{name: "false"}), field) is False
    assert getattr(read(DIRECTORY, **{name: "true"}), field) is True
    assert refusal(DIRECTORY, **{name: MARK}) == f"BROKER_{name}: must be true or false"


BAD = [
    *(("PORT", value) for value in (MARK, "-1", "65536", "80.5", f"80{MARK}", "9" * 5000)),
    *(("LOG_LEVEL", value) for value in (MARK, "info", "TRACE")),
    *(("CREDENTIAL_STORE", value) for value in (MARK, "Vault")),
    *(("VAULT_AUTH", value) for value in (MARK, "ldap")),
    *((name, value) for name in ("AUDIT_CHAIN", "TRACING_ORGS") for value in (MARK, "2", "truee", "sha256")),
    *(("VAULT_KV_VERSION", value) for value in (MARK, "0", "3", "v2")),
    *(("TRACING", value) for value in (MARK, "true", "OTLP")),
    *((name, value)
      for name in ("VAULT_MOUNT", "VAULT_PREFIX", "VAULT_TRANSIT_MOUNT", "VAULT_AUTH_MOUNT", "VAULT_NAMESPACE")
      for value in ("/", f"../{MARK}", f"x/../{MARK}", f".{MARK}",
                    f"{MARK}//x", f"{MARK}?x", f"{MARK} x", f"{MARK}\nx", f"{MARK}%2e")),
    *(("REDIS_PREFIX", value) for value in (f"{MARK}:x", f"{{{MARK}}}", f"{MARK}\nx", MARK * 6)),
    *((name, value)
      for name in ("VAULT_TOKEN", "VAULT_SECRET_ID")
      for value in (f"{MARK} x", f"{MARK}\nx", f"{MARK}é")),
    *((name, value)
      for name in ("VAULT_ADDR", "PUBLIC_URL", "IMS_BASE_URLS")
      for value in (MARK, f"ftp://{MARK}", f"https:{MARK}", "https://", f"//{MARK}", f"https://{MARK}/a b",
                    f"https://{MARK}?query", f"https://{MARK}#fragment", f"https://user:{MARK}@host",
                    f"https://{MARK}@host", f"https://{MARK}:99999", f"https://{MARK}:x", f"https://{MARK}:0",
                    f"https://[{MARK}", f"file:///{MARK}", f"https:///{MARK}")),
    ("IMS_BASE_URLS", f"https://{MARK}/path"),
    *(("KMS_REGION", value) for value in (MARK, f"{MARK}.eu-central-1", "eu-central-1/", "EU-CENTRAL-1", "eu-central")),
    *(("KMS_ENDPOINT_URL", value) for value in (
        MARK, f"http://{MARK}", f"https://{MARK}/path", f"https://user:{MARK}@host", f"https://{MARK}?query")),
    *((name, f"https://host{path}")
      for name in ("PUBLIC_URL", "VAULT_ADDR")
      for path in (f"//{MARK}", f"/{MARK}?x", f"/{MARK}#x", f"/{MARK}\nx", "/%2e", "/a//b")),
    *(("IMS_BASE_URLS", value) for value in (
        f"http://{MARK}", f"http://127.0.0.1.{MARK}", f"http://localhost.{MARK}", f"http://localhost@{MARK}",
        f"https://a.example,{MARK}", f"https://a.example,http://{MARK}", f"https://{MARK},", ",", f",https://{MARK}",
        f"https://a.example https://{MARK}", f"https://a.example;https://{MARK}/")),
    *(("REDIS_URL", value) for value in (
        MARK, f"http://{MARK}", f"REDIS://{MARK}", f" redis://{MARK}", f"unix://{MARK}", f"redis:{MARK}",
        f"redis+sentinel://{MARK}:26379", f"redis+cluster://{MARK}:6379/1")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda text: text[:32])
def test_an_error_names_the_variable_and_never_shows_the_value(name: str, value: str) -> None:
    """Any bad value is refused with the variable's name and the expectation, and no part of the value."""
    text = refusal({**REDIS, **VAULT}, **{name: value})
    assert text.startswith(f"{PREFIX}{name}: ")
    assert ";" not in text
    assert text.count(PREFIX) == 1


@pytest.mark.parametrize("name", ["IMS_BASE_URLS", "VAULT_ADDR", "PUBLIC_URL"])
@pytest.mark.parametrize("url", ["https://host?", "https://host#", "https://@host", "https://:@host", "https://ho st",
                                 "https://ho\nst", "https://host\\x"])  # fmt: skip
def test_a_malformed_base_url_is_refused(name: str, url: str) -> None:
    """A URL to which a path cannot simply be appended is not a base URL."""
    assert refusal(VAULT, **{name: url}).startswith(f"{PREFIX}{name}: ")


@pytest.mark.parametrize("url", ["https://host/broker", "http://host:8080/a/b.c/", "https://[::1]/a_b~c"])
def test_the_broker_and_vault_may_be_below_a_path(url: str) -> None:
    """Both may be below a path of a gateway; a final slash is removed."""
    settings = read(VAULT, PUBLIC_URL=url, VAULT_ADDR=url)
    assert (settings.public_url, settings.vault_addr) == (url.rstrip("/"), url.rstrip("/"))


@pytest.mark.parametrize("name", ["VAULT_MOUNT", "VAULT_PREFIX", "VAULT_TRANSIT_MOUNT", "VAULT_AUTH_MOUNT",
                                  "VAULT_NAMESPACE"])  # fmt: skip
@pytest.mark.parametrize("value", ["kv.v2", "team.a/x.y", "a..b", "/kv/v2.0/"])
def test_a_name_of_vault_may_have_dots(name: str, value: str) -> None:
    """Mounts, folders and namespaces may have dots in their names, as Vault allows."""
    assert getattr(read(VAULT, **{name: value}), name.lower()) == value


def test_all_bad_values_are_named_at_once() -> None:
    """Several bad variables are reported by one failed start, not one each."""
    text = refusal(DIRECTORY, PORT=MARK, LOG_LEVEL=MARK, VAULT_MOUNT=f"{MARK}?")
    assert re.findall(r"BROKER_(\w+): ", text) == ["PORT", "VAULT_MOUNT", "LOG_LEVEL"]


def test_all_missing_variables_are_named_at_once() -> None:
    """An empty environment is one error with all that is missing, of whatever part."""
    required = ["POLICY_FILE", "VAULT_ADDR", "VAULT_TOKEN"]
    assert re.findall(r"BROKER_(\w+?)(?: or \w+)? is required", refusal({})) == required
    more = {"REDIS_URL": "redis://redis", "TLS_CERT_FILE": "/c", "PROXY_USERNAME": "u", "KMS_ENDPOINT_URL": "https://k"}
    required += ["TLS_KEY_FILE", "KMS_REGION", "PROXY_URL", "PROXY_PASSWORD_FILE", "CACHE_KEYS_FILE"]
    assert sorted(re.findall(r"BROKER_(\w+?)(?: or \w+)? is required", refusal(more))) == sorted(required)


def test_unknown_malformed_and_missing_variables_are_named_together() -> None:
    """None of them hides the others, except that a malformed one hides what is missing in its own part."""
    text = refusal({}, PROT=MARK, LOG_LEVEL=MARK, REDIS_PREFIX=f"{MARK}:", REDIS_URL="redis://redis")
    assert re.findall(r"BROKER_(\w+)(?=: | is required)", text) == [
        "PROT", "REDIS_PREFIX", "LOG_LEVEL", "VAULT_ADDR", "VAULT_TOKEN_FILE", "POLICY_FILE"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["BROKER_PROT", "BROKER_", "broker_port", "Broker_Port", "BROKER_port", "BROKER_PORT "]
)
def test_an_unknown_variable_is_named(name: str) -> None:
    """A misspelt variable is refused, not ignored, even in another case and even if it is empty."""
    good = {f"{PREFIX}{known}": value for known, value in DIRECTORY.items()}
    for value in (MARK, ""):
        with pytest.raises(SettingsError) as refused:
            read_settings({**good, name: value})
        assert str(refused.value).startswith(f"Unknown variable {name}")
        assert "did you mean BROKER_PORT?" in str(refused.value)
        assert MARK not in str(refused.value)


@pytest.mark.parametrize("name", ["BROKER_SERVICE_HOST", "BROKER_PORT_8080_TCP_ADDR", "BROKER_API_SERVICE_PORT"])
def test_a_variable_that_kubernetes_injects_is_recognised(name: str) -> None:
    """A Service named broker causes such variables; the error says how to get rid of them."""
    with pytest.raises(SettingsError, match="enableServiceLinks: false"):
        read_settings({**{f"{PREFIX}{known}": value for known, value in DIRECTORY.items()}, name: "10.0.0.1"})


def test_other_variables_are_ignored() -> None:
    """A variable without the prefix is neither read nor refused."""
    assert (
        read_settings({**{f"{PREFIX}{k}": v for k, v in DIRECTORY.items()}, "PORT": "1", "XBROKER_X": "1"}).port == 8080
    )


@pytest.mark.parametrize("name", [name.removeprefix(PREFIX) for name in variables()])
def test_empty_counts_as_unset(name: str) -> None:
    """An empty variable counts as unset: the default is used, or the same variable is missing."""
    base = {**REDIS, **VAULT, "CREDENTIAL_STORE": "vault"}
    without = {key: value for key, value in base.items() if key != name}
    try:
        expected: Settings | str = read(without)
    except SettingsError as refused:
        expected = str(refused).removesuffix(".")
    assert (refusal(without, **{name: ""}) if isinstance(expected, str) else read(without, **{name: ""})) == expected


def test_a_policy_is_required() -> None:
    """Without a policy file the settings are invalid, and the error says what goes into one."""
    assert refusal(DIRECTORY, POLICY_FILE="") == (
        "BROKER_POLICY_FILE is required; set it to the path of the policy,"
        " for which `ims-token-broker caller create NAME` prints the lines"
    )


@pytest.mark.parametrize(("base", "missing", "text"), [
    (DIRECTORY, "CREDENTIAL_DIR", "BROKER_CREDENTIAL_DIR is required with the directory store"),
    (VAULT, "VAULT_ADDR", "BROKER_VAULT_ADDR is required with the vault store"),
    (VAULT, "VAULT_TOKEN", "BROKER_VAULT_TOKEN or BROKER_VAULT_TOKEN_FILE is required with BROKER_VAULT_AUTH=token"),
    (APPROLE, "VAULT_ROLE_ID", "BROKER_VAULT_ROLE_ID is required with BROKER_VAULT_AUTH=approle"),
    (VAULT_TLS, "VAULT_KEY_FILE", "BROKER_VAULT_KEY_FILE is required with BROKER_VAULT_CERT_FILE"),
    (VAULT_TLS, "VAULT_CERT_FILE", "BROKER_VAULT_CERT_FILE is required with BROKER_VAULT_KEY_FILE"),
    (KUBERNETES, "VAULT_ROLE", "BROKER_VAULT_ROLE is required with BROKER_VAULT_AUTH=kubernetes"),
    ({**KUBERNETES, "VAULT_AUTH": "jwt"}, "VAULT_ROLE", "BROKER_VAULT_ROLE is required with BROKER_VAULT_AUTH=jwt"),
    (REDIS, "CACHE_KEYS_FILE",
     "BROKER_CACHE_KEYS_FILE is required with Redis; make one with `ims-token-broker keys create FILE`"),
    (TLS, "TLS_KEY_FILE", "BROKER_TLS_KEY_FILE is required with BROKER_TLS_CERT_FILE"),
    (TLS, "TLS_CERT_FILE", "BROKER_TLS_CERT_FILE is required with BROKER_TLS_KEY_FILE"),
    (KMS, "KMS_REGION", "BROKER_KMS_REGION is required with BROKER_KMS_ENDPOINT_URL"),
    (LOGIN, "REDIS_PASSWORD", "BROKER_REDIS_USERNAME needs BROKER_REDIS_PASSWORD or BROKER_REDIS_PASSWORD_FILE"),
    (LOGIN, "REDIS_URL",
     "BROKER_REDIS_URL is required with BROKER_REDIS_USERNAME, _PASSWORD and _PASSWORD_FILE"),
])  # fmt: skip
def test_related_variables_are_required_together(base: dict[str, str], missing: str, text: str) -> None:
    """A store, a login method, and Redis each need their own variables, and only those."""
    read(base)
    assert refusal({key: value for key, value in base.items() if key != missing}) == text


@pytest.mark.parametrize(("base", "more", "text"), [
    (VAULT, {"VAULT_TOKEN_FILE": "/t"}, "BROKER_VAULT_TOKEN and BROKER_VAULT_TOKEN_FILE are both set; give one"),
    (APPROLE, {"VAULT_SECRET_ID_FILE": "/s"},
     "BROKER_VAULT_SECRET_ID and BROKER_VAULT_SECRET_ID_FILE are both set; give one"),
    (VAULT_TLS, {"VAULT_ADDR": "HTTP://vault:8200"},
     "BROKER_VAULT_CERT_FILE and _KEY_FILE are for https:// only; change BROKER_VAULT_ADDR or leave them out"),
    (LOGIN, {"REDIS_PASSWORD_FILE": "/p"},
     "BROKER_REDIS_PASSWORD and BROKER_REDIS_PASSWORD_FILE are both set; give one"),
    *((REDIS, more, URL_NAMES) for more in ({"REDIS_PASSWORD": MARK}, {"REDIS_PASSWORD_FILE": "/p"},
                                       {"REDIS_USERNAME": "u", "REDIS_PASSWORD": MARK})),
    (REDIS, {"REDIS_CACERT": "/ca", "REDIS_URL": "redis://h"},
     "BROKER_REDIS_CACERT is for rediss:// only; change BROKER_REDIS_URL or leave it out"),
    ({**REDIS, "REDIS_URL": "rediss://h"}, {"REDIS_CERT_FILE": "/c"},
     "BROKER_REDIS_KEY_FILE is required with BROKER_REDIS_CERT_FILE"),
    ({**REDIS, "REDIS_URL": "rediss://h"}, {"REDIS_KEY_FILE": "/k"},
     "BROKER_REDIS_CERT_FILE is required with BROKER_REDIS_KEY_FILE"),
    ({**REDIS, "REDIS_URL": "redis://h"}, {"REDIS_CERT_FILE": "/c", "REDIS_KEY_FILE": "/k"},
     "BROKER_REDIS_CERT_FILE and _KEY_FILE are for rediss:// only; change BROKER_REDIS_URL or leave them out"),
    (REDIS, {"REDIS_SENTINEL_PASSWORD_FILE": "/p"},
     "BROKER_REDIS_SENTINEL_USERNAME and _PASSWORD_FILE are for redis+sentinel:// and rediss+sentinel:// only"),
    ({**REDIS, "REDIS_URL": "redis+sentinel://h/m"}, {"REDIS_SENTINEL_USERNAME": "u"},
     "BROKER_REDIS_SENTINEL_USERNAME needs BROKER_REDIS_SENTINEL_PASSWORD_FILE"),
    (DIRECTORY, {"REDIS_CACERT": "/ca", "REDIS_URL": "redis://h"},
     ("BROKER_REDIS_CACERT is for rediss:// only; change BROKER_REDIS_URL or leave it out. "
      "BROKER_CACHE_KEYS_FILE is required with Redis; make one with `ims-token-broker keys create FILE`")),
])  # fmt: skip
def test_contradictory_variables_are_refused(base: dict[str, str], more: dict[str, str], text: str) -> None:
    """All contradictory variables are reported at once."""
    assert refusal(base, **more) == text


def test_a_final_newline_is_not_part_of_a_secret() -> None:
    """A token or secret id that was put into a Kubernetes Secret with `echo` works, and so does a password."""
    assert read(VAULT, VAULT_TOKEN="hvs.x\n").vault_token == SecretStr("hvs.x")
    assert read(APPROLE, VAULT_SECRET_ID=" s\n").vault_secret_id == SecretStr("s")
    assert read(LOGIN, REDIS_PASSWORD=" p \r\n").redis_password == SecretStr(" p ")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_final_line_end_is_part_of_no_setting(end: str) -> None:
    """Every variable may come from a file or Secret that ends with a line end; one of only line ends is not set."""
    clean = {**REDIS, **VAULT, "CREDENTIAL_STORE": "vault", "VAULT_MOUNT": "kv", "PORT": "81", "LOG_LEVEL": "DEBUG"}
    ended = {name: value + end for name, value in {**clean, "AUDIT_FILE": ""}.items()}
    assert read(ended).model_dump() == read(clean).model_dump()


def test_unused_variables_are_not_required() -> None:
    """The directory store needs no Vault settings, a token file replaces a token, and memory needs no keys."""
    assert read(DIRECTORY, VAULT_AUTH="approle").vault_addr is None
    assert read(VAULT, VAULT_TOKEN="", VAULT_TOKEN_FILE="/token").vault_token is None
    assert read(DIRECTORY, REDIS_URL="").cache_keys_file is None
    assert read(APPROLE, VAULT_SECRET_ID="", VAULT_SECRET_ID_FILE="/s").vault_secret_id is None
    assert read(LOGIN, REDIS_PASSWORD="", REDIS_PASSWORD_FILE="/p").redis_password is None
    assert read(BARE_REDIS, REDIS_PASSWORD="p").redis_username is None


@pytest.mark.parametrize(("value", "urls"), [
    ("https://a.example", {"https://a.example"}),
    ("https://a.example/", {"https://a.example"}),
    (" https://a.example:8443 , https://b.example/ ", {"https://a.example:8443", "https://b.example"}),
    ("http://localhost:1,http://127.0.0.2:2,http://[::1]:3",
     {"http://localhost:1", "http://127.0.0.2:2", "http://[::1]:3"}),
    ("ims-na1.adobelogin.com,HTTPS://A.Example:443/ims/token/v3", {"https://ims-na1.adobelogin.com", "https://a.example"}),
])  # fmt: skip
def test_ims_base_urls_are_an_allow_list(value: str, urls: set[str]) -> None:
    """The list may have spaces and any spelling of an HTTPS URL or host, and plain HTTP on loopback."""
    assert read(DIRECTORY, IMS_BASE_URLS=value).allowed_ims_base_urls == urls


@pytest.mark.parametrize("url", ["redis://h", "rediss://user:x@h:6380/1", "redis+sentinel://a,b/m",
                                 "rediss+sentinel://user:x@a,b:1/m/1"])  # fmt: skip
def test_redis_is_plain_or_with_tls(url: str) -> None:
    """Each URL scheme of Redis is accepted unchanged."""
    assert read(REDIS, REDIS_URL=url).redis_url.get_secret_value() == url


def test_vault_and_the_broker_itself_may_be_plain_http() -> None:
    """The operator may choose plain HTTP for Vault and the public URL; a final slash is removed."""
    settings = read(VAULT, VAULT_ADDR="http://vault:8200/", PUBLIC_URL="http://broker:8080/")
    assert (settings.vault_addr, settings.public_url) == ("http://vault:8200", "http://broker:8080")


def test_a_given_mapping_replaces_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a mapping is given, the environment is ignored, whether its values are valid or not."""
    for name, value in {"BROKER_PORT": "1", "BROKER_AUDIT_FILE": "/x", "BROKER_UNKNOWN": "x", "PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    settings = read(DIRECTORY)
    assert (settings.port, settings.audit_file) == (8080, None)


def test_the_environment_is_read_if_no_mapping_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the variables of the process are used."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in {**DIRECTORY, "PORT": "81"}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    assert read_settings().port == 81


def test_minting_needs_no_other_settings() -> None:
    """A command that mints without serving needs no policy, and ignores the settings of the server."""
    environment = {"BROKER_CREDENTIAL_STORE": "directory", "BROKER_CREDENTIAL_DIR": "/c", "BROKER_REDIS_URL": "bad"}
    assert read_minting_settings(environment).credential_dir == Path("/c")


@pytest.mark.parametrize(("environment", "names"), [
    ({}, "BROKER_VAULT_ADDR"),
    ({"BROKER_CREDENTIAL_STORE": "directory"}, "BROKER_CREDENTIAL_DIR"),
    ({"BROKER_CREDENTIAL_STORE": "directory", "BROKER_CREDENTIAL_DIR": "/c", "BROKER_CREDENTIAL_DIRS": "/d"},
     "BROKER_CREDENTIAL_DIRS"),
])  # fmt: skip
def test_minting_refuses_its_own_settings_as_the_broker_does(environment: dict[str, str], names: str) -> None:
    """A missing variable for minting, or an unknown one, is named."""
    with pytest.raises(SettingsError, match=names):
        read_minting_settings(environment)


def test_kms_needs_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the AWS SDK the error names the variable, the extra and what to install; without KMS it is not needed."""
    monkeypatch.setitem(sys.modules, "botocore", None)  # how Python says that it is not there
    read(DIRECTORY)
    remedy = "BROKER_KMS_REGION needs the AWS SDK (the extra aws): pip install -r requirements/aws.lock"
    assert refusal(DIRECTORY, KMS_REGION="eu-central-1") == remedy


def test_settings_never_show_a_secret_and_never_change() -> None:
    """Neither the repr nor the text of the settings contains a secret, and they cannot be changed after the start."""
    settings = read({**LOGIN, **APPROLE, "CREDENTIAL_STORE": "vault"}, VAULT_TOKEN=f"hvs.{MARK}")
    assert settings.redis_password is not None
    assert settings.vault_secret_id is not None
    for shown in (repr(settings), str(settings), f"{settings}", settings.model_dump_json()):
        assert MARK not in shown
    with pytest.raises(ValueError, match="frozen") as refused:
        settings.vault_secret_id = settings.redis_url
    assert MARK not in str(refused.value)
