"""What a selector is trained on: groups of graded attempts, and beside each the comparison it is to write.

The paper lets a large model write the comparisons, keeps those that pick a right solution, and has them shortened
(arXiv 2504.16891, section 4.2). A model of a few million weights cannot follow such prose, and nobody need write it
where solutions go step by step: what the right solutions of a problem say tells which step of a wrong one is wrong. So
the comparison is put together from the attempts themselves. Does not know how a selector is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from podium.errors import InputError
from podium.records import ExamResult, Maker, Part, Solution, Verdict
from podium.solve.genselect import PROMPT_CHARACTERS, Group, candidates_of, training_groups

Target = Literal["pick", "quote", "check", "work"]
TARGETS: tuple[Target, ...] = get_args(Target)
VERSION = 1


@dataclass(slots=True)
class GroupReport:
    """What came of an exam's problems. `mixed`: with right and wrong attempts, enough of both for a group."""

    problems: int = 0
    mixed: int = 0
    groups: int = 0
    shown: int = 0  # solutions in all groups together
    unworked: int = 0  # groups left out because nobody's work on the problem is known


def comparison(group: Group, target: Target, work: Sequence[Part] | None = None) -> tuple[Part, ...]:
    """What the selector is to write of a group; it ends with `Judgment: IDX`, the first right solution shown.

    - `pick`: nothing but the judgment;
    - `quote`: that solution word for word, then the judgment;
    - `check`: of each solution `right`, or its first line that stands in no right one, then the judgment;
    - `work`: `work`, a solution by someone who knows the task, with code and its output where it has them; then the
      answer of each solution and whether it is right, then the judgment.

    Raises:
        InputError: no right solution in the group, or no work for the target that needs it.
    """
    if not group.right:
        raise InputError("a group without a right solution", "take the groups that training_groups makes")
    place = min(group.right)
    judgment = f"Judgment: {place}"
    if target == "pick":
        return (Part(role="model", text=judgment),)
    if target == "quote":
        return (Part(role="model", text=f"{group.candidates[place].text}\n{judgment}"),)
    if target == "check":
        return (Part(role="model", text="\n".join([*_checks(group), judgment])),)
    if not work or work[-1].role != "model":
        raise InputError("nobody's work is known", "give a solution of the problem, or choose another target")
    text = "\n".join([work[-1].text, *_answers(group), judgment])
    return (*work[:-1], Part(role="model", text=text))


def _answers(group: Group) -> Iterator[str]:
    for place, each in enumerate(group.candidates):
        yield f"{place}: {each.answer} {'right' if place in group.right else 'wrong'}"


def _checks(group: Group) -> Iterator[str]:
    sound = {line for place in group.right for line in group.candidates[place].text.splitlines()}
    for place, each in enumerate(group.candidates):
        first = next((line for line in each.text.splitlines() if line not in sound), None)
        # A wrong one of sound lines has left something out.
        yield f"{place}: right" if place in group.right else f"{place}: {first or 'unfinished'}"


def selection_rows(
    results: Iterable[ExamResult],
    target: Target,
    *,
    seed: int = 0,
    characters: int = PROMPT_CHARACTERS,
    work: Mapping[str, Sequence[Part]] | None = None,
    report: GroupReport | None = None,
) -> Iterator[Solution]:
    """Rows to train a selector on, from an exam that was sat on training problems.

    Args:
        characters: groups whose prompt is longer are left out, as the released code does with 100,000.
        work: {problem id: the parts of a solution}, for the target `work`; problems that are not in it are left out
            and counted.
        report: filled with counts.
    """
    report = report if report is not None else GroupReport()
    for result in results:
        report.problems += 1
        groups = training_groups(result.problem, candidates_of(result), seed, characters)
        report.mixed += bool(groups)
        known = (work or {}).get(result.problem.id)
        if target == "work" and known is None:
            report.unworked += len(groups)
            continue
        for number, group in enumerate(groups):
            report.groups += 1
            report.shown += len(group.candidates)
            yield Solution(
                id=f"{result.problem.id}-select-{number}",
                problem_id=result.problem.id,
                style="select",
                prompt=group.messages,
                parts=comparison(group, target, known),
                answer=group.candidates[min(group.right)].answer,
                verdict=Verdict.CORRECT,
                maker=Maker(model=f"podium-comparison-{target}-{VERSION}", seed=seed),
            )
