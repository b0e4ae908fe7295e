"""The broker's own certificate: HTTPS with a pair of files that may be renewed while connections stand.

A renewal is found by content, so that a Secret's ``..data`` swap, a rename and an edit in place are all alike, and
counts only after it was read twice alike: a chain that is cut off between two certificates would still load.

OpenSSL cannot replace a certificate in a context in one step: it takes the certificate first, and forgets the key
where that does not match; and a pair of another kind (RSA, ECDSA) would stand beside the old one. So each pair gets a
context of its own, and every handshake is handed to the newest by the callback that runs as it begins.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from app.domain.events import ServerCertificateLoaded, ServerCertificateRefused
from app.ports import Clock, EventSink
from app.process.own_threads import OwnThreads, ThreadsBusyError
from app.process.regular_file import FileError, read_bytes
from app.process.renewed_file import Look, RenewedFile, UnsettledError, settled

LOOK_SECONDS = 2.0
"""Between two looks at the files; a renewal that is seen twice alike is in force within twice that."""

READ_DEADLINE = 30.0
MAX_FILE_BYTES = 256 * 1024
_WAITING = 4
_Result = TypeVar("_Result")

Part = Literal["cert", "key"]


class ServerCertificateError(ValueError):
    """A certificate and its key are refused together. The text never has anything of the files.

    Args:
        part: Which file is at fault.
        expected: What is wrong with it.

    """

    def __init__(self, part: Part, expected: str) -> None:
        super().__init__(f"{'certificate' if part == 'cert' else 'key'}: {expected}")
        self.part = part
        self.expected = expected


@dataclass(frozen=True, slots=True)
class _Pair:
    digest: bytes
    context: ssl.SSLContext
    not_after: float


class ServerCertificate:
    """A certificate with its key, followed while it is renewed.

    Args:
        cert_file: The chain (PEM), the server's own certificate first.
        key_file: The private key (PEM, not encrypted).
        sink: Told of every pair that comes into force, and once of each that is refused.
        clock: Unix time in seconds.

    """

    def __init__(self, cert_file: Path, key_file: Path, sink: EventSink, clock: Clock) -> None:
        self._files = cert_file, key_file
        self._sink = sink
        self._clock = clock
        self._pair: _Pair | None = None
        # By digest, or by the reason why the files cannot be read.
        self._renewal = RenewedFile[bytes | str](looks=2)
        self._threads = OwnThreads("server-certificate", threads=1, waiting=_WAITING, deadline=READ_DEADLINE)

    async def load(self) -> ssl.SSLContext:
        """Load the pair for the first time; the context that a server is to use, now and after every renewal.

        Raises:
            ServerCertificateError: A file cannot be read, or the two are no pair.

        """
        self._adopt(await self._in_thread(self._load))
        listener = _bare_context()
        listener.sni_callback = self._choose
        return listener

    async def watch(self) -> None:
        """Look for a renewal forever. A bad one is refused and reported once; the last good one stays."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once, and take or refuse what the last look saw too."""
        seen = await self._sight()
        match self._renewal.look(seen):
            case Look.RESTORED:
                self._report_loaded()
            case Look.NEW:
                reason = seen if isinstance(seen, str) else await self._renewed(seen)
                if reason is not None:
                    self._renewal.refuse(seen)
                    self._sink.emit(ServerCertificateRefused(self._clock(), reason))
            case Look.UNCHANGED | Look.UNSETTLED | Look.REFUSED:
                pass

    async def aclose(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()

    @property
    def _in_force(self) -> _Pair:
        assert self._pair is not None  # noqa: S101  # `load` comes first
        return self._pair

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._in_force.context

    async def _sight(self) -> bytes | str:
        """What the files hold as a digest, or why they cannot be read."""
        try:
            return await self._in_thread(lambda: _digest(*_contents(*self._files)))
        except ServerCertificateError as error:
            return str(error)

    async def _renewed(self, digest: bytes) -> str | None:
        """Put the pair with this digest into force; why not, where it is bad."""
        try:
            pair = await self._in_thread(self._load)
        except ServerCertificateError as error:
            return str(error)
        if pair.digest != digest:
            return None  # Changed again meanwhile: it is looked at when it has settled.
        if pair.not_after <= self._clock() < self._in_force.not_after:
            return "certificate: has ended already, and the one in force has not"
        self._adopt(pair)
        return None

    def _adopt(self, pair: _Pair) -> None:
        self._pair = pair
        self._renewal.accept(pair.digest)
        self._report_loaded()

    def _report_loaded(self) -> None:
        self._sink.emit(ServerCertificateLoaded(self._clock(), self._in_force.not_after))

    def _load(self) -> _Pair:
        return _load_pair(*self._files)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await self._threads.run(work)
        except (TimeoutError, ThreadsBusyError):
            raise ServerCertificateError("cert", "could not be read in time") from None


def check_server_certificate(cert_file: Path, key_file: Path) -> None:
    """Read the pair, now and in this thread.

    Raises:
        ServerCertificateError: A file cannot be read, or the two are no pair.

    """
    _load_pair(cert_file, key_file)


def _load_pair(cert_file: Path, key_file: Path) -> _Pair:
    def between(pair: tuple[bytes, bytes]) -> tuple[float, ssl.SSLContext | None]:
        not_after = _checked(*pair)
        context = _bare_context()
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError):  # an SSLError is an OSError
            return not_after, None
        return not_after, context

    # OpenSSL reads the files itself, so they are read once more: what was checked must be what was loaded.
    first = _contents(cert_file, key_file)
    try:
        pair, (not_after, context) = settled(first, lambda: _contents(cert_file, key_file), between)
    except UnsettledError:
        raise ServerCertificateError("cert", "is still being written") from None
    if context is None:
        raise ServerCertificateError("cert", "is not accepted by OpenSSL: a part is missing, or its key is weak")
    return _Pair(_digest(*pair), context, not_after)


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the server work at no cost of its own
    context.set_alpn_protocols(["http/1.1"])
    return context


def _checked(chain: bytes, key: bytes) -> float:
    """The end of the certificate, in Unix time, if the two are a pair."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ServerCertificateError("cert", "must be a certificate chain in PEM form") from None
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise ServerCertificateError("key", "must not be encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ServerCertificateError("key", "must be a private key in PEM form") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ServerCertificateError("key", "does not belong to the certificate")
    return certificate.not_valid_after_utc.timestamp()


def _digest(chain: bytes, key: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(chain).digest() + hashlib.sha256(key).digest()).digest()


def _contents(cert_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    return _content(cert_file, "cert"), _content(key_file, "key")


def _content(path: Path, part: Part) -> bytes:
    try:
        return read_bytes(path, MAX_FILE_BYTES)
    except FileError as error:
        raise ServerCertificateError(part, error.reason) from None
