"""JWTs that a trusted issuer signed, with claims that must not count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.issuer import LocalIssuer


def forged_claims(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str]]:
    """Rows 69 to 71: (what is wrong, token) for claims that the issuer signed but that must not count."""
    yield from _times(issuer, now)
    yield from _parties(issuer, now)
    yield from _raw(issuer, now)


def _times(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str]]:
    second = int(now)
    expiries: tuple[object, ...] = (
        ...,
        None,
        "x",
        "9999999999",
        True,
        [second + 600],
        {},
        -1,
        0,
        10**30,
    )
    for wrong in expiries:
        yield f"exp {str(wrong)[:20]}", issuer.token(now, exp=wrong)
    yield "expired beyond the leeway", issuer.token(now, iat=second - 700, exp=second - 61)
    yield "expired long ago", issuer.token(now, iat=1, exp=2)
    yield "exp before iat", issuer.token(now, iat=second + 30, exp=second + 20)
    yield "lives too long", issuer.token(now, exp=second + 25 * 3600 + 1)
    yield "lives too long, no iat", issuer.token(now, iat=..., exp=second + 26 * 3600)
    yield "lives half a second too long", issuer.token(now, exp=second + 25 * 3600 + 0.5)
    yield "expired half a second beyond the leeway", issuer.token(now, iat=second - 700, exp=second - 60.5)
    yield "never expires", issuer.token(now, exp=253402300799)
    yield "not yet issued", issuer.token(now, iat=second + 120)
    yield "not yet valid", issuer.token(now, nbf=second + 120)
    for name in ("nbf", "iat"):
        bad_times: tuple[object, ...] = (None, str(second), True, [second], -1, -0.5, 1e300)
        for bad in bad_times:
            changes: dict[str, Any] = {name: bad}
            yield f"{name} {str(bad)[:20]} ({type(bad).__name__})", issuer.token(now, **changes)


def _parties(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str]]:
    audience = str(issuer.claims(now)["aud"])
    audiences: tuple[object, ...] = (
        "",
        "other",
        audience.upper(),
        audience + "x",
        f"{audience} other",
        [],
        ["other"],
        [[audience]],
    )
    for aud in (..., None, *audiences, [audience, 1], [audience, None], {audience: 1}, 1, True):
        yield f"aud {aud!r}", issuer.token(now, aud=aud)
    issuers = ("", "https://other.test", issuer.name + "/", issuer.name.upper(), issuer.name + "\n")
    for iss in (..., None, *issuers, [issuer.name], 1, {issuer.name: 1}):
        yield f"iss {str(iss)[:60]!r}", issuer.token(now, iss=iss)
    for sub in (..., None, "", 1, True, ["x"], {"x": 1}, "x" * 513, "a\nb", "a\x00b"):
        yield f"sub {str(sub)[:20]!r}", issuer.token(now, sub=sub)


def _raw(issuer: LocalIssuer, now: float) -> Iterator[tuple[str, str]]:
    """JSON that a dict cannot express."""
    key = issuer.keys[0]
    header = {"alg": key.kind, "kid": key.kid}
    rest = json.dumps(issuer.claims(now, exp=..., sub=...))[1:-1].encode()
    expires_at = b"%d" % (int(now) + 600)
    good = b'"sub":"a","exp":' + expires_at
    for name, part in {
        "exp 1e999": b'"sub":"a","exp":1e999',
        "exp NaN": b'"sub":"a","exp":NaN',
        "exp Infinity": b'"sub":"a","exp":Infinity',
        "exp of 5,000 digits": b'"sub":"a","exp":' + b"9" * 5000,
        "sub given twice": b'"sub":"b",' + good,
        "exp given twice": b'"exp":1,' + good,
        "a nested claim given twice": b'"x":{"y":1,"y":2},' + good,
        "sub given twice, once escaped": b'"s\\u0075b":"b",' + good,
        "sub half of a character": b'"sub":"\\ud800","exp":' + expires_at,
        "NaN elsewhere": b'"x":NaN,' + good,
        "byte order mark": b"",
    }.items():
        text = b"{" + rest + b"," + part + b"}"
        yield name, key.sign(header, text if part else b"\xef\xbb\xbf{" + rest + b"," + good + b"}")
