"""The type of an identity is its proof: nothing but a verifier makes one."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.repository import ROOT

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

VERIFIERS = {
    "JwtIdentity": {"app/adapters/jwt_verifier/verifier.py:_proved"},
    "ApiKeyIdentity": {"app/domain/api_key.py:parse_api_key"},
}
"""The functions that may make each type of identity."""


def made_in(path: Path) -> list[tuple[str, str]]:
    """The identities that a module makes: each type, and the function that makes it."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)]
    return [
        (node.func.id, f"{path.relative_to(ROOT)}:{function.name}")
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in VERIFIERS
    ]


def test_only_verifiers_make_identities() -> None:
    """A `JwtIdentity` is made only where the signature was verified, and an `ApiKeyIdentity` only from a key."""
    made = [pair for path in sorted((ROOT / "app").rglob("*.py")) for pair in made_in(path)]

    assert {kind: {place for made_kind, place in made if made_kind == kind} for kind in VERIFIERS} == VERIFIERS
