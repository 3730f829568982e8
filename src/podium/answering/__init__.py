"""Answering a prompt, whoever does it: the Completer protocol, scripted answers, and the client for servers.

The narrow waist of Podium. Curation, exams and contests know it; `podium.generate` implements it with an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podium.answering.protocol import (
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
from podium.answering.scripted import Script, ScriptedCompleter

if TYPE_CHECKING:
    from podium.answering.openai import OpenAICompleter

__all__ = [
    "Completer",
    "Completion",
    "CompletionUsage",
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
    if name != "OpenAICompleter":  # httpx is only paid for by those who use it
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from podium.answering.openai import OpenAICompleter

    return OpenAICompleter
