"""What a session may use, and what one block gave back.

Knows neither processes nor tiers. Imported by everything on the host side of the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from podium.errors import InputError

Status = Literal["ok", "error", "timeout", "memory", "output-limit", "crashed", "state-lost"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session. All are positive.

    Raises InputError when one is not.
    """

    wall_seconds: float = 10.0  # per block, waiting for a core excluded
    cpu_seconds: float = 3600.0  # over the life of a session's process
    memory_bytes: int = 512 << 20  # address space beyond that of the warm interpreter
    threads: int = 40  # enough for a pool of 32, which is what Python's own are at most
    open_files: int = 64
    scratch_bytes: int = 16 << 20  # of /tmp; tier A only
    scratch_files: int = 512
    output_chars: int = 1000  # shown of one block: its beginning and its end
    output_bytes: int = 1 << 20  # written past the polite cap, in one block, before the session is killed
    code_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**62:
                raise InputError(f"limit {field.name!r} is {value!r}", "limits are positive numbers")
            if field.type == "int" and not isinstance(value, int):
                raise InputError(f"limit {field.name!r} is {value!r}", "it is a whole number")

    def narrowed(self, other: Limits) -> Limits:
        """The smaller of the two, limit by limit."""
        return replace(
            self, **{field.name: min(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        )


@dataclass(frozen=True, slots=True)
class Result:
    """One block, run.

    `output` is untrusted text, cleaned of control and direction characters. A block that ran into its limit and
    answered the interrupt keeps its variables (`state_lost` False); one that had to be killed does not. `state-lost`
    as a status says that the block did not run (to its end), because the session had died before.
    """

    status: Status
    output: str
    tier: str
    wall_seconds: float = 0.0  # from dispatch to answer
    cpu_seconds: float = 0.0
    queued_seconds: float = 0.0  # waiting for admission; counts against no limit
    dropped_chars: int = 0  # cut out of the middle of the output
    state_lost: bool = False
    detail: str = ""  # for logs: why a session was killed


profiles: dict[str, Limits] = {
    "kaggle": Limits(wall_seconds=2.0, output_chars=200),
    "notebook": Limits(wall_seconds=10.0, output_chars=1000),
    "eval": Limits(wall_seconds=10.0, output_chars=1000),
}
"""Limits by the name of a profile: those of the contest, of its released notebook, and of an evaluation.

This is the one table of these numbers: the profiles of exams and the limits of training data take theirs from it. The
sources stand in `podium.answering.toolloop.CODE_LIMITS`."""
