"""Replay against exams that were really sat: by scripts that take their time, in real folders."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering.protocol import Completer, CompletionUsage, Piece
from podium.folders import ExamFolder
from podium.records import ExamResult, Problem, Verdict
from podium.solve import ExamConfig, parse_policy, sit_exam
from podium.solve.happening import Happening
from podium.solve.lab.outcomes import course
from podium.solve.replay import RecordedAttempt, Step, first_difference, play, recorded_attempts, vote
from podium.solve.rules import Plan
from podium.solve.trace import Trace, TracedAnswer, read_traces
from podium.storage import read_rows


class Pondering(Completer):
    """A completer whose answers take a while; right two times in three, by its seed."""

    name = "pondering"

    async def start(self, prompt, sampling):
        return Pondered(random.Random(sampling.seed), int(prompt[-1].content.split()[2]))

    async def close(self):
        pass


class Pondered:
    def __init__(self, draw, number):
        self.draw, self.number, self.usage, self.over = draw, number, CompletionUsage(), False

    async def __aiter__(self) -> AsyncIterator[Piece]:
        for _ in range(self.draw.randint(1, 12)):
            await asyncio.sleep(self.draw.uniform(0.0005, 0.004))
            self.usage.completion_tokens += 40
            yield Piece("word " * 40, tokens=(1,) * 40)
        answer = 2 * self.number + 1 if self.draw.random() < 0.6 else self.draw.randint(0, 2)
        if self.draw.random() < 0.9:
            yield Piece(f"\\boxed{{{answer}}}", tokens=(1,))
        await asyncio.sleep(self.draw.uniform(0.0005, 0.004))
        yield Piece("", finish="eos")

    async def cancel(self):
        return self.usage


def sums(n: int) -> list[Problem]:
    return [Problem(id=f"sum-{i}", text=f"What is {i} + {i + 1}?", answer=str(2 * i + 1)) for i in range(n)]


async def record(folder, **config) -> tuple[list[Trace], list[ExamResult]]:
    await sit_exam(sums(6), Pondering(), None, ExamConfig(**config), folder)
    return read_traces([folder]), read_rows(folder / "results.jsonl", ExamResult)


LIVE = [
    {"attempts": 8, "policy": "all"},
    {"attempts": 8, "policy": "first_k_agree:3", "parallel": 3},
    {"attempts": 12, "policy": "winner", "budget_seconds": 20.0},
    {"attempts": 15, "policy": "runner-up", "budget_seconds": 20.0},
    {"attempts": 12, "policy": "notebook", "budget_seconds": 0.1},
    {"attempts": 8, "policy": "attempt_tokens:128+tokens:1200"},
    {"attempts": 8, "policy": "m_of_n:5", "parallel": 2, "budget_seconds": 0.2},
]


@pytest.mark.parametrize("config", LIVE, ids=lambda config: config["policy"])
async def test_a_recorded_exam_is_decided_again_event_for_event(tmp_path, config):
    traces, results = await record(tmp_path, **config)
    policy = parse_policy(config["policy"])
    assert [trace.problem_id for trace in traces] == [f"sum-{i}" for i in range(6)]
    for trace, result in zip(traces, results, strict=True):
        assert first_difference(trace, policy) is None
        # Playing the recorded attempts, started when the policy says so, brings the same stream again.
        played = play(policy, trace.plan, recorded_attempts(trace))
        live = [h for h, _ in trace.stream().steps]
        again = [h for h, _ in played.stream]
        assert [h._replace(time=0.0) for h in again] == [h._replace(time=0.0) for h in live]
        assert [h.time for h in again] == pytest.approx([h.time for h in live])
        assert [actions for _, actions in played.stream] == [actions for _, actions in trace.stream().steps]
        assert played.rule == result.stop_rule
        assert not played.outran
        if played.answer is None:
            assert result.answer is None
        else:
            row = trace.answers[played.answer]
            assert row.verdict is result.verdict
            assert row.answer == result.answer


async def test_a_trace_that_was_changed_is_found_out(tmp_path):
    traces, _ = await record(tmp_path, attempts=8, policy="first_k_agree:3")
    policy = parse_policy("first_k_agree:3")
    trace = traces[0]
    finishing = [n for n, event in enumerate(trace.events) if event[1] == "end"]
    events = list(trace.events)
    events[finishing[0]] = (*events[finishing[0]][:4], 99, "eos")
    events[finishing[1]] = (*events[finishing[1]][:4], 98, "eos")
    events[finishing[2]] = (*events[finishing[2]][:4], 97, "eos")
    assert first_difference(trace.model_copy(update={"events": tuple(events)}), policy) is not None
    assert first_difference(trace, parse_policy("first_k_agree:2")) is not None
    assert first_difference(trace, policy) is None


async def test_traces_hold_verdicts_of_all_answers_and_no_text(tmp_path):
    traces, results = await record(tmp_path, attempts=8, policy="all")
    for trace, result in zip(traces, results, strict=True):
        for row in trace.answers:
            right = row.answer == result.problem.answer
            assert row.verdict is (Verdict.CORRECT if right else Verdict.WRONG)
        answered = {a.index: a.answer for a in result.attempts}
        for number, attempt in enumerate(recorded_attempts(trace)):
            end = attempt.steps[-1].happening
            assert (end.kind, end.tokens) == ("end", result.attempts[number].usage.completion_tokens)
            assert answered[number] == (None if end.answer is None else trace.answers[end.answer].answer)
    assert "word" not in ExamFolder(tmp_path).traces.read_text()
    assert "What is" not in ExamFolder(tmp_path).traces.read_text()


async def test_traces_survive_a_broken_exam(tmp_path):
    await record(tmp_path, attempts=3, policy="all")
    rows = ExamFolder(tmp_path).traces.read_bytes().splitlines(keepends=True)
    results = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    # Killed after the fourth trace and before its result, in the middle of a line.
    ExamFolder(tmp_path).traces.write_bytes(b"".join(rows[:4]) + rows[4][:50])
    (tmp_path / "results.jsonl").write_bytes(b"".join(results[:3]))
    traces, _ = await record(tmp_path, attempts=3, policy="all")
    assert [trace.problem_id for trace in traces] == [f"sum-{i}" for i in range(6)]
    assert ExamFolder(tmp_path).traces.read_bytes().splitlines(keepends=True)[:3] == rows[:3]


times = st.integers(1, 300).map(lambda n: n / 7)
moves = st.lists(st.tuples(times, st.none() | st.integers(0, 3)), min_size=0, max_size=3)


@st.composite
def timelines(draw) -> RecordedAttempt:
    """Boxes some answers, then ends with the last one."""
    now, last, steps, tokens = 0.0, None, [], 0
    for gap, answer in draw(moves):
        now, tokens = now + gap, tokens + round(10 * gap)
        if answer is not None:
            last = answer
            steps.append(Step(now, Happening(now, "answer", 0, tokens, answer)))
    now += draw(times)
    reason = draw(st.sampled_from(["eos", "eos", "eos", "error"]))
    steps.append(Step(now, Happening(now, "end", 0, tokens + 1, last, reason)))
    return RecordedAttempt(tuple(steps), draw(st.sampled_from([0.0, 0.25])))


policies = st.sampled_from(["all", "winner", "runner-up", "first_k_agree:2", "m_of_n:3", "last_agree:2,last=3"])


@given(policies, st.lists(timelines(), min_size=4, max_size=8), st.integers(0, 200), st.none() | st.integers(1, 3))
def test_one_course_tells_the_outcome_for_every_deadline(name, attempts, deadline, parallel):
    policy, right = parse_policy(name), frozenset({0, 2})
    plan = Plan(len(attempts), parallel, deadline * 0.95 + 0.013)
    played = play(policy, plan, attempts)
    variant = Plan(len(attempts), parallel)
    timeless = policy.variant(plan) == policy.variant(variant)
    outcome = course(policy, variant if timeless else plan, attempts, right)
    seconds, score, clocked = outcome.at(plan.seconds)
    assert seconds == pytest.approx(played.seconds)
    assert clocked == (played.rule == "clock")
    assert score == float(played.answer in right)


@given(st.lists(timelines(), min_size=2, max_size=6), st.floats(0, 60))
def test_what_the_record_does_not_hold_is_marked(attempts, until):
    def cut(attempt: RecordedAttempt) -> RecordedAttempt:
        return RecordedAttempt(tuple(s for s in attempt.steps if s.after <= until), attempt.delay, until)

    whole = play(parse_policy("all"), Plan(len(attempts)), attempts)
    short = play(parse_policy("all"), Plan(len(attempts)), [cut(attempt) for attempt in attempts])
    assert not whole.outran
    broken = any(attempt.steps[-1].after > until for attempt in attempts)
    assert (short.rule == "end of record") == broken
    # A policy that stops before the record ends does not notice that it does.
    early = Plan(len(attempts), None, until * 0.99)
    assert play(parse_policy("all"), early, [cut(a) for a in attempts]).outran is False


def test_an_attempt_told_to_start_just_before_the_clock_ran_out_is_known_until_then():
    """Told at 0.9 s, not begun by 1 s: on a busy machine that happens."""
    policy = parse_policy("m_of_n:2")
    trace = Trace(
        problem_id="late",
        model="none",
        policy="m_of_n:2",
        attempts=2,
        parallel=1,
        seconds=1.0,
        answers=(TracedAnswer(answer="7", verdict=Verdict.CORRECT),),
        events=((0.1, "start", 0, 0, None, "eos"), (0.9, "end", 0, 40, 0, "eos"), (1.0, "tick", -1, 0, None, "eos")),
        actions=(
            (0, "start", 0, "", ()),
            (2, "start", 1, "", ()),
            (3, "stop", -1, "clock", ()),
            (3, "answer", -1, "", (0,)),
        ),
        signals={},
    )
    assert first_difference(trace, policy) is None
    attempts = recorded_attempts(trace)
    played = play(policy, trace.plan, attempts)
    assert (played.rule, played.seconds, played.answer, played.outran) == ("clock", 1.0, 0, False)
    assert play(policy, Plan(2, 1, 1.5), attempts).outran
    assert play(policy, Plan(2, 1), attempts).outran
    # An attempt beyond the recorded ones is not known at all.
    assert play(parse_policy("all"), Plan(2, 1, 1.0), attempts[:1]).outran


def test_the_vote_is_the_commonest_and_of_equals_the_first():
    assert vote({3: 7, 1: 8, 2: 8}) == 8
    assert vote({3: 7, 1: 8}) == 7
    assert vote({}) is None
