"""The application: every address and what is behind it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from podium.generate.server.access import Guard
from podium.generate.server.asks import DetokenizeAsk, TokenizeAsk, read_ask
from podium.generate.server.forms import Chat, Completions
from podium.generate.server.generating import Generating
from podium.generate.server.http import as_json, read_body, refused
from podium.generate.server.metrics import CONTENT_TYPE, gauge, gauges
from podium.generate.server.refusal import DEFECT, Refusal
from podium.generate.server.served import Served


def create_app(served: Served) -> Starlette:
    """The application. Closing the completer is left to whoever opened it."""

    permission = {
        "id": f"modelperm-{uuid.uuid4().hex}",
        "object": "model_permission",
        "created": served.created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }

    async def models(request: Request) -> Response:
        model = {
            "id": served.name,
            "object": "model",
            "created": served.created,
            "owned_by": "podium",
            "root": served.root or served.completer.name,
            "parent": None,
            "max_model_len": served.context,
            "permission": [permission],
        }
        wanted = request.path_params.get("model")
        if wanted is None:
            return as_json({"object": "list", "data": [model]})
        served.check_model(wanted)
        return as_json(model)

    async def health(request: Request) -> Response:
        if served.broken is not None:
            return as_json({"status": "failed", "reason": served.broken.message}, 503)
        if served.gate.closing:
            return as_json({"status": "shutting down"}, 503)
        return as_json({"status": "ok"})

    async def metrics(request: Request) -> Response:
        lines = metric_lines(served, await served.completer.counts())
        return PlainTextResponse("\n".join([*lines, ""]), headers={"Content-Type": CONTENT_TYPE})

    async def tokenize(request: Request) -> Response:
        ask = read_ask(TokenizeAsk, await read_body(request, served.max_body))
        served.check_model(ask.model)
        served.note_unknown(ask)
        if ask.messages is not None:
            opened = ask.add_generation_prompt is not False
            tokens = served.chat_tokens(ask.messages, bool(ask.continue_final_message), opened)
        else:
            tokens = served.tokenizer.encode(ask.prompt or "")
        answer: dict[str, Any] = {"count": len(tokens), "max_model_len": served.context, "tokens": tokens}
        # As the vocabulary spells them ("Ġthe"), so that the parts of a character can be told apart.
        answer["token_strs"] = list(map(served.tokenizer.piece, tokens)) if ask.return_token_strs else None
        return as_json(answer)

    async def detokenize(request: Request) -> Response:
        ask = read_ask(DetokenizeAsk, await read_body(request, served.max_body))
        served.check_model(ask.model)
        if any(not 0 <= token < served.tokenizer.vocab_size for token in ask.tokens):
            raise Refusal(400, "tokens: an id is outside the vocabulary", param="tokens", code="invalid_value")
        return as_json({"prompt": served.tokenizer.decode(ask.tokens)})

    return Starlette(
        routes=[
            Route("/v1/completions", Generating(served, "/v1/completions", Completions), methods=["POST"]),
            Route("/v1/chat/completions", Generating(served, "/v1/chat/completions", Chat), methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{model:path}", models),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, access=served.access, metrics=served.metrics)],
        exception_handlers={Refusal: _refusal, HTTPException: _no_such_page, Exception: _defect},
    )


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


def _defect(request: Request, error: Exception) -> Response:
    """A defect of ours; its traceback goes to standard error."""
    return refused(DEFECT)


def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    return refused(Refusal(error.status_code, message, code="unknown_url", headers=error.headers))


def metric_lines(served: Served, replicas: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """`replicas`: what each engine counts; one that is in this process, or several that are not."""
    yield from served.metrics.lines()
    yield from gauge("podium_completions_running", "Completions being computed.", served.gate.running)
    yield from gauge("podium_completions_waiting", "Completions waiting for a place.", served.gate.waiting)
    names = dict.fromkeys(name for figures in replicas for name in figures)
    for name in names:
        told = {str(i): figures[name] for i, figures in enumerate(replicas) if name in figures}
        yield from gauges(f"podium_engine_{name}", "As the engine counts it.", "replica", told)
