"""Adobe IMS over HTTP: the client, the exchange, and the meaning of its answers."""

from app.adapters.ims.exchanger import HttpTokenExchanger
from app.adapters.ims.http_client import ims_client

__all__ = ["HttpTokenExchanger", "ims_client"]
