"""The verifiers: from a problem and an answer to a verdict; from two answers to same, different or undecided.

Knows which rule a problem asks for; the rules themselves live in the neighbouring files. Bounded time for every input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from podium.boxes import answer_in
from podium.errors import InputError, nearest
from podium.grading import arithmetic, exact, guard
from podium.grading.compare import SECONDS, compare
from podium.grading.extract import extract_answer
from podium.grading.pool import pool
from podium.grading.rules import Rules, rules_of
from podium.grading.stated import stated_integer
from podium.records import Problem, Verdict
from podium.registry import Registry, place

_LETTER = Rules(find=("letter",))


def grade(problem: Problem, answer: str | None) -> Verdict:
    """Decide whether `answer` (the content of the box, not the whole solution) answers the problem.

    Verifiers, besides those that packages add: `math` (equal as mathematics), `integer` (equal integers), `letter` (the
    same option), `exact` (the same text), `gym` and `gym:NAME` (the task's own scorer gives 1.0). What of the notation
    is forgiven, and which integers are answers, say the rules in `meta["rules"]`. Without a gold answer, when the
    deadline passes, or when neither equality nor difference could be shown, the verdict is undecided.

    Raises:
        InputError: the problem names an unknown verifier or rule, or a gym verifier without its stored entry.
    """
    if answer is None or not answer.strip():
        return Verdict.NO_ANSWER
    right = _verifier_of(problem).right(problem, answer.strip())
    if right is None:
        return Verdict.UNDECIDED
    return Verdict.CORRECT if right else Verdict.WRONG


def equivalent(problem: Problem, a: str, b: str) -> bool | None:
    """Whether two answers to the problem are the same answer, without looking at the gold one. None: undecided.

    Raises:
        InputError: the problem names an unknown verifier.
    """
    if a.strip() == b.strip():
        return True
    how = _verifier_of(problem)
    return how.same(problem, a, b) if how.same is not None else how.key(problem, a) == how.key(problem, b)


def _verifier_of(problem: Problem) -> Verifier:
    name = problem.verifier.partition(":")[0]
    if name not in VERIFIERS:
        raise InputError(f"problem {problem.id}: unknown verifier {problem.verifier!r}", nearest(name, VERIFIERS))
    return VERIFIERS[name]


def find_answer(problem: Problem, text: str) -> str | None:
    """The answer in a solution of the problem, by the rules of its exam: by default the last box.

    Raises:
        InputError: the problem names an unknown rule.
    """
    return extract_answer(text, rules_of(problem))


def classes(problem: Problem, answers: Sequence[str]) -> list[list[int]]:
    """Partition the positions of `answers` into classes of equivalent answers, in order of first appearance.

    Equal keys (same text, same number) are joined without comparing; of the rest those are joined that are the same, or
    the same as a third. No class holds two answers that differ: where the rules forgive a missing unit, 5 is 5 cm and
    5 m, and goes with one of them. Undecided pairs stay apart. The classes do not depend on the order of the answers.
    """
    how = _verifier_of(problem)
    keyed: dict[Any, list[int]] = {}
    for position, answer in enumerate(answers):
        keyed.setdefault(how.key(problem, answer), []).append(position)
    if how.same is None:
        return list(keyed.values())
    # One wording stands for a key; which one must not depend on the order.
    texts = sorted((min(answers[position] for position in positions), key[0]) for key, positions in keyed.items())
    kinds = dict(texts)
    joined = _joined([text for text, _ in texts], lambda a, b: _decide(problem, a, b, kinds))
    number = {text: place for place, group in enumerate(joined) for text in group}
    groups: dict[int, list[int]] = {}
    for positions in keyed.values():
        groups.setdefault(number[min(answers[position] for position in positions)], []).extend(positions)
    return sorted((sorted(group) for group in groups.values()), key=lambda group: group[0])


def _decide(problem: Problem, a: str, b: str, kinds: dict[str, str]) -> bool | None:
    if kinds[a] == kinds[b] == "number":
        return False  # two plain numbers with different keys differ
    return equivalent(problem, a, b)


def _joined(texts: Sequence[str], same: Callable[[str, str], bool | None]) -> list[list[str]]:
    """Sorted texts in groups: those that are the same, or the same as a third, unless two of them differ."""
    linked: list[list[str]] = []
    for text in texts:
        mine = [group for group in linked if any(same(other, text) for other in group)]
        linked = [group for group in linked if group not in mine]
        linked.append([text, *(other for group in mine for other in group)])
    groups: list[list[str]] = []
    for component in linked:
        apart: list[list[str]] = []
        for text in sorted(component):
            for group in apart:
                found = [same(*sorted((other, text))) for other in group]
                if True in found and False not in found:
                    group.append(text)
                    break
            else:
                apart.append([text])
        groups += _merged(apart, same)
    return groups


def _merged(groups: list[list[str]], same: Callable[[str, str], bool | None]) -> list[list[str]]:
    """Groups of one component put together where something in them is the same and nothing differs."""
    place = 0
    while place < len(groups):
        for other in range(place + 1, len(groups)):
            found = [same(*sorted((a, b))) for a in groups[place] for b in groups[other]]
            if True in found and False not in found:
                groups[place] += groups.pop(other)
                break
        else:
            place += 1
    return groups


def _integer(text: str, rules: Rules) -> int | None:
    """The integer an answer stands for, reduced if the rules say so; None when it is none, or none of the exam's."""
    value = stated_integer(text)
    if value is None or not rules.admits(value):
        return None
    return value % rules.modulo if rules.modulo else value


def _option(text: str) -> str | None:
    """The option letter an answer is or begins with: B, (B), \\text{(B)}, "(B) 12"."""
    letters = extract_answer(text, _LETTER)
    return letters.upper() if letters else None


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
    if problem.answer is None:
        return None
    return compare(answer_in(problem.answer), answer, rules_of(problem)).sameness.decided


def _verify_letter(problem: Problem, answer: str) -> bool | None:
    if problem.answer is None:
        return None
    gold = _option(problem.answer)
    if gold is None:
        raise InputError(f"problem {problem.id}: the answer {problem.answer[:40]!r} is no option", "use 'math'")
    return _option(answer) == gold


def _verify_exact(problem: Problem, answer: str) -> bool | None:
    return None if problem.answer is None else answer == problem.answer.strip()


def _verify_integer(problem: Problem, answer: str) -> bool | None:
    if problem.answer is None:
        return None
    rules = rules_of(problem)
    gold = _integer(answer_in(problem.answer), rules)
    if gold is None:
        raise InputError(
            f"problem {problem.id}: the answer {problem.answer[:40]!r} is no integer", "use the verifier 'math'"
        )
    return _integer(answer, rules) == gold


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
    score = pool("gym").ask(request, SECONDS).value
    return None if score is None else score >= 1.0


def _key_integer(problem: Problem, answer: str) -> Hashable:
    value = _integer(answer, rules_of(problem))
    return ("text", answer.strip()) if value is None else ("number", value)


def _key_text(problem: Problem, answer: str) -> Hashable:
    return answer.strip()


@dataclass(frozen=True, slots=True)
class Verifier:
    """How answers to one kind of problem are judged.

    Args:
        right: whether an answer, which is not empty, answers the problem; None: that could not be decided.
        key: what answers that are surely the same have in common; the gold answer is not looked at.
        same: whether two answers with different keys are the same all the same; None: then they differ.
    """

    right: Callable[[Problem, str], bool | None]
    key: Callable[[Problem, str], Hashable] = _key_text
    same: Callable[[Problem, str, str], bool | None] | None = None


class _Verifiers(Registry[Verifier]):
    def accept(self, name: str, loaded: Any) -> None:
        verifier(name)(loaded)


VERIFIERS = _Verifiers("verifier", "podium.verifiers")
RightT = TypeVar("RightT", bound=Callable[[Problem, str], "bool | None"])


def verifier(
    name: str,
    *,
    key: Callable[[Problem, str], Hashable] = _key_text,
    same: Callable[[Problem, str, str], bool | None] | None = None,
) -> Callable[[RightT], RightT]:
    """Register `right(problem, answer)` as the verifier `name`, which problems name in their field `verifier`; for use
    as a decorator. A problem may say `name:more`: the function finds that in `problem.verifier`. Arguments as of
    Verifier; votes put answers together by `key` and `same`.

    Raises:
        InputError: the name is taken.
    """

    def register(right: RightT) -> RightT:
        VERIFIERS.add(name, Verifier(right, key, same), place(right))
        return right

    return register


def _same_mathematics(problem: Problem, a: str, b: str) -> bool | None:
    return compare(a, b, rules_of(problem)).sameness.decided


verifier("math", key=lambda problem, answer: exact.key_of(answer), same=_same_mathematics)(_verify_math)
verifier("integer", key=_key_integer)(_verify_integer)
verifier("letter", key=lambda problem, answer: _option(answer) or answer.strip())(_verify_letter)
verifier("exact")(_verify_exact)
verifier("gym", key=_gym_key)(_verify_gym)
