"""Text to token ids and back: `Tokenizer`, `Decoder`, `train_tokenizer`.

Importing the room is cheap; the tokenizers library is loaded with the first name that is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.text.decoding import Decoder
    from podium.text.tokenizer import Tokenizer
    from podium.text.training import train_tokenizer

__all__ = ["Decoder", "Tokenizer", "train_tokenizer"]

_HOMES = {"Decoder": "decoding", "Tokenizer": "tokenizer", "train_tokenizer": "training"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"podium.text.{_HOMES[name]}"), name)
