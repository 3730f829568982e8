"""Answering prompts: the Completer protocol, the engine, and the client for other servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podium.generate.protocol import (
    Completer,
    Completion,
    CompletionUsage,
    Finish,
    Piece,
    Prompt,
    PromptScore,
    Sampling,
    complete,
)
from podium.generate.scripted import Script, ScriptedCompleter

if TYPE_CHECKING:
    from podium.generate.engine import Engine, EngineStats
    from podium.generate.openai import OpenAICompleter

__all__ = [
    "Completer",
    "Completion",
    "CompletionUsage",
    "Engine",
    "EngineStats",
    "Finish",
    "OpenAICompleter",
    "Piece",
    "Prompt",
    "PromptScore",
    "Sampling",
    "Script",
    "ScriptedCompleter",
    "complete",
]


def __getattr__(name: str) -> Any:
    # torch and httpx are only paid for by those who use them.
    if name in ("Engine", "EngineStats"):
        from podium.generate import engine

        return getattr(engine, name)
    if name == "OpenAICompleter":
        from podium.generate.openai import OpenAICompleter

        return OpenAICompleter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
