"""Pairs of answers with what a person said of them, and how far grading agrees."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from podium.boxes import answer_in
from podium.errors import InputError
from podium.grading.compare import Comparison, Sameness, warm
from podium.grading.extract import extract_answer
from podium.grading.judge import Judge, compare_with_judge
from podium.grading.rules import DEFAULT, Rules
from podium.storage import iterate_objects, parse_row

_AT_ONCE = min(8, os.cpu_count() or 1)  # more would take the seconds of computer algebra from each other


class Pair(BaseModel):
    """A gold answer and another one, or a `solution` to take it from. Further fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, coerce_numbers_to_str=True)

    gold: str
    answer: str | None = None
    solution: str | None = None
    problem: str = ""  # for the judge
    equivalent: bool | None = None  # what a person says


@dataclass(frozen=True, slots=True)
class Graded:
    """A pair and the verdict on it; without an answer the two are different."""

    pair: Pair
    answer: str | None
    found: Comparison

    @property
    def agrees(self) -> bool | None:
        """Whether the verdict is the person's; None where no person said anything."""
        return None if self.pair.equivalent is None else self.found.sameness.decided is self.pair.equivalent

    def row(self) -> dict[str, Any]:
        """As a JSON object: the pair's own fields, the verdict, what gave it and how long it took."""
        kept = self.pair.model_dump(exclude_unset=True)
        return {
            **kept,
            "answer": self.answer,
            "verdict": self.found.sameness.value,
            "by": self.found.by,
            "seconds": round(self.found.seconds, 6),
            "agrees": self.agrees,
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """All pairs graded."""

    rows: tuple[Graded, ...]

    @property
    def undecided(self) -> int:
        """Pairs without a verdict."""
        return sum(row.found.sameness.decided is None for row in self.rows)

    @property
    def labelled(self) -> int:
        """Pairs of which a person said something."""
        return sum(row.agrees is not None for row in self.rows)

    @property
    def agree(self) -> int | None:
        """Pairs whose verdict is the person's; None when no pair is labelled."""
        return sum(row.agrees is True for row in self.rows) if self.labelled else None

    @property
    def slowest(self) -> float:
        """Seconds of the slowest verdict."""
        return max((row.found.seconds for row in self.rows), default=0.0)

    def summary(self) -> dict[str, Any]:
        """What `podium grade --json` prints."""
        return {
            "n": len(self.rows),
            "agree": self.agree,
            "undecided": self.undecided,
            "slowest_s": round(self.slowest, 3),
            "rows": [row.row() for row in self.rows],
        }


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a .jsonl, .jsonl.zst or .parquet file. An answer of null is one that was not given.

    Raises:
        InputError: missing or damaged file, a row that is no pair (as file:line:field) or has neither an answer nor a
            solution, or no row at all.
    """
    pairs = []
    for number, value in iterate_objects(path):
        pair = parse_row(Pair, value, f"{path}:{number}")
        if not pair.model_fields_set & {"answer", "solution"}:
            raise InputError(
                f"{path}:{number}: neither an answer nor a solution",
                'a row holds what is graded: {"gold": "1/2", "answer": "0.5"}, or a "solution" that ends with it',
            )
        pairs.append(pair)
    if not pairs:
        raise InputError(f"{path}: no pairs in it", 'each line is like {"gold": "1/2", "answer": "0.5"}')
    return pairs


async def grade_pairs(pairs: Sequence[Pair], rules: Rules = DEFAULT, judge: Judge | None = None) -> Agreement:
    """Grade pairs side by side; computer algebra is started before the first of them."""
    await asyncio.to_thread(warm)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def grade(pair: Pair) -> Graded:
        answer = pair.answer
        if answer is None and pair.solution is not None:
            answer = extract_answer(pair.solution, rules)
        if answer is None:
            return Graded(pair, None, Comparison(Sameness.DIFFERENT, "no answer", 0.0))
        async with gate:
            # Either column may hold a whole solution.
            gold, answer = answer_in(pair.gold), answer_in(answer)
            return Graded(pair, answer, await compare_with_judge(gold, answer, judge, rules, pair.problem))

    return Agreement(tuple(await asyncio.gather(*map(grade, pairs))))
