"""Mixtures: shares, disjointness where a task is nearly exhausted, repeatability."""

import pytest

from podium.errors import InputError
from podium.problems import GymTask, gym_mixture

TINY = GymTask("prime_factorization", 2.0, {"max_value": 60})


def test_train_and_exam_never_share_a_problem_even_in_a_tiny_task() -> None:
    train, exam, report = gym_mixture([GymTask("gcd", 1.0, {"max_value": 20}), TINY], 120, 30, seed=3)
    assert not {problem.text for problem in train} & {problem.text for problem in exam}
    assert report.disjoint.disjoint
    assert report.disjoint.train == len(train)
    counts = report.tasks["prime_factorization"]
    assert counts["exam"] == 20
    assert counts["train"] == 59 - 20  # numbers 2..60, of which 20 are in the exam
    assert counts["dropped"] >= 20
    assert "fewer than asked" in str(report)


def test_shares_follow_the_weights_and_seeds_repeat() -> None:
    tasks = [GymTask("products", 3.0), GymTask("chain_sum", 1.0)]
    train, exam, _ = gym_mixture(tasks, 80, 8, seed=1)
    assert sum(problem.source == "gym:products" for problem in train) == 60
    assert sum(problem.source == "gym:products" for problem in exam) == 6
    assert gym_mixture(tasks, 80, 8, seed=1)[:2] == (train, exam)
    assert gym_mixture(tasks, 80, 8, seed=2)[1] != exam


def test_an_exam_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(InputError, match="only 59 distinct"):
        gym_mixture([TINY], 10, 100)
    with pytest.raises(InputError, match="weight"):
        gym_mixture([GymTask("gcd", 0.0)], 10, 10)


def test_problems_used_before_are_not_drawn_again() -> None:
    first = gym_mixture([TINY], 20, 10)
    used = [*first[0], *first[1]]
    train, exam, report = gym_mixture([TINY], 100, 10, seed=1, apart=used)
    assert len(train) == 59 - 30 - 10  # all there are
    assert len(exam) == 10
    assert not {problem.text for problem in used} & {problem.text for problem in (*train, *exam)}
    assert report.disjoint.disjoint
    with pytest.raises(InputError, match="only 29 distinct problems that were not used before, 30 are wanted"):
        gym_mixture([TINY], 0, 30, apart=used)
