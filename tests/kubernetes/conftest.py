"""The parts that this suite shares: an API server, and beside it Vault."""

from __future__ import annotations

from tests.support.kube_api import kube_api
from tests.support.vault_server import vault_server

__all__ = ["kube_api", "vault_server"]
