"""Completes a credential of Adobe's file with what the operator gives besides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.adobe_import import Draft, ImportFileError
from app.domain.credential import KINDS, Credential, CredentialKind
from app.domain.key_move import FIELD, key_name
from app.domain.secret_rotation_state import CONSOLE_FIELDS
from app.domain.signing import REMOTE_SCHEMES

_REMEDIES = {
    "org_id": "has no org id; give --org ORG",
    "client_id": "has no client id; download it again from the console",
    "client_secrets": "has no client secret; add one in the console, and download the file again",
    "technical_account_id": "has no technical account id; download it again from the console",
    "scopes": "has no scopes; add an API to the project in the console, and download the file again",
    "metascopes": "has no metascopes; add an API to the project in the console, and download the file again",
    "private_key": "has no private key, because Adobe does not keep it; give --private-key FILE (or --transit NAME)",
}
"""What is missing and what to do, as the end of a sentence, by field."""

_OPTIONS = {
    "private_key": "--private-key",
    "private_key_passphrase": "--passphrase-file",
    "certificate": "--certificate",
    FIELD: "--transit",
}
"""The option that gives a field about the key."""

KEPT = ("sandbox", "not_before")
"""Fields of a stored document that no file of Adobe can have: an import keeps them."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What an operator gives besides the file.

    Args:
        org: The org id; None if the file has it.
        client_id: Chooses one of several credentials.
        private_key: PEM text.
        passphrase: The passphrase that decrypts that key.
        certificate: PEM text.
        transit_key: The name of the key in Vault's transit engine that signs; ``{org}`` is the place of the org id.
        app: The name of the app whose client the org uses; None if it has a client of its own.
        ims_base_url: Takes the place of the file's endpoint.
        many: Whether they are for many files; some of them may need no key.

    """

    org: str | None = None
    client_id: str | None = None
    private_key: str | None = field(repr=False, default=None)
    passphrase: str | None = field(repr=False, default=None)
    certificate: str | None = field(repr=False, default=None)
    transit_key: str | None = None
    app: str | None = None
    ims_base_url: str | None = None
    many: bool = False

    @property
    def signs(self) -> bool:
        """Whether they are for a credential that signs."""
        return self.private_key is not None or (self.transit_key is not None and not self.many)


def document_of(drafts: Sequence[Draft], options: ImportOptions) -> dict[str, object]:
    """The document of one of the `drafts`, complete. Its fields are still unverified.

    Raises:
        ImportFileError: Something is missing, or an option does not fit the file.

    """
    document = dict(chosen_draft(drafts, options).fields)
    _set_org(document, options.org)
    kind = _kind(document)
    given = _signing(options, document)
    if kind is not None and not kind.signs:
        if given and not options.many:
            option = _OPTIONS[next(iter(given))]
            raise ImportFileError(f"has a credential of kind {kind.kind}, which needs no key; leave out {option}")
        given = {}
    document |= given
    if options.ims_base_url is not None:
        document["ims_base_url"] = options.ims_base_url
    refuse_incomplete(document, _needed(document, kind))
    return document


def with_kept_fields(draft: Mapping[str, object], stored: Mapping[str, object]) -> dict[str, object]:
    """`draft` with the fields of the `stored` document that its file does not have."""
    same_client = draft.get("client_id") == stored.get("client_id")
    kept = (*KEPT, *CONSOLE_FIELDS) if same_client else KEPT
    return {**{name: stored[name] for name in kept if name in stored}, **draft}


def _signing(options: ImportOptions, document: Mapping[str, object]) -> dict[str, object]:
    """The fields about the key that the options give."""
    name = options.transit_key and key_name(options.transit_key, document.get("org_id"))
    fields = {
        "private_key": options.private_key,
        "private_key_passphrase": options.passphrase,
        "certificate": options.certificate,
        FIELD: name,
    }
    return {name: value for name, value in fields.items() if value is not None}


def chosen_draft(drafts: Sequence[Draft], options: ImportOptions) -> Draft:
    """The credential that the options choose.

    Raises:
        ImportFileError: There is none, or there are several.

    """
    wanted = [draft for draft in drafts if options.client_id in {None, draft.client_id}]
    if not wanted:
        raise ImportFileError("has no credential with the client id of --client-id")
    if len({draft.client_id for draft in wanted}) > 1:
        raise ImportFileError(f"has {len(wanted)} server-to-server credentials; choose one with --client-id ID")
    # While Adobe migrates a credential, its file has both flows. OAuth is the one that stays.
    return min(wanted, key=lambda draft: (draft.kind == CredentialKind.JWT) != options.signs)


def _set_org(document: dict[str, object], org: str | None) -> None:
    if org is None:
        return
    if document.setdefault("org_id", org) != org:
        raise ImportFileError("belongs to another org than that of --org; leave the option out, or give the other file")


def _kind(document: Mapping[str, object]) -> type[Credential] | None:
    return next((known for kind, known in KINDS.items() if kind == document.get("kind")), None)


def _needed(document: Mapping[str, object], kind: type[Credential] | None) -> list[str]:
    """The fields that a complete document has."""
    needed = ["org_id"] if "app" in document else ["org_id", "client_id", "client_secrets"]
    if kind is not None and "app" not in document:
        needed += ["technical_account_id"] if kind.signs else []
        needed += [kind.scopes_field]
        remote = any(scheme.field in document for scheme in REMOTE_SCHEMES.values())
        needed += ["private_key"] if kind.signs and not remote else []
    return needed


def refuse_incomplete(fields: Mapping[str, object], needed: Sequence[str]) -> None:
    """Refuse `fields` without one of the `needed` ones.

    Raises:
        ImportFileError: One is missing; the text says what to do.

    """
    missing = next((name for name in needed if fields.get(name) in (None, "", [])), None)
    if missing is not None:
        raise ImportFileError(_REMEDIES[missing])
