"""A good policy document, and the same with one place changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from app.domain.plain_document import PolicyError
from app.domain.policy_document import parse_policy

ORG = "0123456789ABCDEF01234567@AdobeOrg"
HASH, OTHER_HASH = "ab" * 32, "cd" * 32
CLUSTER = "https://kubernetes.default.svc.cluster.local"
GOOD: dict[str, Any] = {
    "version": 1,
    "issuers": [
        {
            "issuer": CLUSTER,
            "audience": "ims-token-broker",
            "jwks_url": "https://kubernetes.default.svc/openid/v1/jwks",
            "jwks_ca_file": "/run/ca.crt",
            "jwks_token_file": "/run/token",
        }
    ],
    "callers": [
        {
            "name": "journey-sender",
            "match": {"api_key_sha256": [HASH]},
            "rate_limit": "200/s",
            "allow": [
                {"orgs": [ORG], "credentials": ["default"], "scopes": ["openid", "AdobeID"], "actions": ["vend"]}
            ],
        },
        {
            "name": "nightly-export",
            "match": {"issuer": CLUSTER, "subject": "system:serviceaccount:marketing:export"},
            "allow": [{"orgs": ["*"]}],
        },
    ],
}
ABSENT = object()


def changed(path: str, value: object) -> dict[str, Any]:
    """The good document with one place changed; `ABSENT` takes it away. A path is like ``callers.0.name``."""
    document = copy.deepcopy(GOOD)
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node: Any = document
    for part in parents:
        node = node[part]
    if value is ABSENT:
        del node[last]
    else:
        node[last] = value
    return document


def place_of(document: object) -> str:
    """The place at which the document is refused; fails if it is accepted."""
    with pytest.raises(PolicyError) as refused:
        parse_policy(document, "v")
    return refused.value.place
