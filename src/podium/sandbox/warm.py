"""Importing what sessions will want, once, so that its memory is shared and its first use is quick."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

_LOADED_LATE = {"numpy": ("numpy.random", "numpy.linalg", "numpy.fft", "numpy.polynomial")}


class ImportFailed(Exception):
    """A warm module raised while it was imported."""


def warm_up(modules: Sequence[str], paths: Sequence[str]) -> None:
    """Import the modules from these paths alone, then freeze what they made: the collector leaves it to be shared.

    Raises ImportFailed.
    """
    sys.path[:] = paths
    for name in modules:
        try:
            module = importlib.import_module(name)
            # Filled now, or each session would fill them in memory of its own: modules that are loaded on first use …
            for part in _LOADED_LATE.get(name, ()):
                importlib.import_module(part)
            # … and caches.
            if name == "sympy":
                module.factorint(module.expand((module.Symbol("x") + 1) ** 2).subs("x", 5))
                module.solve("x**2 - 2", "x")
        except BaseException as error:  # importing runs the module's own code, SystemExit included
            raise ImportFailed(f"{name}: {type(error).__name__}: {error}") from error
    gc.collect()
    gc.freeze()
