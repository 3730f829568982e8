import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.solve import Ledger, Pool, PoolClock
from podium.solve.clock import Even, Speed, SpeedStep, drawn, parse_seconds, pool
from podium.solve.policyfile import parse_policy

PAPER = Pool().scaled(350 * 50, 50)


def test_the_papers_numbers():
    ledger = Ledger(350 * 50, 50)
    assert PAPER.grant(ledger).seconds == 350  # an empty pool gives nothing
    ledger = ledger.settled(50)
    assert pool(PAPER, ledger) == 300
    assert PAPER.grant(ledger).seconds == 560  # 350 + 210, though the pool holds 300
    ledger = ledger.settled(500)
    assert (drawn(PAPER, 500), pool(PAPER, ledger)) == (150, 150)
    assert PAPER.grant(ledger).seconds == 500  # 350 + what is left


def test_the_winner_has_the_papers_numbers_in_five_hours_and_scales_with_the_exam():
    clock = parse_policy("winner").clock.scaled(5 * 3600, 50)
    assert clock == PoolClock(350, 210, 560)
    tenth = parse_policy("winner").clock.scaled(5 * 360, 50)
    assert tenth == PoolClock(35, 21, 56)


def test_scaling_keeps_the_proportions_and_the_whole():
    clock = Pool().scaled(60, problems=50)
    assert clock.base * 50 == pytest.approx(60)
    assert (clock.draw / clock.base, clock.cap / clock.base) == (pytest.approx(0.6), pytest.approx(1.6))


def test_an_overrun_is_shared_by_all_that_are_left():
    clock, ledger = PoolClock(base=10, draw=6, cap=16), Ledger(50, 5)
    assert clock.grant(ledger.settled(11)).seconds == 9.75  # 1 s over four problems
    assert clock.grant(ledger.settled(11).settled(30)).seconds == 3  # 21 s over three: 9 s are left


def test_time_between_problems_is_shared_by_all_that_are_left_too():
    clock, ledger = PoolClock(base=10, draw=6, cap=16), Ledger(50, 5)
    assert clock.grant(ledger.settled(4, elapsed=12)).seconds == 9.5


@pytest.mark.parametrize(("load", "first"), [(350, 343), (3_500, 280), (17_000, 20 / 2), (17_999, 0.01), (18_000, 0)])
def test_a_slow_load_does_not_cost_the_first_problem_its_time(load, first):
    """Of 18,000 s for 50 problems 500 s are in reserve; where those are gone as well, half of what is left counts."""
    clock = parse_policy("winner").clock.scaled(18_000, 50)
    assert clock.grant(Ledger(18_000, 50, (), load)).seconds == pytest.approx(first)


def test_after_a_slow_load_nobody_is_left_without_time():
    clock, ledger = parse_policy("winner").clock.scaled(3_600, 10), Ledger(3_600, 10, (), 1_800)
    granted = []
    for _ in range(10):
        granted.append(clock.grant(ledger).seconds)
        ledger = ledger.settled(granted[-1])
    assert min(granted) > 0.45 * max(granted)
    assert ledger.elapsed <= 3_600


@pytest.mark.parametrize("arguments", [(0, 1, 2), (10, -1, 20), (10, 6, 5)])
def test_numbers_that_do_not_fit_are_refused(arguments):
    with pytest.raises(InputError, match="do not fit together"):
        PoolClock(*arguments)


@pytest.mark.parametrize("arguments", [(0, 5), (60, 0), (-1, 5)])
def test_an_empty_budget_is_refused(arguments):
    with pytest.raises(InputError, match="positive budget"):
        Pool().scaled(*arguments)


def test_the_runner_ups_controller_looks_every_second_question_from_the_thirtieth_on():
    clock = parse_policy("runner-up").clock.scaled(18_000, 50)

    def samples(used: list[float]) -> int | None:
        return clock.grant(Ledger.after(18_000, 50, used)).attempts

    assert samples([10.0] * 29) == 15  # plenty of time, but not looked yet
    assert samples([360.0] * 30) == 15  # 360 s left per question: below 370
    assert samples([299.0] * 30) == 17  # 451 s
    assert samples([330.0] * 30) == 16  # 405 s
    assert samples([380.0] * 30) == 12  # 330 s
    assert samples([420.0] * 30) == 10  # 270 s
    slow_31st = [299.0] * 30 + [5_000.0]
    assert samples(slow_31st) == 17  # the 31st is not looked at before the 32nd is done
    assert samples([*slow_31st, 10.0]) == 10


def test_a_speed_step_never_grants_more_than_is_left():
    steps = (SpeedStep(float("inf"), 15, 600.0),)
    clock = Speed(steps, 0).scaled(18_000, 50)
    assert clock.grant(Ledger.after(18_000, 50, [440.0] * 40)).seconds == 400
    assert clock.grant(Ledger.after(18_000, 50, [450.0] * 40)).seconds == 0


clocks = st.sampled_from([Pool(), Even(1.0), Even(3.0), *(parse_policy(p).clock for p in ("winner", "runner-up"))])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(1, 1e5), clocks)
def test_whoever_keeps_to_the_grant_never_exceeds_the_budget(shares, budget, made):
    clock, ledger = made.scaled(budget, len(shares)), Ledger(budget, len(shares))
    for share in shares:
        granted = clock.grant(ledger).seconds
        assert granted >= 0
        before, half, used = pool(clock, ledger), ledger.pace / 2, share * granted
        ledger = ledger.settled(used)
        if isinstance(clock, PoolClock):
            assert min(clock.cap, half) * (1 - 1e-9) <= granted <= clock.cap * (1 + 1e-9)
            assert drawn(clock, used) <= max(0.0, min(clock.draw, before), half - clock.base) + 1e-6 * budget
    assert ledger.elapsed <= budget * (1 + 1e-9)
    assert sum(ledger.used) + pool(clock, ledger) == pytest.approx(clock.base * len(shares), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(1, 1e5), st.floats(0, 1.2), clocks)
def test_whatever_was_lost_before_the_first_problem_the_exam_ends_in_time(shares, budget, lost, made):
    """Every problem is granted something while time remains, and half of its share under a pool."""
    clock, ledger = made.scaled(budget, len(shares)), Ledger(budget, len(shares), (), lost * budget)
    for share in shares:
        granted = clock.grant(ledger).seconds
        assert (granted > 0) == (ledger.left > 0)
        if isinstance(clock, PoolClock):
            assert granted >= min(clock.cap, ledger.pace / 2) * (1 - 1e-9)
        ledger = ledger.settled(share * granted)
    assert ledger.elapsed <= max(1.0, lost) * budget * (1 + 1e-9)


def test_a_policy_tells_what_it_assumes():
    def told(name: str, budget: float | None, n: int) -> str:
        policy = parse_policy(name)
        return policy.assumes(policy.clock_for(Ledger(budget, 50)), n)

    assert told("winner", 18_000, 12) == (
        "winner: 12 attempts per problem; 350 s per problem, up to 210 s more from time that others left over, 560 s "
        "at most"
    )
    assert told("winner", 1_800, 6).startswith("winner: 6 attempts per problem, made for 12 attempts; 35 s per problem")
    assert "after 30 problems 570 to 720 s" in told("runner-up", 18_000, 15)
    assert told("all", None, 4) == "all: 4 attempts per problem; no clock, every rule waits as long as it takes"


@given(st.lists(st.floats(0, 600), max_size=30))
def test_restoring_gives_the_same_ledger(used):
    sat = Ledger(1e4, 50)
    for seconds in used:
        sat = sat.settled(seconds)
    assert Ledger.after(1e4, 50, used) == sat


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5h", 18_000), ("90m", 5_400), ("1h30m", 5_400), ("45s", 45), ("300", 300), ("0.5h", 1_800), ("1h2m3s", 3_723)],
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 hours", "0", "h"])
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="no time"):
        parse_seconds(text)
