"""A model answers problems for a draft head to learn from: a journal of Attempts that survives kill -9."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from podium.opening import ModelSpec, open_table
from podium.records import Problem
from podium.solve.profile import profile_overrides


async def own_answers(
    model: ModelSpec, problems: Sequence[Problem], path: Path, *, profile: str, code: bool, seed: int, rows: int = 16
) -> None:
    """Let a model answer problems into a journal of Attempts; those that are in it already are not asked again.

    Args:
        rows: problems that are answered side by side.

    Raises:
        InputError, CompleterError: as podium.opening.open_table; a damaged row in the journal.
    """
    from podium.records import Attempt
    from podium.solve import attempt as attempt_problem
    from podium.solve import get_profile
    from podium.storage import Journal, read_rows

    done = {row.problem_id for row in read_rows(path, Attempt)} if path.exists() else set()
    waiting = [(place, problem) for place, problem in enumerate(problems) if problem.id not in done]
    if not waiting:
        return
    limits = get_profile(profile, **profile_overrides(code, None, None))
    waiting.reverse()
    async with open_table(model, rows, code) as (completer, sandbox):
        with Journal(path, Attempt) as journal:

            async def answer_some() -> None:
                while waiting:
                    place, problem = waiting.pop()
                    journal.append(await attempt_problem(problem, completer, sandbox, limits, seed=seed + place))

            async with asyncio.TaskGroup() as group:
                for _ in range(rows):
                    group.create_task(answer_some())
