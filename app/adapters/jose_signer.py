"""Signs assertions with python-jose and a private key held in memory; the only module that imports `jose`.

A key is parsed once per generation of its credential. `cryptography` validates an RSA key in 40 to 60 ms without
letting go of the interpreter, so that even in a thread of its own it would stop the event loop for as long, once for
each cold tenant. Nearly all of that is a primality test of the tenant's own primes. `_checked` does the rest of the
validation instead, in well under a millisecond; a key that passes it wrongly could harm no one but its owner.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jose import jwk, jws
from jose.backends.base import Key

from app.domain.credential import JwtCredential
from app.domain.errors import CredentialMisconfiguredError, OverloadedError
from app.domain.names import CredentialRef

_MIN_BITS = 2048
_MAX_BITS = 8192  # a larger key would hold the event loop for tens of milliseconds with every signature


class JoseAssertionSigner:
    """Signs RS256 with the credential's own ``private_key``.

    Args:
        max_keys: How many parsed keys are remembered, one per credential.
        max_waiting: How many keys may wait to be parsed.
        deadline: Seconds a signature may wait for its key.

    """

    def __init__(self, max_keys: int = 4096, max_waiting: int = 2048, deadline: float = 5.0) -> None:
        self._max_keys = max_keys
        self._max_waiting = max_waiting
        self._deadline = deadline
        self._keys: OrderedDict[CredentialRef, tuple[str, Key]] = OrderedDict()
        self._parsing: dict[tuple[CredentialRef, str], asyncio.Future[Key]] = {}
        # Not the loop's default executor: name resolution waits there.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="private-key")

    async def sign(self, credential: JwtCredential, claims: Mapping[str, object]) -> str:
        """Sign `claims` as a compact JWS with the header ``{"alg":"RS256","typ":"JWT"}``.

        Raises:
            CredentialMisconfiguredError: ``private_key``, its passphrase or ``certificate`` cannot be used.
            OverloadedError: Too many keys wait to be parsed.

        """
        key = self._remembered(credential) or await self._parsed(credential)
        # IMS refuses an `exp` that is not an integer, and python-jose would keep a float (`ims.md` 1.3).
        whole = {name: int(value) if isinstance(value, float) else value for name, value in claims.items()}
        return jws.sign(whole, key, algorithm="RS256")

    def close(self) -> None:
        """Forget all keys and end the thread."""
        self._keys.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _remembered(self, credential: JwtCredential) -> Key | None:
        generation, key = self._keys.get(credential.ref, ("", None))
        if key is None or generation != credential.generation:
            return None
        self._keys.move_to_end(credential.ref)
        return key

    async def _parsed(self, credential: JwtCredential) -> Key:
        identity = (credential.ref, credential.generation)
        parsing = self._parsing.get(identity) or self._start_parsing(credential, identity)
        try:
            async with asyncio.timeout(self._deadline):
                # Shielded: a caller that goes away must not take the key from the others that wait for it.
                return await asyncio.shield(parsing)
        except TimeoutError:
            raise OverloadedError("Too many private keys wait to be parsed.") from None

    def _start_parsing(self, credential: JwtCredential, identity: tuple[CredentialRef, str]) -> asyncio.Future[Key]:
        if len(self._parsing) >= self._max_waiting:
            raise OverloadedError("Too many private keys wait to be parsed.")
        parsing = asyncio.get_running_loop().run_in_executor(self._executor, _signing_key, credential)
        self._parsing[identity] = parsing

        def finish(done: asyncio.Future[Key]) -> None:
            del self._parsing[identity]
            if not done.cancelled() and done.exception() is None:
                self._remember(credential, done.result())

        parsing.add_done_callback(finish)
        return parsing

    def _remember(self, credential: JwtCredential, key: Key) -> None:
        # One entry per credential: the key of an older generation leaves as the newer one comes.
        self._keys[credential.ref] = (credential.generation, key)
        self._keys.move_to_end(credential.ref)
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)


def _signing_key(credential: JwtCredential) -> Key:
    if credential.private_key is None:
        raise CredentialMisconfiguredError("private_key", "is missing, and only Vault can sign with a transit_key")
    private_key = _checked(_rsa_key(_bytes(credential.private_key), credential.private_key_passphrase))
    if credential.certificate is not None:
        _check_certificate(credential.certificate, private_key)
    return jwk.construct(private_key, algorithm="RS256")  # type: ignore[arg-type]  # the stubs omit key objects


def _rsa_key(pem: bytes, passphrase: str | None) -> rsa.RSAPrivateKey:
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not passphrase:
        raise CredentialMisconfiguredError("private_key_passphrase", "is missing, and the private key is encrypted")
    password = _bytes(passphrase) if encrypted and passphrase else None
    try:
        key = load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise CredentialMisconfiguredError("private_key_passphrase", "does not open the private key") from None
        raise CredentialMisconfiguredError("private_key", "must be a private key in PEM form") from None
    if not isinstance(key, rsa.RSAPrivateKey) or not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise CredentialMisconfiguredError("private_key", f"must be an RSA key of {_MIN_BITS} to {_MAX_BITS} bits")
    return key


def _checked(key: rsa.RSAPrivateKey) -> rsa.RSAPrivateKey:
    """All of OpenSSL's validation but the primality test, and then one signature made and verified."""
    numbers = key.private_numbers()
    p, q, d, e = numbers.p, numbers.q, numbers.d, numbers.public_numbers.e
    consistent = (
        p > 2 < q
        and p % 2 == q % 2 == e % 2 == 1
        and e > 2
        and p * q == numbers.public_numbers.n
        and d * e % (p - 1) == d * e % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )
    try:
        if not consistent:
            raise ValueError
        signature = key.sign(b"self-test", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"self-test", padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        raise CredentialMisconfiguredError("private_key", "is damaged: its numbers do not belong together") from None
    return key


def _check_certificate(pem: str, key: rsa.RSAPrivateKey) -> None:
    try:
        public_key = x509.load_pem_x509_certificate(_bytes(pem)).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialMisconfiguredError("certificate", "must be an X.509 certificate in PEM form") from None
    if public_key != key.public_key():
        raise CredentialMisconfiguredError("certificate", "does not belong to private_key")


def _bytes(text: str) -> bytes:
    # A lone surrogate would make an error that carries the whole text with it.
    return text.encode(errors="replace")
