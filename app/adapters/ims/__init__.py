"""Adobe IMS over HTTP: the client, the exchange, and the meaning of its answers."""

from app.adapters.ims.client import ims_client
from app.adapters.ims.exchanger import HttpTokenExchanger

__all__ = ["HttpTokenExchanger", "ims_client"]
