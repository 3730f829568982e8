"""The library of this folder's C sources."""

from __future__ import annotations

from pathlib import Path

from podium.native import Native, library_of


def native_library() -> Native:
    """Loaded once per process; see podium.native."""
    return library_of(Path(__file__).parent)
