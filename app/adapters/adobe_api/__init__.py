"""One cheap call of an Adobe API, to prove that a token is good for it."""

from app.adapters.adobe_api.api_probe import AdobeApiProbe

__all__ = ["AdobeApiProbe"]
