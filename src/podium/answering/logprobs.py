"""Log-probabilities as servers of the OpenAI API tell them, in chats and in completions."""

from __future__ import annotations

from typing import Any, NamedTuple

UNKNOWN = -1  # the id of a token that is known by its text alone


class Told(NamedTuple):
    """Log-probabilities as a piece has them. Servers name likely tokens by text alone: their ids are UNKNOWN."""

    chosen: tuple[float, ...] = ()
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()  # of `top`


def read_logprobs(told: dict[str, Any] | None) -> Told:
    """The log-probabilities of a chunk: a list of tokens in a chat, lists side by side in a completion."""
    if not told:
        return Told()
    if told.get("content") is not None:
        chosen = [token["logprob"] for token in told["content"]]
        likeliest = [
            [(str(other.get("token", "")), other["logprob"]) for other in token.get("top_logprobs") or ()]
            for token in told["content"]
        ]
    else:
        chosen = told.get("token_logprobs") or []
        likeliest = [list((others or {}).items()) for others in told.get("top_logprobs") or ()]
    if any(value is None for value in chosen):
        return Told()
    if len(likeliest) != len(chosen) or not all(likeliest):
        return Told(tuple(chosen))
    ranked = [sorted(entries, key=lambda entry: -entry[1]) for entries in likeliest]
    return Told(
        tuple(chosen),
        tuple(tuple((UNKNOWN, value) for _, value in entries) for entries in ranked),
        tuple(tuple(text for text, _ in entries) for entries in ranked),
    )
