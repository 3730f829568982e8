"""The rows themselves; tests/test_storage.py reads and writes them."""

from podium.records import Problem, find_repeated


def problem(number: int) -> Problem:
    return Problem(id=f"p{number}", text=f"What is {number}?")


def test_the_first_repeated_id_is_found() -> None:
    assert find_repeated([problem(1), problem(2), problem(1)]) == "p1"
    assert find_repeated([problem(1), problem(2)]) is None
