"""The mixture recommended for models of a few million parameters: every task the programmatic teacher knows whose
question is short, with numbers of few digits."""

from __future__ import annotations

from podium.curate.tasks import WRITERS
from podium.problems import GymTask, MixtureReport, gym_mixture
from podium.records import Problem

# Left out: questions or programs of more than about 120 tokens, which cost a small model most and teach it least.
_LONG = ("countdown", "puzzle24", "number_sorting")

DEMO_TASKS: tuple[GymTask, ...] = tuple(
    GymTask(writer.name, writer.weight, writer.options) for writer in WRITERS.values() if writer.name not in _LONG
)


def demo_mixture(train_size: int, exam_size: int, seed: int = 0) -> tuple[list[Problem], list[Problem], MixtureReport]:
    """`gym_mixture` of DEMO_TASKS."""
    return gym_mixture(DEMO_TASKS, train_size, exam_size, seed)
