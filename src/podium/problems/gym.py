"""Generated problems: any task of reasoning-gym by name, and mixtures of them.

Refuses to know how answers are verified: it stores in `meta` what the task's own scorer will need (`podium.grading`
does the scoring). A problem's id is made from its text, so the same question has the same id wherever it was drawn.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from podium.errors import InputError, nearest
from podium.problems.disjoint import DisjointReport, check_disjoint, text_key
from podium.records import Problem

# A task is taken to be exhausted after this many draws in a row that brought nothing new …
_STALE_DRAWS = 200
# … or after this many draws per problem asked for.
_DRAWS_PER_PROBLEM = 20


@dataclass(frozen=True, slots=True)
class GymTask:
    """One part of a mixture: a reasoning-gym task, its share and its options (fields of the task's config)."""

    name: str
    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MixtureReport:
    """Counts per task: asked for, distinct ones got, and how many training draws were dropped for being in the exam."""

    tasks: dict[str, dict[str, int]]
    disjoint: DisjointReport

    def __str__(self) -> str:
        lines = [str(self.disjoint)]
        for name, counts in self.tasks.items():
            short = counts["train_asked"] - counts["train"]
            note = f", {short} fewer than asked: the task has no more" if short else ""
            lines.append(
                f"  {name}: {counts['train']} train, {counts['exam']} exam, "
                f"{counts['dropped']} draws dropped for being in the exam{note}"
            )
        return "\n".join(lines)


def load_gym(name: str, *, size: int = 100, seed: int = 0, options: dict[str, Any] | None = None) -> list[Problem]:
    """Up to `size` distinct problems of one task; fewer where the task has no more.

    Raises:
        InputError: unknown task or option, or options the task refuses.
    """
    return list(itertools.islice(draw(name, size, seed=seed, options=options), size))


def gym_mixture(
    tasks: Sequence[GymTask], train_size: int, exam_size: int, seed: int = 0, apart: Sequence[Problem] = ()
) -> tuple[list[Problem], list[Problem], MixtureReport]:
    """Training and exam problems of several tasks in the proportions of their weights; no problem is in both, or in
    `apart`.

    The exam is drawn first. Small tasks overlap by chance, so training draws that are in the exam are dropped and
    replaced as long as the task has others. Both lists are shuffled with the seed.

    Raises:
        InputError: no tasks, bad weights, unknown task or option, or an exam that cannot be filled.
    """
    if not tasks or any(task.weight <= 0 for task in tasks):
        raise InputError("a mixture needs at least one task, each with a weight above 0", "mend the weights")
    labels = _labels(tasks)
    exam: list[Problem] = []
    train: list[Problem] = []
    counts: dict[str, dict[str, int]] = {}
    exam_shares = _shares(tasks, exam_size)
    used = {text_key(problem.text) for problem in apart}
    for label, task, share in zip(labels, tasks, exam_shares, strict=True):
        # "exam" and "train" in the seed keep the two streams of draws apart.
        drawn, _ = _fresh(task, share, derive_seed("exam", label, seed), used)
        if len(drawn) < share:
            others = " that were not used before" if used else ""
            raise InputError(
                f"{label} has only {len(drawn)} distinct problems{others}, {share} are wanted for the exam",
                "lower its weight or widen its options",
            )
        exam.extend(drawn)
        counts[label] = {"exam": len(drawn)}
    taken = used | {text_key(problem.text) for problem in exam}
    for label, task, share in zip(labels, tasks, _shares(tasks, train_size), strict=True):
        kept, dropped = _fresh(task, share, derive_seed("train", label, seed), taken)
        train.extend(kept)
        counts[label] |= {"train_asked": share, "train": len(kept), "dropped": dropped}
    shuffle = random.Random(derive_seed("shuffle", "", seed))
    shuffle.shuffle(train)
    shuffle.shuffle(exam)
    return train, exam, MixtureReport(counts, check_disjoint(train, exam))


def _fresh(task: GymTask, size: int, seed: int, taken: Set[str]) -> tuple[list[Problem], int]:
    """Up to `size` problems that are not taken, and how many draws were."""
    kept: list[Problem] = []
    dropped = 0
    # The effort grows with what is taken, most of which a narrow task draws again.
    for problem in draw(task.name, size + len(taken), seed=seed, options=task.options) if size else ():
        if text_key(problem.text) in taken:
            dropped += 1
            continue
        kept.append(problem)
        if len(kept) == size:
            break
    return kept, dropped


def draw(name: str, size: int, *, seed: int = 0, options: dict[str, Any] | None = None) -> Iterator[Problem]:
    """Distinct problems of one task, until it seems to have no more; `size` only bounds the effort."""
    dataset = make_dataset(
        name, {**(options or {}), "seed": derive_seed(name, "", seed), "size": size * _DRAWS_PER_PROBLEM + _STALE_DRAWS}
    )
    exact = uses_exact_scorer(dataset)
    seen: set[str] = set()
    stale = 0
    for index in range(len(dataset)):
        try:
            entry = dataset[index]
        except IndexError:  # some tasks hold a fixed number of puzzles
            return
        problem = _problem(name, entry, options or {}, exact)
        if problem is None or problem.id in seen:
            stale += 1
            if stale >= _STALE_DRAWS:
                return
            continue
        stale = 0
        seen.add(problem.id)
        yield problem


def derive_seed(stream: str, label: str, seed: int) -> int:
    """A 31-bit seed. reasoning-gym seeds item i with seed + i, so that neighbouring seeds give overlapping problems;
    hashed ones lie far apart."""
    digest = hashlib.sha256(f"{stream}\0{label}\0{seed}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def make_dataset(name: str, options: dict[str, Any]) -> Any:
    """A reasoning-gym dataset.

    Raises:
        InputError: unknown task or option, or options the task refuses.
    """
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise InputError(f"gym:{name}: no such task in reasoning-gym", nearest(name, DATASETS))
    known = {field.name for field in dataclasses.fields(DATASETS[name][1])}
    for option in options:
        if option not in known and option not in ("seed", "size"):
            raise InputError(
                f"gym:{name}: no option {option!r}",
                nearest(option, known - {"seed", "size"}),
            )
    try:
        return reasoning_gym.create_dataset(name, **options)
    except (AssertionError, TypeError, ValueError, KeyError, AttributeError) as error:
        shown = {key: value for key, value in options.items() if key not in ("seed", "size")}
        raise InputError(f"gym:{name}: options {shown} are refused ({error})", "mend the options") from error


def uses_exact_scorer(dataset: Any) -> bool:
    """Whether the task has reasoning-gym's default scorer, for which only the very same string is right."""
    from reasoning_gym.dataset import ProceduralDataset

    return type(dataset).score_answer is ProceduralDataset.score_answer


def _problem(name: str, entry: dict[str, Any], options: dict[str, Any], exact: bool) -> Problem | None:
    text = str(entry["question"]).strip()
    if not text:
        return None
    meta: dict[str, Any] = {"task": name, "scorer": "exact" if exact else "own"}
    if not exact:
        # The scorer reads its config and the entry's metadata; the exact one reads neither, and metadata can be long.
        meta["options"] = encode(options)
        meta["metadata"] = encode(entry["metadata"])
    answer = entry["answer"]
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return Problem(
        id=f"gym-{name}-{digest}",
        text=text,
        answer=None if answer is None else str(answer),
        source=f"gym:{name}",
        verifier=f"gym:{name}",
        meta=meta,
    )


def encode(value: Any) -> Any:
    """JSON that remembers tuples and keys that are not text; `decode` gives back what the scorer expects."""
    if type(value) in (bool, int, float, str, type(None)):
        return value
    if isinstance(value, tuple):
        return {"__tuple__": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {"__items__": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, set | frozenset):
        return {"__set__": sorted((encode(item) for item in value), key=json.dumps)}
    if hasattr(value, "item"):  # a numpy scalar
        return encode(value.item())
    return str(value)


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"__tuple__"}:
            return tuple(decode(item) for item in value["__tuple__"])
        if value.keys() == {"__set__"}:
            return {decode(item) for item in value["__set__"]}
        if value.keys() == {"__items__"}:
            return {decode(key): decode(item) for key, item in value["__items__"]}
        return {key: decode(item) for key, item in value.items()}
    return value


def _labels(tasks: Sequence[GymTask]) -> list[str]:
    """Names for the counts; a task that occurs twice (with other options) gets a number."""
    seen: dict[str, int] = {}
    labels = []
    for task in tasks:
        seen[task.name] = seen.get(task.name, 0) + 1
        labels.append(task.name if seen[task.name] == 1 else f"{task.name}#{seen[task.name]}")
    return labels


def _shares(tasks: Sequence[GymTask], size: int) -> list[int]:
    """Whole numbers in the proportions of the weights that add up to `size` (largest remainder)."""
    total = sum(task.weight for task in tasks)
    exact = [task.weight / total * size for task in tasks]
    shares = [int(value) for value in exact]
    by_remainder = sorted(range(len(tasks)), key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[: size - sum(shares)]:
        shares[index] += 1
    return shares
