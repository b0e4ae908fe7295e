"""Adobe IMS over HTTP: the client, the exchange, and the meaning of its answers."""

from app.adapters.ims.exchanger import HttpTokenExchanger
from app.adapters.ims.http_client import ims_client
from app.adapters.ims.ims_diagnosis import clock_finding, ims_finding

__all__ = ["HttpTokenExchanger", "clock_finding", "ims_client", "ims_finding"]
