"""A stand-in for the APIs of AWS KMS (``Sign``) and STS (``AssumeRoleWithWebIdentity``): real HTTP, SigV4 and RSA."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, StandIn, stand_in
from tests.support.keys import new_rsa_key
from tests.support.sigv4 import access_key_of, sigv4_defect

KMS_REGION = "eu-central-1"
KMS_ACCOUNT = "111122223333"
ACCESS_KEY = "AKIACANARY0000000001"
SECRET_KEY = "canary/aws/secret/access/key/000000000001"
ROLE_ARN = f"arn:aws:iam::{KMS_ACCOUNT}:role/ims-token-broker"
_AMZ_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_STATUS = {"KMSInternalException": 500, "DependencyTimeoutException": 500, "KeyUnavailableException": 500}


def aws_variables(folder: Path) -> dict[str, str]:
    """The variables of a login with an access key; `folder` has no files of the AWS command line."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class KmsServer:
    """The state of the server, which a test may change while it runs.

    Args:
        secret_keys: The secret access key of each access key id that it knows.
        session_tokens: The session token that an access key id of STS needs.
        keys: The keys, by key id.
        aliases: The key id of each alias.
        refusal: The code with which it refuses each signature, or None.
        reply: What it answers to each signature instead, or None.
        web_identity: The only token for which STS gives the role.

    """

    secret_keys: dict[str, str] = field(default_factory=lambda: {ACCESS_KEY: SECRET_KEY})
    session_tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    refusal: str | None = None
    reply: ScriptedReply | None = None
    web_identity: str = "canary.web.identity"
    answering: threading.Event = field(default_factory=threading.Event)
    """While it is clear, signatures are not answered."""

    def __post_init__(self) -> None:
        self.answering.set()
        self._lock = threading.Lock()
        self._at_once = 0
        self.most_at_once = 0
        self._server: StandIn | None = None

    @property
    def url(self) -> str:
        """For ``BROKER_KMS_ENDPOINT_URL``."""
        assert self._server is not None
        return self._server.url

    @property
    def seen(self) -> list[ReceivedRequest]:
        """The requests so far."""
        assert self._server is not None
        return self._server.seen

    def create_key(self, *, kind: str = "rsa", alias: str = "") -> str:
        """A new key of `kind`, ``rsa`` or ``ec``; its id."""
        number = secrets.token_hex(16)
        key_id = "-".join([number[:8], number[8:12], number[12:16], number[16:20], number[20:]])
        self.keys[key_id] = (
            new_rsa_key(label=f"kms-{key_id}") if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        )
        if alias:
            self.aliases[alias] = key_id
        return key_id

    def arn(self, key_id: str, region: str = KMS_REGION) -> str:
        """The ARN of a key."""
        return f"arn:aws:kms:{region}:{KMS_ACCOUNT}:key/{key_id}"

    @contextlib.contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[KmsServer]:
        """Serve for the length of a block."""
        with stand_in(self._answer, tls) as server:
            self._server = server
            try:
                yield self
            finally:
                self.answering.set()

    def _answer(self, request: ReceivedRequest) -> ScriptedReply:
        if "x-amz-target" not in request.headers:
            return self._login(parse_qs(request.body.decode()))
        with self._counted():
            self.answering.wait(60)
        if self.reply is not None:
            return self.reply
        defect = sigv4_defect(request, self.secret_keys, KMS_REGION, "kms") or self._token_defect(request)
        refused = defect or self.refusal
        if refused is not None:
            return _refused(refused)
        if request.headers["x-amz-target"] != "TrentService.Sign":
            return _refused("UnknownOperationException")
        return self._sign(json.loads(request.body))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def _token_defect(self, request: ReceivedRequest) -> str | None:
        needed = self.session_tokens.get(access_key_of(request) or "")
        given = request.headers.get("x-amz-security-token")
        return None if given == needed else "UnrecognizedClientException"

    def _sign(self, asked: dict[str, str]) -> ScriptedReply:
        named = asked["KeyId"].removeprefix(f"arn:aws:kms:{KMS_REGION}:{KMS_ACCOUNT}:").removeprefix("key/")
        key_id = self.aliases.get(named, named)
        key, digest = self.keys.get(key_id), base64.b64decode(asked["Message"])
        if key is None:
            return _refused("NotFoundException")
        if not isinstance(key, rsa.RSAPrivateKey):
            return _refused("InvalidKeyUsageException")
        algorithm = asked["SigningAlgorithm"]
        if (asked["MessageType"], algorithm, len(digest)) != ("DIGEST", "RSASSA_PKCS1_V1_5_SHA_256", 32):
            return _refused("ValidationException")
        signature = base64.b64encode(key.sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))).decode()
        answer = {"KeyId": self.arn(key_id), "Signature": signature, "SigningAlgorithm": algorithm}
        return ScriptedReply(200, answer, _AMZ_JSON)

    def _login(self, form: dict[str, list[str]]) -> ScriptedReply:
        if form.get("Action") != ["AssumeRoleWithWebIdentity"] or form.get("WebIdentityToken") != [self.web_identity]:
            return ScriptedReply(400, _XML_ERROR.encode(), {"Content-Type": "text/xml"})
        access, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(40)
        self.secret_keys[access], self.session_tokens[access] = secret, token
        ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = _XML_LOGIN.format(access=access, secret=secret, token=token, ends=ends)
        return ScriptedReply(200, answer.encode(), {"Content-Type": "text/xml"})


def _refused(code: str) -> ScriptedReply:
    return ScriptedReply(_STATUS.get(code, 400), {"__type": code, "message": f"canary {KMS_ACCOUNT}"}, _AMZ_JSON)


_XML_LOGIN = (
    '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{access}</AccessKeyId>"
    "<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{ends}</Expiration>"
    "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
)
_XML_ERROR = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>InvalidIdentityToken</Code><Message>canary</Message></Error></ErrorResponse>"
)
