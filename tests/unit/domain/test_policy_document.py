"""The policy document of docs/contract.md section 4: its shape, and an error with a place for every defect."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.identity import ApiKeyIdentity, Issuer, JwtIdentity
from app.domain.names import DEFAULT_CREDENTIAL, OrgId, Scope
from app.domain.plain_document import PolicyError
from app.domain.policy import Action, Rule
from app.domain.policy_document import parse_policy
from app.domain.rate_limit import LimitScope, RateLimit
from tests.support.policies import ABSENT, CLUSTER, GOOD, HASH, ORG, OTHER_HASH, changed, place_of

END = "2027-01-31T12:00:00+02:00"


def test_the_documented_example_is_accepted() -> None:
    """The document of docs/contract.md section 4 is read as the policy that it describes."""
    policy = parse_policy(GOOD, "abc")
    sender, export = policy.callers
    assert policy.version == "abc"
    assert policy.issuers == (
        Issuer(CLUSTER, ("ims-token-broker",), GOOD["issuers"][0]["jwks_url"], None, "/run/ca.crt", "/run/token"),
    )
    assert policy.caller(ApiKeyIdentity(bytes.fromhex(HASH))) is sender
    assert policy.caller(JwtIdentity(CLUSTER, "system:serviceaccount:marketing:export", 0.0)) is export
    assert sender.rate_limit == RateLimit(200, 1.0)
    assert [rule.orgs for rule in sender.rules] == [frozenset({OrgId(ORG)})]
    assert sender.rules[0].scopes == frozenset({Scope("openid"), Scope("AdobeID")})
    assert sender.rules[0].actions == frozenset({Action.VEND})
    assert (export.rules, export.rate_limit) == ((Rule(orgs=None),), None)


def test_defaults_are_the_documented_ones() -> None:
    """A rule with nothing but orgs is for the default credential, all its scopes, and the actions vend and report."""
    rule = parse_policy(GOOD, "v").callers[1].rules[0]
    assert rule == Rule(None, frozenset({DEFAULT_CREDENTIAL}), None, frozenset({Action.VEND, Action.REPORT}))


def test_a_caller_may_be_a_namespace() -> None:
    """A match may name a Kubernetes namespace instead of a subject, besides API keys."""
    whole = {"api_key_sha256": [OTHER_HASH], "issuer": CLUSTER, "namespace": "marketing"}
    caller = parse_policy(changed("callers.1.match", whole), "v").callers[1]
    assert (caller.namespaces, caller.subjects) == (frozenset({(CLUSTER, "marketing")}), frozenset())
    assert len(caller.api_key_digests) == 1


def test_a_namespace_belongs_to_one_caller() -> None:
    """Two callers with one namespace of one issuer are refused, because it would be unclear whose rules apply."""
    document = changed("callers.1.match", {"issuer": CLUSTER, "namespace": "marketing"})
    document["callers"].append({**document["callers"][1], "name": "again"})
    assert place_of(document) == "callers[2].match.namespace"


def test_a_caller_may_have_keys_and_a_subject() -> None:
    """A service that migrates from API keys to JWTs remains one caller."""
    both = {"api_key_sha256": [OTHER_HASH, "ef" * 32], "issuer": CLUSTER, "subject": "s"}
    mover = parse_policy(changed("callers.1.match", both), "v").callers[1]
    assert (len(mover.api_key_digests), len(mover.subjects)) == (2, 1)


@pytest.mark.parametrize("value", [[], ABSENT])
def test_issuers_may_be_absent_if_no_caller_needs_them(value: object) -> None:
    """A policy with API keys only needs no issuer."""
    document = changed("issuers", value)
    del document["callers"][1]
    assert parse_policy(document, "v").issuers == ()


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1/s", (1, 1.0)), ("600/m", (600, 60.0)), ("1000/h", (1000, 3600.0)), ("1000000/s", (10**6, 1.0))],
)
def test_rate_limits_have_three_periods(text: str, limit: tuple[int, float]) -> None:
    """A limit is a number per second, minute or hour."""
    assert parse_policy(changed("callers.0.rate_limit", text), "v").callers[0].rate_limit == RateLimit(*limit)


def test_a_rate_limit_may_name_its_scope() -> None:
    """A limit with the scope replica, or without a scope, is the limit in short form."""
    for scope in ({}, {"scope": "replica"}):
        policy = parse_policy(changed("callers.0.rate_limit", {"limit": "200/s", **scope}), "v")
        assert policy.callers[0].rate_limit == RateLimit(200, 1.0)


def test_a_limit_may_be_one_for_all_replicas() -> None:
    """The scope fleet needs the long form; another one is refused with both names."""
    policy = parse_policy(changed("callers.0.rate_limit", {"limit": "600/m", "scope": "fleet"}), "v")
    assert policy.callers[0].rate_limit == RateLimit(600, 60.0, LimitScope.FLEET)
    with pytest.raises(PolicyError, match="must be replica, the default, or fleet"):
        parse_policy(changed("callers.0.rate_limit", {"limit": "600/m", "scope": "all"}), "v")


def test_a_rule_and_an_api_key_may_end() -> None:
    """`not_after` is read as a time, of a rule and of an entry of `api_key_sha256`; entries with and without mix."""
    document = changed("callers.0.match.api_key_sha256", [HASH, {"sha256": OTHER_HASH, "not_after": END}])
    document["callers"][0]["allow"][0]["not_after"] = END
    caller = parse_policy(document, "v").callers[0]
    assert caller.rules[0].not_after == 1_801_389_600.0
    assert caller.api_key_digests == {bytes.fromhex(HASH), bytes.fromhex(OTHER_HASH)}
    assert caller.api_keys_end == {bytes.fromhex(OTHER_HASH): 1_801_389_600.0}


DEFECTS: list[tuple[str, object, str]] = [
    ("version", ABSENT, "policy"),
    ("version", 2, "version"),
    ("version", "1", "version"),
    ("version", True, "version"),
    ("version", 1.0, "version"),
    ("callers", {"a": 1}, "callers"),
    ("extra", 1, "policy"),
    ("callers.0", "x", "callers[0]"),
    ("callers.0.nmae", "x", "callers[0]"),
    ("callers.0.name", ABSENT, "callers[0]"),
    *(
        ("callers.0.name", bad, "callers[0].name")
        for bad in ("", "x" * 64, ".a", "-a", "a b", "a\n", "\u0430", 1, None)
    ),
    ("callers.1.name", "journey-sender", "callers[1].name"),
    ("callers.0.match.api_key", "x", "callers[0].match"),
    ("callers.0.match.api_key_sha256", HASH, "callers[0].match.api_key_sha256"),
    *(
        ("callers.0.match.api_key_sha256", [OTHER_HASH, bad], "callers[0].match.api_key_sha256[1]")
        for bad in ("AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, HASH + "\n", 1, OTHER_HASH, "\uff10" * 64)
    ),
    ("callers.1.match", {"api_key_sha256": [HASH]}, "callers[1].match.api_key_sha256[0]"),
    ("callers.1.match.issuer", ["x"], "callers[1].match.issuer"),
    ("callers.1.match.namespace", "marketing", "callers[1].match"),
    *(
        ("callers.1.match", {"issuer": CLUSTER, "namespace": bad}, "callers[1].match.namespace")
        for bad in ("*", "marketing*", "Marketing", "a.b", "-a", "a-", "a:b", "x" * 64, "a\n", 1, ["a"])
    ),
    *(("callers.1.match.subject", bad, "callers[1].match.subject") for bad in ("x" * 513, "a\n", 1, {"x": 1})),
    *(
        ("callers.0.rate_limit", bad, "callers[0].rate_limit")
        for bad in (
            "0/s",
            "-1/s",
            "1000001/s",
            "200",
            "200/d",
            "200 /s",
            "2e3/s",
            "01/s",
            200,
            None,
            "1/s\n",
            "\u0661/s",
        )
    ),
    ("callers.0.rate_limit", {"scope": "replica"}, "callers[0].rate_limit"),
    ("callers.0.rate_limit", {"limit": "200/s", "burst": 1}, "callers[0].rate_limit"),
    ("callers.0.rate_limit", {"limit": 200}, "callers[0].rate_limit.limit"),
    ("callers.0.rate_limit", {"limit": "200/s", "scope": "Fleet"}, "callers[0].rate_limit.scope"),
    ("callers.0.rate_limit", {"limit": "200/s", "scope": ["fleet"]}, "callers[0].rate_limit.scope"),
    ("callers.0.rate_limit", {"limit": "200/s", "scope": None}, "callers[0].rate_limit.scope"),
    *(
        (f"callers.0.{path}", value(bad), f"callers[0].{place}.not_after")
        for bad in ("", None, "2027-01-31", "2027-01-31T10:00:00", "2027-02-30T00:00:00Z", 1801389600)
        for path, place, value in (
            ("allow.0.not_after", "allow[0]", lambda bad: bad),
            ("match.api_key_sha256", "match.api_key_sha256[0]", lambda bad: [{"sha256": HASH, "not_after": bad}]),
        )
    ),
    ("callers.0.match.api_key_sha256", [{"not_after": END}], "callers[0].match.api_key_sha256[0]"),
    ("callers.0.match.api_key_sha256", [{"sha256": HASH, "name": "x"}], "callers[0].match.api_key_sha256[0]"),
    ("callers.0.match.api_key_sha256", [HASH, {"sha256": HASH}], "callers[0].match.api_key_sha256[1]"),
    *(("callers.0.allow.0.mode", bad, "callers[0].allow[0].mode") for bad in ("", None, "Audit", True, ["audit"])),
    ("callers.0.allow.0", "x", "callers[0].allow[0]"),
    ("callers.0.allow.0.org", [ORG], "callers[0].allow[0]"),
    ("callers.0.allow.0.orgs", "*", "callers[0].allow[0].orgs"),
    ("callers.0.allow.0.orgs", [ORG, "*"], "callers[0].allow[0].orgs[1]"),
    ("callers.0.allow.0.orgs", ["*", "*"], "callers[0].allow[0].orgs[0]"),
    *(
        ("callers.0.allow.0.orgs", [ORG, bad], "callers[0].allow[0].orgs[1]")
        for bad in ("x", ORG + "\n", ORG.lower(), "*@AdobeOrg", "**", 1, [ORG])
    ),
    *(
        ("callers.0.allow.0.credentials", [bad], "callers[0].allow[0].credentials[0]")
        for bad in ("*", "a/b", "../x", 1, "x" * 65)
    ),
    *(
        ("callers.0.allow.0.scopes", ["openid", bad], "callers[0].allow[0].scopes[1]")
        for bad in ("*", "a b", "a,b", 1, "\u00e9")
    ),
    *(
        ("callers.0.allow.0.actions", ["vend", bad], "callers[0].allow[0].actions[1]")
        for bad in ("VEND", "*", "delete", 1, ["vend"])
    ),
]


@pytest.mark.parametrize(("path", "value", "place"), DEFECTS)
def test_a_defect_is_named_by_its_place(path: str, value: object, place: str) -> None:
    """Every defect makes the whole policy invalid, and the error says where it is."""
    assert place_of(changed(path, value)) == place


@pytest.mark.parametrize("document", [None, [], "", "version: 1", 1, {}, {"callers": []}, {1: 2}, [GOOD]])
def test_anything_but_a_policy_is_refused(document: object) -> None:
    """An empty file and a document of any other shape are refused."""
    assert place_of(document) == "policy"


def test_two_callers_cannot_have_one_subject() -> None:
    """A subject of an issuer can belong to one caller only."""
    document = changed("callers.0.match", dict(GOOD["callers"][1]["match"]))
    assert place_of(document) == "callers[1].match.subject"


@pytest.mark.parametrize(
    "path", ["callers.0.match.api_key_sha256", "callers.0.name", "callers.0.rate_limit", "callers.0.allow.0.orgs"]
)
def test_an_error_does_not_contain_the_value(path: str) -> None:
    """A secret pasted on the wrong line does not reach the log."""
    for value in ("itb_canary_secret!", ["itb_canary_secret!"]):
        with pytest.raises(PolicyError) as refused:
            parse_policy(changed(path, value), "v")
        assert "canary" not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_an_unknown_field_is_not_repeated() -> None:
    """A secret pasted as a field's name does not reach the log either."""
    for name in ("itb_canary_secret", "itb_canary_secret_1", "p8e-canary"):
        with pytest.raises(PolicyError) as refused:
            parse_policy(changed(f"callers.0.{name}", "x"), "v")
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "meant"),
    [("callers.0.match.api_keys_sha256", "api_key_sha256"), ("callers.0.rate-limit", "rate_limit")],
)
def test_a_misspelt_field_is_named(path: str, meant: str) -> None:
    """A field with digits or hyphens in its name is named, too, with the one that was meant."""
    with pytest.raises(PolicyError, match=rf"has the unknown field {path.rpartition('.')[2]} \(did you mean {meant}"):
        parse_policy(changed(path, "x"), "v")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([ORG, "*", HASH]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300)
@given(path=st.sampled_from(sorted({path for path, _, _ in DEFECTS})), value=plain)
def test_no_document_causes_another_error(path: str, value: object) -> None:
    """Whatever value a field has, parsing ends in a policy or in `PolicyError`."""
    try:
        policy = parse_policy(changed(path, value), "v")
    except PolicyError:
        return
    assert policy.version == "v"


@settings(max_examples=100)
@given(document=plain)
def test_no_whole_document_causes_another_error(document: object) -> None:
    """Parsing any other document ends in a policy or in `PolicyError`, too."""
    with pytest.raises(PolicyError):
        parse_policy(document, "v")


def test_a_rule_in_audit_mode_allows_nothing_and_is_listed() -> None:
    """It is not among the caller's rules but among its audit rules; the default mode may be written, too."""
    rules = [{"orgs": ["*"], "mode": "audit"}, {"orgs": [ORG], "mode": "enforce"}]
    policy = parse_policy(changed("callers.1.allow", rules), "v")
    caller = policy.callers[1]
    assert [rule.place for rule in caller.audit_rules] == ["callers[1].allow[0]"]
    assert [rule.place for rule in caller.rules] == ["callers[1].allow[1]"]
    assert [note.partition(":")[0] for note in policy.notes] == ["callers[1].allow[0]"]
