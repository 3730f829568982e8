import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.solve import ExamClock


def test_the_papers_numbers():
    clock = ExamClock()
    assert clock.grant() == 350  # an empty pool gives nothing
    clock.spend(50)
    assert clock.pool == 300
    assert clock.grant() == 560  # 350 + 210, though the pool holds 300
    spent = clock.spend(500)
    assert (spent.drawn, spent.pool) == (150, 150)
    assert clock.grant() == 500  # 350 + what is left


def test_scaling_keeps_the_proportions_and_the_whole():
    clock = ExamClock.scaled(60, problems=50)
    assert clock.base * 50 == pytest.approx(60)
    assert (clock.draw / clock.base, clock.cap / clock.base) == (pytest.approx(0.6), pytest.approx(1.6))
    assert ExamClock.scaled(350 * 50, problems=50) == ExamClock()


def test_an_overrun_is_paid_by_the_next_problems():
    clock = ExamClock(base=10, draw=6, cap=16)
    clock.spend(11)
    assert clock.grant() == 9
    clock.spend(30)
    assert clock.grant() == 0


@pytest.mark.parametrize("arguments", [(0, 1, 2), (10, -1, 20), (10, 6, 5)])
def test_numbers_that_do_not_fit_are_refused(arguments):
    with pytest.raises(InputError, match="do not fit together"):
        ExamClock(*arguments)


@pytest.mark.parametrize("arguments", [(0, 5), (60, 0), (-1, 5)])
def test_an_empty_budget_is_refused(arguments):
    with pytest.raises(InputError, match="positive budget"):
        ExamClock.scaled(*arguments)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(1, 1e5))
def test_whoever_keeps_to_the_grant_never_exceeds_the_budget(shares, budget):
    clock = ExamClock.scaled(budget, len(shares))
    total = 0.0
    for share in shares:
        granted = clock.grant()
        assert 0 <= granted <= clock.cap * (1 + 1e-9)
        used = share * granted
        before = clock.pool
        spent = clock.spend(used)
        assert spent.drawn <= max(0.0, min(clock.draw, before)) + 1e-6 * budget
        total += used
    assert total <= budget * (1 + 1e-9)


@given(st.lists(st.floats(0, 600), max_size=30))
def test_restoring_gives_the_same_pool(used):
    sat, resumed = ExamClock(), ExamClock()
    for seconds in used:
        sat.spend(seconds)
    resumed.restore(used)
    assert resumed == sat
