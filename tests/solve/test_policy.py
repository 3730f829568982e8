"""Policies, driven by a simulation with its own time: nothing here waits."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.solve import Policy, parse_policy, shipped
from podium.solve.happening import Action, Happening
from podium.solve.policy import Proctor
from podium.solve.policyfile import policy_text, read_policy
from podium.solve.rules import OptimalStop, Plan


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
    proctor = Proctor(policy, Plan(len(attempts), parallel, seconds))
    ended: list[Happening] = []
    agenda: list[Happening] = []
    now, rule, most, started, cancelled = 0.0, "", 0, [], set()
    running: set[int] = set()
    actions = list(proctor.begin())
    while True:
        while actions:
            action = actions.pop(0)
            if action.kind == "start":
                duration, answer = attempts[action.attempt]
                number = None if answer is None else int(answer)
                started.append(action.attempt)
                running.add(action.attempt)
                if answer is not None:
                    agenda.append(Happening(now + duration / 2, "answer", action.attempt, answer=number))
                reason = "error" if action.attempt in failing else "eos"
                agenda.append(Happening(now + duration, "end", action.attempt, answer=number, reason=reason))
                actions += proctor.feed(Happening(now, "start", action.attempt))
            elif action.kind == "cancel":
                cancelled.add(action.attempt)
            elif action.kind == "stop":
                rule = action.rule
            else:
                finished = [None if h.answer is None else str(h.answer) for h in ended if h.reason == "eos"]
                return Outcome(rule, action.voters, now, finished, most, started, cancelled)
        most = max(most, len(running))
        look = proctor.next_look
        assert agenda or look is not None, "the policy waits for nothing"
        upcoming = min(agenda, key=lambda h: h.time, default=None)
        if look is not None and (upcoming is None or upcoming.time >= look):
            now = look
            actions += proctor.feed(Happening(now, "tick"))
        else:
            assert upcoming is not None
            agenda.remove(upcoming)
            now = upcoming.time
            if upcoming.kind == "end":
                ended.append(upcoming)
                running.discard(upcoming.attempt)
            actions += proctor.feed(upcoming)


durations = st.integers(1, 1000).map(float)
answers = st.sampled_from([None, "1", "2", "3"])
attempt_lists = st.lists(st.tuples(durations, answers), min_size=5, max_size=16)
policies = st.sampled_from(
    ["all", "first_k_agree:2", "first_k_agree:4,within=5", "m_of_n:3", "paper", "last_agree:3,last=4",
     "enough:2,share=0.5+first_k_agree:3", "tokens:5", *shipped()]
)  # fmt: skip
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
    policy, plan = parse_policy("paper"), Plan(4)
    history = [Happening(0.0, "start", i) for i in range(4)]
    assert policy.decide(history, plan) == policy.decide(list(history), plan) == ()
    assert policy.decide([], plan) == tuple(Action("start", i) for i in range(4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first_k_agre:4", "did you mean 'first_k_agree'"),
        ("runnerup", "did you mean 'runner-up'"),
        ("nudge:share=soon", "share is 'soon'"),
        ("no/such/policy.yaml", "no such file"),
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
    ("text", "n"),
    [
        ("first_k_agree:5", 4),
        ("first_k_agree:0", 4),
        ("m_of_n:10", 8),
        ("m_of_n:0", 8),
        ("paper", 2),
        ("last_agree:3,last=9", 8),
        ("enough:2,share=1", 8),
        ("nudge", 8),
        ("tokens:0", 8),
        ("runner-up", 4),
    ],
)
def test_rules_that_could_never_fire_are_refused(text, n):
    with pytest.raises(InputError):
        parse_policy(text).check(n)
    parse_policy("first_k_agree:4,within=5+m_of_n:8").check(8)


@pytest.mark.parametrize(
    ("answers", "rule", "finished"),
    [
        ("1111", "first_k_agree:4,within=4", 4),
        ("21111", "last_agree:4,last=5", 5),
        ("211211", "last_agree:4,last=5", 6),
        ("1121211", "first_k_agree:5,within=7", 7),
        ("121121211", "first_k_agree:6,within=9", 9),
        ("121212121212121", "all", 15),
        ("121312131213", "all", 15),
    ],
)
def test_the_runner_ups_four_rules(answers, rule, finished):
    attempts = [(float(i + 1), answer) for i, answer in enumerate(answers)]
    attempts += [(float(i + 1), None) for i in range(len(answers), 15)]
    outcome = simulate(parse_policy("runner-up"), attempts)
    assert (outcome.rule, outcome.time) == (rule, float(finished))


@given(attempt_lists, st.integers(1, 5), st.integers(0, 3))
def test_the_last_window_counts_only_itself(attempts, k, more):
    outcome = simulate(parse_policy(f"last_agree:{k},last={k + more}"), attempts)
    window = k + more
    moments = [n for n in range(window, len(outcome.finished) + 1) if largest(outcome.finished[n - window : n]) >= k]
    if outcome.rule == "all":
        assert not moments
    else:
        assert moments == [len(outcome.finished)]


def test_enough_answers_after_a_share_of_the_time_without_anything_happening():
    attempts = [(10.0, "1"), (20.0, "2"), (30.0, None), (900.0, "3")]
    outcome = simulate(parse_policy("enough:2,share=0.6"), attempts, seconds=100.0)
    assert (outcome.rule, outcome.time, outcome.cancelled) == ("enough:2,share=0.6", 60.0, {3})
    assert simulate(parse_policy("enough:3,share=0.6"), attempts, seconds=100.0).rule == "clock"


def test_a_problem_without_time_is_answered_at_once():
    outcome = simulate(parse_policy("winner"), [(1.0, "1")] * 12, seconds=0.0)
    assert (outcome.rule, outcome.voters, outcome.started) == ("clock", (), [])


def writing(proctor: Proctor, tokens: dict[int, int], time: float) -> list[Action]:
    return [a for i, n in tokens.items() for a in proctor.feed(Happening(time, "tokens", i, n))]


def test_attempts_that_box_nothing_are_nudged_once():
    proctor = Proctor(parse_policy("nudge:tokens=100,share=0.8"), Plan(3, None, 50.0))
    for action in proctor.begin():
        proctor.feed(Happening(0.0, "start", action.attempt))
    assert writing(proctor, {0: 99, 1: 50, 2: 50}, 1.0) == []
    proctor.feed(Happening(2.0, "answer", 1, 60, answer=0))
    told = writing(proctor, {0: 100, 1: 300}, 3.0)
    assert [(a.kind, a.attempt) for a in told] == [("nudge", 0)]
    proctor.feed(Happening(3.0, "nudge", 0, 100))
    assert writing(proctor, {0: 200}, 4.0) == []
    assert proctor.next_look == 40.0
    late = proctor.feed(Happening(40.0, "tick"))
    assert [(a.kind, a.attempt) for a in late] == [("nudge", 2)]
    proctor.feed(Happening(40.1, "nudge", 2, 50))
    assert proctor.next_look == 50.0


def test_token_budgets_cut_one_attempt_or_end_the_problem():
    proctor = Proctor(parse_policy("attempt_tokens:100+tokens:250"), Plan(3))
    for action in proctor.begin():
        proctor.feed(Happening(0.0, "start", action.attempt))
    assert writing(proctor, {0: 80, 1: 100}, 1.0) == [Action("cancel", 1, "attempt_tokens")]
    assert writing(proctor, {1: 105}, 1.5) == []  # told once
    assert proctor.feed(Happening(2.0, "end", 1, 105, answer=4, reason="length")) == ()
    told = writing(proctor, {2: 65}, 3.0)
    assert [a.kind for a in told] == ["cancel", "cancel", "stop", "answer"]
    assert (told[2].rule, told[3].voters) == ("tokens:250", (1,))


def test_optimal_stopping_waits_as_long_as_its_level_says():
    rule = OptimalStop((10.0, 30.0), ({"1-0-1": (0.0, 5.0)}, {"1-0-1": (0.0, 20.0), "2-0-2": (0.0, 0.0)}))
    policy = Policy("fitted", (rule,))
    attempts = [(2.0, "1"), (40.0, "1"), (90.0, "2")]

    def stopped(pace: float) -> float:
        proctor = Proctor(policy, Plan(3, None, 100.0, pace))
        for action in proctor.begin():
            proctor.feed(Happening(0.0, "start", action.attempt))
        proctor.feed(Happening(attempts[0][0], "end", 0, answer=1))
        look = proctor.next_look
        assert look is not None
        assert proctor.feed(Happening(look, "tick"))[-1] == Action("answer", voters=(0,))
        return look

    assert [stopped(pace) for pace in (5.0, 10.0, 29.0, 30.0, 1e9)] == [5.0, 5.0, 5.0, 20.0, 20.0]


@pytest.mark.parametrize("name", shipped())
def test_shipped_policies_survive_being_written(name):
    policy = parse_policy(name)
    assert policy.about
    policy.check(policy.attempts or 12)
    assert read_policy(policy_text(policy), "again") == policy


def test_a_policy_file_says_rules_as_lines_or_as_mappings(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nrules:\n  - first_k_agree:3,within=4+m_of_n:5\n  - stragglers: 1\n  - nudge: {share: 0.9}\n"
    )
    policy = parse_policy(str(path))
    assert [rule.name for rule in policy.rules] == [
        "first_k_agree:3,within=4",
        "m_of_n:5",
        "stragglers:1",
        "nudge:share=0.9",
    ]
    assert read_policy(policy_text(policy), "again") == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not YAML"),
        ("rules: []", "name"),
        ("{name: a, rules: [{m_of_m: 3}]}", "did you mean 'm_of_n'"),
        ("{name: a, rules: [{m_of_n: {m: x}}]}", "m is 'x'"),
        ("{name: a, clock: {kind: poool, base: 1}}", "clock"),
        ("{name: a, clock: {kind: pool, base: 10, draw: 0, cap: -1, share: 10}}", "clock.pool.cap"),
        ("{name: a, colour: red}", "colour"),
    ],
)
def test_a_policy_file_with_a_mistake_says_which(text, message):
    with pytest.raises(InputError) as caught:
        read_policy(text, "mine.yaml")
    assert "mine.yaml" in str(caught.value)
    assert message in str(caught.value)
