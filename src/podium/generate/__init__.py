"""Answering prompts: the Completer protocol, the engine, several of them, and the client for other servers."""

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
    from podium.generate.engine import Engine
    from podium.generate.openai import OpenAICompleter
    from podium.generate.parallel import ParallelCompleter
    from podium.generate.replica import EngineSpec
    from podium.generate.step import EngineStats

__all__ = [
    "Completer",
    "Completion",
    "CompletionUsage",
    "Engine",
    "EngineSpec",
    "EngineStats",
    "Finish",
    "OpenAICompleter",
    "ParallelCompleter",
    "Piece",
    "Prompt",
    "PromptScore",
    "Sampling",
    "Script",
    "ScriptedCompleter",
    "complete",
]


# torch and httpx are only paid for by those who use them.
_HOMES = {
    "Engine": "engine",
    "EngineSpec": "replica",
    "EngineStats": "step",
    "OpenAICompleter": "openai",
    "ParallelCompleter": "parallel",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"podium.generate.{_HOMES[name]}"), name)
