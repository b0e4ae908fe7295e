"""The URL of Redis: what is accepted, and that no error quotes it."""

from __future__ import annotations

import pytest

from app.settings.redis_address import MAX_ENDPOINTS, Endpoint, RedisAddress, Topology, parse_redis_url

MARK = "cAnArY"
ONE = (Endpoint("h", 6379),)
SENTINELS = (Endpoint("a", 26379), Endpoint("b", 1))


@pytest.mark.parametrize(("url", "address"), [
    ("redis://h", RedisAddress(ONE)),
    ("rediss://h:6380/1", RedisAddress((Endpoint("h", 6380),), database=1, tls=True)),
    ("redis://u:p%40@h", RedisAddress(ONE, has_login=True, user="u", password="p@")),
    ("redis://u:p@s:s@h", RedisAddress(ONE, has_login=True, user="u", password="p@s:s")),
    ("redis://:%23%2F%3F%25@h", RedisAddress(ONE, has_login=True, password="#/?%")),
    ("redis://@h", RedisAddress(ONE, has_login=True)),
    ("redis://[::1]:1/", RedisAddress((Endpoint("::1", 1),))),
    ("redis+sentinel://a,b:1/my.primary_1-x", RedisAddress(SENTINELS, "sentinel", "my.primary_1-x")),
    ("rediss+sentinel://u:p@a,b:1/m/3",
     RedisAddress(SENTINELS, "sentinel", "m", 3, tls=True, has_login=True, user="u", password="p")),
    ("redis+cluster://[::1]:1,h", RedisAddress((Endpoint("::1", 1), *ONE), "cluster")),
    ("rediss+cluster://:p@h", RedisAddress(ONE, "cluster", tls=True, has_login=True, password="p")),
])  # fmt: skip
def test_an_address_is_read_from_its_url(url: str, address: RedisAddress) -> None:
    """Hosts, ports, topology, primary, database, TLS and login come from the URL, and the rest has defaults."""
    assert parse_redis_url(url) == address
    assert "p@" not in repr(parse_redis_url(url))


@pytest.mark.parametrize(("url", "sentence"), [
    ("redis+sentinel://a,b", "primary's name"),
    ("redis+sentinel://a,b/", "primary's name"),
    ("redis+sentinel://a,b/my master", "primary's name"),
    ("redis+sentinel://a,,b/m", "must name a host"),
    ("redis+sentinel://a,b:x/m", "malformed host, port"),
    ("redis+sentinel://a/m/x", "malformed host, port or database"),
    ("redis+sentinel://a/m/-1", "negative number of the database"),
    ("redis+sentinel://a/m?ssl=1", "options are not taken"),
    ("redis+cluster://a,b/0", "a cluster has no database numbers"),
    ("redis+cluster://", "must name a host"),
    ("redis://a,b", "names several hosts; begin with redis\\+sentinel"),
    ("sentinel://a,b/m", "must begin with redis://"),
    ("redis+sentinel:a/m", "must begin with redis://"),
    (f"redis+cluster://{','.join(['h'] * (MAX_ENDPOINTS + 1))}", "more than 32 hosts"),
])  # fmt: skip
def test_each_mistake_has_a_sentence(url: str, sentence: str) -> None:
    """A URL of Sentinels or of a cluster that cannot be used is refused with what is wrong in it."""
    with pytest.raises(ValueError, match=sentence):
        parse_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [f"http://{MARK}", f"REDIS://{MARK}", f"redis://:{MARK}@h:x", f"redis://{MARK}:99999", f"redis://h/{MARK}",
     f"redis://:{MARK}@", "redis:///0", f"redis://h?{MARK}=1", f"redis://h#{MARK}", f"redis://{MARK}/-1",
     f"redis+cluster://{MARK}/1", f"redis+sentinel://:{MARK}@{MARK}", f"redis+sentinel://h/{MARK}/x"],
)  # fmt: skip
def test_any_other_url_is_refused_without_being_quoted(url: str) -> None:
    """A URL that cannot be used is refused, and the error does not quote it, because it may hold a password."""
    with pytest.raises(ValueError, match=r"redis|host|database") as refused:
        parse_redis_url(url)
    assert MARK.lower() not in str(refused.value).lower()
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("character", ["#", "/", "?", "%", "[", "]", "\\", " "])
@pytest.mark.parametrize("login", [":{}@", "user:{}@", "{}:password@"])
@pytest.mark.parametrize("topology", ["standalone", "sentinel", "cluster"])
def test_a_raw_character_in_a_password_is_explained(character: str, login: str, topology: Topology) -> None:
    """A character that would end the password, or change it, is refused with what to do, and nothing is quoted."""
    scheme, path = {
        "standalone": ("redis", "/0"),
        "sentinel": ("redis+sentinel", "/m"),
        "cluster": ("redis+cluster", ""),
    }[topology]
    url = f"{scheme}://{login.format(f'p{character}x{MARK}')}redis:6379{path}"
    with pytest.raises(ValueError, match=r"percent-encode it .*or give .*BROKER_REDIS_PASSWORD_FILE") as refused:
        parse_redis_url(url)
    assert MARK.lower() not in str(refused.value).lower()


def test_the_password_of_an_issue_is_explained() -> None:
    """The password of many reports, with `#` and `/` as they are, is refused with what to do."""
    with pytest.raises(ValueError, match="percent-encode"):
        parse_redis_url("redis://:p#s/s@redis:6379/0")
