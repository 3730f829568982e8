"""The programmatic teacher writes solutions to known tasks, behind the protocol that a language model implements.

It knows the tasks' writers and the form of a solution. It sees what a model would see: the chat, not the stored answer.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from podium.answering.prompts import problem_in
from podium.answering.protocol import Prompt, Sampling
from podium.answering.scripted import ScriptedCompleter
from podium.curate.tasks import WRITERS, Declined, checked_steps
from podium.records import Message
from podium.toolcode import code_block, output_in

VERSION = 1
DECLINED = "Declined: "  # what the teacher says instead of a solution; the reason follows
_LEAD = "I compute it."


def programmatic_teacher(style: Literal["cot", "tir"]) -> ScriptedCompleter:
    """Return a completer that answers with worked solutions of one style. It is deterministic and ignores sampling."""

    def script(prompt: Prompt, sampling: Sampling) -> Generator[str, str, None]:
        question = _question(prompt)
        try:
            text = _reasoning(question) if style == "cot" else _program(question)
        except Declined as refusal:
            yield DECLINED + refusal.message
            return
        if style == "cot":
            yield text
            return
        shown = yield text
        yield _closing(shown)

    return ScriptedCompleter(f"podium-teacher-{style}-{VERSION}", script)


def _question(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    question = next(
        (turn.content for turn in reversed(prompt) if isinstance(turn, Message) and turn.role == "user"), ""
    )
    return problem_in(question).strip()


def _reasoning(question: str) -> str:
    for writer in WRITERS.values():
        operands = writer.read(question)
        if operands is not None:
            steps, answer = writer.reason(operands)
            return f"{checked_steps(steps)}\nThe answer is \\boxed{{{answer}}}."
    raise Declined("no writer knows the task")


def _program(question: str) -> str:
    for writer in WRITERS.values():
        operands = writer.read(question)
        if operands is not None:
            return f"{_LEAD}\n{code_block(writer.program(operands))}"
    raise Declined("no writer knows the task")


def _closing(shown: str) -> str:
    """The last turn: it copies its answer from the output as shown, whatever that says."""
    return f"The answer is \\boxed{{{(output_in(shown) or '').strip()}}}."
