"""Bodies in, JSON out: the little that every endpoint needs of HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from podium.generate.server.refusal import Refusal

BODY_SECONDS = 60.0
"""A client that sends its request more slowly than this is not waited for."""


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413 for more than `most` bytes, 408 for one that does not come.
        ClientDisconnect: the client left.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Refusal(408, "the body did not arrive in time", code="timeout") from None
    return bytes(body)


def _too_large(most: int) -> Refusal:
    # What is left of the body is not read: the connection cannot be used again.
    message = f"the body is larger than {most} bytes"
    return Refusal(413, message, code="body_too_large", headers={"Connection": "close"})


def dump(value: Any) -> bytes:
    return to_json(value, inf_nan_mode="null")


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(dump(value), status, headers, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    return as_json(refusal.body(), refusal.status, refusal.headers)
