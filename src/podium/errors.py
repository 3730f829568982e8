"""What a user sees when something is wrong: one message and one cure.

Knows nothing else. Every error a person can cause or mend is a PodiumError; the command line prints it in two
lines and leaves with exit code 2. Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PodiumError(Exception):
    """`message` says what is wrong and where (file:line or field); `cure` says what to do about it."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.cure}" if self.cure else self.message


class InputError(PodiumError):
    """A file, field, name or option given by the user cannot be used."""


class StorageError(PodiumError):
    """Reading or writing failed: disk full, no permission, path is a folder."""


class SandboxUnavailable(PodiumError):
    """No isolation tier works here, and running without one was not asked for."""


class CompleterError(PodiumError):
    """The engine or the remote server could not answer."""


class PromptTooLong(CompleterError):
    """This one prompt leaves no room in the context; others may still be answered."""


class TrainingError(PodiumError):
    """Training cannot go on: loss not finite, data empty, checkpoint does not fit."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A cure for a misspelt name: the closest known one, or the list of all when nothing is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(known[:40]) + (" …" if len(known) > 40 else "")
