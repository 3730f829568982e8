"""Word error rate."""

from __future__ import annotations

from collections.abc import Sequence


def word_error_rate(heard: Sequence[str], said: Sequence[str]) -> float:
    """Words put in, left out or changed, over all utterances, per word that was said (words are parted by blanks)."""
    errors = words = 0
    for ours, theirs in zip(heard, said, strict=True):
        truth = theirs.split()
        errors += edit_distance(ours.split(), truth)
        words += len(truth)
    return errors / words if words else float("nan")


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
