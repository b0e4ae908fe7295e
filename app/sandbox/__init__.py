"""A local IMS for rehearsals: it checks and answers like Adobe, and fails on request.

It shares no code with the broker, so that the two cannot share a mistake.
"""

from app.sandbox.app import TOKEN_LIFETIME, Sandbox, create_sandbox
from app.sandbox.clients import SandboxClient, SandboxConfigError, load_clients

__all__ = ["TOKEN_LIFETIME", "Sandbox", "SandboxClient", "SandboxConfigError", "create_sandbox", "load_clients"]
