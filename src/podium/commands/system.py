"""`podium system`: this machine, as every run records it."""

from __future__ import annotations

import json


def system() -> None:
    """Describe this machine the way every run records it.

    Example: podium system
    """
    from podium.runlog import system_description

    print(json.dumps(system_description(), indent=2))
