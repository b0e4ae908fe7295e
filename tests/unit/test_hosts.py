"""Loopback, and the normal form of an IMS host, mean the same wherever they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hosts import is_loopback, normal_ims_base_url


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "127.255.255.255", "::1", "0:0:0:0:0:0:0:1", "localhost"])
def test_loopback_is_this_machine(host: str) -> None:
    """127.0.0.0/8, ::1 and localhost are loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "broker", "10.0.0.1", "128.0.0.1", "127.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "[::1]", "::1%lo",
     "localhost.example.com", "127.0.0.1.example.com", "LOCALHOST"],
)  # fmt: skip
def test_everything_else_is_not_loopback(host: str) -> None:
    """What could be another machine, or is not written as an address, is not loopback."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ims-na1.adobelogin.com", "https://ims-na1.adobelogin.com"),
        ("IMS-NA1.AdobeLogin.com", "https://ims-na1.adobelogin.com"),
        ("HTTPS://IMS-NA1.adobelogin.com:443/", "https://ims-na1.adobelogin.com"),
        ("https://ims-na1.adobelogin.com/ims/exchange/jwt", "https://ims-na1.adobelogin.com"),
        ("https://ims-na1.adobelogin.com/ims/exchange/jwt/", "https://ims-na1.adobelogin.com"),
        ("https://ims-na1.adobelogin.com/ims/token/v3", "https://ims-na1.adobelogin.com"),
        ("ims-na1.adobelogin.com:443/ims", "https://ims-na1.adobelogin.com"),
        (" https://ims.example:8443//\n", "https://ims.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://127.0.0.1:443", "http://127.0.0.1:443"),
        ("http://[::1]:9001", "http://[::1]:9001"),
        ("http://localhost:9001", "http://localhost:9001"),
    ],
)
def test_an_ims_host_has_one_form(text: str, normal: str) -> None:
    """A bare host, capitals, the default port and the path of an endpoint make no difference."""
    assert normal_ims_base_url(text) == normal


@pytest.mark.parametrize(
    "text",
    ["", "ims", "localhost", "ftp://ims.example", "https://", "https://user@ims.example", "https://ims.example?x",
     "https://ims.example/other", "https://ims.example/imsx", "https://ims.example/ims/token?client_id=x",
     "https://ims.example/ims/../x y", "https://ims.example:0", "https://ims.example:65536", "https://ims.example:x",
     "https://ims.example https://b.example", "https:ims.example", "//ims.example"],
)  # fmt: skip
def test_anything_but_an_ims_host_is_refused(text: str) -> None:
    """A misspelt URL, a path that is not one of IMS, a user or a query are not guessed away."""
    with pytest.raises(ValueError, match="must") as refused:
        normal_ims_base_url(text)
    assert "ims.example?" not in str(refused.value)
    assert "user" not in str(refused.value)


@given(
    host=st.from_regex(r"[a-z0-9]{1,9}\.[a-z]{2,5}", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    scheme=st.sampled_from(["", "https://"]),
    path=st.sampled_from(["", "/", "/ims", "/ims/token/v3", "/ims/exchange/jwt"]),
    capitals=st.booleans(),
)
def test_the_normal_form_stays_as_it_is(host: str, port: int | None, scheme: str, path: str, capitals: bool) -> None:
    """Every spelling of a host and port has the same normal form, which is its own."""
    text = f"{scheme}{host}{'' if port is None else f':{port}'}{path}"
    tidy = f"https://{host}{'' if port in {None, 443} else f':{port}'}"
    assert normal_ims_base_url(text.upper() if capitals else text) == normal_ims_base_url(tidy) == tidy
