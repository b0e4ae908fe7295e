"""The JSON Schema of the policy accepts what the parser accepts, and refuses what the parser refuses."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.plain_document import PolicyError
from app.domain.policy_document import parse_policy
from app.domain.policy_schema import policy_schema
from tests.support.policies import CLUSTER, GOOD, HASH, ORG, OTHER_HASH, changed
from tests.support.repository import ROOT

FILE = ROOT / "docs" / "policy.schema.json"
SCHEMA = policy_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
END = "2027-01-31T00:00:00Z"

FULL: dict[str, Any] = {
    **GOOD,
    "issuers": [
        *GOOD["issuers"],
        {
            "issuer": "https://oidc.test",
            "audience": ["a", "b"],
            "jwks_file": "/keys",
            "token_review_url": "https://k.test",
        },
    ],
    "callers": [
        {
            "name": "full",
            "match": {
                "api_key_sha256": [HASH, {"sha256": OTHER_HASH, "not_after": END}],
                "issuer": CLUSTER,
                "subject": ["one", "two"],
                "claims": {"team": "a", "level": [1, True, "x"]},
            },
            "rate_limit": {"limit": "600/m", "scope": "replica"},
            "allow": [
                {
                    "orgs": [ORG],
                    "credentials": ["default"],
                    "scopes": ["openid"],
                    "actions": ["vend"],
                    "not_after": END,
                },
                {"orgs": ["*"], "mode": "audit"},
            ],
        },
        {"name": "space", "match": {"issuer": CLUSTER, "namespace": "marketing"}, "rate_limit": "200/s", "allow": []},
    ],
}
"""A valid policy that has every field."""

VALUES: list[object] = [
    None, "", [], {}, 0, 1, 2, True, False, "x", "*", "default", "vend", "replica", "fleet", "audit", "enforce",
    "1000000/s", "1000001/s", "0/s", "200/d", HASH, HASH.upper(), ORG, "org", END, "2027-01-31", "a b", "a\n",
    "a\u00a0b", "\u0430", "\u0378", "x" * 65, "x" * 300, "x" * 600, "x" * 5000, "iss", "a,b", "marketing", "-a",
    "https://issuer.test/jwks", [None], ["x"], [ORG], ["*"], ["*", ORG], [HASH], [[]], [["x"]], {"x": 1}, {"iss": "x"},
    {"sha256": "cd" * 31 + "00"}, {"limit": "1/s"}, [{"sha256": "ef" * 32, "not_after": END}], {"a": {"b": 1}},
    {"a": [["b"]]}, {"a": [None, "", 1]}, {f"claim-{number}": 1 for number in range(21)},
]  # fmt: skip
NAMES = [
    "x",
    "subject",
    "namespace",
    "claims",
    "mode",
    "not_after",
    "jwks_file",
    "jwks_ca_file",
    "token_review_ca_file",
    "orgs",
]

ONLY_THE_PARSER = re.compile(
    "must not be the name of an earlier caller|must not be repeated, here or in another caller|"
    "must not be that of an earlier caller|must not repeat an earlier issuer|must not be listed with other orgs|"
    "must be one audience, or a list of"
)
"""What depends on other parts of the file, or counts without blank items: no schema can express it."""


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a document, the document itself excepted."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """The full policy with one to three places changed, removed, repeated or added."""
    document = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(list(places(document))))
        node: Any = document
        for part in parents:
            node = node[part]
        match draw(st.sampled_from(["change", "remove", "repeat", "add"])):
            case "remove":
                del node[last]
            case "repeat" if isinstance(last, int):
                node.append(copy.deepcopy(node[last]))
            case "add" if isinstance(node[last], dict):
                node[last][draw(st.sampled_from(NAMES))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case _:
                node[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        if not document:
            break
    return document


def refusal(document: object) -> PolicyError | None:
    """Why the parser refuses a document, or None."""
    try:
        parse_policy(document, "v")
    except PolicyError as error:
        return error
    return None


def test_the_full_policy_is_accepted_by_both() -> None:
    """The policy that the other tests change has every field of the schema, and is valid."""
    assert refusal(FULL) is None
    assert VALIDATOR.is_valid(FULL)


def single_changes() -> Iterator[dict[str, Any]]:
    """The full policy with each value replaced by each of `VALUES`, and with each field added to each mapping."""
    for *parents, last in places(FULL):
        for name in (None, *NAMES):
            for value in VALUES:
                document = copy.deepcopy(FULL)
                node: Any = document
                for part in parents:
                    node = node[part]
                if name is None:
                    node[last] = value
                elif not isinstance(node[last], dict):
                    break
                else:
                    node[last][name] = value
                yield document


def disagreement(document: dict[str, Any]) -> str | None:
    """How schema and parser disagree about a document, or None."""
    error, is_valid = refusal(document), VALIDATOR.is_valid(document)
    if error is None:
        return (
            None if is_valid else f"only the schema refuses: {[one.message for one in VALIDATOR.iter_errors(document)]}"
        )
    is_expected = not is_valid or ONLY_THE_PARSER.search(error.expected) is not None
    return None if is_expected else f"only the parser refuses: {error}"


def test_the_schema_decides_every_single_change_as_the_parser() -> None:
    """Of thousands of policies with one change, each is accepted or refused by both, except for a known list."""
    found = {why for document in single_changes() if (why := disagreement(document)) is not None}
    assert found == set()


@settings(max_examples=300)
@given(documents())
@example(changed("callers.0.allow.0.scopes", ["*"]))
@example(changed("callers.0.allow.0.orgs", [None, "*", ""]))
@example(changed("callers.1.match", {"issuer": CLUSTER, "subject": [None], "namespace": "a"}))
@example(changed("version", True))
def test_the_schema_decides_several_changes_as_the_parser(document: dict[str, Any]) -> None:
    """Policies with up to three changes, removed and repeated parts among them, are accepted or refused by both."""
    assert disagreement(document) is None


@pytest.mark.parametrize("document", [None, "", [], {}, "x", 1, [GOOD]])
def test_what_is_not_a_policy_is_refused_by_both(document: object) -> None:
    """An empty file or another kind of document is refused."""
    assert refusal(document) is not None
    assert not VALIDATOR.is_valid(document)


def test_the_published_schema_is_that_of_the_code() -> None:
    """docs/policy.schema.json is what `ims-token-broker policy schema` prints."""
    assert json.loads(FILE.read_text()) == policy_schema(), (
        "stale: ims-token-broker policy schema > docs/policy.schema.json"
    )
