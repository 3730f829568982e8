"""Do two sets share a problem? Exact comparison of normalised texts.

Refuses to know where problems come from. Numbers are kept: "find x mod 7" and "find x mod 11" are different problems.
Paraphrases are not found.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from podium.errors import InputError
from podium.records import Problem

_SPACES = re.compile(r"\s+")
# LaTeX that only changes how a formula is set, never what is asked.
_TYPESETTING = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;!]|\\displaystyle|\$|~|\.$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DisjointReport:
    """How two sets were compared. `shared` holds (training id, exam id) pairs of equal normalised text."""

    train: int
    exam: int
    shared: tuple[tuple[str, str], ...]

    @property
    def disjoint(self) -> bool:
        return not self.shared

    def __str__(self) -> str:
        verdict = "none shared" if self.disjoint else f"{len(self.shared)} SHARED"
        return f"{self.train} training and {self.exam} exam problems compared by normalised text: {verdict}"


def normalise_text(text: str) -> str:
    """Case, white space, Unicode variants and typesetting removed; digits, signs and words kept."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _TYPESETTING.sub("", _SPACES.sub(" ", text).strip())
    return _SPACES.sub(" ", text).strip()


def text_key(text: str) -> str:
    """Hash of the normalised text, 16 hexadecimal digits."""
    return hashlib.sha256(normalise_text(text).encode(errors="surrogatepass")).hexdigest()[:16]


def check_disjoint(train: Iterable[Problem], exam: Iterable[Problem]) -> DisjointReport:
    """Compare every training problem with every exam problem; linear time."""
    exam_ids: dict[str, str] = {}
    exam_count = 0
    for problem in exam:
        exam_ids.setdefault(text_key(problem.text), problem.id)
        exam_count += 1
    train_count = 0
    shared = []
    for problem in train:
        train_count += 1
        twin = exam_ids.get(text_key(problem.text))
        if twin is not None:
            shared.append((problem.id, twin))
    return DisjointReport(train_count, exam_count, tuple(shared))


def drop_shared(train: Sequence[Problem], exam: Iterable[Problem]) -> list[Problem]:
    """The training problems that are not in the exam, in order."""
    keys = {text_key(problem.text) for problem in exam}
    return [problem for problem in train if text_key(problem.text) not in keys]


def split_problems(
    problems: Sequence[Problem], exam_size: int, *, seed: int = 0
) -> tuple[list[Problem], list[Problem], DisjointReport]:
    """Training part, exam part and the check of both. Problems with equal text go to the same side.

    Raises:
        InputError: fewer distinct problems than `exam_size` + 1.
    """
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(text_key(problem.text), []).append(problem)
    if not 0 < exam_size < len(groups):
        raise InputError(
            f"cannot take {exam_size} exam problems from {len(groups)} distinct ones",
            "take fewer, so that both sides hold some",
        )
    chosen = set(random.Random(seed).sample(sorted(groups), exam_size))
    exam = [group[0] for key, group in groups.items() if key in chosen]
    train = [problem for key, group in groups.items() if key not in chosen for problem in group]
    return train, exam, check_disjoint(train, exam)
