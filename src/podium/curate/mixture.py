"""The mixture recommended for models of a few million parameters: tasks whose question and program are short, with
numbers of few digits, so that copying them into code can be learnt in minutes."""

from __future__ import annotations

from podium.curate.tasks import WRITERS
from podium.problems import GymTask, MixtureReport, gym_mixture
from podium.records import Problem

_LEFT_OUT = (
    *("countdown", "puzzle24", "number_sorting"),  # questions or programs of 100 to 230 tokens
    "spell_backward",  # a word's tokens differ between the question and the code: nothing can be copied
)

DEMO_TASKS: tuple[GymTask, ...] = tuple(
    GymTask(writer.name, writer.weight, writer.options) for writer in WRITERS.values() if writer.name not in _LEFT_OUT
)


def demo_mixture(train_size: int, exam_size: int, seed: int = 0) -> tuple[list[Problem], list[Problem], MixtureReport]:
    """`gym_mixture` of DEMO_TASKS."""
    return gym_mixture(DEMO_TASKS, train_size, exam_size, seed)
