"""The chats that ask for a solution. Every prompt has a version, which is stored with what it produced."""

from __future__ import annotations

from dataclasses import dataclass

from podium.errors import InputError, nearest
from podium.records import Message, Problem


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """`instruction` follows the problem's text; change the version with every change of the wording."""

    version: int
    instruction: str


PROMPTS: dict[str, PromptStyle] = {
    # The problem alone: a model tuned on one style needs no telling, and CoT and TIR models can be merged.
    "plain": PromptStyle(1, ""),
    "cot": PromptStyle(1, "Reason step by step. Put the final answer, and nothing else, in \\boxed{}."),
    "tir": PromptStyle(
        1,
        "Reason step by step. For calculations write Python that prints its result, between <tool_call> and "
        "</tool_call>; its output will be shown to you. Put the final answer, and nothing else, in \\boxed{}.",
    ),
}


def make_prompt(problem: Problem, name: str = "plain") -> tuple[tuple[Message, ...], str]:
    """The chat for a problem, and the version of the prompt as `name/number`.

    Raises:
        InputError: unknown prompt.
    """
    style = PROMPTS.get(name)
    if style is None:
        raise InputError(f"no prompt {name!r}", nearest(name, PROMPTS))
    content = f"{problem.text}\n\n{style.instruction}" if style.instruction else problem.text
    return (Message(role="user", content=content),), f"{name}/{style.version}"
