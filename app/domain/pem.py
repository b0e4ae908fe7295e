"""PEM text (RFC 7468) as it reaches a document: with any line ends, as a list of lines, escaped, or in base64."""

from __future__ import annotations

import base64
import binascii
import re

# A body ends at the next five hyphens, so that text full of BEGIN lines is searched once, not once for each.
_BLOCK = re.compile(
    r"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----(?P<body>[^-]*(?:-(?!----)[^-]*)*)-----END (?P=label)-----"
)
_BEGIN = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----")
_ESCAPED_LINE_END = re.compile(r"(?:\\+r)?\\+n")
_LINE_END = re.compile(r"\r\n?")
_DER_SEQUENCE = b"\x30"
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_LINE = 64
"""Characters of base64 in a line (RFC 7468 section 2)."""

_PRIVATE_KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_INSTEAD = {
    "OPENSSH PRIVATE KEY": "is an OpenSSH key; convert a copy of it with `ssh-keygen -p -m PEM -f FILE`",
    "EC PRIVATE KEY": "is an elliptic-curve key; Adobe accepts RSA keys only",
    "EC PARAMETERS": "is an elliptic-curve key; Adobe accepts RSA keys only",
    "DSA PRIVATE KEY": "is a DSA key; Adobe accepts RSA keys only",
    "PUBLIC KEY": "is a public key; give the private key that belongs to it",
    "RSA PUBLIC KEY": "is a public key; give the private key that belongs to it",
    "CERTIFICATE": "is a certificate; put it into the field certificate, and give the private key that belongs to it",
    "CERTIFICATE REQUEST": "is a certificate request; give the private key that belongs to it",
    "NEW CERTIFICATE REQUEST": "is a certificate request; give the private key that belongs to it",
    "PGP PRIVATE KEY BLOCK": "is a PGP key; give an RSA key in PEM form",
}
"""What is sometimes given in place of a private key, by its PEM label."""

_BEGINNINGS = {
    "ssh-": "is a public key of OpenSSH; give the private key that belongs to it, in PEM form",
    "---- BEGIN SSH2": "is a public key of SSH; give the private key that belongs to it, in PEM form",
    "PuTTY-User-Key-File": "is a PuTTY key; export it as an OpenSSL key (PEM)",
}
"""What is sometimes given in place of PEM text, by its beginning."""


class PemError(ValueError):
    """A value is not the PEM text that was expected; the text says what it is instead, and quotes nothing of it."""


def private_key_pem(value: object) -> str:
    """The private key in a value, as PEM with LF line ends.

    Raises:
        PemError: It is not one.

    """
    return _expected(pem_text(value), _PRIVATE_KEYS, "must be a private key in PEM form", _INSTEAD)


def certificate_pem(value: object) -> str:
    """The certificate in a value, as PEM with LF line ends.

    Raises:
        PemError: It is not one.

    """
    instead = dict.fromkeys(_PRIVATE_KEYS, "has a private key; put that into the field private_key")
    instead["PUBLIC KEY"] = "is a public key; give the certificate that was uploaded to Adobe"
    request = "is a certificate request; give the certificate that was made from it"
    instead |= {"CERTIFICATE REQUEST": request, "NEW CERTIFICATE REQUEST": request}
    return _expected(pem_text(value), ("CERTIFICATE",), "must be a certificate in PEM form", instead)


def pem_text(value: object) -> str:
    """The text of a value with LF line ends.

    A list is one line per item. Escaped line ends (backslash, n; also escaped twice) and text in base64 are decoded.

    Raises:
        PemError: It is neither text nor a list of lines.

    """
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(line.rstrip("\r\n") for line in value)
    if not isinstance(value, str):
        raise PemError("must be PEM text, or a list of its lines")
    text = value.strip()
    if "-----BEGIN " not in text and (content := _decoded(text)) is not None and b"-----BEGIN " in content:
        text = content.decode("ascii", errors="replace")
    if "\\" in text:
        text = _ESCAPED_LINE_END.sub("\n", text)
    return _LINE_END.sub("\n", text)


def _decoded(text: str) -> bytes | None:
    """The bytes, if the whole text is base64."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _expected(text: str, labels: tuple[str, ...], expected: str, instead: dict[str, str]) -> str:
    """The blocks of `text` that have one of `labels`."""
    begun = [found["label"] for found in _BEGIN.finditer(text)]
    wanted = [found for found in _BLOCK.finditer(text) if found["label"] in labels]
    if not begun:
        raise PemError(_without_begin(text) or f"{expected}, which begins with -----BEGIN {labels[0]}-----")
    if wanted:
        return "".join(_block(found["label"], found["body"]) for found in wanted)
    if any(label in labels for label in begun):
        raise PemError("is truncated: it has no line -----END …----- that matches its first line")
    raise PemError(next((instead[label] for label in begun if label in instead), expected))


def _without_begin(text: str) -> str | None:
    """What text without a BEGIN line is; None if that is unknown."""
    if "-----END " in text and "-----BEGIN " not in text:
        return "is truncated: its first line, -----BEGIN …-----, is missing"
    if (_decoded(text) or b"").startswith(_DER_SEQUENCE):
        return "is base64 without PEM lines, such as DER or PKCS#12; convert it to PEM, for example with openssl"
    return next((what for beginning, what in _BEGINNINGS.items() if text.startswith(beginning)), None)


def _block(label: str, body: str) -> str:
    packed = "".join(body.split())
    if _BASE64.fullmatch(packed):
        # A form field or an environment variable may have joined the lines by blanks, or YAML have indented them.
        body = "\n".join(packed[at : at + _LINE] for at in range(0, len(packed), _LINE))
    return f"-----BEGIN {label}-----\n{body.strip()}\n-----END {label}-----\n"
