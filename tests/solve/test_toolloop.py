"""Attempts by scripts whose code really runs."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podium.answering.scripted import ScriptedCompleter
from podium.boxes import last_box
from podium.errors import CompleterError, SandboxUnavailable
from podium.records import Problem
from podium.sandbox import Limits, Sandbox
from podium.solve import attempt, get_profile
from podium.solve.toolloop import AnswerWatch, AttemptRun

PROBLEM = Problem(id="product", text="What is 18271 * 43432?", answer="793546072")
KAGGLE = get_profile("kaggle")


def call(code: str) -> str:
    return f"<tool_call>\n{code}\n</tool_call>"


@pytest.fixture
async def sandbox():
    try:
        async with Sandbox(Limits(), warm=()) as opened:
            yield opened
    except SandboxUnavailable as error:
        pytest.skip(str(error))


async def write(script, sandbox, profile=KAGGLE, **options):
    return await attempt(PROBLEM, ScriptedCompleter("script", script), sandbox, profile, **options)


async def test_a_tool_integrated_solution_reads_as_documented(sandbox):
    def script(prompt, sampling):
        output = yield "The digits are long, so I compute it.\n" + call("print(18271 * 43432)")
        yield f"The product is \\boxed{{{output.split()[1]}}}."

    done = await write(script, sandbox, index=3, seed=5)
    assert [(part.role, part.text) for part in done.parts] == [
        ("model", "The digits are long, so I compute it.\n<tool_call>\nprint(18271 * 43432)\n</tool_call>"),
        ("tool", "\n```output\n793546072\n```\n"),
        ("model", "The product is \\boxed{793546072}."),
    ]
    assert (done.answer, done.stop_reason, done.style, done.index) == ("793546072", "eos", "tir", 3)
    assert (done.usage.code_calls, done.usage.code_timeouts) == (1, 0)
    assert done.usage.code_seconds > 0
    assert done.tier
    assert [event.kind for event in done.events] == ["start", "code", "answer", "end"]
    times = [event.time for event in done.events]
    assert times == sorted(times)
    assert done.prompt[0].content == PROBLEM.text
    assert done.maker.seed == 5


async def test_variables_stay_within_an_attempt_and_never_leak_to_another(sandbox):
    def script(prompt, sampling):
        yield call("try:\n    print(x)\nexcept NameError:\n    print('new')\nx = 7")
        output = yield call("print(x * 6)")
        yield f"\\boxed{{{output.split()[1]}}}"

    both = await asyncio.gather(*(write(script, sandbox, index=index) for index in range(2)))
    for done in both:
        assert done.answer == "42"
        assert "new" in done.parts[1].text


async def test_an_error_is_shown_and_the_attempt_goes_on(sandbox):
    def script(prompt, sampling):
        output = yield call("1 / 0")
        yield "I see." if "ZeroDivisionError" in output else "Nothing?"

    done = await write(script, sandbox)
    assert done.text.endswith("I see.")


async def test_long_output_is_cut_and_the_model_is_told(sandbox):
    def script(prompt, sampling):
        yield call("print('7' * 1000)")

    done = await write(script, sandbox)
    assert done.parts[1].text == (
        "\n```output\n" + "7" * 100 + "\n... [801 characters not shown] ...\n" + "7" * 99 + "\n```\n"
    )


async def test_a_block_that_takes_too_long_is_stopped_counted_and_reported(sandbox):
    def script(prompt, sampling):
        output = yield call("print('before')\nwhile True: pass")
        yield "Too slow." if "Stopped after 0.5 seconds" in output else output

    done = await write(script, sandbox, replace(KAGGLE, code_seconds=0.5))
    assert done.parts[2].text == "Too slow."
    assert "before" in done.parts[1].text
    assert done.usage.code_timeouts == 1
    assert done.events[1].detail.startswith("timeout")


async def test_a_lost_session_is_reported_and_the_next_block_runs(sandbox):
    def script(prompt, sampling):
        lost = yield call("import os\nx = 1\nos._exit(3)")
        after = yield call("print('x' in globals())")
        yield "\\boxed{1}" if "all variables are lost" in lost and "False" in after else f"{lost} {after}"

    done = await write(script, sandbox)
    assert done.answer == "1"


def caller(prompt, sampling):
    for number in range(20):
        output = yield call(f"print({number} + 100)")
        if "no code calls are left" in output:
            yield "Then I guess. "
    yield "never reached"


async def test_past_the_limit_the_model_is_told_once_then_the_attempt_ends(sandbox):
    done = await write(caller, sandbox, get_profile("kaggle", code_calls=2))
    assert done.usage.code_calls == 2
    assert [part.text.split("\n")[2] for part in done.parts if part.role == "tool"] == [
        "100",
        "101",
        "[not run: no code calls are left; give the final answer in \\boxed{}]",
    ]
    assert done.stop_reason == "code_limit"
    assert "Then I guess." in done.text


async def test_past_the_limit_an_attempt_may_end_at_once(sandbox):
    done = await write(caller, sandbox, get_profile("kaggle", code_calls=2, past_limit="stop"))
    assert (done.usage.code_calls, done.stop_reason) == (2, "code_limit")
    assert done.text.count("<tool_call>") == 3
    assert done.parts[-1].role == "model"


async def test_a_closing_tag_alone_runs_nothing(sandbox):
    def script(prompt, sampling):
        output = yield "I close </tool_call>"
        yield "Ah." if "nothing was run" in output else output
        yield call("print(1)")

    done = await write(script, sandbox, get_profile("kaggle", code_calls=2))
    assert done.usage.code_calls == 1
    assert done.parts[2].text.startswith("Ah.")


async def test_the_last_opening_tag_starts_the_block(sandbox):
    def script(prompt, sampling):
        yield "As <tool_call> said: " + call("print(5)")

    done = await write(script, sandbox)
    assert done.parts[1].text == "\n```output\n5\n```\n"


async def test_boxes_in_code_and_output_are_no_answers(sandbox):
    def script(prompt, sampling):
        yield call("print(r'\\boxed{13}')")
        yield "So it is not clear."

    done = await write(script, sandbox, get_profile("kaggle", stop_at_answer=True))
    assert (done.answer, done.stop_reason) == (None, "eos")
    assert "\\boxed{13}" in done.parts[1].text


@pytest.mark.parametrize("code", [True, False])
async def test_stopping_at_the_first_answer(sandbox, code):
    def script(prompt, sampling):
        yield "It is \\box"
        yield "ed{\\frac{1}{2"
        yield "}"
        yield "}"
        yield ", or rather \\boxed{2}."

    profile = get_profile("kaggle", stop_at_answer=True)
    done = await write(script, sandbox if code else None, profile)
    assert (done.answer, done.stop_reason) == ("\\frac{1}{2}", "answer")
    assert done.text == "It is \\boxed{\\frac{1}{2}}"


async def test_without_a_sandbox_tags_are_text():
    def script(prompt, sampling):
        assert sampling.stop == ()
        yield call("print(\\boxed{1})")
        yield " and \\boxed{2}"

    done = await write(script, None)
    assert (done.style, done.answer, done.usage.code_calls, done.tier) == ("cot", "2", 0, "")
    assert len(done.parts) == 1


async def test_events_tell_the_story_for_replay():
    def script(prompt, sampling):
        for _ in range(10):
            yield "x "
        yield "\\boxed{1} "
        yield "\\boxed{1} "
        yield "no, \\boxed{2}"

    heard = []
    done = await write(
        script,
        None,
        get_profile("eval", event_tokens=4),
        index=2,
        sink=lambda index, event: heard.append((index, event)),
    )
    assert [event for _, event in heard] == list(done.events)
    assert {index for index, _ in heard} == {2}
    assert [(e.kind, e.tokens, e.answer) for e in done.events] == [
        ("start", 0, None),
        ("tokens", 4, None),
        ("tokens", 8, None),
        ("answer", 11, "1"),
        ("tokens", 12, None),
        ("answer", 13, "2"),
        ("end", 13, "2"),
    ]


async def test_a_length_limit_and_repetition_are_reported():
    def script(prompt, sampling):
        while True:
            yield "again "

    assert (await write(script, None, get_profile("eval", max_tokens=9))).stop_reason == "length"
    looping = get_profile("eval", repetition_window=12, repetition_count=3)
    assert (await write(script, None, looping)).stop_reason == "repetition"


class Watched:
    """A script that says whether it was let go, and a sandbox that says which sessions were."""

    def __init__(self, sandbox):
        self.sandbox, self.limits = sandbox, sandbox.limits
        self.sessions, self.closed, self.released, self.started = [], 0, 0, 0

    async def open(self, **options):
        session = await self.sandbox.open(**options)
        self.sessions.append(session)
        close = session.close

        async def closing():
            await close()
            self.closed += 1

        session.close = closing
        return session

    def script(self, prompt, sampling):
        self.started += 1
        try:
            yield "Let me see. "
            yield call("print(1)")
            yield call("import time; time.sleep(0.2); print(2)")
            yield "\\boxed{3}"
            while True:
                yield "And on. "
        finally:
            self.released += 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 40, None])
async def test_cancelling_at_any_moment_frees_everything_and_keeps_what_was_written(sandbox, turns):
    watched = Watched(sandbox)
    run = AttemptRun(PROBLEM, ScriptedCompleter("s", watched.script), watched, get_profile("kaggle", max_tokens=10**9))
    task = asyncio.create_task(run.run())
    while turns is None and run.answer is None:
        await asyncio.sleep(0.01)
    for turn in range(turns or 0):
        await asyncio.sleep(0.002 if turn % 4 == 3 else 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.released == watched.started
    assert watched.closed == len(watched.sessions)
    record = run.record("cancelled")
    assert record.stop_reason == "cancelled"
    if turns is None:
        assert record.answer == "3"
        assert record.usage.code_calls == 2
    if record.events:
        assert record.events[-1].kind == "end"


async def test_a_failing_engine_frees_the_session(sandbox):
    def script(prompt, sampling):
        yield call("x = 1")
        raise OSError("gone")

    watched = Watched(sandbox)
    with pytest.raises(CompleterError, match="gone"):
        await write(script, watched)
    assert (watched.closed, len(watched.sessions)) == (1, 1)


pieces = st.lists(
    st.sampled_from(["\\boxed{", "{", "}", "\\", "boxed", "7", "x", "\\{", "\\}", " ", "\\frac{1}{2}", "\\boxed{5}"]),
    max_size=30,
).map("".join)


@example("\\\\boxed{5}", [2])  # an escaped backslash opens no box
@example("\\\\\\boxed{5}", [2, 3])
@given(pieces, st.lists(st.integers(0, 200), max_size=12))
def test_how_text_is_cut_into_pieces_does_not_matter(text, cuts):
    whole, cut = AnswerWatch(), AnswerWatch()
    whole.push(text + "\n.")
    places = sorted({min(place, len(text)) for place in cuts} | {0, len(text)})
    for start, end in itertools.pairwise(places):
        cut.push(text[start:end])
    cut.push("\n.")
    assert cut.answer == whole.answer


@given(
    st.lists(st.sampled_from(["\\boxed{5}", "\\boxed{\\frac{1}{2}}", "{a}", "so ", "\\boxed{\\boxed{3}}"]), max_size=8)
)
def test_the_watch_sees_what_extraction_finds(parts):
    watch = AnswerWatch()
    for part in parts:
        watch.push(part)
    assert watch.answer == last_box("".join(parts))
