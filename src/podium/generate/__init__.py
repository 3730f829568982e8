"""Computing completions: the engine, several of them as processes, and the server.

Implements the Completer protocol of `podium.answering`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.generate.engine import Engine
    from podium.generate.parallel import ParallelCompleter
    from podium.generate.replica import EngineSpec
    from podium.generate.step import EngineStats

__all__ = ["Engine", "EngineSpec", "EngineStats", "ParallelCompleter"]


# torch is only paid for by those who use them.
_HOMES = {
    "Engine": "engine",
    "EngineSpec": "replica",
    "EngineStats": "step",
    "ParallelCompleter": "parallel",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"podium.generate.{_HOMES[name]}"), name)
