"""A local IMS to rehearse with: it checks like Adobe, answers like Adobe, and fails on order.

It shares no code with the broker, so that the two cannot agree on a mistake.
"""

from app.sandbox.app import Sandbox, create_sandbox
from app.sandbox.clients import SandboxClient, SandboxConfigError, load_clients

__all__ = ["Sandbox", "SandboxClient", "SandboxConfigError", "create_sandbox", "load_clients"]
