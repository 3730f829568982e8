"""The policy lab: exams against a slow recomputation, comparisons against brute force, better policies held out."""

import math
import random

import numpy as np
import pytest

from podium.board.frontier import Point, efficient, frontier_page
from podium.errors import InputError
from podium.records import Verdict
from podium.solve import Ledger, parse_policy
from podium.solve.lab import Bench, BenchProblem, compare, fit_optimal_stopping, hold_exams, optimal, optimise
from podium.solve.lab.curves import budget_curves
from podium.solve.lab.optimal import record_courses, run, states_of, waiting_windows
from podium.solve.lab.simulated import simulated_problems
from podium.solve.policy import Policy
from podium.solve.policyfile import policy_text, read_policy
from podium.solve.replay import play
from podium.solve.rules import OptimalStop, Plan
from podium.solve.trace import Trace, TracedAnswer


@pytest.mark.parametrize("name", ["winner", "runner-up", "notebook", "first_k_agree:3"])
def test_exams_are_what_playing_every_problem_gives(name):
    """The same draws, sat problem by problem with no memory of earlier ones."""
    problems = simulated_problems(15, 14, seed=4)
    bench, policy, budget, length, seed = Bench(problems, 12, decks=3, seed=9), parse_policy(name), 1500.0, 8, 5
    exams = hold_exams(bench, policy, budget=budget, length=length, exams=12, seed=seed)
    draw = np.random.default_rng(seed)
    chosen = draw.integers(0, 15, size=(12, length))
    decks = draw.integers(0, 3, size=(12, length))
    clock = policy.clock_for(Ledger(budget, length))
    for number in range(12):
        ledger, right = Ledger(budget, length), 0
        for problem, deck in zip(chosen[number], decks[number], strict=True):
            plan = policy.plan(clock, ledger, 12)
            played = play(policy, plan, bench.deck(int(problem), int(deck)))
            right += played.answer == 0
            ledger = ledger.settled(played.seconds)
        assert exams.scores[number] == pytest.approx(right / length)
        assert exams.seconds[number] == pytest.approx(ledger.elapsed)
        assert ledger.elapsed <= budget + 1e-6


def test_intervals_of_the_mean_cover_it():
    """Over many benches drawn from one population: 95 % of the intervals hold the population's score."""
    policy = parse_policy("first_k_agree:2")

    def scores(count: int, seed: int) -> list[float]:
        bench = Bench(simulated_problems(count, 6, seed=seed))
        return [bench.outcome(i, 0, policy, Plan(6)).score for i in range(count)]

    truth = float(np.mean(scores(3000, 10_000)))
    held = 0
    for seed in range(60):
        bench = Bench(simulated_problems(60, 6, seed=seed))
        low, high = hold_exams(bench, policy, budget=None, length=20, exams=100, seed=seed).interval()
        held += low <= truth <= high
    assert held / 60 >= 0.86


def test_two_policies_are_compared_on_the_same_draws():
    bench = Bench(simulated_problems(30, 8, seed=1))
    one = hold_exams(bench, parse_policy("all"), budget=None, exams=50)
    same = compare(one, hold_exams(bench, parse_policy("m_of_n:8"), budget=None, exams=50))
    assert (same.difference, same.low, same.high, same.seconds) == (0.0, 0.0, 0.0, pytest.approx(0.0))
    hurried = hold_exams(bench, parse_policy("m_of_n:1"), budget=None, exams=50)
    against = compare(hurried, one)
    assert against.difference == pytest.approx(hurried.score - one.score)
    assert against.seconds < 0


def test_a_second_opinion_that_decides_nothing_is_not_waited_for():
    """Of two attempts, each right half of the time, the second at best makes a tie: it is worth nothing."""
    draw = random.Random(0)
    problems = []
    for number in range(400):
        attempts = [_timed(5.0, int(draw.random() < 0.5)), _timed(15.0, int(draw.random() < 0.5))]
        problems.append(BenchProblem(str(number), tuple(attempts), frozenset({0})))
    courses = record_courses(Bench(problems), range(400))
    assert float(courses.score[:, 2].mean()) == pytest.approx(float(courses.score[:, 1].mean()), abs=0.05)
    assert waiting_windows(courses, 0.02)["1-0-1"][1] <= 6.0


def test_a_third_opinion_is_waited_for_when_it_is_cheap():
    """Three attempts, the second and third nearly always right, the first nearly never: a tie is worth breaking."""
    draw = random.Random(1)
    problems = []
    for number in range(300):
        answers = [int(draw.random() < 0.95), int(draw.random() < 0.1), int(draw.random() < 0.1)]
        attempts = [_timed(5.0 + i, answer) for i, answer in enumerate(answers)]
        problems.append(BenchProblem(str(number), tuple(attempts), frozenset({0})))
    courses = record_courses(Bench(problems), range(300))
    assert waiting_windows(courses, 0.001).get("1-1-2", (0.0, math.inf))[1] > 7.0
    assert waiting_windows(courses, 50.0)["1-1-2"][1] <= 6.5


def test_waiting_for_the_first_answer_pays_until_it_costs_more_than_it_is_worth():
    problems = [BenchProblem(str(i), (_timed(10.0 + i % 5, 0),), frozenset({0})) for i in range(50)]
    courses = record_courses(Bench(problems), range(50))
    cheap, dear = waiting_windows(courses, 0.01), waiting_windows(courses, 1.0)
    assert cheap.get("0-0-0", (0.0, math.inf))[1] >= 14.0
    assert dear["0-0-0"][1] == 0.0


def _timed(seconds: float, answer: int):
    from podium.solve.happening import Happening
    from podium.solve.replay import RecordedAttempt, Step

    return RecordedAttempt((Step(seconds, Happening(seconds, "end", 0, 10, answer)),))


def test_courses_stopped_by_windows_are_what_the_policy_does():
    """The fast evaluation inside the search against the rule itself, on the recorded courses."""
    n = 6
    problems = simulated_problems(40, n, seed=8)
    bench = Bench(problems)
    courses = record_courses(bench, range(40))
    draw = random.Random(3)
    closes = {state: draw.choice([0.0, 60.0, 120.0, 300.0, math.inf]) for state in states_of(n)}
    named = {"-".join(map(str, s)): (0.0, c) for s, c in closes.items() if s[2] < n and c < math.inf}
    table = np.asarray([closes[state] for state in states_of(n)])
    _, seconds = run(courses, table[courses.state])
    repeats = len(courses.score) // 40
    policy = Policy("windows", (OptimalStop((0.0,), (named,)),))
    for problem in range(40):
        played = play(policy, Plan(n), bench.deck(problem, 0))
        assert seconds[problem * repeats] == pytest.approx(played.seconds)


def test_what_is_fitted_survives_being_written_and_spends_what_it_has():
    bench = Bench(simulated_problems(60, 8, seed=2))
    policy = fit_optimal_stopping(bench)
    again = read_policy(policy_text(policy), "fitted.yaml")
    rule = policy.rules[0]
    assert isinstance(rule, OptimalStop)
    assert again == policy
    assert list(rule.pace) == sorted(rule.pace)
    assert all(windows.get("0-0-0", (0.0, math.inf))[1] > 0.0 for windows in rule.windows)
    policy.check(8)
    scores = []
    for share in (60.0, 150.0, 1000.0):
        exams = hold_exams(bench, again, budget=share * 20, length=20, exams=60)
        assert exams.seconds.max() <= share * 20 + 1e-6
        scores.append(exams.score)
    assert scores[0] < scores[2]


def test_optimising_judges_on_problems_that_were_not_fitted_to():
    bench = Bench(simulated_problems(60, 8, seed=6))
    found = optimise(bench, parse_policy("winner"), budget=110.0 * 20, length=20, folds=2)
    assert {candidate.family for candidate in found.candidates} == {
        "agreement", "window or count", "optimal stopping"
    }  # fmt: skip
    best = found.candidates[0]
    assert best.against.difference == max(c.against.difference for c in found.candidates)
    for candidate in found.candidates:
        assert candidate.held_out.seconds.max() <= found.budget + 1e-6  # never more time than the winner took
        assert len(candidate.held_out.scores) == len(found.reference.scores)
    # A tight clock is where the winner's fixed rule wastes most.
    assert best.against.difference > 0
    with pytest.raises(InputError, match="folds"):
        optimise(Bench(simulated_problems(5, 4)), parse_policy("all"), budget=None)


def test_the_frontier_is_what_nothing_beats():
    points = {
        "a": [Point(10, 0.5, 0.4, 0.6), Point(20, 0.7, 0.6, 0.8)],
        "b<script>": [Point(12, 0.45, 0.4, 0.5), Point(30, 0.7, 0.6, 0.8), Point(15, 0.65, 0.6, 0.7)],
    }
    front = efficient(points)
    every = [(name, p) for name, ps in points.items() for p in ps]
    for name, point in every:
        beaten = any(
            other.seconds <= point.seconds and other.score >= point.score and other is not point for _, other in every
        )
        assert ((name, point) in front) == (not beaten)
    page = frontier_page("T", ["n"], points)
    assert "b<script>" not in page
    assert page.count("b&lt;script&gt;: ") == 2 * 3  # a point of the wide and of the narrow chart has its title
    assert page.count("<circle") == 2 * 5


def trace(problem: str, attempts: list[list[tuple[float, str, int, int | None]]]) -> Trace:
    """A trace with all attempts started at once; answer class 0 is right."""
    events = [(0.0, "start", i, 0, None, "eos") for i in range(len(attempts))]
    rest = [(t, kind, i, tokens, a, "eos") for i, each in enumerate(attempts) for t, kind, tokens, a in each]
    events += sorted(rest, key=lambda event: event[0])
    answers = (TracedAnswer(answer="7", verdict=Verdict.CORRECT), TracedAnswer(answer="8", verdict=Verdict.WRONG))
    starts = tuple((0, "start", i, "", ()) for i in range(len(attempts)))
    return Trace(
        problem_id=problem, model="m", policy="all", attempts=len(attempts), answers=answers, events=tuple(events),
        actions=starts, used_seconds=max(event[0] for event in events),
    )  # fmt: skip


def test_accuracy_by_tokens_and_by_seconds():
    rows = [
        trace("a", [[(1.0, "answer", 10, 1), (4.0, "answer", 40, 0), (8.0, "end", 80, 0)], [(2.0, "end", 20, 0)]]),
        trace("b", [[(8.0, "end", 80, None)], [(3.0, "answer", 30, 0), (6.0, "end", 60, 0)]]),
    ]
    curves = budget_curves(rows, points=4)
    assert [point.budget for point in curves.tokens] == [10, 20, 40, 80]
    assert [point.single.value for point in curves.tokens] == [0.0, 0.25, 0.75, 0.75]
    # At 20 tokens problem a has one vote each way: the shorter attempt's wins, and it is the wrong one.
    assert [point.vote.value for point in curves.tokens] == [0.0, 0.0, 1.0, 1.0]
    assert [point.ended for point in curves.tokens] == [0.0, 0.25, 0.25, 1.0]
    assert [point.budget for point in curves.seconds] == [1.0, 2.0, 4.0, 8.0]
    assert [point.single.value for point in curves.seconds] == [0.0, 0.0, 0.5, 0.75]
    assert curves.broken_off == 0


def test_where_time_is_plenty_the_fitted_policy_waits_longer_than_any_price_would_have_it():
    bench = Bench(simulated_problems(120, 12, seed=3))
    (rule,) = fit_optimal_stopping(bench).rules
    assert isinstance(rule, OptimalStop)
    rule.check(12)
    courses = optimal.record_courses(bench, range(120))
    at_no_price = optimal._pace(courses, optimal.waiting_windows(courses, 1e-9))
    everything = float(courses.arrival[:, -1].mean())
    assert at_no_price < rule.pace[-1] <= everything
    # each level takes what it says it takes
    for pace, windows in zip(rule.pace, rule.windows, strict=True):
        assert optimal._pace(courses, dict(windows)) == pytest.approx(pace, abs=1e-2)
