"""Hands short-lived Adobe IMS access tokens to internal services, for many IMS organisations at once."""

__version__ = "0.1.0"
