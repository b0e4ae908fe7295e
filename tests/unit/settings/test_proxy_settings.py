"""The settings of the egress proxy: what is accepted, and which hosts are reached without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bootstrap.minting import egress_proxy
from app.settings.no_proxy import DEFAULT_NO_PROXY, parse_no_proxy
from app.settings.setting_errors import SettingsError
from app.settings.settings import read_settings, unread_proxy_variables

REQUIRED = {"BROKER_POLICY_FILE": "/p", "BROKER_CREDENTIAL_STORE": "directory", "BROKER_CREDENTIAL_DIR": "/c"}
PROXY = {"BROKER_PROXY_URL": "http://proxy.example.com:3128/"}
LOGIN = {"BROKER_PROXY_USERNAME": "u", "BROKER_PROXY_PASSWORD_FILE": "/password"}


def refusal(**changes: str) -> str:
    """Why these settings are refused."""
    with pytest.raises(SettingsError) as refused:
        read_settings({**REQUIRED, **changes})
    return str(refused.value)


def test_a_proxy_is_used_if_there_is_one() -> None:
    """Without a URL there is no proxy; with one, it is used with its login and the default exceptions."""
    proxy = egress_proxy(read_settings({**REQUIRED, **PROXY, **LOGIN}))

    assert egress_proxy(read_settings(REQUIRED)) is None
    assert proxy is not None
    assert (proxy.url, proxy.username) == ("http://proxy.example.com:3128", "u")
    assert proxy.no_proxy == parse_no_proxy(DEFAULT_NO_PROXY)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://u:canary@proxy:3128", "must have no login; set BROKER_PROXY_USERNAME and BROKER_PROXY_PASSWORD_FILE"),
        ("proxy:3128", "must be http:// or https://, then the host and the port of an HTTP proxy"),
        ("http://proxy", "must name the proxy's port, such as http://proxy.example.com:3128"),
        ("socks5://proxy:1080", "must be http:// or https://, then"),
        ("http://proxy:3128/canary", "must be http:// or https://, then"),
        ("http://proxy:0", "must be http:// or https://, then"),
    ],
)
def test_another_form_of_the_url_is_refused(url: str, expected: str) -> None:
    """The URL of a proxy is a scheme, a host and a port; the sentence never repeats it."""
    text = refusal(BROKER_PROXY_URL=url)

    assert text.startswith(f"BROKER_PROXY_URL: {expected}")
    assert "canary" not in text


@pytest.mark.parametrize("alone", LOGIN)
def test_a_login_is_whole_and_needs_a_proxy(alone: str) -> None:
    """A user without a password file, or the other way round, is refused; so is a login without a proxy."""
    [other] = LOGIN.keys() - {alone}
    assert f"{other} is required with {alone}" in refusal(**PROXY, **{alone: LOGIN[alone]})
    assert "BROKER_PROXY_URL is required" in refusal(**LOGIN)


@pytest.mark.parametrize("text", ["host:80", "http://host", "a b/c", "*", "10.0.0.0/33", "10.0.0.300", "ho$t"])
def test_an_item_of_no_proxy_is_a_host_a_suffix_or_a_range(text: str) -> None:
    """Ports, URLs and lone wildcards are refused, since they would match nothing."""
    assert refusal(BROKER_NO_PROXY=text).startswith("BROKER_NO_PROXY: must be hosts, .suffixes and CIDR ranges")


@pytest.mark.parametrize(
    ("host", "matches"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("vault.vault.svc", True),
        ("api.cluster.local", True), ("API.Cluster.Local.", True), ("svc", False), ("cluster.local", False),
        ("ims-na1.adobelogin.com", False), ("10.0.0.1", False), ("localhost.example.com", False),
    ],
)  # fmt: skip
def test_loopback_and_the_cluster_are_reached_directly_by_default(host: str, *, matches: bool) -> None:
    """By default only this machine and the names of the cluster are reached without the proxy."""
    assert parse_no_proxy(DEFAULT_NO_PROXY).matches(host) is matches


def test_each_form_of_an_item_matches_what_it_says() -> None:
    """A host is exact, a suffix matches all names below it, and a range matches addresses."""
    rules = parse_no_proxy(" Idp.example.com, *.corp.example .lan,10.0.0.0/8 2001:db8::/32,[::1] ")

    assert all(map(rules.matches, ["idp.example.com", "a.corp.example", "b.a.lan", "10.255.0.1", "2001:db8::7", "::1"]))
    assert not any(map(rules.matches, ["a.idp.example.com", "corp.example", "lan", "11.0.0.1", "10.0.0.1.example"]))


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text breaks the parser."""
    try:
        parse_no_proxy(text).matches("ims.example.com")
    except ValueError as error:
        assert str(error).startswith("must be hosts")  # noqa: PT017  # the message is the claim


def test_the_usual_variables_are_found() -> None:
    """The variables that other programs read are listed if they are set, and their values are not."""
    found = unread_proxy_variables(
        {"HTTPS_PROXY": "http://u:x@p:1", "all_proxy": "x", "https_proxy": "", "NO_PROXY": "y"}
    )

    assert found == ("HTTPS_PROXY", "all_proxy")
