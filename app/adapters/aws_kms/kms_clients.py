"""The clients of the AWS SDK: one per region, all with the same login. Everything here blocks."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, UnknownRegionError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from cachetools import LRUCache

from app.adapters.aws_kms.aws_transport import AwsTransport
from app.adapters.aws_kms.kms_answers import KMS_FIELD, LOGIN_REFUSED, NO_LOGIN, NOT_KMS, refusal
from app.domain.dependency_errors import CredentialStoreError
from app.domain.errors import BrokerError
from app.domain.kms_key import KmsKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.egress import EgressProxy

MAX_REGIONS = 40
"""Clients that are kept. AWS has fewer regions, and documents name them."""

ANSWER_SECONDS = 4.0
_METADATA_SECONDS = 1.0
_RSA_SIGNATURES = {256, 384, 512}
"""Bytes of a signature by the RSA keys of KMS: 2048, 3072 and 4096 bits."""

_SDK_LOGGER = "botocore"


@dataclass(frozen=True, slots=True)
class KmsConfig:
    """Where AWS KMS is. The login is that of the SDK: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html.

    Args:
        region: The region of keys without an ARN, and of STS.
        endpoint_url: The base URL of KMS in that region, such as a VPC endpoint; None for the region's own.
        proxy: The egress proxy, or None.

    """

    region: str
    endpoint_url: str | None = None
    proxy: EgressProxy | None = None


class KmsClients:
    """Signs with keys of AWS KMS.

    Args:
        config: The region and URL of AWS KMS.

    """

    def __init__(self, config: KmsConfig) -> None:
        # At DEBUG the SDK logs requests with their session tokens, and at WARNING each failed login.
        logging.getLogger(_SDK_LOGGER).setLevel(logging.CRITICAL + 1)
        self._config = config
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients = LRUCache[str, Any](MAX_REGIONS)

    def sign(self, key: KmsKey, digest: bytes) -> bytes:
        """The RSASSA-PKCS1-v1_5 signature of a SHA-256 digest.

        Raises:
            CredentialMisconfiguredError: The key cannot be used.
            CredentialStoreError: AWS KMS is unusable, or does not know the broker.

        """
        answer = self._asked(key, digest)
        # Raised here, outside the handlers, so that no exception that holds an answer is chained to this one.
        if isinstance(answer, BrokerError):
            raise answer
        signature = answer.get("Signature")
        if not isinstance(signature, bytes) or len(signature) not in _RSA_SIGNATURES:
            raise CredentialStoreError(NOT_KMS)
        return signature

    def _asked(self, key: KmsKey, digest: bytes) -> dict[str, Any] | BrokerError:
        try:
            answer = self._client(key).sign(
                KeyId=key.key_id, Message=digest, MessageType="DIGEST", SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256"
            )
        except BrokerError as error:
            return error
        except ClientError as error:
            if error.operation_name != "Sign":
                return CredentialStoreError(LOGIN_REFUSED)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return refusal(str(error.response.get("Error", {}).get("Code")), status)
        except ResponseParserError:
            return CredentialStoreError(NOT_KMS)
        except (BotoCoreError, OSError):
            return CredentialStoreError(NO_LOGIN)
        except (ValueError, TypeError, AttributeError):
            return CredentialStoreError(NOT_KMS)  # How the SDK fails at JSON that is not an object.
        return answer if isinstance(answer, dict) else CredentialStoreError(NOT_KMS)

    def _client(self, key: KmsKey) -> Any:
        region = key.region or self._config.region
        with self._lock:
            if self._session is None:
                self._session = _session(self._config)
            self._check(key, region)
            if region not in self._clients:
                self._clients[region] = self._session.create_client(
                    "kms",
                    region_name=region,
                    endpoint_url=self._config.endpoint_url,
                    config=Config(ignore_configured_endpoint_urls=True),
                )
            return self._clients[region]

    def _check(self, key: KmsKey, region: str) -> None:
        """Refuse a region that leads to a host which is not of AWS or does not exist, or is not of `config`."""
        if key.partition is not None and not self._is_known(key.partition, region):
            raise CredentialMisconfiguredError(KMS_FIELD, "is an ARN whose region AWS does not have in that partition")
        if self._config.endpoint_url is not None and region != self._config.region:
            raise CredentialMisconfiguredError(
                KMS_FIELD, "must be a key of the region BROKER_KMS_REGION, because BROKER_KMS_ENDPOINT_URL is set"
            )

    def _is_known(self, partition: str, region: str) -> bool:
        """Whether the partition has the region. The operator's own may be newer than the list of the SDK."""
        if region == self._config.region:
            return self._partition(region) == partition
        return region in self._session.get_available_regions("kms", partition)

    def _partition(self, region: str) -> str | None:
        try:
            return str(self._session.get_partition_for_region(region))
        except UnknownRegionError:
            return None


def _session(config: KmsConfig) -> Any:
    session = botocore.session.Session()
    session.set_config_variable("region", config.region)
    session.set_default_client_config(
        Config(retries={"total_max_attempts": 1, "mode": "standard"}, proxies={}, user_agent_extra="ims-token-broker")
    )
    session.register("before-send", AwsTransport(config.proxy, ANSWER_SECONDS).send)
    # The role of an EC2 instance comes from an address of the machine, so no proxy of the environment is asked.
    metadata = session.get_component("credential_provider").get_provider("iam-role")
    metadata._role_fetcher._session = URLLib3Session(timeout=_METADATA_SECONDS, proxies={})  # noqa: SLF001  # no other way
    return session
