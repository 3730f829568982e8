"""Isolated Python sessions: notebook state, millisecond starts, no container and no root.

The names below are what others may use; they are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.sandbox.host import Sandbox
    from podium.sandbox.limits import Limits, Result, profiles
    from podium.sandbox.remote import RemoteSandbox
    from podium.sandbox.session import Session
    from podium.sandbox.sync import SyncSandbox

_HOME = {
    "Sandbox": "host",
    "Session": "session",
    "SyncSandbox": "sync",
    "RemoteSandbox": "remote",
    "Limits": "limits",
    "Result": "limits",
    "profiles": "limits",
}

__all__ = ["Limits", "RemoteSandbox", "Result", "Sandbox", "Session", "SyncSandbox", "profiles"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
