"""Models made from models: `merge_linear`.

Importing the room is cheap; torch is loaded with the first name that is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.compress.merge import merge_linear

__all__ = ["merge_linear"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from podium.compress import merge

    return getattr(merge, name)
