"""Asking a judge about what grading left undecided in a problem of an exam. Knows rows; whom it asks, the judge knows.

Only answers to problems that are graded as mathematics and have a right answer are asked about: elsewhere a rule has
failed, and no opinion mends it. What the judge decides is marked as its verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from podium.records import ExamResult, Verdict

if TYPE_CHECKING:
    from podium.grading.judge import Judge


async def judge_result(
    result: ExamResult, answers: Sequence[str], verdicts: Sequence[Verdict], judge: Judge
) -> tuple[ExamResult, tuple[Verdict, ...]]:
    """The result, and the verdicts of its answer classes, with the judge's word where they were undecided.

    A judge that does not answer, or not clearly, leaves them as they are.
    """
    open_answers = {attempt.answer for attempt in result.attempts if attempt.verdict is Verdict.UNDECIDED}
    open_answers |= {text for text, verdict in zip(answers, verdicts, strict=True) if verdict is Verdict.UNDECIDED}
    if result.verdict is Verdict.UNDECIDED:
        open_answers.add(result.answer)
    gold, problem = result.problem.answer, result.problem
    asked = sorted(answer for answer in open_answers if answer is not None)
    if not asked or gold is None or problem.verifier.partition(":")[0] != "math":
        return result, tuple(verdicts)
    found = await asyncio.gather(*(judge.compare(gold, answer, problem.text) for answer in asked))
    said = {
        answer: Verdict.CORRECT if comparison.sameness.decided else Verdict.WRONG
        for answer, comparison in zip(asked, found, strict=True)
        if comparison.sameness.decided is not None
    }
    attempts = tuple(
        attempt.model_copy(update={"verdict": said[attempt.answer], "verdict_by": "judge"})
        if attempt.verdict is Verdict.UNDECIDED and attempt.answer in said
        else attempt
        for attempt in result.attempts
    )
    update: dict[str, object] = {"attempts": attempts}
    if result.verdict is Verdict.UNDECIDED and result.answer in said:
        update |= {"verdict": said[result.answer], "verdict_by": "judge"}
    settled = tuple(
        said.get(text, verdict) if verdict is Verdict.UNDECIDED else verdict
        for text, verdict in zip(answers, verdicts, strict=True)
    )
    return result.model_copy(update=update), settled
