"""Nudges on attempts that are really in flight."""

import asyncio

import pytest

from podium.answering.scripted import ScriptedCompleter
from podium.errors import PromptTooLong
from podium.records import ExamResult, Problem
from podium.solve import ExamConfig, sit_exam
from podium.solve.profile import get_profile
from podium.solve.sitting import NUDGE
from podium.solve.toolloop import AttemptRun
from podium.solve.trace import read_traces
from podium.storage import read_rows

PROBLEM = Problem(id="p", text="What is 3 + 4?", answer="7")


def dithering(prompt, sampling):
    """Never comes to an answer by itself; gives it at once when told that time is nearly over."""
    if len(prompt) == 1:
        while True:
            yield "Hmm, let me see. "
    assert prompt[1].role == "assistant"
    assert prompt[1].content.startswith("Hmm")
    assert prompt[2].content == NUDGE
    yield "It is \\boxed{7}."


async def test_an_exam_nudges_what_boxes_nothing(tmp_path):
    config = ExamConfig(attempts=3, policy="nudge:tokens=40", overrides={"max_tokens": 10**9, "event_tokens": 20})
    summary = await sit_exam([PROBLEM], ScriptedCompleter("ditherer", dithering), None, config, tmp_path)
    assert summary.scores.score.value == 1.0
    (result,) = read_rows(tmp_path / "results.jsonl", ExamResult)
    for attempt in result.attempts:
        assert [part.role for part in attempt.parts] == ["model", "tool", "model"]
        assert attempt.parts[1].text.strip() == NUDGE
        assert (attempt.answer, attempt.stop_reason) == ("7", "eos")
        assert [event.kind for event in attempt.events].count("nudge") == 1
        assert attempt.usage.completion_tokens > 40
    (trace,) = read_traces([tmp_path])
    assert [action[1] for action in trace.actions].count("nudge") == 3


async def test_by_the_clock_too(tmp_path):
    config = ExamConfig(attempts=2, policy="nudge:share=0.3", budget_seconds=2.0, overrides={"max_tokens": 10**9})
    await sit_exam([PROBLEM], ScriptedCompleter("ditherer", dithering), None, config, tmp_path)
    (result,) = read_rows(tmp_path / "results.jsonl", ExamResult)
    assert (result.answer, result.stop_rule) == ("7", "all")
    assert 0.6 <= result.used_seconds < 2.0


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_a_nudge_may_come_at_any_moment(steps):
    def brief(prompt, sampling):
        if len(prompt) > 1:
            yield "\\boxed{8}"
            return
        for _ in range(10):
            yield "so "
        yield "\\boxed{7}"

    run = AttemptRun(PROBLEM, ScriptedCompleter("brief", brief), None, get_profile("kaggle"))
    task = asyncio.create_task(run.run())
    for _ in range(steps):
        await asyncio.sleep(0)
    await run.nudge("Now.")
    await run.nudge("Now!")
    attempt = await task
    assert attempt.answer in ("7", "8")
    assert attempt.stop_reason in ("eos", "answer")
    assert sum(part.role == "tool" for part in attempt.parts) == (attempt.answer == "8")


async def test_tokens_of_an_attempt_whose_nudge_does_not_fit_are_counted_once():
    class Short(ScriptedCompleter):
        async def start(self, prompt, sampling):
            if len(prompt) > 1:
                raise PromptTooLong("too long", "shorten it")
            return await super().start(prompt, sampling)

    told = []
    run = AttemptRun(PROBLEM, Short("short", dithering), None, get_profile("kaggle", max_tokens=10**9, event_tokens=5))
    run_task = asyncio.create_task(run.run())
    while not any(event.kind == "tokens" for event in told):
        await asyncio.sleep(0)
        told = list(run.record("cancelled").events)
    await run.nudge("Now.")
    attempt = await run_task
    written = "".join(part.text for part in attempt.parts if part.role == "model")
    assert attempt.stop_reason == "length"
    assert attempt.usage.completion_tokens == written.count("Hmm")
