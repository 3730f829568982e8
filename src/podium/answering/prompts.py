"""The prompts that ask for a solution: one table, which says of each whether training data or exams are asked with it.

Every prompt has a version, which is stored with what it produced: change it with every change of the wording, as
solutions and exams can only be compared while the words stay. A template of the user's own may stand in place of a
prompt of the table (`podium.solve.prompt`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from podium.errors import InputError, nearest
from podium.records import Message, Problem
from podium.toolcode import CLOSE_TAG, OPEN_TAG

PROBLEM = "{problem}"
Use: TypeAlias = Literal["training", "exam"]


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """In `template` the problem's text replaces `{problem}`."""

    version: int
    template: str
    uses: tuple[Use, ...]


PROMPTS: dict[str, PromptStyle] = {
    # The problem alone: a model tuned on one style needs no telling, and CoT and TIR models can be merged.
    "plain": PromptStyle(1, PROBLEM, ("training", "exam")),
    "cot": PromptStyle(
        1, f"{PROBLEM}\n\nReason step by step. Put the final answer, and nothing else, in \\boxed{{}}.", ("training",)
    ),
    "tir": PromptStyle(
        1,
        f"{PROBLEM}\n\nReason step by step. For calculations write Python that prints its result, between {OPEN_TAG} "
        f"and {CLOSE_TAG}; its output will be shown to you. Put the final answer, and nothing else, in \\boxed{{}}.",
        ("training",),
    ),
    "boxed": PromptStyle(
        1,
        f"Solve this problem. Think step by step and put the final answer, alone, in \\boxed{{}}.\n\n{PROBLEM}",
        ("exam",),
    ),
    "code": PromptStyle(
        1,
        f"Solve this problem. Leave heavy computation to Python: code between {OPEN_TAG} and {CLOSE_TAG} is run and "
        f"what it prints is shown to you; variables stay. Put the final answer, alone, in \\boxed{{}}.\n\n{PROBLEM}",
        ("exam",),
    ),
}
TRAINING_PROMPTS = tuple(name for name, style in PROMPTS.items() if "training" in style.uses)
EXAM_PROMPTS = tuple(name for name, style in PROMPTS.items() if "exam" in style.uses)


def fill(template: str, problem: str) -> str:
    """The template with the problem in its place. Braces in the problem are the problem's."""
    return template.replace(PROBLEM, problem)


def make_prompt(problem: Problem, name: str = "plain") -> tuple[tuple[Message, ...], str]:
    """The chat that asks a teacher for a solution, and the version of the prompt as `name/number`.

    Raises:
        InputError: no prompt for training data has this name.
    """
    if name not in TRAINING_PROMPTS:
        raise InputError(f"no prompt {name!r}", nearest(name, TRAINING_PROMPTS))
    style = PROMPTS[name]
    return (Message(role="user", content=fill(style.template, problem.text)),), f"{name}/{style.version}"


def problem_in(question: str) -> str:
    """The problem's text in a question that a prompt of the table made; other text as it is."""
    for style in PROMPTS.values():
        before, after = style.template.split(PROBLEM)
        if question.startswith(before) and question.endswith(after):
            question = question[len(before) : len(question) - len(after)]
    return question
