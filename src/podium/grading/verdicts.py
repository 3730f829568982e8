"""The verifiers: from a problem and an answer to a verdict; from two answers to same, different or undecided.

Knows which rule a problem asks for; the rules themselves live in the neighbouring files. Cheap rules first; computer
algebra and foreign scorers only in a worker process with a deadline. Bounded time for every input.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from podium.errors import InputError, nearest
from podium.grading import arithmetic, exact, guard
from podium.grading.worker import worker
from podium.records import Problem, Verdict

SECONDS = 3.0  # deadline of one comparison or score
_MAX_SYMBOLIC = 2_000  # characters; longer answers are not given to computer algebra


def grade(problem: Problem, answer: str | None) -> Verdict:
    """Decide whether `answer` (the content of the box, not the whole solution) answers the problem.

    Verifiers: `math` (equal as mathematics), `integer` (equal integers; modulo `meta["modulo"]` if given), `exact`
    (the same text), `gym` and `gym:NAME` (the task's own scorer gives 1.0). Without a gold answer, or when the
    deadline passes, the verdict is undecided.

    Raises:
        InputError: the problem names an unknown verifier, or a gym verifier without its stored entry.
    """
    if answer is None or not answer.strip():
        return Verdict.NO_ANSWER
    verifier = problem.verifier.partition(":")[0]
    rule = VERIFIERS.get(verifier)
    if rule is None:
        raise InputError(f"problem {problem.id}: unknown verifier {problem.verifier!r}", nearest(verifier, VERIFIERS))
    right = rule(problem, answer.strip())
    if right is None:
        return Verdict.UNDECIDED
    return Verdict.CORRECT if right else Verdict.WRONG


def equivalent(problem: Problem, a: str, b: str) -> bool | None:
    """Whether two answers to the problem are the same answer, without looking at the gold one. None: undecided."""
    verifier = problem.verifier.partition(":")[0]
    if a.strip() == b.strip():
        return True
    if verifier == "exact":
        return False
    if verifier == "integer":
        left, right = _integer(a, problem.meta), _integer(b, problem.meta)
        return left == right if left is not None and right is not None else False
    if verifier == "gym":
        return _gym_key(problem, a) == _gym_key(problem, b)
    return _same_mathematics(a.strip(), b.strip())


def classes(problem: Problem, answers: Sequence[str]) -> list[list[int]]:
    """Partition the positions of `answers` into classes of equivalent answers, in order of first appearance.

    Equal keys (same text, same number) are joined without comparing; only what is left is compared with the first
    answer of each class. Undecided pairs stay apart.
    """
    verifier = problem.verifier.partition(":")[0]
    keyed: dict[Any, list[int]] = {}
    for position, answer in enumerate(answers):
        keyed.setdefault(_key(problem, verifier, answer), []).append(position)
    if verifier != "math":
        return list(keyed.values())
    groups: list[list[int]] = []
    for key, positions in keyed.items():
        for group in groups:
            if key[0] == "number" and exact.key_of(answers[group[0]])[0] == "number":
                continue  # two plain numbers with different keys differ
            if equivalent(problem, answers[group[0]], answers[positions[0]]):
                group.extend(positions)
                break
        else:
            groups.append(list(positions))
    return [sorted(group) for group in groups]


def _key(problem: Problem, verifier: str, answer: str) -> Any:
    if verifier == "math":
        return exact.key_of(answer)
    if verifier == "integer":
        value = _integer(answer, problem.meta)
        return ("text", answer.strip()) if value is None else ("number", value)
    return _gym_key(problem, answer) if verifier == "gym" else answer.strip()


def _integer(text: str, meta: dict[str, Any]) -> int | None:
    """The integer an answer stands for, reduced by meta["modulo"]; None when it is none."""
    text = exact.normalise(text) if len(text) <= _MAX_SYMBOLIC else ""
    reading = exact.read_number(text)
    value = reading.values[0] if reading else None
    if value is None:
        tree = arithmetic.parse(text)
        try:
            value = arithmetic.evaluate(tree) if tree is not None else None
        except arithmetic.TooLarge:
            return None
    if value is None or value.denominator != 1:
        return None
    modulo = meta.get("modulo")
    return int(value) % int(modulo) if modulo else int(value)


def _gym_key(problem: Problem, answer: str) -> Any:
    """Answers of gym tasks are the same when their text is, or their number; expressions that must use given numbers
    (countdown, puzzle24) when they use the same ones for the same value."""
    text = answer.strip()
    task = problem.meta.get("task")
    if task in ("countdown", "puzzle24") and len(text) <= guard.MAX_LENGTH:
        tree = arithmetic.parse(text)
        try:
            value = arithmetic.evaluate(tree) if tree is not None else None
        except arithmetic.TooLarge:
            value = None
        if value is not None:
            return value, tuple(sorted(map(int, re.findall(r"\d+", text))))
    return exact.key_of(text) if len(text) <= guard.MAX_LENGTH else ("text", text)


def _verify_math(problem: Problem, answer: str) -> bool | None:
    return None if problem.answer is None else _same_mathematics(problem.answer, answer)


def _verify_exact(problem: Problem, answer: str) -> bool | None:
    return None if problem.answer is None else answer == problem.answer.strip()


def _verify_integer(problem: Problem, answer: str) -> bool | None:
    if problem.answer is None:
        return None
    gold = _integer(problem.answer, problem.meta)
    if gold is None:
        raise InputError(
            f"problem {problem.id}: the answer {problem.answer[:40]!r} is no integer", "use the verifier 'math'"
        )
    return _integer(answer, problem.meta) == gold


def _verify_gym(problem: Problem, answer: str) -> bool | None:
    task = problem.meta.get("task") or problem.verifier.partition(":")[2]
    scorer = problem.meta.get("scorer")
    if scorer == "exact":
        return answer == problem.answer
    if not task or "metadata" not in problem.meta:
        raise InputError(
            f"problem {problem.id}: its gym entry is not in meta", "load it with load_problems('gym:NAME')"
        )
    if len(answer) > exact.MAX_LENGTH or (task in guard.EVALUATING_TASKS and not guard.harmless(answer)):
        return False
    request = {
        "task": task,
        "question": problem.text,
        "gold": problem.answer,
        "metadata": problem.meta["metadata"],
        "options": problem.meta.get("options", {}),
        "answer": answer,
    }
    score = worker("gym").ask(request, SECONDS)
    return None if score is None else score >= 1.0


@functools.lru_cache(maxsize=16_384)
def _same_mathematics(gold: str, answer: str) -> bool | None:
    decided = exact.compare_exactly(gold, answer)
    if decided is not None or max(len(gold), len(answer)) > _MAX_SYMBOLIC:
        return decided
    return worker("math").ask({"gold": exact.normalise(gold), "answer": exact.normalise(answer)}, SECONDS)


VERIFIERS: dict[str, Callable[[Problem, str], bool | None]] = {
    "math": _verify_math,
    "integer": _verify_integer,
    "exact": _verify_exact,
    "gym": _verify_gym,
}
