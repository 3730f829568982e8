import asyncio

import pytest

from podium.answering import Completer, Completion, Sampling, ScriptedCompleter, complete
from podium.errors import CompleterError, InputError

CLOSE = "</tool_call>"


def teacher(prompt, sampling):
    output = yield f"<tool_call>\nprint(6 * 7)\n{CLOSE}"
    yield f"It is {output.strip()}."


async def test_pauses_at_the_stop_string_and_receives_what_was_appended():
    completer = ScriptedCompleter("teacher", teacher)
    completion = await completer.start("q", Sampling(stop=(CLOSE,)))
    assert isinstance(completer, Completer)
    assert isinstance(completion, Completion)
    first = [piece async for piece in completion]
    assert first[-1].finish == "stop"
    assert first[-1].stop == CLOSE
    assert "".join(piece.text for piece in first).endswith(CLOSE)
    await completion.extend("42\n")
    second = [piece async for piece in completion]
    assert "".join(piece.text for piece in second) == "It is 42."
    assert second[-1].finish == "eos"
    usage = await completion.cancel()
    assert usage.completion_tokens == 2


async def test_without_that_stop_string_the_script_runs_through():
    def script(prompt, sampling):
        output = yield f"code {CLOSE}"
        yield f"[{output}]"

    assert await complete(ScriptedCompleter("x", script), "q", Sampling()) == f"code {CLOSE}[]"


async def test_a_stop_string_may_come_in_two_pieces():
    def script(prompt, sampling):
        yield "code </tool"
        output = yield "_call>"
        yield output.upper()

    completion = await ScriptedCompleter("x", script).start("q", Sampling(stop=(CLOSE,)))
    assert [piece.finish async for piece in completion] == [None, "stop"]
    await completion.extend("out")
    assert "".join([piece.text async for piece in completion]) == "OUT"


async def test_text_behind_a_stop_string_is_an_error():
    def script(prompt, sampling):
        yield f"code {CLOSE} and an invented output"

    with pytest.raises(CompleterError, match="invented"):
        await complete(ScriptedCompleter("x", script), "q", Sampling(stop=(CLOSE,)))


async def test_limits_and_repetition_end_a_script():
    def endless(prompt, sampling):
        while True:
            yield "again and "

    completion = await ScriptedCompleter("x", endless).start("q", Sampling(max_tokens=5))
    pieces = [piece async for piece in completion]
    assert "".join(piece.text for piece in pieces) == "again and " * 5
    assert pieces[-1].finish == "length"
    loop = Sampling(max_tokens=1000, repetition_window=20, repetition_count=3)
    completion = await ScriptedCompleter("x", endless).start("q", loop)
    pieces = [piece async for piece in completion]
    assert pieces[-1].finish == "repetition"
    assert "".join(piece.text for piece in pieces) == "again and " * 8


async def test_cancelling_closes_the_script_and_wakes_the_reader():
    closed = []

    def endless(prompt, sampling):
        try:
            while True:
                yield "x"
        finally:
            closed.append(True)

    completion = await ScriptedCompleter("x", endless).start("q", Sampling(max_tokens=10**9))

    async def read():
        return [piece async for piece in completion]

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    await completion.cancel()
    pieces = await reader
    assert pieces[-1].finish == "cancelled"
    assert closed == [True]
    with pytest.raises(CompleterError):
        await completion.extend("more")


async def test_a_failing_script_says_so():
    def script(prompt, sampling):
        yield "a"
        raise ValueError("no such task")

    with pytest.raises(CompleterError, match="no such task"):
        await complete(ScriptedCompleter("teacher", script), "q", Sampling())


async def test_what_a_completer_says_of_itself_where_it_knows_nothing():
    completer = ScriptedCompleter("words", lambda prompt, sampling: iter(()))
    assert (completer.context, completer.tokenizer, completer.failure) == (None, None, None)
    assert await completer.counts() == []
    with pytest.raises(InputError, match="words does not score given tokens"):
        await completer.score([1, 2])
