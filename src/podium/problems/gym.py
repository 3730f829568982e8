"""Generated problems: any task of reasoning-gym by name, and mixtures of them.

Some tasks go through a set of Python on the way, whose order changes with the process's hash seed, and one draws from a
generator that nobody seeds. Problems are therefore made in a process whose hash seed is fixed (`gymworker`), with that
generator seeded, so that one seed gives the same bytes everywhere.

Refuses to know how answers are verified: it stores in `meta` what the task's own scorer will need (`podium.grading`
does the scoring). A problem's id is made from its text, so the same question has the same id wherever it was drawn.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from podium.errors import InputError, nearest
from podium.problems.disjoint import DisjointReport, check_disjoint, text_key
from podium.problems.gymline import draw_elsewhere
from podium.records import Problem

# A task is taken to be exhausted after this many draws in a row that brought nothing new …
_STALE_DRAWS = 200
# … after fewer if none at all has been accepted …
_UNANSWERED_DRAWS = 40
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
    """Distinct problems of one task, until it seems to have no more; `size` only bounds the effort.

    Raises:
        InputError: unknown task or option, options the task refuses, or a task whose own reference answers are not
            accepted with these options.
    """
    if sys.flags.hash_randomization:
        return draw_elsewhere(name, size, seed, encode(options or {}))
    return draw_here(name, size, seed, options or {})


def draw_here(name: str, size: int, seed: int, options: dict[str, Any]) -> Iterator[Problem]:
    """`draw` in this process, whose hash seed decides on some tasks' problems."""
    most = size * _DRAWS_PER_PROBLEM + _STALE_DRAWS
    entries = _acre(options, seed, most) if name == "acre" else _entries(name, options, seed, most)
    seen: set[str] = set()
    stale = unanswered = 0
    for dataset, entry in entries:
        problem = _problem(name, dataset, entry, options)
        if problem is None or problem.id in seen:
            unanswered += problem is None
            stale += 1
            if stale >= (_STALE_DRAWS if seen else _UNANSWERED_DRAWS):
                break
            continue
        stale = 0
        seen.add(problem.id)
        yield problem
    if unanswered and not seen:
        raise InputError(
            f"gym:{name}: its scorer accepts none of its own answers with these options", "mend the options"
        )


def _entries(name: str, options: dict[str, Any], seed: int, most: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    dataset = make_dataset(name, {**options, "seed": derive_seed(name, "", seed), "size": most})
    for index in range(len(dataset)):
        try:
            # list_functions draws some numbers from Python's own generator, which nobody seeds.
            with _global_random(derive_seed("global", f"{name}/{index}", seed)):
                entry = dataset[index]
        except IndexError:  # some tasks hold a fixed number of puzzles
            return
        yield dataset, entry


@contextmanager
def _global_random(seed: int) -> Iterator[None]:
    """Python's own random generator begins at `seed`, and goes on afterwards as if nothing had been."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


_ACRE_BLOCK = 5  # the least number in which the three kinds of question stand 3 to 1 to 1, as in a large set


def _acre(options: dict[str, Any], seed: int, most: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """acre makes all its questions at once and shuffles them, so that each depends on how many are asked for. Here they
    come in blocks, each with a seed of its own."""
    for block in range(-(-most // _ACRE_BLOCK)):
        dataset = make_dataset("acre", {**options, "seed": derive_seed("acre", str(block), seed), "size": _ACRE_BLOCK})
        for index in range(_ACRE_BLOCK):
            yield dataset, dataset[index]


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


def _problem(name: str, dataset: Any, entry: dict[str, Any], options: dict[str, Any]) -> Problem | None:
    """The problem of an entry; None without a text, or where no answer of the task's own is accepted by its scorer."""
    from podium.problems.reference import REFERENCES, reference

    text = str(entry["question"]).strip()
    if not text:
        return None
    answer = entry["answer"]
    if answer is None and name in REFERENCES:
        answer = reference(name, dataset, entry)
        if answer is None:
            return None
    exact = uses_exact_scorer(dataset)
    meta: dict[str, Any] = {"task": name, "scorer": "exact" if exact else "own"}
    if not exact:
        # The scorer reads its config and the entry's metadata; the exact one reads neither, and metadata can be long.
        meta["options"] = encode(options)
        meta["metadata"] = encode(entry["metadata"])
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
