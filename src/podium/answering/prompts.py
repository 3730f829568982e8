"""The prompts that ask for a solution: one table, for training data and for exams.

Every prompt has a version, which is stored with what it produced: change it with every change of the wording, as
solutions and exams can only be compared while the words stay. A template of the user's own may stand in place of a
prompt of the table (`podium.solve.prompt`).
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.errors import InputError
from podium.records import Message, Problem
from podium.registry import Registry
from podium.toolcode import CLOSE_TAG, OPEN_TAG

PROBLEM = "{problem}"


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """In `template` the problem's text replaces `{problem}`.

    Raises:
        InputError: the template has not one place for the problem.
    """

    version: int
    template: str

    def __post_init__(self) -> None:
        if self.template.count(PROBLEM) != 1:
            raise InputError(f"a prompt style without {PROBLEM}, or with several", "write it once in the template")


PROMPTS: Registry[PromptStyle] = Registry("prompt style", "podium.prompt_styles")
"""The styles by name. A package adds one by an entry point that names a PromptStyle."""

for _name, _style in {
    # The problem alone: a model tuned on one style needs no telling, and CoT and TIR models can be merged.
    "plain": PromptStyle(1, PROBLEM),
    "cot": PromptStyle(1, f"{PROBLEM}\n\nReason step by step. Put the final answer, and nothing else, in \\boxed{{}}."),
    "tir": PromptStyle(
        1,
        f"{PROBLEM}\n\nReason step by step. For calculations write Python that prints its result, between {OPEN_TAG} "
        f"and {CLOSE_TAG}; its output will be shown to you. Put the final answer, and nothing else, in \\boxed{{}}.",
    ),
    "boxed": PromptStyle(
        1, f"Solve this problem. Think step by step and put the final answer, alone, in \\boxed{{}}.\n\n{PROBLEM}"
    ),
    "code": PromptStyle(
        1,
        f"Solve this problem. Leave heavy computation to Python: code between {OPEN_TAG} and {CLOSE_TAG} is run and "
        f"what it prints is shown to you; variables stay. Put the final answer, alone, in \\boxed{{}}.\n\n{PROBLEM}",
    ),
}.items():
    PROMPTS.add(_name, _style)


def fill(template: str, problem: str) -> str:
    """The template with the problem in its place. Braces in the problem are the problem's."""
    return template.replace(PROBLEM, problem)


def make_prompt(problem: Problem, name: str = "plain") -> tuple[tuple[Message, ...], str]:
    """The chat that asks for a solution of a problem, and the version of the prompt as `name/number`.

    Raises:
        InputError: no prompt has this name.
    """
    style = PROMPTS.find(name)
    return (Message(role="user", content=fill(style.template, problem.text)),), f"{name}/{style.version}"


def problem_in(question: str) -> str:
    """The problem's text in a question that a prompt of the table made; other text as it is."""
    for style in PROMPTS.known():
        before, after = style.template.split(PROBLEM)
        if question.startswith(before) and question.endswith(after):
            question = question[len(before) : len(question) - len(after)]
    return question
