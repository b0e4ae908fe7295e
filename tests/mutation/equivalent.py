"""Mutants that no test can tell from the code, each with the reason. They are not counted."""

from __future__ import annotations

_ZERO_IS_LEFT = "at the very end 0.0 s are left, which is also the answer of the other branch"
_ABOVE_THE_LONGEST = "both powers are above the longest wait, which is then taken"
_ANY_REQUIREMENT_WILL_DO = "a caller is found by any of its requirements; the smallest takes the least memory"
_LONG_AGO = "it differs only in the first second of 1970"
_NEITHER = "only OURS and TAKEN are compared with; UNKNOWN says for the reader what it is otherwise"
_FALSE_EITHER_WAY = "both are false, and only the truth of it is asked for"
_BEFORE_LOADING = "`load` sets it before anything reads it"
_NEVER_AN_X = "the base64 of 32 bytes has no X before its ="

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "app/service/backoff.py",
        "return 0.0 if wait is None or not now < wait.until <= now + wait.pause else wait.until - now",
        "return 0.0 if wait is None or not now <= wait.until <= now + wait.pause else wait.until - now",
    ): _ZERO_IS_LEFT,
    (
        "app/service/backoff.py",
        "wait = 0.0 if times == 1 else min(LONGEST_REFUSAL_SECONDS, FIRST_SECONDS * 2.0 ** min(times - 2, 8))",
        "wait = 0.0 if times == 1 else min(LONGEST_REFUSAL_SECONDS, FIRST_SECONDS * 2.0 ** min(times - 2, 9))",
    ): _ABOVE_THE_LONGEST,
    (
        "app/domain/policy.py",
        "for claim in min(caller.claims, key=len):",
        "for claim in min(caller.claims, key=None):",
    ): _ANY_REQUIREMENT_WILL_DO,
    (
        "app/domain/policy.py",
        "for claim in min(caller.claims, key=len):",
        "for claim in min(caller.claims, ):",
    ): _ANY_REQUIREMENT_WILL_DO,
    (
        "app/service/shared_exchange.py",
        "held = self._held_until.get(key.ref, 0.0) - self._clock()",
        "held = self._held_until.get(key.ref, 1.0) - self._clock()",
    ): _LONG_AGO,
    ("app/service/shared_exchange.py", "claim = ReplacementClaim.UNKNOWN", "claim = None"): _NEITHER,
    ("app/service/purges.py", "self._is_behind = False", "self._is_behind = None"): _FALSE_EITHER_WAY,
    (
        "app/service/purges.py",
        "self._is_behind = False  # First, so that a purge that is missed during the comparison causes another one.",
        "self._is_behind = None  # First, so that a purge that is missed during the comparison causes another one.",
    ): _FALSE_EITHER_WAY,
    (
        "app/service/purges.py",
        "above = max(self._epochs.of(ref), self._owed.get(ref, 0), min(int(self._clock() * 1000), _LATEST))",
        "above = max(self._epochs.of(ref), self._owed.get(ref, 1), min(int(self._clock() * 1000), _LATEST))",
    ): _LONG_AGO,
    ("app/service/reload.py", "self._in_file = self.current", "self._in_file = None"): _BEFORE_LOADING,
    ("app/service/reload.py", "self._next_end = math.inf", "self._next_end = None"): _BEFORE_LOADING,
    (
        "app/service/mint.py",
        "refusal: CredentialRejectedError | None = None",
        'refusal: CredentialRejectedError | None = ""',
    ): _FALSE_EITHER_WAY,
    (
        "app/domain/api_key.py",
        """return f"itb_{key_id}_{base64.urlsafe_b64encode(secret_bytes).rstrip(b'=').decode()}\"""",
        """return f"itb_{key_id}_{base64.urlsafe_b64encode(secret_bytes).rstrip(b'XX=XX').decode()}\"""",
    ): _NEVER_AN_X,
}
"""By module, removed lines and added lines, as the list of survivors shows them."""
