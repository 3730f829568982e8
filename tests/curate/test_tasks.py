"""Every writer against reasoning-gym's own scorer: 200 random instances of each task, both styles."""

import io
from contextlib import redirect_stdout
from typing import Any

import pytest

from podium.curate import DEMO_TASKS
from podium.curate.tasks import WRITERS, Declined, checked_steps
from podium.curate.tasks.arithmetic import LEGS
from podium.grading import grade
from podium.problems import load_problems
from podium.records import Verdict

INSTANCES = 200
SLOW_TO_DRAW = {"countdown", "puzzle24"}  # reasoning-gym takes up to 0.3 s to make one
# Share that may be declined in the head at the small sizes of `options`; nearly all are written.
DECLINED_AT_MOST = {"count_primes": 0.25}


def run(source: str) -> str:
    """The source is our own, so the sandbox is not needed to check what it prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        exec(source, {})
    return output.getvalue().strip()


@pytest.mark.parametrize("name", sorted(set(WRITERS) - SLOW_TO_DRAW))
def test_reasoning_and_program_are_right(name: str) -> None:
    check(name, INSTANCES)


@pytest.mark.parametrize("name", sorted(SLOW_TO_DRAW))
def test_reasoning_and_program_are_right_for_some(name: str) -> None:
    check(name, 10)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW_TO_DRAW))
def test_reasoning_and_program_are_right_for_slow_tasks(name: str) -> None:
    check(name, INSTANCES)


def check(name: str, size: int) -> None:
    writer = WRITERS[name]
    for options in ({}, writer.options):
        problems = load_problems(f"gym:{name}", size=size, seed=11, options=options)
        assert len(problems) > size // 2
        reasoned = programmed = 0
        for problem in problems:
            operands = written(writer.read, problem.text)
            if operands is None:
                continue
            found = written(writer.reason, operands)
            if found is not None and written(checked_steps, found[0]) is not None:
                reasoned += 1
                assert grade(problem, found[1]) is Verdict.CORRECT, problem.text
            source = written(writer.program, operands)
            if source is not None:
                programmed += 1
                assert grade(problem, run(source)) is Verdict.CORRECT, (problem.text, source)
        if options:
            assert reasoned >= len(problems) * (1 - DECLINED_AT_MOST.get(name, 0.02)) - 1
            assert programmed == len(problems)


def written(writer: Any, operands: Any) -> Any:
    try:
        return writer(operands)
    except Declined:
        return None


def test_no_writer_takes_another_tasks_question() -> None:
    for name in WRITERS:
        for problem in load_problems(
            f"gym:{name}", size=3 if name in SLOW_TO_DRAW else 30, seed=2, options=WRITERS[name].options
        ):
            readers = [other for other, writer in WRITERS.items() if written(writer.read, problem.text) is not None]
            assert readers == [name]
    for name in ("maze", "time_intervals", "letter_counting", "polynomial_equations", "string_insertion"):
        for problem in load_problems(f"gym:{name}", size=10):
            assert all(written(writer.read, problem.text) is None for writer in WRITERS.values())


def test_steps_of_known_problems() -> None:
    assert WRITERS["products"].reason([47, 83]) == (["47 * 3 = 141", "47 * 80 = 3760", "141 + 3760 = 3901"], "3901")
    assert WRITERS["gcd"].reason([48, 18]) == (["48 % 18 = 12", "18 % 12 = 6", "12 % 6 = 0"], "6")
    assert WRITERS["basic_arithmetic"].reason("-( 2 + 3 * 4 ) / 7")[0] == [
        "- ( 2 + 3 * 4 ) / 7",
        "= - ( 2 + 12 ) / 7",
        "= -14 / 7",
        "= -2",
    ]
    assert WRITERS["base_conversion"].reason(("3a", 11, 2))[1] == "101011"
    with pytest.raises(Declined, match="rest"):
        WRITERS["basic_arithmetic"].reason("7 / 2")


def test_problems_without_one_answer_are_declined() -> None:
    with pytest.raises(Declined, match="cancels"):
        WRITERS["simple_equations"].read("Determine the value of i that satisfies: 0 = 0")
    with pytest.raises(Declined, match="missing"):
        WRITERS["base_conversion"].read("Now, convert the base-9 number  to base-13")


def test_animals_are_those_of_the_task() -> None:
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    assert LEGS == ANIMALS


def test_the_demo_has_thirteen_tasks_or_more() -> None:
    assert len({task.name for task in DEMO_TASKS}) >= 13
