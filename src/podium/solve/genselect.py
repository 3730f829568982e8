"""GenSelect: a model reads several solutions of one problem and says which is best (arXiv 2504.16891, section 4).

Builds the groups a selector is trained on, asks one, and counts its picks. Does not know who wrote the solutions, how
they were graded, or which engine selects. Where the paper's text and its released code differ (group sizes), this is
the code's; see `group_size`.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from podium.answering.code_session import CodeSandbox
from podium.answering.protocol import Completer, Sampling
from podium.answering.toolloop import write_solution
from podium.boxes import boxes, last_box
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.grading import classes as equivalence_classes
from podium.grading import rules_of
from podium.records import ExamResult, Message, Problem, Verdict
from podium.solve.sitting import attempt_seed
from podium.solve.vote import Classes, Vote, majority
from podium.toolcode import written_text

MOST = 16  # solutions in a group: selection is unstable above 32 (figure 2)
LONGEST = 3_000  # characters of a summary
PROMPT_CHARACTERS = 100_000  # of a whole group; larger ones are left out
GROUPS = 8  # distinct ones per problem
TRIES = 16
SHORTEST = 40  # characters that a solution is cut down to, at least; below that only answers are compared
CUT = "…"
# Answers and problem stand behind the solutions too, near to where they are compared and computed again: a small model
# does not find them among many solutions.
PROMPT = """You are given a problem and {n} solutions, numbered from 0 to {last}. Decide which one is most likely right.
Group them by their answers, look for contradictions and mistakes, compare, and end with one line: Judgment: IDX

Problem:
{problem}

{solutions}

Their answers:
{answers}

The problem again:
{problem}"""
_JUDGMENT = re.compile(r"Judg(?:e)?ment:\s*\**\s*([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A solution to choose from: what it says after thinking, its answer, and whether that is right (None: unknown)."""

    index: int
    text: str
    answer: str
    right: bool | None = None


def candidates_of(result: ExamResult) -> list[Candidate]:
    """The attempts of an exam's problem that can be shown: those with an answer and one box after their thinking; where
    the exam finds answers elsewhere too, also those without a box."""
    found = []
    boxed = rules_of(result.problem).find == ("box",)
    for attempt in result.attempts:
        written = "".join(part.text for part in attempt.parts)
        text = summary_of(written)
        if text is None and not boxed:
            text = _unboxed(written)
        if text is not None and attempt.answer is not None:
            right = None if attempt.verdict is Verdict.UNDECIDED else attempt.verdict is Verdict.CORRECT
            found.append(Candidate(attempt.index, text, attempt.answer, right))
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """Candidates in the order in which they are shown."""

    problem: Problem
    candidates: tuple[Candidate, ...]
    answer_characters: int | None = None  # longer answers are shown by their beginning; None: whole

    @property
    def messages(self) -> tuple[Message, ...]:
        shown = "\n\n".join(f"Solution {place}:\n{each.text}" for place, each in enumerate(self.candidates))
        most = self.answer_characters
        answers = "\n".join(
            f"{place}: {each.answer if most is None or len(each.answer) <= most else each.answer[:most] + CUT}"
            for place, each in enumerate(self.candidates)
        )
        n = len(self.candidates)
        text = PROMPT.format(n=n, last=n - 1, problem=self.problem.text, solutions=shown, answers=answers)
        return (Message(role="user", content=text),)

    @property
    def right(self) -> frozenset[int]:
        """Places of the right ones."""
        return frozenset(place for place, each in enumerate(self.candidates) if each.right)


def summary_of(text: str) -> str | None:
    """What of a solution is shown: the part after `</think>`, with exactly one box in it; when it is longer than 3,000
    characters its tail, from a paragraph break on. None: it cannot be shown."""
    rest = _THOUGHT.sub("", text).strip()
    if len(boxes(rest)) != 1:
        return None
    rest = _tail(rest)
    return rest if last_box(rest) is not None else None


def _unboxed(text: str) -> str | None:
    """What is shown of a solution that says its answer without a box."""
    rest = _THOUGHT.sub("", text).strip()
    return None if boxes(rest) else _tail(rest) or None


def _tail(text: str, most: int = LONGEST) -> str:
    """The end of a text that is longer than `most` characters, from a paragraph break on where there is one."""
    if len(text) <= most:
        return text
    tail = text[-most:]
    return tail.partition("\n\n")[2].strip() or tail


def longest_valid(summaries: Sequence[str], answer: str) -> str | None:
    """Of several summaries of one solution the longest that keeps its answer (the released code's rule)."""
    valid = [text for text in summaries if summary_of(text) is not None and last_box(text) == answer]
    return max(valid, key=len, default=None)


def group_size(total: int, draw: random.Random) -> int:
    """Size of a group from `total` candidates: a normal around (total + 2) / 2, cut to 2 … min(16, total), with a sixth
    of the range as its deviation (released code; the paper's text says uniform)."""
    high = min(MOST, total)
    for _ in range(1000):
        size = round(draw.gauss((total + 2) / 2, (high - 2) / 6))
        if 2 <= size <= high:
            return size
    return high  # so many candidates that the peak lies far beyond the largest group


def training_groups(
    problem: Problem, candidates: Sequence[Candidate], seed: int = 0, characters: int = PROMPT_CHARACTERS
) -> list[Group]:
    """Up to 8 distinct groups with at least one right and one wrong candidate each, as the released code makes them.

    At least 4 candidates are needed, one right and one wrong; the right ones are cut down to the number of wrong ones,
    so that groups are hard. Groups with more than `characters` in their prompt are left out. Empty where a problem has
    no such groups.
    """
    draw = random.Random(f"{seed}/{problem.id}")
    wrong = [each for each in candidates if each.right is False]
    right = [each for each in candidates if each.right]
    if not right or not wrong or len(right) + len(wrong) < 4:
        return []
    right = draw.sample(right, min(len(right), len(wrong)))
    groups: dict[frozenset[int], Group] = {}
    for _ in range(TRIES):
        if len(groups) == GROUPS:
            break
        chosen = [draw.choice(right), draw.choice(wrong)]
        rest = [each for each in (*right, *wrong) if each not in chosen]
        size = group_size(len(right) + len(wrong), draw)
        chosen += draw.sample(rest, min(len(rest), size - 2))
        draw.shuffle(chosen)
        group = Group(problem, tuple(chosen))
        if len(group.messages[0].content) <= characters:
            groups.setdefault(frozenset(each.index for each in chosen), group)
    return list(groups.values())


def read_pick(text: str, size: int) -> int | None:
    """The place a selector names last; None when it names none, or one that is not there."""
    found = _JUDGMENT.findall(text)
    return int(found[-1]) if found and int(found[-1]) < size else None


Named = Literal["index", "answer"]
"""How a selector names its pick: `Judgment: IDX`, as the paper's, or the answer in a box."""
NAMED: tuple[Named, ...] = get_args(Named)


def pick_of(text: str, group: Group, named: Named, classes: Classes) -> int | None:
    """The place in the group that a selector names, None when it names none that is there. Of several solutions with
    the boxed answer it is the first."""
    if named == "index":
        return read_pick(text, len(group.candidates))
    answer = last_box(text)
    if answer is None:
        return None
    for alike in classes(group.problem, [answer, *(each.answer for each in group.candidates)]):
        if 0 in alike:
            return min((place - 1 for place in alike if place > 0), default=None)
    return None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector chose. `picks`: one per repetition that named a candidate, their indices. `asked`: repetitions,
    0 where there was nothing to choose."""

    picks: tuple[int, ...]
    invalid: int
    vote: Vote
    asked: int = 0

    @property
    def answer(self) -> str | None:
        return self.vote.answer


async def select(
    problem: Problem,
    candidates: Sequence[Candidate],
    completer: Completer,
    *,
    repeats: int = 8,
    most: int = MOST,
    characters: int = PROMPT_CHARACTERS,
    named: Named = "index",
    sandbox: CodeSandbox | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    classes: Classes = equivalence_classes,
) -> Selection:
    """Show `most` of the candidates, `repeats` times anew, and take the majority of the picked answers.

    A group whose prompt has more than `characters`, or more tokens than the completer's context, is made smaller until
    it fits: one solution that is far longer than the others is shortened to its end, then solutions are left out, but
    for two; then these two are shortened. Where nothing fits, because the problem alone is too long, nobody is asked.
    With a `sandbox` the code that the selector writes is run, each repetition's in a session of its own. A repetition
    whose request fails counts as invalid. With one candidate, or when all agree, nobody is asked.

    Raises:
        InputError: fewer than one repetition, or groups of fewer than two.
        CompleterError: every request failed.
        SandboxUnavailable: as the sandbox raises it.
    """
    if repeats < 1 or most < 2:
        raise InputError(f"{repeats} repetitions of {most} solutions", "at least one, of at least two solutions")
    draw = random.Random(f"{seed}/{problem.id}")
    if len({each.answer for each in candidates}) < 2:
        return _counted(problem, candidates, [each.index for each in candidates[:1]], 0, classes)
    groups = []
    for _ in range(repeats):
        chosen = draw.sample(list(candidates), min(most, len(candidates)))
        groups.append(_fitting(Group(problem, tuple(chosen)), characters))
    base = sampling or Sampling(max_tokens=2048, temperature=0.7, top_p=0.95)

    async def ask(number: int) -> str | None:
        seeded = replace(base, seed=attempt_seed(seed, f"select/{problem.id}", number))
        while True:
            try:
                rollout = await write_solution(completer, groups[number].messages, seeded, sandbox, seed=seeded.seed)
                return written_text(rollout.parts)
            except PromptTooLong:
                smaller = _smaller(groups[number])
                if smaller is None:
                    return None
                groups[number] = smaller

    said = await asyncio.gather(*(ask(n) for n in range(repeats)), return_exceptions=True)
    picks: list[int] = []
    errors: list[BaseException] = []
    unasked = 0
    for group, text in zip(groups, said, strict=True):
        if text is None:
            unasked += 1
        elif isinstance(text, CompleterError):
            errors.append(text)
        elif isinstance(text, BaseException):
            raise text
        elif (place := await asyncio.to_thread(pick_of, text, group, named, classes)) is not None:
            picks.append(group.candidates[place].index)
    if errors and len(errors) == repeats - unasked:
        raise errors[0]
    return _counted(problem, candidates, picks, repeats - unasked, classes)


def _counted(
    problem: Problem, candidates: Sequence[Candidate], picks: list[int], asked: int, classes: Classes
) -> Selection:
    answers = {each.index: each.answer for each in candidates}
    picked = {number: answers[index] for number, index in enumerate(picks)}
    vote = majority(problem, picked, classes)
    return Selection(tuple(picks), max(0, asked - len(picks)), vote, asked)


def _fitting(group: Group, characters: int) -> Group:
    while len(group.messages[0].content) > characters and (smaller := _smaller(group)) is not None:
        group = smaller
    return group


def _smaller(group: Group) -> Group | None:
    """A group with a shorter prompt; None where nothing can be taken away any more."""
    candidates = group.candidates
    lengths = sorted(len(each.text) for each in candidates)
    longest = max(range(len(candidates)), key=lambda place: len(candidates[place].text))
    sticks_out = lengths[-1] > 2 * lengths[-2] and lengths[-1] > 2 * SHORTEST
    if len(candidates) > 2 and not sticks_out:
        return replace(group, candidates=candidates[:-1])  # the last: they were drawn in no order
    if lengths[-1] > SHORTEST:
        half = max(SHORTEST, lengths[-1] // 2)
        shorter = replace(candidates[longest], text=CUT + candidates[longest].text[-(half - 1) :])
        return replace(group, candidates=(*candidates[:longest], shorter, *candidates[longest + 1 :]))
    most = max(len(each.answer) for each in candidates)
    shown = most if group.answer_characters is None else min(most, group.answer_characters)
    return replace(group, answer_characters=shown // 2) if shown > SHORTEST else None
