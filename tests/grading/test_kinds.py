"""A thousand pairs by kinds, half of them traps: nothing falsely equal, nothing falsely different, few undecided.

Each row of data/kinds.jsonl holds two answers, what they are by mathematics (`expected`), and, where that is a judgement,
the verdicts that would be false (`never`) with a note. A pair that is compared in the other order gets the same verdict.
"""

import collections
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.grading import compare, warm

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
    return compare(first, second).sameness.value.partition("(")[0]


@functools.cache
def verdicts() -> list[tuple[Row, str, str]]:
    """Every pair with its verdict in both orders."""
    warm()
    corpus = rows()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        forward = threads.map(lambda row: said(row.a, row.b), corpus)
        backward = threads.map(lambda row: said(row.b, row.a), corpus)
        return list(zip(corpus, forward, backward, strict=True))


def test_the_corpus_is_what_it_says() -> None:
    corpus = rows()
    kinds = collections.Counter(row.kind for row in corpus)
    assert len(corpus) == 1_000
    assert all(25 <= count <= 60 for count in kinds.values()), kinds
    assert {row.expected for row in corpus} <= {"equal", "different", "undecided"}
    assert all(row.note for row in corpus if row.never is not None)
    pairs = [frozenset((row.a, row.b)) for row in corpus]
    assert len(set(pairs)) >= len(pairs) - 5


@pytest.mark.parametrize("kind", sorted({row.kind for row in rows()}))
def test_nothing_is_falsely_equal_or_different(kind: str) -> None:
    found = [entry for entry in verdicts() if entry[0].kind == kind]
    wrong = [(row.a, row.b, there, row.note) for row, there, back in found if {there, back} & set(row.false)]
    assert not wrong


@pytest.mark.parametrize("kind", sorted({row.kind for row in rows()}))
def test_both_orders_agree(kind: str) -> None:
    apart = [(row.a, row.b, there, back) for row, there, back in verdicts() if row.kind == kind and there != back]
    assert not apart


def test_few_pairs_are_undecided() -> None:
    labelled = [entry for entry in verdicts() if entry[0].expected != "undecided"]
    open_pairs = [(row.kind, row.a, row.b) for row, there, _ in labelled if there == "undecided"]
    assert len(open_pairs) <= LARGEST_SHARE_UNDECIDED * len(rows()), open_pairs
