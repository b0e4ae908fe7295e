"""Clients of the sandbox and the file that they are read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.sandbox import SandboxConfigError, load_clients
from app.sandbox.client_registry import ClientRegistry
from app.sandbox.clients import client_from
from tests.support import grants
from tests.support.keys import ec_pem, key_pair
from tests.support.sandbox_clients import jwt_client, oauth_client

OAUTH = {
    "client_id": "c1",
    "org_id": grants.ORG,
    "kind": "oauth_server_to_server",
    "client_secrets": ["canary-secret"],
    "scopes": ["openid"],
}
JWT = {
    "client_id": "c2",
    "org_id": grants.ORG,
    "kind": "jwt",
    "client_secrets": ["a", "b"],
    "metascopes": ["ent_x"],
    "technical_account_id": grants.ACCOUNT,
    "certificates": [key_pair().certificate],
}


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"clients": items}])
def test_a_file_of_clients_is_read(tmp_path: Path, wrap: Any) -> None:
    """A list, bare or under ``clients``, can contain clients of each kind."""
    path = tmp_path / "clients.json"
    path.write_text(json.dumps(wrap([OAUTH, JWT])))
    clients = load_clients(path)
    assert [client.client_id for client in clients] == ["c1", "c2"]
    assert len(ClientRegistry(clients).bindings("c2")) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "list of clients"),
        ("[1]", "Client 0"),
        (json.dumps([OAUTH, OAUTH]), "twice"),
        (json.dumps([OAUTH, {**JWT, "kind": "x"}]), "Client 1"),
    ],
    ids=["empty", "deep", "no-list", "no-object", "twice", "second"],
)
def test_a_bad_file_is_refused_with_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """The error says which client and what to change."""
    path = tmp_path / "clients.json"
    path.write_text(text)
    with pytest.raises(SandboxConfigError, match=sentence):
        load_clients(path)


def test_a_missing_file_is_refused_with_one_sentence(tmp_path: Path) -> None:
    """A missing file gives one sentence, not a traceback."""
    with pytest.raises(SandboxConfigError, match="cannot be read"):
        load_clients(tmp_path / "none.json")


def test_lists_may_be_strings_as_in_a_credential_document() -> None:
    """A client takes lists as one string, and drops the line end that `echo` adds to a secret."""
    untidy = {**OAUTH, "client_secrets": ["canary-secret\n"], "scopes": "openid, AdobeID"}
    assert client_from(untidy) == client_from({**OAUTH, "scopes": ["openid", "AdobeID"]})
    assert client_from({**OAUTH, "client_secrets": "a,b\n"}).client_secrets == ("a", "b")


@pytest.mark.parametrize(("name", "quoted"), [("client_secret", True), ("p8e-canary-1", False)])
def test_an_unknown_field_is_named_if_it_looks_like_a_name(name: str, quoted: bool) -> None:
    """A misspelt field is named; what may be a secret is not."""
    with pytest.raises(SandboxConfigError, match="unknown field") as caught:
        client_from({**OAUTH, name: "canary-secret"})
    assert (f'"{name}"' in str(caught.value)) == quoted
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": None},
        {"client_id": "a b"},
        {"org_id": "short@AdobeOrg"},
        {"org_id": 1},
        {"kind": "oauth"},
        {"client_secrets": []},
        {"client_secrets": ["a", "b", "c"]},
        {"client_secrets": "canary-secret,b,c"},
        {"client_secrets": ["\n"]},
        {"client_secrets": {"0": "canary-secret"}},
        {"client_secrets": [""]},
        {"scopes": []},
        {"scopes": ""},
        {"scopes": 1},
        {"kind": "jwt"},
        {"token_lifetime": 0},
        {"token_lifetime": True},
        {"token_lifetime": "40"},
        {"certificates": ["x"]},
        {"certificates": [ec_pem()]},
        {"consented_orgs": ["x"]},
        {"consented_orgs": {"x": "y"}},
        {"unknown": 1},
        {"technical_account_id": 5},
        {"console_org_id": 23294},
        {"credential_id": "canary-1"},
    ],
    ids="-".join,
)
def test_a_bad_field_is_refused_without_its_value(change: dict[str, Any]) -> None:
    """The sentence names the field and shows no secret."""
    with pytest.raises(SandboxConfigError) as caught:
        client_from({**OAUTH, **change})
    assert "canary" not in str(caught.value)


def test_a_kind_changes_in_place() -> None:
    """As at Adobe, a client can be converted to another kind and keeps its id."""
    registry = ClientRegistry([jwt_client()])
    registry.put(oauth_client())
    found = registry.find(grants.CLIENT_ID)
    assert found is not None
    assert found.kind == "oauth_server_to_server"
    assert registry.bindings(grants.CLIENT_ID) == ()


def test_two_clients_never_share_their_ids_in_the_console() -> None:
    """The ids in a path of the secrets API name one client; a client that was removed frees its own."""
    ids = {"console_org_id": "1", "credential_id": "2"}
    registry = ClientRegistry([client_from({**OAUTH, **ids})])
    with pytest.raises(SandboxConfigError, match="credential_id"):
        registry.put(client_from({**OAUTH, **ids, "client_id": "c3"}))
    assert registry.find("c3") is None
    registry.remove("c1")
    assert registry.in_console("1", "2") is None
    registry.put(client_from({**OAUTH, **ids, "client_id": "c3"}))
    assert registry.in_console("1", "2") == registry.find("c3")


def test_secrets_are_not_described() -> None:
    """Neither the repr nor the description of a client holds a secret."""
    client = jwt_client()
    assert grants.SECRET not in repr(client)
    assert grants.SECRET not in json.dumps(client.described())
