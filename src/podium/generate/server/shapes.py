"""The JSON of answers, as OpenAI's two completion endpoints and vLLM's additions to them have it: what was not asked
for or does not exist here is null, as vLLM 0.33 writes it.

Knows tokens, text and dictionaries; no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from podium.text import Tokenizer
from podium.text.decoding import Speller

Top = Sequence[Sequence[tuple[int, float]]]
"""Per token, its likeliest alternatives: (id, log-probability), likeliest first."""


LEAST_LOGPROB = -9999.0
"""JSON has no minus infinity; vLLM writes this."""


def completion_logprobs(
    speller: Speller, tokens: Sequence[int], logprobs: Sequence[float | None], top: Top
) -> dict[str, Any]:
    """The `logprobs` object of /v1/completions; `speller` stands behind the tokens told before. The chosen token is
    among the alternatives, which are null where the token has no log-probability (the first one of an echo). Another
    token with the same text is called token_id:5, since an object has a key once."""
    offsets: list[int] = []
    texts: list[str] = []
    tops: list[dict[str, float] | None] = []
    for place, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        text = speller.spell(token)
        likeliest: dict[str, float] = {}
        for other, value in top[place] if place < len(top) else ():
            spelt = text if other == token else speller.spell(other)
            taken = spelt in likeliest or (spelt == text and other != token)
            likeliest[f"token_id:{other}" if taken else spelt] = max(value, LEAST_LOGPROB)
        if logprob is not None:
            likeliest.setdefault(text, max(logprob, LEAST_LOGPROB))
        tops.append(None if logprob is None else likeliest)
        offsets.append(speller.offset)
        texts.append(speller.push(token))
    return {"text_offset": offsets, "token_logprobs": list(logprobs), "tokens": texts, "top_logprobs": tops}


def chat_logprobs(
    tokenizer: Tokenizer, speller: Speller, tokens: Sequence[int], logprobs: Sequence[float], top: Top, wanted: int
) -> dict[str, Any]:
    """The `logprobs` object of /v1/chat/completions; `speller` as above. `bytes` are the token's own, also where it
    leaves a character unfinished and so adds no text."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        data = tokenizer.token_bytes(token)
        return {"token": speller.spell(token), "logprob": max(logprob, LEAST_LOGPROB), "bytes": list(data)}

    content = []
    for place, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        alternatives = top[place][:wanted] if place < len(top) else ()
        content.append({**entry(token, logprob), "top_logprobs": [entry(*each) for each in alternatives]})
        speller.push(token)
    return {"content": content, "refusal": None}


def spelt_as_ids(
    told: dict[str, Any], tokens: Sequence[int], logprobs: Sequence[float | None], top: Top
) -> dict[str, Any]:
    """What completion_logprobs tells of the same tokens, with `token_id:5` in the place of their texts, so that tokens
    which are no whole characters can be told apart. Offsets stay those of the text."""
    tops: list[dict[str, float] | None] = []
    for place, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        likeliest = {
            by_id(other): max(value, LEAST_LOGPROB) for other, value in (top[place] if place < len(top) else ())
        }
        if logprob is not None:
            likeliest.setdefault(by_id(token), max(logprob, LEAST_LOGPROB))
        tops.append(None if logprob is None else likeliest)
    return {**told, "tokens": [by_id(token) for token in tokens], "top_logprobs": tops}


def chat_spelt_as_ids(told: dict[str, Any], tokens: Sequence[int], top: Top, wanted: int) -> dict[str, Any]:
    """The same for what chat_logprobs tells; `bytes` stay those of the text."""
    content = []
    for place, (token, entry) in enumerate(zip(tokens, told["content"], strict=True)):
        ids = [other for other, _ in top[place][:wanted]] if place < len(top) else []
        others = [{**each, "token": by_id(other)} for other, each in zip(ids, entry["top_logprobs"], strict=True)]
        content.append({**entry, "token": by_id(token), "top_logprobs": others})
    return {**told, "content": content}


def by_id(token: int) -> str:
    return f"token_id:{token}"


def usage(written: int, prompt_tokens: int) -> dict[str, Any]:
    """The `usage` object. A prompt counts once, however many choices it was answered with."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


ABSENT = {"service_tier": None, "system_fingerprint": None, "kv_transfer_params": None}
"""Fields of a whole answer that say nothing here."""


def completion_choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None, stop_reason: str | int | None
) -> dict[str, Any]:
    return {
        "index": index,
        "text": text,
        "logprobs": logprobs,
        "finish_reason": finish,
        "stop_reason": stop_reason,
        "prompt_token_ids": None,
        "token_ids": None,
    }


def chat_choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None, stop_reason: str | int | None
) -> dict[str, Any]:
    return {
        "index": index,
        "message": {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        },
        "logprobs": logprobs,
        "finish_reason": finish,
        "stop_reason": stop_reason,
        "token_ids": None,
    }


def chat_delta(
    index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None, stop_reason: str | int | None
) -> dict[str, Any]:
    return {
        "index": index,
        "delta": {"content": text} if text else {},
        "logprobs": logprobs,
        "finish_reason": finish,
        "stop_reason": stop_reason,
        "token_ids": None,
    }


def chat_opening(index: int) -> dict[str, Any]:
    """The first delta of a choice."""
    return {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
