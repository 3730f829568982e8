"""What a check says: one line per rule, with the place in the file, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`where` is file:line, a file or a folder; `more` counts further places with the same fault."""

    rule: str
    outcome: Outcome
    message: str
    where: str = ""
    more: int = 0

    def line(self) -> str:
        tail = f" (and {self.more} more)" if self.more else ""
        place = f"  {self.where}" if self.where else ""
        return f"{self.outcome:<4}  {self.rule:<42}{self.message}{tail}{place}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def place(path: Path, number: int | None = None) -> str:
    return f"{path}:{number}" if number else str(path)
