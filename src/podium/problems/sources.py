"""The one door: a source written as text (`gym:NAME`, `exam:NAME`, `jsonl:PATH`) becomes a list of problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from podium.errors import InputError
from podium.problems.exams import load_exam, read_gold
from podium.problems.gym import load_gym
from podium.records import Problem, find_repeated, read_rows

_FORMS = "use gym:NAME, exam:NAME or jsonl:PATH"


def load_problems(
    spec: str,
    *,
    size: int | None = None,
    seed: int = 0,
    data: Path | None = None,
    options: dict[str, Any] | None = None,
) -> list[Problem]:
    """Problems of one source.

    `size`: of a gym task how many to draw (default 100; fewer come back where the task has fewer distinct ones), of
    exams and files only the first so many. `seed` and `options` are for gym tasks. `data` is the folder of exam files
    (default: the environment variable PODIUM_DATA; then the Hugging Face hub).

    Raises:
        InputError: unknown kind, name or option; file missing or damaged; no problem in it; an id that occurs twice.
    """
    kind, colon, name = spec.partition(":")
    if not colon or kind not in ("gym", "exam", "jsonl") or not name:
        raise InputError(f"{spec!r}: not a source of problems", _FORMS)
    if size is not None and size < 1:
        raise InputError(f"{spec}: size {size} is below 1", "ask for at least one problem")
    if kind != "gym" and options:
        raise InputError(f"{spec}: only gym tasks have options", "leave the options out")
    if kind == "gym":
        problems = load_gym(name, size=size or 100, seed=seed, options=options)
    elif kind == "exam":
        problems = load_exam(name, data)[:size]
    else:
        problems = [_with_gold(problem) for problem in read_rows(Path(name), Problem)[:size]]
    if not problems:
        raise InputError(f"{spec}: no problem in it", "check the source")
    repeated = find_repeated(problems)
    if repeated is not None:
        raise InputError(f"{spec}: the id {repeated!r} occurs twice", "give every problem an id of its own")
    return problems


def _with_gold(problem: Problem) -> Problem:
    """The problem with its answer alone, where the file holds a whole solution in its place."""
    if problem.answer is None or problem.verifier.partition(":")[0] not in ("math", "integer", "letter"):
        return problem
    answer = read_gold(problem.answer)
    return problem if answer == problem.answer else problem.model_copy(update={"answer": answer})
