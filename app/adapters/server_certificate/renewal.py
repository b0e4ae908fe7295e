"""The broker's own certificate: HTTPS with a pair of files that may be renewed while connections are open.

A renewal is found by its content, so that a Secret's ``..data`` swap, a rename and an edit in place are the same. It
counts only after it was seen twice: a chain that is cut off between two certificates would still load.

OpenSSL cannot replace a certificate in a context in one step: it takes the certificate first and drops the key if it
does not match; and a pair of another kind (RSA, ECDSA) would be added to the old one. So each pair gets a context of
its own, and a callback gives every handshake the newest as it begins.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.domain.events import ServerCertificateLoaded, ServerCertificateRefused
from app.ports import Clock, EventSink
from app.process.certificate_pair import CertificatePairError, Pair, contents, digest_of, load_pair
from app.process.own_threads import OwnThreads, ThreadsBusyError
from app.process.renewed_file import Look, RenewedFile

_READ_DEADLINE = 30.0
_WAITING = 4

_Result = TypeVar("_Result")


def server_context() -> ssl.SSLContext:
    """A server's TLS context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the server work at no cost of its own
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServerCertificate:
    """A certificate with its key, followed while it is renewed.

    Args:
        cert_file: The chain (PEM), the server's own certificate first.
        key_file: The private key (PEM, not encrypted).
        sink: Gets an event of every pair that comes into force, and one of each that is refused.
        clock: Unix time in seconds.
        look_seconds: Between two looks at the files; a renewal is in force within twice that.

    """

    def __init__(
        self, cert_file: Path, key_file: Path, sink: EventSink, clock: Clock, look_seconds: float = 2.0
    ) -> None:
        self._files = cert_file, key_file
        self._sink = sink
        self._clock = clock
        self._look_seconds = look_seconds
        self._pair: Pair | None = None
        # By digest, or by the reason why the files cannot be read.
        self._renewal = RenewedFile[bytes | str](looks=2)
        self._threads = OwnThreads("server-certificate", threads=1, waiting=_WAITING, deadline=_READ_DEADLINE)

    async def load(self) -> ssl.SSLContext:
        """Load the pair for the first time. The context is for the server, now and after every renewal.

        Raises:
            CertificatePairError: A file cannot be read, or the key does not belong to the certificate.

        """
        self._adopt(await self._in_thread(self._load))
        listener = server_context()
        listener.sni_callback = self._choose
        return listener

    async def watch(self) -> None:
        """Look for a renewal forever. A bad one is refused and reported once; the last good one stays."""
        while True:
            await asyncio.sleep(self._look_seconds)
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
            case Look.UNCHANGED | Look.CHANGING | Look.REFUSED:
                pass

    async def aclose(self) -> None:
        """Let the reading thread end; a read that hangs is not waited for."""
        self._threads.close()

    @property
    def _in_force(self) -> Pair:
        assert self._pair is not None  # noqa: S101  # `load` comes first
        return self._pair

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._in_force.context

    async def _sight(self) -> bytes | str:
        """What the files hold as a digest, or why they cannot be read."""
        try:
            return await self._in_thread(lambda: digest_of(*contents(*self._files)))
        except CertificatePairError as error:
            return str(error)

    async def _renewed(self, digest: bytes) -> str | None:
        """Put the pair with this digest into force; if it is bad, why."""
        try:
            pair = await self._in_thread(self._load)
        except CertificatePairError as error:
            return str(error)
        if pair.digest != digest:
            return None  # It changed again; look again when it no longer changes.
        if pair.not_after <= self._clock() < self._in_force.not_after:
            return "certificate: has ended already, and the one in force has not"
        self._adopt(pair)
        return None

    def _adopt(self, pair: Pair) -> None:
        self._pair = pair
        self._renewal.accept(pair.digest)
        self._report_loaded()

    def _report_loaded(self) -> None:
        self._sink.emit(ServerCertificateLoaded(self._clock(), self._in_force.not_after))

    def _load(self) -> Pair:
        return load_pair(*self._files, server_context)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await self._threads.run(work)
        except (TimeoutError, ThreadsBusyError):
            raise CertificatePairError("cert", "could not be read in time") from None
