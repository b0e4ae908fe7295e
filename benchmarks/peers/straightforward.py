"""A straightforward broker, as one would write it in an afternoon: a FastAPI route, and a Redis GET for each request.

It authenticates API keys, has a list of what each caller may have, and exchanges with IMS if Redis has no token. It has
no single flight, refresh, encryption, rate limit, metrics or audit log.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

import httpx2
import redis.asyncio
from fastapi import FastAPI, Header, HTTPException
from starlette.responses import Response

CONFIGURATION = "STRAIGHTFORWARD_BROKER"
"""The environment variable that names the configuration, a JSON file."""


def create_app(configuration: dict[str, Any]) -> FastAPI:
    """The app.

    Args:
        configuration: ``redis`` (URL), ``ims`` (URL), ``callers`` (orgs by SHA-256 of the API key) and ``credentials``
            (a form for each org).

    """
    app = FastAPI()
    cache = redis.asyncio.Redis.from_url(configuration["redis"])
    ims = httpx2.AsyncClient(timeout=10)

    @app.get("/token")
    async def token(org: str, authorization: Annotated[str, Header()]) -> Response:
        key = authorization.removeprefix("Bearer ")
        orgs = configuration["callers"].get(hashlib.sha256(key.encode()).hexdigest())
        if orgs is None:
            raise HTTPException(401)
        if org not in orgs:
            raise HTTPException(403)
        stored = await cache.get(f"token:{org}")
        if stored is None:
            stored = await mint(org)
        return Response(stored, media_type="application/json", headers={"cache-control": "no-store"})

    async def mint(org: str) -> bytes:
        answer = await ims.post(f"{configuration['ims']}/ims/token/v3", data=configuration["credentials"][org])
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        await cache.set(f"token:{org}", answer.content, ex=int(body["expires_in"]) // 2)
        return answer.content

    return app


def configured() -> FastAPI:
    """The app with the configuration that the environment names, for uvicorn."""
    return create_app(json.loads(Path(os.environ[CONFIGURATION]).read_text()))
