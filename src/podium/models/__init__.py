"""Networks and Hugging Face folders: `load_model`, `save_model`, `Transformer`, `TransformerConfig`.

Importing the room is cheap; torch is loaded with the first name that is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.models.checkpoint import StoredModel, load_model, save_model
    from podium.models.config import RopeConfig, TransformerConfig
    from podium.models.transformer import Attend, Transformer

__all__ = ["Attend", "RopeConfig", "StoredModel", "Transformer", "TransformerConfig", "load_model", "save_model"]

_HOMES = {
    "load_model": "checkpoint",
    "save_model": "checkpoint",
    "StoredModel": "checkpoint",
    "RopeConfig": "config",
    "TransformerConfig": "config",
    "Attend": "transformer",
    "Transformer": "transformer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"podium.models.{_HOMES[name]}"), name)
