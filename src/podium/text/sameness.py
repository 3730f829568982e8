"""Whether two tokenizer.json files mean the same tokenizer, however they are written.

Knows the file format, no ids of texts. Files are read by the tokenizers library, which fills in what older writers left
out and knows merges as pairs and as strings; what is compared are the parts that decide ids and texts.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

import tokenizers

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""Qwen2's rule for cutting text into words: one digit at a time, punctuation with its newline, blanks apart."""

_QWEN2 = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}


def cuts_words_like_qwen2(core: tokenizers.Tokenizer) -> bool:
    """Whether its pre-tokenizer is that of Qwen2."""
    return _step(json.loads(core.to_str())["pre_tokenizer"]) == _step(_QWEN2)


def difference(first: tokenizers.Tokenizer, second: tokenizers.Tokenizer) -> str | None:
    """What makes two tokenizers give other ids or texts, in words; None if they are one and the same."""
    one, other = json.loads(first.to_str()), json.loads(second.to_str())
    said = _entries(first, second)
    if said:
        return said
    for name in ("lstrip", "rstrip", "single_word"):
        flags = [{token["content"]: token[name] for token in definition["added_tokens"]} for definition in (one, other)]
        changed = [token for token in flags[0] if flags[0][token] != flags[1].get(token, flags[0][token])]
        if changed:
            return f"{name} of {changed[0]!r} is {flags[0][changed[0]]} and {flags[1][changed[0]]}"
    added = [{token["content"] for token in definition["added_tokens"]} for definition in (one, other)]
    apart = sorted(added[0] ^ added[1])
    if apart:
        return f"{apart[0]!r} is an added token in one of them"
    model, another = _model(one["model"]), _model(other["model"])
    for name in model.keys() | another.keys():
        if model.get(name) != another.get(name):
            return _differing(name, model.get(name), another.get(name))
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        steps = [_step(definition[name], decodes=name == "decoder") for definition in (one, other)]
        if steps[0] != steps[1]:
            return f"{name}: {_short(steps[0])} and {_short(steps[1])}"
    return None


def _entries(first: tokenizers.Tokenizer, second: tokenizers.Tokenizer) -> str | None:
    one, other = ({number: text for text, number in each.get_vocab().items()} for each in (first, second))
    for number in sorted(one.keys() | other.keys()):
        if one.get(number) != other.get(number):
            return f"entry {number} is {one.get(number)!r} and {other.get(number)!r}"
    return None


def _model(model: dict[str, Any]) -> dict[str, Any]:
    # Entries are compared with the added tokens, which some writers list among them and some do not. No prefix, no
    # suffix and no dropout are written as null, as "" or as 0.
    return {name: value or None for name, value in model.items() if name != "vocab" or model["type"] == "Unigram"}


def _step(step: Any, decodes: bool = False) -> Any:
    """A step of a tokenizer, without what changes nothing: sequences of one or none, and fields of ByteLevel that say
    where tokens lie in their text, or that a decoder does not look at."""
    if not isinstance(step, dict):
        return step
    parts = next((name for name in ("normalizers", "pretokenizers", "decoders") if name in step), None)
    if parts is not None:
        steps = [_step(each, decodes) for each in step[parts]]
        return steps[0] if len(steps) == 1 else {"type": "Sequence", "steps": steps} if steps else None
    if step.get("type") != "ByteLevel":
        return step
    idle = ("trim_offsets", "add_prefix_space", "use_regex") if decodes else ("trim_offsets",)
    return {name: value for name, value in step.items() if name not in idle}


def _differing(name: str, one: Any, other: Any) -> str:
    if isinstance(one, list) and isinstance(other, list):
        place = next(place for place, (a, b) in enumerate(zip_longest(one, other)) if a != b)
        one, other = (each[place] if place < len(each) else None for each in (one, other))
        return f"{name}: number {place} is {_short(one)} and {_short(other)}"
    return f"{name} is {_short(one)} and {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
