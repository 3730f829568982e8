"""Whether there is a server with the OpenAI API at an address, and which models it has: what went wrong, and the cure.

Knows addresses and /v1/models; asks for no answer. Commands ask once, before anything else is done, so that a server
that is not there is one message and not one for every attempt.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from podium.errors import CompleterError, InputError, nearest

ROOT_CURE = "the address of an OpenAI API usually ends with /v1: write it like http://localhost:8000/v1"
KEY_CURE = "check the API key: the one in PODIUM_API_KEY is sent"
START_CURE = "start it (vllm serve …, podium serve …), wait until it has loaded, check host and port"

# What people copy from examples of requests, behind the root that is meant.
_ENDPOINTS = ("/chat/completions", "/completions", "/models")


class Reached(NamedTuple):
    """A server that is there: the root of its API, and the model that will be asked."""

    url: str
    model: str


def is_server(model: Path | str) -> bool:
    """Whether a model is named by the address of its server and not by its folder."""
    return str(model).startswith(("http://", "https://"))


def api_root(url: str) -> str:
    """The address that /models and /chat/completions are put behind: with /v1, without the endpoint of an example.

    Raises:
        InputError: not the http(s) address of a server.
    """
    cure = "write it like http://localhost:8000/v1"
    if not is_server(url):
        raise InputError(f"{url!r} is not the address of a server", cure)
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host")
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise InputError(f"{url!r} is not the address of a server ({error})", cure) from error
    root = url.split("?", 1)[0].rstrip("/")
    for endpoint in _ENDPOINTS:
        root = root.removesuffix(endpoint)
    return root if root.endswith("/v1") else f"{root}/v1"


def api_key() -> str | None:
    """The key for other people's servers: $PODIUM_API_KEY."""
    return os.environ.get("PODIUM_API_KEY") or None


def reach(url: str, model: str | None = None, *, key: str | None = None, timeout: float = 30.0) -> Reached:
    """Find the server and the model in it.

    Args:
        model: as the server calls it; None for the only one there.
        key: sent as a bearer token.
        timeout: seconds that the server may take to say which models it has.

    Raises:
        InputError: no address, several models and none named, or no model of that name.
        CompleterError: nobody there, or something else than an OpenAI API.
    """
    root = api_root(url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0))) as client:
        try:
            response = client.get(f"{root}/models")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said, cure = unreachable(root, error)
            raise CompleterError(f"{root}: {said}", cure) from error
        names = model_names(response)
        if names is None and model is not None and response.status_code in (404, 405, 501):
            # Some servers have no list of models. A request without a body tells them from a wrong path.
            try:
                there = client.post(f"{root}/chat/completions", json={}).status_code not in (404, 405, 501)
            except httpx.HTTPError:
                there = False
            if there:
                return Reached(root, model)
    if names is None:
        said, cure = no_models(root, response)
        raise CompleterError(f"{root}: {said}", cure)
    if model is None:
        if len(names) == 1:
            return Reached(root, next(iter(names)))
        known = ", ".join(names) or "none"
        raise InputError(f"{root}: which of the server's models? It has {known}", f"write {root}#NAME")
    if model not in names:
        raise InputError(f"{root}: no model is called {model!r} there", nearest(model, names))
    return Reached(root, model)


def model_names(response: httpx.Response) -> dict[str, int | None] | None:
    """Names of the models that a list tells and their contexts, where told; None when it is no such list."""
    try:
        return {str(entry["id"]): entry.get("max_model_len") for entry in response.json()["data"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def no_models(root: str, response: httpx.Response) -> tuple[str, str]:
    """What is wrong with a server that told no list of models, and the cure."""
    status, said = response.status_code, error_message(response.text)
    if status in (401, 403):
        return f"not allowed ({status}: {said})", KEY_CURE
    if response.is_redirect:
        target = response.headers.get("location", "").removesuffix("/models")
        return f"it has moved to {target or 'somewhere else'}", f"write {target or 'the new address'}"
    if root.startswith("http://") and status in (400, 421, 426) and "https" in said.lower():
        return f"it speaks https ({status}: {said[:120]})", f"write https://{root.removeprefix('http://')}"
    if status == 429 or status >= 500:
        return (
            f"GET {root}/models says {status}: {said[:200]}",
            "it is loading, overloaded or broken: look into its log",
        )
    return f"GET {root}/models says {status} and no list of models: this is no OpenAI API", ROOT_CURE


def unreachable(root: str, error: Exception) -> tuple[str, str]:
    """What an error of a connection means, and the cure."""
    said, other = str(error), f"http{'' if root.startswith('https') else 's'}://{root.split('://', 1)[-1]}"
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within the time: the host is away, or a firewall swallows it", "check host and port"
    if isinstance(error, httpx.TimeoutException):
        return (
            "it does not answer",
            "it is loading, overloaded or stuck: look into its log, wait until it says it is ready",
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"its certificate is not trusted ({said[:200]})", "set SSL_CERT_FILE to the certificate of its authority"
    if root.startswith("https://") and ("SSL" in said or "TLS" in said.upper()):
        return "it does not speak https", f"write {other}"
    if isinstance(error, httpx.UnsupportedProtocol):
        return "no address of a server", "write it like http://localhost:8000/v1"
    if isinstance(error, httpx.ConnectError):
        if any(word in said for word in ("Name or service not known", "name resolution", "nodename", "No address")):
            return f"no host is called {urlsplit(root).hostname!r}", "check the spelling of the host"
        return f"nothing listens there ({said})", START_CURE
    if root.startswith("http://") and _speaks_tls(root):
        return "it speaks https", f"write {other}"
    return f"the connection broke off ({type(error).__name__}: {said})", "this is no HTTP server, or it fell over"


def _speaks_tls(root: str) -> bool:
    parts = urlsplit(root)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=3.0) as connection:
            context.wrap_socket(connection, server_hostname=parts.hostname).close()
    except (OSError, ValueError):
        return False
    return True


def error_message(text: str) -> str:
    """What an error body says, whichever of the usual forms it has."""
    try:
        value = json.loads(text)
    except ValueError:
        return " ".join(text[:200].split()) or "no reason given"
    if isinstance(value, Mapping):
        value = value.get("error") or value.get("detail") or value.get("message") or value
    if isinstance(value, Mapping):
        value = value.get("message") or value
    return str(value)[:400]
