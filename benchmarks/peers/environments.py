"""Where the peers are: each in an environment of its own, which benchmarks/peers/install.sh makes.

Nothing of a peer is ever installed into Podium's own environment: timm alone brings a torchvision that fits no CPU
build of torch, after which transformers cannot be imported.
"""

from __future__ import annotations

import os
from pathlib import Path

HOME = Path(os.environ.get("PODIUM_PEERS", Path(__file__).resolve().parents[2] / "build" / "peers"))
"""The folder that holds a folder per peer."""


def missing(peer: str) -> str | None:
    """Why this peer cannot be measured here, or None."""
    return None if (HOME / peer / "complete").exists() else f"not installed: benchmarks/peers/install.sh {peer}"


def interpreter(peer: str) -> Path:
    """The Python of a peer's environment."""
    return HOME / peer / "venv" / "bin" / "python"
