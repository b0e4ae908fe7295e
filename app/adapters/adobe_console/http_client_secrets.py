"""Calls Adobe's secrets API: each call has a deadline, and each answer a bound."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from app.domain.secret_rotation_state import (
    DEFAULT_CONSOLE_URL,
    ConsoleAccess,
    ListedSecret,
    NewSecret,
    SecretsApiDeniedError,
    SecretsApiUnavailableError,
    is_uuid,
)
from app.domain.strict_json import strict_json
from app.egress import EgressProxy, ProxyFailure, bounded_body, command_client, connect_failure

_DEADLINE = 15.0
_MAX_BYTES = 256 * 1024
_DENIED = (
    "Adobe's secrets API refuses this credential ({status}). Add the I/O Management API to its project, and its scopes"
    " (manage_client_secrets, read_client_secret and others, docs/ims.md section 3.3) to the document. Or add a secret"
    " in the Adobe Developer Console yourself, and give it with --new-secret-file."
)
_UNKNOWN = (
    "Adobe's secrets API does not know this credential (404). Compare console_org_id and console_credential_id with"
    " project.org.id and the credential's id in the project's download."
)


class AdobeClientSecrets:
    """The `ClientSecrets` of Adobe.

    Args:
        base_url: ``https://api.adobe.io``, or a sandbox.
        verify: Trusted certificates; the system's if None.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(
        self,
        base_url: str = DEFAULT_CONSOLE_URL,
        verify: ssl.SSLContext | None = None,
        proxy: EgressProxy | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = command_client(verify, proxy, _DEADLINE)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def listed(self, access: ConsoleAccess) -> tuple[ListedSecret, ...]:
        """As `ClientSecrets.listed`."""
        answer = await self._call("GET", access, "", frozenset({200}))
        secrets = answer.get("client_secrets")
        if not isinstance(secrets, list):
            raise _not_understood()
        return tuple(sorted(map(_record, secrets), key=lambda record: record.created_at))

    async def add(self, access: ConsoleAccess) -> NewSecret:
        """As `ClientSecrets.add`."""
        answer = await self._call("POST", access, "", frozenset({200, 201}))
        uuid, value = answer.get("uuid"), answer.get("client_secret")
        if not isinstance(uuid, str) or not is_uuid(uuid) or not isinstance(value, str) or not value:
            raise _not_understood()
        return NewSecret(uuid, value)

    async def delete(self, access: ConsoleAccess, uuid: str) -> None:
        """As `ClientSecrets.delete`."""
        if not is_uuid(uuid):
            raise _not_understood()
        await self._call("DELETE", access, f"/{uuid}", frozenset({200, 204, 404}))

    async def _call(
        self, method: str, access: ConsoleAccess, below: str, expected: frozenset[int]
    ) -> Mapping[str, object]:
        ids = access.ids
        url = f"{self._base_url}/console/organizations/{ids.org}/credentials/{ids.credential}/secrets{below}"
        headers = {"Authorization": f"Bearer {access.token}", "x-api-key": access.client_id}
        try:
            async with asyncio.timeout(_DEADLINE), self._client.stream(method, url, headers=headers) as response:
                if response.status_code not in expected:
                    raise _refusal(response)
                return await _json_object(response) if response.status_code in {200, 201} else {}
        except (TimeoutError, httpx2.TimeoutException):
            detail = "Adobe's secrets API did not answer in time."
        except ProxyFailure as error:
            detail = f"Adobe's secrets API cannot be reached. {error}"
        except httpx2.ConnectError as error:
            detail = f"Adobe's secrets API cannot be reached: {connect_failure(error).value}."
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError):
            detail = "The connection to Adobe's secrets API failed."
        raise SecretsApiUnavailableError(detail)


def _refusal(response: httpx2.Response) -> SecretsApiDeniedError | SecretsApiUnavailableError:
    status = response.status_code
    if status in {401, 403}:
        return SecretsApiDeniedError(_DENIED.format(status=status))
    if status == 404:
        return SecretsApiDeniedError(_UNKNOWN)
    if status == 429 or status >= 500:
        delay = response.headers.get("retry-after", "")
        seconds = float(delay) if delay.isascii() and delay.isdigit() and len(delay) < 5 else 5.0
        return SecretsApiUnavailableError(f"Adobe's secrets API answered {status}.", seconds)
    return SecretsApiDeniedError(
        f"Adobe's secrets API answered {status}. Look at the credential's secrets in the Adobe Developer Console."
    )


async def _json_object(response: httpx2.Response) -> Mapping[str, object]:
    try:
        body = await bounded_body(response, _MAX_BYTES)
        answer = strict_json(body) if body else {}
    except ValueError:
        raise _not_understood() from None
    if not isinstance(answer, Mapping):
        raise _not_understood()
    return answer


def _record(secret: object) -> ListedSecret:
    if not isinstance(secret, Mapping):
        raise _not_understood()
    uuid, created, usages = secret.get("uuid"), _seconds(secret.get("created_at")), secret.get("secret_usages")
    if not isinstance(uuid, str) or not is_uuid(uuid) or created is None:
        raise _not_understood()
    listed = usages if isinstance(usages, list) else []
    used = [_seconds(usage.get("last_used_at")) for usage in listed if isinstance(usage, Mapping)]
    return ListedSecret(uuid, created, max((at for at in used if at is not None), default=None))


def _seconds(milliseconds: object) -> float | None:
    """Unix time in seconds out of Adobe's milliseconds, which are text."""
    text = str(milliseconds) if isinstance(milliseconds, str | int) and not isinstance(milliseconds, bool) else ""
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 16 else None


def _not_understood() -> SecretsApiUnavailableError:
    return SecretsApiUnavailableError("The answer of Adobe's secrets API cannot be understood.")
