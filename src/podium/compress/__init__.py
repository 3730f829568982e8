"""Models made from models: `merge_linear`, and draft heads that guess what a model says next.

Importing the room is cheap; torch is loaded with the first name that is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.compress.draft import DraftConfig, DraftHead, load_draft, save_draft
    from podium.compress.draft_training import DraftTraining, train_draft
    from podium.compress.merge import merge_linear

DRAFT_FOLDER = "draft"
"""Where a model's draft head lies in the model's own folder."""

_HOMES = {
    "DraftConfig": "draft",
    "DraftHead": "draft",
    "load_draft": "draft",
    "save_draft": "draft",
    "DraftTraining": "draft_training",
    "train_draft": "draft_training",
    "merge_linear": "merge",
}

__all__ = [
    "DRAFT_FOLDER",
    "DraftConfig",
    "DraftHead",
    "DraftTraining",
    "load_draft",
    "merge_linear",
    "save_draft",
    "train_draft",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"podium.compress.{_HOMES[name]}"), name)
