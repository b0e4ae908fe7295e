"""The issuers of a policy: each is listed once, with one source of keys that no one else can intercept."""

from __future__ import annotations

import pytest

from app.domain.issuer_document import MAX_ISSUERS
from app.domain.policy_document import parse_policy
from tests.support.policies import ABSENT, CLUSTER, GOOD, changed, place_of

DEFECTS: list[tuple[str, object, str]] = [
    ("issuers", "x", "issuers"),
    ("issuers.0", "x", "issuers[0]"),
    ("issuers.0.extra", "x", "issuers[0]"),
    ("issuers.0.audience", ABSENT, "issuers[0]"),
    ("issuers.0.issuer", ABSENT, "issuers[0]"),
    *(("issuers.0.issuer", bad, "issuers[0].issuer") for bad in ("", "x" * 257, "a\n", 1, None)),
    *(("issuers.0.audience", bad, "issuers[0].audience") for bad in ("", "x" * 257, "\ud800", 1, None)),
    ("issuers.0.audience", ["a", "a"], "issuers[0].audience"),
    ("issuers.0.audience", ["a", 1], "issuers[0].audience[1]"),
    ("issuers.0.jwks_file", "/run/jwks.json", "issuers[0]"),
    ("issuers.0.jwks_url", ABSENT, "issuers[0]"),
    ("issuers.0.jwks_ca_file", "", "issuers[0].jwks_ca_file"),
    ("issuers.0.token_review_ca_file", "/ca", "issuers[0]"),
    ("issuers.0.token_review_token_file", "/token", "issuers[0]"),
    ("issuers.0.token_review_url", "http://10.0.0.1/", "issuers[0].token_review_url"),
    ("issuers.0.token_review_url", None, "issuers[0].token_review_url"),
    ("issuers.0.jwks_token_file", "a\x00b", "issuers[0].jwks_token_file"),
]


@pytest.mark.parametrize(("path", "value", "place"), DEFECTS)
def test_a_defect_is_named_by_its_place(path: str, value: object, place: str) -> None:
    """Every defect makes the whole policy invalid, and the error says where it is."""
    assert place_of(changed(path, value)) == place


def test_an_issuer_is_listed_once() -> None:
    """Two entries for one issuer are refused, because it would be unclear which audience applies."""
    document = changed("issuers", [*GOOD["issuers"], {"issuer": CLUSTER, "audience": "x", "jwks_file": "/x"}])
    assert place_of(document) == "issuers[1].issuer"


def test_the_number_of_issuers_is_bounded() -> None:
    """The number of issuers is limited, because each costs a task and a connection."""
    many = [{"issuer": f"i{number}", "audience": "x", "jwks_file": "/x"} for number in range(MAX_ISSUERS + 1)]
    assert place_of({**GOOD, "issuers": many}) == "issuers"


def test_a_token_review_is_read_with_its_files() -> None:
    """An issuer may name the API server that reviews its tokens, with a CA and a token, besides a file with keys."""
    review = {"token_review_url": "https://k/r", "token_review_ca_file": "/ca", "token_review_token_file": "/token"}
    document = changed("issuers.0", {"issuer": CLUSTER, "audience": "a", "jwks_file": "/x", **review})
    [issuer] = parse_policy(document, "v").issuers
    assert (issuer.token_review_url, issuer.token_review_ca_file) == ("https://k/r", "/ca")
    assert issuer.token_review_token_file == "/token"


def test_files_for_a_url_need_the_url() -> None:
    """A CA or a token without a URL is refused, because reading a file needs neither."""
    document = changed("issuers.0", {"issuer": CLUSTER, "audience": "a", "jwks_file": "/x", "jwks_ca_file": "/ca"})
    assert place_of(document) == "issuers[0]"


@pytest.mark.parametrize(
    "url",
    [
        "https://a.test/jwks",
        "https://a.test:8443/jwks?x=1",
        "https://[2001:db8::1]/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://127.8.8.8/jwks",
        "http://localhost/jwks",
        "http://LOCALHOST:1/jwks",
        "http://[::1]:80/jwks",
    ],
)
def test_a_jwks_url_is_https_or_loopback(url: str) -> None:
    """HTTPS to any host, and plain HTTP to loopback, are accepted."""
    assert parse_policy(changed("issuers.0.jwks_url", url), "v").issuers[0].jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.test/jwks",
        "//a.test/jwks",
        "ftp://a.test/jwks",
        "file:///etc/passwd",
        "https:///jwks",
        "https://a%2eb.test/jwks",
        "https://a,b.test/jwks",
        "https://a.test./jwks",
        "https://[::1%25eth0]/jwks",
        "https://",
        "http://a.test/jwks",
        "http://10.0.0.1/jwks",
        "http://0.0.0.0/jwks",
        "http://127.0.0.1.evil.test/jwks",
        "http://localhost.evil.test/jwks",
        "http://localhost./jwks",
        "http://127.0.0.1@evil.test/jwks",
        "http://localhost:80@evil.test/jwks",
        "http://127.0.0.1\\@evil.test/jwks",
        "http://evil.test#@127.0.0.1/jwks",
        "http://evil.test?@127.0.0.1/jwks",
        "http://127.1/jwks",
        "http://2130706433/jwks",
        "http://0x7f000001/jwks",
        "http://[::ffff:10.0.0.1]/jwks",
        "http://[::1/jwks",
        "http://localhost%2eevil.test/jwks",
        "http://\uff4cocalhost/jwks",
        "http://localhost:99999/jwks",
        "http://localhost:0/jwks",
        "http://localhost:x/jwks",
        "https://user:password@a.test/jwks",
        "https://a.test/jwks#fragment",
        "https://a.test/jwks\n",
        "https://a.te\tst/jwks",
        " https://a.test/jwks",
        "https://a b.test/jwks",
        "https://a.test/" + "x" * 2048,
        1,
        None,
    ],
)
def test_any_other_jwks_url_is_refused(url: object) -> None:
    """No spelling reaches another machine over plain HTTP, and no URL may contain a password."""
    assert place_of(changed("issuers.0.jwks_url", url)) == "issuers[0].jwks_url"
