"""A thousand pairs by kinds, half of them traps: nothing falsely equal, nothing falsely different, few undecided.

Each row of data/kinds.jsonl holds two answers, what they are by mathematics (`expected`), and, where that is a
judgement, the verdicts that would be false (`never`) with a note. A pair that is read in the other order gets the same
verdict.
"""

import collections
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from podium.grading import Sameness, compare, warm
from podium.grading.exact import compare_exactly

CORPUS = Path(__file__).parent / "data" / "kinds.jsonl"
LARGEST_SHARE_UNDECIDED = 0.10
LARGEST_SHARE_OF_A_KIND = 1 / 3


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


@functools.cache
def verdicts() -> list[tuple[Row, str]]:
    """Every pair with its verdict."""
    warm()
    corpus = rows()
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        return list(zip(corpus, threads.map(lambda row: said(row.a, row.b), corpus), strict=True))


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


def test_nothing_is_falsely_equal_or_different() -> None:
    wrong = [(row.kind, row.a, row.b, found) for row, found in verdicts() if found in row.false]
    assert not wrong, f"{len(wrong)} false verdicts: {wrong}"


def test_both_orders_agree() -> None:
    # `compare` puts the two in one order before it looks at them, so that asking it twice would show nothing.
    apart = [
        (row.kind, row.a, row.b) for row in rows() if compare_exactly(row.a, row.b) is not compare_exactly(row.b, row.a)
    ]
    assert not apart, f"{len(apart)} pairs depend on the order: {apart}"


def test_few_pairs_are_undecided() -> None:
    labelled = [(row, found) for row, found in verdicts() if row.expected != "undecided"]
    undecided = [(row.kind, row.a, row.b) for row, found in labelled if found in ("undecided", "late")]
    assert len(undecided) <= LARGEST_SHARE_UNDECIDED * len(verdicts()), undecided
    # A kind that is not read at all would be lost among a thousand pairs.
    sizes = collections.Counter(row.kind for row, _ in labelled)
    missed = collections.Counter(kind for kind, _, _ in undecided)
    assert all(count <= LARGEST_SHARE_OF_A_KIND * sizes[kind] for kind, count in missed.items()), missed
