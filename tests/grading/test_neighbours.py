"""Pairs near to those of the kinds: mixed numbers, floors, statements, primes, dots, matrices, inequalities, sets.

Each row of data/neighbours.jsonl holds two answers and their verdict; many are traps. None of them needs a worker.
"""

import json
from pathlib import Path

from podium.grading.exact import compare_exactly

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "neighbours.jsonl").read_text().splitlines()]
SAID = {True: "equal", False: "different", None: "undecided"}


def test_every_pair_has_its_verdict_in_both_orders() -> None:
    wrong = [
        (row["a"], row["b"], row["expected"], SAID[found])
        for row in ROWS
        for found in (compare_exactly(row["a"], row["b"]), compare_exactly(row["b"], row["a"]))
        if SAID[found] != row["expected"]
    ]
    assert not wrong, f"{len(wrong)} of {len(ROWS)} pairs: {wrong}"


def test_half_of_them_are_traps() -> None:
    assert sum(row["expected"] != "equal" for row in ROWS) >= len(ROWS) // 2
