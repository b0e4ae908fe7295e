"""The Adobe Developer Console's API for client secrets (docs/ims.md section 3.3)."""

from app.adapters.adobe_console.http_client_secrets import AdobeClientSecrets

__all__ = ["AdobeClientSecrets"]
