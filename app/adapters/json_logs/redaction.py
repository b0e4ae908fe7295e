"""Redacts what looks like a secret by its name or its form: a safety net, because no secret is logged on purpose."""

from __future__ import annotations

import math
import re

_MAX_TEXT = 8192
_REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?i)pass(word|wd|phrase)|secret|token(?!_sha256|_type)|authori[sz]ation|private_?key|api_?key(?!_sha256)|assertion"
)
_SECRET_VALUE = re.compile(
    r"""(?isx)
      -----BEGIN[ ].*?(?:-----END[^-]*-----|\Z)            # PEM
    | eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,4}        # JWT, signed or encrypted, also cut short
    | \bhv[sbr]\.[A-Za-z0-9_-]{8,}                         # Vault token
    | \bs\.[A-Za-z0-9]{20,}                                # Vault token, older form
    | \bitb_[A-Za-z0-9]+_[A-Za-z0-9_-]+                    # our API key
    | \bp8e-[A-Za-z0-9_-]+                                 # Adobe client secret
    | \b(?:bearer|basic)[ ]+[A-Za-z0-9._~+/=-]{8,}
    | (?<=:)//?[^/\s:@]*:[^/\s@]+(?=@)                     # user:password in a URL
    | (?:client_secrets?|client_assertion|jwt_token|access_token|secret_id|password|passphrase|private_key)
      \\*["']?\s*[=:]\s*                                  # a form field or a JSON member, also within a string:
      (?:\[[^\]]*|b?\\*"(?:\\.|[^"\\])*|b?\\*'(?:\\.|[^'\\])*|[^\s&"',;]+)  # its list, string or word
    """
)


def redact(text: str) -> str:
    """`text` without what looks like a secret, and not longer than a log line should be."""
    redacted = _SECRET_VALUE.sub(_REDACTED, text)
    return redacted if len(redacted) <= _MAX_TEXT else redacted[:_MAX_TEXT] + "…"


def plain(name: str, value: object) -> object:
    """`value` as JSON can have it, redacted by the field's name or by what it looks like."""
    if _SECRET_NAME.search(name):
        return _REDACTED
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain("", item) for item in value]
    return redact(str(value))
