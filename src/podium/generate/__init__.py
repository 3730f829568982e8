"""Answering prompts: the Completer protocol, the engine, and the client for other servers."""

from podium.generate.protocol import Completer, Completion, CompletionUsage, Finish, Piece, Prompt, Sampling

__all__ = ["Completer", "Completion", "CompletionUsage", "Finish", "Piece", "Prompt", "Sampling"]
