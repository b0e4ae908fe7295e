"""The URL of Redis: what is accepted, and that no error quotes it."""

from __future__ import annotations

import pytest

from app.settings.redis_address import RedisAddress, parse_redis_url

MARK = "cAnArY"


@pytest.mark.parametrize(("url", "address"), [
    ("redis://h", RedisAddress("h")),
    ("rediss://h:6380/1", RedisAddress("h", 6380, 1, tls=True)),
    ("redis://u:p%40@h", RedisAddress("h", has_login=True, user="u", password="p@")),
    ("redis://u:p@s:s@h", RedisAddress("h", has_login=True, user="u", password="p@s:s")),
    ("redis://:%23%2F%3F%25@h", RedisAddress("h", has_login=True, password="#/?%")),
    ("redis://@h", RedisAddress("h", has_login=True)),
    ("redis://[::1]:1/", RedisAddress("::1", 1)),
])  # fmt: skip
def test_an_address_is_read_from_its_url(url: str, address: RedisAddress) -> None:
    """Host, port, database, TLS and login come from the URL, and the rest has defaults."""
    assert parse_redis_url(url) == address
    assert "p@" not in repr(parse_redis_url(url))


@pytest.mark.parametrize(
    "url",
    [f"http://{MARK}", f"REDIS://{MARK}", f"redis://:{MARK}@h:x", f"redis://{MARK}:99999", f"redis://h/{MARK}",
     f"redis://:{MARK}@", "redis:///0", f"redis://h?{MARK}=1", f"redis://h#{MARK}", f"redis://{MARK}/-1",
     f"redis+cluster://{MARK}"],
)  # fmt: skip
def test_any_other_url_is_refused_without_being_quoted(url: str) -> None:
    """A URL that cannot be used is refused, and the error does not quote it, because it may hold a password."""
    with pytest.raises(ValueError, match=r"redis|host|database") as refused:
        parse_redis_url(url)
    assert MARK.lower() not in str(refused.value).lower()
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("character", ["#", "/", "?", "%", "[", "]", "\\", " "])
@pytest.mark.parametrize("login", [":{}@", "user:{}@", "{}:password@"])
def test_a_raw_character_in_a_password_is_explained(character: str, login: str) -> None:
    """A character that would end the password, or change it, is refused with what to do, and nothing is quoted."""
    url = f"redis://{login.format(f'p{character}x{MARK}')}redis:6379/0"
    with pytest.raises(ValueError, match=r"percent-encode it .*or give .*BROKER_REDIS_PASSWORD_FILE") as refused:
        parse_redis_url(url)
    assert MARK.lower() not in str(refused.value).lower()


def test_the_password_of_an_issue_is_explained() -> None:
    """The password of many reports, with `#` and `/` as they are, is refused with what to do."""
    with pytest.raises(ValueError, match="percent-encode"):
        parse_redis_url("redis://:p#s/s@redis:6379/0")
