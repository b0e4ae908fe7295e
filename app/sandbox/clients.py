"""The clients (integrations) of the sandbox, as in Adobe's consoles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from app.sandbox.client_secrets import console_id

CLIENT_KINDS = ("jwt", "oauth_server_to_server", "enterprise_web_app")
MAX_CLIENTS_FILE_BYTES = 16 * 1024 * 1024

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_FIELD_NAME = re.compile(r"(?=.{1,40}\Z)[a-z]+(_[a-z]+)*")
"""What a message may quote: anything else could be a secret."""

_SEPARATORS = re.compile(r"[\s,]+")
_CONSOLE_ID = re.compile(r"[0-9]{1,20}")
_ORG_ID = re.compile(r"[A-Za-z0-9]{24}@AdobeOrg")


class SandboxConfigError(ValueError):
    """A client or a file of clients is not valid; the message is one sentence for a person, without any value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxClient:
    """One client.

    Args:
        client_id: Its id.
        org_id: Its org.
        kind: ``jwt``, ``oauth_server_to_server`` or ``enterprise_web_app``.
        client_secrets: One or two; each is accepted.
        technical_account_id: Its technical account, which is the ``user_id`` of its tokens.
        scopes: The scopes that it may ask for at ``/ims/token``.
        metascopes: The metascopes that its certificates are bound to, for kind ``jwt``.
        certificates: Its uploaded certificates in PEM form.
        consented_orgs: For enterprise web apps: the other orgs that consented, with the technical account in each.
        token_lifetime: The lifetime of its tokens in seconds; None for the sandbox's setting.
        console_org_id: The decimal id of its org in the Developer Console; made from `org_id` unless given.
        credential_id: Its own decimal id in the Developer Console; made from `client_id` unless given.

    """

    client_id: str
    org_id: str
    kind: str
    client_secrets: tuple[str, ...] = field(repr=False)
    technical_account_id: str | None = None
    scopes: tuple[str, ...] = ()
    metascopes: tuple[str, ...] = ()
    certificates: tuple[str, ...] = field(default=(), repr=False)
    consented_orgs: Mapping[str, str] = field(default_factory=dict)
    token_lifetime: float | None = None
    console_org_id: str = ""
    credential_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "console_org_id", self.console_org_id or console_id(self.org_id, 6))
        object.__setattr__(self, "credential_id", self.credential_id or console_id(self.client_id, 12))

    def described(self) -> dict[str, object]:
        """All fields except the secrets."""
        hidden = {"client_secrets", "certificates"}
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in hidden}
        return {**shown, "client_secrets": len(self.client_secrets), "certificates": len(self.certificates)}


@dataclass(frozen=True, slots=True)
class Binding:
    """An uploaded certificate: its key, and the Unix times in seconds between which it is valid."""

    key: rsa.RSAPublicKey
    not_before: float
    not_after: float


def client_from(document: object) -> SandboxClient:
    """Read a client from decoded JSON; the fields are those of `SandboxClient`.

    Raises:
        SandboxConfigError: A field is missing or unknown, or has the wrong type.

    """
    if not isinstance(document, Mapping):
        raise SandboxConfigError("A client must be a JSON object.")
    known = {item.name for item in fields(SandboxClient)}
    unknown = [name for name in document if name not in known]
    if unknown:
        quoted = next((f', "{name}"' for name in unknown if _FIELD_NAME.fullmatch(str(name))), "")
        raise SandboxConfigError(
            f"A client has an unknown field{quoted}; the known fields are {', '.join(sorted(known))}."
        )
    values = {name: value for name, value in document.items() if value is not None}
    for name in ("client_secrets", "scopes", "metascopes", "certificates"):
        values[name] = _texts(name, values.get(name, []))
    for name in ("client_id", "org_id", "kind"):
        if not isinstance(values.get(name), str):
            raise SandboxConfigError(f"A client's {name} must be a string.")
    client = SandboxClient(**values)
    check_client(client)
    return client


def load_clients(path: Path) -> tuple[SandboxClient, ...]:
    """Read clients from a JSON file: a list of clients, or ``{"clients": [...]}``.

    Raises:
        SandboxConfigError: The file is missing, too large, not JSON, or has a client that is not valid.

    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CLIENTS_FILE_BYTES + 1)
    except OSError as error:
        raise SandboxConfigError(f"The clients file cannot be read: {error.strerror}.") from None
    if len(data) > MAX_CLIENTS_FILE_BYTES:
        raise SandboxConfigError("The clients file is larger than 16 MiB.")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise SandboxConfigError("The clients file is not JSON.") from None
    items = document.get("clients") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise SandboxConfigError("The clients file must have a list of clients.")
    clients = []
    for index, item in enumerate(items):
        try:
            clients.append(client_from(item))
        except SandboxConfigError as error:
            raise SandboxConfigError(f"Client {index} of the clients file: {error}") from None
    if len({client.client_id for client in clients}) < len(clients):
        raise SandboxConfigError("The clients file has a client_id twice.")
    return tuple(clients)


def _texts(name: str, value: object) -> tuple[str, ...]:
    """A list of strings, or one string with commas or blanks between them. A line end at an end is dropped."""
    if isinstance(value, str):
        value = [value] if name == "certificates" else [part for part in _SEPARATORS.split(value) if part]
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip("\r\n") for item in value):
        raise SandboxConfigError(f"A client's {name} must be a list of non-empty strings, or one string.")
    return tuple(item.rstrip("\r\n") for item in value)


def check_client(client: SandboxClient) -> None:
    """Check every field.

    Raises:
        SandboxConfigError: A field is malformed.

    """
    account, lifetime = client.technical_account_id, client.token_lifetime
    problems = {
        "client_id must be letters, digits, dots, hyphens or underscores": not _CLIENT_ID.fullmatch(client.client_id),
        "org_id must be 24 letters or digits and @AdobeOrg": not _ORG_ID.fullmatch(client.org_id),
        f"kind must be one of {', '.join(CLIENT_KINDS)}": client.kind not in CLIENT_KINDS,
        "client_secrets must be one or two": len(client.client_secrets) not in {1, 2},
        "technical_account_id must be a string": account is not None and not isinstance(account, str),
        "technical_account_id is required for kind jwt": client.kind == "jwt" and not account,
        "metascopes are required for kind jwt": client.kind == "jwt" and not client.metascopes,
        "scopes are required for this kind": client.kind in CLIENT_KINDS[1:] and not client.scopes,
        "token_lifetime must be seconds above 0": lifetime is not None and not is_duration(lifetime),
        "consented_orgs must map org ids to technical accounts": not _are_orgs(client.consented_orgs),
        "console_org_id and credential_id must be strings of digits": not _are_console_ids(
            client.console_org_id, client.credential_id
        ),
    }
    for problem, wrong in problems.items():
        if wrong:
            raise SandboxConfigError(f"A client's {problem}.")
    for pem in client.certificates:
        binding_of(pem)


def is_duration(value: object) -> bool:
    """Whether `value` is a number of seconds above 0 and at most a year."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 366 * 86400


def _are_orgs(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(org, str) and _ORG_ID.fullmatch(org) and isinstance(account, str) for org, account in value.items()
    )


def _are_console_ids(*values: object) -> bool:
    return all(isinstance(value, str) and _CONSOLE_ID.fullmatch(value) for value in values)


def binding_of(pem: str) -> Binding:
    """Read a certificate in PEM form.

    Raises:
        SandboxConfigError: It is not a certificate, or its key is not an RSA key.

    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        key = certificate.public_key()
    except ValueError:
        raise SandboxConfigError("A client's certificates must be X.509 certificates in PEM form.") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise SandboxConfigError("A client's certificates must hold RSA keys.")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Binding(key, begin.timestamp(), end.timestamp())
