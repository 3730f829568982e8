"""A thousand pairs by kinds, half of them traps: nothing falsely equal, nothing falsely different, few undecided.

Each row of data/kinds.jsonl holds two answers, what they are by mathematics (`expected`), and, where that is a
judgement, the verdicts that would be false (`never`) with a note. A pair that is compared in the other order gets the
same verdict. Much of it goes through worker processes, so the default suite compares every tenth pair.
"""

import collections
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.grading import Sameness, compare, warm

CORPUS = Path(__file__).parent / "data" / "kinds.jsonl"
LARGEST_SHARE_UNDECIDED = 0.10


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    a: str
    b: str
    expected: str
    never: tuple[str, ...] | None = None
    note: str = ""

    @property
    def false(self) -> tuple[str, ...]:
        """The verdicts that would be false."""
        opposite = {"equal": ("different",), "different": ("equal",), "undecided": ()}
        return opposite[self.expected] if self.never is None else self.never


def rows() -> list[Row]:
    read = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [Row(**{**row, "never": tuple(row["never"]) if "never" in row else None}) for row in read]


def said(first: str, second: str) -> str:
    found = compare(first, second).sameness
    return "late" if found is Sameness.TIMEOUT else found.value.partition("(")[0]


PARTS = pytest.mark.parametrize(
    "step", [pytest.param(10, id="every tenth"), pytest.param(1, id="all", marks=pytest.mark.slow)]
)


@functools.cache
def verdicts(step: int) -> list[tuple[Row, str, str]]:
    """Every `step`-th pair with its verdict in both orders."""
    warm()
    corpus = rows()[::step]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        forward = threads.map(lambda row: said(row.a, row.b), corpus)
        backward = threads.map(lambda row: said(row.b, row.a), corpus)
        return list(zip(corpus, forward, backward, strict=True))


def test_the_corpus_is_what_it_says() -> None:
    corpus = rows()
    kinds = collections.Counter(row.kind for row in corpus)
    assert len(corpus) == 1_000
    assert all(25 <= count <= 60 for count in kinds.values()), kinds
    assert {row.expected for row in corpus} == {"equal", "different", "undecided"}
    assert all(row.note for row in corpus if row.never is not None)
    assert all(row.never for row in corpus if row.expected == "undecided")
    pairs = collections.Counter(frozenset((row.a, row.b)) for row in corpus)
    assert not [pair for pair, count in pairs.items() if count > 1]


@PARTS
def test_nothing_is_falsely_equal_or_different(step: int) -> None:
    wrong = [(row.kind, row.a, row.b, there) for row, there, back in verdicts(step) if {there, back} & set(row.false)]
    assert not wrong, f"{len(wrong)} false verdicts: {wrong}"


@PARTS
def test_both_orders_agree(step: int) -> None:
    # A verdict that came too late on a busy machine says nothing of the order.
    apart = [
        (row.kind, row.a, row.b, there, back)
        for row, there, back in verdicts(step)
        if there != back and "late" not in (there, back)
    ]
    assert not apart, f"{len(apart)} pairs depend on the order: {apart}"


@PARTS
def test_few_pairs_are_undecided(step: int) -> None:
    labelled = [(row, there) for row, there, _ in verdicts(step) if row.expected != "undecided"]
    undecided = [(row.kind, row.a, row.b) for row, there in labelled if there in ("undecided", "late")]
    assert len(undecided) <= LARGEST_SHARE_UNDECIDED * len(verdicts(step)), undecided
