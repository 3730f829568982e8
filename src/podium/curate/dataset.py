"""Solutions into training documents: token ids, and which of them are trained on.

Knows the tokenizer's interface, nothing of packing or training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import InputError
from podium.records import Solution

if TYPE_CHECKING:
    from podium.text import Tokenizer


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """Counts over the documents; `dropped` were longer than the limit."""

    solutions: int
    documents: int
    dropped: int
    tokens: int
    trained_tokens: int
    longest: int


def encode_solutions(
    solutions: Iterable[Solution], tokenizer: Tokenizer, max_tokens: int
) -> tuple[list[tuple[list[int], list[bool]]], DocumentReport]:
    """(ids, loss mask) of every solution, in order; the mask is True on what the model is to write.

    Raises:
        InputError: no solution, or none that fits `max_tokens`.
    """
    rows = [(solution.prompt, solution.parts) for solution in solutions]
    if not rows:
        raise InputError("no solutions to train on", "make some first, or check the drop counts of the teacher")
    encoded = tokenizer.encode_solutions(rows)
    documents = [(ids, mask) for ids, mask in encoded if len(ids) <= max_tokens]
    longest = max(len(ids) for ids, _ in encoded)
    if not documents:
        raise InputError(
            f"none of {len(rows)} solutions fits {max_tokens} tokens; the longest has {longest}",
            "raise the row length",
        )
    report = DocumentReport(
        solutions=len(rows),
        documents=len(documents),
        dropped=len(encoded) - len(documents),
        tokens=sum(len(ids) for ids, _ in documents),
        trained_tokens=sum(sum(mask) for _, mask in documents),
        longest=longest,
    )
    return documents, report


def draft_documents(files: Sequence[Path], tokenizer: Any, most_tokens: int) -> list[tuple[list[int], list[bool]]]:
    """Answers of any kind (Solution or Attempt rows) as training documents.

    Raises:
        InputError: a file that is missing, damaged or without answers, or none that fits `most_tokens`.
    """
    from podium.problems import iterate_solutions

    documents, _ = encode_solutions(iterate_solutions(files), tokenizer, most_tokens)
    return documents
