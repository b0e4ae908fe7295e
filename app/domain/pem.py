"""PEM text (RFC 7468) as it reaches a document: with any line ends, as a list of lines, escaped, or in base64."""

from __future__ import annotations

import base64
import binascii
import re

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL)
_BEGIN = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
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
    "PGP PRIVATE KEY BLOCK": "is a PGP key; give an RSA key in PEM form",
}
"""What is sometimes given in place of a private key, by its PEM label."""


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
    instead["CERTIFICATE REQUEST"] = "is a certificate request; give the certificate that was made from it"
    return _expected(pem_text(value), ("CERTIFICATE",), "must be a certificate in PEM form", instead)


def pem_text(value: object) -> str:
    """The text of a value with LF line ends.

    A list is one line per item. Escaped line ends (backslash, n), text in base64, and PEM in a single line are decoded.

    Raises:
        PemError: It is neither text nor a list of lines.

    """
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(line.rstrip("\r\n") for line in value)
    if not isinstance(value, str):
        raise PemError("must be PEM text, or a list of its lines")
    text = value.replace("\r\n", "\n").strip()
    if "-----BEGIN " not in text:
        text = _decoded(text)
    if "\\n" in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    return text.replace("\r\n", "\n")


def _decoded(text: str) -> str:
    """What `text` is in base64, or else `text`."""
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return text


def _expected(text: str, labels: tuple[str, ...], expected: str, instead: dict[str, str]) -> str:
    """The blocks of `text` that have one of `labels`."""
    begun = [found["label"] for found in _BEGIN.finditer(text)]
    wanted = [found for found in _BLOCK.finditer(text) if found["label"] in labels]
    if not begun:
        raise PemError(f"{expected}: it begins with -----BEGIN {labels[0]}-----")
    if wanted:
        return "".join(_block(found["label"], found["body"]) for found in wanted)
    if any(label in labels for label in begun):
        raise PemError("is truncated: it has no line -----END …----- that matches its first line")
    raise PemError(next((instead[label] for label in begun if label in instead), expected))


def _block(label: str, body: str) -> str:
    if "\n" not in body.strip() and " " in body.strip() and _BASE64.fullmatch(body):
        # All in one line, with blanks in place of line ends, as an environment variable or a form field has it.
        packed = "".join(body.split())
        body = "\n" + "\n".join(packed[at : at + _LINE] for at in range(0, len(packed), _LINE)) + "\n"
    return f"-----BEGIN {label}-----\n{body.strip()}\n-----END {label}-----\n"
