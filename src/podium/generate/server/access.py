"""Who may ask: which names the server answers to, which pages of a browser may call it, and which keys it takes.

A server on the user's own machine is in reach of every page that the user's browser shows. Three things keep such a
page from making it compute: a request must say that its body is JSON, which a page of another origin cannot do without
a preflight; a page's origin must be allowed; and the name that the request was sent to must be one of the server's own,
so that a foreign page whose name was made to point at this machine (DNS rebinding) does not pass as same-origin.

Knows headers; no bodies and no models. /health answers everybody, since it tells nothing and probes use any name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from podium.errors import InputError
from podium.generate.server.http import refused
from podium.generate.server.metrics import Metrics
from podium.generate.server.refusal import Refusal

OPEN = ("/health",)
"""Paths without any check."""

KEYLESS = (*OPEN, "/metrics")
"""Paths that ask for no key, so that probes and Prometheus need none; metrics tell counts and no text."""

PREFLIGHT_SECONDS = 600
"""How long a browser may remember what a preflight said."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(?::[0-9]*)?", re.IGNORECASE)
_FIELD_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,-]*")


@dataclass(frozen=True, slots=True)
class Access:
    """What is allowed beyond the default: requests to loopback names, from no page, without a key.

    Args:
        keys: bearer tokens, one of which a request must carry; none: no key is asked for.
        origins: origins whose pages may call (`https://example.org`, `null`), "*" for all of them.
        hosts: names and addresses that requests may be sent to besides loopback ones, "*" for all of them.
        any_address: every IP address is such a name. An address cannot be rebound.
    """

    keys: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    any_address: bool = False

    def knows_host(self, host: str) -> bool:
        """Whether `host`, a Host header with or without a port, is one of our own names."""
        found = _HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = found[1].lower().removeprefix("[").removesuffix("]").removesuffix(".")
        if "*" in self.hosts or name in self.hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        address = _address(name)
        return address is not None and (self.any_address or address.is_loopback or address.is_unspecified)

    def knows_origin(self, origin: str) -> bool:
        return "*" in self.origins or _origin(origin) in self.origins

    def knows_key(self, authorization: str | None) -> bool:
        """Whether the Authorization header carries one of the keys; takes equally long for every wrong one."""
        if not self.keys:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        # Headers are latin-1 to starlette, whatever was sent.
        given = hashlib.sha256(token.strip().encode("latin-1", errors="replace")).digest()
        fits = [secrets.compare_digest(given, hashlib.sha256(key.encode()).digest()) for key in self.keys]
        return scheme.lower() == "bearer" and any(fits)


def access_for(
    host: str, *, keys: Iterable[str] = (), origins: Iterable[str] = (), hosts: Iterable[str] = ()
) -> Access:
    """The access of a server that listens at `host`: its own names are that one, those given, and, when it listens to
    a network, this machine's name and every address.

    Raises:
        InputError: an origin that is none, a host that is none, or a key that no header can carry.
    """
    keys, own = tuple(keys), {_name(name) for name in hosts}
    for key in keys:
        if not key or not key.isprintable() or not key.isascii() or " " in key:
            raise InputError("--api-key: a key is empty or has spaces or unprintable characters", "for example a UUID")
    allowed = []
    for origin in origins:
        if origin != "*" and _origin(origin) == "":
            raise InputError(f"--allow-origin {origin}: no origin", "for example https://example.org, or *")
        allowed.append("*" if origin == "*" else _origin(origin))
    address = _address(host)
    if address is None:
        own.add(_name(host))
    network = host != "localhost" and (address is None or not address.is_loopback)
    if network:
        own.add(socket.gethostname().lower())
    if address is not None:
        own.add(host.lower())
    return Access(keys, tuple(allowed), tuple(sorted(own)), any_address=address is not None and address.is_unspecified)


def _name(host: str) -> str:
    """`host` as knows_host compares it: lower case, without port, brackets and final dot."""
    if host == "*":
        return host
    found = _HOST.fullmatch(host.strip())
    if found is None:
        raise InputError(f"--allow-host {host}: no host name", "for example models.example.org, or *")
    return found[1].lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _origin(text: str) -> str:
    """An origin as it is compared, "null" among them; empty for what is none."""
    text = text.strip().lower().removesuffix("/")
    if text == "null":
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return ""
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.fragment or parts.username:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if port in (None, standard) else f":{port}")


class Guard:
    """ASGI middleware that lets through what `access` allows, and tells browsers so."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        page = origins[0] if origins and all(map(self._access.knows_origin, origins)) else None
        if page is not None:
            send = _told_to(page, send)
        try:
            self._check(scope, headers, bool(origins) and page is None)
        except Refusal as refusal:
            if scope["method"] == "POST":
                self._metrics.requests.add(1, scope["path"] if scope["path"].startswith("/v1/") else "other", "refused")
            await refused(refusal)(scope, receive, send)
            return
        if page is not None and _is_preflight(scope, headers):
            await _preflight(headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers, foreign: bool) -> None:
        """Raises Refusal: 403, 401 or 415."""
        # The body of what is refused is not read, so that the connection cannot be used again.
        closing = {"Connection": "close"}
        for host in headers.getlist("host"):
            if not self._access.knows_host(host):
                raise Refusal(
                    403,
                    f"this server does not go by the name {host[:100]!r}; start it with --allow-host if it should",
                    code="host_not_allowed",
                    headers=closing,
                )
        if foreign:
            raise Refusal(
                403,
                f"pages of {headers['origin'][:100]!r} may not use this server; "
                "start it with --allow-origin if they should",
                code="origin_not_allowed",
                headers=closing,
            )
        if _is_preflight(scope, headers):
            return
        if scope["path"] not in KEYLESS and not self._access.knows_key(headers.get("authorization")):
            raise Refusal(
                401,
                "this server asks for an API key: send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer", **closing},
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise Refusal(
                415,
                f"the body is announced as {kind[:100] or 'nothing'}; send Content-Type: application/json",
                code="unsupported_media_type",
                headers=closing,
            )


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _preflight(headers: Headers) -> Response:
    answer = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    wanted = headers.get("access-control-request-headers", "")
    if wanted and _FIELD_NAMES.fullmatch(wanted):
        answer["Access-Control-Allow-Headers"] = wanted
    if headers.get("access-control-request-private-network") == "true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=answer)


def _told_to(origin: str, send: Send) -> Send:
    """`send` that adds to every answer what a browser wants to see before it shows the answer to a page of `origin`."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            message["headers"] = headers.raw
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
            headers.add_vary_header("Origin")
        await send(message)

    return tell
