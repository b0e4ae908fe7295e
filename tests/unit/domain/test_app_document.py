"""The document of an app, and the field of an org's document that names it."""

from __future__ import annotations

import pytest

from app.domain.app_document import AppName, app_of, app_reader
from app.domain.tenant_errors import CredentialMisconfiguredError
from tests.support.documents import app_document


@pytest.mark.parametrize("name", ["a", "the-app_1", "a" * 64])
def test_a_document_names_its_app(name: str) -> None:
    """A name is 1 to 64 letters, digits, hyphens or underscores."""
    assert app_of({"app": name}) == AppName(name)


@pytest.mark.parametrize("document", [None, [], "app", {}, {"kind": "jwt"}, {"app": None}])
def test_a_document_without_an_app_names_none(document: object) -> None:
    """Only an object with the field refers to an app."""
    assert app_of(document) is None


@pytest.mark.parametrize("name", ["", "a" * 65, "../acme", "a/b", "a.b", "a\n", "ä", 5, ["a"]])
def test_a_name_that_could_be_another_path_is_refused(name: object) -> None:
    """A document cannot make the broker read another path of the store."""
    with pytest.raises(CredentialMisconfiguredError) as caught:
        app_of({"app": name})
    assert caught.value.field == "app"


@pytest.mark.parametrize("kind", ["jwt", "oauth_server_to_server"])
def test_the_document_of_an_app_has_the_kind_of_an_app(kind: str) -> None:
    """The kind may be left out; another one is refused."""
    document: dict[object, object] = {name: value for name, value in app_document().items() if name != "kind"}
    app_reader(document)
    app_reader({**document, "kind": "enterprise_web_app"})
    with pytest.raises(CredentialMisconfiguredError) as caught:
        app_reader({**document, "kind": kind})
    assert caught.value.field == "kind"
