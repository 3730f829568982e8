"""Generated problems: the same bytes in every process, whatever its hash seed; references that the scorers accept."""

import json
import os
import subprocess
import sys

import pytest

from podium.errors import InputError, PodiumError
from podium.grading import grade
from podium.problems import gymline, load_problems
from podium.problems.gym import draw, load_gym, make_dataset
from podium.problems.reference import REFERENCES, are_legal_moves, solve_rush_hour
from podium.records import Verdict

# Tasks of reasoning-gym 0.1.25 whose problems change with PYTHONHASHSEED when they are made in the process itself.
HASHED = {
    "intermediate_integration": 1,
    "isomorphic_strings": 5,
    "knight_swap": 1,
    "list_functions": 5,
    "polynomial_multiplication": 3,
    "ransom_note": 5,
    "word_ladder": 3,
}
WRITE = """
import json, sys
from podium.problems.gym import load_gym
for name, size in json.loads(sys.argv[1]).items():
    for problem in load_gym(name, size=size, seed=3):
        print(problem.model_dump_json())
"""


def written(hash_seed: str, sizes: dict[str, int]) -> subprocess.Popen[bytes]:
    """A process with this hash seed that writes so many problems of each task."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, json.dumps(sizes)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )


def assert_same_bytes(sizes: dict[str, int], seconds: float) -> None:
    processes = [written(seed, sizes) for seed in ("1", "2")]
    first, second = (process.communicate(timeout=seconds)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert {json.loads(line)["source"] for line in first.splitlines()} == {f"gym:{name}" for name in sizes}
    assert first == second


def test_the_hash_seed_changes_no_problem() -> None:
    assert_same_bytes(HASHED, 250)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_hash_seed_changes_no_problem_of_any_task() -> None:
    from reasoning_gym.factory import DATASETS

    assert_same_bytes({name: 4 for name in sorted(DATASETS) if name != "composite"}, 1_700)


def test_fewer_problems_are_the_first_of_more() -> None:
    for name in ("acre", "lcm", "list_functions"):
        assert load_gym(name, size=3, seed=1) == load_gym(name, size=12, seed=1)[:3]
    answers = [problem.answer for problem in load_gym("acre", size=60)]
    assert {"on", "off", "undetermined"} == set(answers)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_tasks_with_many_right_answers_have_a_reference_that_is_right(name: str) -> None:
    for problem in load_gym(name, size=4, seed=2):
        assert problem.answer
        assert grade(problem, problem.answer) is Verdict.CORRECT
        assert grade(problem, problem.answer[: len(problem.answer) // 2]) is Verdict.WRONG


def test_references_need_not_be_the_only_right_answer() -> None:
    (puzzle,) = load_gym("graph_color", size=1, seed=2)
    coloring = json.loads(puzzle.answer or "")
    turned = {vertex: {1: 2, 2: 3, 3: 1}[color] for vertex, color in coloring.items()}
    assert grade(puzzle, json.dumps(turned)) is Verdict.CORRECT
    assert grade(puzzle, json.dumps(dict.fromkeys(coloring, 1))) is Verdict.WRONG
    (cube,) = load_gym("rubiks_cube", size=1, seed=2, options={"cube_size": 2, "min_scramble_steps": 4})
    assert grade(cube, f"{cube.answer} U U'") is Verdict.CORRECT
    assert grade(cube, f"{cube.answer} U") is Verdict.WRONG


def test_options_that_leave_no_right_answer_are_refused() -> None:
    # Its scorer does not read the moves of inner layers, which only large cubes have.
    with pytest.raises(InputError, match="accepts none of its own answers"):
        load_gym("rubiks_cube", size=1, options={"cube_size": 6, "min_scramble_steps": 40, "max_scramble_steps": 40})


def test_rush_hour_is_solved_in_the_fewest_moves() -> None:
    """The collection says how many each board needs."""
    boards = make_dataset("rush_hour", {"seed": 1, "size": 12})
    for index in range(12):
        metadata = boards[index]["metadata"]
        moves = solve_rush_hour(metadata["board_config"])
        assert moves is not None
        assert len(moves.split()) == metadata["min_moves"]
        assert are_legal_moves(metadata["board_config"], moves)


def test_rush_hour_takes_no_move_through_a_car() -> None:
    (puzzle,) = load_gym("rush_hour", size=1, seed=2, options={"max_moves": 20})
    assert puzzle.answer
    assert grade(puzzle, puzzle.answer.replace(" ", ", ")) is Verdict.CORRECT
    # reasoning-gym passes over what is not possible: every car shaken about solves the board by and by.
    assert grade(puzzle, f"A+4 {puzzle.answer}") is Verdict.WRONG
    assert grade(puzzle, f"I think {puzzle.answer}") is Verdict.WRONG
    assert solve_rush_hour("o" * 12 + "AAoxoo" + "o" * 18) is None


def test_draws_side_by_side_do_not_disturb_each_other() -> None:
    alone = [[problem.id for problem in load_gym(name, size=6)] for name in ("gcd", "lcm")]
    mixed: list[list[str]] = [[], []]
    for pair in zip(draw("gcd", 6), draw("lcm", 6), strict=False):
        for ids, problem in zip(mixed, pair, strict=True):
            ids.append(problem.id)
    assert [ids[:6] for ids in mixed] == alone


def test_a_process_that_ended_is_replaced() -> None:
    first = load_gym("gcd", size=3)
    drawing = draw("gcd", 50)
    assert next(drawing) == first[0]
    assert gymline._line is not None
    gymline._line.process.kill()
    with pytest.raises(PodiumError, match="has ended"):
        list(drawing)
    assert load_gym("gcd", size=3) == first


def test_errors_come_from_the_other_process_as_they_are() -> None:
    with pytest.raises(InputError) as caught:
        load_problems("gym:gcd", options={"max_valu": 9})
    assert "max_value" in caught.value.cure


def test_a_task_that_fails_is_named() -> None:
    with pytest.raises(PodiumError, match=r"composite|refused|failed"):
        load_gym("composite", size=1)
