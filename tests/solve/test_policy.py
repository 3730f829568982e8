"""Policies, driven by a simulation with its own time: nothing here waits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.solve import parse_policy
from podium.solve.policy import Action, Happening, Policy, Setting


def same_string(answers: Sequence[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for position, answer in enumerate(answers):
        groups.setdefault(answer, []).append(position)
    return list(groups.values())


@dataclass
class Outcome:
    rule: str
    voters: tuple[int, ...]
    time: float
    finished: list[str | None]  # answers in the order of finishing
    most_at_once: int
    started: list[int]
    cancelled: set[int]


def simulate(
    policy: Policy,
    attempts: list[tuple[float, str | None]],
    *,
    parallel: int | None = None,
    seconds: float | None = None,
    failing: frozenset[int] = frozenset(),
) -> Outcome:
    """Attempts are (duration, answer); an attempt's answer is seen half-way."""
    setting = Setting(len(attempts), same_string, parallel, seconds)
    history: list[Happening] = []
    agenda: list[Happening] = []
    now, rule, most, started, cancelled = 0.0, "", 0, [], set()
    while True:
        for action in policy(history, setting):
            if action.kind == "start":
                duration, answer = attempts[action.index]
                started.append(action.index)
                history.append(Happening(now, "start", action.index))
                if answer is not None:
                    agenda.append(Happening(now + duration / 2, "answer", action.index, answer))
                reason = "error" if action.index in failing else "eos"
                agenda.append(Happening(now + duration, "end", action.index, answer, reason))
            elif action.kind == "cancel":
                cancelled.add(action.index)
            elif action.kind == "stop":
                rule = action.rule
            else:
                ended = [h for h in history if h.kind == "end"]
                finished = [h.answer for h in ended if h.reason == "eos"]
                return Outcome(rule, action.attempts, now, finished, most, started, cancelled)
        most = max(most, len(started) - sum(h.kind == "end" for h in history))
        assert agenda or seconds is not None, "the policy waits for nothing"
        upcoming = min(agenda, key=lambda h: h.time, default=None)
        if seconds is not None and (upcoming is None or upcoming.time >= seconds):
            now = seconds
            history.append(Happening(now, "tick"))
        else:
            assert upcoming is not None
            agenda.remove(upcoming)
            now = upcoming.time
            history.append(upcoming)


durations = st.integers(1, 1000).map(float)
answers = st.sampled_from([None, "1", "2", "3"])
attempt_lists = st.lists(st.tuples(durations, answers), min_size=5, max_size=16)
policies = st.sampled_from(["all", "first_k_agree:2", "first_k_agree:4,within=5", "m_of_n:3", "paper"])
optional_parallel = st.none() | st.integers(1, 16)


def largest(finished: list[str | None]) -> int:
    return max(Counter(answer for answer in finished if answer is not None).values(), default=0)


@given(policies, attempt_lists, optional_parallel, st.none() | st.floats(0, 2000), st.frozensets(st.integers(0, 15)))
def test_every_policy_answers_and_leaves_nothing_running(name, attempts, parallel, seconds, failing):
    outcome = simulate(parse_policy(name), attempts, parallel=parallel, seconds=seconds, failing=failing)
    assert outcome.rule
    assert outcome.most_at_once <= (parallel or len(attempts))
    assert len(set(outcome.started)) == len(outcome.started)
    if seconds is not None:
        assert outcome.time <= seconds
    if outcome.rule == "all":
        assert sorted(outcome.started) == list(range(len(attempts)))
    boxed = {index for index in outcome.started if attempts[index][1] is not None}
    assert set(outcome.voters) <= boxed
    if any(answer is not None for answer in outcome.finished):
        assert outcome.voters


@given(attempt_lists, optional_parallel, st.integers(1, 5))
def test_agreement_stops_at_the_first_moment_it_exists_and_never_before(attempts, parallel, k):
    outcome = simulate(parse_policy(f"first_k_agree:{k}"), attempts, parallel=parallel)
    if outcome.rule == "all":
        assert largest(outcome.finished) < k
    else:
        assert largest(outcome.finished) == k
        assert largest(outcome.finished[:-1]) == k - 1


@given(attempt_lists, optional_parallel, st.integers(1, 5), st.integers(0, 3))
def test_agreement_within_looks_no_further(attempts, parallel, k, more):
    outcome = simulate(parse_policy(f"first_k_agree:{k},within={k + more}"), attempts, parallel=parallel)
    if outcome.rule == "all":
        assert largest(outcome.finished[: k + more]) < k
    else:
        assert len(outcome.finished) <= k + more
        assert largest(outcome.finished) == k


@given(attempt_lists, optional_parallel, st.integers(1, 5))
def test_m_of_n_waits_for_exactly_m(attempts, parallel, m):
    outcome = simulate(parse_policy(f"m_of_n:{m}"), attempts, parallel=parallel)
    assert len(outcome.finished) == m
    assert len(outcome.cancelled) == len(outcome.started) - m


@given(attempt_lists)
def test_the_papers_rule_fires_on_agreement_or_on_the_last_stragglers(attempts):
    outcome = simulate(parse_policy("paper"), attempts)
    finished = outcome.finished
    if outcome.rule == "first_k_agree:4,within=5":
        assert largest(finished) == 4
        assert len(finished) <= 5
    else:
        assert outcome.rule == "stragglers:2"
        assert len(finished) == len(attempts) - 2
        assert largest(finished[:5]) < 4 or len(finished) < 4


def test_ten_of_twelve_as_in_the_notebook():
    outcome = simulate(parse_policy("m_of_n:10"), [(float(i + 1), "7") for i in range(12)])
    assert (outcome.time, outcome.cancelled) == (10.0, {10, 11})


def test_the_rule_given_first_is_the_one_that_is_named():
    attempts = [(float(i + 1), "7") for i in range(6)]
    assert simulate(parse_policy("m_of_n:3+first_k_agree:3"), attempts).rule == "m_of_n:3"
    assert simulate(parse_policy("first_k_agree:3 + m_of_n:3"), attempts).rule == "first_k_agree:3"


def test_what_was_boxed_before_the_deadline_votes():
    outcome = simulate(parse_policy("all"), [(10.0, "1"), (30.0, "2"), (90.0, "3")], seconds=20.0)
    assert (outcome.rule, outcome.voters, outcome.cancelled) == ("clock", (0, 1), {1, 2})


def test_stragglers_do_not_vote_unless_nobody_else_answered():
    attempts = [(10.0, "1"), (11.0, "2"), (12.0, "2")]
    assert simulate(parse_policy("m_of_n:1"), attempts).voters == (0,)
    attempts[0] = (10.0, None)
    assert simulate(parse_policy("m_of_n:1"), attempts).voters == (1, 2)


def test_failed_attempts_count_for_no_rule():
    outcome = simulate(parse_policy("first_k_agree:2"), [(1.0, "1"), (2.0, "1"), (3.0, "1")], failing=frozenset({0}))
    assert (outcome.time, outcome.voters) == (3.0, (1, 2))


def test_a_policy_is_pure():
    policy = parse_policy("paper")
    setting = Setting(4, same_string)
    history = [Happening(0.0, "start", i) for i in range(4)]
    assert policy(history, setting) == policy(list(history), setting) == ()
    assert policy([], setting) == tuple(Action("start", i) for i in range(4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first_k_agre:4", "did you mean 'first_k_agree'"),
        ("first_k_agree", "k is missing"),
        ("first_k_agree:four", "k is 'four'"),
        ("first_k_agree:4,withn=5", "did you mean 'within'"),
        ("m_of_n:3,4", "takes 1 values"),
        ("all:3", "takes 0 values"),
        ("paper+", "no rule is called ''"),
    ],
)
def test_misspelt_policies_say_what_was_meant(text, message):
    with pytest.raises(InputError) as caught:
        parse_policy(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "n"), [("first_k_agree:5", 4), ("first_k_agree:0", 4), ("m_of_n:10", 8), ("m_of_n:0", 8), ("paper", 2)]
)
def test_rules_that_could_never_fire_are_refused(text, n):
    with pytest.raises(InputError):
        parse_policy(text).check(n)
    parse_policy("first_k_agree:4,within=5+m_of_n:8").check(8)
